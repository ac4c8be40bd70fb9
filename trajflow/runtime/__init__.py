"""Forecasts of exported models with numpy and ONNX Runtime alone; no torch is needed."""

from trajflow.runtime.predictor import Predictor as Predictor
