"""The trajectory model: frames, normalizer, networks, and files of weights."""
