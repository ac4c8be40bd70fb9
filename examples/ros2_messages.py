"""Converts ROS 2 messages to observations, and forecasts to messages. Does not need rclpy.

Tracks are read from visualization_msgs/MarkerArray, which trackers publish for RViz: `ns` and `id`
identify an agent, the pose is its position, and the stamp the time. Forecasts are a MarkerArray
with one line list for each agent, of some of its futures; the color shows how reliable they are.
"""

from collections import defaultdict
from typing import Any, Protocol

import numpy as np

from trajflow import OnlineForecast, OnlinePredictor, TrajflowError

ADD, DELETE, LINE_LIST = 0, 2, 5
SAMPLED, CONSTANT_VELOCITY = (0.1, 0.5, 1.0, 0.4), (1.0, 0.6, 0.0, 0.8)
STALE = (0.6, 0.6, 0.6, 0.4)
"""Red, green, blue and opacity by kind of forecast."""


class Types(Protocol):
    """Message classes with keyword arguments; missing fields have their defaults."""

    MarkerArray: Any
    Marker: Any
    Header: Any
    Time: Any
    Duration: Any
    Point: Any
    Vector3: Any
    ColorRGBA: Any


class Tracks:
    """Pushes messages of tracks to a predictor, and makes messages of its forecasts.

    Args:
        online: The predictor.
        frame: Coordinate frame of the positions, fixed like `map` or `odom`; the frame of the first
            message if empty.
        shown: Number of futures in a marker.
    """

    def __init__(self, online: OnlinePredictor, frame: str = "", shown: int = 5) -> None:
        self.online, self.frame, self.shown = online, frame, shown

    def push(self, message: Any) -> None:
        """Push the positions of a MarkerArray; deleted markers are ignored.

        Raises:
            TrajflowError: A marker is in another frame, or an agent is in it twice.
        """
        by_time = defaultdict(list)
        for marker in message.markers:
            self.frame = self.frame or marker.header.frame_id
            if marker.header.frame_id != self.frame:
                raise TrajflowError(
                    f"tracks must be in the frame {self.frame!r}, got {marker.header.frame_id!r}; "
                    "transform them before, or set the parameter `frame`"
                )
            if marker.action == ADD:
                by_time[seconds(marker.header.stamp)].append(marker)
        for time, markers in sorted(by_time.items()):
            ids = [(marker.ns, marker.id) for marker in markers]
            points = [marker.pose.position for marker in markers]
            positions = np.array([[point.x, point.y, point.z] for point in points])
            self.online.push(time, ids, positions[:, : self.online.predictor.dims])

    def to_message(self, types: Types, lifetime: float) -> Any:
        """A MarkerArray of the forecasts of all agents, to be shown for `lifetime` seconds.

        Raises:
            TrajflowError: Nothing was pushed yet.
        """
        result = self.online.forecast()
        header = types.Header(stamp=stamp(types.Time, result.time), frame_id=self.frame)
        markers = [
            types.Marker(
                header=header,
                ns=f"forecast {agent[0]}",
                id=agent[1],
                type=LINE_LIST,
                action=ADD,
                scale=types.Vector3(x=0.03, y=0.0, z=0.0),
                color=types.ColorRGBA(**dict(zip("rgba", color(result, k), strict=True))),
                lifetime=stamp(types.Duration, lifetime),
                points=[types.Point(**point) for point in segments(result, k, self.shown)],
            )
            for k, agent in enumerate(result.ids)
        ]
        return types.MarkerArray(markers=markers)


def segments(result: OnlineForecast, agent: int, shown: int) -> list[dict[str, float]]:
    """The line segments of the first futures of an agent: start and end points, by coordinate."""
    paths = result.forecast.samples[:shown, agent]
    ends = np.stack([paths[:, :-1], paths[:, 1:]], 2).reshape(-1, paths.shape[-1])
    points = np.pad(ends, ((0, 0), (0, 3 - ends.shape[1])))
    return [dict(zip("xyz", end, strict=True)) for end in points.tolist()]


def color(result: OnlineForecast, agent: int) -> tuple[float, float, float, float]:
    """The color of the futures of an agent."""
    if result.stale or result.late:
        return STALE
    return CONSTANT_VELOCITY if result.constant_velocity[agent] else SAMPLED


def seconds(time: Any) -> float:
    """A ROS stamp in seconds."""
    return float(time.sec + 1e-9 * time.nanosec)


def stamp(kind: Any, time: float) -> Any:
    """A ROS stamp or duration (`kind`) from seconds."""
    whole, nanoseconds = divmod(round(time * 1e9), 10**9)
    return kind(sec=int(whole), nanosec=int(nanoseconds))
