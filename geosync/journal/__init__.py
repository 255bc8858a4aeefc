"""The journal: all that a site knows, in one SQLite database outside the volume."""
