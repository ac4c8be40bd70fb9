"""One file for each screen; none knows another."""
