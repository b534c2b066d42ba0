"""The interfaces that rosbags does not bring, as their packages define them (Jazzy), without comments and constants."""

from __future__ import annotations

# https://github.com/ros2/rcl_interfaces, https://github.com/ros2/common_interfaces, https://github.com/OctoMap,
# https://github.com/ros-planning/navigation_msgs, https://github.com/ros-navigation/navigation2: type -> text
TEXTS = {
    "rcl_interfaces/srv/DescribeParameters": "string[] names\n---\nParameterDescriptor[] descriptors",
    "rcl_interfaces/srv/GetParameterTypes": "string[] names\n---\nuint8[] types",
    "rcl_interfaces/srv/GetParameters": "string[] names\n---\nParameterValue[] values",
    "rcl_interfaces/srv/ListParameters": "string[] prefixes\nuint64 depth\n---\nListParametersResult result",
    "rcl_interfaces/srv/SetParameters": "Parameter[] parameters\n---\nSetParametersResult[] results",
    "rcl_interfaces/srv/SetParametersAtomically": "Parameter[] parameters\n---\nSetParametersResult result",
    "lifecycle_msgs/srv/ChangeState": "Transition transition\n---\nbool success",
    "lifecycle_msgs/srv/GetState": "---\nState current_state",
    "lifecycle_msgs/srv/GetAvailableStates": "---\nState[] available_states",
    "lifecycle_msgs/srv/GetAvailableTransitions": "---\nTransitionDescription[] available_transitions",
    "action_msgs/srv/CancelGoal": "GoalInfo goal_info\n---\nint8 return_code\nGoalInfo[] goals_canceling",
    "std_srvs/srv/Empty": "---",
    "std_srvs/srv/SetBool": "bool data\n---\nbool success\nstring message",
    "std_srvs/srv/Trigger": "---\nbool success\nstring message",
    "octomap_msgs/msg/Octomap": ("std_msgs/Header header\nbool binary\nstring id\nfloat64 resolution\nint8[] data"),
    "map_msgs/msg/OccupancyGridUpdate": (
        "std_msgs/Header header\nint32 x\nint32 y\nuint32 width\nuint32 height\nint8[] data"
    ),
    "nav2_msgs/action/NavigateToPose": (
        "geometry_msgs/PoseStamped pose\nstring behavior_tree\n---\nuint16 error_code\nstring error_msg\n---\n"
        "geometry_msgs/PoseStamped current_pose\nbuiltin_interfaces/Duration navigation_time\n"
        "builtin_interfaces/Duration estimated_time_remaining\nint16 number_of_recoveries\nfloat32 distance_remaining"
    ),
}
