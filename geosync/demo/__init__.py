"""What the demonstration runs besides geosync itself: a real Swift, and a slow, failing WAN."""
