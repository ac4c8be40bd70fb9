"""Forecasts inside a control loop: observations come as they come, answers in time."""

from trajflow.online.answer import OnlineForecast
from trajflow.online.predicting import Predicting
from trajflow.online.predictor import OnlinePredictor

__all__ = ["OnlineForecast", "OnlinePredictor", "Predicting"]
