"""One recording larger than memory: cut in time, it has the windows it has as a whole."""

import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from trajflow.datasets.loader import TrackData
from trajflow.datasets.schema import TrackBlock
from trajflow.datasets.store import Store, open_store
from trajflow.datasets.writer import StoreWriter
from trajflow.errors import DataError

SHAPE = {"history": 3, "horizon": 2}


def walks_of(chance, agents):
    """Steps of agents who come and go, some for the whole recording, some with gaps."""
    for agent in range(agents):
        first = int(chance.integers(-5, 80))
        steps = first + np.arange(chance.integers(1, 120 if agent % 7 == 0 else 25))
        yield steps[chance.random(len(steps)) > (0.1 if agent % 3 == 0 else 0)]


def write(path, chance, agents=40, splits=("all",)):
    """A large recording between two small ones, with agents of two types."""
    with StoreWriter(path, dims=2, dt=0.5, unit="m") as writer:
        for scene, count in (("a", 3), ("hall", agents), ("z", 3)):
            walks = [w for w in walks_of(chance, count) if len(w)]
            steps = np.concatenate(walks)
            names = np.array(splits)[np.sort(chance.integers(0, len(splits), len(steps)))]
            writer.append(
                TrackBlock(
                    scene=scene,
                    labels=list(range(len(walks))),
                    types=[("walker", "cyclist")[k % 2] for k in range(len(walks))],
                    rowsize=np.array([len(walk) for walk in walks]),
                    time=steps * 0.5,
                    position=chance.normal(size=(len(steps), 2)).cumsum(0),
                    split=names if len(splits) > 1 else splits[0],
                )
            )
    return open_store(path)


def each_window(data, split):
    """Every window of a split, in order, with all its arrays."""
    for windows in data.stream(split):
        for number in range(len(windows)):
            batch = windows.gather(np.array([number]))
            yield [None if v is None else v.tobytes() for v in vars(batch).values()]


SETTINGS = [
    {"split": "time"},
    {"split": "time", "stride": 3, "neighbors": 2},
    {"split": "time", "fold": "z", "reach": 2},
    {"split": "stored", "val_by": "time", "fractions": (0.7, 0.3, 0.0)},
    {"split": "stored", "val_by": "agent", "fractions": (0.7, 0.3, 0.0), "fraction": 0.4},
    {"split": "agent", "reach": 2, "around": ("train", "test"), "neighbors": 3},
]


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_recording_cut_in_time_has_the_same_windows_wherever_it_is_cut(tmp_path, settings, seed):
    chance = np.random.default_rng(seed)
    splits = ("train", "test") if settings["split"] == "stored" else ("all",)
    store = write(tmp_path / "tracks.zarr", chance, splits=splits)
    whole = TrackData(store, **SHAPE, **settings)
    facts = whole.describe()
    expected = {split: list(each_window(whole, split)) for split in ("train", "val")}
    assert min(map(len, expected.values())) > 2
    for max_rows in (1, *chance.integers(60, store.rows, 2).tolist()):
        data = TrackData(store, **SHAPE, **settings, max_rows=max_rows)
        assert data.describe() == facts
        for split, windows in expected.items():
            assert list(each_window(data, split)) == windows


@pytest.mark.parametrize("max_rows", [10**6, 100])
def test_a_recording_too_short_for_a_split_in_time_is_split_by_agents(store_of, max_rows):
    few, short, long = (
        store_of({"hall": ("all", [range(steps)] * agents)}, name=f"{agents}-{steps}.zarr")
        for agents, steps in ((10, 60), (40, 60), (40, 140))
    )
    shape = {"history": 8, "horizon": 12, "max_rows": max_rows}
    data = TrackData(short, **shape)
    assert data.split.kind == "agent"
    assert all(part["windows"] for part in data.describe()["parts"].values())
    assert data.leakage()["train+val"].size == 0
    assert TrackData(long, **shape).split.kind == "time"
    assert TrackData(short, **shape | {"history": 2, "horizon": 2}).split.kind == "time"
    for data in (TrackData(few, **shape), TrackData(short, **shape, split="time")):
        with pytest.raises(DataError, match="no windows of 8 \\+ 12 steps in split 'val'"):
            data.steps(32)


def loaded_rows(monkeypatch):
    load, rows = Store.tracks, []

    def watched(store, *parts):
        tracks = load(store, *parts)
        rows.append(len(tracks.step))
        return tracks

    monkeypatch.setattr(Store, "tracks", watched)
    return rows


def test_no_more_rows_of_a_recording_are_loaded_than_the_budget(tmp_path, monkeypatch):
    store = write(tmp_path / "tracks.zarr", np.random.default_rng(0), agents=300)
    data = TrackData(store, **SHAPE, split="time", max_rows=1000)
    rows = loaded_rows(monkeypatch)
    assert sum(batch.targets for batch in data.training(20, 0)) > 1000
    assert len(rows) > 6
    assert max(rows) <= 1000 < store.scene_rows["hall"]


def named(batches):
    """All arrays of each target and its neighbors, whatever batch they are in."""
    return {
        (batch.start[b], batch.agent[b, a]): (
            batch.past[b, a].tobytes(),
            np.sort(batch.memory[b, a], 0).tobytes(),
        )
        for batch in batches
        for b, a in zip(*np.nonzero(batch.target), strict=True)
    }


@pytest.mark.parametrize("split", ["train", "val"])
def test_windows_of_a_cut_recording_remember_what_those_of_the_whole_do(tmp_path, split):
    store = write(tmp_path / "tracks.zarr", np.random.default_rng(1), agents=60)
    expected, cut = (
        TrackData(store, **SHAPE, split="time", fractions=(0.6, 0.4, 0.0), max_rows=rows)
        for rows in (10**6, 250)
    )
    expected.watch(4, 3.0)
    cut.watch(4, 3.0)
    remembered = named(expected.batches(split, 20))
    assert len(list(cut.stream(split))) > 2
    assert any(np.isfinite(np.frombuffer(memory)).any() for _, memory in remembered.values())
    assert named(cut.batches(split, 20)) == remembered


def test_a_training_on_a_cut_recording_goes_on_from_any_step(tmp_path):
    store = write(tmp_path / "tracks.zarr", np.random.default_rng(2), agents=60)
    data, again = (TrackData(store, **SHAPE, split="time", max_rows=300) for _ in range(2))
    epochs = [[batch.past.tobytes() for batch in data.training(9, epoch)] for epoch in (0, 1)]
    assert len(epochs[0]) == len(epochs[1]) == data.steps(9)
    assert epochs[0] != epochs[1]
    for skip in (1, len(epochs[1]) // 2, len(epochs[1]) - 1):
        assert [batch.past.tobytes() for batch in again.training(9, 1, skip)] == epochs[1][skip:]


@pytest.fixture
def large(tmp_path):
    """A store that is large enough for its survey to be kept."""
    with StoreWriter(tmp_path / "large.zarr", dims=2, dt=0.5, unit="m") as writer:
        for scene in "abcde":
            steps = np.repeat(np.arange(0, 600, 3), 120) + np.tile(np.arange(120), 200)
            writer.append(
                TrackBlock(
                    scene=scene,
                    labels=list(range(200)),
                    types=["walker"] * 200,
                    rowsize=np.full(200, 120),
                    time=steps * 0.5,
                    position=np.random.default_rng(0).normal(size=(len(steps), 2)),
                    split="all",
                )
            )
    return open_store(tmp_path / "large.zarr")


def test_some_steps_of_a_store_take_no_memory_for_its_other_rows(large, monkeypatch):
    monkeypatch.setattr("trajflow.datasets.store.PIECE", 5000)
    large.tracks(["a"], (0, 3))  # what is imported first
    tracemalloc.start()
    rows = len(large.tracks(steps=(0, 3)).step)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 0 < rows < 100
    assert peak < 8 * large.rows + 1_000_000  # a chunk that is read, whole


def described(large, **settings):
    data = TrackData(open_store(large.path), **SHAPE, **({"split": "time"} | settings))
    return data.describe()


def kept(large):
    return sorted(large.path.with_name(".large.zarr.surveys").glob("*"))


@pytest.mark.parametrize("settings", [{}, {"max_rows": 10_000}, {"fraction": 0.5}])
def test_a_second_start_reads_no_rows(large, settings):
    first = described(large, **settings)
    chunks = large.path / "x" / "c"
    chunks.rename(large.path.parent / "elsewhere")
    chunks.mkdir()
    for name in (large.path.parent / "elsewhere").iterdir():
        (chunks / name.name).write_bytes(b"no chunk")
    assert described(large, **settings) == first


def test_a_kept_survey_serves_the_same_question_alone(large):
    questions = [{}, {"stride": 2}, {"fraction": 0.5}, {"seed": 1, "fraction": 0.5}]
    questions += [{"split": "scene"}, {"neighbors": 0}, {"max_rows": 10_000}]
    answers = [described(large, **question) for question in questions]
    assert len(kept(large)) == len(questions)
    assert [described(large, **question) for question in questions] == answers
    assert len({str(answer) for answer in answers}) == len(questions) - 1  # max_rows changes none


def test_a_damaged_survey_is_made_again(large):
    first = described(large)
    (file,) = kept(large)
    content = file.read_bytes()
    for damage in (b"", content[:-1], content[:50], b"x" * 100, content + b"x"):
        file.write_bytes(damage)
        assert described(large) == first
        assert file.read_bytes() == content
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    file.write_bytes(flipped)
    assert described(large) == first


def test_a_store_that_was_replaced_is_surveyed_again(large):
    first = described(large)
    content = open_store(large.path).tracks()
    with StoreWriter(large.path, dims=2, dt=0.5, unit="m", overwrite=True) as writer:
        writer.append(
            TrackBlock(
                scene="a",
                labels=list(range(1000)),
                types=["walker"] * 1000,
                rowsize=np.bincount(content.track),
                time=np.concatenate([np.arange(120) * 0.5] * 1000),
                position=content.position,
                split="all",
            )
        )
    second = described(large)
    assert second != first
    kept(large)[0].unlink()
    kept(large)[0].unlink()
    assert described(large) == second


def test_a_survey_that_cannot_be_kept_is_made_each_time(large):
    large.path.with_name(".large.zarr.surveys").write_text("no folder")
    assert described(large) == described(large)


def test_starts_at_the_same_time_keep_one_survey(large):
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: described(large), range(4)))
    assert answers == [described(large)] * 4
    assert len(kept(large)) == 1


def test_small_stores_have_no_survey_beside_them(tmp_path):
    store = write(tmp_path / "tracks.zarr", np.random.default_rng(0))
    TrackData(store, **SHAPE, split="time").describe()
    assert [path.name for path in tmp_path.iterdir()] == ["tracks.zarr"]
