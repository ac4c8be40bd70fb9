"""What the ROS 2 node would have said to a recording, written as a recording; without ROS.

pip install rosbags
python examples/ros2_bag.py RUN tracks_bag forecasts_bag --topic /tracks
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
HOMES = {
    "visualization_msgs": ["MarkerArray", "Marker"],
    "std_msgs": ["Header", "ColorRGBA"],
    "builtin_interfaces": ["Time", "Duration"],
    "geometry_msgs": ["Point", "Vector3"],
}
PLAIN = {"str": "", "int": 0, "float": 0.0, "bool": False}


def types_of(store: Typestore) -> SimpleNamespace:
    """Classes of messages whose fields have defaults, as those of rclpy do."""
    names = [(name, f"{home}/msg/{name}") for home, names in HOMES.items() for name in names]
    return SimpleNamespace(**{name: partial(blank, store, full) for name, full in names})


def blank(store: Typestore, name: str, **given: Any) -> Any:
    """A message of which only some fields are given."""
    kind = store.types[name]
    empty = {f.name: default(store, str(f.type)) for f in fields(kind) if f.default is MISSING}
    return kind(**empty | given)


def default(store: Typestore, kind: str) -> Any:
    """What a field of a kind is if it is not given."""
    if kind in PLAIN:
        return PLAIN[kind]
    if "ndarray" in kind:
        return np.zeros(0, np.uint8)
    return [] if kind.startswith("list") else blank(store, kind.replace("__", "/"))


def played(
    bag: Path, topic: str, tracks: Tracks, store: Typestore, rate: float
) -> Iterator[tuple[int, Any]]:
    """Forecasts at an even rate of the recording's clock: nanoseconds and message."""
    types, period, due = types_of(store), round(1e9 / rate), None
    with Reader(bag) as reader:
        heard = [one for one in reader.connections if one.topic == topic and one.msgtype == ARRAY]
        if not heard:
            there = ", ".join(f"{one.topic} ({one.msgtype})" for one in reader.connections)
            raise TrajflowError(f"no {ARRAY} on {topic} in {bag}; there are {there or 'none'}")
        for connection, now, content in reader.messages(heard):
            while due is not None and due < now:
                yield due, tracks.answer(types, 2 / rate)
                due += period
            tracks.take(store.deserialize_cdr(content, connection.msgtype))
            due = now if due is None else due
    if due is not None:
        yield due, tracks.answer(types, 2 / rate)


def main() -> None:
    """Play a recording, and write another."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("bag", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--topic", default="/tracks")
    parser.add_argument("--rate", type=float, default=20.0)
    parser.add_argument("--samples", type=int, default=20)
    given = parser.parse_args()
    store, count = get_typestore(Stores.ROS2_HUMBLE), 0
    try:
        tracks = Tracks(OnlinePredictor(Predictor.load(given.run), samples=given.samples))
        with Writer(given.out, version=9) as writer:
            written = writer.add_connection("/forecasts", ARRAY, typestore=store)
            for now, message in played(given.bag, given.topic, tracks, store, given.rate):
                writer.write(written, now, store.serialize_cdr(message, ARRAY))
                count += 1
    except TrajflowError as error:
        parser.exit(2, f"{error}\n")
    print(f"wrote {count} forecasts of {given.bag} to {given.out}")


if __name__ == "__main__":
    main()
