"""Convolutions as products of rows: an output is a few stretches of its input, the taps, times a matrix in panels.

Where channels are innermost, taps that are neighbours in time are one stretch, so nothing is ever unfolded.
"""

import extensibility
from extensibility import InputTensor, OutputTensor
from max.algorithm import sync_parallelize
from max.gpu.host import DeviceContext
from max.runtime.asyncrt import parallelism_level
from std.math import ceildiv, max, min

from .dot import IntPointer
from .finish import Finish
from .tiles import FloatPointer, PANEL, TILE_COLUMNS, TILE_ROWS, Vector, WIDTH, multiply_tile

comptime BLOCK_ROWS = 8 * TILE_ROWS
"""Rows that are multiplied by all panels before the next ones are: they stay in a core's cache."""


@fieldwise_init
struct Activated(Finish):
    """The sum with a row of another matrix, then `max(y, slope * y)`, in rows that may lie apart."""

    var out_ptr: FloatPointer
    var out_step: Int
    var n_columns: Int
    var slope: Float32
    """1: nothing, 0: ReLU, between them: a leaky one."""
    var added: FloatPointer
    var added_step: Int
    var adds: Bool

    @always_inline
    def store[rows: Int](self, tile: Array[Vector, 2 * rows], row: Int, column: Int):
        comptime for i in range(rows):
            comptime for half in range(2):
                var at = column + half * WIDTH
                if at < self.n_columns:
                    var value = tile[2 * i + half]
                    var place = self.out_ptr.unsafe_offset((row + i) * self.out_step + at)
                    var other = self.added.unsafe_offset((row + i) * self.added_step + at)
                    if at + WIDTH <= self.n_columns:
                        if self.adds:
                            value += other.unsafe_load[width=WIDTH](0)
                        place.unsafe_store(0, max(value, value * self.slope))
                    else:
                        for lane in range(self.n_columns - at):
                            var last = value[lane]
                            if self.adds:
                                last += other.unsafe_load(lane)
                            place.unsafe_store(lane, max(last, last * self.slope))


def in_rows(out_ptr: FloatPointer, n_columns: Int, slope: Float32) -> Activated:
    """Results in rows next to each other, with nothing added."""
    return Activated(out_ptr, n_columns, n_columns, slope, out_ptr, 0, False)


@fieldwise_init
struct Taps(ImplicitlyCopyable, Movable):
    """Row r is `n_taps` stretches of `depth` floats, `tap_step` apart, the first at `r * row_step`."""

    var x: FloatPointer
    var row_step: Int
    var n_taps: Int
    var tap_step: Int
    var depth: Int
    var weight: FloatPointer  # (n_panels, n_taps * depth, PANEL)
    var bias: FloatPointer  # (n_panels * PANEL,)

    def multiply[Finisher: Finish](self, finish: Finisher, first: Int, last: Int, n_panels: Int):
        """Rows [first, last) by all panels."""
        for start in range(first, last, BLOCK_ROWS):
            var stop = min(start + BLOCK_ROWS, last)
            for panel in range(n_panels):
                var row = start
                while row + TILE_ROWS <= stop:
                    self.tile[TILE_ROWS](finish, row, panel)
                    row += TILE_ROWS
                comptime for rest in range(1, TILE_ROWS):
                    if stop - row == rest:
                        self.tile[rest](finish, row, panel)

    @always_inline
    def tile[rows: Int, Finisher: Finish](self, finish: Finisher, row: Int, panel: Int):
        """Some rows by one panel."""
        comptime for part in range(PANEL // TILE_COLUMNS):
            var column = panel * PANEL + part * TILE_COLUMNS
            var tile = Array[Vector, 2 * rows](fill=Vector(0))
            comptime for i in range(2 * rows):
                tile[i] = self.bias.unsafe_load[width=WIDTH](column + i % 2 * WIDTH)
            for tap in range(self.n_taps):
                var product = multiply_tile[rows](
                    self.x.unsafe_offset(row * self.row_step + tap * self.tap_step),
                    self.row_step,
                    self.weight.unsafe_offset((panel * self.n_taps + tap) * self.depth * PANEL + part * TILE_COLUMNS),
                    PANEL,
                    self.depth,
                )
                comptime for i in range(2 * rows):
                    tile[i] += product[i]
            finish.store[rows](tile, row, column)


def convolve(
    output: OutputTensor[dtype=DType.float32, rank=4, ...],  # (B, G, T, n_out)
    x: InputTensor[dtype=DType.float32, rank=4, ...],  # (B, groups, length, channels)
    added: FloatPointer,  # as output
    adds: Bool,
    weight: InputTensor[dtype=DType.float32, rank=3, ...],  # (n_panels, n_taps * depth, PANEL)
    bias: InputTensor[dtype=DType.float32, rank=1, ...],  # (n_panels * PANEL,)
    geometry: InputTensor[dtype=DType.int32, rank=1, ...],
    slope: InputTensor[dtype=DType.float32, rank=1, ...],  # (1,)
):
    """Every output row from its taps; the output's borders of zeros, where it has them.

    geometry, each in groups and in time: the border of the output, the step from one output to the next, the size of
    the kernel, and where it begins for the first output.
    """
    var at = rebind[IntPointer](geometry.unsafe_ptr())
    var border_groups = Int(at.unsafe_load(0))
    var border_time = Int(at.unsafe_load(1))
    var length = x.dim_size(2)
    var channels = x.dim_size(3)
    var group_step = Int(at.unsafe_load(2)) * length * channels
    var row_step = Int(at.unsafe_load(3)) * channels
    var n_taps = Int(at.unsafe_load(4))
    var depth = Int(at.unsafe_load(5)) * channels
    var first_group = Int(at.unsafe_load(6))
    var first_position = Int(at.unsafe_load(7))

    var n_columns = output.dim_size(3)
    var n_groups = output.dim_size(1) - 2 * border_groups
    var n_rows = output.dim_size(2) - 2 * border_time
    var out_row = output.dim_size(2) * n_columns
    var x_item = x.dim_size(1) * length * channels
    var first = (first_group * length + first_position) * channels
    var out_ptr = rebind[FloatPointer](output.unsafe_ptr())
    var x_ptr = rebind[FloatPointer](x.unsafe_ptr())
    var weight_ptr = rebind[FloatPointer](weight.unsafe_ptr())
    var bias_ptr = rebind[FloatPointer](bias.unsafe_ptr())
    var leak = rebind[FloatPointer](slope.unsafe_ptr()).unsafe_load(0)
    var n_panels = weight.dim_size(0)
    var n_blocks = ceildiv(n_rows, BLOCK_ROWS)
    var n_units = output.dim_size(0) * n_groups * n_blocks

    def work(unit: Int) {imm}:
        var block = unit % n_blocks
        var group = unit // n_blocks % n_groups
        var item = unit // n_blocks // n_groups
        var start = (item * output.dim_size(1) + border_groups + group) * out_row + border_time * n_columns
        var taps = Taps(
            x_ptr.unsafe_offset(item * x_item + group * group_step + first),
            row_step, n_taps, length * channels, depth, weight_ptr, bias_ptr,
        )
        var finish = Activated(
            out_ptr.unsafe_offset(start), n_columns, n_columns, leak, added.unsafe_offset(start), n_columns, adds
        )
        taps.multiply(finish, block * BLOCK_ROWS, min((block + 1) * BLOCK_ROWS, n_rows), n_panels)

    share_out(work, n_units)

    for row in range(output.dim_size(0) * output.dim_size(1)):
        var group = row % output.dim_size(1)
        var start = out_ptr.unsafe_offset(row * out_row)
        if group < border_groups or group >= output.dim_size(1) - border_groups:
            zero(start, out_row)
        else:
            zero(start, border_time * n_columns)
            zero(start.unsafe_offset(out_row - border_time * n_columns), border_time * n_columns)


def zero(start: FloatPointer, count: Int):
    for i in range(count):
        start.unsafe_store(i, Float32(0))


def share_out[Work: def(Int) -> None](work: Work, n_units: Int):
    """Give every worker its share of the units, which are alike."""
    var n_workers = max(1, min(parallelism_level(None), n_units))
    var share = ceildiv(n_units, n_workers)

    def walk(worker: Int) {imm}:
        for unit in range(worker * share, min((worker + 1) * share, n_units)):
            work(unit)

    sync_parallelize(walk, n_workers)


@extensibility.register("whisper_max.convolution")
struct Convolution:
    """A convolution, see `convolve`, and its activation."""

    @staticmethod
    def execute(
        output: OutputTensor[dtype=DType.float32, rank=4, ...],
        x: InputTensor[dtype=DType.float32, rank=4, ...],
        weight: InputTensor[dtype=DType.float32, rank=3, ...],
        bias: InputTensor[dtype=DType.float32, rank=1, ...],
        geometry: InputTensor[dtype=DType.int32, rank=1, ...],
        slope: InputTensor[dtype=DType.float32, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        convolve(output, x, rebind[FloatPointer](output.unsafe_ptr()), False, weight, bias, geometry, slope)


@extensibility.register("whisper_max.convolution_residual")
struct ConvolutionResidual:
    """A convolution, see `convolve`, the sum with a residual, and the activation."""

    @staticmethod
    def execute(
        output: OutputTensor[dtype=DType.float32, rank=4, ...],
        x: InputTensor[dtype=DType.float32, rank=4, ...],
        added: InputTensor[dtype=DType.float32, rank=4, ...],
        weight: InputTensor[dtype=DType.float32, rank=3, ...],
        bias: InputTensor[dtype=DType.float32, rank=1, ...],
        geometry: InputTensor[dtype=DType.int32, rank=1, ...],
        slope: InputTensor[dtype=DType.float32, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        convolve(output, x, rebind[FloatPointer](added.unsafe_ptr()), True, weight, bias, geometry, slope)
