"""An object whose pickle makes a file when it is loaded: the sign that foreign code was run."""

import os
from pathlib import Path


class Payload:
    """Pickled, it is an order to touch a file."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, ...]:
        """What a careless reader would run."""
        return os.system, (f"touch '{self.canary}'",)
