"""Networks: layers, the velocity network, social attention and encoders of the past."""
