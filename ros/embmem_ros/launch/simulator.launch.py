"""The nodes of embmem beside a simulator that publishes /clock: as robot.launch.py, with its arguments.

ros2 launch embmem_ros simulator.launch.py depth_image:=camera/depth/image_raw rviz:=true
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.conditions import IfCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

SHARE = FindPackageShare("embmem_ros")


def generate_launch_description() -> LaunchDescription:
    """The robot's launch file with the simulator's time, and RViz on request."""
    robot = PythonLaunchDescriptionSource(PathJoinSubstitution([SHARE, "launch", "robot.launch.py"]))
    rviz = Node(
        package="rviz2",
        executable="rviz2",
        namespace=LaunchConfiguration("namespace"),
        condition=IfCondition(LaunchConfiguration("rviz")),
        arguments=["-d", PathJoinSubstitution([SHARE, "rviz", "embmem.rviz"])],
        parameters=[{"use_sim_time": True}],
        remappings=[(topic, LaunchConfiguration(topic.removeprefix("/"))) for topic in ("/tf", "/tf_static")],
    )
    return LaunchDescription(
        [
            DeclareLaunchArgument("rviz", default_value="false", description="whether RViz shows the maps"),
            IncludeLaunchDescription(robot, launch_arguments={"use_sim_time": "true"}.items()),
            rviz,
        ]
    )
