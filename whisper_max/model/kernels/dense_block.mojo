"""A block of densely connected, context-aware masked layers of CAM++, as one operation: an item's features stay in a cache.

Each layer reads all features so far and adds GROWTH new ones. See https://arxiv.org/abs/2303.00332, section 2.
"""

import extensibility
from extensibility import InputTensor, OutputTensor
from max.gpu.host import DeviceContext
from std.math import ceildiv, exp, max, min, sqrt
from std.memory import alloc, dealloc
from std.memory.alloc import Layout

from .dot import IntPointer
from .finish import Finish
from .taps import Activated, Taps, in_rows, share_out, zero
from .tiles import FloatPointer, PANEL, Vector, WIDTH

comptime GROWTH = PANEL
"""Features that a layer adds."""
comptime WIDE = 4 * GROWTH
comptime NARROW = WIDE // 2
comptime TAPS = 3
comptime SEGMENT = 100
"""Frames that have a mask together."""


@fieldwise_init
struct Masked(Finish):
    """Results times the mask of their segment, in rows that lie apart."""

    var out_ptr: FloatPointer
    var out_step: Int
    var masks: FloatPointer  # (n_segments, GROWTH)

    @always_inline
    def store[rows: Int](self, tile: Array[Vector, 2 * rows], row: Int, column: Int):
        comptime for i in range(rows):
            var mask = self.masks.unsafe_offset((row + i) // SEGMENT * GROWTH)
            comptime for half in range(2):
                var at = column + half * WIDTH
                self.out_ptr.unsafe_store(
                    (row + i) * self.out_step + at, tile[2 * i + half] * mask.unsafe_load[width=WIDTH](at)
                )


def normalise(
    x: FloatPointer, x_step: Int, out_ptr: FloatPointer, n_rows: Int, n_columns: Int, norm: FloatPointer
):
    """`relu(x * scale + shift)` of the first columns. norm: (2, n_columns)."""
    for row in range(n_rows):
        for k in range(0, n_columns, WIDTH):
            var value = x.unsafe_load[width=WIDTH](row * x_step + k)
            value = value.fma(norm.unsafe_load[width=WIDTH](k), norm.unsafe_load[width=WIDTH](n_columns + k))
            out_ptr.unsafe_store(row * n_columns + k, max(value, Vector(0)))


def write_masks(
    hidden: FloatPointer, n_rows: Int, weights: FloatPointer, masks: FloatPointer, scratch: FloatPointer
) -> FloatPointer:
    """The mask of each segment, from the means of its frames and of all. Returns where the next weights are.

    hidden: (n_rows, WIDE); weights: two linear layers, each its bias and then its panels; scratch: 2 * WIDE + NARROW.
    """
    var bias_1 = weights
    var matrix_1 = bias_1.unsafe_offset(NARROW)
    var bias_2 = matrix_1.unsafe_offset(WIDE * NARROW)
    var matrix_2 = bias_2.unsafe_offset(GROWTH)
    var whole = scratch
    var context = scratch.unsafe_offset(WIDE)
    var squeezed = context.unsafe_offset(WIDE)
    write_mean(hidden, n_rows, whole)
    for segment in range(ceildiv(n_rows, SEGMENT)):
        var first = segment * SEGMENT
        write_mean(hidden.unsafe_offset(first * WIDE), min(SEGMENT, n_rows - first), context)
        for k in range(0, WIDE, WIDTH):
            context.unsafe_store(k, context.unsafe_load[width=WIDTH](k) + whole.unsafe_load[width=WIDTH](k))
        var mask = masks.unsafe_offset(segment * GROWTH)
        Taps(context, 0, 1, 0, WIDE, matrix_1, bias_1).multiply(in_rows(squeezed, NARROW, 0), 0, 1, NARROW // PANEL)
        Taps(squeezed, 0, 1, 0, NARROW, matrix_2, bias_2).multiply(in_rows(mask, GROWTH, 1), 0, 1, GROWTH // PANEL)
        for k in range(0, GROWTH, WIDTH):
            mask.unsafe_store(k, 1 / (1 + exp(-mask.unsafe_load[width=WIDTH](k))))
    return matrix_2.unsafe_offset(NARROW * GROWTH)


def write_mean(x: FloatPointer, n_rows: Int, out_ptr: FloatPointer):
    """The mean of rows, (WIDE,)."""
    for k in range(0, WIDE, WIDTH):
        var sums = Vector(0)
        for row in range(n_rows):
            sums += x.unsafe_load[width=WIDTH](row * WIDE + k)
        out_ptr.unsafe_store(k, sums / Float32(n_rows))


@extensibility.register("whisper_max.dense_block")
struct DenseBlock:
    """Some layers, and the normalisation with ReLU of all their features that follows.

    weights, one layer after the other, cin being the features so far: scale and shift (2, cin); bias (WIDE,) and panels
    (4, cin, PANEL); those of `write_masks`; panels of the taps (TAPS, WIDE, GROWTH). At the end scale and shift of all.
    """

    @staticmethod
    def execute(
        output: OutputTensor[dtype=DType.float32, rank=4, ...],  # (B, 1, T, n_in + n_layers * GROWTH)
        x: InputTensor[dtype=DType.float32, rank=4, ...],  # (B, 1, T, n_in)
        weights: InputTensor[dtype=DType.float32, rank=1, ...],
        dilation: InputTensor[dtype=DType.int32, rank=1, ...],  # (1,)
        ctx: DeviceContext,
    ) raises:
        var length = x.dim_size(2)
        var n_in = x.dim_size(3)
        var n_out = output.dim_size(3)
        var gap = Int(rebind[IntPointer](dilation.unsafe_ptr()).unsafe_load(0))
        var out_ptr = rebind[FloatPointer](output.unsafe_ptr())
        var x_ptr = rebind[FloatPointer](x.unsafe_ptr())
        var weights_ptr = rebind[FloatPointer](weights.unsafe_ptr())
        var masks_size = ceildiv(length, SEGMENT) * GROWTH
        var hidden_size = (length + 2 * gap) * WIDE
        var own = 2 * length * n_out + hidden_size + masks_size + 2 * WIDE + NARROW + GROWTH
        var n_items = x.dim_size(0)
        var memory = alloc(Layout[Float32](count=n_items * own))
        var scratch = rebind[FloatPointer](memory.unsafe_ptr())

        def work(item: Int) {imm}:
            var features = scratch.unsafe_offset(item * own)
            var normed = features.unsafe_offset(length * n_out)
            var padded = normed.unsafe_offset(length * n_out)
            var hidden = padded.unsafe_offset(gap * WIDE)
            var masks = padded.unsafe_offset(hidden_size)
            var small = masks.unsafe_offset(masks_size)
            var no_bias = small.unsafe_offset(2 * WIDE + NARROW)
            zero(padded, hidden_size)
            zero(no_bias, GROWTH)
            for row in range(length):
                for k in range(0, n_in, WIDTH):
                    var value = x_ptr.unsafe_load[width=WIDTH]((item * length + row) * n_in + k)
                    features.unsafe_store(row * n_out + k, value)
            var at = weights_ptr
            var width = n_in
            while width < n_out:
                normalise(features, n_out, normed, length, width, at)
                var bias = at.unsafe_offset(2 * width)
                var matrix = bias.unsafe_offset(WIDE)
                var wide = Taps(normed, width, 1, 0, width, matrix, bias)
                wide.multiply(in_rows(hidden, WIDE, 0), 0, length, WIDE // PANEL)
                at = write_masks(hidden, length, matrix.unsafe_offset(width * WIDE), masks, small)
                var local = Taps(padded, WIDE, TAPS, gap * WIDE, WIDE, at, no_bias)
                local.multiply(Masked(features.unsafe_offset(width), n_out, masks), 0, length, GROWTH // PANEL)
                at = at.unsafe_offset(TAPS * WIDE * GROWTH)
                width += GROWTH
            normalise(features, n_out, out_ptr.unsafe_offset(item * length * n_out), length, n_out, at)

        share_out(work, n_items)
        dealloc(memory^)


@extensibility.register("whisper_max.statistics")
struct Statistics:
    """Mean and standard deviation (the unbiased one; 0.01 for a single frame) over time."""

    @staticmethod
    def execute(
        output: OutputTensor[dtype=DType.float32, rank=4, ...],  # (B, 1, 1, 2 * channels)
        x: InputTensor[dtype=DType.float32, rank=4, ...],  # (B, 1, T, channels)
        ctx: DeviceContext,
    ) raises:
        var length = x.dim_size(2)
        var channels = x.dim_size(3)
        var out_ptr = rebind[FloatPointer](output.unsafe_ptr())
        var x_ptr = rebind[FloatPointer](x.unsafe_ptr())

        def work(item: Int) {imm}:
            var source = x_ptr.unsafe_offset(item * length * channels)
            var target = out_ptr.unsafe_offset(item * 2 * channels)
            for k in range(0, channels, WIDTH):
                var sums = Vector(0)
                for t in range(length):
                    sums += source.unsafe_load[width=WIDTH](t * channels + k)
                var mean = sums / Float32(length)
                var squares = Vector(0)
                for t in range(length):
                    var part = source.unsafe_load[width=WIDTH](t * channels + k) - mean
                    squares = part.fma(part, squares)
                var deviation = sqrt(squares / Float32(length - 1)) if length > 1 else Vector(0.01)
                target.unsafe_store(k, mean)
                target.unsafe_store(channels + k, deviation)

        share_out(work, x.dim_size(0))
