"""The nodes of embmem as lifecycle nodes of rclpy."""
