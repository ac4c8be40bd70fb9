"""Forecasts in a control loop: irregular observations in, forecasts out before a deadline."""

from trajflow.inference.online.predictor import ForecastModel, OnlineForecast, OnlinePredictor

__all__ = ["ForecastModel", "OnlineForecast", "OnlinePredictor"]
