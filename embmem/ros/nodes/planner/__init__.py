"""The planner node: goes to what is remembered."""

from embmem.ros.nodes.planner.node import PlannerNode as PlannerNode
