"""A ROS 2 node: tracked people in as MarkerArray, their futures out as MarkerArray.

    source /opt/ros/humble/setup.bash
    python examples/ros2_node.py --ros-args -p run:=runs/people -p deadline_ms:=40.0 \
        -r tracks:=/tracker/markers

Parameters: run (folder), rate (Hz), samples, deadline_ms, shown (futures in a marker), frame.
`ros2_bag.py` does the same to a recording, without ROS.
"""

import sys
from types import SimpleNamespace

from ros2_messages import Tracks

from trajflow import OnlinePredictor, Predictor, TrajflowError

try:
    import rclpy
    from builtin_interfaces.msg import Duration, Time
    from geometry_msgs.msg import Point, Vector3
    from rclpy.node import Node
    from std_msgs.msg import ColorRGBA, Header
    from visualization_msgs.msg import Marker, MarkerArray
except ImportError:
    sys.exit("rclpy is not there; source your ROS 2 installation, or play a bag by ros2_bag.py")

TYPES = SimpleNamespace(
    MarkerArray=MarkerArray,
    Marker=Marker,
    Header=Header,
    Time=Time,
    Duration=Duration,
    Point=Point,
    Vector3=Vector3,
    ColorRGBA=ColorRGBA,
)


class ForecastNode(Node):
    """Takes what comes on `tracks`, and says on `forecasts` at an even rate what comes next."""

    def __init__(self) -> None:
        super().__init__("trajflow")
        defaults = {"run": "", "rate": 20.0, "samples": 20, "deadline_ms": 40.0}
        defaults |= {"shown": 5, "frame": ""}
        told = {name: self.declare_parameter(name, value).value for name, value in defaults.items()}
        predictor = Predictor.load(told["run"])
        online = OnlinePredictor(
            predictor, samples=told["samples"], deadline_ms=told["deadline_ms"]
        )
        self.tracks, self.period = Tracks(online, told["frame"], told["shown"]), 1 / told["rate"]
        self.out = self.create_publisher(MarkerArray, "forecasts", 1)
        self.create_subscription(MarkerArray, "tracks", self.take, 10)
        self.create_timer(self.period, self.say)

    def take(self, message: MarkerArray) -> None:
        """Push a message; one that cannot be used is told of, and dropped."""
        try:
            self.tracks.take(message)
        except TrajflowError as error:
            self.get_logger().warning(str(error), throttle_duration_sec=5.0)

    def say(self) -> None:
        """Publish what comes next, once anything has come in."""
        try:
            self.out.publish(self.tracks.answer(TYPES, 2 * self.period))
        except TrajflowError as error:
            self.get_logger().info(str(error), throttle_duration_sec=5.0)


def main() -> None:
    """Run until the node is stopped."""
    rclpy.init()
    node = ForecastNode()
    try:
        rclpy.spin(node)
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
