"""Changes of windows that a forecaster should notice or bear, each a small named function."""
