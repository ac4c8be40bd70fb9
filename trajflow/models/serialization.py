"""Weights as safetensors bytes that carry their architecture and a digest of themselves."""

import hashlib
import json
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor
from torch.random import fork_rng

from trajflow.errors import RunError, TrajflowWarning
from trajflow.io import Manifest, parse_json, read_header, read_kept
from trajflow.models.learned_samples import LearnedSamples
from trajflow.models.plans import (
    architecture_of,
    check_facts,
    check_plan,
    no_larger_than,
    samples_shape_of,
)
from trajflow.models.trajectory_model import TrajectoryModel

SETS = "set-*.safetensors"
MOST = 1 << 32
"""Most bytes of a file of weights."""


def pack(model: TrajectoryModel, facts: Mapping[str, Any]) -> bytes:
    """A model and JSON facts about it (dt, unit, ...) as safetensors bytes."""
    return pack_state(model.state_dict(), {"architecture": asdict(model.architecture), **facts})


def pack_state(tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> bytes:
    """Named tensors of any shape and JSON facts as safetensors bytes with a digest of both."""
    state = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    said = json.dumps(facts, sort_keys=True)
    # One key: safetensors writes several in any order, and equal models shall be equal files.
    return save(state, {"trajflow": json.dumps([said, _digest(state, said)])})


def pack_samples(noises: LearnedSamples, facts: Mapping[str, Any]) -> bytes:
    """A noise set and JSON facts about it as safetensors bytes."""
    return pack_state(noises.state_dict(), {"set": noises.shape.to_dict(), **facts})


def unpack_samples(content: bytes, name: str) -> tuple[LearnedSamples, dict[str, Any]]:
    """The noise set and the facts in `pack_samples`'s bytes; `name` is what errors call them.

    Raises:
        RunError: The bytes are not such a set, or are damaged.
    """
    state, facts = unpack_state(content, name)
    try:
        shape = samples_shape_of(facts.pop("set"), state)
        with no_larger_than(state), fork_rng(devices=[]):  # its start is drawn, then replaced
            noises = LearnedSamples(shape)
        noises.load_state_dict(state)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise RunError(f"{name} is not a set of noises: {error}") from None
    return noises, facts


def read_samples(run: Path, weights: bytes) -> dict[int, LearnedSamples]:
    """The noise sets in a run folder that were learned for its weights, by their futures K.

    Args:
        run: The folder; no sets where it is none.
        weights: The weights file.

    Raises:
        RunError: A set is damaged or missing.
    """
    found = {}
    listed = {run / name for name in Manifest.read(run).files if fnmatch(name, SETS)}
    for path in sorted(listed | set(run.glob(SETS))):
        noises, facts = unpack_samples(read_kept(path, MOST), str(path))
        if facts.get("weights") == hashlib.sha256(weights).hexdigest():
            found[noises.shape.count] = noises
            continue
        warnings.warn(
            f"{path} was learned for other weights and is ignored; `trajflow fit RUN DATA samples` "
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
        architecture = architecture_of(facts.pop("architecture"))
        with no_larger_than(state), fork_rng(devices=[]):  # weights are drawn, then replaced
            check_plan(architecture, state)
            model = TrajectoryModel(architecture)
        model.load_state_dict(state)
        check_facts(facts)
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
    words = read_header(content, name).words
    try:
        state = load(content)
        said, digest = json.loads(words["trajflow"])
        if _digest(state, said) != digest:
            raise RunError(f"{name} is damaged: its contents do not match its own digest")
    except (SafetensorError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RunError(f"{name} is not a trajflow model: {error}") from None
    except ValueError as error:
        raise RunError(f"{name} is damaged: {error}") from None
    facts = parse_json(said, name)
    if not isinstance(facts, dict):
        raise RunError(f"{name} is not a trajflow model: it says nothing about itself")
    endless = [key for key, value in state.items() if not _finite(value)]
    if endless:
        raise RunError(f"{name} holds numbers that are not finite, in {endless[0]}; train anew")
    return state, facts


def _finite(value: Tensor) -> bool:
    return not value.is_floating_point() or bool(torch.isfinite(value).all())


def _digest(state: Mapping[str, Tensor], said: str) -> str:
    total = hashlib.sha256(said.encode())
    for name in sorted(state):
        value = state[name]
        total.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        total.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()
