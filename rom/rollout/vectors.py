"""A few numbers side by side as one value of compiled code.

The compiler makes one instruction, or a few, of an operation on such a value, whatever the loops
around it. It does so for loops over arrays only where it can prove that they do not overlap, and
checks that again and again while they run, at several times the cost of the arithmetic.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core.datamodel import PrimitiveModel
from numba.extending import intrinsic as numba_intrinsic
from numba.extending import register_model

intrinsic: Any = numba_intrinsic  # its type counts the typing context as an argument of callers

WIDTH = 32
# Rows of so many numbers are transposed together; a divisor of `WIDTH`.
BLOCK = 8
_VECTOR = ir.VectorType(ir.DoubleType(), WIDTH)
_INDEX = ir.IntType(32)
# A product and a sum may be rounded once.
_FLAGS = ("contract",)


class Vector(types.Type):
    """The type of `WIDTH` numbers."""

    def __init__(self) -> None:
        super().__init__(name=f"Vector{WIDTH}")


vector = Vector()


@register_model(Vector)
class _VectorModel(PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _VECTOR)


def _address(context: Any, builder: Any, kind: Any, array: Any, row: Any) -> Any:
    data = context.make_array(kind)(context, builder, array).data
    first = builder.gep(data, [builder.mul(row, ir.Constant(row.type, WIDTH))])
    return builder.bitcast(first, _VECTOR.as_pointer())


def _spread(builder: Any, x: Any) -> Any:
    """A number, `WIDTH` times; a vector as it is."""
    if x.type == _VECTOR:
        return x
    nothing = ir.Constant(_VECTOR, ir.Undefined)
    one = builder.insert_element(nothing, x, _INDEX(0))
    return builder.shuffle_vector(
        one, nothing, ir.Constant(ir.VectorType(_INDEX, WIDTH), [0] * WIDTH)
    )


@intrinsic
def load(typing: Any, array: Any, row: Any) -> Any:
    """A row of an array (..., `WIDTH`) in C order, counted as if it had two dimensions."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(_address(context, builder, signature.args[0], *args), align=8)

    return vector(array, types.intp), code


@intrinsic
def store(typing: Any, array: Any, row: Any, value: Any) -> Any:
    """Set a row, counted as :func:`load` does."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        address = _address(context, builder, signature.args[0], *args[:2])
        builder.store(args[2], address, align=8)
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), code


@intrinsic
def transpose(typing: Any, rows: Any, row: Any, out: Any, column: Any) -> Any:
    """Set `BLOCK` columns of `out` (`WIDTH`, n), from `column` on, to rows (n, `WIDTH`)."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        source, row, target, column = args
        number = row.type
        whole = [
            builder.load(_address(context, builder, signature.args[0], source, place), align=8)
            for place in (builder.add(row, number(k)) for k in range(BLOCK))
        ]
        array = context.make_array(signature.args[2])(context, builder, target)
        width = builder.extract_value(array.shape, 1)
        for lane in range(0, WIDTH, BLOCK):
            block = [_picked(builder, x, x, range(lane, lane + BLOCK)) for x in whole]
            for k, x in enumerate(_transposed(builder, block)):
                place = builder.add(builder.mul(number(lane + k), width), column)
                address = builder.bitcast(builder.gep(array.data, [place]), x.type.as_pointer())
                builder.store(x, address, align=8)
        return context.get_dummy_value()

    return types.void(rows, types.intp, out, types.intp), code


def _transposed(builder: Any, block: list[Any]) -> list[Any]:
    """A square of numbers, transposed: its off-diagonal quarters change places, then theirs."""
    for half in (1, 2, 4):
        for k in (k for k in range(BLOCK) if not k & half):
            upper, lower = block[k], block[k + half]
            left = [j if not j & half else BLOCK + j - half for j in range(BLOCK)]
            right = [j + half if not j & half else BLOCK + j for j in range(BLOCK)]
            block[k] = _picked(builder, upper, lower, left)
            block[k + half] = _picked(builder, upper, lower, right)
    return block


def _picked(builder: Any, a: Any, b: Any, places: Any) -> Any:
    """The numbers at some places of two vectors, one after the other."""
    mask = ir.Constant(ir.VectorType(_INDEX, BLOCK), list(places))
    return builder.shuffle_vector(a, b, mask)


@intrinsic
def spread(typing: Any, x: Any) -> Any:
    """A number, `WIDTH` times."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _spread(builder, args[0])

    return vector(types.float64), code


@intrinsic
def product(typing: Any, a: Any, b: Any) -> Any:
    """``a * b``; one of them may be a number."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fmul(*(_spread(builder, x) for x in args), flags=_FLAGS)

    return vector(a, b), code


@intrinsic
def plus_product(typing: Any, total: Any, a: Any, b: Any) -> Any:
    """``total + a * b``; one of `a` and `b` may be a number."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        total, a, b = (_spread(builder, x) for x in args)
        return builder.fadd(total, builder.fmul(a, b, flags=_FLAGS), flags=_FLAGS)

    return vector(total, a, b), code


@intrinsic
def all_at_most(typing: Any, a: Any, limit: Any) -> Any:
    """Whether no number of a vector is NaN or beyond `limit`."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        fine = builder.fcmp_ordered("<=", args[0], _spread(builder, args[1]))
        bits = builder.bitcast(fine, ir.IntType(WIDTH))
        return builder.icmp_unsigned("==", bits, ir.Constant(ir.IntType(WIDTH), 2**WIDTH - 1))

    return types.boolean(a, limit), code
