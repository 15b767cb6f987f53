"""Linear layers: `x @ weight + bias`, with what follows them.

Weights are stored in panels (see `tiles.mojo`) of float32 or float16; arithmetic is in float32. One token reads every
weight once and is bound by memory, so narrow weights are widened in registers; many rows are bound by arithmetic, so a
group of panels is widened once, into a scratch that stays in the second-level cache. For int8 see `int8_linear.mojo`.
"""

import extensibility
from extensibility import InputTensor, OutputTensor
from extensibility import _MutableInputTensor as MutableInputTensor
from max.gpu.host import DeviceContext
from max.runtime.asyncrt import parallelism_level
from std.math import ceildiv, min
from std.memory import alloc, dealloc, stack_allocation
from std.memory.alloc import Layout

from .finish import Finish, Heads, Rows
from .team import Worker, run_phases
from .tiles import FloatPointer, HALF_TILE_ROWS, PANEL, TILE_COLUMNS, TILE_ROWS, Vector, WIDTH, multiply_tile

comptime SCRATCH_FLOATS = 98304
"""Widened weights a worker keeps at hand: 384 KB, within the second-level cache of any x86-64-v3 processor."""
comptime WIDEN_FROM_ROWS = 32
"""From how many rows on a group of panels is widened and laid out in parts first."""
comptime PARTS = PANEL // TILE_COLUMNS
"""Tiles side by side in a panel."""
comptime PIECES_A_WORKER = 4
"""In how many pieces a worker gets its share of panels, so that one on a slower core takes fewer."""


@fieldwise_init
struct Product[dtype: DType, Finisher: Finish](ImplicitlyCopyable, Movable):
    """One linear layer at work: where its operands are."""

    var finish: Self.Finisher
    var x: FloatPointer  # (n_rows, depth), rows x_step apart
    var x_step: Int
    var weight: Pointer[Scalar[Self.dtype], MutUntrackedOrigin]  # (n_panels, depth, PANEL)
    var bias: FloatPointer  # (n_panels * PANEL,)
    var depth: Int

    @always_inline
    def run_rows[
        rows: Int, panel_dtype: DType
    ](self, part: Pointer[Scalar[panel_dtype], MutUntrackedOrigin], stride: Int, row: Int, column: Int):
        """Some rows by TILE_COLUMNS columns, which begin at `column`."""
        var tile = multiply_tile[rows](self.x.unsafe_offset(row * self.x_step), self.x_step, part, stride, self.depth)
        var held = stack_allocation[2 * rows * WIDTH, DType.float32, alignment=64]()
        comptime for i in range(2 * rows):
            held.unsafe_store(i * WIDTH, tile[i])
        self.finish_rows(rebind[FloatPointer](held), rows, row, column)

    @no_inline
    def finish_rows(self, products: FloatPointer, n_rows: Int, row: Int, column: Int):
        """What follows the product. It is compiled once, as it does not know how many rows there are."""
        var left_bias = self.bias.unsafe_load[width=WIDTH](column)
        var right_bias = self.bias.unsafe_load[width=WIDTH](column + WIDTH)
        for i in range(n_rows):
            var left = products.unsafe_load[width=WIDTH](2 * i * WIDTH)
            var right = products.unsafe_load[width=WIDTH]((2 * i + 1) * WIDTH)
            var tile: Array[Vector, 2] = [left + left_bias, right + right_bias]
            self.finish.store[1](tile, row + i, column)

    @always_inline
    def run_part[
        panel_dtype: DType
    ](self, part: Pointer[Scalar[panel_dtype], MutUntrackedOrigin], stride: Int, first: Int, last: Int, column: Int):
        """Rows [first, last) by TILE_COLUMNS columns, which begin at `column`."""
        var row = first
        while row + TILE_ROWS <= last:
            self.run_rows[TILE_ROWS, panel_dtype](part, stride, row, column)
            row += TILE_ROWS
        comptime if TILE_ROWS > HALF_TILE_ROWS:
            if row + HALF_TILE_ROWS <= last:
                self.run_rows[HALF_TILE_ROWS, panel_dtype](part, stride, row, column)
                row += HALF_TILE_ROWS
        comptime for rest in range(1, HALF_TILE_ROWS):
            if last - row == rest:
                self.run_rows[rest, panel_dtype](part, stride, row, column)

    @no_inline
    def run(self, first_row: Int, last_row: Int, first_panel: Int, last_panel: Int, scratch: FloatPointer, widen: Bool):
        """Rows by panels. scratch: SCRATCH_FLOATS, or one panel if that is more; widen: use it."""
        var size = self.depth * PANEL
        if not widen:
            for panel in range(first_panel, last_panel):
                comptime for part in range(PARTS):
                    var at = self.weight.unsafe_offset(panel * size + part * TILE_COLUMNS)
                    self.run_part[Self.dtype](at, PANEL, first_row, last_row, panel * PANEL + part * TILE_COLUMNS)
            return
        var group = max(1, SCRATCH_FLOATS // size)
        for start in range(first_panel, last_panel, group):
            var stop = min(start + group, last_panel)
            self.unpack(start, stop, scratch)
            # A few rows by all panels of the group, so that x is read once a group.
            for row in range(first_row, last_row, 2 * TILE_ROWS):
                var last = min(row + 2 * TILE_ROWS, last_row)
                for part in range(PARTS * (stop - start)):
                    var at = scratch.unsafe_offset(part * self.depth * TILE_COLUMNS)
                    self.run_part[DType.float32](at, TILE_COLUMNS, row, last, start * PANEL + part * TILE_COLUMNS)

    def unpack(self, start: Int, stop: Int, scratch: FloatPointer):
        """Copy panels to (parts, depth, TILE_COLUMNS) in float32, so that a tile's weights lie side by side."""
        for panel in range(stop - start):
            var source = self.weight.unsafe_offset((start + panel) * self.depth * PANEL)
            var target = scratch.unsafe_offset(panel * self.depth * PANEL)
            for k in range(self.depth):
                comptime for lane in range(0, PANEL, WIDTH):
                    comptime part, within = lane // TILE_COLUMNS, lane % TILE_COLUMNS
                    var at = (part * self.depth + k) * TILE_COLUMNS + within
                    target.unsafe_store(at, source.unsafe_load[width=WIDTH](k * PANEL + lane).cast[DType.float32]())


def run_in_parallel[
    dtype: DType, Finisher: Finish
](product: Product[dtype, Finisher], n_rows: Int, n_panels: Int):
    """Give out the panels in pieces to whoever is free, and the rows in shares where there are more workers than panels."""
    var n_workers = max(parallelism_level(None), 1)
    var n_row_shares = max(1, min(n_workers // min(n_workers, n_panels), ceildiv(n_rows, WIDEN_FROM_ROWS)))
    var row_share = ceildiv(n_rows, n_row_shares)
    var piece = ceildiv(n_panels, PIECES_A_WORKER * n_workers)
    var n_pieces = ceildiv(n_panels, piece)
    var n_shares = n_pieces * n_row_shares
    n_workers = min(n_workers, n_shares)
    var widens = row_share >= WIDEN_FROM_ROWS
    var scratch_size = max(SCRATCH_FLOATS, product.depth * PANEL) if widens else 1
    var scratch = alloc(Layout[Float32](count=n_workers * scratch_size))
    var scratch_ptr = rebind[FloatPointer](scratch.unsafe_ptr())

    def walk(mut worker: Worker) {imm}:
        var own = scratch_ptr.unsafe_offset(worker.number * scratch_size)
        var share = worker.next(n_shares)
        while share >= 0:
            var panel = share % n_pieces * piece
            var row = share // n_pieces * row_share
            product.run(row, min(row + row_share, n_rows), panel, min(panel + piece, n_panels), own, widens)
            share = worker.next(n_shares)

    run_phases(walk, 1, n_workers)
    dealloc(scratch^)


@extensibility.register("whisper_max.linear")
struct Linear:
    """`x @ weight + bias`, then GELU where asked."""

    @staticmethod
    def execute[
        gelu: Bool
    ](
        output: OutputTensor[dtype=DType.float32, rank=2, ...],  # (n_rows, n_columns)
        x: InputTensor[dtype=DType.float32, rank=2, ...],  # (n_rows, depth)
        weight: InputTensor[rank=3, ...],  # (n_panels, depth, PANEL)
        bias: InputTensor[dtype=DType.float32, rank=1, ...],  # (n_panels * PANEL,)
        ctx: DeviceContext,
    ) raises:
        var out_ptr = rebind[FloatPointer](output.unsafe_ptr())
        multiply(Rows[gelu, False](out_ptr, out_ptr, output.dim_size(1)), x, weight, bias)


@extensibility.register("whisper_max.linear_residual")
struct LinearResidual:
    """`added + x @ weight + bias`."""

    @staticmethod
    def execute(
        output: OutputTensor[dtype=DType.float32, rank=2, ...],  # (n_rows, n_columns)
        x: InputTensor[dtype=DType.float32, rank=2, ...],  # (n_rows, depth)
        added: InputTensor[dtype=DType.float32, rank=2, ...],  # (n_rows, n_columns)
        weight: InputTensor[rank=3, ...],  # (n_panels, depth, PANEL)
        bias: InputTensor[dtype=DType.float32, rank=1, ...],  # (n_panels * PANEL,)
        ctx: DeviceContext,
    ) raises:
        var out_ptr = rebind[FloatPointer](output.unsafe_ptr())
        var added_ptr = rebind[FloatPointer](added.unsafe_ptr())
        multiply(Rows[False, True](out_ptr, added_ptr, output.dim_size(1)), x, weight, bias)


@extensibility.register("whisper_max.linear_heads")
struct LinearHeads:
    """`x @ weight + bias`, written by heads."""

    @staticmethod
    def execute[
        head_dim: Int
    ](
        output: MutableInputTensor[rank=4, ...],  # (windows, H, n_positions, hd)
        x: InputTensor[dtype=DType.float32, rank=2, ...],  # (windows * n_positions, depth)
        weight: InputTensor[rank=3, ...],  # (n_panels, depth, PANEL)
        bias: InputTensor[dtype=DType.float32, rank=1, ...],  # (n_panels * PANEL,)
        ctx: DeviceContext,
    ) raises:
        var out_ptr = rebind[Pointer[Scalar[output.dtype], MutUntrackedOrigin]](output.unsafe_ptr())
        multiply(Heads[output.dtype, head_dim](out_ptr, output.dim_size(1), output.dim_size(2)), x, weight, bias)


def multiply[
    Finisher: Finish
](
    finish: Finisher,
    x: InputTensor[dtype=DType.float32, rank=2, ...],
    weight: InputTensor[rank=3, ...],
    bias: InputTensor[dtype=DType.float32, rank=1, ...],
):
    """All rows of x by all panels."""
    var x_ptr = rebind[FloatPointer](x.unsafe_ptr())
    var weight_ptr = rebind[Pointer[Scalar[weight.dtype], MutUntrackedOrigin]](weight.unsafe_ptr())
    var bias_ptr = rebind[FloatPointer](bias.unsafe_ptr())
    var product = Product[weight.dtype, Finisher](finish, x_ptr, x.dim_size(1), weight_ptr, bias_ptr, x.dim_size(1))
    run_in_parallel(product, x.dim_size(0), weight.dim_size(0))


@extensibility.register("whisper_max.embed")
struct Embed:
    """The embeddings of tokens, columns of a weight in panels, and of their positions, which repeat row after row."""

    @staticmethod
    def execute(
        output: OutputTensor[dtype=DType.float32, rank=2, ...],  # (n, depth)
        tokens: InputTensor[dtype=DType.int32, rank=1, ...],  # (n,)
        positions: InputTensor[dtype=DType.int32, rank=1, ...],  # (length,), of which n is a multiple
        table: InputTensor[dtype=DType.float32, rank=2, ...],  # (n_positions, depth)
        weight: InputTensor[rank=3, ...],  # (n_panels, depth, PANEL)
        ctx: DeviceContext,
    ) raises:
        var depth = weight.dim_size(1)
        var length = positions.dim_size(0)
        for row in range(tokens.dim_size(0)):
            var token = Int(tokens.unsafe_ptr().unsafe_load(row))
            var position = Int(positions.unsafe_ptr().unsafe_load(row % length))
            var start = token // PANEL * depth * PANEL + token % PANEL
            for k in range(depth):
                var value = weight.unsafe_ptr().unsafe_load(start + k * PANEL).cast[DType.float32]()
                var added = table.unsafe_ptr().unsafe_load(position * depth + k)
                output.unsafe_ptr().unsafe_store(row * depth + k, value + added)
