"""A decoder block for one new token a row on a GPU: eight stages, several of them in one launch.

A stage's work is cut into units, and a unit is done by one thread block. Units are taken in order by an atomic count,
and a unit waits until all units of the stage before that its rows depend on are done. As a unit that is taken waits
only for units that were taken earlier, this ends whatever order thread blocks start in, and however few run at once.
Linear layers are tiles on tensor cores where the dtype has them; sums and the residual stream are float32. On a CPU
the same code runs thread by thread, for tests: there the products of a warp are put together from its fragments.
"""

import extensibility
from extensibility import InputTensor, OutputTensor
from extensibility import _MutableInputTensor as MutableInputTensor
from max.gpu import MAX_THREADS_PER_BLOCK_METADATA, block_idx, thread_idx
from max.gpu.compute.mma import mma
from max.gpu.host import DeviceContext
from max.gpu.host.info import is_gpu
from max.gpu.primitives import warp
from max.gpu.sync import barrier
from std.builtin.device_passable import DevicePassable, DeviceTypeEncoder
from std.atomic import Atomic, Ordering
from std.math import ceildiv, exp, max, min, sqrt
from std.memory import unsafe_stack_allocation
from std.utils import StaticTuple

from .finish import gelu_of
from .tiles import FloatPointer

comptime WARPS = 4
comptime LANES = 32
comptime THREADS = WARPS * LANES
comptime DEPTH = 32
"""Numbers of a row that a lane's four neighbours load at once, eight each: two products' worth."""
comptime PART = 8
comptime ALIGNED = 16
"""Bytes at whose multiples such parts begin, as all buffers and rows do: without being told, the compiler loads a GPU's
numbers one by one."""
comptime FEW = 16
"""Rows up to which tiles are 16 rows by 8 columns, so that many thread blocks share one pass over the weights; for more
rows they are 32 by 32."""
comptime EPSILON = Float32(1e-5)
comptime GROUP = 8
"""Lanes that share a head's width in attention; a thread block has 16 groups, each with its share of the keys."""
comptime GROUPS = THREADS // GROUP
comptime KEYS = 8
"""Keys whose scores a group takes together: that many independent loads are under way."""
comptime SPLITS = 8
"""Thread blocks that share the audio's keys of one (row, head), at most; fewer where there are many rows."""
comptime UNITS_WANTED = 264
"""Units of attention that fill a large GPU."""
comptime SHARED = 4 * 32 * 32
"""Floats that a unit's threads share: four warps' sums of the largest tile."""
comptime RESIDENT = 3
"""Thread blocks of a decoder block that are to fit a multiprocessor at once: with four, registers of sm_90a spill."""
comptime IntPointer = Pointer[Int32, MutUntrackedOrigin]

comptime QKV = 0
comptime SELF = 1
comptime SELF_OUT = 2
comptime QUERY = 3
comptime CROSS = 4
comptime CROSS_OUT = 5
comptime UP = 6
comptime DOWN = 7
comptime STAGES = 8
comptime LOGITS = 8
"""Not a block's, but done by the same tiles."""


@fieldwise_init
struct Layer[dtype: DType](DevicePassable, TrivialRegisterPassable):
    """A linear layer, and the normalisation before it where there is one."""

    comptime Values = Pointer[Scalar[Self.dtype], MutUntrackedOrigin]
    var norm_weight: Self.Values  # (n_in,)
    var norm_bias: Self.Values
    var weight: Self.Values  # (n_out, n_in)
    var bias: Self.Values  # (n_out,); unused for logits
    var n_in: Int
    var n_out: Int

    comptime device_type: AnyType = Self

    def _to_device_type(self, mut encoder: Some[DeviceTypeEncoder], target: MutOpaquePointer[_]):
        encoder.encode(self, target)

    @staticmethod
    def get_type_name() -> String:
        return "Layer"


@fieldwise_init
struct Places[dtype: DType, head_dim: Int](DevicePassable, TrivialRegisterPassable):
    """Where a block's values are."""

    comptime Values = Pointer[Scalar[Self.dtype], MutUntrackedOrigin]
    var before: FloatPointer  # (rows, n_state), the residual stream as it comes
    var x: FloatPointer  # the same, as it leaves; for logits (rows, n_vocab)
    var lengths: IntPointer  # (rows,), also the slot that is written
    var keys: Self.Values  # (rows, H, capacity, hd)
    var values: Self.Values
    var audio_keys: Self.Values  # (windows, H, n_audio, hd)
    var audio_values: Self.Values
    var q: Self.Values  # (rows, n_state), scratch like all that follow
    var attended: Self.Values  # (rows, n_state)
    var hidden: Self.Values  # (rows, 4 * n_state)
    var shares: FloatPointer  # (rows, H, SPLITS, hd + 2)
    var counts: IntPointer  # (rows, 16 + H), zeros, and zeros again when all is done
    var rows: Int
    var n_state: Int
    var n_head: Int
    var capacity: Int
    var n_audio: Int
    var n_hyps: Int

    comptime device_type: AnyType = Self

    def _to_device_type(self, mut encoder: Some[DeviceTypeEncoder], target: MutOpaquePointer[_]):
        encoder.encode(self, target)

    @staticmethod
    def get_type_name() -> String:
        return "Places"

    @always_inline
    def tile_rows(self) -> Int:
        return 16 if self.rows <= FEW else 32

    @always_inline
    def tile_columns(self) -> Int:
        return 8 if self.rows <= FEW else 32

    @always_inline
    def row_tiles(self) -> Int:
        return ceildiv(self.rows, self.tile_rows())

    @always_inline
    def rows_of_tile(self, tile: Int) -> Int:
        return min(self.tile_rows(), self.rows - tile * self.tile_rows())

    @always_inline
    def splits(self) -> Int:
        return min(max(UNITS_WANTED // (self.rows * self.n_head), 1), SPLITS)

    @always_inline
    def columns(self, stage: Int) -> Int:
        """What a linear stage gives."""
        if stage == QKV:
            return 3 * self.n_state
        return 4 * self.n_state if stage == UP else self.n_state

    @always_inline
    def units_of_tile(self, stage: Int, tile: Int) -> Int:
        """Units of a stage that make one tile's rows."""
        if stage == SELF:
            return self.rows_of_tile(tile) * self.n_head
        if stage == CROSS:
            return self.rows_of_tile(tile) * self.n_head * self.splits()
        return ceildiv(self.columns(stage), self.tile_columns())

    @always_inline
    def units(self, stage: Int) -> Int:
        if stage == SELF:
            return self.rows * self.n_head
        if stage == CROSS:
            return self.rows * self.n_head * self.splits()
        return self.row_tiles() * ceildiv(self.columns(stage), self.tile_columns())

    @always_inline
    def all_units(self) -> Int:
        var total = 0
        for stage in range(STAGES):
            total += self.units(stage)
        return total

    @always_inline
    def taken(self) -> IntPointer:
        """How many units have been taken."""
        return self.counts

    @always_inline
    def ended(self) -> IntPointer:
        """How many units have ended."""
        return self.counts.unsafe_offset(1)

    @always_inline
    def done(self, stage: Int, tile: Int) -> IntPointer:
        """How many units of a stage's tile are done; eight numbers of tiles, of which there are no more than rows."""
        return self.counts.unsafe_offset(8 + stage * self.row_tiles() + tile)

    @always_inline
    def arrived(self, pair: Int) -> IntPointer:
        """How many shares of a (row, head) over the audio are there."""
        return self.counts.unsafe_offset(16 * self.rows + pair)

    @always_inline
    def put(self, stage: Int, row: Int, column: Int, sum: Float32, layer: Layer[Self.dtype]):
        """Finish one number of a linear layer and write it where the next stage reads it."""
        var n = self.n_state
        if stage == LOGITS:
            self.x.unsafe_store(row * layer.n_out + column, sum)
            return
        var value = sum + layer.bias.unsafe_load(column).cast[DType.float32]()
        if stage == QKV and column >= n:
            var at = (column - n) % n
            var head = row * self.n_head + at // Self.head_dim
            var slot = head * self.capacity + Int(self.lengths.unsafe_load(row))
            var target = self.keys if column < 2 * n else self.values
            target.unsafe_store(slot * Self.head_dim + at % Self.head_dim, value.cast[Self.dtype]())
        elif stage == QKV or stage == QUERY:
            self.q.unsafe_store(row * n + column, value.cast[Self.dtype]())
        elif stage == UP:
            self.hidden.unsafe_store(row * 4 * n + column, gelu_of[width=1](value).cast[Self.dtype]())
        else:
            var stream = self.before if stage == SELF_OUT else self.x
            self.x.unsafe_store(row * n + column, stream.unsafe_load(row * n + column) + value)


# --- products -------------------------------------------------------------------------------------------------------


@always_inline
def over_lanes[lanes: Int](x: Float32) -> Float32:
    """The sum over neighbouring lanes."""
    comptime if lanes == 1:
        return x
    else:
        return warp.lane_group_sum[num_lanes=lanes](x)


@always_inline
def mean_and_scale[lanes: Int](lane: Int, x: FloatPointer, n: Int) -> Tuple[Float32, Float32]:
    """A row's mean, and one over its standard deviation. x: (n,)."""
    comptime Few = SIMD[DType.float32, 4]
    var total = Few(0)
    for k in range(lane * 4, n, lanes * 4):
        total += x.unsafe_load[width=4, alignment=ALIGNED](k)
    var mean = over_lanes[lanes](total.reduce_add()) / Float32(n)
    var squares = Few(0)
    for k in range(lane * 4, n, lanes * 4):
        var far = x.unsafe_load[width=4, alignment=ALIGNED](k) - mean
        squares += far * far
    return mean, 1 / sqrt(over_lanes[lanes](squares.reduce_add()) / Float32(n) + EPSILON)


@fieldwise_init
struct Left[dtype: DType, normed: Bool, space: AddressSpace](TrivialRegisterPassable):
    """The rows that a tile multiplies: normalised as they are read, or as they are."""

    comptime Values = Pointer[Scalar[Self.dtype], MutUntrackedOrigin]
    var stream: FloatPointer  # (rows, n_in), where normed
    var plain: Self.Values  # the same where not
    var statistics: Pointer[Float32, MutUntrackedOrigin, address_space=Self.space]  # (tile rows, 2)
    var first_row: Int
    var rows: Int
    var layer: Layer[Self.dtype]

    @always_inline
    def normalising(self, values: Self.Values, k: Int) -> SIMD[DType.float32, PART]:
        """Weights or biases of the normalisation."""
        return values.unsafe_load[width=PART, alignment=ALIGNED](k).cast[DType.float32]()

    @always_inline
    def part(self, row: Int, k: Int) -> SIMD[Self.dtype, PART]:
        """Numbers k to k + PART of a row of the tile; zeros past the last row."""
        if self.first_row + row >= self.rows:
            return SIMD[Self.dtype, PART](0)
        var place = (self.first_row + row) * self.layer.n_in + k
        comptime if not Self.normed:
            return self.plain.unsafe_load[width=PART, alignment=ALIGNED](place)
        else:
            var mean = self.statistics.unsafe_load(2 * row)
            var scale = self.statistics.unsafe_load(2 * row + 1)
            var weight = self.normalising(self.layer.norm_weight, k)
            var bias = self.normalising(self.layer.norm_bias, k)
            var x = self.stream.unsafe_load[width=PART, alignment=ALIGNED](place)
            var value = (x - mean) * scale * weight + bias
            return value.cast[Self.dtype]()


@always_inline
def right_part[dtype: DType](layer: Layer[dtype], column: Int, k: Int) -> SIMD[dtype, PART]:
    """Numbers k to k + PART of a column; zeros past the last."""
    if column >= layer.n_out:
        return SIMD[dtype, PART](0)
    return layer.weight.unsafe_load[width=PART, alignment=ALIGNED](column * layer.n_in + k)


@always_inline
def left_fragment[
    dtype: DType, //, half: Int
](upper: SIMD[dtype, PART], lower: SIMD[dtype, PART]) -> SIMD[dtype, 8]:
    """A lane's part of a 16 x 16 left operand: rows g and g + 8, for the first or second product of a stretch.

    A product's sum doesn't mind in which order its terms come, so that lane t of four takes eight neighbouring numbers
    at 8 * t as its columns 2t, 2t + 1, 2t + 8 and 2t + 9 of two products.
    """
    var a = upper.slice[4, offset=4 * half]()
    var b = lower.slice[4, offset=4 * half]()
    return SIMD[dtype, 8](a[0], a[1], b[0], b[1], a[2], a[3], b[2], b[3])


@always_inline
def multiply_warp[
    dtype: DType, //, normed: Bool, space: AddressSpace, m_tiles: Int, n_tiles: Int, gpu: Bool
](
    left: Left[dtype, normed, space],
    first_column: Int,
    warp: Int,
    lane: Int,
    sums: Pointer[Float32, MutUntrackedOrigin, address_space=space],
):
    """A warp's share of a tile of products: every fourth stretch of the rows' length. sums: (16 * m, 8 * n)."""
    var layer = left.layer
    var g = lane // 4
    var t = lane % 4
    var tile = Array[SIMD[DType.float32, 4], m_tiles * n_tiles](fill=SIMD[DType.float32, 4](0))
    for k in range(warp * DEPTH, layer.n_in, WARPS * DEPTH):
        comptime if gpu and dtype.is_half_float():
            var right = Array[SIMD[dtype, PART], n_tiles](fill=SIMD[dtype, PART](0))
            comptime for n in range(n_tiles):
                right[n] = right_part(layer, first_column + 8 * n + g, k + PART * t)
            comptime for m in range(m_tiles):
                var upper = left.part(16 * m + g, k + PART * t)
                var lower = left.part(16 * m + g + 8, k + PART * t)
                comptime for n in range(n_tiles):
                    comptime for half in range(2):
                        var sum = tile[m * n_tiles + n]
                        mma(sum, left_fragment[half](upper, lower), right[n].slice[4, offset=4 * half](), sum)
                        tile[m * n_tiles + n] = sum
        else:
            comptime for m in range(m_tiles):
                comptime for n in range(n_tiles):
                    comptime for i in range(4):
                        var row = 16 * m + g + 8 * (i // 2)
                        var column = first_column + 8 * n + 2 * t + i % 2
                        for part in range(0, DEPTH, PART):
                            var a = left.part(row, k + part).cast[DType.float32]()
                            var b = right_part(layer, column, k + part).cast[DType.float32]()
                            tile[m * n_tiles + n][i] += (a * b).reduce_add()
    comptime for m in range(m_tiles):
        comptime for n in range(n_tiles):
            comptime for i in range(4):
                var row = 16 * m + g + 8 * (i // 2)
                sums.unsafe_store(row * 8 * n_tiles + 8 * n + 2 * t + i % 2, tile[m * n_tiles + n][i])


@always_inline
def multiply_on_a_cpu[
    dtype: DType, //, normed: Bool, space: AddressSpace, m_tiles: Int, n_tiles: Int
](
    left: Left[dtype, normed, space],
    first_column: Int,
    warp: Int,
    sums: Pointer[Float32, MutUntrackedOrigin, address_space=space],
):
    """``multiply_warp`` for all lanes of a warp; half floats by the fragments that a tensor core would be given.

    PTX ISA, mma.m16n8k16 of bf16: in a lane's eight left numbers, i has row g + 8 * (i / 2 % 2) and column
    2t + i % 2 + 8 * (i / 4); in its four right ones, i has row 2t + i % 2 + 8 * (i / 2) and column g.
    """
    comptime if not dtype.is_half_float():
        for lane in range(LANES):
            multiply_warp[m_tiles=m_tiles, n_tiles=n_tiles, gpu=False](left, first_column, warp, lane, sums)
    else:
        var layer = left.layer
        for place in range(128 * m_tiles * n_tiles):
            sums.unsafe_store(place, Float32(0))
        for k in range(warp * DEPTH, layer.n_in, WARPS * DEPTH):
            comptime for half in range(2):
                comptime for m in range(m_tiles):
                    var a = Array[Float32, 256](fill=0)
                    for lane in range(LANES):
                        var g, t = lane // 4, lane % 4
                        var upper = left.part(16 * m + g, k + PART * t)
                        var lower = left.part(16 * m + g + 8, k + PART * t)
                        var fragment = left_fragment[half](upper, lower)
                        comptime for i in range(8):
                            var row, column = g + 8 * (i // 2 % 2), 2 * t + i % 2 + 8 * (i // 4)
                            a[16 * row + column] = fragment[i].cast[DType.float32]()
                    comptime for n in range(n_tiles):
                        var b = Array[Float32, 128](fill=0)
                        for lane in range(LANES):
                            var g, t = lane // 4, lane % 4
                            var column = first_column + 8 * n + g
                            var fragment = right_part(layer, column, k + PART * t).slice[4, offset=4 * half]()
                            comptime for i in range(4):
                                b[8 * (2 * t + i % 2 + 8 * (i // 2)) + g] = fragment[i].cast[DType.float32]()
                        for row in range(16):
                            for column in range(8):
                                var place = (16 * m + row) * 8 * n_tiles + 8 * n + column
                                var sum = sums.unsafe_load(place)
                                for depth in range(16):
                                    sum += a[16 * row + depth] * b[8 * depth + column]
                                sums.unsafe_store(place, sum)


@always_inline
def tile[
    dtype: DType, head_dim: Int, space: AddressSpace, //, normed: Bool, m_tiles: Int, n_tiles: Int, gpu: Bool
](
    stage: Int,
    unit: Int,
    layer: Layer[dtype],
    stream: FloatPointer,
    plain: Pointer[Scalar[dtype], MutUntrackedOrigin],
    places: Places[dtype, head_dim],
    shared: Pointer[Float32, MutUntrackedOrigin, address_space=space],
):
    """A unit of a linear stage: one tile of rows and columns, all of its depth."""
    comptime height = 16 * m_tiles
    comptime width = 8 * n_tiles
    var row_tiles = places.row_tiles()
    var first_row = unit % row_tiles * height
    var first_column = unit // row_tiles * width
    var statistics = shared.unsafe_offset(SHARED)
    var left = Left[dtype, normed, space](stream, plain, statistics, first_row, places.rows, layer)
    comptime if gpu:
        var thread = Int(thread_idx.x)
        var own_warp = thread // LANES
        comptime if normed:
            for row in range(own_warp, min(height, places.rows - first_row), WARPS):
                var found = mean_and_scale[LANES](
                    thread % LANES, stream.unsafe_offset((first_row + row) * layer.n_in), layer.n_in
                )
                if thread % LANES == 0:
                    statistics.unsafe_store(2 * row, found[0])
                    statistics.unsafe_store(2 * row + 1, found[1])
            barrier()
        multiply_warp[m_tiles=m_tiles, n_tiles=n_tiles, gpu=True](
            left, first_column, own_warp, thread % LANES, shared.unsafe_offset(own_warp * height * width)
        )
        barrier()
        put_tile[height, width](stage, thread, first_row, first_column, layer, places, shared)
    else:
        comptime if normed:
            for row in range(min(height, places.rows - first_row)):
                var found = mean_and_scale[1](0, stream.unsafe_offset((first_row + row) * layer.n_in), layer.n_in)
                statistics.unsafe_store(2 * row, found[0])
                statistics.unsafe_store(2 * row + 1, found[1])
        for own_warp in range(WARPS):
            multiply_on_a_cpu[m_tiles=m_tiles, n_tiles=n_tiles](
                left, first_column, own_warp, shared.unsafe_offset(own_warp * height * width)
            )
        for thread in range(THREADS):
            put_tile[height, width](stage, thread, first_row, first_column, layer, places, shared)


@always_inline
def put_tile[
    dtype: DType, head_dim: Int, space: AddressSpace, //, height: Int, width: Int
](
    stage: Int,
    thread: Int,
    first_row: Int,
    first_column: Int,
    layer: Layer[dtype],
    places: Places[dtype, head_dim],
    sums: Pointer[Float32, MutUntrackedOrigin, address_space=space],
):
    """Add the warps' sums of a thread's numbers of a tile, and finish them."""
    for place in range(thread, height * width, THREADS):
        var row = first_row + place // width
        var column = first_column + place % width
        if row < places.rows and column < layer.n_out:
            var sum = Float32(0)
            comptime for own_warp in range(WARPS):
                sum += sums.unsafe_load(own_warp * height * width + place)
            places.put(stage, row, column, sum, layer)


@always_inline
def linear_unit[
    dtype: DType, head_dim: Int, space: AddressSpace, //, normed: Bool, gpu: Bool
](
    stage: Int,
    unit: Int,
    layer: Layer[dtype],
    stream: FloatPointer,
    plain: Pointer[Scalar[dtype], MutUntrackedOrigin],
    places: Places[dtype, head_dim],
    shared: Pointer[Float32, MutUntrackedOrigin, address_space=space],
):
    if places.rows <= FEW:
        tile[normed, 1, 1, gpu](stage, unit, layer, stream, plain, places, shared)
    else:
        tile[normed, 2, 4, gpu](stage, unit, layer, stream, plain, places, shared)


# --- attention ------------------------------------------------------------------------------------------------------


@always_inline
def attend_group[
    dtype: DType, //, head_dim: Int, lanes: Int, space: AddressSpace
](
    lane: Int,
    q: Pointer[Scalar[dtype], MutUntrackedOrigin],
    k: Pointer[Scalar[dtype], MutUntrackedOrigin],
    v: Pointer[Scalar[dtype], MutUntrackedOrigin],
    first: Int,
    last: Int,
    n_steps: Int,
    key_stride: Int,
    share: Pointer[Float32, MutUntrackedOrigin, address_space=space],
):
    """Keys first to last (not included) of one head. q: (hd,); k, v: (n_keys, hd), keys key_stride numbers apart;
    share: (hd + 2,), the weighted sum of values, the highest score, and the sum of weights relative to it; of no keys:
    zeros and the lowest number.

    All groups of a warp take n_steps steps, as they add up together: keys past the last are read from the last's place
    and don't count."""
    comptime width = head_dim // lanes
    var at = lane * width
    var query = q.unsafe_load[width=width, alignment=ALIGNED](at).cast[DType.float32]() / sqrt(Float32(head_dim))
    var highest = Float32.MIN_FINITE
    var total = Float32(0)
    var result = SIMD[DType.float32, width](0)
    for step in range(n_steps):
        var start = first + step * KEYS
        var scores = Array[Float32, KEYS](fill=Float32.MIN_FINITE)
        var new_highest = highest
        comptime for i in range(KEYS):
            var key = max(min(start + i, last - 1), 0)
            var place = key * key_stride + at
            var numbers = k.unsafe_load[width=width, alignment=ALIGNED](place).cast[DType.float32]()
            var score = over_lanes[lanes]((query * numbers).reduce_add())
            scores[i] = score if start + i < last else Float32.MIN_FINITE
            new_highest = max(new_highest, scores[i])
        var kept = exp(highest - new_highest)
        total *= kept
        result *= kept
        comptime for i in range(KEYS):
            if start + i < last:
                var weight = exp(scores[i] - new_highest)
                total += weight
                var place = (start + i) * key_stride + at
                result += weight * v.unsafe_load[width=width, alignment=ALIGNED](place).cast[DType.float32]()
        highest = new_highest
    share.unsafe_store(at, result)
    if lane == 0:
        share.unsafe_store(head_dim, highest)
        share.unsafe_store(head_dim + 1, total)


@always_inline
def combined[
    n_shares: Int, head_dim: Int, space: AddressSpace
](place: Int, used: Int, shares: Pointer[Float32, MutUntrackedOrigin, address_space=space]) -> Tuple[
    Float32, Float32, Float32
]:
    """One number of the shares' weighted sum, the highest score, and the sum of weights. shares: (n_shares, hd + 2)."""
    var highest = Float32.MIN_FINITE
    comptime for i in range(n_shares):
        if i < used:
            highest = max(highest, shares.unsafe_load(i * (head_dim + 2) + head_dim))
    var total = Float32(0)
    var result = Float32(0)
    comptime for i in range(n_shares):
        if i < used:
            var share = shares.unsafe_offset(i * (head_dim + 2))
            var weight = exp(share.unsafe_load(head_dim) - highest)
            total += weight * share.unsafe_load(head_dim + 1)
            result += weight * share.unsafe_load(place)
    return result, highest, total


@always_inline
def attention_unit[
    dtype: DType, head_dim: Int, space: AddressSpace, //, gpu: Bool
](
    stage: Int,
    unit: Int,
    places: Places[dtype, head_dim],
    shared: Pointer[Float32, MutUntrackedOrigin, address_space=space],
):
    """The attention of one (row, head), or over the audio one of the shares that it is split into."""
    var splits = 1 if stage == SELF else places.splits()
    var pair = unit // splits
    var split = unit % splits
    var row = pair // places.n_head
    var head = pair % places.n_head
    var n_keys = places.n_audio
    var keys = places.audio_keys
    var values = places.audio_values
    var cache = ((row // places.n_hyps) * places.n_head + head) * n_keys * head_dim
    if stage == SELF:
        n_keys = Int(places.lengths.unsafe_load(row)) + 1
        keys = places.keys
        values = places.values
        cache = pair * places.capacity * head_dim
    var per_group = ceildiv(n_keys, splits * GROUPS)
    var q = places.q.unsafe_offset(pair * head_dim)
    comptime if gpu:
        attend_share_of[head_dim, GROUP](
            Int(thread_idx.x) // GROUP, Int(thread_idx.x) % GROUP, split, n_keys, per_group, head_dim, q,
            keys.unsafe_offset(cache), values.unsafe_offset(cache), shared,
        )
        barrier()
        if Int(thread_idx.x) < head_dim:
            put_attended(Int(thread_idx.x), pair, split, splits, places, shared)
        if splits > 1:
            barrier()
            if thread_idx.x == 0:
                var before = Counter.fetch_add[ordering=Ordering.ACQUIRE_RELEASE](places.arrived(pair), 1)
                shared.unsafe_store(0, before.cast[DType.float32]())
            barrier()
            if shared.unsafe_load(0) == Float32(splits - 1) and Int(thread_idx.x) < head_dim:
                put_combined(Int(thread_idx.x), pair, splits, places)
    else:
        for group in range(GROUPS):
            attend_share_of[head_dim, 1](
                group, 0, split, n_keys, per_group, head_dim, q, keys.unsafe_offset(cache),
                values.unsafe_offset(cache), shared,
            )
        for place in range(head_dim):
            put_attended(place, pair, split, splits, places, shared)
        if splits > 1:
            var count = places.arrived(pair)
            count.unsafe_store(0, count.unsafe_load(0) + 1)
            if Int(count.unsafe_load(0)) == splits:
                for place in range(head_dim):
                    put_combined(place, pair, splits, places)


@always_inline
def attend_share_of[
    dtype: DType, space: AddressSpace, //, head_dim: Int, lanes: Int
](
    group: Int,
    lane: Int,
    split: Int,
    n_keys: Int,
    per_group: Int,
    key_stride: Int,
    q: Pointer[Scalar[dtype], MutUntrackedOrigin],
    k: Pointer[Scalar[dtype], MutUntrackedOrigin],
    v: Pointer[Scalar[dtype], MutUntrackedOrigin],
    shared: Pointer[Float32, MutUntrackedOrigin, address_space=space],
):
    var first = min((split * GROUPS + group) * per_group, n_keys)
    attend_group[head_dim, lanes](
        lane, q, k, v, first, min(first + per_group, n_keys), ceildiv(per_group, KEYS), key_stride,
        shared.unsafe_offset(group * (head_dim + 2)),
    )


@always_inline
def put_attended[
    dtype: DType, head_dim: Int, space: AddressSpace, //
](
    place: Int,
    pair: Int,
    split: Int,
    splits: Int,
    places: Places[dtype, head_dim],
    shared: Pointer[Float32, MutUntrackedOrigin, address_space=space],
):
    """Put the groups' shares together: what is attended, or one of the shares that are still to be put together."""
    var found = combined[GROUPS, head_dim](place, GROUPS, shared)
    if splits == 1:
        places.attended.unsafe_store(pair * head_dim + place, (found[0] / found[2]).cast[dtype]())
    else:
        var share = places.shares.unsafe_offset((pair * SPLITS + split) * (head_dim + 2))
        share.unsafe_store(place, found[0])
        if place == 0:
            share.unsafe_store(head_dim, found[1])
            share.unsafe_store(head_dim + 1, found[2])


@always_inline
def put_combined[dtype: DType, head_dim: Int, //](place: Int, pair: Int, splits: Int, places: Places[dtype, head_dim]):
    """What is attended, by the thread block that came last."""
    var found = combined[SPLITS, head_dim](place, splits, places.shares.unsafe_offset(pair * SPLITS * (head_dim + 2)))
    places.attended.unsafe_store(pair * head_dim + place, (found[0] / found[2]).cast[dtype]())
    if place == 0:
        places.arrived(pair).unsafe_store(0, 0)


# --- the block ------------------------------------------------------------------------------------------------------

comptime Counter = Atomic[Int32, scope="device"]


@fieldwise_init
struct Layers[dtype: DType](DevicePassable, TrivialRegisterPassable):
    """A block's linear layers."""

    var qkv: Layer[Self.dtype]
    var self_out: Layer[Self.dtype]
    var query: Layer[Self.dtype]
    var cross_out: Layer[Self.dtype]
    var up: Layer[Self.dtype]
    var down: Layer[Self.dtype]

    comptime device_type: AnyType = Self

    def _to_device_type(self, mut encoder: Some[DeviceTypeEncoder], target: MutOpaquePointer[_]):
        encoder.encode(self, target)

    @staticmethod
    def get_type_name() -> String:
        return "Layers"


@always_inline
def block_unit[
    dtype: DType, head_dim: Int, space: AddressSpace, //, gpu: Bool
](
    stage: Int,
    unit: Int,
    layers: Layers[dtype],
    places: Places[dtype, head_dim],
    shared: Pointer[Float32, MutUntrackedOrigin, address_space=space],
):
    if stage == SELF or stage == CROSS:
        attention_unit[gpu](stage, unit, places, shared)
    elif stage == QKV or stage == QUERY or stage == UP:
        var layer = layers.qkv if stage == QKV else layers.query if stage == QUERY else layers.up
        var stream = places.before if stage == QKV else places.x
        linear_unit[True, gpu](stage, unit, layer, stream, places.q, places, shared)
    else:
        var layer = layers.self_out if stage == SELF_OUT else layers.cross_out if stage == CROSS_OUT else layers.down
        var plain = places.hidden if stage == DOWN else places.attended
        linear_unit[False, gpu](stage, unit, layer, places.x, plain, places, shared)


@always_inline
def row_tile_of[dtype: DType, head_dim: Int, //](stage: Int, unit: Int, places: Places[dtype, head_dim]) -> Int:
    """The tile of rows that a unit belongs to."""
    if stage == SELF:
        return unit // places.n_head // places.tile_rows()
    if stage == CROSS:
        return unit // (places.n_head * places.splits()) // places.tile_rows()
    return unit % places.row_tiles()


@always_inline
def stage_and_unit[dtype: DType, head_dim: Int, //](taken: Int, places: Places[dtype, head_dim]) -> Tuple[Int, Int]:
    var unit = taken
    for stage in range(STAGES):
        var n = places.units(stage)
        if unit < n:
            return stage, unit
        unit -= n
    return STAGES, unit


@always_inline
def rows_are_ready[dtype: DType, head_dim: Int, //](stage: Int, unit: Int, places: Places[dtype, head_dim]) -> Bool:
    """Whether all that a unit reads is written."""
    if stage == QKV:
        return True
    var tile = row_tile_of(stage, unit, places)
    var done = Counter.load[ordering=Ordering.ACQUIRE](places.done(stage - 1, tile))
    return Int(done) >= places.units_of_tile(stage - 1, tile)


@always_inline
def tell_end[dtype: DType, head_dim: Int, //](stage: Int, unit: Int, places: Places[dtype, head_dim]):
    """That a unit is done; the last of all leaves zeros. By one thread, after a barrier."""
    var done = places.done(stage, row_tile_of(stage, unit, places))
    _ = Counter.fetch_add[ordering=Ordering.ACQUIRE_RELEASE](done, 1)
    var ended = Counter.fetch_add[ordering=Ordering.ACQUIRE_RELEASE](places.ended(), 1)
    if Int(ended) == places.all_units() - 1:
        for place in range(8 + STAGES * places.row_tiles()):
            places.counts.unsafe_store(place, Int32(0))


@__llvm_metadata(
    MAX_THREADS_PER_BLOCK_METADATA=StaticTuple[Int32, 1](Int32(THREADS)), `nvvm.minctasm`=SIMDLength(RESIDENT)
)
@__name("whisper_max_token_block")
def block_kernel[dtype: DType, head_dim: Int, //](layers: Layers[dtype], places: Places[dtype, head_dim]):
    """One unit, the next one that nobody took."""
    comptime shared_space = AddressSpace.SHARED
    var shared = unsafe_stack_allocation[SHARED + 64, Float32, address_space=shared_space]()
    var taken = unsafe_stack_allocation[1, Int32, address_space=shared_space]()
    if thread_idx.x == 0:
        var mine = Counter.fetch_add[ordering=Ordering.RELAXED](places.taken(), 1)
        taken.unsafe_store(0, mine)
        var found = stage_and_unit(Int(mine), places)
        while not rows_are_ready(found[0], found[1], places):
            pass
    barrier()
    var found = stage_and_unit(Int(taken.unsafe_load(0)), places)
    block_unit[True](found[0], found[1], layers, places, shared)
    barrier()
    if thread_idx.x == 0:
        tell_end(found[0], found[1], places)


@__name("whisper_max_row_logits")
def normed_kernel[dtype: DType, head_dim: Int, //](layer: Layer[dtype], places: Places[dtype, head_dim]):
    """A linear layer of the normalised residual stream by itself, for logits."""
    var shared = unsafe_stack_allocation[SHARED + 64, Float32, address_space=AddressSpace.SHARED]()
    linear_unit[True, True](LOGITS, Int(block_idx.x), layer, places.before, places.q, places, shared)


@__name("whisper_max_embed_rows")
def embed_kernel[
    dtype: DType, //
](
    x: FloatPointer,
    counts: IntPointer,
    tokens: IntPointer,
    lengths: IntPointer,
    embedding: Pointer[Scalar[dtype], MutUntrackedOrigin],
    positions: Pointer[Scalar[dtype], MutUntrackedOrigin],
    n_state: Int64,
    n_counts: Int64,
):
    """A row's embeddings, and zeros to count with."""
    var row = Int(block_idx.x)
    for place in range(Int(thread_idx.x), Int(n_state), THREADS):
        embed_number(row, place, x, tokens, lengths, embedding, positions, Int(n_state))
    for place in range(Int(thread_idx.x), Int(n_counts), THREADS):
        counts.unsafe_store(row * Int(n_counts) + place, Int32(0))


@always_inline
def embed_number[
    dtype: DType, //
](
    row: Int,
    place: Int,
    x: FloatPointer,
    tokens: IntPointer,
    lengths: IntPointer,
    embedding: Pointer[Scalar[dtype], MutUntrackedOrigin],
    positions: Pointer[Scalar[dtype], MutUntrackedOrigin],
    n_state: Int,
):
    var token = embedding.unsafe_load(Int(tokens.unsafe_load(row)) * n_state + place)
    var position = positions.unsafe_load(Int(lengths.unsafe_load(row)) * n_state + place)
    x.unsafe_store(row * n_state + place, token.cast[DType.float32]() + position.cast[DType.float32]())


@extensibility.register("whisper_max.embed_rows")
struct EmbedRows:
    """The residual stream of one new token a row, and the counts that the blocks share."""

    @staticmethod
    def execute[
        target: StaticString
    ](
        x: OutputTensor[dtype=DType.float32, rank=2, ...],  # (rows, n_state)
        counts: OutputTensor[dtype=DType.int32, rank=2, ...],  # (rows, 16 + H)
        tokens: InputTensor[dtype=DType.int32, rank=1, ...],  # (rows,)
        lengths: InputTensor[dtype=DType.int32, rank=1, ...],  # (rows,)
        embedding: InputTensor[rank=2, ...],  # (n_vocab, n_state)
        positions: InputTensor[dtype=embedding.dtype, rank=2, ...],  # (n_text_ctx, n_state)
        ctx: DeviceContext,
    ) raises:
        comptime Values = Pointer[Scalar[embedding.dtype], MutUntrackedOrigin]
        var x_ptr = rebind[FloatPointer](x.unsafe_ptr())
        var count_ptr = rebind[IntPointer](counts.unsafe_ptr())
        var token_ptr = rebind[IntPointer](tokens.unsafe_ptr())
        var length_ptr = rebind[IntPointer](lengths.unsafe_ptr())
        var embedding_ptr = rebind[Values](embedding.unsafe_ptr())
        var position_ptr = rebind[Values](positions.unsafe_ptr())
        var rows = x.dim_size(0)
        var n_state = x.dim_size(1)
        comptime if is_gpu[target]():
            ctx.enqueue_function[embed_kernel[dtype=embedding.dtype]](
                x_ptr, count_ptr, token_ptr, length_ptr, embedding_ptr, position_ptr, Int64(n_state),
                Int64(counts.dim_size(1)), grid_dim=rows, block_dim=THREADS,
            )
        else:
            for place in range(rows * counts.dim_size(1)):
                count_ptr.unsafe_store(place, Int32(0))
            for row in range(rows):
                for place in range(n_state):
                    embed_number(row, place, x_ptr, token_ptr, length_ptr, embedding_ptr, position_ptr, n_state)


@extensibility.register("whisper_max.token_block")
struct TokenBlock:
    """A decoder block for one new token a row, in one launch."""

    @staticmethod
    def execute[
        target: StaticString, head_dim: Int
    ](
        x: OutputTensor[dtype=DType.float32, rank=2, ...],  # (rows, n_state)
        q: OutputTensor[rank=2, ...],  # (rows, n_state), scratch as all outputs that follow
        attended: OutputTensor[dtype=q.dtype, rank=2, ...],  # (rows, n_state)
        hidden: OutputTensor[dtype=q.dtype, rank=2, ...],  # (rows, 4 * n_state)
        shares: OutputTensor[dtype=DType.float32, rank=2, ...],  # (rows, H * SPLITS * (hd + 2))
        before: InputTensor[dtype=DType.float32, rank=2, ...],  # (rows, n_state)
        counts: InputTensor[dtype=DType.int32, rank=2, ...],  # (rows, 16 + H), zeros before and after
        lengths: InputTensor[dtype=DType.int32, rank=1, ...],  # (rows,)
        keys: MutableInputTensor[dtype=q.dtype, rank=4, ...],  # (rows, H, capacity, hd)
        values: MutableInputTensor[dtype=q.dtype, rank=4, ...],
        audio_keys: InputTensor[dtype=q.dtype, rank=4, ...],  # (windows, H, n_audio, hd)
        audio_values: InputTensor[dtype=q.dtype, rank=4, ...],
        attn_norm_weight: InputTensor[dtype=q.dtype, rank=1, ...],  # (n_state,), as all normalisations
        attn_norm_bias: InputTensor[dtype=q.dtype, rank=1, ...],
        qkv_weight: InputTensor[dtype=q.dtype, rank=2, ...],  # (n_out, n_in), as all matrices
        qkv_bias: InputTensor[dtype=q.dtype, rank=1, ...],
        out_weight: InputTensor[dtype=q.dtype, rank=2, ...],
        out_bias: InputTensor[dtype=q.dtype, rank=1, ...],
        cross_norm_weight: InputTensor[dtype=q.dtype, rank=1, ...],
        cross_norm_bias: InputTensor[dtype=q.dtype, rank=1, ...],
        query_weight: InputTensor[dtype=q.dtype, rank=2, ...],
        query_bias: InputTensor[dtype=q.dtype, rank=1, ...],
        cross_out_weight: InputTensor[dtype=q.dtype, rank=2, ...],
        cross_out_bias: InputTensor[dtype=q.dtype, rank=1, ...],
        mlp_norm_weight: InputTensor[dtype=q.dtype, rank=1, ...],
        mlp_norm_bias: InputTensor[dtype=q.dtype, rank=1, ...],
        up_weight: InputTensor[dtype=q.dtype, rank=2, ...],
        up_bias: InputTensor[dtype=q.dtype, rank=1, ...],
        down_weight: InputTensor[dtype=q.dtype, rank=2, ...],
        down_bias: InputTensor[dtype=q.dtype, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        comptime Values = Pointer[Scalar[q.dtype], MutUntrackedOrigin]
        var rows = x.dim_size(0)
        var n = x.dim_size(1)
        var places = Places[q.dtype, head_dim](
            rebind[FloatPointer](before.unsafe_ptr()), rebind[FloatPointer](x.unsafe_ptr()),
            rebind[IntPointer](lengths.unsafe_ptr()), rebind[Values](keys.unsafe_ptr()),
            rebind[Values](values.unsafe_ptr()), rebind[Values](audio_keys.unsafe_ptr()),
            rebind[Values](audio_values.unsafe_ptr()), rebind[Values](q.unsafe_ptr()),
            rebind[Values](attended.unsafe_ptr()), rebind[Values](hidden.unsafe_ptr()),
            rebind[FloatPointer](shares.unsafe_ptr()), rebind[IntPointer](counts.unsafe_ptr()),
            rows, n, keys.dim_size(1), keys.dim_size(2), audio_keys.dim_size(2), rows // audio_keys.dim_size(0),
        )
        var attn_norm = rebind[Values](attn_norm_weight.unsafe_ptr()), rebind[Values](attn_norm_bias.unsafe_ptr())
        var cross_norm = rebind[Values](cross_norm_weight.unsafe_ptr()), rebind[Values](cross_norm_bias.unsafe_ptr())
        var mlp_norm = rebind[Values](mlp_norm_weight.unsafe_ptr()), rebind[Values](mlp_norm_bias.unsafe_ptr())

        @always_inline
        def layer(
            weight: InputTensor[dtype=q.dtype, rank=2, ...],
            bias: InputTensor[dtype=q.dtype, rank=1, ...],
            norm: Tuple[Values, Values],
        ) {imm} -> Layer[q.dtype]:
            return Layer[q.dtype](
                norm[0], norm[1], rebind[Values](weight.unsafe_ptr()), rebind[Values](bias.unsafe_ptr()),
                weight.dim_size(1), weight.dim_size(0),
            )

        var layers = Layers[q.dtype](
            layer(qkv_weight, qkv_bias, attn_norm), layer(out_weight, out_bias, attn_norm),
            layer(query_weight, query_bias, cross_norm), layer(cross_out_weight, cross_out_bias, cross_norm),
            layer(up_weight, up_bias, mlp_norm), layer(down_weight, down_bias, mlp_norm),
        )
        comptime if is_gpu[target]():
            ctx.enqueue_function[block_kernel[dtype=q.dtype, head_dim=head_dim]](
                layers, places, grid_dim=places.all_units(), block_dim=THREADS
            )
        else:
            var room = List[Float32](length=SHARED + 64, fill=0)
            var shared = rebind[FloatPointer](room.unsafe_ptr())
            for _ in range(places.all_units()):
                var taken = Counter.fetch_add[ordering=Ordering.RELAXED](places.taken(), 1)
                var found = stage_and_unit(Int(taken), places)
                if not rows_are_ready(found[0], found[1], places):
                    raise Error("a unit would wait for one that was not taken before it")
                block_unit[False](found[0], found[1], layers, places, shared)
                tell_end(found[0], found[1], places)
            _ = room^


@extensibility.register("whisper_max.row_logits")
struct RowLogits:
    """Logits of the normalised residual stream, in float32 from the sums on."""

    @staticmethod
    def execute[
        target: StaticString
    ](
        logits: OutputTensor[dtype=DType.float32, rank=2, ...],  # (rows, n_vocab)
        x: InputTensor[dtype=DType.float32, rank=2, ...],  # (rows, n_state)
        norm_weight: InputTensor[rank=1, ...],  # (n_state,)
        norm_bias: InputTensor[dtype=norm_weight.dtype, rank=1, ...],
        weight: InputTensor[dtype=norm_weight.dtype, rank=2, ...],  # (n_vocab, n_state)
        ctx: DeviceContext,
    ) raises:
        comptime Values = Pointer[Scalar[norm_weight.dtype], MutUntrackedOrigin]
        var rows = x.dim_size(0)
        var unused = rebind[Values](weight.unsafe_ptr())
        var layer = Layer[norm_weight.dtype](
            rebind[Values](norm_weight.unsafe_ptr()), rebind[Values](norm_bias.unsafe_ptr()), unused, unused,
            weight.dim_size(1), weight.dim_size(0),
        )
        var x_ptr = rebind[FloatPointer](x.unsafe_ptr())
        var logits_ptr = rebind[FloatPointer](logits.unsafe_ptr())
        var places = Places[norm_weight.dtype, 64](
            x_ptr, logits_ptr, x_ptr.unsafe_bitcast[Int32](), unused, unused, unused, unused, unused, unused, unused,
            x_ptr, x_ptr.unsafe_bitcast[Int32](), rows, x.dim_size(1), 1, 1, 1, 1,
        )
        var n_units = places.row_tiles() * ceildiv(weight.dim_size(0), places.tile_columns())
        comptime if is_gpu[target]():
            ctx.enqueue_function[normed_kernel[dtype=norm_weight.dtype, head_dim=64]](
                layer, places, grid_dim=n_units, block_dim=THREADS
            )
        else:
            var room = List[Float32](length=SHARED + 64, fill=0)
            for unit in range(n_units):
                linear_unit[True, False](
                    LOGITS, unit, layer, x_ptr, unused, places, rebind[FloatPointer](room.unsafe_ptr())
                )
            _ = room^
