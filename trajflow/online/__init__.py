"""Forecasts inside a control loop: observations come as they come, answers in time."""

from trajflow.online.predictor import OnlineForecast, OnlinePredictor

__all__ = ["OnlineForecast", "OnlinePredictor"]
