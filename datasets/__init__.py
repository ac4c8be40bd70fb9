"""Tracks on disk and in memory: one store format, its importers, generators and windows."""

if __name__ == "datasets":
    raise ImportError(
        "this folder is imported as trajflow.datasets; start Python elsewhere or with -P"
    )
