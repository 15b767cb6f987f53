"""Attention of many positions on a GPU: of windows over themselves, of long prompts over themselves and over the audio.

A thread block has 128 positions of one head, each of its four warps 32 of them, and goes over the keys 32 at a time.
Keys and values come through shared memory, 64 of them in each of two stages: one is under way while one is read. Scores,
their softmax and the sums of values stay in registers, products go through tensor cores. Only half floats, and heads 64
wide, as all published models have. On a CPU the same code runs thread by thread, for tests: there a warp's products are
put together from the fragments of its lanes.
"""

from max.gpu import MAX_THREADS_PER_BLOCK_METADATA, block_idx, thread_idx
from max.gpu.compute.mma import ld_matrix, mma
from max.gpu.host import DeviceContext
from max.gpu.host.info import is_gpu
from max.gpu.memory import async_copy_commit_group, async_copy_wait_group
from max.gpu.primitives import warp
from max.gpu.sync import barrier
from std.builtin.device_passable import DevicePassable, DeviceTypeEncoder
from std.math import ceildiv, exp2, max, min
from std.memory import unsafe_stack_allocation
from std.utils import StaticTuple

from .long_product import LANES, THREADS, WARPS, copy_part
from .token_block import left_fragment

comptime HEAD_DIM = 64
comptime QUERIES = 128
"""Positions of a thread block."""
comptime OWN_QUERIES = QUERIES // WARPS
"""Positions of a warp."""
comptime M_TILES = OWN_QUERIES // 16
"""Products of 16 rows by 8 columns that have a warp's positions, the keys taken together, and a head's width."""
comptime KEY_TILES = 4
comptime WIDTH_TILES = HEAD_DIM // 8
comptime TAKEN = 8 * KEY_TILES
"""Keys whose scores are taken together: with twice as many, registers of sm_90a spill."""
comptime KEYS = 2 * TAKEN
"""Keys of a stage."""
comptime PART = 8
"""Numbers in 16 bytes."""
comptime PARTS = HEAD_DIM // PART
comptime SIDE = KEYS * HEAD_DIM
"""Numbers of a stage's keys, and of its values, which follow them."""
comptime STAGES = 2
comptime RESIDENT = 2
"""Thread blocks that are to fit a multiprocessor at once."""
comptime SCALE = Float32(0.18033688)
"""Log2(e) / sqrt(HEAD_DIM): weights are powers of two."""
comptime Scores = Array[SIMD[DType.float32, 4], M_TILES * KEY_TILES]
"""A lane's scores, or weights: number i of a product has row g + 8 * (i / 2) and column 2t + i % 2, g = lane / 4,
t = lane % 4."""
comptime Sums = Array[SIMD[DType.float32, 4], M_TILES * WIDTH_TILES]
"""A lane's sums of weighted values, in the same order."""
comptime Rows = SIMD[DType.float32, 2 * M_TILES]
"""Of each row of a lane, 16m + 8h + g at 2m + h."""
comptime LOWEST = Float32.MIN_FINITE


@fieldwise_init
struct Attention[dtype: DType](DevicePassable, TrivialRegisterPassable):
    """Positions of windows over keys of their own window, in one layer."""

    comptime Values = Pointer[Scalar[Self.dtype], MutUntrackedOrigin]
    var q: Self.Values  # (windows, n_queries, H, hd), positions q_stride apart
    var keys: Self.Values
    var values: Self.Values
    var attended: Self.Values  # (windows, n_queries, H, hd)
    var q_stride: Int
    var key_stride: Int  # from one key to the next
    var head_stride: Int  # from a head's keys to the next one's
    var window_stride: Int
    var n_windows: Int
    var n_queries: Int
    var n_keys: Int
    var n_head: Int
    var causal: Bool  # a position sees itself and what is before

    comptime device_type: AnyType = Self

    def _to_device_type(self, mut encoder: Some[DeviceTypeEncoder], target: MutOpaquePointer[_]):
        encoder.encode(self, target)

    @staticmethod
    def get_type_name() -> String:
        return "Attention"

    @always_inline
    def units(self) -> Int:
        return self.n_windows * self.n_queries * self.n_head


@fieldwise_init
struct Tile[dtype: DType](TrivialRegisterPassable):
    """A thread block's share: some positions of one head."""

    comptime Values = Pointer[Scalar[Self.dtype], MutUntrackedOrigin]
    var q: Self.Values  # of the window's first position, as attended
    var keys: Self.Values
    var values: Self.Values
    var attended: Self.Values
    var q_stride: Int
    var key_stride: Int
    var result_stride: Int
    var first: Int  # position
    var n_queries: Int
    var n_keys: Int
    var causal: Bool

    @always_inline
    def stages(self) -> Int:
        """Stages that have keys for its positions."""
        var last = min(self.first + QUERIES, self.n_queries)
        return ceildiv(last if self.causal else self.n_keys, KEYS)

    @always_inline
    def query(self, own_warp: Int, lane: Int, m: Int, half: Int) -> Int:
        return self.first + own_warp * OWN_QUERIES + 16 * m + 8 * half + lane // 4

    @always_inline
    def query_part(self, query: Int, part: Int) -> SIMD[Self.dtype, PART]:
        """Eight numbers of a position; of the last one, past it."""
        var place = min(query, self.n_queries - 1) * self.q_stride + PART * part
        return self.q.unsafe_load[width=PART, alignment=16](place)

    @always_inline
    def sees(self, query: Int, key: Int) -> Bool:
        return key < self.n_keys and (not self.causal or key <= query)


@always_inline
def tile_of[dtype: DType, //](number: Int, job: Attention[dtype]) -> Tile[dtype]:
    """Tiles of one head follow one another: its keys stay in the cache."""
    var tiles = ceildiv(job.n_queries, QUERIES)
    var pair = number // tiles
    var window, head = pair // job.n_head, pair % job.n_head
    var start = window * job.window_stride + head * job.head_stride
    var row = window * job.n_queries
    var width = job.n_head * HEAD_DIM
    return Tile[dtype](
        job.q.unsafe_offset(row * job.q_stride + head * HEAD_DIM), job.keys.unsafe_offset(start),
        job.values.unsafe_offset(start), job.attended.unsafe_offset(row * width + head * HEAD_DIM), job.q_stride,
        job.key_stride, width, number % tiles * QUERIES, job.n_queries, job.n_keys, job.causal,
    )


@always_inline
def place_of(key: Int, part: Int) -> Int:
    """Where a part of a key lies: such that neither eight keys' same parts, nor two keys' four, meet in a bank."""
    return HEAD_DIM * key + PART * (part ^ (4 * (key % 2) + key // 2 % 4))


@always_inline
def copy_keys[
    dtype: DType, space: AddressSpace, //, gpu: Bool
](
    thread: Int,
    first_key: Int,
    tile: Tile[dtype],
    stage: Pointer[Scalar[dtype], MutUntrackedOrigin, address_space=space],
):
    """A thread's share of a stage; keys past the last are zeros."""
    comptime step = THREADS // PARTS
    var part = thread % PARTS
    comptime for i in range(KEYS // step):
        var key = thread // PARTS + i * step
        var is_there = first_key + key < tile.n_keys
        var source = (first_key + key) * tile.key_stride + PART * part
        var target = stage.unsafe_offset(place_of(key, part))
        copy_part[gpu](tile.keys, source, is_there, target)
        copy_part[gpu](tile.values, source, is_there, target.unsafe_offset(SIDE))


@always_inline
def key_part[
    dtype: DType, space: AddressSpace, //
](lane: Int, n: Int, stretch: Int, keys: Pointer[Scalar[dtype], MutUntrackedOrigin, address_space=space]) -> SIMD[
    dtype, PART
]:
    """A lane's numbers of product n's keys: right operands of two products, as ``left_fragment`` deals them out."""
    var place = place_of(8 * n + lane // 4, 4 * stretch + lane % 4)
    return keys.unsafe_load[width=PART, alignment=16](place)


@always_inline
def value_row(lane: Int, depth: Int, n: Int) -> Int:
    """The row that a lane names to `ld_matrix`: of four matrices of 8 keys by 8 columns, for products n and n + 1."""
    return SIDE + place_of(16 * depth + lane // 8 % 2 * 8 + lane % 8, n + lane // 16)


@always_inline
def weights_fragment[dtype: DType](weights: Scores, m: Int, depth: Int) -> SIMD[dtype, 8]:
    """The left operand that two products' weights make: of 16 positions and keys 16 * depth to 16 * depth + 16."""
    var near = weights[m * KEY_TILES + 2 * depth]
    var far = weights[m * KEY_TILES + 2 * depth + 1]
    return near.join(far).cast[dtype]()


@always_inline
def mask[dtype: DType, //](own_warp: Int, lane: Int, first_key: Int, tile: Tile[dtype], mut scores: Scores):
    """Of keys that a position doesn't see; mostly the first one sees all, and of its tile it sees least."""
    if tile.sees(tile.first, first_key + TAKEN - 1):
        return
    comptime for m in range(M_TILES):
        comptime for n in range(KEY_TILES):
            comptime for i in range(4):
                var key = first_key + 8 * n + 2 * (lane % 4) + i % 2
                if not tile.sees(tile.query(own_warp, lane, m, i // 2), key):
                    scores[m * KEY_TILES + n][i] = LOWEST


@always_inline
def highest_of(scores: Scores) -> Rows:
    """A lane's own."""
    var highest = Rows(LOWEST)
    comptime for m in range(M_TILES):
        comptime for n in range(KEY_TILES):
            comptime for i in range(4):
                highest[2 * m + i // 2] = max(highest[2 * m + i // 2], scores[m * KEY_TILES + n][i])
    return highest


@always_inline
def weigh(new_highest: Rows, mut scores: Scores, mut sums: Sums, mut highest: Rows, mut totals: Rows):
    """Make weights of scores, relative to the highest so far, and what was summed relative to it."""
    var kept = exp2((highest - new_highest) * SCALE)
    highest = new_highest
    totals *= kept
    comptime for m in range(M_TILES):
        var of_sums = SIMD[DType.float32, 4](kept[2 * m], kept[2 * m], kept[2 * m + 1], kept[2 * m + 1])
        comptime for n in range(WIDTH_TILES):
            sums[m * WIDTH_TILES + n] *= of_sums
        var of_scores = SIMD[DType.float32, 4](
            new_highest[2 * m], new_highest[2 * m], new_highest[2 * m + 1], new_highest[2 * m + 1]
        )
        comptime for n in range(KEY_TILES):
            var weights = exp2((scores[m * KEY_TILES + n] - of_scores) * SCALE)
            scores[m * KEY_TILES + n] = weights
            totals[2 * m] += weights[0] + weights[1]
            totals[2 * m + 1] += weights[2] + weights[3]


@always_inline
def put[dtype: DType, //](own_warp: Int, lane: Int, tile: Tile[dtype], sums: Sums, totals: Rows):
    """Write a lane's part of the results. totals: of all keys."""
    comptime for m in range(M_TILES):
        comptime for half in range(2):
            var query = tile.query(own_warp, lane, m, half)
            if query < tile.n_queries:
                var factor = 1 / totals[2 * m + half]
                comptime for n in range(WIDTH_TILES):
                    var sum = sums[m * WIDTH_TILES + n]
                    var pair = SIMD[DType.float32, 2](sum[2 * half], sum[2 * half + 1]) * factor
                    var place = query * tile.result_stride + 8 * n + 2 * (lane % 4)
                    tile.attended.unsafe_store[alignment=4](place, pair.cast[dtype]())


@__llvm_metadata(
    MAX_THREADS_PER_BLOCK_METADATA=StaticTuple[Int32, 1](Int32(THREADS)), `nvvm.minctasm`=SIMDLength(RESIDENT)
)
@__name("whisper_max_long_attention")
def attention_kernel[dtype: DType, //](job: Attention[dtype]):
    """One tile."""
    var shared = unsafe_stack_allocation[
        STAGES * 2 * SIDE, Scalar[dtype], alignment=16, address_space=AddressSpace.SHARED
    ]()
    var thread = Int(thread_idx.x)
    var own_warp, lane = thread // LANES, thread % LANES
    var tile = tile_of(Int(block_idx.x), job)
    copy_keys[True](thread, 0, tile, shared)
    async_copy_commit_group()
    var queries = Array[SIMD[dtype, PART], 4 * M_TILES](fill=SIMD[dtype, PART](0))
    comptime for m in range(M_TILES):
        comptime for half in range(2):
            comptime for stretch in range(2):
                var query = tile.query(own_warp, lane, m, half)
                queries[4 * m + 2 * half + stretch] = tile.query_part(query, 4 * stretch + lane % 4)
    var sums = Sums(fill=SIMD[DType.float32, 4](0))
    var highest, totals = Rows(LOWEST), Rows(0)
    var n_stages = tile.stages()
    for number in range(n_stages):
        async_copy_wait_group(Int32(0))
        barrier()  # this stage is there for all, and nobody reads the last one any more
        if number + 1 < n_stages:
            copy_keys[True](thread, (number + 1) * KEYS, tile, shared.unsafe_offset((number + 1) % STAGES * 2 * SIDE))
        async_copy_commit_group()
        for taken in range(0, KEYS, TAKEN):
            var keys = shared.unsafe_offset(number % STAGES * 2 * SIDE + HEAD_DIM * taken)
            var scores = Scores(fill=SIMD[DType.float32, 4](0))
            comptime for n in range(KEY_TILES):
                comptime for stretch in range(2):
                    var right = key_part(lane, n, stretch, keys)
                    comptime for half in range(2):
                        comptime for m in range(M_TILES):
                            var left = left_fragment[half](queries[4 * m + stretch], queries[4 * m + 2 + stretch])
                            var score = scores[m * KEY_TILES + n]
                            mma(score, left, right.slice[4, offset=4 * half](), score)
                            scores[m * KEY_TILES + n] = score
            mask(own_warp, lane, number * KEYS + taken, tile, scores)
            var new_highest = max(highest, highest_of(scores))
            comptime for row in range(2 * M_TILES):
                new_highest[row] = warp.lane_group_max[num_lanes=4](new_highest[row])
            weigh(new_highest, scores, sums, highest, totals)
            comptime for depth in range(TAKEN // 16):
                comptime for n in range(0, WIDTH_TILES, 2):
                    var right = ld_matrix[simd_width=8, transpose=True](keys.unsafe_offset(value_row(lane, depth, n)))
                    comptime for m in range(M_TILES):
                        var left = weights_fragment[dtype](scores, m, depth)
                        comptime for side in range(2):
                            var sum = sums[m * WIDTH_TILES + n + side]
                            mma(sum, left, right.slice[4, offset=4 * side](), sum)
                            sums[m * WIDTH_TILES + n + side] = sum
    comptime for row in range(2 * M_TILES):
        totals[row] = warp.lane_group_sum[num_lanes=4](totals[row])
    put(own_warp, lane, tile, sums, totals)


def run_tiles[dtype: DType, //, target: StaticString](job: Attention[dtype], ctx: DeviceContext) raises:
    var n_tiles = job.n_windows * job.n_head * ceildiv(job.n_queries, QUERIES)
    comptime if is_gpu[target]():
        ctx.enqueue_function[attention_kernel[dtype=dtype]](job, grid_dim=n_tiles, block_dim=THREADS)
    else:
        for number in range(n_tiles):
            tile_on_a_cpu(tile_of(number, job))


# --- the same on a CPU ----------------------------------------------------------------------------------------------


def multiply_on_a_cpu[
    dtype: DType, //
](
    left: List[SIMD[dtype, 8]],
    right: List[SIMD[dtype, 4]],
    mut sums: List[SIMD[DType.float32, 4]],
):
    """``mma`` of a warp, from the fragments of its lanes.

    PTX ISA, mma.m16n8k16 of bf16: in a lane's eight left numbers, i has row g + 8 * (i / 2 % 2) and column
    2t + i % 2 + 8 * (i / 4); in its four right ones, i has row 2t + i % 2 + 8 * (i / 2) and column g.
    """
    var a = Array[Float32, 256](fill=0)
    var b = Array[Float32, 128](fill=0)
    for lane in range(LANES):
        var g, t = lane // 4, lane % 4
        comptime for i in range(8):
            a[16 * (g + 8 * (i // 2 % 2)) + 2 * t + i % 2 + 8 * (i // 4)] = left[lane][i].cast[DType.float32]()
        comptime for i in range(4):
            b[8 * (2 * t + i % 2 + 8 * (i // 2)) + g] = right[lane][i].cast[DType.float32]()
    for lane in range(LANES):
        comptime for i in range(4):
            var row, column = lane // 4 + 8 * (i // 2), 2 * (lane % 4) + i % 2
            for k in range(16):
                sums[lane][i] += a[16 * row + k] * b[8 * k + column]


def loaded_on_a_cpu[
    dtype: DType, //
](depth: Int, n: Int, keys: Pointer[Scalar[dtype], MutUntrackedOrigin]) -> List[SIMD[dtype, 8]]:
    """What ``ld_matrix`` gives each lane, transposed.

    PTX ISA, ldmatrix.x4.trans: lane 8q + r names row r of matrix q, of which a lane has rows 2t and 2t + 1, column g.
    """
    var loaded = List[SIMD[dtype, 8]](length=LANES, fill=SIMD[dtype, 8](0))
    for lane in range(LANES):
        comptime for i in range(8):
            var row = value_row(8 * (i // 2) + 2 * (lane % 4) + i % 2, depth, n)
            loaded[lane][i] = keys.unsafe_load(row + lane // 4)
    return loaded^


def attend_on_a_cpu[
    dtype: DType, //
](
    own_warp: Int,
    first_key: Int,
    tile: Tile[dtype],
    keys: Pointer[Scalar[dtype], MutUntrackedOrigin],
    mut sums: List[Sums],
    mut highest: List[Rows],
    mut totals: List[Rows],
):
    """Some keys, for all lanes of a warp, whose sums, highest scores and totals begin at the warp's first thread."""
    comptime None4 = SIMD[DType.float32, 4](0)
    var start = own_warp * LANES
    var scores = List[Scores](length=LANES, fill=Scores(fill=None4))
    var left = List[SIMD[dtype, 8]](length=LANES, fill=SIMD[dtype, 8](0))
    var right = List[SIMD[dtype, 4]](length=LANES, fill=SIMD[dtype, 4](0))
    var some = List[SIMD[DType.float32, 4]](length=LANES, fill=None4)
    for m in range(M_TILES):
        for n in range(KEY_TILES):
            for lane in range(LANES):
                some[lane] = None4
            comptime for stretch in range(2):
                comptime for half in range(2):
                    for lane in range(LANES):
                        var upper = tile.query_part(tile.query(own_warp, lane, m, 0), 4 * stretch + lane % 4)
                        var lower = tile.query_part(tile.query(own_warp, lane, m, 1), 4 * stretch + lane % 4)
                        left[lane] = left_fragment[half](upper, lower)
                        right[lane] = key_part(lane, n, stretch, keys).slice[4, offset=4 * half]()
                    multiply_on_a_cpu(left, right, some)
            for lane in range(LANES):
                scores[lane][m * KEY_TILES + n] = some[lane]
    for lane in range(LANES):
        mask(own_warp, lane, first_key, tile, scores[lane])
    var own_highest = List[Rows](length=LANES, fill=Rows(0))
    for lane in range(LANES):
        own_highest[lane] = max(highest[start + lane], highest_of(scores[lane]))
    for lane in range(LANES):
        var found = own_highest[lane // 4 * 4]
        for other in range(1, 4):
            found = max(found, own_highest[lane // 4 * 4 + other])
        weigh(found, scores[lane], sums[start + lane], highest[start + lane], totals[start + lane])
    for depth in range(TAKEN // 16):
        for n in range(0, WIDTH_TILES, 2):
            var loaded = loaded_on_a_cpu(depth, n, keys)
            for m in range(M_TILES):
                comptime for side in range(2):
                    for lane in range(LANES):
                        left[lane] = weights_fragment[dtype](scores[lane], m, depth)
                        right[lane] = loaded[lane].slice[4, offset=4 * side]()
                        some[lane] = sums[start + lane][m * WIDTH_TILES + n + side]
                    multiply_on_a_cpu(left, right, some)
                    for lane in range(LANES):
                        sums[start + lane][m * WIDTH_TILES + n + side] = some[lane]


def tile_on_a_cpu[dtype: DType, //](tile: Tile[dtype]):
    var room = List[Scalar[dtype]](length=2 * SIDE, fill=0)
    var stage = rebind[Pointer[Scalar[dtype], MutUntrackedOrigin]](room.unsafe_ptr())
    var sums = List[Sums](length=THREADS, fill=Sums(fill=SIMD[DType.float32, 4](0)))
    var highest = List[Rows](length=THREADS, fill=Rows(LOWEST))
    var totals = List[Rows](length=THREADS, fill=Rows(0))
    for number in range(tile.stages()):
        for thread in range(THREADS):
            copy_keys[False](thread, number * KEYS, tile, stage)
        for own_warp in range(WARPS):
            for taken in range(0, KEYS, TAKEN):
                var keys = stage.unsafe_offset(HEAD_DIM * taken)
                attend_on_a_cpu(own_warp, number * KEYS + taken, tile, keys, sums, highest, totals)
    for thread in range(THREADS):
        var lane = thread % LANES
        var total = Rows(0)
        for other in range(4):
            total += totals[thread - lane % 4 + other]
        put(thread // LANES, lane, tile, sums[thread], total)
    _ = room^
