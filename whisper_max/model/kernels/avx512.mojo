"""Instructions of AVX-512 (F, BW and DQ, as x86-64-v4 has them) that the compiler does not find by itself."""

from std.sys import CompilationTarget, inlined_assembly

from .tiles import Vector, WIDTH
from .dot import IntVector

comptime HAS_AVX512 = CompilationTarget.has_avx2() and WIDTH == 16


@always_inline
def past_nearest(x: Vector) -> Vector:
    """`x` without its nearest integer, -0.5 to 0.5."""
    return inlined_assembly["vreduceps $$0, $1, $0", Vector, constraints="=v,v", has_side_effect=False](x)


@always_inline
def times_power_of_2(x: Vector, power: Vector) -> Vector:
    """`x * 2 ** floor(power)`, 0 and infinity where that is out of range."""
    return inlined_assembly["vscalefps $2, $1, $0", Vector, constraints="=v,v,v", has_side_effect=False](x, power)


@always_inline
def nearest(x: Vector) -> IntVector:
    """The nearest integers, even ones of two that are equally near."""
    return inlined_assembly["vcvtps2dq $1, $0", IntVector, constraints="=v,v", has_side_effect=False](x)


@always_inline
def packed_bytes(first: IntVector, second: IntVector, third: IntVector, fourth: IntVector) -> IntVector:
    """Four vectors as unsigned bytes: of each quarter of a vector those of the first, the second, the third, the fourth."""
    return packed[StaticString("vpackuswb $2, $1, $0")](
        packed[StaticString("vpackusdw $2, $1, $0")](first, second), packed[StaticString("vpackusdw $2, $1, $0")](third, fourth)
    )


@always_inline
def packed[instruction: StaticString](x: IntVector, y: IntVector) -> IntVector:
    return inlined_assembly[instruction, IntVector, constraints="=v,v,v", has_side_effect=False](x, y)
