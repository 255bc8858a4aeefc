"""The commands of geosync, one module each; each has a function `run`."""
