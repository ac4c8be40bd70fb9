"""Forecasts on disk: what was written is what is read."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import xarray

from trajflow.errors import DataError
from trajflow.inference.tracks import Futures
from trajflow.inference.writers import write_forecasts

S, F, D = 7, 5, 3
DRAWN = np.random.default_rng(0).normal(size=(S, 4, F, D))
CHUNKS = [
    Futures(["hall", "hall"], ["1", "=cmd"], np.array([8, 8]), DRAWN[:, :2], 0.4),
    Futures(["yard", "hall"], ["1", "2"], np.array([9, 11]), DRAWN[:, 2:], 0.4),
]


def read(path):
    return pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_tables_hold_every_sample_and_step(tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    write_forecasts(CHUNKS, path, {"run": "r"})
    frame = read(path)
    key = ["scene", "agent", "issued_at", "lead", "sample"]
    assert list(frame) == [*key, "step", "time", "x", "y", "z"]
    assert len(frame) == 4 * S * F
    yard = frame[(frame.scene == "yard") & (frame["sample"] == 6)]
    assert yard.step.tolist() == [10, 11, 12, 13, 14]
    np.testing.assert_allclose(yard.time, 0.4 * yard.step)
    np.testing.assert_array_equal(yard[["x", "y", "z"]].to_numpy(), DRAWN[6, 2])


def test_a_spreadsheet_takes_no_name_for_a_formula(tmp_path):
    write_forecasts(CHUNKS, tmp_path / "out.csv", {})
    assert set(read(tmp_path / "out.csv").agent) == {"1", "'=cmd", "2"}
    write_forecasts(CHUNKS, tmp_path / "out.parquet", {})
    assert set(read(tmp_path / "out.parquet").agent) == {"1", "=cmd", "2"}


def test_parquet_keeps_the_facts(tmp_path):
    write_forecasts(CHUNKS, tmp_path / "out.parquet", {"run": "r", "seed": 3})
    facts = pq.read_schema(tmp_path / "out.parquet").metadata
    assert (facts[b"run"], facts[b"seed"]) == (b"r", b"3")


def test_zarr_opens_in_xarray(tmp_path):
    write_forecasts(CHUNKS, tmp_path / "out.zarr", {"run": "r"})
    found = xarray.open_zarr(tmp_path / "out.zarr", consolidated=False)
    assert found.samples.dims == ("forecast", "sample", "ahead", "axis")
    np.testing.assert_array_equal(found.samples, DRAWN.swapaxes(0, 1))
    assert [found.attrs["scenes"][code] for code in found.scene.values] == [
        "hall",
        "hall",
        "yard",
        "hall",
    ]
    assert [found.attrs["agents"][code] for code in found.agent.values] == ["1", "=cmd", "1", "2"]
    assert found.step.values.tolist() == [8, 8, 9, 11]
    assert found.attrs["run"] == "r"


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".zarr"])
def test_a_failure_on_the_way_leaves_nothing(tmp_path, suffix):
    def broken():
        yield CHUNKS[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_forecasts(broken(), tmp_path / f"out{suffix}", {})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".zarr"])
def test_an_existing_file_is_replaced_only_with_overwrite(tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    write_forecasts(CHUNKS, path, {})
    with pytest.raises(DataError, match="exists already"):
        write_forecasts(CHUNKS[1:], path, {})
    write_forecasts(CHUNKS[1:], path, {}, overwrite=True)
    rows = len(xarray.open_zarr(path, consolidated=False).step) if suffix == ".zarr" else 0
    assert rows == 2 if suffix == ".zarr" else len(read(path)) == 2 * S * F
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_folder_of_something_else_is_never_replaced(tmp_path):
    (tmp_path / "out.zarr").mkdir()
    (tmp_path / "out.zarr" / "thesis.txt").write_text("all of it")
    with pytest.raises(DataError, match="not be overwritten"):
        write_forecasts(CHUNKS, tmp_path / "out.zarr", {}, overwrite=True)
    assert (tmp_path / "out.zarr" / "thesis.txt").read_text() == "all of it"


def test_an_unknown_suffix_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"\.csv, \.parquet, \.zarr; got 'out\.xls'"):
        write_forecasts(CHUNKS, tmp_path / "out.xls", {})


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="the system counts no bytes written")
def test_a_group_is_written_once_however_small_the_parts_are(tmp_path):
    def written():
        lines = Path("/proc/self/io").read_text().splitlines()
        return int(dict(line.split(": ") for line in lines)["wchar"])

    drawn = np.random.default_rng(0).normal(size=(S, 9000, F, D))
    parts = [
        Futures(["hall"] * 100, [str(k)] * 100, np.full(100, k), drawn[:, k : k + 100], 0.4)
        for k in range(0, 9000, 100)
    ]
    before = written()
    write_forecasts(parts, tmp_path / "out.zarr", {})
    size = sum(file.stat().st_size for file in (tmp_path / "out.zarr").rglob("*") if file.is_file())
    assert written() - before < 1.2 * size
    found = xarray.open_zarr(tmp_path / "out.zarr", consolidated=False)
    np.testing.assert_array_equal(found.samples, drawn.swapaxes(0, 1))
    assert found.step.values.tolist() == np.repeat(np.arange(0, 9000, 100), 100).tolist()
