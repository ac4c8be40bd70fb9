"""The ETH/UCY benchmark, leave one scene out: train, evaluate, and write the table.

    trajflow data import FOLDER -o ethucy.zarr
    python examples/benchmarks/pedestrians.py ethucy.zarr -o results [--folds zara1] [--seeds 1]

The same command continues after an interruption. Weights are selected on the validation split; the
test split is evaluated with 20 plain samples, and with the selection rules of `--select`.
"""

from collections.abc import Sequence

from harness import main
from plan import Benchmark

from trajflow.datasets import Store
from trajflow.errors import ConfigError

WINDOWS = {"eth": 364, "hotel": 1197, "univ": 24334, "zara1": 2356, "zara2": 5910}


def folds(store: Store) -> Sequence[str]:
    """Names of the leave-one-out folds.

    Raises:
        ConfigError: The store has no folds.
    """
    if not store.folds:
        raise ConfigError(
            f"{store.path} has no leave-one-out folds; import it with `trajflow data import FOLDER`"
        )
    return list(store.folds)


def settings(store: Store, fold: str) -> list[str]:
    """The settings that select a fold."""
    return [f"data.fold={fold}"]


BENCHMARK = Benchmark(
    name="ethucy",
    script="pedestrians.py",
    title="ETH/UCY, leave one out",
    windows=WINDOWS,
    folds=folds,
    settings=settings,
)

if __name__ == "__main__":
    main(BENCHMARK, __doc__)
