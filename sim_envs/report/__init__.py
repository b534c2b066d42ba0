"""What a run found: `summarise` (numbers), `print_summary` (terminal) and `write_report` (one HTML page)."""

from embmem.sim_envs.report.page import write_report
from embmem.sim_envs.report.summary import summarise
from embmem.sim_envs.report.tables import print_summary

__all__ = ["print_summary", "summarise", "write_report"]
