"""`trajflow plot`: what a run forecasts, beside what happened."""

from typing import Annotated

import typer

from trajflow.cli.console import say
from trajflow.cli.options import DataPath, Device, Loud, PictureOut, RunPath, Seed, Split, Steps


def plot(
    run: RunPath,
    data: DataPath,
    out: PictureOut,
    part: Split = "test",
    panels: Annotated[int, typer.Option(min=1, max=30, help="Moments drawn.")] = 6,
    scene: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only of a recording; repeatable.")
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="Futures drawn of each agent.")] = 20,
    steps: Steps = 1,
    seed: Seed = 0,
    coverage: Annotated[
        float | None,
        typer.Option(metavar="LEVEL", help="Also draw what holds this share, as 0.9, of the ends."),
    ] = None,
    device: Device = "auto",
    loud: Loud = None,
) -> None:
    """Draw histories, truths and sampled futures, of moments spread over a part."""
    from trajflow.calibration import region_of
    from trajflow.cli.loading import load_predictor
    from trajflow.cli.moments import some_moments
    from trajflow.datasets.store import open_store
    from trajflow.inference.tables import check_fit
    from trajflow.plotting import check_suffix, draw_forecasts, save
    from trajflow.run_data import track_data
    from trajflow.runs import RunFolder

    check_suffix(out)
    store, predictor = open_store(data), load_predictor(run, device, steps)
    check_fit(predictor, store, data)
    tracks = track_data(store, RunFolder.open(run).config)
    batch = some_moments(tracks, part, scene, panels)
    drawn = predictor.forecast(batch, samples, seed)
    now = batch.start + predictor.history - 1
    titles = [
        f"{store.scenes[code]}, {step * store.dt:.1f} s"
        for code, step in zip(batch.scene, now, strict=True)
    ]
    region = region_of(drawn, coverage, "each", predictor.calibration) if coverage else None
    save(draw_forecasts(batch, drawn, titles, store.unit, region=region), out)
    say(str(out))
