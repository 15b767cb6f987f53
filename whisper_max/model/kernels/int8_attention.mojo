"""Attention of many queries in integers: scores from bytes of queries and keys, sums of values weighted by bytes.

Each query and each key has a scale of its own, each lane of a block of values too. The mean of all keys is taken off
them first: it adds the same to all scores of a query, which a softmax does not see, and what is left is smaller. The
weights of a block are bytes, 255 for its highest score; what the result is divided by is the sum of these very bytes.
"""

import extensibility
from extensibility import InputTensor, OutputTensor
from max.gpu.host import DeviceContext
from std.math import ceildiv, exp2, iota, min, sqrt
from std.memory import bitcast

from .attention import Attends, run_in_parallel
from .avx512 import HAS_AVX512, nearest, packed_bytes, past_nearest, times_power_of_2
from .dot import GROUP, IntPointer, IntVector, TAKES_SIGNED, TO_SIGNED, ZERO, add_dots, dot_tile, is_fast
from .int8_linear import BytePointer, SMALLEST, quantise_row
from .tiles import FloatPointer, PANEL, TILE_COLUMNS, Vector, WIDTH

comptime DOT_ROWS = 8 if WIDTH == 16 else 4
"""Queries of a tile."""
comptime KEY_BLOCK = 128
"""Keys whose weights have one scale: the fewer, the finer are the weights of those that score low."""
comptime PerRow = SIMD[DType.float32, DOT_ROWS]
"""A number for each query of a tile."""
comptime LOWEST = Float32(-1e38)
comptime LOG2_E = Float32(1.4426950408889634)
comptime TOP = Float32(7.994353436858858)
"""The power of the highest weight in a block, 255."""
comptime BOTTOM = Float32(-8)
"""The power of a weight that is rounded to the byte 0, as all below are."""
comptime ROUNDER = Float32(12582912)
"""1.5 * 2 ** 23: added to a small number it leaves its nearest integer in the lowest bits."""
comptime BELOW = 128 if TAKES_SIGNED else 0
"""What a weight's byte is less than the weight."""
comptime WEIGHT_ROUNDER = Float32(12582912 + BELOW)
"""Leaves such a byte: 128 more or less are the same in eight bits."""
comptime EXPONENT_ROUNDER = Float32(12582912 + 127)
"""The same with the exponent of 1, so that the lowest bits are those of a power of 2."""
comptime PACK = GROUP * WIDTH
"""Keys whose weights fill a vector as bytes."""
comptime ONES = Int32(0x01010101)
comptime MANTISSA_BITS = 23
comptime OF_BLOCKS = 2 if TAKES_SIGNED else 1
"""Numbers of each lane of a block of values: a scale, and an offset where there are any."""


struct Scratch[head_dim: Int](ImplicitlyCopyable, Movable):
    """What one worker holds: a head's keys and values as bytes, and the tile of queries at work."""

    var keys: IntPointer  # (n_keys / PANEL, head_dim / GROUP, PANEL), each a group of lanes
    var key_scales: FloatPointer  # (n_keys,), of scores to the base 2
    var key_offsets: IntPointer  # (n_keys,), -ZERO times the sum of a key's lanes
    var values: IntPointer  # (n_keys / GROUP, head_dim), each a group of keys
    var value_scales: FloatPointer  # (n_keys / KEY_BLOCK, head_dim)
    var value_offsets: IntPointer  # (n_keys / KEY_BLOCK, head_dim), BELOW times the sum of a lane; not there if that is 0
    var mean: FloatPointer  # (head_dim,), of all keys
    var key: FloatPointer  # (head_dim,), the one at work
    var queries: IntPointer  # (DOT_ROWS, head_dim / GROUP)
    var scores: FloatPointer  # (DOT_ROWS, KEY_BLOCK)
    var peaks: FloatPointer  # (DOT_ROWS, WIDTH), the highest scores by lanes
    var weights: IntPointer  # (DOT_ROWS, KEY_BLOCK / GROUP)
    var sums: FloatPointer  # (DOT_ROWS, head_dim), of weighted values

    def __init__(out self, start: FloatPointer, n_keys: Int):
        """`start`: `scratch_floats`; n_keys: whole blocks."""
        self.keys = rebind[IntPointer](start)
        self.key_scales = start.unsafe_offset(n_keys * Self.head_dim // GROUP)
        self.key_offsets = rebind[IntPointer](self.key_scales.unsafe_offset(n_keys))
        self.values = self.key_offsets.unsafe_offset(n_keys)
        self.value_scales = rebind[FloatPointer](self.values.unsafe_offset(n_keys // GROUP * Self.head_dim))
        var n_lanes = n_keys // KEY_BLOCK * Self.head_dim
        self.value_offsets = rebind[IntPointer](self.value_scales.unsafe_offset(n_lanes))
        self.mean = self.value_scales.unsafe_offset(OF_BLOCKS * n_lanes)
        self.key = self.mean.unsafe_offset(Self.head_dim)
        self.queries = rebind[IntPointer](self.key.unsafe_offset(Self.head_dim))
        self.scores = rebind[FloatPointer](self.queries.unsafe_offset(DOT_ROWS * Self.head_dim // GROUP))
        self.peaks = self.scores.unsafe_offset(DOT_ROWS * KEY_BLOCK)
        self.weights = rebind[IntPointer](self.peaks.unsafe_offset(DOT_ROWS * WIDTH))
        self.sums = rebind[FloatPointer](self.weights.unsafe_offset(DOT_ROWS * KEY_BLOCK // GROUP))

    @staticmethod
    def floats(n_keys: Int) -> Int:
        """Its size. n_keys: whole blocks."""
        var of_keys = n_keys // GROUP * 2 * Self.head_dim + 2 * n_keys + OF_BLOCKS * n_keys // KEY_BLOCK * Self.head_dim
        var of_queries = DOT_ROWS * (Self.head_dim // GROUP + KEY_BLOCK + WIDTH + KEY_BLOCK // GROUP + Self.head_dim)
        return of_keys + 2 * Self.head_dim + of_queries


@fieldwise_init
struct Int8Head[head_dim: Int, fast: Bool](Attends):
    """One head of one window: where its queries, keys and values are, and how far apart their rows."""

    var out_ptr: FloatPointer
    var out_stride: Int
    var q: FloatPointer
    var k: FloatPointer
    var v: FloatPointer
    var stride: Int
    var n_keys: Int

    def scratch_floats(self, n_queries: Int) -> Int:
        """Scratch of one worker, in whole cache lines."""
        return ceildiv(Scratch[Self.head_dim].floats(self.n_padded()), 16) * 16

    def n_padded(self) -> Int:
        """Keys, filled up to whole blocks."""
        return ceildiv(self.n_keys, KEY_BLOCK) * KEY_BLOCK

    def run(self, first: Int, last: Int, scratch: FloatPointer):
        """Attend from queries [first, last)."""
        var at = Scratch[Self.head_dim](scratch, self.n_padded())
        var finite = self.pack_keys(at)
        for start in range(0, self.n_keys, KEY_BLOCK):
            self.pack_values(start, at)
        for query in range(first, last, DOT_ROWS):
            self.run_tile(query, min(DOT_ROWS, last - query), finite, at)

    def pack_keys(self, at: Scratch[Self.head_dim]) -> Float32:
        """Keys as bytes in panels, zeros past the last; returns 0, or NaN where some key is not finite."""
        self.average_keys(at)
        var finite = Float32(0)
        for key in range(self.n_keys):
            finite += self.pack_key(key, at)
        comptime N_GROUPS = Self.head_dim // GROUP
        for key in range(self.n_keys, self.n_padded()):
            var place = key // PANEL * N_GROUPS * PANEL + key % PANEL
            comptime for group in range(N_GROUPS):
                at.keys.unsafe_store(place + group * PANEL, Int32(0))
            at.key_scales.unsafe_store(key, Float32(0))
            at.key_offsets.unsafe_store(key, Int32(0))
        return finite

    def average_keys(self, at: Scratch[Self.head_dim]):
        """The mean of all keys."""
        comptime for lane in range(0, Self.head_dim, WIDTH):
            at.mean.unsafe_store(lane, Vector(0))
        for key in range(self.n_keys):
            comptime for lane in range(0, Self.head_dim, WIDTH):
                var part = self.k.unsafe_load[width=WIDTH](key * self.stride + lane)
                at.mean.unsafe_store(lane, at.mean.unsafe_load[width=WIDTH](lane) + part)
        comptime for lane in range(0, Self.head_dim, WIDTH):
            at.mean.unsafe_store(lane, at.mean.unsafe_load[width=WIDTH](lane) / Float32(self.n_keys))

    @always_inline
    def pack_key(self, key: Int, at: Scratch[Self.head_dim]) -> Float32:
        """One key without the mean; returns 0, or NaN where it is not finite."""
        comptime N_GROUPS = Self.head_dim // GROUP
        var groups = at.queries  # where no query is yet
        var bytes = rebind[BytePointer](groups)
        comptime for lane in range(0, Self.head_dim, WIDTH):
            var part = self.k.unsafe_load[width=WIDTH](key * self.stride + lane)
            at.key.unsafe_store(lane, part - at.mean.unsafe_load[width=WIDTH](lane))
        var scale = quantise_row(at.key, Self.head_dim, bytes, Self.head_dim)
        var sum = Int32(-ZERO * Self.head_dim)
        comptime for lane in range(0, Self.head_dim, WIDTH):
            sum += bytes.unsafe_load[width=WIDTH](lane).cast[DType.int32]().reduce_add()
        var place = key // PANEL * N_GROUPS * PANEL + key % PANEL
        comptime for group in range(N_GROUPS):
            at.keys.unsafe_store(place + group * PANEL, groups.unsafe_load(group) ^ TO_SIGNED)
        at.key_scales.unsafe_store(key, scale * (LOG2_E / sqrt(Float32(Self.head_dim))))
        at.key_offsets.unsafe_store(key, Int32(-ZERO) * sum)
        return scale - scale

    def pack_values(self, start: Int, at: Scratch[Self.head_dim]):
        """A block of values as bytes in groups of keys, zeros past the last."""
        comptime N_PARTS = Self.head_dim // WIDTH
        var n_block = min(KEY_BLOCK, self.n_keys - start)
        var source = self.v.unsafe_offset(start * self.stride)
        var peaks = Array[IntVector, N_PARTS](fill=IntVector(0))
        for key in range(n_block):
            comptime for part in range(N_PARTS):
                var value = source.unsafe_load[width=WIDTH](key * self.stride + part * WIDTH)
                peaks[part] = max(peaks[part], bitcast[DType.int32, WIDTH](value) & 0x7FFFFFFF)
        var inverses = Array[Vector, N_PARTS](fill=Vector(0))
        comptime for part in range(N_PARTS):
            var highest = bitcast[DType.float32, WIDTH](peaks[part])
            var usable = highest.ge(SMALLEST) & highest.le(Float32.MAX_FINITE)
            inverses[part] = usable.select(127 / highest, Vector(0))
            var scales = usable.select(highest / 127, highest - highest)
            at.value_scales.unsafe_store(start // KEY_BLOCK * Self.head_dim + part * WIDTH, scales)
        var offsets = Array[IntVector, N_PARTS](fill=IntVector(0))
        for group in range(KEY_BLOCK // GROUP):
            comptime for part in range(N_PARTS):
                var four = IntVector(0)
                comptime for byte in range(GROUP):
                    var key = first_key(group) + byte
                    if key < n_block:
                        var value = source.unsafe_load[width=WIDTH](key * self.stride + part * WIDTH)
                        var rounded = value.fma(inverses[part], Vector(ROUNDER))
                        four |= (bitcast[DType.int32, WIDTH](rounded) & 0xFF) << IntVector(8 * byte)
                at.values.unsafe_store((start // GROUP + group) * Self.head_dim + part * WIDTH, four)
                comptime if TAKES_SIGNED:
                    offsets[part] = add_dots[Self.fast](offsets[part], IntVector(ONES), four)
        comptime if TAKES_SIGNED:
            comptime for part in range(N_PARTS):
                var place = start // KEY_BLOCK * Self.head_dim + part * WIDTH
                at.value_offsets.unsafe_store(place, offsets[part] * Int32(BELOW))

    def run_tile(self, query: Int, n_rows: Int, finite: Float32, at: Scratch[Self.head_dim]):
        """A few queries over all keys. finite: 0, or NaN where no result can be right."""
        var scales = PerRow(0)
        comptime for row in range(DOT_ROWS):
            # A tile that has fewer queries repeats its last.
            var source = self.q.unsafe_offset((query + min(row, n_rows - 1)) * self.stride)
            var bytes = rebind[BytePointer](at.queries.unsafe_offset(row * Self.head_dim // GROUP))
            scales[row] = quantise_row(source, Self.head_dim, bytes, Self.head_dim)
        scales = scales.lt(SMALLEST).select(PerRow(SMALLEST), scales)
        for i in range(0, DOT_ROWS * Self.head_dim, WIDTH):
            at.sums.unsafe_store(i, Vector(0))
        var highest = PerRow(LOWEST)
        var total = PerRow(0)
        for start in range(0, self.n_keys, KEY_BLOCK):
            if start + KEY_BLOCK <= self.n_keys:
                score[Self.head_dim, Self.fast, True](start, KEY_BLOCK, at)
            else:
                score[Self.head_dim, Self.fast, False](start, self.n_keys - start, at)
            var peaks = PerRow(0)
            comptime for row in range(DOT_ROWS):
                peaks[row] = at.peaks.unsafe_load[width=WIDTH](row * WIDTH).reduce_max()
            comptime for row in range(DOT_ROWS):
                weigh(row, peaks[row], scales[row], at)
            peaks *= scales
            var now = max(highest, peaks)
            var before = exp2(max(highest - now, PerRow(-126)))
            var new = exp2(max(peaks - now, PerRow(-126)))
            highest = now
            add_values[Self.head_dim, Self.fast](start, before, new, at)
            var steps = PerRow(0)
            comptime for row in range(DOT_ROWS):
                steps[row] = sum_of_weights[Self.fast](row, at).cast[DType.float32]()
            total = total * before + steps * new
        var share = (1 + (finite + (scales - scales) + (highest - highest))) / total
        for row in range(n_rows):
            for lane in range(0, Self.head_dim, WIDTH):
                var sum = at.sums.unsafe_load[width=WIDTH](row * Self.head_dim + lane)
                self.out_ptr.unsafe_store((query + row) * self.out_stride + lane, sum * share[row])


@always_inline
def score[head_dim: Int, fast: Bool, whole: Bool](start: Int, n_block: Int, at: Scratch[head_dim]):
    """Scores to the base 2 of a tile of queries by a block of keys, and their peaks; queries' scales are left out.

    whole: the block has KEY_BLOCK keys, else only n_block of them are seen.
    """
    comptime N_GROUPS = head_dim // GROUP
    var lanes = iota[DType.float32, WIDTH]()
    comptime for row in range(DOT_ROWS):
        at.peaks.unsafe_store(row * WIDTH, Vector(LOWEST))
    for column in range(0, KEY_BLOCK, TILE_COLUMNS):
        var key = start + column
        var panel = at.keys.unsafe_offset(key // PANEL * N_GROUPS * PANEL + key % PANEL)
        var left = at.key_offsets.unsafe_load[width=WIDTH](key)
        var right = at.key_offsets.unsafe_load[width=WIDTH](key + WIDTH)
        var tile = dot_tile[fast, DOT_ROWS](at.queries, N_GROUPS, panel, PANEL, N_GROUPS, left, right)
        var left_scale = at.key_scales.unsafe_load[width=WIDTH](key)
        var right_scale = at.key_scales.unsafe_load[width=WIDTH](key + WIDTH)
        var left_unseen = lanes.ge(Float32(n_block - column))
        var right_unseen = lanes.ge(Float32(n_block - column - WIDTH))
        comptime for row in range(DOT_ROWS):
            var of_left = tile[2 * row].cast[DType.float32]() * left_scale
            var of_right = tile[2 * row + 1].cast[DType.float32]() * right_scale
            comptime if not whole:
                of_left = left_unseen.select(Vector(LOWEST), of_left)
                of_right = right_unseen.select(Vector(LOWEST), of_right)
            at.scores.unsafe_store(row * KEY_BLOCK + column, of_left)
            at.scores.unsafe_store(row * KEY_BLOCK + column + WIDTH, of_right)
            var both = of_left.gt(of_right).select(of_left, of_right)
            var peak = at.peaks.unsafe_load[width=WIDTH](row * WIDTH)
            at.peaks.unsafe_store(row * WIDTH, both.gt(peak).select(both, peak))


@no_inline
def weigh[head_dim: Int](row: Int, peak: Float32, scale: Float32, at: Scratch[head_dim]):
    """Turn a row of scores into weights, 255 for its peak, each held as a byte BELOW less; the weights of `first_key(group)` and of the keys after it
    are a group."""
    var scores = at.scores.unsafe_offset(row * KEY_BLOCK)
    var weights = at.weights.unsafe_offset(row * KEY_BLOCK // GROUP)
    comptime for start in range(0, KEY_BLOCK, PACK):
        var parts = Array[IntVector, GROUP](fill=IntVector(0))
        comptime for part in range(GROUP):
            # The difference first: it is exactly 0 for the peak, however high that is, and no weight is above 255.
            var below = scores.unsafe_load[width=WIDTH](start + part * WIDTH) - peak
            parts[part] = rounded_power_of_2(below.fma(Vector(scale), Vector(TOP)))
        comptime if HAS_AVX512:
            weights.unsafe_store(start // GROUP, packed_bytes(parts[0], parts[1], parts[2], parts[3]))
        else:
            var bytes = rebind[BytePointer](weights.unsafe_offset(start // GROUP))
            comptime for part in range(GROUP):
                bytes.unsafe_store(part * WIDTH, parts[part].cast[DType.uint8]())


@always_inline
def first_key(group: Int) -> Int:
    """The first of the four keys of a group: as `packed_bytes` leaves them, or in their order."""
    comptime if HAS_AVX512:
        comptime QUARTER = WIDTH // GROUP
        var in_pack = group % WIDTH
        return group // WIDTH * PACK + in_pack % GROUP * WIDTH + in_pack // GROUP * QUARTER
    else:
        return group * GROUP


@always_inline
def sum_of_weights[
    head_dim: Int, //, fast: Bool
](row: Int, at: Scratch[head_dim]) -> Int32:
    """Of a row."""
    var sums = IntVector(0)
    comptime for group in range(0, KEY_BLOCK // GROUP, WIDTH):
        var weights = at.weights.unsafe_load[width=WIDTH](row * KEY_BLOCK // GROUP + group)
        sums = add_dots[fast](sums, weights, IntVector(ONES))
    return sums.reduce_add() + Int32(BELOW * KEY_BLOCK)


@always_inline
def rounded_power_of_2(x: Vector) -> IntVector:
    """2 ** x to 1 in 13000, rounded, for x up to 8; without AVX-512 BELOW less in the lowest bits, those above are not 0.

    The nearest integer goes to the exponent, the rest through a polynomial.
    """
    comptime if HAS_AVX512:
        var rest = past_nearest(x)
        return nearest(times_power_of_2(power_of_2(rest), x - rest))
    else:
        var in_range = x.gt(BOTTOM).select(x, Vector(BOTTOM))
        var whole = in_range + EXPONENT_ROUNDER
        var factor = bitcast[DType.float32, WIDTH](bitcast[DType.int32, WIDTH](whole) << MANTISSA_BITS)
        return bitcast[DType.int32, WIDTH](power_of_2(in_range - (whole - EXPONENT_ROUNDER)).fma(factor, Vector(WEIGHT_ROUNDER)))


@always_inline
def power_of_2(x: Vector) -> Vector:
    """2 ** x for -0.5 to 0.5."""
    var power = x.fma(Vector(0.05517166722044535), Vector(0.24261112205253732))
    return power.fma(x, Vector(0.6932609857998157)).fma(x, Vector(0.9999280735567159))


@always_inline
def add_values[
    head_dim: Int, fast: Bool
](start: Int, before: PerRow, new: PerRow, at: Scratch[head_dim]):
    """Add a block's weighted values to the sums. before, new: what sums so far and those of the block shrink by."""
    var values = at.values.unsafe_offset(start // GROUP * head_dim)
    var scales = at.value_scales.unsafe_offset(start // KEY_BLOCK * head_dim)
    for lane in range(0, head_dim, TILE_COLUMNS):
        var left = IntVector(0)
        var right = IntVector(0)
        comptime if TAKES_SIGNED:
            var offsets = at.value_offsets.unsafe_offset(start // KEY_BLOCK * head_dim + lane)
            left = offsets.unsafe_load[width=WIDTH](0)
            right = offsets.unsafe_load[width=WIDTH](WIDTH)
        var tile = dot_tile[fast, DOT_ROWS](
            at.weights,
            KEY_BLOCK // GROUP,
            values.unsafe_offset(lane),
            head_dim,
            KEY_BLOCK // GROUP,
            left,
            right,
        )
        comptime for row in range(DOT_ROWS):
            comptime for half in range(2):
                var column = lane + half * WIDTH
                var place = row * head_dim + column
                var sum = at.sums.unsafe_load[width=WIDTH](place) * before[row]
                var factor = scales.unsafe_load[width=WIDTH](column) * new[row]
                at.sums.unsafe_store(place, tile[2 * row + half].cast[DType.float32]().fma(factor, sum))


@extensibility.register("whisper_max.int8_self_attention")
struct Int8SelfAttention:
    """Attention of a sequence over itself."""

    @staticmethod
    def execute[
        head_dim: Int
    ](
        output: OutputTensor[dtype=DType.float32, rank=3, ...],  # (B, T, H * hd)
        qkv: InputTensor[dtype=DType.float32, rank=3, ...],  # (B, T, 3 * H * hd)
        vnni: InputTensor[dtype=DType.int32, rank=1, ...],  # (1,), see `is_fast`
        ctx: DeviceContext,
    ) raises:
        var n_positions = qkv.dim_size(1)
        var n_state = output.dim_size(2)
        var n_head = n_state // head_dim
        var out_ptr = rebind[FloatPointer](output.unsafe_ptr())
        var qkv_ptr = rebind[FloatPointer](qkv.unsafe_ptr())

        def run[fast: Bool]() {imm}:
            def head_of(index: Int) {imm} -> Int8Head[head_dim, fast]:
                var window = index // n_head
                var lane = index % n_head * head_dim
                var q = qkv_ptr.unsafe_offset(window * n_positions * 3 * n_state + lane)
                return {
                    out_ptr.unsafe_offset(window * n_positions * n_state + lane),
                    n_state,
                    q,
                    q.unsafe_offset(n_state),
                    q.unsafe_offset(2 * n_state),
                    3 * n_state,
                    n_positions,
                }

            run_in_parallel[Int8Head[head_dim, fast]](head_of, qkv.dim_size(0) * n_head, n_positions)

        if is_fast(vnni.unsafe_ptr().unsafe_load(0)):
            run[True]()
        else:
            run[False]()
