"""Which thing is which: a calibrated score, one-to-one recognition, merges and splits that can be undone."""

from embmem.maps.identity.model import IdentityModel

__all__ = ["IdentityModel"]
