"""A ROS 2 node: subscribes to tracks and publishes forecasts, both as MarkerArray.

    source /opt/ros/humble/setup.bash
    python examples/ros2_node.py --ros-args -p run:=runs/people -p deadline_ms:=40.0 \
        -r tracks:=/tracker/markers

Parameters: run (folder), rate (Hz), samples, deadline_ms, shown (futures in a marker), frame.
`ros2_bag.py` does the same for a recording, without ROS.
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
    sys.exit("rclpy is not installed; source your ROS 2 installation, or use ros2_bag.py for a bag")

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
    """Subscribes to `tracks`, and publishes on `forecasts` at a constant rate."""

    def __init__(self) -> None:
        super().__init__("trajflow")
        defaults = {"run": "", "rate": 20.0, "samples": 20, "deadline_ms": 40.0}
        defaults |= {"shown": 5, "frame": ""}
        value = {name: self.declare_parameter(name, v).value for name, v in defaults.items()}
        online = OnlinePredictor(
            Predictor.load(value["run"]),
            samples=value["samples"],
            deadline_ms=value["deadline_ms"],
        )
        self.tracks = Tracks(online, value["frame"], value["shown"])
        self.period = 1 / value["rate"]
        self.publisher = self.create_publisher(MarkerArray, "forecasts", 1)
        self.create_subscription(MarkerArray, "tracks", self.push, 10)
        self.create_timer(self.period, self.publish)

    def push(self, message: MarkerArray) -> None:
        """Push a message; log a warning if it is invalid."""
        try:
            self.tracks.push(message)
        except TrajflowError as error:
            self.get_logger().warning(str(error), throttle_duration_sec=5.0)

    def publish(self) -> None:
        """Publish forecasts, once there are observations."""
        try:
            self.publisher.publish(self.tracks.to_message(TYPES, 2 * self.period))
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
