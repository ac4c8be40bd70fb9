"""A trajectory model: frames, normalizer, networks and their files."""
