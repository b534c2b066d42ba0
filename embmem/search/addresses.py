"""Addresses as pointers in compiled code, so that one kernel reaches arrays that were allocated one by one."""

from __future__ import annotations

from typing import no_type_check

from numba import types
from numba.extending import intrinsic


@intrinsic
@no_type_check
def pointer(typingctx, address):
    """The pointer at a uint64 address, for `carray`. Whoever passes it keeps the array alive and in bounds."""

    def codegen(context, builder, signature, args):
        return builder.inttoptr(args[0], context.get_value_type(types.voidptr))

    return types.voidptr(types.uint64), codegen
