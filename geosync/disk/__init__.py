"""The tree on this site's disk: read without tearing, changed without losing anything."""
