"""The encoder's two convolutions, as one operation: what lies between them stays in a core's cache.

Channels are innermost, so the three taps of an output are one stretch of its input: a convolution is a linear layer whose
rows overlap, and nothing is unfolded.
"""

import extensibility
from extensibility import InputTensor, OutputTensor
from max.gpu.host import DeviceContext
from std.math import ceildiv, max, min
from std.memory import alloc, dealloc
from std.memory.alloc import Layout

from .dot import IntPointer, is_fast
from .finish import Rows
from .int8_linear import BytePointer
from .matrix import FloatMatrix, Matrix, float_matrix, int8_matrix
from .taps import zero
from .team import Worker, run_phases, workers_for
from .tiles import FloatPointer

comptime TAPS = 3
comptime STRIDE = 2
"""Of the second convolution; the first one's is 1."""
comptime FEW_ROWS = 24
"""Rows of a block where there are workers for all: whole tiles of every kind."""


@fieldwise_init
struct Stem[M: Matrix](ImplicitlyCopyable, Movable):
    """`gelu(conv_2(gelu(conv_1(mel))))`, both with a frame of zeros at either end, and positions, where asked."""

    var conv_1: Self.M  # x_step: n_mels
    var conv_2: Self.M  # x_step: STRIDE * n_state
    var mel: FloatPointer  # (n_windows, n_mels, n_frames)
    var positions: FloatPointer  # (n_rows, n_state)
    var adds_positions: Bool
    var n_windows: Int
    var n_mels: Int
    var n_frames: Int
    var n_rows: Int
    """Of a window's output."""
    var n_state: Int

    def run(self, output: FloatPointer):
        """Compute the output, (n_windows, n_rows, n_state). Each worker takes blocks of a window's rows."""
        var n_workers = workers_for(self.n_windows * self.n_rows)
        var block = self.conv_2.row_block(self.n_windows * self.n_rows, n_workers)
        if block >= self.n_rows:
            block = FEW_ROWS
        var n_blocks = ceildiv(self.n_rows, block)
        var frames_floats = ceildiv((self.n_hidden(block) + TAPS - 1) * self.n_mels, 16) * 16
        var hidden_floats = ceildiv(self.n_hidden(block) * self.n_state, 16) * 16
        var bytes = max(self.conv_1.scratch_bytes(self.n_hidden(block)), self.conv_2.scratch_bytes(block))
        var own_floats = frames_floats + hidden_floats + ceildiv(bytes, 64) * 16
        var memory = alloc(Layout[Float32](count=n_workers * own_floats))
        var scratch = rebind[FloatPointer](memory.unsafe_ptr())

        def walk(mut worker: Worker) {imm}:
            var frames = scratch.unsafe_offset(worker.number * own_floats)
            var hidden = frames.unsafe_offset(frames_floats)
            var own = rebind[BytePointer](hidden.unsafe_offset(hidden_floats))
            var at = worker.next(self.n_windows * n_blocks)
            while at >= 0:
                var first = at % n_blocks * block
                var count = min(block, self.n_rows - first)
                self.run_block(at // n_blocks, first, count, output, frames, hidden, own)
                at = worker.next(self.n_windows * n_blocks)

        run_phases(walk, 1, n_workers)
        dealloc(memory^)

    @staticmethod
    def n_hidden(n_rows: Int) -> Int:
        """Rows between the convolutions that so many rows of the output are made of."""
        return (n_rows - 1) * STRIDE + TAPS

    def run_block(
        self,
        window: Int,
        first: Int,
        count: Int,
        output: FloatPointer,
        frames: FloatPointer,
        hidden: FloatPointer,
        scratch: BytePointer,
    ):
        """Rows [first, first + count) of a window."""
        var n_hidden = self.n_hidden(count)
        var first_hidden = first * STRIDE - 1
        self.transpose(window, first_hidden - 1, n_hidden + TAPS - 1, frames)
        self.conv_1.multiply(Rows[True, False](hidden, hidden, self.n_state), frames, n_hidden, scratch)
        for i in range(n_hidden):
            if first_hidden + i < 0 or first_hidden + i >= self.n_frames:
                zero(hidden.unsafe_offset(i * self.n_state), self.n_state)
        var target = output.unsafe_offset((window * self.n_rows + first) * self.n_state)
        if self.adds_positions:
            var added = self.positions.unsafe_offset(first * self.n_state)
            self.conv_2.multiply(Rows[True, True](target, added, self.n_state), hidden, count, scratch)
        else:
            self.conv_2.multiply(Rows[True, False](target, target, self.n_state), hidden, count, scratch)

    def transpose(self, window: Int, first: Int, count: Int, frames: FloatPointer):
        """Some frames of a window, zeros before its first and past its last, as (count, n_mels)."""
        var start = max(first, 0)
        var stop = min(first + count, self.n_frames)
        zero(frames, (start - first) * self.n_mels)
        zero(frames.unsafe_offset((stop - first) * self.n_mels), (first + count - stop) * self.n_mels)
        for channel in range(self.n_mels):
            var source = self.mel.unsafe_offset((window * self.n_mels + channel) * self.n_frames)
            for frame in range(start, stop):
                frames.unsafe_store((frame - first) * self.n_mels + channel, source.unsafe_load(frame))


def run_stem[
    M: Matrix
](
    conv_1: M,
    conv_2: M,
    output: OutputTensor[dtype=DType.float32, rank=3, ...],
    mel: InputTensor[dtype=DType.float32, rank=3, ...],
    positions: InputTensor[dtype=DType.float32, rank=2, ...],
    adds_positions: InputTensor[dtype=DType.int32, rank=1, ...],
):
    """See `Stem`. output: (n_windows, n_rows, n_state)."""
    var stem = Stem(
        conv_1,
        conv_2,
        rebind[FloatPointer](mel.unsafe_ptr()),
        rebind[FloatPointer](positions.unsafe_ptr()),
        rebind[IntPointer](adds_positions.unsafe_ptr()).unsafe_load(0) != 0,
        mel.dim_size(0),
        mel.dim_size(1),
        mel.dim_size(2),
        output.dim_size(1),
        output.dim_size(2),
    )
    stem.run(rebind[FloatPointer](output.unsafe_ptr()))


@extensibility.register("whisper_max.conv_stem")
struct ConvStem:
    """The stem with matrices of float32 or float16."""

    @staticmethod
    def execute(
        output: OutputTensor[dtype=DType.float32, rank=3, ...],  # (n_windows, n_rows, n_state)
        mel: InputTensor[dtype=DType.float32, rank=3, ...],  # (n_windows, n_mels, n_frames)
        positions: InputTensor[dtype=DType.float32, rank=2, ...],  # (n_rows, n_state)
        adds_positions: InputTensor[dtype=DType.int32, rank=1, ...],  # (1,), 0: they are not added
        weight_1: InputTensor[rank=3, ...],  # (n_panels, TAPS * n_mels, PANEL)
        bias_1: InputTensor[dtype=DType.float32, rank=1, ...],  # (n_panels * PANEL,)
        weight_2: InputTensor[dtype=weight_1.dtype, rank=3, ...],  # (n_panels, TAPS * n_state, PANEL)
        bias_2: InputTensor[dtype=DType.float32, rank=1, ...],  # (n_panels * PANEL,)
        ctx: DeviceContext,
    ) raises:
        var conv_1: FloatMatrix[weight_1.dtype] = float_matrix(weight_1, bias_1)
        var conv_2: FloatMatrix[weight_1.dtype] = float_matrix(weight_2, bias_2)
        conv_1.x_step = mel.dim_size(1)
        conv_2.x_step = STRIDE * output.dim_size(2)
        run_stem(conv_1, conv_2, output, mel, positions, adds_positions)


@extensibility.register("whisper_max.int8_conv_stem")
struct Int8ConvStem:
    """The stem with matrices of int8."""

    @staticmethod
    def execute(
        output: OutputTensor[dtype=DType.float32, rank=3, ...],  # (n_windows, n_rows, n_state)
        mel: InputTensor[dtype=DType.float32, rank=3, ...],  # (n_windows, n_mels, n_frames)
        positions: InputTensor[dtype=DType.float32, rank=2, ...],  # (n_rows, n_state)
        adds_positions: InputTensor[dtype=DType.int32, rank=1, ...],  # (1,), 0: they are not added
        weight_1: InputTensor[dtype=DType.int8, rank=4, ...],  # (n_panels, n_groups, PANEL, GROUP)
        bias_1: InputTensor[dtype=DType.float32, rank=1, ...],  # (n_panels * PANEL,), and so the next two
        scale_1: InputTensor[dtype=DType.float32, rank=1, ...],
        offset_1: InputTensor[dtype=DType.int32, rank=1, ...],
        weight_2: InputTensor[dtype=DType.int8, rank=4, ...],
        bias_2: InputTensor[dtype=DType.float32, rank=1, ...],
        scale_2: InputTensor[dtype=DType.float32, rank=1, ...],
        offset_2: InputTensor[dtype=DType.int32, rank=1, ...],
        vnni: InputTensor[dtype=DType.int32, rank=1, ...],  # (1,), see `is_fast`
        ctx: DeviceContext,
    ) raises:
        def run[fast: Bool]() {imm}:
            var conv_1 = int8_matrix[fast](TAPS * mel.dim_size(1), weight_1, bias_1, scale_1, offset_1)
            var conv_2 = int8_matrix[fast](TAPS * output.dim_size(2), weight_2, bias_2, scale_2, offset_2)
            conv_1.x_step = mel.dim_size(1)
            conv_2.x_step = STRIDE * output.dim_size(2)
            run_stem(conv_1, conv_2, output, mel, positions, adds_positions)

        if is_fast(vnni.unsafe_ptr().unsafe_load(0)):
            run[True]()
        else:
            run[False]()
