"""Recordings whose real clock is told: who is told, who is not, and what may be asked."""

from dataclasses import replace

import numpy as np
import pytest
from test_training import walks

from trajflow.errors import ConfigError
from trajflow.evaluation.batches import read_clocks, with_clocks
from trajflow.evaluation.ranking import differences
from trajflow.evaluation.report import report_name

SCENES = ["gate", "hall", "yard"]


def batch(scene):
    found = walks(len(scene), 0)
    return replace(found, scene=np.array(scene))


def test_clocks_are_read_by_recording():
    assert read_clocks("") == {}
    assert read_clocks("gate=0.5, a=b=2") == {"gate": 0.5, "a=b": 2.0}


@pytest.mark.parametrize("words", ["gate", "gate=", "=0.5", "gate=0", "gate=-1", "gate=inf", "a=x"])
def test_what_is_no_clock_is_refused(words):
    with pytest.raises(ConfigError, match="RECORDING=SECONDS"):
        read_clocks(words)


def test_only_the_named_recordings_have_another_clock():
    (one,) = with_clocks([batch([2, 0, 1, 0])], SCENES, {"gate": 0.5}, 0.4)
    assert one.dt_ratio == pytest.approx([1, 1.25, 1, 1.25])
    (untold,) = with_clocks([batch([2, 0])], SCENES, {}, 0.4)
    assert untold.dt_ratio is None
    with pytest.raises(ConfigError, match="did you mean 'gate'"):
        with_clocks([], SCENES, {"gat": 0.5}, 0.4)


def test_reports_with_and_without_are_two_files_and_not_ranked():
    where = {"split": "test", "fold": "gate", "fingerprint": "0123456789"}
    terms = {"samples": 20, "steps": 1, "selection": "plain", "draws": 20}
    names = {report_name(where, terms | {"clocks": one}) for one in ("", "gate=0.5", "gate=0.6")}
    assert len(names) == 3
    assert report_name(where, terms) in names
    rows = [{"name": one, "protocol": {}, **terms, "clocks": one} for one in ("", "gate=0.5")]
    assert [d.field for d in differences(rows)] == ["clocks"]
