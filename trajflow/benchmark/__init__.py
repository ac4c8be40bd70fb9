"""The field's benchmarks in one command: plan trials, run them, and say what came out, and how."""
