"""The integer dot product: four bytes of a row by four bytes of each column, summed into 32 bits.

Processors differ in how they do it best, never in the result: every way here is exact.
"""

from std.memory import bitcast
from std.sys import CompilationTarget, inlined_assembly
from std.sys.intrinsics import llvm_intrinsic

from .tiles import WIDTH

comptime GROUP = 4
"""Bytes along the depth that are multiplied and added at once."""
comptime HAS_PAIRS = CompilationTarget.has_avx2() and (WIDTH == 16 or WIDTH == 8)
"""True where `vpmaddwd` multiplies pairs of 16 bits."""
comptime HAS_USDOT = CompilationTarget.has_neon_int8_matmul() and WIDTH == 4
"""True where Arm's `usdot` multiplies unsigned bytes by signed ones (i8mm)."""
comptime TAKES_SIGNED = CompilationTarget.has_neon_int8_dotprod() and WIDTH == 4 and not HAS_USDOT
"""True where the instruction, Arm's `sdot`, takes signed bytes on both sides."""
comptime ZERO = 0 if TAKES_SIGNED else 128
"""The byte that stands for 0 in the rows of a product, so that they are what the instruction takes."""
comptime SIGN_BITS = Int32(-2139062144)
"""0x80808080: takes four bytes that are 128 more than their values to signed ones, and back."""
comptime TO_SIGNED = Int32(0) if TAKES_SIGNED else SIGN_BITS
"""Takes four bytes of a row to signed ones, and back."""
comptime TO_UNSIGNED = SIGN_BITS ^ TO_SIGNED
"""Takes four bytes of a row to those 128 more than their values, and back."""
comptime IntVector = SIMD[DType.int32, WIDTH]
comptime IntPointer = Pointer[Int32, MutUntrackedOrigin]


@always_inline
def add_dots[fast: Bool](total: IntVector, x: IntVector, weights: IntVector) -> IntVector:
    """`total` plus, in each lane, the dot product of four bytes of x and four signed ones of weights.

    x: unsigned, or signed where TAKES_SIGNED.
    fast: by `vpdpbusd`, one instruction that not every processor has which runs this code; who calls knows.
    """
    comptime if fast and has_fast_dots():
        return dots_by_vnni(total, x, weights)
    elif HAS_PAIRS:
        return dots_of_pairs(total, x, weights)
    elif HAS_USDOT:
        return dots_by_neon["llvm.aarch64.neon.usdot.v4i32.v16i8"](total, x, weights)
    elif TAKES_SIGNED:
        return dots_by_neon["llvm.aarch64.neon.sdot.v4i32.v16i8"](total, x, weights)
    else:
        return dots_by_shifts(total, x, weights)


@always_inline
def dot_tile[
    fast: Bool, rows: Int
](
    x: IntPointer,
    x_stride: Int,
    weights: IntPointer,
    stride: Int,
    n_groups: Int,
    left: IntVector,
    right: IntVector,
) -> Array[IntVector, 2 * rows]:
    """A tile of `x @ weights`, of `rows` rows by two vectors of columns, in groups of four bytes.

    x: (rows, n_groups), rows x_stride apart; weights: (n_groups, columns), rows stride apart; left, right: what the
    sums of each column begin with.
    """
    var sums = Array[IntVector, 2 * rows](fill=IntVector(0))
    comptime for row in range(rows):
        sums[2 * row] = left
        sums[2 * row + 1] = right
    for group in range(n_groups):
        var of_left = weights.unsafe_load[width=WIDTH](group * stride)
        var of_right = weights.unsafe_load[width=WIDTH](group * stride + WIDTH)
        comptime for row in range(rows):
            var four = IntVector(x.unsafe_load(row * x_stride + group))
            sums[2 * row] = add_dots[fast](sums[2 * row], four, of_left)
            sums[2 * row + 1] = add_dots[fast](sums[2 * row + 1], four, of_right)
    return sums^


@always_inline
def add_pairs[
    rows: Int
](mut sums: Array[IntVector, 2 * rows], x: IntPointer, weights: IntPointer, n_pairs: Int):
    """Add a tile of `x @ weights`, of `rows` rows by two vectors of columns, in pairs of 16 bits.

    x: (n_pairs, rows); weights: (n_pairs, 2 * WIDTH).
    """
    for pair in range(n_pairs):
        var left = weights.unsafe_load[width=WIDTH](2 * WIDTH * pair)
        var right = weights.unsafe_load[width=WIDTH](2 * WIDTH * pair + WIDTH)
        comptime for row in range(rows):
            var two = IntVector(x.unsafe_load(rows * pair + row))
            sums[2 * row] += dots_of_wide(two, left)
            sums[2 * row + 1] += dots_of_wide(two, right)


@always_inline
def dots_of_wide(x: IntVector, y: IntVector) -> IntVector:
    """By `vpmaddwd`: in each lane the dot product of two numbers of 16 bits."""
    comptime name = "llvm.x86.avx512.pmaddw.d.512" if WIDTH == 16 else "llvm.x86.avx2.pmadd.wd"
    return llvm_intrinsic[name, IntVector, has_side_effect=False](
        bitcast[DType.int16, 2 * WIDTH](x), bitcast[DType.int16, 2 * WIDTH](y)
    )


@always_inline
def wide_halves(groups: IntVector) -> Tuple[IntVector, IntVector]:
    """Signed bytes 0 and 1 of each lane, and bytes 2 and 3, as pairs of 16 bits."""
    var pairs = bitcast[DType.int16, 2 * WIDTH](groups)
    var even = bitcast[DType.uint32, WIDTH]((pairs << 8) >> 8)
    var odd = bitcast[DType.uint32, WIDTH](pairs >> 8)
    var first = even & 0xFFFF | odd << 16
    var second = even >> 16 | odd & 0xFFFF0000
    return bitcast[DType.int32, WIDTH](first), bitcast[DType.int32, WIDTH](second)


def has_fast_dots() -> Bool:
    """True where this code can hold the instruction."""
    return CompilationTarget.has_avx2() and (WIDTH == 16 or WIDTH == 8)


def is_fast(vnni: Int32) -> Bool:
    """True where the processor has the instruction at this code's width.

    vnni: what the processor has, 1 for AVX512-VNNI, which this needs at 512 bits, plus 2 for AVX-VNNI, at 256.
    """
    comptime if not has_fast_dots():
        return False
    comptime needed = Int32(1 if WIDTH == 16 else 2)
    return vnni & needed != 0


@always_inline
def dots_by_vnni(total: IntVector, x: IntVector, weights: IntVector) -> IntVector:
    """In assembly, because the compiler refuses the intrinsic for a target that does not promise it."""
    comptime prefix = "" if WIDTH == 16 else "{vex} "
    comptime constraints = "=v,v,v,0" if WIDTH == 16 else "=x,x,x,0"
    return inlined_assembly[
        prefix + "vpdpbusd $2, $1, $0", IntVector, constraints=constraints, has_side_effect=False
    ](x, weights, total)


@always_inline
def dots_of_pairs(total: IntVector, x: IntVector, weights: IntVector) -> IntVector:
    """By `vpmaddwd`: bytes 0 and 2, then bytes 1 and 3, as 16 bit numbers. Nothing saturates."""
    comptime name = "llvm.x86.avx512.pmaddw.d.512" if WIDTH == 16 else "llvm.x86.avx2.pmadd.wd"
    var x_pairs = bitcast[DType.uint16, 2 * WIDTH](x)
    var w_pairs = bitcast[DType.int16, 2 * WIDTH](weights)
    var x_even = bitcast[DType.int16, 2 * WIDTH](x_pairs & 0xFF)
    var x_odd = bitcast[DType.int16, 2 * WIDTH](x_pairs >> 8)
    var even = llvm_intrinsic[name, IntVector, has_side_effect=False](x_even, (w_pairs << 8) >> 8)
    var odd = llvm_intrinsic[name, IntVector, has_side_effect=False](x_odd, w_pairs >> 8)
    return total + even + odd


@always_inline
def dots_by_neon[name: StaticString](total: IntVector, x: IntVector, weights: IntVector) -> IntVector:
    """One instruction, which every processor has that this code is made for."""
    return llvm_intrinsic[name, IntVector, has_side_effect=False](
        total, bitcast[DType.int8, GROUP * WIDTH](x), bitcast[DType.int8, GROUP * WIDTH](weights)
    )


@always_inline
def dots_by_shifts(total: IntVector, x: IntVector, weights: IntVector) -> IntVector:
    """On any processor: one byte after the other."""
    var result = total
    comptime for byte in range(GROUP):
        var left = (x >> IntVector(8 * byte)) & 0xFF
        var right = (weights << IntVector(24 - 8 * byte)) >> 24
        result += left * right
    return result
