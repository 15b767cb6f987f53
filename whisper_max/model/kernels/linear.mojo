"""Linear layers: `x @ weight + bias`, with what follows them.

Weights are stored in panels (see `tiles.mojo`) of float32 or float16; arithmetic is in float32. One token reads every
weight once and is bound by memory, so narrow weights are widened in registers; many rows are bound by arithmetic, so a
group of panels is widened once, into a scratch that stays in the second-level cache. For int8 see `int8_linear.mojo`.
"""

import extensibility
from extensibility import InputTensor, OutputTensor
from extensibility import _MutableInputTensor as MutableInputTensor
from max.algorithm import sync_parallelize
from max.gpu.host import DeviceContext
from max.runtime.asyncrt import parallelism_level
from std.math import ceildiv, min
from std.memory import alloc, dealloc
from std.memory.alloc import Layout

from .finish import Finish, Heads, Rows
from .tiles import FloatPointer, HALF_TILE_ROWS, PANEL, TILE_COLUMNS, TILE_ROWS, Vector, WIDTH, multiply_tile

comptime SCRATCH_FLOATS = 98304
"""Widened weights a worker keeps at hand: 384 KB, within the second-level cache of any x86-64-v3 processor."""
comptime WIDEN_FROM_ROWS = 32
"""From how many rows on a group of panels is widened first."""


@fieldwise_init
struct Product[dtype: DType, Finisher: Finish](ImplicitlyCopyable, Movable):
    """One linear layer at work: where its operands are."""

    var finish: Self.Finisher
    var x: FloatPointer  # (n_rows, depth)
    var weight: Pointer[Scalar[Self.dtype], MutUntrackedOrigin]  # (n_panels, depth, PANEL)
    var bias: FloatPointer  # (n_panels * PANEL,)
    var depth: Int

    @always_inline
    def run_rows[
        rows: Int, panel_dtype: DType
    ](self, panel: Pointer[Scalar[panel_dtype], MutUntrackedOrigin], row: Int, column: Int):
        """Some rows by one panel, which begins at `column`."""
        comptime for part in range(PANEL // TILE_COLUMNS):
            var tile = multiply_tile[rows](
                self.x.unsafe_offset(row * self.depth),
                self.depth,
                panel.unsafe_offset(part * TILE_COLUMNS),
                PANEL,
                self.depth,
            )
            var at = column + part * TILE_COLUMNS
            comptime for i in range(2 * rows):
                tile[i] += self.bias.unsafe_load[width=WIDTH](at + i % 2 * WIDTH)
            self.finish.store[rows](tile, row, at)

    def run_panel[
        panel_dtype: DType
    ](self, panel: Pointer[Scalar[panel_dtype], MutUntrackedOrigin], first: Int, last: Int, column: Int):
        """Rows [first, last) by one panel."""
        var row = first
        while row + TILE_ROWS <= last:
            self.run_rows[TILE_ROWS, panel_dtype](panel, row, column)
            row += TILE_ROWS
        comptime if TILE_ROWS > HALF_TILE_ROWS:
            if row + HALF_TILE_ROWS <= last:
                self.run_rows[HALF_TILE_ROWS, panel_dtype](panel, row, column)
                row += HALF_TILE_ROWS
        comptime for rest in range(1, HALF_TILE_ROWS):
            if last - row == rest:
                self.run_rows[rest, panel_dtype](panel, row, column)

    def run(self, first_row: Int, last_row: Int, first_panel: Int, last_panel: Int, scratch: FloatPointer, widen: Bool):
        """Rows by panels. scratch: SCRATCH_FLOATS, or one panel if that is more; widen: use it."""
        var size = self.depth * PANEL
        comptime if Self.dtype != DType.float32:
            if not widen:
                for panel in range(first_panel, last_panel):
                    self.run_panel[Self.dtype](self.weight.unsafe_offset(panel * size), first_row, last_row, panel * PANEL)
                return
        var group = max(1, SCRATCH_FLOATS // size)
        for start in range(first_panel, last_panel, group):
            var stop = min(start + group, last_panel)
            var panels = rebind[FloatPointer](self.weight.unsafe_offset(start * size))
            comptime if Self.dtype != DType.float32:
                var narrow = self.weight.unsafe_offset(start * size)
                for i in range(0, (stop - start) * size, WIDTH):
                    scratch.unsafe_store(i, narrow.unsafe_load[width=WIDTH](i).cast[DType.float32]())
                panels = scratch
            # A few rows by all panels of the group, so that x is read once a group.
            for row in range(first_row, last_row, 2 * TILE_ROWS):
                for panel in range(start, stop):
                    var at = panels.unsafe_offset((panel - start) * size)
                    self.run_panel[DType.float32](at, row, min(row + 2 * TILE_ROWS, last_row), panel * PANEL)


def run_in_parallel[
    dtype: DType, Finisher: Finish
](product: Product[dtype, Finisher], n_rows: Int, n_panels: Int):
    """Give every worker its share of the panels, and of the rows where there are more workers than panels."""
    var n_workers = max(parallelism_level(None), 1)
    var n_column_shares = min(n_workers, n_panels)
    var n_row_shares = max(1, min(n_workers // n_column_shares, ceildiv(n_rows, WIDEN_FROM_ROWS)))
    var n_shares = n_column_shares * n_row_shares
    var panel_share = ceildiv(n_panels, n_column_shares)
    var row_share = ceildiv(n_rows, n_row_shares)
    var widens = dtype != DType.float32 and row_share >= WIDEN_FROM_ROWS
    var scratch_size = max(SCRATCH_FLOATS, product.depth * PANEL) if widens else 1
    var scratch = alloc(Layout[Float32](count=n_shares * scratch_size))
    var scratch_ptr = rebind[FloatPointer](scratch.unsafe_ptr())

    def work(share: Int) {imm}:
        var first_panel = (share % n_column_shares) * panel_share
        var first_row = (share // n_column_shares) * row_share
        product.run(
            first_row,
            min(first_row + row_share, n_rows),
            first_panel,
            min(first_panel + panel_share, n_panels),
            scratch_ptr.unsafe_offset(share * scratch_size),
            widens,
        )

    sync_parallelize(work, n_shares)
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
    var product = Product[weight.dtype, Finisher](finish, x_ptr, weight_ptr, bias_ptr, x.dim_size(1))
    run_in_parallel(product, x.dim_size(0), weight.dim_size(0))


@extensibility.register("whisper_max.panel_columns")
struct PanelColumns:
    """Columns of a weight in panels, as rows: the embeddings of tokens."""

    @staticmethod
    def execute(
        output: OutputTensor[dtype=DType.float32, rank=2, ...],  # (n, depth)
        columns: InputTensor[dtype=DType.int32, rank=1, ...],  # (n,)
        weight: InputTensor[rank=3, ...],  # (n_panels, depth, PANEL)
        ctx: DeviceContext,
    ) raises:
        var depth = weight.dim_size(1)
        for row in range(columns.dim_size(0)):
            var column = Int(columns.unsafe_ptr().unsafe_load(row))
            var start = column // PANEL * depth * PANEL + column % PANEL
            for k in range(depth):
                var value = weight.unsafe_ptr().unsafe_load(start + k * PANEL).cast[DType.float32]()
                output.unsafe_ptr().unsafe_store(row * depth + k, value)
