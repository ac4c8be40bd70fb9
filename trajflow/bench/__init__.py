"""What a forecast and a training step cost on this machine, beside what they must cost at least."""
