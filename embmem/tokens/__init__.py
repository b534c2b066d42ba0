"""Compressed tokens: a fixed number of floats beside the exact log of a key; extra `learn`.

Nothing on the common path imports this package: it brings torch.
"""

from embmem.errors import import_extra

import_extra("torch", "learn")

from embmem.tokens.compressor import TokenCompressor  # noqa: E402
from embmem.tokens.files import load_compressor, save_compressor  # noqa: E402
from embmem.tokens.reversible import BoundedResidual, ReversibleBlock, ReversibleStack  # noqa: E402
from embmem.tokens.training import fit  # noqa: E402

__all__ = [
    "BoundedResidual",
    "ReversibleBlock",
    "ReversibleStack",
    "TokenCompressor",
    "fit",
    "load_compressor",
    "save_compressor",
]
