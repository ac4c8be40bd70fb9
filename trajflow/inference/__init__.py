"""Forecasts from trained models: predictors, the tracks they go on from, and where results go."""
