"""How strange a past is to a trained run: scores, and one surprise made of them."""

from trajflow.surprise.strangeness import Strangeness as Strangeness
