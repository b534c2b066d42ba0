"""The nodes of embmem on a robot, each configured and activated by itself unless a manager does it.

ros2 launch embmem_ros robot.launch.py namespace:=robot_1 depth_image:=camera/depth/image_rect_raw
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

NODES = {"memory": "true", "planner": "true", "perception": "false", "recorder": "false"}  # whether they run
TOPICS = {  # as the nodes name them -> as the robot does
    "depth/image": ("depth_image", "depth images"),
    "depth/camera_info": ("depth_camera_info", "intrinsics of the depth images"),
    "color/image": ("color_image", "colour images"),
    "points": ("points", "point clouds, instead of depth images"),
    "odom": ("odom", "odometry"),
    "detections": ("detections", "detections of vision_msgs that are mapped"),
    "raw_detections": ("raw_detections", "those that the perception node sorts out"),
    "cmd_vel": ("cmd_vel", "velocities, where there is no Nav2"),
    "/tf": ("tf", "transforms; tf:=tf where each robot has its own"),
    "/tf_static": ("tf_static", "transforms that stay; likewise"),
}


def generate_launch_description() -> LaunchDescription:
    """Arguments and nodes; `ros2 launch embmem_ros robot.launch.py --show-args` explains them."""
    flags = {
        "use_sim_time": ("false", "take the time from /clock"),
        "autostart": ("true", "configure and activate the nodes; false: a lifecycle manager or you do"),
        "manager": ("false", "start Nav2's lifecycle manager for memory and planner; set autostart:=false with it"),
        "respawn": ("true", "start a node again that has died"),
    }
    arguments = [DeclareLaunchArgument("namespace", default_value="", description="of the robot")]
    arguments += [
        DeclareLaunchArgument(name, default_value=value, description=text) for name, (value, text) in flags.items()
    ]
    for topic, (argument, text) in TOPICS.items():
        arguments.append(DeclareLaunchArgument(argument, default_value=topic, description=text))
    for name, runs in NODES.items():
        config = PathJoinSubstitution([FindPackageShare("embmem_ros"), "config", f"{name}.yaml"])
        arguments += [
            DeclareLaunchArgument(name, default_value=runs, description=f"whether the {name} node runs"),
            DeclareLaunchArgument(f"{name}_params", default_value=config, description="its parameters, a YAML file"),
        ]
    return LaunchDescription([*arguments, *map(_node, NODES), _manager()])


def _node(name: str) -> Node:
    return Node(
        package="embmem_ros",
        executable=name,
        name=name,
        namespace=LaunchConfiguration("namespace"),
        condition=IfCondition(LaunchConfiguration(name)),
        parameters=[
            LaunchConfiguration(f"{name}_params"),
            {
                flag: ParameterValue(LaunchConfiguration(flag), value_type=bool)
                for flag in ("use_sim_time", "autostart")
            },
        ],
        remappings=[(topic, LaunchConfiguration(argument)) for topic, (argument, _) in TOPICS.items()],
        respawn=LaunchConfiguration("respawn"),
        respawn_delay=2.0,
        output="screen",
    )


def _flag(name: str) -> ParameterValue:
    return ParameterValue(LaunchConfiguration(name), value_type=bool)


def _manager() -> Node:
    """Nav2's lifecycle manager, for who wants it; nodes of rclpy have no bond with it."""
    return Node(
        package="nav2_lifecycle_manager",
        executable="lifecycle_manager",
        name="lifecycle_manager_embmem",
        namespace=LaunchConfiguration("namespace"),
        condition=IfCondition(LaunchConfiguration("manager")),
        parameters=[{"autostart": True, "node_names": ["memory", "planner"], "bond_timeout": 0.0}],
        output="screen",
    )
