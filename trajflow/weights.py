"""Weights as safetensors bytes that carry their architecture and a digest of themselves."""

import hashlib
import json
import struct
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from trajflow.errors import RunError, TrajflowWarning
from trajflow.model import Architecture, TrajectoryModel
from trajflow.noise_set import NoiseSet, SetShape


def pack(model: TrajectoryModel, facts: Mapping[str, Any]) -> bytes:
    """A model and JSON facts about it (dt, unit, ...) as safetensors bytes."""
    return pack_state(model.state_dict(), {"architecture": asdict(model.architecture), **facts})


def pack_state(tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> bytes:
    """Named tensors of any shape and JSON facts as safetensors bytes with a digest of both."""
    state = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    said = json.dumps(facts, sort_keys=True)
    # One key: safetensors writes several in any order, and equal models shall be equal files.
    return save(state, {"trajflow": json.dumps([said, _digest(state, said)])})


def pack_set(noises: NoiseSet, facts: Mapping[str, Any]) -> bytes:
    """A noise set and JSON facts about it as safetensors bytes."""
    return pack_state(noises.state_dict(), {"set": noises.shape.to_dict(), **facts})


def unpack_set(content: bytes, name: str) -> tuple[NoiseSet, dict[str, Any]]:
    """The noise set and the facts in `pack_set`'s bytes; `name` is what errors call them.

    Raises:
        RunError: The bytes are not such a set, or are damaged.
    """
    state, facts = unpack_state(content, name)
    try:
        noises = NoiseSet(SetShape(**facts.pop("set")))
        noises.load_state_dict(state)
    except (KeyError, TypeError, RuntimeError) as error:
        raise RunError(f"{name} is not a set of noises: {error}") from None
    return noises, facts


def read_sets(run: Path, weights: bytes) -> dict[int, NoiseSet]:
    """The noise sets in a run folder that were learned for its weights, by their futures K.

    Args:
        run: The folder; no sets where it is none.
        weights: The weights file.

    Raises:
        RunError: A set is damaged.
    """
    found = {}
    for path in sorted(run.glob("set-*.safetensors")):
        noises, facts = unpack_set(path.read_bytes(), str(path))
        if facts.get("weights") == hashlib.sha256(weights).hexdigest():
            found[noises.shape.count] = noises
            continue
        warnings.warn(
            f"{path} was learned for other weights and is ignored; `trajflow fit-set RUN DATA` "
            "learns it anew",
            TrajflowWarning,
            stacklevel=3,
        )
    return found


def unpack(content: bytes, name: str) -> tuple[TrajectoryModel, dict[str, Any]]:
    """The model and the facts in `pack`'s bytes.

    Args:
        content: The bytes, already in memory, so that a file that changes cannot hurt.
        name: What to call the bytes in an error.

    Raises:
        RunError: The bytes are not such weights, or not one bit as they were written.
    """
    state, facts = unpack_state(content, name)
    try:
        model = TrajectoryModel(_architecture(facts.pop("architecture")))
        model.load_state_dict(state)
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{name} is not a trajflow model: {error}") from None
    except RuntimeError as error:
        raise RunError(f"{name} does not fit its own architecture: {error}") from None
    return model, facts


def unpack_state(content: bytes, name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors, of any shape, and the facts in `pack_state`'s bytes.

    Args:
        content: The bytes.
        name: What to call the bytes in an error.

    Raises:
        RunError: The bytes are not such a file, or not one bit as they were written.
    """
    try:
        state = load(content)
        said, digest = _metadata(content)
        facts: dict[str, Any] = json.loads(said)
        if _digest(state, said) != digest:
            raise RunError(f"{name} is damaged: its contents do not match its own digest")
    except (SafetensorError, KeyError, TypeError, struct.error) as error:
        raise RunError(f"{name} is not a trajflow model: {error}") from None
    except ValueError as error:
        raise RunError(f"{name} is damaged: {error}") from None
    return state, facts


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
