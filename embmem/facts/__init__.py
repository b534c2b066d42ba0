"""Facts about entities on two clocks: when they held, and when that was believed.

In the core and not among the maps: a fact is a record of the log, needs no geometry, and is of use to a fleet, a
command line and a planner that never load a map.
"""

from embmem.facts.fact_memory import FactMemory
from embmem.facts.graph import coalesced, fact_graph
from embmem.facts.statements import Fact, Statement

__all__ = ["Fact", "FactMemory", "Statement", "coalesced", "fact_graph"]
