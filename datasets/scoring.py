"""Which recordings are scored together: a mean of folds is no mean of recordings or windows."""

from collections.abc import Mapping, Sequence

from trajflow.batch import Ints


def scoring_groups(
    scenes: Sequence[str], folds: Mapping[str, Sequence[str]], present: Ints
) -> dict[str, list[int]]:
    """Each fold's recordings, and every recording of no fold on its own.

    Args:
        scenes: Names of all recordings.
        folds: Names of the recordings of each fold.
        present: Indexes of the recordings that have windows, [N]; no other is in a group.

    Returns:
        Indexes of recordings by the name of the group, none of them empty.
    """
    index = {name: code for code, name in enumerate(scenes)}
    found = {fold: [index[name] for name in names] for fold, names in folds.items()}
    grouped = {scene for members in found.values() for scene in members}
    held = sorted({int(scene) for scene in present})
    kept = {name: [s for s in members if s in held] for name, members in found.items()}
    kept |= {scenes[scene]: [scene] for scene in held if scene not in grouped}
    return {name: members for name, members in kept.items() if members}
