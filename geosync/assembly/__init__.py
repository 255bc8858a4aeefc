"""Assembly: an engine, with its store and threads, from a configuration."""
