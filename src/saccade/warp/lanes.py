"""Weighted sums of rows of pixels, and pieces of straight lines, ``LANES`` values at a time in registers.

Numba's compiler leaves so short a loop scalar, so the few vector operations are spelt out here as LLVM
instructions, which exist on every processor.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 16


@intrinsic
def sum_rows(typingctx, values, start, lines, down, rows, sums, at):
    """sums[at + k] = sum over i < rows of down[i] values[start + i lines + k], for k < ``LANES``.

    All that is read and written must lie inside the arrays. down and sums are of one floating type.
    """
    whole = types.int64
    return types.void(values, whole, whole, down, whole, sums, whole), _build_sum


@intrinsic
def draw_line(typingctx, out, at, count, base, place, origin, steep):
    """out[at + k] = base + ((place + k) - origin) steep, for k < count, rounded to the type of ``out``.

    All of out[at : at + LANES] must exist and belong to this thread: the rest of it is read and written back.
    """
    whole, real = types.int64, types.float64
    return types.void(out, whole, whole, real, real, real, real), _build_line


def _build_line(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    out, at, count, base, place, origin, steep = _plain(context, builder, signature, arguments)
    reals = ir.VectorType(ir.DoubleType(), LANES)
    wholes = ir.VectorType(count.type, LANES)
    slots = ir.Constant(wholes, list(range(LANES)))
    away = builder.fadd(_in_all_lanes(builder, place), ir.Constant(reals, [float(k) for k in range(LANES)]))
    away = builder.fsub(away, _in_all_lanes(builder, origin))
    line = builder.fmul(away, _in_all_lanes(builder, steep))
    line = builder.fadd(_in_all_lanes(builder, base), line)
    target = ir.VectorType(out.type.pointee, LANES)
    if isinstance(target.element, ir.IntType):
        line = builder.fptosi(line, target)
    elif isinstance(target.element, ir.FloatType):
        line = builder.fptrunc(line, target)
    where = builder.bitcast(builder.gep(out, [at]), target.as_pointer())
    asked = builder.icmp_signed("<", slots, _in_all_lanes(builder, count))
    builder.store(builder.select(asked, line, builder.load(where, align=1)), where, align=1)
    return context.get_dummy_value()


def _build_sum(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    values, start, lines, down, rows, sums, at = _plain(context, builder, signature, arguments)
    vector = ir.VectorType(sums.type.pointee, LANES)
    total = cgutils.alloca_once_value(builder, ir.Constant(vector, None))
    with cgutils.for_range(builder, rows) as row:
        place = builder.gep(values, [builder.add(start, builder.mul(row.index, lines))])
        weight = _in_all_lanes(builder, builder.load(builder.gep(down, [row.index])))
        part = builder.fmul(weight, _as_floating(builder, place, vector))
        builder.store(builder.fadd(builder.load(total), part), total)
    target = builder.bitcast(builder.gep(sums, [at]), vector.as_pointer())
    builder.store(builder.load(total), target, align=4)
    return context.get_dummy_value()


def _plain(context: Any, builder: Any, signature: Any, arguments: Any) -> list[Any]:
    """The arguments of an intrinsic, arrays as pointers to their first element."""
    return [
        context.make_array(kind)(context, builder, argument).data
        if isinstance(kind, types.Array)
        else argument
        for kind, argument in zip(signature.args, arguments, strict=True)
    ]


def _as_floating(builder: Any, place: Any, vector: Any) -> Any:
    """``LANES`` values from ``place``; unsigned integers become floating numbers."""
    raw = ir.VectorType(place.type.pointee, LANES)
    found = builder.load(builder.bitcast(place, raw.as_pointer()), align=1)
    return builder.uitofp(found, vector) if isinstance(raw.element, ir.IntType) else found


def _in_all_lanes(builder: Any, number: Any) -> Any:
    vector, places = ir.VectorType(number.type, LANES), ir.VectorType(ir.IntType(32), LANES)
    blank = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(blank, number, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, blank, ir.Constant(places, None))
