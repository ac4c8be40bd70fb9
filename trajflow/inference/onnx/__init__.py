"""Forecasts from exported models with numpy and ONNX Runtime alone; torch is not needed."""
