"""A run as one file that needs no torch: its graph, what it needs beside, and proof of both."""
