"""A recording is played and mapped: the memory node alone, in the time of the recording, with RViz.

ros2 launch embmem_ros bag.launch.py bag:=/data/room depth_image:=camera/depth/image_raw
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.substitutions import FindPackageShare


def generate_launch_description() -> LaunchDescription:
    """The simulator's launch file with `ros2 bag play` in the place of the simulator."""
    simulator = PathJoinSubstitution([FindPackageShare("embmem_ros"), "launch", "simulator.launch.py"])
    given = {"planner": LaunchConfiguration("planner"), "rviz": LaunchConfiguration("rviz")}
    return LaunchDescription(
        [
            DeclareLaunchArgument("bag", description="folder or file of the recording"),
            DeclareLaunchArgument("rate", default_value="1.0", description="of the playback"),
            DeclareLaunchArgument("planner", default_value="false", description="whether the planner node runs"),
            DeclareLaunchArgument("rviz", default_value="true", description="whether RViz shows the maps"),
            IncludeLaunchDescription(PythonLaunchDescriptionSource(simulator), launch_arguments=given.items()),
            ExecuteProcess(
                cmd=[
                    "ros2",
                    "bag",
                    "play",
                    LaunchConfiguration("bag"),
                    "--clock",
                    "--rate",
                    LaunchConfiguration("rate"),
                ],
                output="screen",
            ),
        ]
    )
