"""Products of many rows on a GPU: linear layers of the encoder, of the audio's keys and values, and of prompts.

A thread block makes a tile of 128 rows by 128 columns, each of its four warps a quarter of it. What a tile multiplies
comes through shared memory, in three stages: two are under way while one is multiplied. Sizes are known when it runs,
so that one kernel serves every layer of every model. Sums are float32; half floats go through tensor cores. On a CPU the
same code runs thread by thread, for tests: there a warp's products are put together from the fragments of its lanes.
"""

import extensibility
from extensibility import InputTensor, OutputTensor
from extensibility import _MutableInputTensor as MutableInputTensor
from max.gpu import MAX_THREADS_PER_BLOCK_METADATA, block_idx, thread_idx
from max.gpu.compute.mma import mma
from max.gpu.host import DeviceContext
from max.gpu.host.info import is_gpu
from max.gpu.memory import async_copy, async_copy_commit_group, async_copy_wait_group
from max.gpu.primitives import warp
from max.gpu.sync import barrier
from std.builtin.device_passable import DevicePassable, DeviceTypeEncoder
from std.math import ceildiv, max, min, sqrt
from std.memory import unsafe_stack_allocation
from std.sys import size_of
from std.utils import StaticTuple

from .finish import gelu_of
from .token_block import left_fragment

comptime WARPS = 4
comptime LANES = 32
comptime THREADS = WARPS * LANES
comptime TILE = 128
"""Rows, and columns, of a thread block's tile."""
comptime QUARTER = 64
"""Rows, and columns, of a warp's."""
comptime M_TILES = 4
"""Products of 16 rows by 8 columns that make a warp's rows, and its columns."""
comptime N_TILES = 8
comptime PARTS = 4
"""Parts of 16 bytes that a stage has of each row; a row's 64 bytes meet those of the next in different banks."""
comptime STAGES = 3
comptime OWN = 16
"""Columns beside one another that a lane finishes."""
comptime COPIES = TILE * PARTS // THREADS
"""Parts of each side that a thread copies for a stage."""
comptime RESIDENT = 2
"""Thread blocks that are to fit a multiprocessor at once."""
comptime EPSILON = Float32(1e-5)


@always_inline
def part_of[dtype: DType]() -> Int:
    """Numbers in 16 bytes."""
    return 16 // size_of[dtype]()


@always_inline
def depth_of[dtype: DType]() -> Int:
    """Numbers of a row that a stage has."""
    return PARTS * part_of[dtype]()


@always_inline
def stage_of[dtype: DType]() -> Int:
    """Numbers of a stage: the left rows, then the right ones."""
    return 2 * TILE * depth_of[dtype]()


@always_inline
def column_of(n: Int, c: Int) -> Int:
    """The column of a warp's that is column c of its product n: a lane's, 2t and 2t + 1, come to lie side by side."""
    return OWN * (c // 2) + 2 * n + c % 2


@fieldwise_init
struct Places(TrivialRegisterPassable):
    """Where rows lie: in groups, so many numbers from one group to the next, and from one row to the next."""

    var rows: Int  # of a group
    var group: Int
    var row: Int
    var start: Int  # of the first row; below 0 what comes before a group's beginning is zeros

    @always_inline
    def at(self, row: Int) -> Int:
        return self.group_of(row) * self.group + self.place_in_group(row)

    @always_inline
    def zeros(self, row: Int) -> Int:
        """How many of a row's first numbers are before its group's beginning."""
        return max(-self.place_in_group(row), 0)

    @always_inline
    def group_of(self, row: Int) -> Int:
        return Int(UInt32(row) // UInt32(self.rows))  # of 32 bits, which is a quarter of a GPU's work for 64

    @always_inline
    def place_in_group(self, row: Int) -> Int:
        return (row - self.group_of(row) * self.rows) * self.row + self.start


@always_inline
def in_rows(rows: Int, n: Int) -> Places:
    """Rows of n numbers, one after the other."""
    return Places(max(rows, 1), 0, n, 0)


@fieldwise_init
struct Product[dtype: DType](DevicePassable, TrivialRegisterPassable):
    """``left @ right^T + bias``, then GELU, then the sum with a residual, each where wanted."""

    comptime Values = Pointer[Scalar[Self.dtype], MutUntrackedOrigin]
    var left: Self.Values  # (rows, n_in)
    var left_places: Places
    var right: Self.Values  # (n_out, n_in)
    var bias: Self.Values  # (n_out,)
    var residual: Self.Values  # (rows, n_out)
    var residual_places: Places
    var result: Self.Values  # (rows, n_out)
    var result_places: Places
    var block: Int  # columns of the result that lie side by side, a multiple of OWN
    var block_stride: Int  # numbers from one such block to the next
    var rows: Int
    var n_in: Int  # a multiple of part_of
    var n_out: Int  # a multiple of OWN
    var has_bias: Bool
    var gelu: Bool
    var has_residual: Bool

    comptime device_type: AnyType = Self

    def _to_device_type(self, mut encoder: Some[DeviceTypeEncoder], target: MutOpaquePointer[_]):
        encoder.encode(self, target)

    @staticmethod
    def get_type_name() -> String:
        return "Product"

    @always_inline
    def column_tiles(self) -> Int:
        return ceildiv(self.n_out, TILE)

    @always_inline
    def tiles(self) -> Int:
        return ceildiv(self.rows, TILE) * self.column_tiles()

    @always_inline
    def first_row(self, tile: Int) -> Int:
        """Tiles that share rows follow one another: rows are read once, and the matrix stays in the cache."""
        return tile // self.column_tiles() * TILE

    @always_inline
    def first_column(self, tile: Int) -> Int:
        return tile % self.column_tiles() * TILE

    @always_inline
    def put(self, row: Int, column: Int, sums: SIMD[DType.float32, OWN]):
        """Finish the sums of one row and OWN columns."""
        comptime alignment = 16
        var values = sums
        if self.has_bias:
            values += self.bias.unsafe_load[width=OWN, alignment=alignment](column).cast[DType.float32]()
        if self.gelu:
            values = gelu_of[width=OWN](values)
        if self.has_residual:
            var place = self.residual_places.at(row) + column
            values += self.residual.unsafe_load[width=OWN, alignment=alignment](place).cast[DType.float32]()
        var block = Int(UInt32(column) // UInt32(self.block))
        var place = self.result_places.at(row) + block * self.block_stride + column - block * self.block
        self.result.unsafe_store[alignment=alignment](place, values.cast[Self.dtype]())


@fieldwise_init
struct Copied(Movable):
    """Where a thread's parts of both sides begin, and from which of a row's numbers on there is something to copy."""

    var left: Array[Int, COPIES]
    var left_from: Array[Int, COPIES]
    var right: Array[Int, COPIES]
    var right_from: Array[Int, COPIES]


@always_inline
def copied_by[dtype: DType, //](thread: Int, tile: Int, job: Product[dtype]) -> Copied:
    var copied = Copied(
        Array[Int, COPIES](fill=0), Array[Int, COPIES](fill=0), Array[Int, COPIES](fill=0), Array[Int, COPIES](fill=0)
    )
    comptime for i in range(COPIES):
        var own = thread // PARTS + i * (THREADS // PARTS)
        var row = job.first_row(tile) + own
        var column = job.first_column(tile) + own
        copied.left[i] = job.left_places.at(row)
        copied.left_from[i] = job.left_places.zeros(row) if row < job.rows else job.n_in
        copied.right[i] = column * job.n_in
        copied.right_from[i] = 0 if column < job.n_out else job.n_in
    return copied^


@always_inline
def copy_part[
    dtype: DType, space: AddressSpace, //, gpu: Bool
](
    source: Pointer[Scalar[dtype], MutUntrackedOrigin],
    place: Int,
    is_there: Bool,
    target: Pointer[Scalar[dtype], MutUntrackedOrigin, address_space=space],
):
    """16 bytes of a row, or zeros."""
    comptime part = part_of[dtype]()
    comptime if gpu:
        async_copy[16, fill=Optional(Scalar[dtype](0))](
            source.unsafe_offset(place if is_there else 0).unsafe_address_space_cast[AddressSpace.GLOBAL](),
            rebind[Pointer[Scalar[dtype], MutUntrackedOrigin, address_space=AddressSpace.SHARED]](target),
            Int32(16 if is_there else 0),
        )
    else:
        var values = SIMD[dtype, part](0)
        if is_there:
            values = source.unsafe_load[width=part](place)
        target.unsafe_store(0, values)


@always_inline
def copy_stage[
    dtype: DType, space: AddressSpace, //, gpu: Bool
](
    thread: Int,
    k: Int,
    copied: Copied,
    job: Product[dtype],
    stage: Pointer[Scalar[dtype], MutUntrackedOrigin, address_space=space],
):
    """A thread's share of the numbers k to k + depth of both sides' rows."""
    comptime depth = depth_of[dtype]()
    var at = part_of[dtype]() * (thread % PARTS)
    var place = k + at
    comptime for i in range(COPIES):
        var target = stage.unsafe_offset((thread // PARTS + i * (THREADS // PARTS)) * depth + at)
        var has_left = copied.left_from[i] <= place and place < job.n_in
        copy_part[gpu](job.left, copied.left[i] + place, has_left, target)
        var has_right = copied.right_from[i] <= place and place < job.n_in
        copy_part[gpu](job.right, copied.right[i] + place, has_right, target.unsafe_offset(TILE * depth))


@always_inline
def left_part[
    dtype: DType, space: AddressSpace, //
](
    warp: Int, row: Int, part: Int, stage: Pointer[Scalar[dtype], MutUntrackedOrigin, address_space=space]
) -> SIMD[dtype, part_of[dtype]()]:
    """A part of one of a warp's rows."""
    var place = (warp % 2 * QUARTER + row) * depth_of[dtype]() + part_of[dtype]() * part
    return stage.unsafe_load[width=part_of[dtype](), alignment=16](place)


@always_inline
def right_part[
    dtype: DType, space: AddressSpace, //
](
    warp: Int, n: Int, c: Int, part: Int, stage: Pointer[Scalar[dtype], MutUntrackedOrigin, address_space=space]
) -> SIMD[dtype, part_of[dtype]()]:
    """A part of column c of a warp's product n."""
    var row = TILE + warp // 2 * QUARTER + column_of(n, c)
    return stage.unsafe_load[width=part_of[dtype](), alignment=16](row * depth_of[dtype]() + part_of[dtype]() * part)


comptime Sums = Array[SIMD[DType.float32, 4], M_TILES * N_TILES]
"""A lane's sums: number i of a product has row g + 8 * (i / 2) and column 2t + i % 2, g = lane / 4, t = lane % 4."""


@always_inline
def multiply_stage[
    dtype: DType, space: AddressSpace, //
](
    warp: Int,
    lane: Int,
    stage: Pointer[Scalar[dtype], MutUntrackedOrigin, address_space=space],
    mut sums: Sums,
):
    """A lane's part of a warp's products over one stage."""
    var g = lane // 4
    var t = lane % 4
    comptime if dtype.is_half_float():
        var right = Array[SIMD[dtype, 8], N_TILES](fill=SIMD[dtype, 8](0))
        comptime for n in range(N_TILES):
            right[n] = rebind[SIMD[dtype, 8]](right_part(warp, n, g, t, stage))
        comptime for m in range(M_TILES):
            var upper = rebind[SIMD[dtype, 8]](left_part(warp, 16 * m + g, t, stage))
            var lower = rebind[SIMD[dtype, 8]](left_part(warp, 16 * m + g + 8, t, stage))
            comptime for half in range(2):
                var left = left_fragment[half](upper, lower)
                comptime for n in range(N_TILES):
                    var sum = sums[m * N_TILES + n]
                    mma(sum, left, right[n].slice[4, offset=4 * half](), sum)
                    sums[m * N_TILES + n] = sum
    else:
        for part in range(PARTS):
            comptime for n in range(N_TILES):
                comptime for i in range(4):
                    var right = right_part(warp, n, 2 * t + i % 2, part, stage).cast[DType.float32]()
                    comptime for m in range(M_TILES):
                        var left = left_part(warp, 16 * m + g + 8 * (i // 2), part, stage).cast[DType.float32]()
                        sums[m * N_TILES + n][i] += (left * right).reduce_add()


@always_inline
def put_sums[dtype: DType, //](thread: Int, tile: Int, sums: Sums, job: Product[dtype]):
    """Finish a lane's sums: OWN columns of 8 rows."""
    var own_warp = thread // LANES
    var g = thread % LANES // 4
    var column = job.first_column(tile) + own_warp // 2 * QUARTER + OWN * (thread % 4)
    comptime for m in range(M_TILES):
        comptime for half in range(2):
            var row = job.first_row(tile) + own_warp % 2 * QUARTER + 16 * m + 8 * half + g
            if row < job.rows and column < job.n_out:
                var values = SIMD[DType.float32, OWN](0)
                comptime for n in range(N_TILES):
                    values[2 * n] = sums[m * N_TILES + n][2 * half]
                    values[2 * n + 1] = sums[m * N_TILES + n][2 * half + 1]
                job.put(row, column, values)


@__llvm_metadata(
    MAX_THREADS_PER_BLOCK_METADATA=StaticTuple[Int32, 1](Int32(THREADS)), `nvvm.minctasm`=SIMDLength(RESIDENT)
)
@__name("whisper_max_long_product")
def product_kernel[dtype: DType, //](job: Product[dtype]):
    """One tile."""
    comptime stage = stage_of[dtype]()
    comptime depth = depth_of[dtype]()
    var shared = unsafe_stack_allocation[
        STAGES * stage, Scalar[dtype], alignment=16, address_space=AddressSpace.SHARED
    ]()
    var thread = Int(thread_idx.x)
    var tile = Int(block_idx.x)
    var copied = copied_by(thread, tile, job)
    var n_steps = ceildiv(job.n_in, depth)
    comptime for ahead in range(STAGES - 1):
        if ahead < n_steps:
            copy_stage[True](thread, ahead * depth, copied, job, shared.unsafe_offset(ahead * stage))
        async_copy_commit_group()
    var sums = Sums(fill=SIMD[DType.float32, 4](0))
    for step in range(n_steps):
        async_copy_wait_group(Int32(STAGES - 2))
        barrier()  # this step's stage is there for all, and nobody reads the last step's any more
        var ahead = step + STAGES - 1
        if ahead < n_steps:
            copy_stage[True](thread, ahead * depth, copied, job, shared.unsafe_offset(ahead % STAGES * stage))
        async_copy_commit_group()
        multiply_stage(thread // LANES, thread % LANES, shared.unsafe_offset(step % STAGES * stage), sums)
    put_sums(thread, tile, sums, job)


# --- the same on a CPU ----------------------------------------------------------------------------------------------

comptime FloatPointer = Pointer[Float32, MutUntrackedOrigin]


def multiply_warp_on_a_cpu[
    dtype: DType, //
](warp: Int, stage: Pointer[Scalar[dtype], MutUntrackedOrigin], mut sums: List[Sums]):
    """``multiply_stage`` for all lanes of a warp; half floats by the fragments that a tensor core would be given.

    PTX ISA, mma.m16n8k16 of bf16: in a lane's eight left numbers, i has row g + 8 * (i / 2 % 2) and column
    2t + i % 2 + 8 * (i / 4); in its four right ones, i has row 2t + i % 2 + 8 * (i / 2) and column g.
    """
    comptime if not dtype.is_half_float():
        for lane in range(LANES):
            multiply_stage(warp, lane, stage, sums[warp * LANES + lane])
    else:
        for half in range(2):
            for n in range(N_TILES):
                var b = Array[Float32, 128](fill=0)
                for lane in range(LANES):
                    var g, t = lane // 4, lane % 4
                    var part = rebind[SIMD[dtype, 8]](right_part(warp, n, g, t, stage))
                    comptime for i in range(4):
                        b[8 * (2 * t + i % 2 + 8 * (i // 2)) + g] = part[4 * half + i].cast[DType.float32]()
                for m in range(M_TILES):
                    var a = Array[Float32, 256](fill=0)
                    for lane in range(LANES):
                        var g, t = lane // 4, lane % 4
                        var upper = rebind[SIMD[dtype, 8]](left_part(warp, 16 * m + g, t, stage))
                        var lower = rebind[SIMD[dtype, 8]](left_part(warp, 16 * m + g + 8, t, stage))
                        var fragment = left_fragment[0](upper, lower)
                        if half == 1:
                            fragment = left_fragment[1](upper, lower)
                        comptime for i in range(8):
                            var row, column = g + 8 * (i // 2 % 2), 2 * t + i % 2 + 8 * (i // 4)
                            a[16 * row + column] = fragment[i].cast[DType.float32]()
                    for lane in range(LANES):
                        comptime for i in range(4):
                            var row, column = lane // 4 + 8 * (i // 2), 2 * (lane % 4) + i % 2
                            var sum = sums[warp * LANES + lane][m * N_TILES + n][i]
                            for k in range(16):
                                sum += a[16 * row + k] * b[8 * k + column]
                            sums[warp * LANES + lane][m * N_TILES + n][i] = sum


def product_on_a_cpu[dtype: DType, //](job: Product[dtype]):
    """All tiles, thread by thread."""
    var room = List[Scalar[dtype]](length=stage_of[dtype](), fill=0)
    var stage = rebind[Pointer[Scalar[dtype], MutUntrackedOrigin]](room.unsafe_ptr())
    for tile in range(job.tiles()):
        var sums = List[Sums](length=THREADS, fill=Sums(fill=SIMD[DType.float32, 4](0)))
        for k in range(0, job.n_in, depth_of[dtype]()):
            for thread in range(THREADS):
                copy_stage[False](thread, k, copied_by(thread, tile, job), job, stage)
            for own_warp in range(WARPS):
                multiply_warp_on_a_cpu(own_warp, stage, sums)
        for thread in range(THREADS):
            put_sums(thread, tile, sums[thread], job)
    _ = room^


# --- rows -----------------------------------------------------------------------------------------------------------


@always_inline
def over_lanes[lanes: Int](x: Float32) -> Float32:
    """The sum over neighbouring lanes."""
    comptime if lanes == 1:
        return x
    else:
        return warp.lane_group_sum[num_lanes=lanes](x)


@fieldwise_init
struct Normed[dtype: DType](DevicePassable, TrivialRegisterPassable):
    """Rows to normalise."""

    comptime Values = Pointer[Scalar[Self.dtype], MutUntrackedOrigin]
    var x: Self.Values  # (rows, n)
    var weight: Self.Values  # (n,)
    var bias: Self.Values  # (n,)
    var y: Self.Values  # (rows, n)
    var rows: Int
    var n: Int  # a multiple of 8

    comptime device_type: AnyType = Self

    def _to_device_type(self, mut encoder: Some[DeviceTypeEncoder], target: MutOpaquePointer[_]):
        encoder.encode(self, target)

    @staticmethod
    def get_type_name() -> String:
        return "Normed"

    @always_inline
    def part(self, values: Self.Values, place: Int) -> SIMD[DType.float32, 8]:
        return values.unsafe_load[width=8, alignment=16](place).cast[DType.float32]()

    @always_inline
    def put[lanes: Int](self, row: Int, lane: Int):
        """Normalise one row, by as many lanes beside one another."""
        var start = row * self.n
        var total = SIMD[DType.float32, 8](0)
        for k in range(8 * lane, self.n, 8 * lanes):
            total += self.part(self.x, start + k)
        var mean = over_lanes[lanes](total.reduce_add()) / Float32(self.n)
        var squares = SIMD[DType.float32, 8](0)
        for k in range(8 * lane, self.n, 8 * lanes):
            var far = self.part(self.x, start + k) - mean
            squares += far * far
        var scale = 1 / sqrt(over_lanes[lanes](squares.reduce_add()) / Float32(self.n) + EPSILON)
        for k in range(8 * lane, self.n, 8 * lanes):
            var value = (self.part(self.x, start + k) - mean) * scale
            value = value * self.part(self.weight, k) + self.part(self.bias, k)
            self.y.unsafe_store[alignment=16](start + k, value.cast[Self.dtype]())


@__name("whisper_max_norm_rows")
def norm_kernel[dtype: DType, //](job: Normed[dtype]):
    """A row a warp."""
    var row = Int(block_idx.x) * WARPS + Int(thread_idx.x) // LANES
    if row < job.rows:
        job.put[LANES](row, Int(thread_idx.x) % LANES)


@always_inline
def unfold_number[
    dtype: DType, //
](
    row: Int,
    place: Int,
    mel: Pointer[Float32, MutUntrackedOrigin],
    unfolded: Pointer[Scalar[dtype], MutUntrackedOrigin],
    n_mels: Int,
    n_frames: Int,
):
    """A number of what a convolution of three taps multiplies: (B, n_mels, n_frames) to (B * n_frames, 3 * n_mels)."""
    var window = row // n_frames
    var frame = row % n_frames + place // n_mels - 1
    var value = Float32(0)
    if frame >= 0 and frame < n_frames:
        value = mel.unsafe_load((window * n_mels + place % n_mels) * n_frames + frame)
    unfolded.unsafe_store(row * 3 * n_mels + place, value.cast[dtype]())


@__name("whisper_max_unfold")
def unfold_kernel[
    dtype: DType, //
](
    mel: Pointer[Float32, MutUntrackedOrigin],
    unfolded: Pointer[Scalar[dtype], MutUntrackedOrigin],
    n_mels: Int64,
    n_frames: Int64,
):
    """A row a thread block."""
    for place in range(Int(thread_idx.x), 3 * Int(n_mels), THREADS):
        unfold_number(Int(block_idx.x), place, mel, unfolded, Int(n_mels), Int(n_frames))


# --- operations -----------------------------------------------------------------------------------------------------


def run_product[dtype: DType, //, target: StaticString](job: Product[dtype], ctx: DeviceContext) raises:
    if job.rows == 0:
        return
    comptime if is_gpu[target]():
        ctx.enqueue_function[product_kernel[dtype=dtype]](job, grid_dim=job.tiles(), block_dim=THREADS)
    else:
        product_on_a_cpu(job)


@extensibility.register("whisper_max.norm_rows")
struct NormRows:
    """Each row with mean 0 and variance 1, times a weight, and a bias added; in float32."""

    @staticmethod
    def execute[
        target: StaticString
    ](
        y: OutputTensor[rank=2, ...],  # (rows, n)
        x: InputTensor[dtype=y.dtype, rank=2, ...],  # (rows, n)
        weight: InputTensor[dtype=y.dtype, rank=1, ...],  # (n,)
        bias: InputTensor[dtype=y.dtype, rank=1, ...],  # (n,)
        ctx: DeviceContext,
    ) raises:
        comptime Values = Pointer[Scalar[y.dtype], MutUntrackedOrigin]
        var rows = x.dim_size(0)
        var job = Normed[y.dtype](
            rebind[Values](x.unsafe_ptr()), rebind[Values](weight.unsafe_ptr()), rebind[Values](bias.unsafe_ptr()),
            rebind[Values](y.unsafe_ptr()), rows, x.dim_size(1),
        )
        if rows == 0:
            return
        comptime if is_gpu[target]():
            ctx.enqueue_function[norm_kernel[dtype=y.dtype]](job, grid_dim=ceildiv(rows, WARPS), block_dim=THREADS)
        else:
            for row in range(rows):
                job.put[1](row, 0)


@extensibility.register("whisper_max.long_linear")
struct LongLinear:
    """``x @ weight^T + bias``, then GELU or the sum with a residual; without, the residual is x and not read."""

    @staticmethod
    def execute[
        target: StaticString, gelu: Bool, has_residual: Bool
    ](
        y: OutputTensor[rank=2, ...],  # (rows, n_out)
        x: InputTensor[dtype=y.dtype, rank=2, ...],  # (rows, n_in)
        residual: InputTensor[dtype=y.dtype, rank=2, ...],  # (rows, n_out)
        weight: InputTensor[dtype=y.dtype, rank=2, ...],  # (n_out, n_in)
        bias: InputTensor[dtype=y.dtype, rank=1, ...],  # (n_out,)
        ctx: DeviceContext,
    ) raises:
        comptime Values = Pointer[Scalar[y.dtype], MutUntrackedOrigin]
        var rows, n_in, n_out = x.dim_size(0), x.dim_size(1), y.dim_size(1)
        run_product[target](
            Product[y.dtype](
                rebind[Values](x.unsafe_ptr()), in_rows(rows, n_in), rebind[Values](weight.unsafe_ptr()),
                rebind[Values](bias.unsafe_ptr()), rebind[Values](residual.unsafe_ptr()), in_rows(rows, n_out),
                rebind[Values](y.unsafe_ptr()), in_rows(rows, n_out), n_out, 0, rows, n_in, n_out, True, gelu,
                has_residual,
            ),
            ctx,
        )


@extensibility.register("whisper_max.long_heads")
struct LongHeads:
    """A layer's keys and values of the audio, by heads; keys have no bias."""

    @staticmethod
    def execute[
        target: StaticString
    ](
        keys: MutableInputTensor[rank=4, ...],  # (B, H, T, hd)
        values: MutableInputTensor[dtype=keys.dtype, rank=4, ...],  # (B, H, T, hd)
        x: InputTensor[dtype=keys.dtype, rank=2, ...],  # (B * T, n_in)
        key_weight: InputTensor[dtype=keys.dtype, rank=2, ...],  # (H * hd, n_in)
        value_weight: InputTensor[dtype=keys.dtype, rank=2, ...],  # (H * hd, n_in)
        value_bias: InputTensor[dtype=keys.dtype, rank=1, ...],  # (H * hd,)
        ctx: DeviceContext,
    ) raises:
        comptime Values = Pointer[Scalar[keys.dtype], MutUntrackedOrigin]
        var n_head, length, head_dim = keys.dim_size(1), keys.dim_size(2), keys.dim_size(3)
        var rows, n_in = x.dim_size(0), x.dim_size(1)
        var left = rebind[Values](x.unsafe_ptr())
        var bias = rebind[Values](value_bias.unsafe_ptr())
        var by_heads = Places(length, n_head * length * head_dim, head_dim, 0)
        comptime for side in range(2):
            var weight = rebind[Values](key_weight.unsafe_ptr())
            var result = rebind[Values](keys.unsafe_ptr())
            comptime if side == 1:
                weight = rebind[Values](value_weight.unsafe_ptr())
                result = rebind[Values](values.unsafe_ptr())
            run_product[target](
                Product[keys.dtype](
                    left, in_rows(rows, n_in), weight, bias, left, in_rows(rows, n_in), result, by_heads, head_dim,
                    length * head_dim, rows, n_in, n_head * head_dim, side == 1, False, False,
                ),
                ctx,
            )


@extensibility.register("whisper_max.long_stem")
struct LongStem:
    """Both convolutions with their GELU, and positions added where wanted."""

    @staticmethod
    def execute[
        target: StaticString, adds_positions: Bool
    ](
        y: OutputTensor[rank=3, ...],  # (B, n_frames / 2, n_state)
        unfolded: OutputTensor[dtype=y.dtype, rank=2, ...],  # (B * n_frames, 3 * n_mels), scratch
        first: OutputTensor[dtype=y.dtype, rank=2, ...],  # (B * n_frames, n_state), scratch
        mel: InputTensor[dtype=DType.float32, rank=3, ...],  # (B, n_mels, n_frames)
        positions: InputTensor[dtype=y.dtype, rank=2, ...],  # (n_frames / 2, n_state)
        first_weight: InputTensor[dtype=y.dtype, rank=2, ...],  # (n_state, 3 * n_mels), taps outermost
        first_bias: InputTensor[dtype=y.dtype, rank=1, ...],  # (n_state,)
        second_weight: InputTensor[dtype=y.dtype, rank=2, ...],  # (n_state, 3 * n_state)
        second_bias: InputTensor[dtype=y.dtype, rank=1, ...],  # (n_state,)
        ctx: DeviceContext,
    ) raises:
        comptime Values = Pointer[Scalar[y.dtype], MutUntrackedOrigin]
        var windows, n_mels, n_frames = mel.dim_size(0), mel.dim_size(1), mel.dim_size(2)
        var length, n = y.dim_size(1), y.dim_size(2)
        var mel_ptr = rebind[FloatPointer](mel.unsafe_ptr())
        var unfolded_ptr = rebind[Values](unfolded.unsafe_ptr())
        var first_ptr = rebind[Values](first.unsafe_ptr())
        if windows == 0:
            return
        comptime if is_gpu[target]():
            ctx.enqueue_function[unfold_kernel[dtype=y.dtype]](
                mel_ptr, unfolded_ptr, Int64(n_mels), Int64(n_frames), grid_dim=windows * n_frames, block_dim=THREADS
            )
        else:
            for row in range(windows * n_frames):
                for place in range(3 * n_mels):
                    unfold_number(row, place, mel_ptr, unfolded_ptr, n_mels, n_frames)
        run_product[target](
            Product[y.dtype](
                unfolded_ptr, in_rows(windows * n_frames, 3 * n_mels), rebind[Values](first_weight.unsafe_ptr()),
                rebind[Values](first_bias.unsafe_ptr()), first_ptr, in_rows(windows * n_frames, n), first_ptr,
                in_rows(windows * n_frames, n), n, 0, windows * n_frames, 3 * n_mels, n, True, True, False,
            ),
            ctx,
        )
        # Three taps two frames apart are 3 * n numbers side by side, from one frame before on.
        run_product[target](
            Product[y.dtype](
                first_ptr, Places(length, n_frames * n, 2 * n, -n), rebind[Values](second_weight.unsafe_ptr()),
                rebind[Values](second_bias.unsafe_ptr()), rebind[Values](positions.unsafe_ptr()),
                Places(length, 0, n, 0), rebind[Values](y.unsafe_ptr()), in_rows(windows * length, n), n, 0,
                windows * length, 3 * n, n, True, True, adds_positions,
            ),
            ctx,
        )
