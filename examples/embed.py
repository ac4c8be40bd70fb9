"""Forecast two agents from numpy arrays, in a program of your own.

python examples/embed.py RUN
"""

import sys

import numpy as np

from trajflow import Predictor

predictor = Predictor.load(sys.argv[1])
steps = np.arange(predictor.history)[:, None]
first = steps * np.array([0.5, 0.0])  # positions [T, 2]
second = np.array([6.0, 0.3]) - steps * np.array([0.5, 0.0])
forecast = predictor.predict(np.stack([first, second]), samples=20, seed=1, agents=["a", "b"])
print(forecast.to_frame().groupby(["agent", "step"])[["x", "y"]].describe().round(2).to_string())
