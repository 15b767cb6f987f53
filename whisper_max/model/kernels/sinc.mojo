"""SincNet's first layer: band-pass filters over a sound, and windows of what they let through.

Windows that overlap share the filters' work: a window's own mean and gain are applied to what the filters give.
"""

import extensibility
from extensibility import InputTensor, OutputTensor
from max.algorithm import sync_parallelize
from max.gpu.host import DeviceContext
from std.math import abs, ceildiv, max, min, sqrt
from std.memory import stack_allocation

from .dot import IntPointer
from .recurrence import EPSILON, POOL, Series, WIDE
from .taps import share_out
from .tiles import FloatPointer, TILE_ROWS, WIDTH

comptime KERNEL = 251
comptime STEP = 10
comptime PAIRS = KERNEL // 2
"""Samples on each side of the middle one."""
comptime DEPTH = PAIRS + 1
comptime BANDS = 40
"""Filters of each kind: even ones, then odd ones."""
comptime COLUMNS = 2 * BANDS
comptime FRAME_SAMPLES = 270
comptime FRAME_POOLED = FRAME_SAMPLES // STEP // POOL
"""Pooled positions from one frame to the next."""
comptime SPLIT = BANDS // (2 * WIDTH) * 2 * WIDTH
"""Columns in tiles two vectors wide; the rest are one vector, where there is any."""
comptime REST = BANDS - SPLIT


@always_inline
def fold(x: FloatPointer, sums: FloatPointer, differences: FloatPointer):
    """Both halves of what a filter sees, the second one backwards: their sums and the middle, and their differences.

    An even filter gives the products with the sums, an odd one those with the differences.
    """
    comptime for part in range(ceildiv(PAIRS, WIDTH)):
        comptime k = min(part * WIDTH, PAIRS - WIDTH)
        var left = x.unsafe_load[width=WIDTH](k)
        var right = x.unsafe_load[width=WIDTH](KERNEL - WIDTH - k).reversed()
        sums.unsafe_store(k, left + right)
        differences.unsafe_store(k, left - right)
    sums.unsafe_store(PAIRS, x.unsafe_load(PAIRS))
    differences.unsafe_store(PAIRS, Float32(0))


@always_inline
def filter_columns[lanes: Int, count: Int](x: FloatPointer, weight: FloatPointer, target: FloatPointer):
    """Some filters on TILE_ROWS positions, of which every POOL leave the largest and the smallest value.

    x: (TILE_ROWS, DEPTH), folded; weight: (DEPTH, COLUMNS); target: (TILE_ROWS // POOL, 2, COLUMNS).
    """
    comptime Lanes = SIMD[DType.float32, lanes]
    var tile = Array[Lanes, TILE_ROWS * count](fill=Lanes(0))
    for k in range(DEPTH):
        var of_filters = Array[Lanes, count](fill=Lanes(0))
        comptime for part in range(count):
            of_filters[part] = weight.unsafe_load[width=lanes](k * COLUMNS + part * lanes)
        comptime for row in range(TILE_ROWS):
            var value = Lanes(x.unsafe_load(row * DEPTH + k))
            comptime for part in range(count):
                tile[row * count + part] = of_filters[part].fma(value, tile[row * count + part])
    comptime for pooled in range(TILE_ROWS // POOL):
        comptime for part in range(count):
            var largest = tile[pooled * POOL * count + part]
            var smallest = largest
            comptime for k in range(1, POOL):
                largest = max(largest, tile[(pooled * POOL + k) * count + part])
                smallest = min(smallest, tile[(pooled * POOL + k) * count + part])
            target.unsafe_store(2 * pooled * COLUMNS + part * lanes, largest)
            target.unsafe_store((2 * pooled + 1) * COLUMNS + part * lanes, smallest)


@extensibility.register("whisper_max.sinc_filters")
struct SincFilters:
    """The largest and the smallest of every three positions that the filters give."""

    @staticmethod
    def execute(
        output: OutputTensor[dtype=DType.float32, rank=3, ...],  # (T, 2, COLUMNS), T at least a tile
        x: InputTensor[dtype=DType.float32, rank=1, ...],  # (n_samples,)
        weight: InputTensor[dtype=DType.float32, rank=2, ...],  # (DEPTH, COLUMNS), half of each filter and its middle
        ctx: DeviceContext,
    ) raises:
        comptime pooled = TILE_ROWS // POOL
        var length = output.dim_size(0)
        var out_ptr = rebind[FloatPointer](output.unsafe_ptr())
        var x_ptr = rebind[FloatPointer](x.unsafe_ptr())
        var weight_ptr = rebind[FloatPointer](weight.unsafe_ptr())

        def work(block: Int) {imm}:
            var folded = stack_allocation[2 * TILE_ROWS * DEPTH, DType.float32, alignment=64]()
            var sides = rebind[FloatPointer](folded)
            var first = min(block * pooled, length - pooled)  # the last block begins early enough to be a whole one
            for row in range(TILE_ROWS):
                var sums = sides.unsafe_offset(row * DEPTH)
                fold(x_ptr.unsafe_offset((first * POOL + row) * STEP), sums, sums.unsafe_offset(TILE_ROWS * DEPTH))
            var target = out_ptr.unsafe_offset(first * 2 * COLUMNS)
            comptime for side in range(2):
                var here = sides.unsafe_offset(side * TILE_ROWS * DEPTH)
                comptime for column in range(0, SPLIT, 2 * WIDTH):
                    comptime at = side * BANDS + column
                    filter_columns[WIDTH, 2](here, weight_ptr.unsafe_offset(at), target.unsafe_offset(at))
                comptime if REST > 0:
                    comptime at = side * BANDS + SPLIT
                    filter_columns[REST, 1](here, weight_ptr.unsafe_offset(at), target.unsafe_offset(at))

        share_out(work, ceildiv(length, pooled))


@extensibility.register("whisper_max.sinc_levels")
struct SincLevels:
    """What normalising each window is to its samples: a gain, and what is added then."""

    @staticmethod
    def execute(
        output: OutputTensor[dtype=DType.float32, rank=2, ...],  # (B, 2)
        x: InputTensor[dtype=DType.float32, rank=1, ...],  # (n_samples,)
        starts: InputTensor[dtype=DType.int32, rank=1, ...],  # (B,), frames
        norm: InputTensor[dtype=DType.float32, rank=1, ...],  # (2,): weight and bias of the normalisation
        size: InputTensor[dtype=DType.int32, rank=1, ...],  # (1,): samples of a window
        ctx: DeviceContext,
    ) raises:
        comptime Sums = SIMD[DType.float64, WIDTH]
        var out_ptr = rebind[FloatPointer](output.unsafe_ptr())
        var x_ptr = rebind[FloatPointer](x.unsafe_ptr())
        var starts_ptr = rebind[IntPointer](starts.unsafe_ptr())
        var norm_ptr = rebind[FloatPointer](norm.unsafe_ptr())
        var n_samples = Int(rebind[IntPointer](size.unsafe_ptr()).unsafe_load(0))

        def work(window: Int) {imm}:
            var source = x_ptr.unsafe_offset(Int(starts_ptr.unsafe_load(window)) * FRAME_SAMPLES)
            var sums = Sums(0)
            for k in range(0, n_samples, WIDTH):
                sums += source.unsafe_load[width=WIDTH](k).cast[DType.float64]()
            var mean = sums.reduce_add() / Float64(n_samples)
            var squares = Sums(0)
            for k in range(0, n_samples, WIDTH):
                var part = source.unsafe_load[width=WIDTH](k).cast[DType.float64]() - mean
                squares = part.fma(part, squares)
            var variance = squares.reduce_add() / Float64(n_samples)
            var gain = norm_ptr.unsafe_load(0).cast[DType.float64]() / sqrt(variance + EPSILON.cast[DType.float64]())
            var added = norm_ptr.unsafe_load(1).cast[DType.float64]() - gain * mean
            out_ptr.unsafe_store(2 * window, gain.cast[DType.float32]())
            out_ptr.unsafe_store(2 * window + 1, added.cast[DType.float32]())

        share_out(work, starts.dim_size(0))


@extensibility.register("whisper_max.sinc_norm")
struct SincNorm:
    """Windows of what the filters gave, as if each had been normalised before: magnitudes, their normalisation over time
    in each channel, and a leaky ReLU."""

    @staticmethod
    def execute(
        output: OutputTensor[dtype=DType.float32, rank=4, ...],  # (B, 1, T', COLUMNS)
        x: InputTensor[dtype=DType.float32, rank=3, ...],  # (T, 2, COLUMNS)
        starts: InputTensor[dtype=DType.int32, rank=1, ...],  # (B,), frames
        levels: InputTensor[dtype=DType.float32, rank=2, ...],  # (B, 2): `SincLevels`
        totals: InputTensor[dtype=DType.float32, rank=1, ...],  # (COLUMNS,): sums of the filters
        weight: InputTensor[dtype=DType.float32, rank=1, ...],  # (COLUMNS,)
        bias: InputTensor[dtype=DType.float32, rank=1, ...],  # (COLUMNS,)
        ctx: DeviceContext,
    ) raises:
        comptime Few = SIMD[DType.float32, WIDE]
        comptime n_parts = COLUMNS // WIDE
        var length = output.dim_size(2)
        var out_ptr = rebind[FloatPointer](output.unsafe_ptr())
        var x_ptr = rebind[FloatPointer](x.unsafe_ptr())
        var starts_ptr = rebind[IntPointer](starts.unsafe_ptr())
        var levels_ptr = rebind[FloatPointer](levels.unsafe_ptr())
        var totals_ptr = rebind[FloatPointer](totals.unsafe_ptr())
        var series = Series(
            out_ptr, length, COLUMNS, rebind[FloatPointer](weight.unsafe_ptr()), rebind[FloatPointer](bias.unsafe_ptr())
        )

        def work(unit: Int) {imm}:
            var window = unit // n_parts
            var channel = unit % n_parts * WIDE
            var first = Int(starts_ptr.unsafe_load(window)) * FRAME_POOLED
            var source = x_ptr.unsafe_offset(first * 2 * COLUMNS + channel)
            var target = out_ptr.unsafe_offset(window * length * COLUMNS + channel)
            var gain = Few(levels_ptr.unsafe_load(2 * window))
            var added = levels_ptr.unsafe_load(2 * window + 1) * totals_ptr.unsafe_load[width=WIDE](channel)
            var sums = SIMD[DType.float64, WIDE](0)
            for t in range(length):
                var largest = source.unsafe_load[width=WIDE](2 * t * COLUMNS).fma(gain, added)
                var smallest = source.unsafe_load[width=WIDE]((2 * t + 1) * COLUMNS).fma(gain, added)
                var value = max(abs(largest), abs(smallest))
                target.unsafe_store(t * COLUMNS, value)
                sums += value.cast[DType.float64]()
            series.normalise[WIDE](window, channel, sums)

        share_out(work, starts.dim_size(0) * n_parts)
