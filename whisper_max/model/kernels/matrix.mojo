"""Linear layers as parts of a larger operation, see `team.mojo`: of a few rows by all workers, of many by each its own."""

from extensibility import InputTensor
from std.math import ceildiv, max, min

from .finish import Finish
from .int8_linear import BytePointer, DOT_ROWS, Int8Product, WeightPointer, scratch_bytes
from .dot import IntPointer
from .linear import Product, SCRATCH_FLOATS, WIDEN_FROM_ROWS
from .team import Worker
from .tiles import FloatPointer, PANEL, TILE_ROWS

comptime PIECES = 32
"""Pieces that the panels of a layer are given out in, if there are so many."""


def even_blocks(n_rows: Int, n_workers: Int, most: Int, tile: Int) -> Int:
    """The size of blocks that every worker gets as many of, in whole tiles; all rows where none would get two tiles."""
    if n_rows < 2 * tile * n_workers:
        return n_rows
    var n_blocks = ceildiv(n_rows, most * n_workers) * n_workers
    return ceildiv(ceildiv(n_rows, n_blocks), tile) * tile


trait Matrix(Deinitable, ImplicitlyCopyable, Movable):
    """The operands of a linear layer."""

    def row_block(self, n_rows: Int, n_workers: Int) -> Int:
        """How many rows a worker takes at a time; all where they are so few that workers rather share the columns."""
        ...

    def multiply[
        Finisher: Finish
    ](self, finish: Finisher, x: FloatPointer, n_rows: Int, scratch: BytePointer):
        """The same by one worker. x: (n_rows, depth), rows x_step apart; scratch: scratch_bytes."""
        ...

    def phase[
        Finisher: Finish
    ](self, mut worker: Worker, finish: Finisher, x: FloatPointer, n_rows: Int, scratch: BytePointer):
        """`x @ weight + bias`, and what follows, as a phase. x: (n_rows, depth); scratch: of this worker, scratch_bytes."""
        ...

    def scratch_bytes(self, n_rows: Int) -> Int:
        """Scratch of one worker."""
        ...


@fieldwise_init
struct FloatMatrix[dtype: DType](Matrix):
    """Weights of float32 or float16."""

    var weight: Pointer[Scalar[Self.dtype], MutUntrackedOrigin]  # (n_panels, depth, PANEL)
    var bias: FloatPointer  # (n_panels * PANEL,)
    var depth: Int
    var x_step: Int
    """From one row of x to the next; less than the depth where rows overlap."""
    var n_panels: Int

    def row_block(self, n_rows: Int, n_workers: Int) -> Int:
        """At most so many that widening the weights for each block costs a fiftieth, and the last one is soon done."""
        return even_blocks(n_rows, n_workers, 126, TILE_ROWS)

    def multiply[
        Finisher: Finish
    ](self, finish: Finisher, x: FloatPointer, n_rows: Int, scratch: BytePointer):
        var product = Product[Self.dtype, Finisher](finish, x, self.x_step, self.weight, self.bias, self.depth)
        var widen = n_rows >= WIDEN_FROM_ROWS
        product.run(0, n_rows, 0, self.n_panels, rebind[FloatPointer](scratch), widen)

    def phase[
        Finisher: Finish
    ](self, mut worker: Worker, finish: Finisher, x: FloatPointer, n_rows: Int, scratch: BytePointer):
        var product = Product[Self.dtype, Finisher](finish, x, self.x_step, self.weight, self.bias, self.depth)
        var size = ceildiv(self.n_panels, PIECES)
        var n_pieces = ceildiv(self.n_panels, size)
        var piece = worker.next(n_pieces)
        while piece >= 0:
            var last = min((piece + 1) * size, self.n_panels)
            product.run(0, n_rows, piece * size, last, rebind[FloatPointer](scratch), n_rows >= WIDEN_FROM_ROWS)
            piece = worker.next(n_pieces)

    def scratch_bytes(self, n_rows: Int) -> Int:
        """A group of widened panels, where they are widened."""
        return 4 * max(SCRATCH_FLOATS, self.depth * PANEL) if n_rows >= WIDEN_FROM_ROWS else 0


@fieldwise_init
struct Int8Matrix[fast: Bool, parts: Int = 1](Matrix):
    """Weights of int8; what they are multiplied by is held in so many bytes."""

    var weight: WeightPointer  # (n_panels, n_groups, PANEL, GROUP)
    var bias: FloatPointer  # (n_panels * PANEL,)
    var scale: FloatPointer  # (n_panels * PANEL,)
    var offset: IntPointer  # (n_panels * PANEL,)
    var depth: Int
    var x_step: Int
    """From one row of x to the next; less than the depth where rows overlap."""
    var n_groups: Int
    var n_panels: Int

    def row_block(self, n_rows: Int, n_workers: Int) -> Int:
        """At most 96: of base's widest layer they take 786 KB, within most second-level caches; each reads all weights."""
        return even_blocks(n_rows, n_workers, 96, DOT_ROWS)

    def multiply[
        Finisher: Finish
    ](self, finish: Finisher, x: FloatPointer, n_rows: Int, scratch: BytePointer):
        var product = self.product(finish, x, n_rows)
        product.prepare(0, n_rows, scratch)
        product.run_panels(0, n_rows, 0, self.n_panels, scratch)

    def phase[
        Finisher: Finish
    ](self, mut worker: Worker, finish: Finisher, x: FloatPointer, n_rows: Int, scratch: BytePointer):
        var product = self.product(finish, x, n_rows)
        var size = ceildiv(self.n_panels, PIECES)
        var n_pieces = ceildiv(self.n_panels, size)
        var piece = worker.next(n_pieces)
        if piece >= 0:
            product.prepare(0, n_rows, scratch)
        while piece >= 0:
            product.run_panels(0, n_rows, piece * size, min((piece + 1) * size, self.n_panels), scratch)
            piece = worker.next(n_pieces)

    def product[
        Finisher: Finish
    ](self, finish: Finisher, x: FloatPointer, n_rows: Int) -> Int8Product[Self.fast, Finisher, Self.parts]:
        return {
            finish, x, self.x_step, self.weight, self.bias, self.scale, self.offset, self.depth, self.n_groups, n_rows
        }

    def scratch_bytes(self, n_rows: Int) -> Int:
        """Of all rows."""
        return scratch_bytes[Self.fast](Self.parts * n_rows, self.n_groups)


def float_matrix[
    dtype: DType, //
](
    weight: InputTensor[dtype=dtype, rank=3, ...], bias: InputTensor[dtype=DType.float32, rank=1, ...]
) -> FloatMatrix[dtype]:
    """The operands of a layer in tensors."""
    return {
        rebind[Pointer[Scalar[dtype], MutUntrackedOrigin]](weight.unsafe_ptr()),
        rebind[FloatPointer](bias.unsafe_ptr()),
        weight.dim_size(1),
        weight.dim_size(1),
        weight.dim_size(0),
    }


def int8_matrix[
    fast: Bool, parts: Int = 1
](
    depth: Int,
    weight: InputTensor[dtype=DType.int8, rank=4, ...],
    bias: InputTensor[dtype=DType.float32, rank=1, ...],
    scale: InputTensor[dtype=DType.float32, rank=1, ...],
    offset: InputTensor[dtype=DType.int32, rank=1, ...],
) -> Int8Matrix[fast, parts]:
    """The operands of an int8 layer in tensors."""
    return {
        rebind[WeightPointer](weight.unsafe_ptr()),
        rebind[FloatPointer](bias.unsafe_ptr()),
        rebind[FloatPointer](scale.unsafe_ptr()),
        rebind[IntPointer](offset.unsafe_ptr()),
        depth,
        depth,
        weight.dim_size(1),
        weight.dim_size(0),
    }
