"""Keys and values of the audio as bytes, and attention over them.

Each position has a scale in each head, of its key and of its value. A head of a window is `n_padded * (head_dim + 4)`
bytes, its positions filled up to whole panels: keys (n_padded / PANEL, head_dim / GROUP, PANEL, GROUP), unsigned, 128 more
than they stand for, so that 16 scores are summed side by side; values (n_padded, head_dim), signed. The scales follow,
(n_padded,) float32. A query is held in 16 bits, as two bytes that are summed apart: keys and values alone are rounded.
"""

import extensibility
from extensibility import InputTensor, OutputTensor
from extensibility import _MutableInputTensor as MutableInputTensor
from max.gpu.host import DeviceContext
from max.runtime.asyncrt import parallelism_level
from std.math import ceildiv, max, min, sqrt
from std.memory import alloc, bitcast, dealloc
from std.memory.alloc import Layout

from .alignment import attend_heads
from .attention import Head, KeysAndValues, LOG2_E, LOWEST, power_of_2, run_in_parallel
from .decode_attention import Audio
from .dot import GROUP, IntPointer, IntVector, TO_SIGNED, TO_UNSIGNED, ZERO, add_dots, is_fast
from .finish import Rows
from .int8_linear import BytePointer, SMALLEST, WeightPointer, quantise_row
from .matrix import Int8Matrix, int8_matrix
from .team import Worker, run_phases
from .tiles import FloatPointer, PANEL, Vector, WIDTH

comptime HIGHEST = Float32(127 * 256)
"""What the largest magnitude of a query becomes: both bytes of it fit."""
comptime ROUNDER = Float32(12582912)
"""1.5 * 2 ** 23: added to a small number it leaves its nearest integer in the lowest bits."""
comptime ROUNDER_BITS = Int32(0x4B400000)
comptime SCALE_BYTES = 4
comptime KEY_ZERO = 128
"""The byte of a key that stands for 0."""
comptime MOST_PANELS = 3
"""Of positions whose keys or values are computed together, at most: as floats they stay in a second-level cache."""


@fieldwise_init
struct Int8Audio[head_dim: Int, fast: Bool](Audio):
    """Keys and values of one layer."""

    comptime N_GROUPS = Self.head_dim // GROUP
    var keys: BytePointer  # (windows, H), each a head
    var values: WeightPointer  # (windows, H), each a head
    var n_audio: Int
    var n_padded: Int

    def n_keys(self) -> Int:
        return self.n_audio

    def scratch_floats(self) -> Int:
        """A weight for each key, and a query."""
        return self.n_padded + 2 * Self.N_GROUPS

    @always_inline
    def start(self, head: Int) -> Int:
        """Where a head begins."""
        return head * self.n_padded * (Self.head_dim + SCALE_BYTES)

    def weigh(self, head: Int, q: FloatPointer, scratch: FloatPointer) -> Float32:
        """How much each key counts, written to the start of scratch; returns the sum."""
        comptime N_PARTS = PANEL // WIDTH
        var query = rebind[IntPointer](scratch.unsafe_offset(self.n_padded))
        var scale, sum = split_query[Self.head_dim](q, query)
        var factor = Vector(scale * (LOG2_E / sqrt(Float32(Self.head_dim))))
        var offset = IntVector(Int32(-ZERO) * sum)
        var bytes = self.keys.unsafe_offset(self.start(head))
        var scales = rebind[FloatPointer](bytes.unsafe_offset(self.n_padded * Self.head_dim))
        for start in range(0, self.n_padded, PANEL):
            var keys = rebind[IntPointer](bytes.unsafe_offset(start * Self.head_dim))
            var high = Array[IntVector, N_PARTS](fill=IntVector(0))
            var low = Array[IntVector, N_PARTS](fill=offset)
            for group in range(Self.N_GROUPS):
                var of_high = IntVector(query.unsafe_load(group))
                var of_low = IntVector(query.unsafe_load(Self.N_GROUPS + group))
                comptime for part in range(N_PARTS):
                    var four = keys.unsafe_load[width=WIDTH](group * PANEL + part * WIDTH) ^ TO_UNSIGNED
                    high[part] = add_dots[Self.fast](high[part], four, of_high)
                    low[part] = add_dots[Self.fast](low[part], four, of_low)
            comptime for part in range(N_PARTS):
                var at = start + part * WIDTH
                var dots = ((high[part] << 8) + low[part]).cast[DType.float32]()
                scratch.unsafe_store(at, dots * (scales.unsafe_load[width=WIDTH](at) * factor))
        for key in range(self.n_audio, self.n_padded):
            scratch.unsafe_store(key, LOWEST)
        var peaks = Vector(LOWEST)
        for key in range(0, self.n_padded, WIDTH):
            var some = scratch.unsafe_load[width=WIDTH](key)
            peaks = some.gt(peaks).select(some, peaks)
        var peak = peaks.reduce_max()
        var total = Vector(0)
        for key in range(0, self.n_padded, WIDTH):
            var some = power_of_2(scratch.unsafe_load[width=WIDTH](key) - peak)
            scratch.unsafe_store(key, some)
            total += some
        return total.reduce_add()

    def attend(self, head: Int, output: FloatPointer, q: FloatPointer, scratch: FloatPointer):
        """One query over one head."""
        var total = self.weigh(head, q, scratch)
        var values = self.values.unsafe_offset(self.start(head))
        var scales = rebind[FloatPointer](values.unsafe_offset(self.n_padded * Self.head_dim))
        comptime N_PARTS = Self.head_dim // WIDTH
        var result = Array[Vector, N_PARTS](fill=Vector(0))
        for key in range(self.n_audio):
            var weight = Vector(scratch.unsafe_load(key) * scales.unsafe_load(key))
            comptime for part in range(N_PARTS):
                var value = values.unsafe_load[width=WIDTH](key * Self.head_dim + part * WIDTH).cast[DType.float32]()
                result[part] = value.fma(weight, result[part])
        comptime for part in range(N_PARTS):
            output.unsafe_store(part * WIDTH, result[part] / total)


@always_inline
def split_query[head_dim: Int](q: FloatPointer, groups: IntPointer) -> Tuple[Float32, Int32]:
    """Write a query as integers of 16 bits, their high bytes before their low ones, both signed; returns the scale and
    the sum of the integers. NaN or infinity makes the scale NaN.

    groups: (2, head_dim / GROUP).
    """
    var high = rebind[WeightPointer](groups)
    var low = high.unsafe_offset(head_dim)
    var peaks = IntVector(0)
    comptime for lane in range(0, head_dim, WIDTH):
        peaks = max(peaks, bitcast[DType.int32, WIDTH](q.unsafe_load[width=WIDTH](lane)) & 0x7FFFFFFF)
    var highest = bitcast[DType.float32, 1](peaks.reduce_max())
    var usable = highest >= SMALLEST and highest <= Float32.MAX_FINITE
    var inverse = Vector(HIGHEST / highest if usable else 0)
    var sums = IntVector(0)
    comptime for lane in range(0, head_dim, WIDTH):
        var rounded = q.unsafe_load[width=WIDTH](lane).fma(inverse, Vector(ROUNDER))
        var whole = bitcast[DType.int32, WIDTH](rounded) - ROUNDER_BITS
        var last = (whole << 24) >> 24
        sums += whole
        low.unsafe_store(lane, last.cast[DType.int8]())
        high.unsafe_store(lane, ((whole - last) >> 8).cast[DType.int8]())
    return highest / HIGHEST if usable else highest - highest, sums.reduce_add()


@fieldwise_init
struct Int8Side[head_dim: Int](KeysAndValues):
    """One head of one window, a position at a time."""

    var keys: BytePointer
    var values: WeightPointer
    var n_padded: Int

    @always_inline
    def key(self, position: Int, lane: Int) -> Vector:
        comptime N_PARTS = WIDTH // GROUP
        var groups = rebind[IntPointer](self.keys)
        var place = (position // PANEL * (Self.head_dim // GROUP) + lane // GROUP) * PANEL + position % PANEL
        var part = SIMD[DType.int32, N_PARTS](0)
        comptime for group in range(N_PARTS):
            part[group] = groups.unsafe_load(place + group * PANEL)
        var bytes = bitcast[DType.uint8, WIDTH](part).cast[DType.float32]()
        var scales = rebind[FloatPointer](self.keys.unsafe_offset(self.n_padded * Self.head_dim))
        return (bytes - Float32(KEY_ZERO)) * scales.unsafe_load(position)

    @always_inline
    def value(self, position: Int, lane: Int) -> Vector:
        var bytes = self.values.unsafe_load[width=WIDTH](position * Self.head_dim + lane).cast[DType.float32]()
        var scales = rebind[FloatPointer](self.values.unsafe_offset(self.n_padded * Self.head_dim))
        return bytes * scales.unsafe_load(position)


@fieldwise_init
struct Target[head_dim: Int, keys: Bool](ImplicitlyCopyable, Movable):
    """Keys or values of one layer that are written."""

    comptime N_GROUPS = Self.head_dim // GROUP
    var bytes: BytePointer  # (windows, H), each a head
    var n_audio: Int
    var n_padded: Int
    var n_head: Int

    def store(self, window: Int, first: Int, n_rows: Int, rows: FloatPointer, scratch: IntPointer):
        """Some positions of a window, from the first of a panel on, and zeros in what is left of the last panel.

        rows: (n_rows, H * head_dim); scratch: head_dim bytes.
        """
        for head in range(self.n_head):
            var start = (window * self.n_head + head) * self.n_padded * (Self.head_dim + SCALE_BYTES)
            var bytes = self.bytes.unsafe_offset(start)
            var scales = rebind[FloatPointer](bytes.unsafe_offset(self.n_padded * Self.head_dim))
            for row in range(ceildiv(n_rows, PANEL) * PANEL):
                var scale = Float32(0)
                if row < n_rows:
                    var source = rows.unsafe_offset((row * self.n_head + head) * Self.head_dim)
                    scale = quantise_row(source, Self.head_dim, rebind[BytePointer](scratch), Self.head_dim)
                else:
                    comptime for group in range(Self.N_GROUPS):
                        scratch.unsafe_store(group, TO_SIGNED)
                self.copy(scratch, rebind[IntPointer](bytes), first + row)
                scales.unsafe_store(first + row, scale)

    @always_inline
    def copy(self, groups: IntPointer, head: IntPointer, position: Int):
        """One position's bytes to their place."""
        comptime for group in range(Self.N_GROUPS):
            comptime if Self.keys:
                var place = (position // PANEL * Self.N_GROUPS + group) * PANEL + position % PANEL
                head.unsafe_store(place, groups.unsafe_load(group) ^ TO_UNSIGNED)
            else:
                head.unsafe_store(position * Self.N_GROUPS + group, groups.unsafe_load(group) ^ TO_SIGNED)


def fill[
    head_dim: Int, keys: Bool, fast: Bool, //
](target: Target[head_dim, keys], x: FloatPointer, matrix: Int8Matrix[fast], n_windows: Int):
    """Write keys or values of some windows. x: (n_windows * n_audio, depth)."""
    var n_workers = max(parallelism_level(None), 1)
    var n_panels = target.n_padded // PANEL
    var n_together = min(MOST_PANELS, max(1, n_panels // n_workers))
    var n_blocks = ceildiv(n_panels, n_together)
    var n_pieces = n_windows * n_blocks
    var n_state = target.n_head * head_dim
    var room = n_together * PANEL
    var own_floats = room * n_state + head_dim + matrix.scratch_bytes(room) // 4
    var memory = alloc(Layout[Float32](count=n_workers * own_floats))
    var start = rebind[FloatPointer](memory.unsafe_ptr())

    def walk(mut worker: Worker) {imm}:
        var rows = start.unsafe_offset(worker.number * own_floats)
        var bytes = rows.unsafe_offset(room * n_state)
        var scratch = bytes.unsafe_offset(head_dim)
        var piece = worker.next(n_pieces)
        while piece >= 0:
            var window = piece // n_blocks
            var first = piece % n_blocks * room
            var n_rows = min(room, target.n_audio - first)
            var source = x.unsafe_offset((window * target.n_audio + first) * matrix.depth)
            matrix.multiply(Rows[False, False](rows, rows, n_state), source, n_rows, rebind[BytePointer](scratch))
            target.store(window, first, n_rows, rows, rebind[IntPointer](bytes))
            piece = worker.next(n_pieces)

    run_phases(walk, 1, n_workers)
    dealloc(memory^)


@extensibility.register("whisper_max.int8_linear_audio")
struct Int8LinearAudio:
    """`x @ weight + bias`, kept as keys or as values of the audio."""

    @staticmethod
    def execute[
        head_dim: Int, keys: Bool
    ](
        output: MutableInputTensor[dtype=DType.int8, rank=4, ...],  # (windows, H, n_padded, hd + 4), each a head
        x: InputTensor[dtype=DType.float32, rank=2, ...],  # (windows * n_audio, depth)
        weight: InputTensor[dtype=DType.int8, rank=4, ...],  # (n_panels, n_groups, PANEL, GROUP)
        bias: InputTensor[dtype=DType.float32, rank=1, ...],  # (n_panels * PANEL,)
        scale: InputTensor[dtype=DType.float32, rank=1, ...],  # (n_panels * PANEL,)
        offset: InputTensor[dtype=DType.int32, rank=1, ...],  # (n_panels * PANEL,)
        vnni: InputTensor[dtype=DType.int32, rank=1, ...],  # (1,), see `is_fast`
        ctx: DeviceContext,
    ) raises:
        var n_windows = output.dim_size(0)
        var n_audio = x.dim_size(0) // max(n_windows, 1)
        var bytes = rebind[BytePointer](output.unsafe_ptr())
        var target = Target[head_dim, keys](bytes, n_audio, output.dim_size(2), output.dim_size(1))

        def run[fast: Bool]() {imm}:
            var matrix = int8_matrix[fast](x.dim_size(1), weight, bias, scale, offset)
            fill(target, rebind[FloatPointer](x.unsafe_ptr()), matrix, n_windows)

        if is_fast(vnni.unsafe_ptr().unsafe_load(0)):
            run[True]()
        else:
            run[False]()


@extensibility.register("whisper_max.int8_cross_attention")
struct Int8CrossAttention:
    """Attention of a sequence over the audio."""

    @staticmethod
    def execute[
        head_dim: Int, n_audio: Int
    ](
        output: OutputTensor[dtype=DType.float32, rank=3, ...],  # (B, T, H * hd)
        queries: InputTensor[dtype=DType.float32, rank=3, ...],  # (B, T, H * hd)
        keys: InputTensor[dtype=DType.int8, rank=4, ...],  # (B, H, n_padded, hd + 4), each a head
        values: InputTensor[dtype=DType.int8, rank=4, ...],
        ctx: DeviceContext,
    ) raises:
        var n_queries = queries.dim_size(1)
        var n_state = queries.dim_size(2)
        var n_head = keys.dim_size(1)
        var n_padded = keys.dim_size(2)
        var out_ptr = rebind[FloatPointer](output.unsafe_ptr())
        var q_ptr = rebind[FloatPointer](queries.unsafe_ptr())
        var k_ptr = rebind[BytePointer](keys.unsafe_ptr())
        var v_ptr = rebind[WeightPointer](values.unsafe_ptr())

        def head_of(index: Int) {imm} -> Head[head_dim, False, Int8Side[head_dim]]:
            var place = index // n_head * n_queries * n_state + index % n_head * head_dim
            var own = index * n_padded * (head_dim + SCALE_BYTES)
            return {
                out_ptr.unsafe_offset(place),
                n_state,
                q_ptr.unsafe_offset(place),
                n_state,
                Int8Side[head_dim](k_ptr.unsafe_offset(own), v_ptr.unsafe_offset(own), n_padded),
                n_audio,
            }

        var n_heads = queries.dim_size(0) * n_head
        run_in_parallel[Head[head_dim, False, Int8Side[head_dim]]](head_of, n_heads, n_queries)


@extensibility.register("whisper_max.int8_attention_weights")
struct Int8AttentionWeights:
    """`AttentionWeights` of such keys."""

    @staticmethod
    def execute[
        head_dim: Int
    ](
        output: MutableInputTensor[dtype=DType.float32, rank=3, ...],  # (n_heads, T, n_audio)
        queries: InputTensor[dtype=DType.float32, rank=3, ...],  # (1, T, H * hd)
        keys: InputTensor[dtype=DType.int8, rank=4, ...],  # (1, H, n_padded, hd + 4), each a head
        heads: InputTensor[dtype=DType.int32, rank=1, ...],  # (n_heads,)
        layer: InputTensor[dtype=DType.int32, rank=1, ...],  # (1,)
        ctx: DeviceContext,
    ) raises:
        var k_ptr = keys.unsafe_ptr()
        # By either instruction the sums are the same.
        var audio = Int8Audio[head_dim, False](
            rebind[BytePointer](k_ptr), rebind[WeightPointer](k_ptr), output.dim_size(2), keys.dim_size(2)
        )
        attend_heads(audio, output, queries, heads, layer, keys.dim_size(1))
