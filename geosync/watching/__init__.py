"""What changed on disk: a watcher that turns kernel events into a set of dirty directories."""
