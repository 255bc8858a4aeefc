"""The root of every error that geosync raises on purpose."""


class GeosyncError(Exception):
    """An error whose text an operator can act on: what was tried, what was found, what to do."""


class MalformedValueError(GeosyncError, ValueError):
    """A value from outside (store, journal, configuration) breaks a rule that every value obeys."""
