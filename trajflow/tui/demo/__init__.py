"""A small run on generated tracks, shown where there is nothing else to show."""
