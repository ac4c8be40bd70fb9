"""How strange a past is to a trained model: scores of it, and one surprise they make together."""
