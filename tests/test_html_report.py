"""`trajflow report`: one HTML file about a run that needs nothing else."""

import json
import os
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest

from trajflow import Predictor, evaluate_run, metrics
from trajflow.cli import main
from trajflow.datasets.loader import TrackData
from trajflow.datasets.schema import TrackBlock
from trajflow.datasets.store import open_store
from trajflow.datasets.writer import StoreWriter
from trajflow.html_report.page import scores


@pytest.fixture(scope="module")
def run(trained, tmp_path_factory):
    """A run of its own, in a folder that may be written to."""
    return shutil.copytree(trained[0], tmp_path_factory.mktemp("runs") / "tiny")


@pytest.fixture(scope="module")
def page(run, fork, tmp_path_factory):
    """The report of the run."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    with pytest.raises(SystemExit) as left:
        main(["report", str(run), str(fork), "-o", str(path), "--panels", "2"])
    assert not left.value.code
    return path.read_text(encoding="utf-8")


def values_of(page):
    return json.loads(
        re.search(r'<script type="application/json" id="data">(.*?)</script>', page)[1]
    )


class Table(HTMLParser):
    """The rows of the first table of a page."""

    def __init__(self, page):
        super().__init__()
        self.rows, self.inside = [], True
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        if self.inside and tag == "tr":
            self.rows.append([])
        elif self.inside and tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        self.inside &= tag != "table"

    def handle_data(self, data):
        if self.inside and self.rows and self.rows[-1]:
            self.rows[-1][-1] += data


def test_it_needs_no_other_file_and_no_network(page):
    assert not re.findall(
        r"""(?:src|href)=|@import|url\(|https?://(?!www\.w3\.org/2000/svg)""", page
    )
    assert "default-src 'none'" in page
    assert len(page) < 3_000_000


def test_scores_are_those_of_evaluate_and_the_lowest_energy_score_stands_first(page, run, fork):
    head, *rows = Table(page).rows
    energy = head.index("energy score")
    shown = {row[0]: float(row[energy].split()[0]) for row in rows}
    assert shown[run.name] == float(f"{evaluate_run(run, fork)['mean']['energy_score']:.3g}")
    assert list(shown.values()) == sorted(shown.values())
    assert {"cv (baseline)", "analog (baseline)"} <= shown.keys()


@pytest.mark.parametrize("first", ["run", "analog"])
def test_whoever_has_the_lowest_energy_score_is_named_in_words(page, first):
    def evaluation(name, score):
        return {"name": name, "mean": {"energy_score": score}, "intervals": {}}

    names = [first, "cv", *({"run", "analog"} - {first})]
    text = scores([evaluation(name, 1.0 + k) for k, name in enumerate(names)], "run", "mine", "m")
    won = "The run has the lowest energy score" in text
    assert won == (first == "run")
    assert ("The baseline analog has a lower energy score than the run" in text) != won
    assert Table(page).rows[1][0].endswith("(baseline)") != ("run has the lowest" in page)


def test_maps_hold_what_was_seen_and_the_samples_of_the_run(page, run, fork):
    data = values_of(page)
    kinds = {kind["name"]: kind["windows"] for kind in data["windows"]}
    assert {"Largest error", "Typical error"} <= kinds.keys()
    assert all(len(windows) == 2 for windows in kinds.values())
    agent = kinds["Largest error"][0]["agents"][0]
    assert np.shape(agent["samples"])[0] == 20
    batches = TrackData(open_store(fork), history=8, horizon=12).batches("test", 64)
    pasts = np.concatenate([batch.past[batch.target] for batch in batches])
    assert min(np.abs(pasts - np.array(agent["past"])).max((1, 2))) < 2e-3
    worst, typical = (
        float(kinds[name][0]["agents"][0]["scores"][2]) for name in kinds if "error" in name
    )
    assert worst > typical


def test_regions_that_promise_more_hold_more(page):
    for curve in values_of(page)["reliability"]:
        level, inside = np.array(curve["points"]).T
        assert (np.diff(inside) >= 0).all()
        assert (np.diff(level) > 0).all()
        assert 0 <= inside[0] <= inside[-1] <= 1


def test_keeping_all_windows_leaves_the_mean_error_whatever_they_are_kept_by(page, run, fork):
    ends = {curve["name"]: curve["points"][-1][1] for curve in values_of(page)["retention"]}
    batches = TrackData(open_store(fork), history=8, horizon=12).validation(256, 2000, "test")
    batch = next(iter(batches))
    drawn = Predictor.load(run).forecast(batch, 20, 0)[:, batch.target]
    expected = metrics.energy_score(drawn, batch.future[batch.target]).mean()
    assert ends["the error itself"] == pytest.approx(expected, rel=1e-4)
    assert len(set(ends.values())) == 1


def test_without_an_ood_report_it_says_how_to_make_one(page, run, fork):
    assert f"trajflow evaluate {run} {fork} --ood" in page


def test_data_is_found_by_the_last_evaluation(trajflow, run, page, tmp_path):
    out, last = tmp_path / "again.html", next(run.glob("evaluation-*.json"))
    earlier = json.loads(last.read_text())
    earlier["protocol"]["data"] = str(tmp_path)  # a folder, but not the last one
    (run / "evaluation-earlier.json").write_text(json.dumps(earlier))
    os.utime(run / "evaluation-earlier.json", (0, 0))
    assert trajflow("report", run, "-o", out, "--panels", "1")[:2] == (0, f"{out}\n")
    assert Table(out.read_text()).rows == Table(page).rows
    (run / "evaluation-earlier.json").unlink()


def test_a_run_that_does_not_know_its_tracks_asks_for_them(trajflow, trained, tmp_path):
    bare = shutil.copytree(trained[0], tmp_path / "bare")
    for report in bare.glob("evaluation-*"):
        report.unlink()
    code, _, said = trajflow("report", bare, "-o", tmp_path / "x.html")
    assert code == 2
    assert f"trajflow report {bare} DATA.zarr" in said
    assert not (tmp_path / "x.html").exists()


def test_a_place_that_cannot_be_written_is_refused_before_anything_is_evaluated(
    trajflow, run, fork, tmp_path
):
    code, _, said = trajflow("report", run, fork, "-o", tmp_path / "none" / "x.html")
    assert (code, "no folder" in said) == (2, True)
    code, _, said = trajflow("report", run, fork, "-o", tmp_path)
    assert (code, "is a folder" in said) == (2, True)


def test_names_from_data_cannot_act(trajflow, tiny, tmp_path):
    """Names of recordings and agents that would end the script or start a tag."""
    name, steps = "</script><img src=x onerror=alert(1)>@@%%", np.arange(25)
    with StoreWriter(tmp_path / "odd.zarr", dims=2, dt=0.5, unit="m") as writer:
        for split in ("train", "val", "test"):
            chance = np.random.default_rng(len(split))
            writer.append(
                TrackBlock(
                    scene=f"{name}{split}",
                    labels=[f"{name}{k}" for k in range(8)],
                    types=["walker"] * 8,
                    rowsize=np.full(8, 25),
                    time=np.tile(steps * 0.5, 8),
                    position=chance.normal(size=(200, 2)).cumsum(0),
                    split=split,
                )
            )
    odd = tmp_path / "run<b>"
    assert trajflow("train", tmp_path / "odd.zarr", "--out", odd, *tiny)[0] == 0
    out = tmp_path / "odd.html"
    assert trajflow("report", odd, tmp_path / "odd.zarr", "-o", out)[0] == 0
    text = out.read_text(encoding="utf-8")
    assert "<img" not in text
    assert "run<b>" not in text
    windows = values_of(text)["windows"][0]["windows"]
    assert name in windows[0]["agents"][0]["id"]


def test_the_distance_of_a_miss_stands_below_the_scores(page):
    assert "Misses are beyond 2 m: as in the field, for people in metres" in page
