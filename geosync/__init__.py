"""The daemon and its commands: everything that touches disk, clock, network or SQLite."""
