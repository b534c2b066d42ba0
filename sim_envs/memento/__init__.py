"""MEMENTO (Kwon et al., 2025): its public episodes and gold traces, and questions about them."""

from embmem.sim_envs.memento.episodes import MementoEpisode, read_memento
from embmem.sim_envs.memento.traces import Place, Trace, TraceStep, read_traces

__all__ = ["MementoEpisode", "Place", "Trace", "TraceStep", "read_memento", "read_traces"]
