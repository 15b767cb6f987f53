"""What follows `x @ weight + bias` of a linear layer, and where its result goes."""

from .tiles import FloatPointer, TILE_COLUMNS, Vector, WIDTH

comptime FAR = Float32(5.54)
"""Beyond it the normal distribution is 0 or 1 in float32."""
comptime NORMAL: List[Float32] = [
    0.12762518227100372, -0.06371992826461792, 0.04743317514657974, -0.038611434400081635, 0.032053060829639435,
    -0.026230212301015854, 0.020499559119343758, -0.014958000741899014, 0.010865630581974983, -0.00803878903388977,
    0.00436455337330699, -0.0012700356310233474, 0.0011764331720769405, -0.0015162283089011908, 0.0005797434132546186,
]
"""Least squares on Chebyshev points: (the normal distribution - 0.5) / x as a polynomial in 2 * (x / FAR) ** 2 - 1."""


@always_inline
def gelu_of[width: Int, //](x: SIMD[DType.float32, width]) -> SIMD[DType.float32, width]:
    """`x` times the normal distribution at x, to 7e-7: with the error function of the standard library 4e-7, and twice
    the time. Two registers at a time hide half of each other's latency and read the constants once."""
    comptime Values = SIMD[DType.float32, width]
    var near = max(min(x, Values(FAR)), Values(-FAR))
    var at = (near * near).fma(Values(2 / (FAR * FAR)), Values(-1))
    var total = Values(comptime(NORMAL[len(NORMAL) - 1]))
    comptime for i in range(len(NORMAL) - 2, -1, -1):
        total = total.fma(at, Values(comptime(NORMAL[i])))
    return x * max(near.fma(total, Values(0.5)), Values(0))


trait Finish(Deinitable, ImplicitlyCopyable, Movable):
    """Takes tiles of `x @ weight + bias`."""

    def store[rows: Int](self, tile: Array[Vector, 2 * rows], row: Int, column: Int):
        """Finish a tile and write it; columns past the last are dropped."""
        ...


@fieldwise_init
struct Rows[gelu: Bool, residual: Bool](Finish):
    """GELU or the sum with a residual, where asked; the result in rows."""

    var out_ptr: FloatPointer  # (n_rows, n_columns)
    var added: FloatPointer  # (n_rows, n_columns)
    var n_columns: Int

    @always_inline
    def store[rows: Int](self, tile: Array[Vector, 2 * rows], row: Int, column: Int):
        comptime for i in range(rows):
            var place = (row + i) * self.n_columns + column
            var value = tile[2 * i].join(tile[2 * i + 1])
            comptime if Self.gelu:
                value = gelu_of(value)
            if column + TILE_COLUMNS <= self.n_columns:
                comptime if Self.residual:
                    value += self.added.unsafe_load[width=TILE_COLUMNS](place)
                self.out_ptr.unsafe_store(place, value)
            else:
                for lane in range(self.n_columns - column):
                    var last = value[lane]
                    comptime if Self.residual:
                        last += self.added.unsafe_load(place + lane)
                    self.out_ptr.unsafe_store(place + lane, last)


@fieldwise_init
struct Heads[dtype: DType, head_dim: Int](Finish):
    """The result by heads, (windows, H, n_positions, hd), as attention reads it. A row is a window's position."""

    var out_ptr: Pointer[Scalar[Self.dtype], MutUntrackedOrigin]
    var n_head: Int
    var n_positions: Int

    @always_inline
    def store[rows: Int](self, tile: Array[Vector, 2 * rows], row: Int, column: Int):
        comptime for i in range(rows):
            var window = (row + i) // self.n_positions
            var position = (row + i) % self.n_positions
            comptime for half in range(2):
                var at = column + half * WIDTH
                if at < self.n_head * Self.head_dim:
                    var value = tile[2 * i + half]
                    var head = window * self.n_head + at // Self.head_dim
                    var place = (head * self.n_positions + position) * Self.head_dim + at % Self.head_dim
                    self.out_ptr.unsafe_store(place, value.cast[Self.dtype]())
