"""What talks to ROS 2 without ROS: conversions of messages of any library, and a buffer of transforms."""
