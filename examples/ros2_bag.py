"""Forecast a ROS 2 bag of tracks and write the forecasts to another bag, without ROS.

    pip install rosbags
    python examples/ros2_bag.py RUN tracks_bag forecasts_bag --topic /tracks

The forecasts are those that `ros2_node.py` would publish.
"""

import argparse
from collections.abc import Iterator
from dataclasses import MISSING, fields
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from ros2_messages import Tracks
from rosbags.rosbag2 import Reader, Writer
from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.store import Typestore

from trajflow import OnlinePredictor, Predictor, TrajflowError

ARRAY = "visualization_msgs/msg/MarkerArray"
PACKAGES = {
    "visualization_msgs": ["MarkerArray", "Marker"],
    "std_msgs": ["Header", "ColorRGBA"],
    "builtin_interfaces": ["Time", "Duration"],
    "geometry_msgs": ["Point", "Vector3"],
}
DEFAULTS = {"str": "", "int": 0, "float": 0.0, "bool": False}


def types_of(store: Typestore) -> SimpleNamespace:
    """Message classes whose fields have defaults, as those of rclpy have."""
    names = [
        (name, f"{package}/msg/{name}") for package, names in PACKAGES.items() for name in names
    ]
    return SimpleNamespace(**{name: partial(make_message, store, full) for name, full in names})


def make_message(store: Typestore, name: str, **values: Any) -> Any:
    """A message with default values for all other fields."""
    kind = store.types[name]
    defaults = {f.name: default(store, str(f.type)) for f in fields(kind) if f.default is MISSING}
    return kind(**defaults | values)


def default(store: Typestore, kind: str) -> Any:
    """The default value of a field."""
    if kind in DEFAULTS:
        return DEFAULTS[kind]
    if "ndarray" in kind:
        return np.zeros(0, np.uint8)
    return [] if kind.startswith("list") else make_message(store, kind.replace("__", "/"))


def replay(
    bag: Path, topic: str, tracks: Tracks, store: Typestore, rate: float
) -> Iterator[tuple[int, Any]]:
    """Yield forecasts at a constant rate of the recording's clock: nanoseconds and message."""
    types, period, due = types_of(store), round(1e9 / rate), None
    with Reader(bag) as reader:
        connections = [c for c in reader.connections if c.topic == topic and c.msgtype == ARRAY]
        if not connections:
            topics = ", ".join(f"{c.topic} ({c.msgtype})" for c in reader.connections)
            raise TrajflowError(f"no {ARRAY} on {topic} in {bag}; there are {topics or 'none'}")
        for connection, now, content in reader.messages(connections):
            while due is not None and due < now:
                yield due, tracks.to_message(types, 2 / rate)
                due += period
            tracks.push(store.deserialize_cdr(content, connection.msgtype))
            due = now if due is None else due
    if due is not None:
        yield due, tracks.to_message(types, 2 / rate)


def main() -> None:
    """Read a bag and write another."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", help="run folder")
    parser.add_argument("bag", type=Path, help="bag of tracks")
    parser.add_argument("out", type=Path, help="bag of forecasts to write")
    parser.add_argument("--topic", default="/tracks", help="topic of the tracks; /tracks")
    parser.add_argument("--rate", type=float, default=20.0, help="forecasts per second; 20")
    parser.add_argument("--samples", type=int, default=20, help="futures of each agent; 20")
    options = parser.parse_args()
    store, count = get_typestore(Stores.ROS2_HUMBLE), 0
    try:
        tracks = Tracks(OnlinePredictor(Predictor.load(options.run), samples=options.samples))
        with Writer(options.out, version=9) as writer:
            connection = writer.add_connection("/forecasts", ARRAY, typestore=store)
            for now, message in replay(options.bag, options.topic, tracks, store, options.rate):
                writer.write(connection, now, store.serialize_cdr(message, ARRAY))
                count += 1
    except TrajflowError as error:
        parser.exit(2, f"{error}\n")
    print(f"wrote {count} forecasts of {options.bag} to {options.out}")


if __name__ == "__main__":
    main()
