"""Shifted tracks, and how well a run forecasts them and finds them strange."""
