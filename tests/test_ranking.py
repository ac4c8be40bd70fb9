"""Rows of one protocol are ranked, ties as ties; rows of different ones are not."""

import numpy as np
import pytest

from trajflow.evaluation.ranking import by_protocol, differences, ranked
from trajflow.evaluation.reports import report_name

QUESTION = {"fingerprint": "f", "hash": "h", "split": "test", "fold": "eth"}


def row(name, score, low=None, high=None, **terms):
    asked = QUESTION | {"history": 8, "horizon": 12, "stride": 1}
    known = {name: terms.pop(name) for name in list(terms) if name in asked}
    ends = {} if low is None else {"energy_score": [low, high]}
    usual = {"samples": 20, "draws": 20, "selection": "plain", "joint": False, "steps": 1}
    scores = {"energy_score": score} if score is not None else {}
    return {"name": name, "protocol": asked | known, "mean": scores, "intervals": ends} | (
        usual | terms
    )


def test_within_one_protocol_rows_are_ranked_and_ties_marked():
    rows = [row("c", 3, 2.8, 3.2), row("a", 1, 0.9, 1.1), row("b", 1.05, 1.0, 1.2), row("d", None)]
    assert differences(rows) == []
    places = [(place.row["name"], place.rank, place.tied) for place in ranked(rows)]
    assert places == [("a", 1, True), ("b", 1, True), ("c", 3, False), ("d", 4, False)]
    assert ranked(rows[::-1]) == ranked(rows)


def judged(name, scores, seeds=()):
    """A row of one group of people, ten windows each, with these energy scores."""
    people = {"agent": list(range(len(scores))), "windows": [10] * len(scores)}
    error = 1.96 * np.std(scores) / np.sqrt(len(scores))
    known = {"per_person": {"a": {**people, "energy_score": list(scores)}}}
    if len(seeds):
        known["seed_means"] = {"energy_score": list(seeds)}
    return row(name, np.mean(scores), np.mean(scores) - error, np.mean(scores) + error) | known


def test_rows_are_told_apart_by_the_differences_of_the_same_people():
    """People differ by far more than the two forecasters do of any of them."""
    chance = np.random.default_rng(0)
    hard = chance.exponential(size=80)
    better, worse = hard + 0.01 * chance.normal(size=80), hard + 0.02
    other = hard + 0.2 * chance.normal(size=80)
    best, second = ranked([judged("worse", worse), judged("better", better)])
    assert [(p.row["name"], p.rank, p.tied) for p in (best, second)] == [
        ("better", 1, False),
        ("worse", 2, False),
    ]
    low, high = second.behind
    assert 0 < low < 0.02 < high < 0.04
    assert best.behind is None
    assert all(place.tied for place in ranked([judged("better", better), judged("other", other)]))


def test_a_difference_smaller_than_that_of_seeds_is_a_tie():
    hard = np.random.default_rng(0).exponential(size=80)
    one, other = hard, hard + 0.02
    steady, moved = np.mean(one) + np.array([-1, 0, 1]) * 0.0001, [-0.03, 0.0, 0.03]
    apart = ranked([judged("one", one, steady), judged("other", other, steady + 0.02)])
    assert [place.rank for place in apart] == [1, 2]
    seeds = np.mean(other) + np.array(moved)
    assert all(p.tied for p in ranked([judged("one", one, steady), judged("other", other, seeds)]))


def test_reports_of_other_people_are_compared_by_their_intervals():
    one, other = judged("one", [1.0, 2.0, 3.0]), judged("other", [1.1, 2.1, 3.1])
    other["per_person"]["a"]["agent"] = [3, 4, 5]
    places = ranked([one, other])
    assert all(place.tied for place in places)
    assert places[1].behind is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("samples", 5),
        ("draws", 1000),
        ("selection", "kmeans"),
        ("joint", True),
        ("hash", "other"),
        ("fingerprint", "other"),
        ("fold", None),
        ("history", 4),
        ("stride", 2),
        ("split", "val"),
    ],
)
def test_a_difference_of_protocol_is_named_with_its_rows(field, value):
    rows = [row("one", 1), row("two", 2), row("odd", 0, **{field: value})]
    (found,) = differences(rows)
    assert found.field == field
    assert sorted(map(sorted, found.rows.values())) == [["odd"], ["one", "two"]]
    assert "odd" in str(found)
    assert [len(group) for group in by_protocol(rows)] == [2, 1]


def test_steps_are_a_cost_and_no_other_question():
    assert differences([row("one", 1), row("four", 1, steps=4)]) == []


def test_a_chosen_set_does_not_overwrite_the_plain_draws():
    where = {"split": "test", "fold": "eth", "fingerprint": "0123456789"}
    terms = {"samples": 20, "steps": 1, "draws": 20, "selection": "plain"}
    assert report_name(where, terms) == "evaluation-test-eth-01234567-20x1.json"
    names = {
        report_name(where, terms | change)
        for change in (
            {},
            {"steps": 2},
            {"selection": "kmeans", "draws": 1000},
            {"selection": "kmeans", "draws": 200},
            {"selection": "medians", "draws": 200},
        )
    }
    assert len(names) == 5
