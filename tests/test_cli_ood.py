"""`trajflow evaluate --ood` on the command line: what it writes, and what it refuses."""

import json
import shutil

import pytest


@pytest.fixture(scope="module")
def run(trained, tmp_path_factory):
    """A run of its own, to write into."""
    folder = tmp_path_factory.mktemp("ood") / "tiny"
    shutil.copytree(trained[0], folder)
    return folder


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--against", "other.zarr"], "--against is for --ood"),
        (["--corruptions", "noise"], "--corruptions is for --ood"),
        (["--ood", "--baseline", "cv"], "--baseline does not go with --ood"),
        (["--ood", "--fold", "eth"], "--fold does not go with --ood"),
    ],
)
def test_options_that_do_not_go_together_are_refused(trajflow, words, said):
    code, _, error = trajflow("evaluate", "run", "data.zarr", *words)
    assert code == 2
    assert said in error


def test_ood_needs_a_run_and_its_tracks(trajflow):
    code, _, error = trajflow("evaluate", "data.zarr", "--ood")
    assert code == 2
    assert "RUN DATA" in error


def test_a_run_without_a_detector_says_how_to_get_it(trajflow, run, fork):
    (run / "ood.safetensors").unlink(missing_ok=True)
    code, _, error = trajflow("evaluate", run, fork, "--ood", "--windows", "30")
    assert code == 2
    assert "fit RUN DATA ood" in error


def test_the_report_is_shown_kept_and_drawn(trajflow, run, fork, tmp_path):
    code, _, error = trajflow("fit", run, fork, "ood", "-q")
    assert code == 0, error
    words = ["--ood", "--windows", "30", "--samples", "4", "-o", tmp_path / "new"]
    code, out, _ = trajflow("evaluate", run, fork, *words, "--corruptions", "noise,mirrored")
    assert code == 0
    assert "noise" in out
    assert "10 cm" in out
    assert "of ordinary people" in out
    assert "of 4 corruptions hurt and are flagged in less than half of the windows" in out
    kept = list(run.glob("ood-*-only-noise-mirrored.json"))
    assert len(kept) == 1
    assert kept[0].with_suffix(".png").read_bytes()[1:4] == b"PNG"
    report = json.loads((tmp_path / "new" / "ood.json").read_text())
    assert report == json.loads(kept[0].read_text())
    assert [one["level"] for one in report["corruptions"]] == ["2 cm", "5 cm", "10 cm", "all"]
    code, out, _ = trajflow(
        "evaluate", run, fork, *words, "--corruptions", "mirrored", "--json", "-q"
    )
    assert json.loads(out)["corruptions"][0]["key"] == "mirrored-1"
    code, _, error = trajflow("evaluate", run, fork, *words, "--corruptions", "nosie")
    assert code == 2
    assert "did you mean 'noise'" in error
