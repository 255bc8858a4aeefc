"""Errors of the watcher."""

from conflict.errors import GeosyncError


class WatchingError(GeosyncError):
    """The root cannot be watched at all; changes are found by scanning only."""


class RootLostError(WatchingError):
    """The watched root is no longer the directory that watching began with."""
