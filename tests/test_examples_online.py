"""The examples of loops, nodes and services do what they say, to an untrained network."""

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from trajflow import OnlinePredictor
from trajflow.inference.predictor import TorchPredictor
from trajflow.models.serialization import pack
from trajflow.models.trajectory_model import Architecture, TrajectoryModel

EXAMPLES = Path(__file__).parents[1] / "examples"
TOPIC = "/people"
ARRAY = "visualization_msgs/msg/MarkerArray"


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    torch.manual_seed(0)
    model = TrajectoryModel(Architecture(8, 12, width=16, decoder_width=16, decoder_depth=1))
    folder = tmp_path_factory.mktemp("run")
    (folder / "weights.safetensors").write_bytes(pack(model, {"dt": 0.4, "unit": "m"}))
    return folder


@pytest.fixture(autouse=True)
def beside(monkeypatch):
    """Examples import each other as scripts do."""
    monkeypatch.syspath_prepend(str(EXAMPLES))


@pytest.fixture
def ran(monkeypatch, capsys):
    """Runs an example as a script: what it printed, or said where it left with a code."""

    def run(name, *words, code=None):
        monkeypatch.setattr(sys, "argv", [name, *map(str, words)])
        capsys.readouterr()
        if code is None:
            runpy.run_path(str(EXAMPLES / name), run_name="__main__")
            return capsys.readouterr().out
        with pytest.raises(SystemExit) as left:
            runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        if code == 1:
            return str(left.value.code)
        assert left.value.code == code
        return capsys.readouterr().err

    return run


def test_the_loop_says_what_it_forecasts(ran, run_folder):
    out = ran("loop_20hz.py", run_folder, 0.2)
    assert out == "" or "agents" in out


@pytest.mark.parametrize("hog", [0, 1])
def test_a_simulation_counts_its_deadlines(ran, run_folder, hog):
    words = ["--minutes", 0.05, "--agents", 7, "--deadline", 2000, "--faster-than-real-time"]
    found = json.loads(ran("online_simulation.py", run_folder, *words, "--hog", hog, "--json"))
    assert (found["forecasts"], found["skipped"], found["missed"]) == (60, 0, 0)
    assert found["ms"]["p50"] <= found["ms"]["p99"] <= found["ms"]["max"]
    assert found["samples"]["min"] <= found["samples"]["mean"] <= 20
    assert found["end"]["files"] == found["warm"]["files"]
    assert found["settings"]["hog"] == hog
    assert 4 < found["agents"] < 14


def test_a_street_is_the_same_for_equal_seeds_and_has_late_and_missing_observations():
    from simulated_street import PERIOD, Street

    def seen(seed):
        street = Street(30, seed)
        return [(k, *one) for k in range(200) for one in street.step(k)]

    first, again, other = seen(1), seen(1), seen(2)
    assert [one[:3] for one in first] == [one[:3] for one in again]
    assert [one[1] for one in first] != [one[1] for one in other]
    late = [one for one in first if one[0] * PERIOD - one[1] > PERIOD]
    count = sum(len(one[2]) for one in first) / (30 * 200)
    assert 0.9 < count < 0.97
    assert late


@pytest.fixture(scope="module")
def store():
    typesys = pytest.importorskip("rosbags.typesys")
    return typesys.get_typestore(typesys.Stores.ROS2_HUMBLE)


def walked(types, tick, frame="map"):
    """People 3 and 4 of a tracker as it tells of them at a tick; of another it tells no more."""
    moment = 1_700_000_000 + 0.1 * tick
    stamp = types.Time(sec=int(moment), nanosec=round(moment % 1 * 1e9))
    header = types.Header(stamp=stamp, frame_id=frame)
    markers = []
    for number in (3, 4, 5):
        marker = types.Marker(header=header, ns="people", id=number, action=2 * (number == 5))
        marker.pose.position.x, marker.pose.position.y = 0.13 * tick, float(number)
        markers.append(marker)
    return types.MarkerArray(markers=markers)


@pytest.fixture
def bag(store, tmp_path):
    """A recording of four seconds of tracks, ten times a second."""
    from ros2_bag import types_of
    from rosbags.rosbag2 import Writer

    with Writer(tmp_path / "tracks", version=9) as writer:
        topic = writer.add_connection(TOPIC, ARRAY, typestore=store)
        for tick in range(41):
            content = store.serialize_cdr(walked(types_of(store), tick), ARRAY)
            writer.write(topic, round((1_700_000_000 + 0.1 * tick) * 1e9), content)
    return tmp_path / "tracks"


def test_a_recording_of_tracks_becomes_one_of_forecasts(ran, run_folder, store, bag, tmp_path):
    from rosbags.rosbag2 import Reader

    out = ran("ros2_bag.py", run_folder, bag, tmp_path / "out", "--topic", TOPIC, "--rate", 5)
    with Reader(tmp_path / "out") as reader:
        said = [(now, store.deserialize_cdr(raw, ARRAY)) for _, now, raw in reader.messages()]
    assert f"wrote {len(said)} forecasts" in out
    assert np.diff([now for now, _ in said]) == pytest.approx(2e8)
    first, second = said[-1][1].markers
    assert [(m.ns, m.id, m.header.frame_id, m.type) for m in (first, second)] == [
        ("forecast people", 3, "map", 5),
        ("forecast people", 4, "map", 5),
    ]
    online = OnlinePredictor(TorchPredictor.load(run_folder))
    for tick in range(41):
        online.push(1_700_000_000 + 0.1 * tick, [3, 4], [[0.13 * tick, 3], [0.13 * tick, 4]])
    expected = online.forecast()
    points = np.array([[p.x, p.y, p.z] for p in second.points]).reshape(5, 11, 2, 3)
    paths = expected.forecast.samples[:5, 1]
    assert points[:, :, 0, :2] == pytest.approx(paths[:, :-1], abs=1e-4)
    assert points[:, :, 1, :2] == pytest.approx(paths[:, 1:], abs=1e-4)
    assert not points[..., 2].any()
    stamp = first.header.stamp
    assert stamp.sec + 1e-9 * stamp.nanosec == pytest.approx(1_700_000_004, abs=1e-6)
    lifetime = first.lifetime
    assert (lifetime.sec, lifetime.nanosec) == (0, 400_000_000)


def test_a_recording_without_tracks_says_what_there_is(ran, run_folder, store, bag, tmp_path):
    said = ran("ros2_bag.py", run_folder, bag, tmp_path / "out", "--topic", "/cars", code=2)
    assert f"on /cars in {bag}; there are {TOPIC} ({ARRAY})" in said


def test_tracks_of_another_frame_are_refused(run_folder, store):
    from ros2_bag import types_of
    from ros2_messages import Tracks

    from trajflow import TrajflowError

    types = types_of(store)
    tracks = Tracks(OnlinePredictor(TorchPredictor.load(run_folder)))
    tracks.push(walked(types, 0))
    with pytest.raises(TrajflowError, match="in the frame 'map', got 'base_link'"):
        tracks.push(walked(types, 1, "base_link"))


def test_colours_say_how_far_to_rely_on_a_forecast(run_folder, store):
    from ros2_bag import types_of
    from ros2_messages import CONSTANT_VELOCITY, SAMPLED, STALE, Tracks

    types, now = types_of(store), [0.0]
    predictor = TorchPredictor.load(run_folder)
    tracks = Tracks(OnlinePredictor(predictor, max_distance=0.6, clock=lambda: now[0]))
    tracks.push(walked(types, 0))
    tracks.online.push(1_700_000_000, [("people", 9)], [[50.0, 3.5]])

    def colours():
        shown = tracks.to_message(types, 0.1).markers
        return [tuple(getattr(m.color, name) for name in "rgba") for m in shown]

    assert colours() == [SAMPLED, SAMPLED, CONSTANT_VELOCITY]
    now[0] = 2.0
    assert colours() == [STALE] * 3


def test_the_node_says_that_it_needs_ros(ran):
    try:
        import rclpy  # noqa: F401
    except ImportError:
        assert "source your ROS 2 installation" in ran("ros2_node.py", code=1)


@pytest.fixture
def client(run_folder):
    pytest.importorskip("httpx")
    testing = pytest.importorskip("fastapi.testclient")
    pytest.importorskip("uvicorn")
    from service import service

    online = OnlinePredictor(TorchPredictor.load(run_folder), samples=3)
    with testing.TestClient(service(online)) as client:
        yield client


def post(client, time, ids=("ann", 7), positions=((0.0, 0.0), (1.0, 2.0)), **more):
    return client.post("/positions", json={"time": time, "ids": ids, "positions": positions} | more)


def test_a_service_forecasts_what_was_posted(client):
    assert client.get("/health").json()["status"] == "waiting"
    for k in range(30):
        assert post(client, 0.1 * k, positions=[[0.13 * k, 0], [1, 2]]).status_code == 200
    found = client.get("/forecasts").json()
    assert [agent["id"] for agent in found["agents"]] == ["ann", "7"]
    assert np.shape(found["agents"][0]["samples"]) == (3, 12, 2)
    assert found["time"] == pytest.approx(2.9)
    assert not found["stale"]
    only = client.get("/forecasts", params={"ids": [7]}).json()
    assert [agent["id"] for agent in only["agents"]] == ["7"]
    assert client.get("/health").json()["status"] == "ok"


def test_a_stream_goes_on_as_positions_come(client):
    with client.websocket_connect("/stream?rate=50") as socket:
        assert "push observations first" in socket.receive_json()["detail"]
        for k in range(3):
            post(client, float(k))
        times = [socket.receive_json().get("time") for _ in range(20)]
    assert times[-1] == 2.0


@pytest.mark.parametrize(
    ("sent", "code", "said"),
    [
        ({"ids": ["a", "a"]}, 400, "'a' is there twice"),
        ({"positions": [[0, 0]]}, 400, "must be [2, 2]"),
        ({"positions": [[0, 0], [0, 0, 0]]}, 400, "array of numbers"),
        ({"positions": [[0, 0], ["x", 0]]}, 422, "number"),
        ({"time": None}, 422, "number"),
        ({"ids": ["x" * 65, "b"]}, 422, "at most 64"),
        ({"extra": 1}, 422, "not permitted"),
        ({"ids": list(range(257)), "positions": [[0, 0]] * 257}, 422, "at most 256"),
        ({"positions": [[0, 0]] * 20_000}, 413, "at most 65536 bytes"),
    ],
)
def test_a_service_says_what_it_will_not_take(client, sent, code, said):
    answer = post(client, **({"time": 0.0} | sent))
    assert (answer.status_code, said in answer.text) == (code, True), answer.text
    assert client.get("/forecasts").status_code == 400


def test_a_service_takes_no_numbers_that_are_none(client):
    body = '{"time": NaN, "ids": [1], "positions": [[0, 0]]}'
    answer = client.post("/positions", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    answer = client.post("/positions", content=iter([body.encode()]))
    assert answer.status_code == 411


def test_unknown_ids_and_rates_out_of_bounds_are_refused(client):
    post(client, 0.0)
    assert "'bob' was not seen" in client.get("/forecasts", params={"ids": "bob"}).text
    from starlette.websockets import WebSocketDisconnect

    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/stream?rate=1000"):
        pass
