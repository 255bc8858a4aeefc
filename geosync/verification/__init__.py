"""Verification: whether disk, journal and store hold what they should; nothing is changed here."""
