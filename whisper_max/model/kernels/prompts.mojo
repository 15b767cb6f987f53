"""What a GPU does besides products: attention of each position, slots, rows of tables, and the timing of words.

A thread block has one row of what is made. Sizes are known when it runs. On a CPU the same code runs for tests, with
one thread for a thread block.
"""

import extensibility
from extensibility import InputTensor, OutputTensor
from extensibility import _MutableInputTensor as MutableInputTensor
from max.gpu import block_idx, thread_idx
from max.gpu.host import DeviceContext
from max.gpu.host.info import is_gpu
from max.gpu.primitives import warp
from max.gpu.sync import barrier
from std.builtin.device_passable import DevicePassable, DeviceTypeEncoder
from std.math import ceildiv, exp, max, min, sqrt
from std.memory import unsafe_stack_allocation

from .long_attention import Attention, HEAD_DIM, run_tiles
from .tiles import FloatPointer
from .token_block import ALIGNED, GROUP, GROUPS, IntPointer, LANES, PART, THREADS, WARPS, attend_share_of, combined

comptime MANY = 32
"""Positions from which on attention goes through tensor cores; fewer leave most of a large tile idle."""


@always_inline
def over_block[
    space: AddressSpace, //, gpu: Bool, largest: Bool, warps: Int = WARPS
](x: Float32, shared: Pointer[Float32, MutUntrackedOrigin, address_space=space]) -> Float32:
    """The largest, or the sum, over a thread block, known to all of its threads. shared: (warps,)."""
    comptime if not gpu:
        return x
    else:
        var own = warp.lane_group_max[num_lanes=LANES](x) if largest else warp.lane_group_sum[num_lanes=LANES](x)
        barrier()  # nobody reads what was there before
        if Int(thread_idx.x) % LANES == 0:
            shared.unsafe_store(Int(thread_idx.x) // LANES, own)
        barrier()
        var result = shared.unsafe_load(0)
        comptime for i in range(1, warps):
            var other = shared.unsafe_load(i)
            result = max(result, other) if largest else result + other
        return result


@always_inline
def attend_unit[
    dtype: DType, space: AddressSpace, //, head_dim: Int, gpu: Bool
](unit: Int, job: Attention[dtype], shared: Pointer[Float32, MutUntrackedOrigin, address_space=space]):
    """One head of one position. shared: (GROUPS, hd + 2)."""
    var row = unit // job.n_head
    var head = unit % job.n_head
    var n_keys = row % job.n_queries + 1 if job.causal else job.n_keys
    var start = row // job.n_queries * job.window_stride + head * job.head_stride
    var q = job.q.unsafe_offset(row * job.q_stride + head * head_dim)
    var keys = job.keys.unsafe_offset(start)
    var values = job.values.unsafe_offset(start)
    var per_group = ceildiv(n_keys, GROUPS)
    comptime if gpu:
        var thread = Int(thread_idx.x)
        attend_share_of[head_dim, GROUP](
            thread // GROUP, thread % GROUP, 0, n_keys, per_group, job.key_stride, q, keys, values, shared
        )
        barrier()
        if thread < head_dim:
            var found = combined[GROUPS, head_dim](thread, GROUPS, shared)
            job.attended.unsafe_store(unit * head_dim + thread, (found[0] / found[2]).cast[dtype]())
    else:
        for group in range(GROUPS):
            attend_share_of[head_dim, 1](group, 0, 0, n_keys, per_group, job.key_stride, q, keys, values, shared)
        for place in range(head_dim):
            var found = combined[GROUPS, head_dim](place, GROUPS, shared)
            job.attended.unsafe_store(unit * head_dim + place, (found[0] / found[2]).cast[dtype]())


@__name("whisper_max_attend_rows")
def attend_kernel[dtype: DType, //, head_dim: Int](job: Attention[dtype]):
    """One unit a thread block."""
    var shared = unsafe_stack_allocation[GROUPS * (head_dim + 2), Float32, address_space=AddressSpace.SHARED]()
    attend_unit[head_dim, True](Int(block_idx.x), job, shared)


def run_attention[
    dtype: DType, //, head_dim: Int, target: StaticString
](job: Attention[dtype], ctx: DeviceContext) raises:
    if job.units() == 0:
        return
    comptime if dtype.is_half_float() and head_dim == HEAD_DIM:
        if job.n_queries >= MANY:
            run_tiles[target](job, ctx)
            return
    comptime if is_gpu[target]():
        ctx.enqueue_function[attend_kernel[dtype=dtype, head_dim=head_dim]](
            job, grid_dim=job.units(), block_dim=THREADS
        )
    else:
        var room = List[Float32](length=GROUPS * (head_dim + 2), fill=0)
        for unit in range(job.units()):
            attend_unit[head_dim, False](unit, job, rebind[FloatPointer](room.unsafe_ptr()))
        _ = room^


@extensibility.register("whisper_max.attend_self")
struct AttendSelf:
    """Each position over itself and what is before, or where not `causal` over all of its window."""

    @staticmethod
    def execute[
        target: StaticString, head_dim: Int, causal: Bool
    ](
        attended: OutputTensor[rank=3, ...],  # (windows, T, H * hd)
        qkv: InputTensor[dtype=attended.dtype, rank=3, ...],  # (windows, T, 3 * H * hd)
        ctx: DeviceContext,
    ) raises:
        comptime Values = Pointer[Scalar[attended.dtype], MutUntrackedOrigin]
        var q = rebind[Values](qkv.unsafe_ptr())
        var length, n = attended.dim_size(1), attended.dim_size(2)
        run_attention[head_dim, target](
            Attention[attended.dtype](
                q, q.unsafe_offset(n), q.unsafe_offset(2 * n), rebind[Values](attended.unsafe_ptr()), 3 * n, 3 * n,
                head_dim, length * 3 * n, attended.dim_size(0), length, length, n // head_dim, causal,
            ),
            ctx,
        )


@extensibility.register("whisper_max.attend_audio")
struct AttendAudio:
    """Each position of a text over its window's audio."""

    @staticmethod
    def execute[
        target: StaticString, head_dim: Int
    ](
        attended: OutputTensor[rank=3, ...],  # (windows, T, H * hd)
        q: InputTensor[dtype=attended.dtype, rank=3, ...],  # (windows, T, H * hd)
        keys: InputTensor[dtype=attended.dtype, rank=4, ...],  # (windows, H, S, hd)
        values: InputTensor[dtype=attended.dtype, rank=4, ...],
        ctx: DeviceContext,
    ) raises:
        comptime Values = Pointer[Scalar[attended.dtype], MutUntrackedOrigin]
        var n, n_head, n_keys = attended.dim_size(2), keys.dim_size(1), keys.dim_size(2)
        run_attention[head_dim, target](
            Attention[attended.dtype](
                rebind[Values](q.unsafe_ptr()), rebind[Values](keys.unsafe_ptr()), rebind[Values](values.unsafe_ptr()),
                rebind[Values](attended.unsafe_ptr()), n, head_dim, n_keys * head_dim, n_head * n_keys * head_dim,
                attended.dim_size(0), attended.dim_size(1), n_keys, n_head, False,
            ),
            ctx,
        )


# --- slots ----------------------------------------------------------------------------------------------------------


@fieldwise_init
struct Slots[dtype: DType](DevicePassable, TrivialRegisterPassable):
    """Keys and values of prompts to be written into the first slots of a cache, or slots of one cache into another."""

    comptime Values = Pointer[Scalar[Self.dtype], MutUntrackedOrigin]
    var target: Self.Values  # (rows, H, capacity, hd)
    var source: Self.Values  # (source rows, H, n_slots, hd), by strides
    var row_of: IntPointer  # (rows,), the row of the source for each
    var n_rows: Int
    var n_head: Int
    var capacity: Int
    var head_dim: Int
    var n_slots: Int
    var row_stride: Int
    var head_stride: Int
    var slot_stride: Int

    comptime device_type: AnyType = Self

    def _to_device_type(self, mut encoder: Some[DeviceTypeEncoder], target: MutOpaquePointer[_]):
        encoder.encode(self, target)

    @staticmethod
    def get_type_name() -> String:
        return "Slots"

    @always_inline
    def copy(self, pair: Int, first: Int, step: Int):
        """All slots of one row's head, every step-th part of eight numbers from the first on."""
        var row = Int(self.row_of.unsafe_load(pair // self.n_head))
        var read = self.source.unsafe_offset(row * self.row_stride + pair % self.n_head * self.head_stride)
        var written = self.target.unsafe_offset(pair * self.capacity * self.head_dim)
        for place in range(first * PART, self.n_slots * self.head_dim, step * PART):
            var slot = place // self.head_dim
            var from_ = slot * self.slot_stride + place - slot * self.head_dim
            written.unsafe_store[alignment=ALIGNED](place, read.unsafe_load[width=PART, alignment=ALIGNED](from_))


@__name("whisper_max_copy_slots")
def slots_kernel[dtype: DType, //](job: Slots[dtype]):
    """One row's head a thread block."""
    job.copy(Int(block_idx.x), Int(thread_idx.x), THREADS)


def run_slots[dtype: DType, //, target: StaticString](job: Slots[dtype], ctx: DeviceContext) raises:
    if job.n_rows * job.n_slots == 0:
        return
    comptime if is_gpu[target]():
        ctx.enqueue_function[slots_kernel[dtype=dtype]](job, grid_dim=job.n_rows * job.n_head, block_dim=THREADS)
    else:
        for pair in range(job.n_rows * job.n_head):
            job.copy(pair, 0, 1)


@extensibility.register("whisper_max.prompt_slots")
struct PromptSlots:
    """Keys and values of prompts, written into the first slots of the rows of a cache."""

    @staticmethod
    def execute[
        target: StaticString
    ](
        keys: MutableInputTensor[rank=4, ...],  # (rows, H, capacity, hd)
        values: MutableInputTensor[dtype=keys.dtype, rank=4, ...],
        qkv: InputTensor[dtype=keys.dtype, rank=3, ...],  # (windows, T, 3 * H * hd)
        window_of_row: InputTensor[dtype=DType.int32, rank=1, ...],  # (rows,)
        ctx: DeviceContext,
    ) raises:
        comptime Values = Pointer[Scalar[keys.dtype], MutUntrackedOrigin]
        var rows, n_head, capacity, head_dim = keys.dim_size(0), keys.dim_size(1), keys.dim_size(2), keys.dim_size(3)
        var length, n = qkv.dim_size(1), n_head * head_dim
        var source = rebind[Values](qkv.unsafe_ptr())
        var row_of = rebind[IntPointer](window_of_row.unsafe_ptr())
        comptime for side in range(2):
            var written = rebind[Values](keys.unsafe_ptr())
            comptime if side == 1:
                written = rebind[Values](values.unsafe_ptr())
            run_slots[target](
                Slots[keys.dtype](
                    written, source.unsafe_offset((side + 1) * n), row_of, rows, n_head, capacity, head_dim, length,
                    length * 3 * n, head_dim, 3 * n,
                ),
                ctx,
            )


@extensibility.register("whisper_max.move_slots")
struct MoveSlots:
    """The first slots of rows of one cache, copied into another."""

    @staticmethod
    def execute[
        target: StaticString
    ](
        written: MutableInputTensor[rank=4, ...],  # (rows, H, capacity, hd)
        source: InputTensor[dtype=written.dtype, rank=4, ...],  # (source rows, H, capacity, hd)
        row_of: InputTensor[dtype=DType.int32, rank=1, ...],  # (rows,), the row of the source for each
        n_slots: Int64,
        ctx: DeviceContext,
    ) raises:
        comptime Values = Pointer[Scalar[written.dtype], MutUntrackedOrigin]
        var n_head, capacity, head_dim = written.dim_size(1), written.dim_size(2), written.dim_size(3)
        var of_head = source.dim_size(2) * head_dim
        run_slots[target](
            Slots[written.dtype](
                rebind[Values](written.unsafe_ptr()), rebind[Values](source.unsafe_ptr()),
                rebind[IntPointer](row_of.unsafe_ptr()), written.dim_size(0), n_head, capacity, head_dim, Int(n_slots),
                n_head * of_head, of_head, head_dim,
            ),
            ctx,
        )


# --- rows of tables ---------------------------------------------------------------------------------------------------


@fieldwise_init
struct Picked[dtype: DType, result_dtype: DType](DevicePassable, TrivialRegisterPassable):
    """Rows of a table, and where wanted the sums with rows of another one."""

    comptime Values = Pointer[Scalar[Self.dtype], MutUntrackedOrigin]
    var picked: Pointer[Scalar[Self.result_dtype], MutUntrackedOrigin]  # (n, columns)
    var table: Self.Values  # (any, columns)
    var rows: IntPointer  # (n,)
    var added: Self.Values  # (any, columns)
    var places: IntPointer  # (n_places,), rows of what is added; from the first again where there are more to pick
    var n_places: Int  # 0: nothing is added
    var n: Int
    var columns: Int  # a multiple of PART

    comptime device_type: AnyType = Self

    def _to_device_type(self, mut encoder: Some[DeviceTypeEncoder], target: MutOpaquePointer[_]):
        encoder.encode(self, target)

    @staticmethod
    def get_type_name() -> String:
        return "Picked"

    @always_inline
    def part(self, values: Self.Values, row: Int32, column: Int) -> SIMD[DType.float32, PART]:
        var place = Int(row) * self.columns + column
        return values.unsafe_load[width=PART, alignment=ALIGNED](place).cast[DType.float32]()

    @always_inline
    def pick(self, row: Int, first: Int, step: Int):
        """One row, every step-th part of eight numbers from the first on."""
        var wanted = self.rows.unsafe_load(row)
        var place = self.places.unsafe_load(row % self.n_places) if self.n_places > 0 else Int32(0)
        for column in range(first * PART, self.columns, step * PART):
            var numbers = self.part(self.table, wanted, column)
            if self.n_places > 0:
                numbers += self.part(self.added, place, column)
            var target = self.picked.unsafe_offset(row * self.columns + column)
            target.unsafe_store[alignment=ALIGNED](0, numbers.cast[Self.result_dtype]())


@__name("whisper_max_pick_rows")
def pick_kernel[dtype: DType, result_dtype: DType, //](job: Picked[dtype, result_dtype]):
    """A row a thread block."""
    job.pick(Int(block_idx.x), Int(thread_idx.x), THREADS)


@extensibility.register("whisper_max.picked_rows")
struct PickedRows:
    """Rows of a table; with `adds`, the sums with the rows of another one."""

    @staticmethod
    def execute[
        target: StaticString, adds: Bool
    ](
        picked: OutputTensor[rank=2, ...],  # (n, columns)
        table: InputTensor[rank=2, ...],  # (any, columns)
        rows: InputTensor[dtype=DType.int32, rank=1, ...],  # (n,)
        added: InputTensor[dtype=table.dtype, rank=2, ...],  # (any, columns), not read where not `adds`, as places
        places: InputTensor[dtype=DType.int32, rank=1, ...],  # (n_places,), of which n is a multiple
        ctx: DeviceContext,
    ) raises:
        comptime Values = Pointer[Scalar[table.dtype], MutUntrackedOrigin]
        var n = rows.dim_size(0)
        var job = Picked[table.dtype, picked.dtype](
            rebind[Pointer[Scalar[picked.dtype], MutUntrackedOrigin]](picked.unsafe_ptr()),
            rebind[Values](table.unsafe_ptr()), rebind[IntPointer](rows.unsafe_ptr()),
            rebind[Values](added.unsafe_ptr()), rebind[IntPointer](places.unsafe_ptr()),
            places.dim_size(0) if adds else 0, n, table.dim_size(1),
        )
        if n == 0:
            return
        comptime if is_gpu[target]():
            ctx.enqueue_function[pick_kernel[dtype=table.dtype, result_dtype=picked.dtype]](
                job, grid_dim=n, block_dim=THREADS
            )
        else:
            for row in range(n):
                job.pick(row, 0, 1)


# --- the timing of words --------------------------------------------------------------------------------------------


@fieldwise_init
struct Heard[dtype: DType](DevicePassable, TrivialRegisterPassable):
    """What each position of a text attends to, in the heads asked for that are this layer's."""

    comptime Values = Pointer[Scalar[Self.dtype], MutUntrackedOrigin]
    var weights: FloatPointer  # (n_heads, T, S)
    var q: Self.Values  # (T, H * hd)
    var keys: Self.Values  # (H, S, hd)
    var heads: IntPointer  # (n_heads,), as layer * H + head
    var layer: IntPointer  # (1,)
    var n_heads: Int
    var n_head: Int
    var n_queries: Int
    var n_keys: Int
    var head_dim: Int  # a multiple of PART

    comptime device_type: AnyType = Self

    def _to_device_type(self, mut encoder: Some[DeviceTypeEncoder], target: MutOpaquePointer[_]):
        encoder.encode(self, target)

    @staticmethod
    def get_type_name() -> String:
        return "Heard"

    @always_inline
    def score(self, head: Int, query: Int, key: Int) -> Float32:
        var q = self.q.unsafe_offset((query * self.n_head + head) * self.head_dim)
        var k = self.keys.unsafe_offset((head * self.n_keys + key) * self.head_dim)
        var sums = SIMD[DType.float32, PART](0)
        for at in range(0, self.head_dim, PART):
            var left = q.unsafe_load[width=PART, alignment=ALIGNED](at).cast[DType.float32]()
            sums += left * k.unsafe_load[width=PART, alignment=ALIGNED](at).cast[DType.float32]()
        return sums.reduce_add() / sqrt(Float32(self.head_dim))


@always_inline
def hear_row[
    dtype: DType, space: AddressSpace, //, gpu: Bool
](
    row: Int,
    thread: Int,
    threads: Int,
    job: Heard[dtype],
    shared: Pointer[Float32, MutUntrackedOrigin, address_space=space],
):
    """One row of weights; of a head that is another layer's, nothing."""
    var head = Int(job.heads.unsafe_load(row // job.n_queries)) - Int(job.layer.unsafe_load(0)) * job.n_head
    if head < 0 or head >= job.n_head:
        return
    var weights = job.weights.unsafe_offset(row * job.n_keys)
    var highest = Float32.MIN_FINITE
    for key in range(thread, job.n_keys, threads):
        var score = job.score(head, row % job.n_queries, key)
        weights.unsafe_store(key, score)
        highest = max(highest, score)
    highest = over_block[gpu, True](highest, shared)
    var total = Float32(0)
    for key in range(thread, job.n_keys, threads):
        var weight = exp(weights.unsafe_load(key) - highest)
        weights.unsafe_store(key, weight)
        total += weight
    total = over_block[gpu, False](total, shared)
    for key in range(thread, job.n_keys, threads):
        weights.unsafe_store(key, weights.unsafe_load(key) / total)


@__name("whisper_max_hear_rows")
def hear_kernel[dtype: DType, //](job: Heard[dtype]):
    """A row a thread block."""
    var shared = unsafe_stack_allocation[WARPS, Float32, address_space=AddressSpace.SHARED]()
    hear_row[True](Int(block_idx.x), Int(thread_idx.x), THREADS, job, shared)


@extensibility.register("whisper_max.heard_weights")
struct HeardWeights:
    """`softmax(q . k * hd ** -0.5)` of the heads asked for, where they are this layer's; others stay as they are."""

    @staticmethod
    def execute[
        target: StaticString, head_dim: Int
    ](
        weights: MutableInputTensor[dtype=DType.float32, rank=3, ...],  # (n_heads, T, S)
        q: InputTensor[rank=3, ...],  # (1, T, H * hd)
        keys: InputTensor[dtype=q.dtype, rank=4, ...],  # (1, H, S, hd)
        heads: InputTensor[dtype=DType.int32, rank=1, ...],  # (n_heads,)
        layer: InputTensor[dtype=DType.int32, rank=1, ...],  # (1,)
        ctx: DeviceContext,
    ) raises:
        comptime Values = Pointer[Scalar[q.dtype], MutUntrackedOrigin]
        var n_head, n_keys, length, n_heads = keys.dim_size(1), keys.dim_size(2), q.dim_size(1), heads.dim_size(0)
        var job = Heard[q.dtype](
            rebind[FloatPointer](weights.unsafe_ptr()), rebind[Values](q.unsafe_ptr()),
            rebind[Values](keys.unsafe_ptr()), rebind[IntPointer](heads.unsafe_ptr()),
            rebind[IntPointer](layer.unsafe_ptr()), n_heads, n_head, length, n_keys, head_dim,
        )
        var rows = n_heads * length
        if rows == 0:
            return
        comptime if is_gpu[target]():
            ctx.enqueue_function[hear_kernel[dtype=q.dtype]](job, grid_dim=rows, block_dim=THREADS)
        else:
            for row in range(rows):
                hear_row[False](row, 0, 1, job, rebind[FloatPointer](weights.unsafe_ptr()))


@always_inline
def rate_row[
    space: AddressSpace, //, gpu: Bool
](
    row: Int,
    thread: Int,
    threads: Int,
    probs: FloatPointer,
    logits: FloatPointer,
    targets: IntPointer,
    n_tokens: IntPointer,
    n_vocab: Int,
    shared: Pointer[Float32, MutUntrackedOrigin, address_space=space],
):
    """How likely a row's target is among the first tokens of the vocabulary; 0 for a target that is none of them."""
    var competing = min(Int(n_tokens.unsafe_load(0)), n_vocab)
    var scores = logits.unsafe_offset(row * n_vocab)
    var highest = Float32.MIN_FINITE
    for token in range(thread, competing, threads):
        highest = max(highest, scores.unsafe_load(token))
    highest = over_block[gpu, True](highest, shared)
    var total = Float32(0)
    for token in range(thread, competing, threads):
        total += exp(scores.unsafe_load(token) - highest)
    total = over_block[gpu, False](total, shared)
    if thread == 0:
        var wanted = Int(targets.unsafe_load(row))
        var prob = Float32(0)
        if wanted >= 0 and wanted < competing:
            prob = exp(scores.unsafe_load(wanted) - highest) / total
        probs.unsafe_store(row, prob)


@__name("whisper_max_rate_rows")
def rate_kernel(
    probs: FloatPointer, logits: FloatPointer, targets: IntPointer, n_tokens: IntPointer, n_vocab: Int64
):
    """A row a thread block."""
    var shared = unsafe_stack_allocation[WARPS, Float32, address_space=AddressSpace.SHARED]()
    rate_row[True](
        Int(block_idx.x), Int(thread_idx.x), THREADS, probs, logits, targets, n_tokens, Int(n_vocab), shared
    )


@extensibility.register("whisper_max.rated_targets")
struct RatedTargets:
    """See `rate_row`."""

    @staticmethod
    def execute[
        target: StaticString
    ](
        probs: OutputTensor[dtype=DType.float32, rank=1, ...],  # (T,)
        logits: InputTensor[dtype=DType.float32, rank=2, ...],  # (T, n_vocab)
        targets: InputTensor[dtype=DType.int32, rank=1, ...],  # (T,)
        n_tokens: InputTensor[dtype=DType.int32, rank=1, ...],  # (1,), how many tokens compete
        ctx: DeviceContext,
    ) raises:
        var probs_ptr = rebind[FloatPointer](probs.unsafe_ptr())
        var logits_ptr = rebind[FloatPointer](logits.unsafe_ptr())
        var targets_ptr = rebind[IntPointer](targets.unsafe_ptr())
        var n_tokens_ptr = rebind[IntPointer](n_tokens.unsafe_ptr())
        var rows, n_vocab = logits.dim_size(0), logits.dim_size(1)
        if rows == 0:
            return
        comptime if is_gpu[target]():
            ctx.enqueue_function[rate_kernel](
                probs_ptr, logits_ptr, targets_ptr, n_tokens_ptr, Int64(n_vocab), grid_dim=rows, block_dim=THREADS
            )
        else:
            for row in range(rows):
                rate_row[False](row, 0, 1, probs_ptr, logits_ptr, targets_ptr, n_tokens_ptr, n_vocab, probs_ptr)
