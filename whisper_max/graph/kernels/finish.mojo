"""What follows `x @ weight + bias` of a linear layer, and where its result goes."""

from std.math import erf

from .tiles import FloatPointer, Vector, WIDTH

comptime SQRT_HALF = 0.70710678118654752440


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
            comptime for half in range(2):
                var at = column + half * WIDTH
                if at < self.n_columns:
                    var value = tile[2 * i + half]
                    comptime if Self.gelu:
                        value = 0.5 * value * (1.0 + erf(value * SQRT_HALF))
                    var place = (row + i) * self.n_columns + at
                    if at + WIDTH <= self.n_columns:
                        comptime if Self.residual:
                            value += self.added.unsafe_load[width=WIDTH](place)
                        self.out_ptr.unsafe_store(place, value)
                    else:
                        for lane in range(self.n_columns - at):
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
