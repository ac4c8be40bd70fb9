"""The example service under attack, in a process of its own on the loopback interface."""

import sys
from pathlib import Path

import pytest

pytest.importorskip("uvicorn")
pytest.importorskip("websockets")
sys.path.insert(0, str(Path(__file__).parents[1] / "examples" / "faults"))

import hostile_requests

ALLOWED = ("--allow-host", "Street.Example", "--allow-origin", "https://map.example")


@pytest.fixture(scope="module")
def attacked(tmp_path_factory):
    """A service that allows one more host and one more origin than without options."""
    folder = tmp_path_factory.mktemp("service")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hostile_requests, "TIMEOUT", 1.5)
        options = ("--timeout", hostile_requests.TIMEOUT, *ALLOWED)
        with hostile_requests.serve(folder, *options) as service:
            yield service


def test_bytes_are_counted_and_not_believed(attacked):
    assert hostile_requests.oversized_bodies(attacked) == []


def test_requests_that_never_end_lock_nobody_out(attacked):
    assert hostile_requests.unfinished_requests(attacked) == []


def test_other_hosts_and_pages_of_other_origins_are_refused(attacked):
    assert hostile_requests.foreign_hosts(attacked) == []


def test_viewers_that_leave_write_nothing_into_the_log(attacked):
    assert hostile_requests.leaving_viewers(attacked) == []


@pytest.mark.slow
def test_viewers_that_do_not_read_make_room_for_others(attacked):
    assert hostile_requests.stalled_viewers(attacked) == []
    assert hostile_requests.logged_errors(attacked) == []


def test_a_host_and_an_origin_may_be_allowed(attacked):
    allowed = {"Host": "street.example:1", "Origin": "https://map.example"}
    assert attacked.request(**allowed) == 200
    assert attacked.request(**{**allowed, "Origin": "https://map.example.evil"}) == 403
    assert attacked.request(**{**allowed, "Host": "street.example.evil"}) == 400
