"""The planner node: goes to what is remembered."""
