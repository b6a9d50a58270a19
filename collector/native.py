"""How the collector compiles its kernels, and the machine code that Python has no words for.

Kernels run without the GIL, are kept on disk, and count no references: the arrays they get belong to the caller, and
an atomic count at every call between kernels took a sixth of the collector's time, more with two threads on one
array. A kernel therefore allocates nothing; scratch space is an argument.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

_OPTIONS: Final[dict[str, Any]] = {"cache": True, "nogil": True, "boundscheck": False, "_nrt": False}

_F = TypeVar("_F", bound=Callable[..., Any])


def compiled(function: _F) -> _F:
    """Compiles at the first call, callable from Python and from other kernels."""
    return cast("_F", njit(**_OPTIONS)(function))


kernel: Any = compiled  # for functions of which only numba knows the types


def compiled_into_caller(function: _F) -> _F:
    """As `compiled`, written into the calling kernel."""
    return cast("_F", njit(**_OPTIONS, inline="always")(function))


def kernel_as(signature: Any) -> Any:
    """`kernel`, now and for one signature: what calls itself needs one."""
    return njit(signature, **_OPTIONS)


def native(function: Callable[..., Any]) -> Any:
    """A native function that is given as the code to emit; typed loosely, because numba's own type says otherwise."""
    return intrinsic(function)


@native
def as_double(typingctx: Any, bits: Any) -> Any:
    """The double whose bits are the integer."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.DoubleType())

    return types.float64(types.int64), codegen


@native
def copy(typingctx: Any, out: Any, at: Any, source: Any, low: Any, size: Any) -> Any:
    """Copies source[low:low+size] to out[at:at+size], uint8 arrays that do not overlap, as memcpy does."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        target = context.make_array(signature.args[0])(context, builder, args[0])
        origin = context.make_array(signature.args[2])(context, builder, args[2])
        to, start = builder.gep(target.data, [args[1]]), builder.gep(origin.data, [args[3]])
        cgutils.raw_memcpy(builder, to, start, args[4], ir.Constant(args[4].type, 1))  # type: ignore[no-untyped-call]
        return context.get_dummy_value()

    return types.void(out, types.intp, source, types.intp, types.intp), codegen
