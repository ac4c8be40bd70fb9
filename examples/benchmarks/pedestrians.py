"""ETH/UCY, leave one scene out: trains, judges, and writes the table.

    trajflow data import FOLDER -o ethucy.zarr
    python examples/benchmarks/pedestrians.py ethucy.zarr -o results [--folds zara1] [--seeds 1]

The same command goes on where it was stopped. Weights are chosen on validation only; the test split
is judged by 20 plain draws, beside any chosen set.
"""

from collections.abc import Sequence

from harness import main
from plan import Benchmark

from trajflow.datasets import Store
from trajflow.errors import ConfigError

WINDOWS = {"eth": 364, "hotel": 1197, "univ": 24334, "zara1": 2356, "zara2": 5910}


def folds(store: Store) -> Sequence[str]:
    """Names of the folds, of which each is left out in turn.

    Raises:
        ConfigError: The store has none.
    """
    if not store.folds:
        raise ConfigError(
            f"{store.path} names no leave-one-out folds; import it with "
            "`trajflow data import FOLDER`, which does"
        )
    return list(store.folds)


def settings(store: Store, fold: str) -> list[str]:
    """Settings that make the splits of a fold."""
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
