"""Pictures of tracks and of forecasts, as matplotlib figures without any global state."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from trajflow.calibration import LEVELS
from trajflow.datasets.schema import Tracks
from trajflow.errors import DataError
from trajflow.regions import Region
from trajflow.reliability import Reliability
from trajflow.remote import refuse_url
from trajflow.scene_image import SceneImage
from trajflow.text import safe
from trajflow.types import Batch, Floats

SUFFIXES = (".png", ".svg", ".pdf")
COLUMNS = 3
IMAGE_SIDE, IMAGE_ALPHA = 900, 0.5
PAST, TRUTH, SAMPLE, NEIGHBOR = "#1f2937", "#0f766e", "#ea580c", "#9ca3af"
SPLITS = ("#2563eb", "#ea580c", "#0f766e", "#9333ea", "#ca8a04")


def check_suffix(path: Path) -> None:
    """Check that a picture can be written, before the work for it is done.

    Raises:
        DataError: The suffix is not one of `SUFFIXES`, or the folder is missing.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(f"a picture ends in {', '.join(SUFFIXES)}; got {path.name!r}")
    refuse_url(path)
    if not path.parent.is_dir():
        raise DataError(f"no folder {path.parent} for the picture; make it first")


def save(figure: Figure, path: Path) -> None:
    """Write a figure in the format of the suffix."""
    check_suffix(path)
    figure.savefig(path, dpi=150)


def draw_tracks(tracks: Tracks, scenes: Sequence[str], unit: str) -> Figure:
    """Draw every track of the recordings, one panel each, coloured by split.

    Args:
        tracks: Tracks of these recordings.
        scenes: Names of the recordings.
        unit: Unit of the coordinates, for the axes.
    """
    figure, panels = _panels(len(scenes))
    for axes, name in zip(panels, scenes, strict=True):
        here = tracks.scene[tracks.track] == tracks.scenes.index(name)
        for code, split in enumerate(tracks.splits):
            lines = _lines(tracks, here & (tracks.split == code))
            color = SPLITS[code % len(SPLITS)]
            axes.add_collection(LineCollection(lines, colors=color, lw=0.7, alpha=0.6))
            axes.plot([], [], color=color, label=safe(split))
        _frame(axes, name, unit)
    _legend(figure, panels[0])
    return figure


def draw_forecasts(
    batch: Batch,
    samples: Floats,
    titles: Sequence[str],
    unit: str,
    most: int = 6,
    region: Region | None = None,
    images: Sequence[SceneImage | None] = (),
) -> Figure:
    """Draw scenes with their pasts, true futures and samples.

    Args:
        batch: B scenes, one panel each.
        samples: Futures of each agent, [S, B, A, F, D]; NaN without a forecast.
        titles: A title for each scene, B of them.
        unit: Unit of the coordinates, for the axes.
        most: Most agents of a scene that are drawn with their samples.
        region: Discs [B, A, F] of the samples; the last one of each agent is drawn.
        images: Image under each scene, B of them, or none.
    """
    figure, panels = _panels(len(titles))
    for row, (axes, title) in enumerate(zip(panels, titles, strict=True)):
        targets = np.flatnonzero(batch.target[row])[:most]
        for agent in range(batch.past.shape[1]):
            past = batch.past[row, agent]
            if agent in targets:
                _draw_agent(axes, past, batch.future[row, agent], samples[:, row, agent])
                if region is not None:
                    _draw_disc(axes, region.centre[row, agent, -1], region.radius[row, agent, -1])
            elif np.isfinite(past).any():
                axes.plot(*past[:, :2].T, color=NEIGHBOR, lw=1.0)
        _frame(axes, title, unit)
        if images and (image := images[row]) is not None:
            _lay_image(axes, image)
    target = batch.target
    kinds = {
        "samples": (SAMPLE, True),
        "truth": (TRUTH, bool(np.isfinite(batch.future[target]).any())),
        "history": (PAST, bool(np.isfinite(batch.past[target]).any())),
        "others": (NEIGHBOR, bool(np.isfinite(batch.past[~target]).any())),
    }
    for name, (color, present) in kinds.items():
        if present:
            panels[0].plot([], [], color=color, label=name)
    if region is not None:
        source = "calibrated" if region.calibrated else "by the samples"
        name = f"{100 * region.level:g} % of endpoints, {source}"
        panels[0].plot([], [], color=SAMPLE, ls="--", lw=1.0, label=name)
    _legend(figure, panels[0])
    return figure


def draw_reliability(reliability: Reliability, unit: str) -> Figure:
    """Draw the share of truths inside regions, and the radius, with and without calibration.

    Args:
        reliability: Measured shares at Q levels.
        unit: Unit of the coordinates.
    """
    figure, (endpoint, path, radius) = _panels(3)
    styles = {"own": (SAMPLE, "by the samples"), "calibrated": (TRUTH, "calibrated")}
    for axes, kind in ((endpoint, "endpoint"), (path, "path")):
        axes.plot([0, 1], [0, 1], color=NEIGHBOR, lw=1.0)
        for source, (color, name) in styles.items():
            by = reliability.inside[kind][source]
            axes.plot(LEVELS, by["people"], ".-", color=color, label=f"{name}, by people")
            axes.plot(LEVELS, by["windows"], ":", color=color, label=f"{name}, by windows")
        axes.set(title=kind, xlabel="level", ylabel="share inside", aspect="equal")
    for source, (color, _) in styles.items():
        radius.plot(LEVELS, reliability.radius[source], ".-", color=color)
    radius.set(title="endpoint", xlabel="level")
    radius.set_ylabel(f"mean radius ({safe(unit)})", parse_math=False)
    _legend(figure, endpoint)
    return figure


def _draw_agent(axes: Axes, past: Floats, future: Floats, samples: Floats) -> None:
    """One agent: past [T, D], future [F, D] and samples [S, F, D], joined at the present."""
    now = past[-1:, :2]
    paths = [np.concatenate([now, path[:, :2]]) for path in samples if np.isfinite(path).all()]
    axes.add_collection(LineCollection(paths, colors=SAMPLE, lw=0.8, alpha=0.35))
    axes.plot(*np.concatenate([now, future[:, :2]]).T, color=TRUTH, lw=1.8)
    axes.plot(*past[:, :2].T, color=PAST, lw=1.8)
    axes.plot(*now.T, "o", color=PAST, ms=3)


def _draw_disc(axes: Axes, centre: Floats, radius: float) -> None:
    """The circle around a point [D]; nothing for an infinite radius."""
    if np.isfinite(radius):
        x, y = centre[:2]
        axes.add_patch(Circle((x, y), radius, fill=False, color=SAMPLE, ls="--", lw=1.0))


def _lay_image(axes: Axes, image: SceneImage) -> None:
    """Draw a pale image under the tracks, also where equal scales will widen the limits."""
    limits = np.array([axes.get_xlim(), axes.get_ylim()])
    side = float(1.5 * np.ptp(limits, axis=1).max())
    (x, y), size = limits.mean(1) - side / 2, side / IMAGE_SIDE
    grid = np.array([[size, 0.0, x], [0.0, -size, y + side], [0.0, 0.0, 1.0]])
    colors, inside = image.warped(grid, IMAGE_SIDE, IMAGE_SIDE)
    pixels = np.concatenate([colors / 255, IMAGE_ALPHA * inside[..., None]], -1)
    tracks = axes.dataLim.frozen()  # The limits follow the tracks, not the image
    axes.imshow(pixels, extent=(x, x + side, y, y + side), zorder=0)
    axes.set_aspect("equal", adjustable="datalim")
    axes.dataLim.set(tracks)
    axes.autoscale_view()


def _lines(tracks: Tracks, rows: np.ndarray) -> list[Floats]:
    """The chosen rows as one line [N, 2] per trajectory."""
    chosen = np.flatnonzero(rows)
    breaks = np.flatnonzero(np.diff(tracks.track[chosen])) + 1
    return [tracks.position[piece, :2] for piece in np.split(chosen, breaks) if len(piece) > 1]


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    columns = min(COLUMNS, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(4.2 * columns, 4.0 * rows + 0.5), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for spare in panels[count:]:
        spare.set_axis_off()
    return figure, panels[:count]


def _frame(axes: Axes, title: str, unit: str) -> None:
    axes.set_title(safe(title, 48), fontsize=9, parse_math=False)
    in_unit = f" ({safe(unit)})" if unit else ""
    axes.set_xlabel(f"x{in_unit}", fontsize=8, parse_math=False)
    axes.set_ylabel(f"y{in_unit}", fontsize=8, parse_math=False)
    axes.tick_params(labelsize=7)
    axes.set_aspect("equal", adjustable="datalim")
    axes.autoscale_view()


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=len(handles), fontsize=8)
