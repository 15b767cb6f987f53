"""Attention of one new token a row for GPUs: the keys are split among warps, whose shares are then put together.

A warp takes one share of the keys of one (row, head), each of its lanes a stretch of the head's width, and keeps a
running maximum, so that scores are never stored. The caches are read where they stand. Accumulation is in float32. On
a CPU the same code runs with one lane, slowly: for tests.
"""

import extensibility
from extensibility import InputTensor, OutputTensor
from extensibility import _MutableInputTensor as MutableInputTensor
from max.gpu.host import DeviceContext
from max.gpu.host.info import is_gpu
from max.gpu import global_idx
from max.gpu.primitives import warp
from std.math import ceildiv, exp, min, sqrt

from .tiles import FloatPointer

comptime KEYS = 8
"""Keys whose scores are taken together: that many independent loads are under way."""
comptime LANES = 32
comptime BLOCK = 128
comptime IntPointer = Pointer[Int32, MutUntrackedOrigin]


@always_inline
def across[lanes: Int](x: Float32) -> Float32:
    """The sum over a warp's lanes."""
    comptime if lanes == 1:
        return x
    else:
        return warp.sum(x)


@always_inline
def attend_share[
    dtype: DType, //, head_dim: Int, lanes: Int
](
    lane: Int,
    q: Pointer[Scalar[dtype], MutUntrackedOrigin],
    k: Pointer[Scalar[dtype], MutUntrackedOrigin],
    v: Pointer[Scalar[dtype], MutUntrackedOrigin],
    first: Int,
    last: Int,
    share: FloatPointer,
):
    """Keys first to last (not included) of one head. q: (hd,); k, v: (n_keys, hd); share: (hd + 2,), the weighted sum
    of values, the highest score, and the sum of weights relative to it; of no keys: zeros and the lowest number."""
    comptime width = head_dim // lanes
    var at = lane * width
    var query = q.unsafe_load[width=width](at).cast[DType.float32]() / sqrt(Float32(head_dim))
    var highest = Float32.MIN_FINITE
    var total = Float32(0)
    var result = SIMD[DType.float32, width](0)
    for start in range(first, last, KEYS):
        var scores = Array[Float32, KEYS](fill=Float32.MIN_FINITE)
        var new_highest = highest
        comptime for i in range(KEYS):
            var key = min(start + i, last - 1)
            var values = k.unsafe_load[width=width](key * head_dim + at).cast[DType.float32]()
            var score = across[lanes]((query * values).reduce_add())
            scores[i] = score if start + i < last else Float32.MIN_FINITE
            new_highest = max(new_highest, scores[i])
        var kept = exp(highest - new_highest)
        total *= kept
        result *= kept
        comptime for i in range(KEYS):
            var key = min(start + i, last - 1)
            var weight = exp(scores[i] - new_highest)
            total += weight
            result += v.unsafe_load[width=width](key * head_dim + at).cast[DType.float32]() * weight
        highest = new_highest
    share.unsafe_store(at, result)
    if lane == 0:
        share.unsafe_store(head_dim, highest)
        share.unsafe_store(head_dim + 1, total)


@always_inline
def attend_unit[
    dtype: DType, //, head_dim: Int, splits: Int, ragged: Bool, lanes: Int
](
    unit: Int,
    lane: Int,
    q: Pointer[Scalar[dtype], MutUntrackedOrigin],
    lengths: IntPointer,
    k: Pointer[Scalar[dtype], MutUntrackedOrigin],
    v: Pointer[Scalar[dtype], MutUntrackedOrigin],
    shares: FloatPointer,
    n_head: Int,
    capacity: Int,
    q_stride: Int,
    n_hyps: Int,
):
    """Unit = (row * H + head) * splits + split. q: rows q_stride apart; k, v: (rows / n_hyps, H, capacity, hd)."""
    var pair = unit // splits
    var row = pair // n_head
    var head = pair % n_head
    var n_keys = capacity
    comptime if ragged:
        n_keys = Int(lengths.unsafe_load(row)) + 1
    var per_split = ceildiv(n_keys, splits)
    var first = min(unit % splits * per_split, n_keys)
    var cache = ((row // n_hyps) * n_head + head) * capacity * head_dim
    attend_share[head_dim, lanes](
        lane,
        q.unsafe_offset(row * q_stride + head * head_dim),
        k.unsafe_offset(cache),
        v.unsafe_offset(cache),
        first,
        min(first + per_split, n_keys),
        shares.unsafe_offset(unit * (head_dim + 2)),
    )


@always_inline
def combine_pair[
    dtype: DType, //, head_dim: Int, splits: Int, lanes: Int
](pair: Int, lane: Int, shares: FloatPointer, output: Pointer[Scalar[dtype], MutUntrackedOrigin]):
    """Put the shares of one (row, head) together. output: (pairs, hd)."""
    comptime width = head_dim // lanes
    var at = lane * width
    var own = shares.unsafe_offset(pair * splits * (head_dim + 2))
    var highest = Float32.MIN_FINITE
    comptime for split in range(splits):
        highest = max(highest, own.unsafe_load(split * (head_dim + 2) + head_dim))
    var total = Float32(0)
    var result = SIMD[DType.float32, width](0)
    comptime for split in range(splits):
        var share = own.unsafe_offset(split * (head_dim + 2))
        var weight = exp(share.unsafe_load(head_dim) - highest)
        total += weight * share.unsafe_load(head_dim + 1)
        result += share.unsafe_load[width=width](at) * weight
    output.unsafe_store(pair * head_dim + at, (result / total).cast[dtype]())


@always_inline
def store_value[
    dtype: DType, //, head_dim: Int
](
    index: Int,
    qkv: Pointer[Scalar[dtype], MutUntrackedOrigin],
    lengths: IntPointer,
    k: Pointer[Scalar[dtype], MutUntrackedOrigin],
    v: Pointer[Scalar[dtype], MutUntrackedOrigin],
    n_head: Int,
    capacity: Int,
):
    """Copy one number of a new key and of a new value into the caches. Index = (row * H + head) * hd + place."""
    var pair = index // head_dim
    var row = pair // n_head
    var n_state = n_head * head_dim
    var source = row * 3 * n_state + index % n_state
    var target = (pair * capacity + Int(lengths.unsafe_load(row))) * head_dim + index % head_dim
    k.unsafe_store(target, qkv.unsafe_load(source + n_state))
    v.unsafe_store(target, qkv.unsafe_load(source + 2 * n_state))


def attend_kernel[
    dtype: DType, //, head_dim: Int, splits: Int, ragged: Bool
](
    q: Pointer[Scalar[dtype], MutUntrackedOrigin],
    lengths: IntPointer,
    k: Pointer[Scalar[dtype], MutUntrackedOrigin],
    v: Pointer[Scalar[dtype], MutUntrackedOrigin],
    shares: FloatPointer,
    n_head: Int64,
    capacity: Int64,
    q_stride: Int64,
    n_hyps: Int64,
    n_units: Int64,
):
    var unit = Int(global_idx.x) // LANES
    if unit < Int(n_units):
        attend_unit[head_dim, splits, ragged, LANES](
            unit, Int(global_idx.x) % LANES, q, lengths, k, v, shares, Int(n_head), Int(capacity), Int(q_stride), Int(n_hyps)
        )


def combine_kernel[
    dtype: DType, //, head_dim: Int, splits: Int
](shares: FloatPointer, output: Pointer[Scalar[dtype], MutUntrackedOrigin], n_pairs: Int64):
    var pair = Int(global_idx.x) // LANES
    if pair < Int(n_pairs):
        combine_pair[head_dim, splits, LANES](pair, Int(global_idx.x) % LANES, shares, output)


def store_kernel[
    dtype: DType, //, head_dim: Int
](
    qkv: Pointer[Scalar[dtype], MutUntrackedOrigin],
    lengths: IntPointer,
    k: Pointer[Scalar[dtype], MutUntrackedOrigin],
    v: Pointer[Scalar[dtype], MutUntrackedOrigin],
    n_head: Int64,
    capacity: Int64,
    n_values: Int64,
):
    var index = Int(global_idx.x)
    if index < Int(n_values):
        store_value[head_dim](index, qkv, lengths, k, v, Int(n_head), Int(capacity))


def split_attention[
    dtype: DType, //, head_dim: Int, splits: Int, ragged: Bool, gpu: Bool
](
    output: Pointer[Scalar[dtype], MutUntrackedOrigin],
    shares: FloatPointer,
    q: Pointer[Scalar[dtype], MutUntrackedOrigin],
    lengths: IntPointer,
    k: Pointer[Scalar[dtype], MutUntrackedOrigin],
    v: Pointer[Scalar[dtype], MutUntrackedOrigin],
    n_pairs: Int,
    n_head: Int,
    capacity: Int,
    q_stride: Int,
    n_hyps: Int,
    ctx: DeviceContext,
) raises:
    """Both passes over all (row, head) pairs."""
    var n_units = n_pairs * splits
    comptime if gpu:
        ctx.enqueue_function[attend_kernel[dtype=dtype, head_dim, splits, ragged]](
            q, lengths, k, v, shares, Int64(n_head), Int64(capacity), Int64(q_stride), Int64(n_hyps), Int64(n_units),
            grid_dim=ceildiv(n_units * LANES, BLOCK), block_dim=BLOCK,
        )
        ctx.enqueue_function[combine_kernel[dtype=dtype, head_dim, splits]](
            shares, output, Int64(n_pairs), grid_dim=ceildiv(n_pairs * LANES, BLOCK), block_dim=BLOCK,
        )
    else:
        for unit in range(n_units):
            attend_unit[head_dim, splits, ragged, 1](
                unit, 0, q, lengths, k, v, shares, n_head, capacity, q_stride, n_hyps
            )
        for pair in range(n_pairs):
            combine_pair[head_dim, splits, 1](pair, 0, shares, output)


@extensibility.register("whisper_max.split_self_attention")
struct SplitSelfAttention:
    """Write one new key and value a row into the cache, and attend over all up to it."""

    @staticmethod
    def execute[
        target: StaticString, head_dim: Int, splits: Int
    ](
        output: OutputTensor[rank=2, ...],  # (rows, H * hd)
        shares: OutputTensor[dtype=DType.float32, rank=2, ...],  # (rows, H * splits * (hd + 2)), scratch
        qkv: InputTensor[dtype=output.dtype, rank=2, ...],  # (rows, 3 * H * hd)
        lengths: InputTensor[dtype=DType.int32, rank=1, ...],  # (rows,), also the slot that is written
        k_cache: MutableInputTensor[dtype=output.dtype, rank=4, ...],  # (rows, H, capacity, hd)
        v_cache: MutableInputTensor[dtype=output.dtype, rank=4, ...],
        ctx: DeviceContext,
    ) raises:
        comptime Values = Pointer[Scalar[output.dtype], MutUntrackedOrigin]
        comptime gpu = is_gpu[target]()
        var n_head = k_cache.dim_size(1)
        var capacity = k_cache.dim_size(2)
        var n_pairs = k_cache.dim_size(0) * n_head
        var qkv_ptr = rebind[Values](qkv.unsafe_ptr())
        var k_ptr = rebind[Values](k_cache.unsafe_ptr())
        var v_ptr = rebind[Values](v_cache.unsafe_ptr())
        var length_ptr = rebind[IntPointer](lengths.unsafe_ptr())
        var n_values = n_pairs * head_dim
        comptime if gpu:
            ctx.enqueue_function[store_kernel[dtype=output.dtype, head_dim]](
                qkv_ptr, length_ptr, k_ptr, v_ptr, Int64(n_head), Int64(capacity), Int64(n_values),
                grid_dim=ceildiv(n_values, BLOCK), block_dim=BLOCK,
            )
        else:
            for index in range(n_values):
                store_value[head_dim](index, qkv_ptr, length_ptr, k_ptr, v_ptr, n_head, capacity)
        split_attention[head_dim, splits, True, gpu](
            rebind[Values](output.unsafe_ptr()), rebind[FloatPointer](shares.unsafe_ptr()), qkv_ptr, length_ptr, k_ptr, v_ptr,
            n_pairs, n_head, capacity, 3 * n_head * head_dim, 1, ctx,
        )


@extensibility.register("whisper_max.split_cross_attention")
struct SplitCrossAttention:
    """Attend over the audio. The rows of one window are neighbours and share its keys and values."""

    @staticmethod
    def execute[
        target: StaticString, head_dim: Int, splits: Int
    ](
        output: OutputTensor[rank=2, ...],  # (rows, H * hd)
        shares: OutputTensor[dtype=DType.float32, rank=2, ...],  # (rows, H * splits * (hd + 2)), scratch
        q: InputTensor[dtype=output.dtype, rank=2, ...],  # (rows, H * hd)
        k: InputTensor[dtype=output.dtype, rank=4, ...],  # (windows, H, n_audio_ctx, hd)
        v: InputTensor[dtype=output.dtype, rank=4, ...],
        ctx: DeviceContext,
    ) raises:
        comptime Values = Pointer[Scalar[output.dtype], MutUntrackedOrigin]
        var n_head = k.dim_size(1)
        var rows = q.dim_size(0)
        var q_ptr = rebind[Values](q.unsafe_ptr())
        split_attention[head_dim, splits, False, is_gpu[target]()](
            rebind[Values](output.unsafe_ptr()), rebind[FloatPointer](shares.unsafe_ptr()), q_ptr,
            q_ptr.unsafe_bitcast[Int32](), rebind[Values](k.unsafe_ptr()), rebind[Values](v.unsafe_ptr()),
            rows * n_head, n_head, k.dim_size(2), n_head * head_dim, rows // k.dim_size(0), ctx,
        )
