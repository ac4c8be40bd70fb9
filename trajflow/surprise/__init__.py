"""How strange a past is to a trained model: scores of it, and one surprise they make together.

Names are imported on first use: what judges pasts needs numpy alone, what fits it torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from trajflow.surprise.disagreement import disagreement as disagreement

if TYPE_CHECKING:
    from trajflow.surprise.fitting import fit as fit
    from trajflow.surprise.storage import FILE as FILE
    from trajflow.surprise.storage import read_surprise as read_surprise
    from trajflow.surprise.storage import stored as stored
    from trajflow.surprise.strangeness import Strangeness as Strangeness
    from trajflow.surprise.surprise import Origin as Origin
    from trajflow.surprise.surprise import Surprise as Surprise

_HOMES = {
    "fit": "fitting",
    "FILE": "storage",
    "read_surprise": "storage",
    "stored": "storage",
    "Strangeness": "strangeness",
    "Origin": "surprise",
    "Surprise": "surprise",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"{__name__} has no {name!r}; it has {', '.join(sorted(_HOMES))}")
