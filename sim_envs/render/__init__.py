"""A deterministic CPU renderer for the worlds that come with embmem."""

from embmem.sim_envs.render.renderer import Frame, Renderer

__all__ = ["Frame", "Renderer"]
