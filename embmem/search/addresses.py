"""Addresses in compiled code, so that one kernel reaches arrays that were allocated one by one."""

from __future__ import annotations

from typing import no_type_check

from llvmlite import ir
from numba import types
from numba.extending import intrinsic


@intrinsic
@no_type_check
def pointer(typingctx, address):
    """The pointer at a uint64 address, for `carray`. Whoever passes it keeps the array alive and in bounds."""

    def codegen(context, builder, signature, args):
        return builder.inttoptr(args[0], context.get_value_type(types.voidptr))

    return types.voidptr(types.uint64), codegen


@intrinsic
@no_type_check
def prefetch(typingctx, address):
    """Ask for the cache line at a uint64 address, which need not be valid: it changes no result."""

    def codegen(context, builder, signature, args):
        line = builder.inttoptr(args[0], context.get_value_type(types.voidptr))
        flag = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [line.type, flag, flag, flag])
        call = builder.module.declare_intrinsic("llvm.prefetch", [line.type], kind)
        builder.call(call, [line, flag(0), flag(3), flag(1)])
        return context.get_dummy_value()

    return types.void(types.uint64), codegen
