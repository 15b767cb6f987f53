"""What segmentation of speakers needs beside convolutions: pooled and normalised features, and an LSTM over them."""

import extensibility
from extensibility import InputTensor, OutputTensor
from max.algorithm import sync_parallelize
from max.gpu.host import DeviceContext
from std.math import ceildiv, exp, max, min, sqrt
from std.memory import alloc, dealloc
from std.memory.alloc import Layout

from .taps import Activated, Taps, share_out, zero
from .tiles import FloatPointer, TILE_ROWS, Vector, WIDTH

comptime POOL = 3
"""Positions of which the largest is kept."""
comptime EPSILON = Float32(1e-5)
"""The default of torch.nn.InstanceNorm1d."""
comptime LEAK = Float32(0.01)
"""The default of torch.nn.functional.leaky_relu."""
comptime WIDE = 16
"""Channels that are normalised together: a cache line of each position."""
comptime NARROW = 4
"""Those of the rest of them."""
comptime ROWS = 2 * TILE_ROWS
"""Windows that go through a recurrence side by side, so that its matrix is read once for all of them."""


@fieldwise_init
struct Series(ImplicitlyCopyable, Movable):
    """Items of positions with channels innermost, and each channel's weight and bias."""

    var out_ptr: FloatPointer  # (n_items, length, channels)
    var length: Int
    var channels: Int
    var weight: FloatPointer
    var bias: FloatPointer

    def pool_norm[lanes: Int](self, x: FloatPointer, x_length: Int, item: Int, channel: Int):
        """Some channels of an item; see `PoolNorm`. x: (n_items, x_length, channels)."""
        comptime Few = SIMD[DType.float32, lanes]
        var source = x.unsafe_offset(item * x_length * self.channels + channel)
        var target = self.out_ptr.unsafe_offset(item * self.length * self.channels + channel)
        var sums = SIMD[DType.float64, lanes](0)
        for t in range(self.length):
            var largest = Few(-3.0e38)
            comptime for k in range(POOL):
                largest = max(largest, source.unsafe_load[width=lanes]((POOL * t + k) * self.channels))
            target.unsafe_store(t * self.channels, largest)
            sums += largest.cast[DType.float64]()
        self.normalise[lanes](item, channel, sums)

    def normalise[lanes: Int](self, item: Int, channel: Int, sums: SIMD[DType.float64, lanes]):
        """Some channels of an item to their mean and variance over time, with a leaky ReLU. sums: over time."""
        var target = self.out_ptr.unsafe_offset(item * self.length * self.channels + channel)
        var mean = (sums / Float64(self.length)).cast[DType.float32]()
        var squares = SIMD[DType.float64, lanes](0)
        for t in range(self.length):
            var part = target.unsafe_load[width=lanes](t * self.channels) - mean
            squares += (part * part).cast[DType.float64]()
        var scale = self.weight.unsafe_load[width=lanes](channel) / sqrt(
            (squares / Float64(self.length)).cast[DType.float32]() + EPSILON
        )
        var shift = self.bias.unsafe_load[width=lanes](channel)
        for t in range(self.length):
            var value = (target.unsafe_load[width=lanes](t * self.channels) - mean) * scale + shift
            target.unsafe_store(t * self.channels, max(value, value * LEAK))


@extensibility.register("whisper_max.pool_norm")
struct PoolNorm:
    """The largest of every three positions, normalised over time in each channel, and a leaky ReLU."""

    @staticmethod
    def execute(
        output: OutputTensor[dtype=DType.float32, rank=4, ...],  # (B, 1, T // 3, channels)
        x: InputTensor[dtype=DType.float32, rank=4, ...],  # (B, 1, T, channels)
        weight: InputTensor[dtype=DType.float32, rank=1, ...],  # (channels,)
        bias: InputTensor[dtype=DType.float32, rank=1, ...],  # (channels,)
        ctx: DeviceContext,
    ) raises:
        var channels = x.dim_size(3)
        var n_wide = channels // WIDE
        var n_parts = n_wide + channels % WIDE // NARROW
        var x_ptr = rebind[FloatPointer](x.unsafe_ptr())
        var x_length = x.dim_size(2)
        var series = Series(
            rebind[FloatPointer](output.unsafe_ptr()),
            output.dim_size(2),
            channels,
            rebind[FloatPointer](weight.unsafe_ptr()),
            rebind[FloatPointer](bias.unsafe_ptr()),
        )

        def work(unit: Int) {imm}:
            var part = unit % n_parts
            if part < n_wide:
                series.pool_norm[WIDE](x_ptr, x_length, unit // n_parts, part * WIDE)
            else:
                var channel = n_wide * WIDE + (part - n_wide) * NARROW
                series.pool_norm[NARROW](x_ptr, x_length, unit // n_parts, channel)

        share_out(work, x.dim_size(0) * n_parts)


@always_inline
def sigmoid(x: Vector) -> Vector:
    return 1 / (1 + exp(-x))


@always_inline
def tanh(x: Vector) -> Vector:
    return 2 * sigmoid(2 * x) - 1


@extensibility.register("whisper_max.lstm")
struct Lstm:
    """The recurrence of a bidirectional LSTM, whose inputs are multiplied already.

    Gates in a row of x: first of the forward direction, then of the backward one, each input, forget, cell, output.
    """

    @staticmethod
    def execute[
        hidden: Int
    ](
        output: OutputTensor[dtype=DType.float32, rank=4, ...],  # (B, 1, T, 2 * hidden)
        x: InputTensor[dtype=DType.float32, rank=4, ...],  # (B, 1, T, 2 * 4 * hidden)
        weight: InputTensor[dtype=DType.float32, rank=4, ...],  # (2, n_panels, hidden, PANEL)
        no_bias: InputTensor[dtype=DType.float32, rank=1, ...],  # (4 * hidden,), zeros
        ctx: DeviceContext,
    ) raises:
        comptime gates = 4 * hidden
        var n_items = x.dim_size(0)
        var length = x.dim_size(2)
        var n_panels = weight.dim_size(1)
        var out_ptr = rebind[FloatPointer](output.unsafe_ptr())
        var x_ptr = rebind[FloatPointer](x.unsafe_ptr())
        var weight_ptr = rebind[FloatPointer](weight.unsafe_ptr())
        var bias_ptr = rebind[FloatPointer](no_bias.unsafe_ptr())
        var rows = min(ROWS, n_items)
        var n_blocks = ceildiv(n_items, rows)
        comptime own = ROWS * (gates + 2 * hidden)
        var memory = alloc(Layout[Float32](count=2 * n_blocks * own))
        var scratch = rebind[FloatPointer](memory.unsafe_ptr())

        def work(unit: Int) {imm}:
            var side = unit % 2
            var first = unit // 2 * rows
            var n_rows = min(rows, n_items - first)
            var sums = scratch.unsafe_offset(unit * own)
            var state = sums.unsafe_offset(ROWS * gates)
            var cell = state.unsafe_offset(ROWS * hidden)
            zero(state, 2 * ROWS * hidden)
            var matrix = weight_ptr.unsafe_offset(side * gates * hidden)
            var taps = Taps(state, hidden, 1, 0, hidden, matrix, bias_ptr)
            for step in range(length):
                var t = step if side == 0 else length - 1 - step
                var here = x_ptr.unsafe_offset(((first * length + t) * 2 + side) * gates)
                taps.multiply(Activated(sums, gates, gates, 1, here, length * 2 * gates, True), 0, n_rows, n_panels)
                for row in range(n_rows):
                    var gate = sums.unsafe_offset(row * gates)
                    var target = out_ptr.unsafe_offset((((first + row) * length + t) * 2 + side) * hidden)
                    comptime for k in range(0, hidden, WIDTH):
                        var old = cell.unsafe_load[width=WIDTH](row * hidden + k)
                        var new = sigmoid(gate.unsafe_load[width=WIDTH](hidden + k)) * old + sigmoid(
                            gate.unsafe_load[width=WIDTH](k)
                        ) * tanh(gate.unsafe_load[width=WIDTH](2 * hidden + k))
                        var shown = sigmoid(gate.unsafe_load[width=WIDTH](3 * hidden + k)) * tanh(new)
                        cell.unsafe_store(row * hidden + k, new)
                        state.unsafe_store(row * hidden + k, shown)
                        target.unsafe_store(k, shown)

        sync_parallelize(work, 2 * n_blocks)
        dealloc(memory^)
