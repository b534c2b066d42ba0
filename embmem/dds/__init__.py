"""A ROS 2 participant without ROS: Eclipse Cyclone DDS from the package index and the CDR of rosbags."""
