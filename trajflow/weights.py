"""Weights as safetensors bytes that carry their architecture and a digest of themselves."""

import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from trajflow.errors import RunError
from trajflow.model import Architecture, TrajectoryModel


def pack(model: TrajectoryModel, facts: Mapping[str, Any]) -> bytes:
    """A model and JSON facts about it (dt, unit, ...) as safetensors bytes."""
    state = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    said = json.dumps({"architecture": asdict(model.architecture), **facts}, sort_keys=True)
    # One key: safetensors writes several in any order, and equal models shall be equal files.
    return save(state, {"trajflow": json.dumps([said, _digest(state, said)])})


def unpack(content: bytes, name: str) -> tuple[TrajectoryModel, dict[str, Any]]:
    """The model and the facts in `pack`'s bytes.

    Args:
        content: The bytes, already in memory, so that a file that changes cannot hurt.
        name: What to call the bytes in an error.

    Raises:
        RunError: The bytes are not such weights, or not one bit as they were written.
    """
    try:
        state = load(content)
        said, digest = _metadata(content)
        facts = json.loads(said)
        if _digest(state, said) != digest:
            raise RunError(f"{name} is damaged: its contents do not match its own digest")
        model = TrajectoryModel(_architecture(facts.pop("architecture")))
        model.load_state_dict(state)
    except (SafetensorError, KeyError, TypeError, struct.error) as error:
        raise RunError(f"{name} is not a trajflow model: {error}") from None
    except RunError:
        raise
    except ValueError as error:
        raise RunError(f"{name} is damaged: {error}") from None
    except RuntimeError as error:
        raise RunError(f"{name} does not fit its own architecture: {error}") from None
    return model, facts


def _architecture(values: dict[str, Any]) -> Architecture:
    options = tuple((key, value) for key, value in values.pop("options"))
    return Architecture(**values, options=options)


def _metadata(content: bytes) -> tuple[str, str]:
    (length,) = struct.unpack("<Q", content[:8])
    said, digest = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["trajflow"])
    return said, digest


def _digest(state: Mapping[str, Tensor], said: str) -> str:
    total = hashlib.sha256(said.encode())
    for name in sorted(state):
        value = state[name]
        total.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        total.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()
