"""Linear layers on int8 weights: rows are quantised to 8 bits on the fly, products are summed in integers.

Each row of x has its own scale, each column of the weight too. A row is held as unsigned bytes, 128 more than its
values, since that is what the dot product takes; `offset`, -128 times the sum of each column, takes it off again.
"""

import extensibility
from extensibility import InputTensor, OutputTensor
from extensibility import _MutableInputTensor as MutableInputTensor
from max.algorithm import sync_parallelize
from max.gpu.host import DeviceContext
from max.runtime.asyncrt import parallelism_level
from std.math import ceildiv, min
from std.memory import alloc, bitcast, dealloc
from std.memory.alloc import Layout

from .dot import GROUP, IntPointer, IntVector, add_dots, is_fast
from .finish import Finish, Heads, Rows
from .tiles import FloatPointer, PANEL, TILE_COLUMNS, Vector, WIDTH

comptime BytePointer = Pointer[UInt8, MutUntrackedOrigin]
comptime WeightPointer = Pointer[Int8, MutUntrackedOrigin]
comptime DOT_ROWS = 12 if WIDTH == 16 else 4
"""Rows of a tile of 2 vectors: what the registers hold besides the halves of weights."""
comptime HALF_DOT_ROWS = 8 if WIDTH == 16 else 4
"""Rows of the next smaller tile; what is left is taken at once."""
comptime ROW_BLOCK = 96
"""Rows that are quantised together: of depth 2048 they take 192 KB, within any second-level cache."""
comptime ZERO = 128
"""The byte that stands for 0."""
comptime ROUNDER = Float32(12582912 + ZERO)
"""1.5 * 2 ** 23 and the zero: added to a small number it leaves its nearest integer in the lowest bits."""
comptime SMALLEST = Float32(1e-30)
"""A row that nowhere exceeds this counts as zeros, as its scale could not be inverted."""


def quantise_row(x: FloatPointer, depth: Int, bytes: BytePointer, n_bytes: Int) -> Float32:
    """Write x as bytes, zeros up to n_bytes; returns the scale. NaN or infinity in a row makes its scale NaN."""
    # As integers, magnitudes of floats are in order, and infinity and NaN are above all others.
    var peaks = IntVector(0)
    var n_whole = depth // WIDTH * WIDTH
    for k in range(0, n_whole, WIDTH):
        peaks = max(peaks, bitcast[DType.int32, WIDTH](x.unsafe_load[width=WIDTH](k)) & 0x7FFFFFFF)
    var peak = peaks.reduce_max()
    for k in range(n_whole, depth):
        peak = max(peak, bitcast[DType.int32, 1](x.unsafe_load(k)) & 0x7FFFFFFF)
    var highest = bitcast[DType.float32, 1](peak)
    var usable = highest >= SMALLEST and highest <= Float32.MAX_FINITE
    if not usable:
        for k in range(n_bytes):
            bytes.unsafe_store(k, UInt8(ZERO))
        return Float32(0) if highest < SMALLEST else highest - highest
    var inverse = 127 / highest
    for k in range(0, n_whole, WIDTH):
        var rounded = x.unsafe_load[width=WIDTH](k).fma(Vector(inverse), Vector(ROUNDER))
        bytes.unsafe_store(k, bitcast[DType.int32, WIDTH](rounded).cast[DType.uint8]())
    for k in range(n_whole, depth):
        var rounded = x.unsafe_load(k).fma(inverse, ROUNDER)
        bytes.unsafe_store(k, bitcast[DType.int32, 1](rounded).cast[DType.uint8]())
    for k in range(depth, n_bytes):
        bytes.unsafe_store(k, UInt8(ZERO))
    return highest / 127


@fieldwise_init
struct Int8Product[fast: Bool, Finisher: Finish](ImplicitlyCopyable, Movable):
    """One linear layer at work: where its operands are."""

    var finish: Self.Finisher
    var x: FloatPointer  # (n_rows, depth)
    var weight: WeightPointer  # (n_panels, n_groups, PANEL, GROUP)
    var bias: FloatPointer  # (n_panels * PANEL,)
    var scale: FloatPointer  # (n_panels * PANEL,)
    var offset: IntPointer  # (n_panels * PANEL,)
    var depth: Int
    var n_groups: Int
    var room: Int
    """Rows that scratch has room for."""

    @always_inline
    def run_rows[rows: Int](self, bytes: BytePointer, scales: FloatPointer, panel: Int, row: Int):
        """Some quantised rows by one panel; row: of the output."""
        var weights = rebind[IntPointer](self.weight.unsafe_offset(panel * self.n_groups * PANEL * GROUP))
        var x = rebind[IntPointer](bytes)
        comptime for part in range(PANEL // TILE_COLUMNS):
            var column = panel * PANEL + part * TILE_COLUMNS
            var sums = Array[IntVector, 2 * rows](fill=IntVector(0))
            comptime for i in range(rows):
                sums[2 * i] = self.offset.unsafe_load[width=WIDTH](column)
                sums[2 * i + 1] = self.offset.unsafe_load[width=WIDTH](column + WIDTH)
            for group in range(self.n_groups):
                var at = group * PANEL + part * TILE_COLUMNS
                var left = weights.unsafe_load[width=WIDTH](at)
                var right = weights.unsafe_load[width=WIDTH](at + WIDTH)
                comptime for i in range(rows):
                    var four = IntVector(x.unsafe_load(i * self.n_groups + group))
                    sums[2 * i] = add_dots[Self.fast](sums[2 * i], four, left)
                    sums[2 * i + 1] = add_dots[Self.fast](sums[2 * i + 1], four, right)
            var tile = Array[Vector, 2 * rows](fill=Vector(0))
            # One rounding, said so: left to the compiler, some rows of a tile would have one and others two.
            comptime for half in range(2):
                var scale = self.scale.unsafe_load[width=WIDTH](column + half * WIDTH)
                var bias = self.bias.unsafe_load[width=WIDTH](column + half * WIDTH)
                comptime for i in range(rows):
                    var factor = scale * scales.unsafe_load(i)
                    tile[2 * i + half] = sums[2 * i + half].cast[DType.float32]().fma(factor, bias)
            self.finish.store[rows](tile, row, column)

    def prepare(self, first_row: Int, n_rows: Int, scratch: BytePointer):
        """Quantise some rows into scratch, at most `room`."""
        var n_bytes = self.n_groups * GROUP
        var scales = rebind[FloatPointer](scratch)
        var bytes = scratch.unsafe_offset(self.room * 4)
        for i in range(n_rows):
            var source = self.x.unsafe_offset((first_row + i) * self.depth)
            scales.unsafe_store(i, quantise_row(source, self.depth, bytes.unsafe_offset(i * n_bytes), n_bytes))

    def run_panels(self, first_row: Int, n_rows: Int, first_panel: Int, last_panel: Int, scratch: BytePointer):
        """Rows that were prepared by panels."""
        var n_bytes = self.n_groups * GROUP
        var scales = rebind[FloatPointer](scratch)
        var bytes = scratch.unsafe_offset(self.room * 4)
        for panel in range(first_panel, last_panel):
            var i = 0
            while i + DOT_ROWS <= n_rows:
                var at = bytes.unsafe_offset(i * n_bytes)
                self.run_rows[DOT_ROWS](at, scales.unsafe_offset(i), panel, first_row + i)
                i += DOT_ROWS
            comptime if DOT_ROWS > HALF_DOT_ROWS:
                if i + HALF_DOT_ROWS <= n_rows:
                    var at = bytes.unsafe_offset(i * n_bytes)
                    self.run_rows[HALF_DOT_ROWS](at, scales.unsafe_offset(i), panel, first_row + i)
                    i += HALF_DOT_ROWS
            comptime for rest in range(1, HALF_DOT_ROWS):
                if n_rows - i == rest:
                    var at = bytes.unsafe_offset(i * n_bytes)
                    self.run_rows[rest](at, scales.unsafe_offset(i), panel, first_row + i)

    def run(self, first_row: Int, last_row: Int, first_panel: Int, last_panel: Int, scratch: BytePointer):
        """Rows by panels. scratch: scratch_bytes."""
        for start in range(first_row, last_row, self.room):
            var n_rows = min(self.room, last_row - start)
            self.prepare(start, n_rows, scratch)
            self.run_panels(start, n_rows, first_panel, last_panel, scratch)

    def scratch_bytes(self) -> Int:
        """Scratch of one worker: scales and bytes of its rows, in whole cache lines."""
        return ceildiv(self.room * (4 + self.n_groups * GROUP), 64) * 64


def run_in_parallel[
    fast: Bool, Finisher: Finish
](product: Int8Product[fast, Finisher], n_rows: Int, n_panels: Int):
    """Give every worker its share of the rows, and of the panels where there are more workers than blocks of rows."""
    var n_workers = max(parallelism_level(None), 1)
    var n_row_shares = max(1, min(n_workers, n_rows // ROW_BLOCK))
    var n_column_shares = max(1, min(n_workers // n_row_shares, n_panels))
    var row_share = ceildiv(ceildiv(n_rows, n_row_shares), DOT_ROWS) * DOT_ROWS
    var panel_share = ceildiv(n_panels, n_column_shares)
    var size = product.scratch_bytes()
    var scratch = alloc(Layout[UInt8](count=n_row_shares * n_column_shares * size))
    var scratch_ptr = rebind[BytePointer](scratch.unsafe_ptr())

    def work(share: Int) {imm}:
        var first_row = (share // n_column_shares) * row_share
        var first_panel = (share % n_column_shares) * panel_share
        product.run(
            first_row,
            min(first_row + row_share, n_rows),
            first_panel,
            min(first_panel + panel_share, n_panels),
            scratch_ptr.unsafe_offset(share * size),
        )

    sync_parallelize(work, n_row_shares * n_column_shares)
    dealloc(scratch^)


def multiply[
    Finisher: Finish
](
    finish: Finisher,
    x: InputTensor[dtype=DType.float32, rank=2, ...],
    weight: InputTensor[dtype=DType.int8, rank=4, ...],
    bias: InputTensor[dtype=DType.float32, rank=1, ...],
    scale: InputTensor[dtype=DType.float32, rank=1, ...],
    offset: InputTensor[dtype=DType.int32, rank=1, ...],
    vnni: InputTensor[dtype=DType.int32, rank=1, ...],
):
    """All rows of x by all panels."""

    def run[fast: Bool]() {imm}:
        var product = Int8Product[fast, Finisher](
            finish,
            rebind[FloatPointer](x.unsafe_ptr()),
            rebind[WeightPointer](weight.unsafe_ptr()),
            rebind[FloatPointer](bias.unsafe_ptr()),
            rebind[FloatPointer](scale.unsafe_ptr()),
            rebind[IntPointer](offset.unsafe_ptr()),
            x.dim_size(1),
            weight.dim_size(1),
            ROW_BLOCK,
        )
        run_in_parallel(product, x.dim_size(0), weight.dim_size(0))

    if is_fast(vnni.unsafe_ptr().unsafe_load(0)):
        run[True]()
    else:
        run[False]()


@extensibility.register("whisper_max.int8_linear")
struct Int8Linear:
    """`x @ weight + bias`, then GELU where asked."""

    @staticmethod
    def execute[
        gelu: Bool
    ](
        output: OutputTensor[dtype=DType.float32, rank=2, ...],  # (n_rows, n_columns)
        x: InputTensor[dtype=DType.float32, rank=2, ...],  # (n_rows, depth)
        weight: InputTensor[dtype=DType.int8, rank=4, ...],  # (n_panels, n_groups, PANEL, GROUP)
        bias: InputTensor[dtype=DType.float32, rank=1, ...],  # (n_panels * PANEL,)
        scale: InputTensor[dtype=DType.float32, rank=1, ...],  # (n_panels * PANEL,)
        offset: InputTensor[dtype=DType.int32, rank=1, ...],  # (n_panels * PANEL,)
        vnni: InputTensor[dtype=DType.int32, rank=1, ...],  # (1,), see `is_fast`
        ctx: DeviceContext,
    ) raises:
        var out_ptr = rebind[FloatPointer](output.unsafe_ptr())
        var finish = Rows[gelu, False](out_ptr, out_ptr, output.dim_size(1))
        multiply(finish, x, weight, bias, scale, offset, vnni)


@extensibility.register("whisper_max.int8_linear_residual")
struct Int8LinearResidual:
    """`added + x @ weight + bias`."""

    @staticmethod
    def execute(
        output: OutputTensor[dtype=DType.float32, rank=2, ...],  # (n_rows, n_columns)
        x: InputTensor[dtype=DType.float32, rank=2, ...],  # (n_rows, depth)
        added: InputTensor[dtype=DType.float32, rank=2, ...],  # (n_rows, n_columns)
        weight: InputTensor[dtype=DType.int8, rank=4, ...],  # (n_panels, n_groups, PANEL, GROUP)
        bias: InputTensor[dtype=DType.float32, rank=1, ...],  # (n_panels * PANEL,)
        scale: InputTensor[dtype=DType.float32, rank=1, ...],  # (n_panels * PANEL,)
        offset: InputTensor[dtype=DType.int32, rank=1, ...],  # (n_panels * PANEL,)
        vnni: InputTensor[dtype=DType.int32, rank=1, ...],  # (1,), see `is_fast`
        ctx: DeviceContext,
    ) raises:
        var out_ptr = rebind[FloatPointer](output.unsafe_ptr())
        var finish = Rows[False, True](out_ptr, rebind[FloatPointer](added.unsafe_ptr()), output.dim_size(1))
        multiply(finish, x, weight, bias, scale, offset, vnni)


@extensibility.register("whisper_max.int8_linear_heads")
struct Int8LinearHeads:
    """`x @ weight + bias`, written by heads."""

    @staticmethod
    def execute[
        head_dim: Int
    ](
        output: MutableInputTensor[rank=4, ...],  # (windows, H, n_positions, hd)
        x: InputTensor[dtype=DType.float32, rank=2, ...],  # (windows * n_positions, depth)
        weight: InputTensor[dtype=DType.int8, rank=4, ...],  # (n_panels, n_groups, PANEL, GROUP)
        bias: InputTensor[dtype=DType.float32, rank=1, ...],  # (n_panels * PANEL,)
        scale: InputTensor[dtype=DType.float32, rank=1, ...],  # (n_panels * PANEL,)
        offset: InputTensor[dtype=DType.int32, rank=1, ...],  # (n_panels * PANEL,)
        vnni: InputTensor[dtype=DType.int32, rank=1, ...],  # (1,), see `is_fast`
        ctx: DeviceContext,
    ) raises:
        var out_ptr = rebind[Pointer[Scalar[output.dtype], MutUntrackedOrigin]](output.unsafe_ptr())
        var finish = Heads[output.dtype, head_dim](out_ptr, output.dim_size(1), output.dim_size(2))
        multiply(finish, x, weight, bias, scale, offset, vnni)


@extensibility.register("whisper_max.int8_panel_columns")
struct Int8PanelColumns:
    """Columns of a weight in panels, as rows: the embeddings of tokens."""

    @staticmethod
    def execute(
        output: OutputTensor[dtype=DType.float32, rank=2, ...],  # (n, depth)
        columns: InputTensor[dtype=DType.int32, rank=1, ...],  # (n,)
        weight: InputTensor[dtype=DType.int8, rank=4, ...],  # (n_panels, n_groups, PANEL, GROUP)
        scale: InputTensor[dtype=DType.float32, rank=1, ...],  # (n_panels * PANEL,)
        ctx: DeviceContext,
    ) raises:
        var depth = output.dim_size(1)
        for row in range(columns.dim_size(0)):
            var column = Int(columns.unsafe_ptr().unsafe_load(row))
            var factor = scale.unsafe_ptr().unsafe_load(column)
            var start = (column // PANEL * weight.dim_size(1) * PANEL + column % PANEL) * GROUP
            for k in range(depth):
                var value = weight.unsafe_ptr().unsafe_load(start + k // GROUP * PANEL * GROUP + k % GROUP)
                output.unsafe_ptr().unsafe_store(row * depth + k, value.cast[DType.float32]() * factor)
