"""Networks: layers, velocity network, social and memory attention, encoders of the past."""
