"""Attention of many queries, in tiles: no tensor of scores is ever in memory.

Keys are taken in blocks that stay in the second-level cache, transposed into panels once a block; a running maximum and
sum a query join the blocks (the online softmax of Milakov and Gimelshein, 2018).
"""

import extensibility
from extensibility import InputTensor, OutputTensor
from max.gpu.host import DeviceContext
from max.runtime.asyncrt import parallelism_level
from std.math import ceildiv, max, min, sqrt
from std.memory import alloc, bitcast, dealloc
from std.memory.alloc import Layout

from .team import Worker, run_phases
from .tiles import FloatPointer, HALF_TILE_ROWS, TILE_COLUMNS, TILE_ROWS, Vector, WIDTH, multiply_tile

comptime KEY_BLOCK = 384
"""Keys and values of a block of 64-wide heads take 192 KB."""
comptime LOWEST = Float32(-1e30)
comptime LOG2_E = Float32(1.4426950408889634)
comptime ROUNDER = Float32(12582912)
"""1.5 * 2 ** 23: added to a number, it leaves the nearest integer in the last bits."""
comptime POWERS: List[Float32] = [
    1.0, 0.6931471824645996, 0.24022646248340607, 0.05550328642129898, 0.009618489071726799, 0.0013399930903688073,
    0.00015345810970757157,
]
"""2 ** x between -0.5 and 0.5 to 8e-8, as a polynomial."""


@always_inline
def power_of_2[width: Int](x: SIMD[DType.float32, width]) -> SIMD[DType.float32, width]:
    """`2 ** x` for x up to 0, 2 ** -126 below that; what is not a number stays so."""
    comptime Values = SIMD[DType.float32, width]
    var near = x.lt(-126).select(Values(-126), x)
    var rounded = near + ROUNDER
    var rest = near - (rounded - ROUNDER)
    var total = Values(comptime(POWERS[len(POWERS) - 1]))
    comptime for i in range(len(POWERS) - 2, -1, -1):
        total = total.fma(rest, Values(comptime(POWERS[i])))
    var exponent = bitcast[DType.int32, width](rounded) << 23
    return bitcast[DType.float32, width](bitcast[DType.int32, width](total) + exponent)


trait Attends(Deinitable, ImplicitlyCopyable, Movable):
    """One head of one window at work."""

    def scratch_floats(self, n_queries: Int) -> Int:
        """Scratch of one worker for so many queries."""
        ...

    def run(self, first: Int, last: Int, scratch: FloatPointer):
        """Attend from queries [first, last)."""
        ...


trait KeysAndValues(Deinitable, ImplicitlyCopyable, Movable):
    """Where one head of one window has them."""

    def key(self, position: Int, lane: Int) -> Vector:
        """A key from a lane on."""
        ...

    def value(self, position: Int, lane: Int) -> Vector:
        """A value from a lane on."""
        ...


@fieldwise_init
struct FloatSide[dtype: DType](KeysAndValues):
    """As floats, in rows."""

    var k: Pointer[Scalar[Self.dtype], MutUntrackedOrigin]
    var v: Pointer[Scalar[Self.dtype], MutUntrackedOrigin]
    var stride: Int

    @always_inline
    def key(self, position: Int, lane: Int) -> Vector:
        return self.k.unsafe_load[width=WIDTH](position * self.stride + lane).cast[DType.float32]()

    @always_inline
    def value(self, position: Int, lane: Int) -> Vector:
        return self.v.unsafe_load[width=WIDTH](position * self.stride + lane).cast[DType.float32]()


@fieldwise_init
struct Head[head_dim: Int, causal: Bool, Side: KeysAndValues](Attends):
    """One head of one window: where its queries, keys and values are, and how far apart the rows of queries."""

    var out_ptr: FloatPointer
    var out_stride: Int
    var q: FloatPointer
    var q_stride: Int
    var side: Self.Side
    var n_keys: Int

    def scratch_floats(self, n_queries: Int) -> Int:
        """A block of keys and of values, a tile of scores, maximum and sum of each query."""
        return 2 * KEY_BLOCK * Self.head_dim + TILE_ROWS * KEY_BLOCK + 2 * n_queries

    def run(self, first: Int, last: Int, scratch: FloatPointer):
        """Attend from queries [first, last)."""
        var keys = scratch
        var values = keys.unsafe_offset(KEY_BLOCK * Self.head_dim)
        var scores = values.unsafe_offset(KEY_BLOCK * Self.head_dim)
        var highest = scores.unsafe_offset(TILE_ROWS * KEY_BLOCK)
        var total = highest.unsafe_offset(last - first)
        for query in range(last - first):
            highest.unsafe_store(query, LOWEST)
            total.unsafe_store(query, Float32(0))
        for start in range(0, self.n_keys, KEY_BLOCK):
            var n_block = min(KEY_BLOCK, self.n_keys - start)
            self.pack(start, n_block, keys, values)
            var query = first
            while query + TILE_ROWS <= last:
                self.run_tile[TILE_ROWS](query, first, start, n_block, keys, values, scores, highest, total)
                query += TILE_ROWS
            comptime if TILE_ROWS > HALF_TILE_ROWS:
                if query + HALF_TILE_ROWS <= last:
                    self.run_tile[HALF_TILE_ROWS](
                        query, first, start, n_block, keys, values, scores, highest, total
                    )
                    query += HALF_TILE_ROWS
            comptime for rest in range(1, HALF_TILE_ROWS):
                if last - query == rest:
                    self.run_tile[rest](query, first, start, n_block, keys, values, scores, highest, total)
        for query in range(first, last):
            var share = 1 / total.unsafe_load(query - first)
            for lane in range(0, Self.head_dim, WIDTH):
                var at = query * self.out_stride + lane
                self.out_ptr.unsafe_store(at, self.out_ptr.unsafe_load[width=WIDTH](at) * share)

    def pack(self, start: Int, n_block: Int, keys: FloatPointer, values: FloatPointer):
        """Keys transposed, (n / TILE_COLUMNS, head_dim, TILE_COLUMNS), zeros past the last; values side by side for a
        tile, (head_dim / TILE_COLUMNS, KEY_BLOCK, TILE_COLUMNS)."""
        for key in range(ceildiv(n_block, TILE_COLUMNS) * TILE_COLUMNS):
            var column = key // TILE_COLUMNS * Self.head_dim * TILE_COLUMNS + key % TILE_COLUMNS
            if key >= n_block:
                for lane in range(Self.head_dim):
                    keys.unsafe_store(column + lane * TILE_COLUMNS, Float32(0))
                continue
            comptime for lane in range(0, Self.head_dim, WIDTH):
                var part = self.side.key(start + key, lane)
                comptime for i in range(WIDTH):
                    keys.unsafe_store(column + (lane + i) * TILE_COLUMNS, part[i])
                var value = self.side.value(start + key, lane)
                var row = lane // TILE_COLUMNS * KEY_BLOCK + key
                values.unsafe_store(row * TILE_COLUMNS + lane % TILE_COLUMNS, value)

    def run_tile[
        rows: Int
    ](
        self,
        query: Int,
        first: Int,
        start: Int,
        n_block: Int,
        keys: FloatPointer,
        values: FloatPointer,
        scores: FloatPointer,
        highest: FloatPointer,
        total: FloatPointer,
    ):
        """A few queries by one block of keys."""
        var scale = LOG2_E / sqrt(Float32(Self.head_dim))
        var n_columns = ceildiv(n_block, TILE_COLUMNS) * TILE_COLUMNS
        for column in range(0, n_columns, TILE_COLUMNS):
            var part = keys.unsafe_offset(column * Self.head_dim)
            var q = self.q.unsafe_offset(query * self.q_stride)
            var tile = multiply_tile[rows](q, self.q_stride, part, TILE_COLUMNS, Self.head_dim)
            comptime for row in range(rows):
                scores.unsafe_store(row * KEY_BLOCK + column, tile[2 * row] * scale)
                scores.unsafe_store(row * KEY_BLOCK + column + WIDTH, tile[2 * row + 1] * scale)
        var factors = Array[Float32, rows](fill=0)
        comptime for row in range(rows):
            var visible = n_block
            comptime if Self.causal:
                visible = max(0, min(n_block, query + row + 1 - start))
            var at = query + row - first
            factors[row] = weigh(scores.unsafe_offset(row * KEY_BLOCK), visible, n_columns, highest, total, at)
        for lane in range(0, Self.head_dim, TILE_COLUMNS):
            var part = values.unsafe_offset(lane * KEY_BLOCK)
            var tile = multiply_tile[rows](scores, KEY_BLOCK, part, TILE_COLUMNS, n_block)
            comptime for row in range(rows):
                var place = (query + row) * self.out_stride + lane
                comptime for half in range(2):
                    var at = place + half * WIDTH
                    var value = tile[2 * row + half]
                    if start > 0:
                        value += self.out_ptr.unsafe_load[width=WIDTH](at) * factors[row]
                    self.out_ptr.unsafe_store(at, value)


def weigh(
    scores: FloatPointer, visible: Int, n_columns: Int, highest: FloatPointer, total: FloatPointer, query: Int
) -> Float32:
    """Turn a row of scores, logarithms to base 2, into weights relative to the highest so far; returns what earlier sums
    shrink by."""
    comptime Pair = SIMD[DType.float32, TILE_COLUMNS]
    for column in range(visible, n_columns):
        scores.unsafe_store(column, LOWEST)
    var peak = Pair(LOWEST)
    for column in range(0, n_columns, TILE_COLUMNS):
        var some = scores.unsafe_load[width=TILE_COLUMNS](column)
        peak = some.gt(peak).select(some, peak)
    var before = highest.unsafe_load(query)
    var now = max(before, peak.reduce_max())
    var sums = Pair(0)
    for column in range(0, n_columns, TILE_COLUMNS):
        var weights = power_of_2(scores.unsafe_load[width=TILE_COLUMNS](column) - now)
        scores.unsafe_store(column, weights)
        sums += weights
    var factor = power_of_2[1](before - now)
    highest.unsafe_store(query, now)
    total.unsafe_store(query, total.unsafe_load(query) * factor + sums.reduce_add())
    return factor


def run_in_parallel[
    HeadType: Attends, HeadOf: def(Int) -> HeadType
](head_of: HeadOf, n_heads: Int, n_queries: Int):
    """Give out the heads to whoever is free, and the queries in shares where there are more workers than heads."""
    var n_workers = max(parallelism_level(None), 1)
    var n_query_shares = max(1, min(n_workers // min(n_workers, n_heads), ceildiv(n_queries, TILE_ROWS)))
    var query_share = ceildiv(n_queries, n_query_shares)
    var n_shares = n_heads * n_query_shares
    var size = head_of(0).scratch_floats(query_share)
    n_workers = min(n_workers, n_shares)
    var scratch = alloc(Layout[Float32](count=n_workers * size))
    var scratch_ptr = rebind[FloatPointer](scratch.unsafe_ptr())

    def walk(mut worker: Worker) {imm}:
        var share = worker.next(n_shares)
        while share >= 0:
            var first = share % n_query_shares * query_share
            var own = scratch_ptr.unsafe_offset(worker.number * size)
            head_of(share // n_query_shares).run(first, min(first + query_share, n_queries), own)
            share = worker.next(n_shares)

    run_phases(walk, 1, n_workers)
    dealloc(scratch^)


@extensibility.register("whisper_max.self_attention")
struct SelfAttention:
    """Attention of a sequence over itself; where causal, of each position up to itself."""

    @staticmethod
    def execute[
        head_dim: Int, causal: Bool
    ](
        output: OutputTensor[dtype=DType.float32, rank=3, ...],  # (B, T, H * hd)
        qkv: InputTensor[dtype=DType.float32, rank=3, ...],  # (B, T, 3 * H * hd)
        ctx: DeviceContext,
    ) raises:
        var n_positions = qkv.dim_size(1)
        var n_state = output.dim_size(2)
        var n_head = n_state // head_dim
        var out_ptr = rebind[FloatPointer](output.unsafe_ptr())
        var qkv_ptr = rebind[FloatPointer](qkv.unsafe_ptr())

        def head_of(index: Int) {imm} -> Head[head_dim, causal, FloatSide[DType.float32]]:
            var window = index // n_head
            var lane = index % n_head * head_dim
            var q = qkv_ptr.unsafe_offset(window * n_positions * 3 * n_state + lane)
            return {
                out_ptr.unsafe_offset(window * n_positions * n_state + lane),
                n_state,
                q,
                3 * n_state,
                FloatSide(q.unsafe_offset(n_state), q.unsafe_offset(2 * n_state), 3 * n_state),
                n_positions,
            }

        run_in_parallel[Head[head_dim, causal, FloatSide[DType.float32]]](
            head_of, qkv.dim_size(0) * n_head, n_positions
        )


@extensibility.register("whisper_max.cross_attention")
struct CrossAttention:
    """Attention of a sequence over the audio."""

    @staticmethod
    def execute[
        head_dim: Int
    ](
        output: OutputTensor[dtype=DType.float32, rank=3, ...],  # (B, T, H * hd)
        queries: InputTensor[dtype=DType.float32, rank=3, ...],  # (B, T, H * hd)
        keys: InputTensor[rank=4, ...],  # (B, H, S, hd)
        values: InputTensor[dtype=keys.dtype, rank=4, ...],  # (B, H, S, hd)
        ctx: DeviceContext,
    ) raises:
        var n_queries = queries.dim_size(1)
        var n_state = queries.dim_size(2)
        var n_head = keys.dim_size(1)
        var n_keys = keys.dim_size(2)
        var out_ptr = rebind[FloatPointer](output.unsafe_ptr())
        var q_ptr = rebind[FloatPointer](queries.unsafe_ptr())
        var k_ptr = rebind[Pointer[Scalar[keys.dtype], MutUntrackedOrigin]](keys.unsafe_ptr())
        var v_ptr = rebind[Pointer[Scalar[keys.dtype], MutUntrackedOrigin]](values.unsafe_ptr())

        def head_of(index: Int) {imm} -> Head[head_dim, False, FloatSide[keys.dtype]]:
            var place = index // n_head * n_queries * n_state + index % n_head * head_dim
            var own = index * n_keys * head_dim
            return {
                out_ptr.unsafe_offset(place),
                n_state,
                q_ptr.unsafe_offset(place),
                n_state,
                FloatSide(k_ptr.unsafe_offset(own), v_ptr.unsafe_offset(own), head_dim),
                n_keys,
            }

        run_in_parallel[Head[head_dim, False, FloatSide[keys.dtype]]](
            head_of, queries.dim_size(0) * n_head, n_queries
        )
