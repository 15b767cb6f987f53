"""Linear layers on int8 weights: rows are quantised to 8 bits on the fly, products are summed in integers.

Each row of x has its own scale, each column of the weight too. A row is held as unsigned bytes, 128 more than its
values, where the dot product takes such; `offset`, -128 times the sum of each column, takes it off again.

Where `parts` is 2, a row is rounded to 16 bits instead and held as two rows, of its high and of its low bytes, that are
multiplied like any others; their sums are put together at the end. So rows of x count, and `parts` as many rows of bytes.
"""

import extensibility
from extensibility import InputTensor, OutputTensor
from max.algorithm import sync_parallelize
from max.gpu.host import DeviceContext
from max.runtime.asyncrt import parallelism_level
from std.math import ceildiv, min
from std.memory import alloc, bitcast, dealloc, stack_allocation
from std.memory.alloc import Layout

from .dot import GROUP, HAS_PAIRS, IntPointer, IntVector, ZERO, add_dots, add_pairs, is_fast, wide_halves
from .finish import Finish, Rows
from .tiles import FloatPointer, PANEL, TILE_COLUMNS, TILE_ROWS, Vector, WIDTH

comptime BytePointer = Pointer[UInt8, MutUntrackedOrigin]
comptime WidePointer = Pointer[Int16, MutUntrackedOrigin]
comptime WeightPointer = Pointer[Int8, MutUntrackedOrigin]
comptime DOT_ROWS = 12 if WIDTH == 16 else 4
"""Rows of a tile of 2 vectors: what the registers hold besides the halves of weights."""
comptime HALF_DOT_ROWS = 8 if WIDTH == 16 else 4
"""Rows of the next smaller tile; what is left is taken at once."""
comptime SLOW_ROWS = 4
"""The same where dot products take several instructions: what is left below WIDEN_FROM_ROWS is not worth a larger one."""
comptime ROW_BLOCK = 96
"""Rows that are quantised together: of depth 2048 they take 192 KB, within any second-level cache."""
comptime WIDEN_FROM_ROWS = 16
"""From how many rows on they and the weights are widened to 16 bits first, where dot products take such."""
comptime CHUNK = 2048 // WIDTH
"""Pairs along the depth that are multiplied together: of a few columns they take 16 KB, of the rows of a tile 6 KB, both
within any first-level cache."""
comptime CHUNK_GROUPS = CHUNK * 2 // GROUP
comptime ROUNDER = Float32(12582912)
"""1.5 * 2 ** 23: added to a small number it leaves its nearest integer in the lowest bits."""
comptime TWO_BYTES = Int32(128 * 257)
"""Added to a number of 16 bits it makes both of its bytes 128 more than what they stand for, from -128 to 127."""
comptime SMALLEST = Float32(1e-30)
"""A row that nowhere exceeds this counts as zeros, as its scale could not be inverted."""


@no_inline
def quantise_row[
    dtype: DType, //, parts: Int = 1
](x: FloatPointer, depth: Int, bytes: Pointer[Scalar[dtype], MutUntrackedOrigin], n_bytes: Int) -> Float32:
    """Write x as bytes, or as numbers of 16 bits that hold such, zeros up to n_bytes; in two parts the high bytes, then
    the low ones. Returns the scale. NaN or infinity in a row makes its scale NaN."""
    comptime HIGHEST = Float32(127 if parts == 1 else 127 * 256)
    comptime ZEROS = Int32(ZERO) if parts == 1 else TWO_BYTES
    comptime TO_BYTES = ROUNDER + Float32(ZEROS)
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
        for k in range(parts * n_bytes):
            bytes.unsafe_store(k, Scalar[dtype](ZERO))
        return Float32(0) if highest < SMALLEST else highest - highest
    var inverse = HIGHEST / highest
    for k in range(0, n_whole, WIDTH):
        var rounded = x.unsafe_load[width=WIDTH](k).fma(Vector(inverse), Vector(TO_BYTES))
        store_parts[WIDTH, parts](bitcast[DType.int32, WIDTH](rounded), bytes.unsafe_offset(k), n_bytes)
    for k in range(n_whole, depth):
        var rounded = x.unsafe_load(k).fma(inverse, TO_BYTES)
        store_parts[1, parts](bitcast[DType.int32, 1](rounded), bytes.unsafe_offset(k), n_bytes)
    for k in range(depth, n_bytes):
        store_parts[1, parts](ZEROS, bytes.unsafe_offset(k), n_bytes)
    return highest / HIGHEST


@always_inline
def store_parts[
    dtype: DType, //, width: Int, parts: Int
](value: SIMD[DType.int32, width], bytes: Pointer[Scalar[dtype], MutUntrackedOrigin], n_bytes: Int):
    """Write the last byte, or the two last, the higher one first; they are n_bytes apart."""
    comptime for part in range(parts):
        comptime shift = Int32(8 * (parts - 1 - part))
        var byte = (value >> SIMD[DType.int32, width](shift)) & 0xFF
        comptime if parts == 2 and ZERO == 0:
            byte ^= 0x80
        bytes.unsafe_store(part * n_bytes, byte.cast[dtype]())


struct Wide(ImplicitlyCopyable, Movable):
    """Scratch of one worker whose operands are pairs of 16 bits."""

    var weights: IntPointer  # (CHUNK, TILE_COLUMNS), those at work
    var x: IntPointer  # (n_rows / TILE_ROWS, n_pairs, TILE_ROWS)
    var rows: IntPointer  # (TILE_ROWS, n_pairs), those that are quantised
    var sums: IntPointer  # (n_rows, TILE_COLUMNS), of the chunks so far
    var scales: FloatPointer  # (n_rows,)

    def __init__(out self, start: BytePointer, n_rows: Int, n_groups: Int):
        """`start`: `n_bytes`."""
        var n_padded = ceildiv(n_rows, TILE_ROWS) * TILE_ROWS
        var n_pairs = n_groups * GROUP // 2
        self.weights = rebind[IntPointer](start)
        self.x = self.weights.unsafe_offset(CHUNK * TILE_COLUMNS)
        self.rows = self.x.unsafe_offset(n_padded * n_pairs)
        self.sums = self.rows.unsafe_offset(TILE_ROWS * n_pairs)
        self.scales = rebind[FloatPointer](self.sums.unsafe_offset(n_padded * TILE_COLUMNS))

    @staticmethod
    def n_bytes(n_rows: Int, n_groups: Int) -> Int:
        """Its size, in whole cache lines."""
        var n_padded = ceildiv(n_rows, TILE_ROWS) * TILE_ROWS
        var n_pairs = n_groups * GROUP // 2
        var n = CHUNK * TILE_COLUMNS + (n_padded + TILE_ROWS) * n_pairs + n_padded * (TILE_COLUMNS + 1)
        return ceildiv(4 * n, 64) * 64


@fieldwise_init
struct Int8Product[fast: Bool, Finisher: Finish, parts: Int = 1](ImplicitlyCopyable, Movable):
    """One linear layer at work: where its operands are."""

    var finish: Self.Finisher
    var x: FloatPointer  # (n_rows, depth), rows x_step apart
    var x_step: Int
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
        """Some rows of bytes by one panel; row: of the output."""
        var weights = rebind[IntPointer](self.weight.unsafe_offset(panel * self.n_groups * PANEL * GROUP))
        var x = rebind[IntPointer](bytes)
        comptime for part in range(PANEL // TILE_COLUMNS):
            var column = panel * PANEL + part * TILE_COLUMNS
            var sums = Array[IntVector, 2 * rows](fill=IntVector(0))
            comptime for i in range(rows):
                sums[2 * i] = self.first_sums(column)
                sums[2 * i + 1] = self.first_sums(column + WIDTH)
            for group in range(self.n_groups):
                var at = group * PANEL + part * TILE_COLUMNS
                var left = weights.unsafe_load[width=WIDTH](at)
                var right = weights.unsafe_load[width=WIDTH](at + WIDTH)
                comptime for i in range(rows):
                    var four = IntVector(x.unsafe_load(i * self.n_groups + group))
                    sums[2 * i] = add_dots[Self.fast](sums[2 * i], four, left)
                    sums[2 * i + 1] = add_dots[Self.fast](sums[2 * i + 1], four, right)
            self.finish_tile[rows](sums, scales, row, column)

    @always_inline
    def first_sums(self, column: Int) -> IntVector:
        """What the sums of some columns begin with."""
        comptime if ZERO == 0:
            return IntVector(0)
        return self.offset.unsafe_load[width=WIDTH](column)

    @always_inline
    def finish_tile[rows: Int](self, sums: Array[IntVector, 2 * rows], scales: FloatPointer, row: Int, column: Int):
        """Sums with their offset to what the layer gives."""
        var held = stack_allocation[2 * rows * WIDTH, DType.int32, alignment=64]()
        comptime for i in range(2 * rows):
            held.unsafe_store(i * WIDTH, sums[i])
        self.finish_rows(rebind[IntPointer](held), rows, scales, row, column)

    @no_inline
    def finish_rows(self, sums: IntPointer, n_rows: Int, scales: FloatPointer, row: Int, column: Int):
        """The same for sums in memory. It is compiled once, as it does not know how many rows there are."""
        var left_scale = self.scale.unsafe_load[width=WIDTH](column)
        var right_scale = self.scale.unsafe_load[width=WIDTH](column + WIDTH)
        var left_bias = self.bias.unsafe_load[width=WIDTH](column)
        var right_bias = self.bias.unsafe_load[width=WIDTH](column + WIDTH)
        for i in range(n_rows // Self.parts):
            var factor = scales.unsafe_load(i)
            var at = sums.unsafe_offset(2 * Self.parts * i * WIDTH)
            var left = at.unsafe_load[width=WIDTH](0).cast[DType.float32]()
            var right = at.unsafe_load[width=WIDTH](WIDTH).cast[DType.float32]()
            comptime if Self.parts == 2:  # together they may need more than 32 bits
                left = left.fma(Vector(256), at.unsafe_load[width=WIDTH](2 * WIDTH).cast[DType.float32]())
                right = right.fma(Vector(256), at.unsafe_load[width=WIDTH](3 * WIDTH).cast[DType.float32]())
            # One rounding, said so: left to the compiler, it could be two.
            var tile: Array[Vector, 2] = [
                left.fma(left_scale * factor, left_bias), right.fma(right_scale * factor, right_bias)
            ]
            self.finish.store[1](tile, row + i, column)

    @no_inline
    def prepare(self, first_row: Int, n_rows: Int, scratch: BytePointer):
        """Quantise some rows into scratch, at most `room`."""
        comptime if HAS_PAIRS and not Self.fast:
            if Self.parts * n_rows >= WIDEN_FROM_ROWS:
                self.prepare_wide(first_row, n_rows, Wide(scratch, Self.parts * self.room, self.n_groups))
                return
        var n_bytes = self.n_groups * GROUP
        var scales = rebind[FloatPointer](scratch)
        var bytes = scratch.unsafe_offset(Self.parts * self.room * 4)
        for i in range(n_rows):
            var source = self.x.unsafe_offset((first_row + i) * self.x_step)
            var target = bytes.unsafe_offset(Self.parts * i * n_bytes)
            scales.unsafe_store(i, quantise_row[Self.parts](source, self.depth, target, n_bytes))

    @no_inline
    def run_panels(self, first_row: Int, n_rows: Int, first_panel: Int, last_panel: Int, scratch: BytePointer):
        """Rows that were prepared by panels."""
        var n_byte_rows = Self.parts * n_rows
        comptime if HAS_PAIRS and not Self.fast:
            if n_byte_rows >= WIDEN_FROM_ROWS:
                for column in range(first_panel * PANEL, last_panel * PANEL, TILE_COLUMNS):
                    self.run_wide(first_row, n_byte_rows, column, Wide(scratch, Self.parts * self.room, self.n_groups))
                return
        var n_bytes = self.n_groups * GROUP
        var scales = rebind[FloatPointer](scratch)
        var bytes = scratch.unsafe_offset(Self.parts * self.room * 4)
        for panel in range(first_panel, last_panel):
            var i = 0

            @always_inline
            def run_some[rows: Int]() {imm}:
                var at = i // Self.parts
                self.run_rows[rows](bytes.unsafe_offset(i * n_bytes), scales.unsafe_offset(at), panel, first_row + at)

            comptime if Self.fast and DOT_ROWS > HALF_DOT_ROWS:
                while i + DOT_ROWS <= n_byte_rows:
                    run_some[DOT_ROWS]()
                    i += DOT_ROWS
            comptime few = HALF_DOT_ROWS if Self.fast else SLOW_ROWS
            while i + few <= n_byte_rows:
                run_some[few]()
                i += few
            comptime for rest in range(Self.parts, few, Self.parts):
                if n_byte_rows - i == rest:
                    run_some[rest]()

    def prepare_wide(self, first_row: Int, n_rows: Int, at: Wide):
        """Quantise some rows into pairs."""
        var n_pairs = self.n_groups * GROUP // 2
        for start in range(0, Self.parts * n_rows, TILE_ROWS):
            var first = start // Self.parts
            for i in range(min(TILE_ROWS // Self.parts, n_rows - first)):
                var source = self.x.unsafe_offset((first_row + first + i) * self.x_step)
                var row = rebind[WidePointer](at.rows.unsafe_offset(Self.parts * i * n_pairs))
                at.scales.unsafe_store(first + i, quantise_row[Self.parts](source, self.depth, row, 2 * n_pairs))
            var tile = at.x.unsafe_offset(start * n_pairs)
            for pair in range(n_pairs):
                comptime for i in range(TILE_ROWS):
                    tile.unsafe_store(pair * TILE_ROWS + i, at.rows.unsafe_load(i * n_pairs + pair))

    def run_wide(self, first_row: Int, n_rows: Int, column: Int, at: Wide):
        """Rows of bytes, in pairs, by a few columns; first_row: of the output."""
        comptime rows = TILE_ROWS
        for group in range(0, self.n_groups, CHUNK_GROUPS):
            var n_groups = min(CHUNK_GROUPS, self.n_groups - group)
            var is_last = group + n_groups == self.n_groups
            self.widen(self.weights_at(column, group), n_groups, at.weights)
            for row in range(0, n_rows, rows):
                var held = at.sums.unsafe_offset(row * TILE_COLUMNS)
                var sums = Array[IntVector, 2 * rows](fill=IntVector(0))
                comptime for i in range(2 * rows):
                    if group == 0:
                        sums[i] = self.offset.unsafe_load[width=WIDTH](column + i % 2 * WIDTH)
                    else:
                        sums[i] = held.unsafe_load[width=WIDTH](i * WIDTH)
                var x = at.x.unsafe_offset((row * self.n_groups + group * rows) * GROUP // 2)
                add_pairs[rows](sums, x, at.weights, n_groups * GROUP // 2)
                comptime for i in range(2 * rows):
                    held.unsafe_store(i * WIDTH, sums[i])
                if is_last:
                    var count = min(rows, n_rows - row)
                    var done = row // Self.parts
                    self.finish_rows(held, count, at.scales.unsafe_offset(done), first_row + done, column)

    @always_inline
    def weights_at(self, column: Int, group: Int) -> IntPointer:
        """The weights from a column and a group on."""
        var place = (column // PANEL * self.n_groups + group) * PANEL + column % PANEL
        return rebind[IntPointer](self.weight).unsafe_offset(place)

    @staticmethod
    @always_inline
    def widen(weights: IntPointer, n_groups: Int, wide: IntPointer):
        """Some groups of a few columns, as pairs."""
        for group in range(n_groups):
            comptime for part in range(0, TILE_COLUMNS, WIDTH):
                var first, second = wide_halves(weights.unsafe_load[width=WIDTH](group * PANEL + part))
                wide.unsafe_store(2 * group * TILE_COLUMNS + part, first)
                wide.unsafe_store((2 * group + 1) * TILE_COLUMNS + part, second)

    def run(self, first_row: Int, last_row: Int, first_panel: Int, last_panel: Int, scratch: BytePointer):
        """Rows by panels. scratch: scratch_bytes."""
        for start in range(first_row, last_row, self.room):
            var n_rows = min(self.room, last_row - start)
            self.prepare(start, n_rows, scratch)
            self.run_panels(start, n_rows, first_panel, last_panel, scratch)

    def scratch_bytes(self) -> Int:
        """Scratch of one worker."""
        return scratch_bytes[Self.fast](Self.parts * self.room, self.n_groups)


def scratch_bytes[fast: Bool](n_rows: Int, n_groups: Int) -> Int:
    """Scratch of one worker, in whole cache lines."""
    comptime if HAS_PAIRS and not fast:
        if n_rows >= WIDEN_FROM_ROWS:
            return Wide.n_bytes(n_rows, n_groups)
    return ceildiv(n_rows * (4 + n_groups * GROUP), 64) * 64


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
            x.dim_size(1),
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


@extensibility.register("whisper_max.int8_embed")
struct Int8Embed:
    """The embeddings of tokens, columns of a weight in panels, and of their positions, which repeat row after row."""

    @staticmethod
    def execute(
        output: OutputTensor[dtype=DType.float32, rank=2, ...],  # (n, depth)
        tokens: InputTensor[dtype=DType.int32, rank=1, ...],  # (n,)
        positions: InputTensor[dtype=DType.int32, rank=1, ...],  # (length,), of which n is a multiple
        table: InputTensor[dtype=DType.float32, rank=2, ...],  # (n_positions, depth)
        weight: InputTensor[dtype=DType.int8, rank=4, ...],  # (n_panels, n_groups, PANEL, GROUP)
        scale: InputTensor[dtype=DType.float32, rank=1, ...],  # (n_panels * PANEL,)
        ctx: DeviceContext,
    ) raises:
        var depth = output.dim_size(1)
        var length = positions.dim_size(0)
        for row in range(tokens.dim_size(0)):
            var token = Int(tokens.unsafe_ptr().unsafe_load(row))
            var position = Int(positions.unsafe_ptr().unsafe_load(row % length))
            var factor = scale.unsafe_ptr().unsafe_load(token)
            var start = (token // PANEL * weight.dim_size(1) * PANEL + token % PANEL) * GROUP
            for k in range(depth):
                var value = weight.unsafe_ptr().unsafe_load(start + k // GROUP * PANEL * GROUP + k % GROUP)
                var added = table.unsafe_ptr().unsafe_load(position * depth + k)
                output.unsafe_ptr().unsafe_store(row * depth + k, value.cast[DType.float32]().fma(factor, added))
