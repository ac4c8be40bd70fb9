"""Out-of-distribution detection: corruptions, the detector of a run, and its evaluation."""
