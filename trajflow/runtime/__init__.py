"""The former home of `trajflow.inference.onnx`; it goes with the next release.

`trajflow.Predictor.load("model.onnx")` opens an exported model.
"""

from trajflow.inference.onnx.predictor import OnnxPredictor as Predictor

__all__ = ["Predictor"]
