"""Reporting: what a site looks like to an operator, as values, text and JSON."""
