"""Which trajectories of a damaged store still have a beginning, an end, a scene and a name."""

from dataclasses import dataclass

import numpy as np

from trajflow.batch import Bools, Ints
from trajflow.datasets.fragments import Fragment, Fragments
from trajflow.datasets.header import Header
from trajflow.datasets.index import MAX_TEXT
from trajflow.datasets.schema import CHUNK, trajectory_columns


@dataclass(frozen=True)
class LeftIndex:
    """The trajectories of a damaged store, K of them in stored order.

    Attributes:
        ends: Row after the last of each, [K].
        rowsize: Rows of each, [K].
        scene, kind: Codes of each one's scene and type, [K].
        scene_known: Whether the scene is known, [K].
        labels: The source's ids, K of them; "" where it is not known.
        whole: Whether all of this is known of it, [K].
    """

    ends: Ints
    rowsize: Ints
    scene: Ints
    kind: Ints
    scene_known: Bools
    labels: list[int | str]
    whole: Bools


def left_index(fragments: Fragments, header: Header, has_text: bool) -> LeftIndex:
    """Read what is left of the index; sizes and ends of trajectories tell each other."""
    count = header.trajectories
    specs = trajectory_columns(has_text)
    text_spec = specs.pop("label_bytes", None)
    found = {name: fragments.read(name, spec, 0, count) for name, spec in specs.items()}
    ends, known = _ends(found["rowsize"], found["episode_ends"])
    before = np.concatenate(([0], ends[:-1]))
    rowsize = ends - before
    placed = known & np.concatenate(([True], known[:-1])) & (rowsize > 0) & (ends <= header.rows)
    scene, kind = found["scene"], found["agent_type"]
    in_scene = scene.known & (scene.values >= 0) & (scene.values < len(header.scenes))
    of_kind = kind.known & (kind.values >= 0) & (kind.values < len(header.types))
    if text_spec is None:
        identity = found["trajectory_id"]
        labels: list[int | str] = identity.values.tolist()
        named = identity.known
    else:
        labels, named = _labels(fragments, found["label_size"])
    whole = placed & in_scene & of_kind & named
    return LeftIndex(ends, rowsize, scene.values, kind.values, in_scene, labels, whole)


def _ends(sizes: Fragment, ends: Fragment) -> tuple[Ints, Bools]:
    """Row after each trajectory, [K], and whether it is known, from whatever is left of the two."""
    values, known = ends.values.copy(), ends.known.copy()
    for first in range(0, len(values), CHUNK):
        part = slice(first, first + CHUNK)
        begun = not first or known[first - 1]
        if not known[first] and sizes.known[first] and begun:
            start = values[first - 1] if first else 0
            values[part] = start + np.cumsum(sizes.values[part])
            known[part] = True
    return values, known


def _labels(fragments: Fragments, sizes: Fragment) -> tuple[list[int | str], Bools]:
    """Labels, K of them, and whether each is known, [K]; one lost size moves all that follow."""
    spec = trajectory_columns(text_labels=True)["label_bytes"]
    sane = sizes.known & (sizes.values >= 0) & (sizes.values <= MAX_TEXT)
    placed = np.logical_and.accumulate(sane)
    ends = np.cumsum(np.where(placed, sizes.values, 0))
    text = fragments.read("label_bytes", spec, 0, int(ends[-1]))
    raw = text.values.tobytes()
    labels: list[int | str] = []
    named = np.zeros(len(placed), np.bool_)
    for number, (end, size) in enumerate(zip(ends.tolist(), sizes.values.tolist(), strict=True)):
        label = ""
        if placed[number] and text.known[end - size : end].all():
            label = raw[end - size : end].decode("utf-8", "replace")
            named[number] = True
        labels.append(label)
    return labels, named
