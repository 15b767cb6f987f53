"""What the matrix kernels share: vectors, panels of weights, and the register tile that does nearly all arithmetic."""

from std.sys import simd_width_of

comptime WIDTH = simd_width_of[DType.float32]()
"""Float32 lanes of a vector register."""
comptime Vector = SIMD[DType.float32, WIDTH]
comptime FloatPointer = Pointer[Float32, MutUntrackedOrigin]

comptime PANEL = 32
"""Columns that are stored side by side: a right operand (depth, columns) is stored (columns / PANEL, depth, PANEL)."""
comptime TILE_ROWS = 12 if WIDTH == 16 else 6
"""Rows of the largest tile: 24 sums, two operands and a broadcast fit the 32 registers of AVX-512, half as many sums
the 16 of AVX2. The larger a tile, the less often a panel is read from the second-level cache, as its first does not
hold a panel."""
comptime HALF_TILE_ROWS = 6
"""Rows of the next smaller tile; what is left is taken at once."""
comptime TILE_COLUMNS = 2 * WIDTH


@always_inline
def multiply_tile[
    dtype: DType, //, rows: Int
](
    a: FloatPointer, a_stride: Int, b: Pointer[Scalar[dtype], MutUntrackedOrigin], b_stride: Int, depth: Int
) -> Array[Vector, 2 * rows]:
    """A tile of `a @ b`. a: (rows, depth), rows a_stride apart; b: (depth, TILE_COLUMNS), rows b_stride apart."""
    var tile = Array[Vector, 2 * rows](fill=Vector(0))
    for k in range(depth):
        var left = b.unsafe_load[width=WIDTH](k * b_stride).cast[DType.float32]()
        var right = b.unsafe_load[width=WIDTH](k * b_stride + WIDTH).cast[DType.float32]()
        comptime for row in range(rows):
            var x = Vector(a.unsafe_load(row * a_stride + k))
            tile[2 * row] = left.fma(x, tile[2 * row])
            tile[2 * row + 1] = right.fma(x, tile[2 * row + 1])
    return tile^
