"""Figures of merit, one module a family; the same word never stands for two formulas.

`continuous` (Habitat, VLN-CE), `indoor` (R2R graphs), `street` (Touchdown, map2seq), `memory` (what is remembered)
and `statistics` (intervals and paired tests).
"""
