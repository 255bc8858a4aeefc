"""HTTP: health, metrics, the interface for programs, and the status page."""
