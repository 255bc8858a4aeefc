"""The daemon: one control thread, and the requests that reach it."""
