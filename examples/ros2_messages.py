"""Tracks as ROS 2 messages, there and back; knows no rclpy, so that it runs on recordings too.

Tracks come in as visualization_msgs/MarkerArray, which trackers publish for RViz anyway: `ns` and
`id` say who, the pose says where, and the stamp when. Forecasts go out as a MarkerArray too: one
line list of some futures for each agent, whose colour says how far it can be relied on.
"""

from collections import defaultdict
from typing import Any, Protocol

import numpy as np

from trajflow import OnlineForecast, OnlinePredictor, TrajflowError

ADD, DELETE, LINE_LIST = 0, 2, 5
DRAWN, STRAIGHT, STALE = (0.1, 0.5, 1.0, 0.4), (1.0, 0.6, 0.0, 0.8), (0.6, 0.6, 0.6, 0.4)
"""Red, green, blue and opacity of futures the network drew, of straight ones, of stale ones."""


class Types(Protocol):
    """Classes of messages, made with keywords; fields that are left out have their defaults."""

    MarkerArray: Any
    Marker: Any
    Header: Any
    Time: Any
    Duration: Any
    Point: Any
    Vector3: Any
    ColorRGBA: Any


class Tracks:
    """Takes messages of tracks, and makes messages of forecasts.

    Positions must be in one frame that does not move, such as `map` or `odom`: that of the first
    message if none is named.
    """

    def __init__(self, online: OnlinePredictor, frame: str = "", shown: int = 5) -> None:
        self.online, self.frame, self.shown = online, frame, shown

    def take(self, message: Any) -> None:
        """Push what a MarkerArray says; markers that are deleted or without numbers are nobody.

        Raises:
            TrajflowError: A marker is in another frame, or somebody is there twice.
        """
        moments = defaultdict(list)
        for marker in message.markers:
            self.frame = self.frame or marker.header.frame_id
            if marker.header.frame_id != self.frame:
                raise TrajflowError(
                    f"tracks must be in the frame {self.frame!r}, got {marker.header.frame_id!r}; "
                    "transform them before, or set the parameter `frame`"
                )
            if marker.action == ADD:
                moments[seconds(marker.header.stamp)].append(marker)
        for moment, markers in sorted(moments.items()):
            ids = [(marker.ns, marker.id) for marker in markers]
            places = [marker.pose.position for marker in markers]
            points = [[place.x, place.y, place.z] for place in places]
            self.online.push(moment, ids, np.array(points)[:, : self.online.predictor.dims])

    def answer(self, types: Types, lifetime: float) -> Any:
        """A MarkerArray of forecasts of all who are known, shown for so many seconds.

        Raises:
            TrajflowError: Nothing has come in yet.
        """
        found = self.online.forecast()
        header = types.Header(stamp=stamp(types.Time, found.time), frame_id=self.frame)
        markers = [
            types.Marker(
                header=header,
                ns=f"forecast {agent[0]}",
                id=agent[1],
                type=LINE_LIST,
                action=ADD,
                scale=types.Vector3(x=0.03, y=0.0, z=0.0),
                color=types.ColorRGBA(**dict(zip("rgba", colour(found, k), strict=True))),
                lifetime=stamp(types.Duration, lifetime),
                points=[types.Point(**point) for point in segments(found, k, self.shown)],
            )
            for k, agent in enumerate(found.ids)
        ]
        return types.MarkerArray(markers=markers)


def segments(found: OnlineForecast, agent: int, shown: int) -> list[dict[str, float]]:
    """Ends of the segments of an agent's first futures, as coordinates by name."""
    paths = found.forecast.samples[:shown, agent]
    ends = np.stack([paths[:, :-1], paths[:, 1:]], 2).reshape(-1, paths.shape[-1])
    solid = np.pad(ends, ((0, 0), (0, 3 - ends.shape[1])))
    return [dict(zip("xyz", end, strict=True)) for end in solid.tolist()]


def colour(found: OnlineForecast, agent: int) -> tuple[float, float, float, float]:
    """What the colour of an agent's futures says of them."""
    if found.stale or found.late:
        return STALE
    return STRAIGHT if found.constant_velocity[agent] else DRAWN


def seconds(time: Any) -> float:
    """A stamp in seconds."""
    return float(time.sec + 1e-9 * time.nanosec)


def stamp(kind: Any, moment: float) -> Any:
    """Seconds as a stamp or a duration."""
    whole, part = divmod(round(moment * 1e9), 10**9)
    return kind(sec=int(whole), nanosec=int(part))
