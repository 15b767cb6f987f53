"""Attention of one new token a row over its caches.

Scores live in a few kilobytes of scratch, the caches, of float32 or float16, are read where they stand, and every core
takes a share of the (row, head) pairs. Accumulation is in float32.
"""

import extensibility
from extensibility import InputTensor, OutputTensor
from extensibility import _MutableInputTensor as MutableInputTensor
from max.algorithm import sync_parallelize
from max.gpu.host import DeviceContext
from max.runtime.asyncrt import parallelism_level
from std.math import ceildiv, exp, min, sqrt
from std.memory import alloc, dealloc
from std.memory.alloc import Layout

from .tiles import FloatPointer, Vector, WIDTH


@always_inline
def dot[
    dtype: DType, //, head_dim: Int
](a: FloatPointer, b: Pointer[Scalar[dtype], MutUntrackedOrigin]) -> Float32:
    """The dot product of two head vectors."""
    var total = Vector(0)
    comptime for lane in range(0, head_dim, WIDTH):
        total = a.unsafe_load[width=WIDTH](lane).fma(b.unsafe_load[width=WIDTH](lane).cast[DType.float32](), total)
    return total.reduce_add()


def attend[
    dtype: DType, //, head_dim: Int
](
    output: FloatPointer,
    q: FloatPointer,
    k: Pointer[Scalar[dtype], MutUntrackedOrigin],
    v: Pointer[Scalar[dtype], MutUntrackedOrigin],
    scores: FloatPointer,
    n_keys: Int,
):
    """One head: `softmax(q . k * hd ** -0.5) . v`. q, output: (hd,); k, v: (n_keys, hd); scores: n_keys of scratch."""
    var scale = 1 / sqrt(Float32(head_dim))
    var highest = Float32.MIN_FINITE
    for key in range(n_keys):
        var score = dot[head_dim](q, k.unsafe_offset(key * head_dim)) * scale
        scores.unsafe_store(key, score)
        highest = max(highest, score)

    var n_whole = n_keys // WIDTH * WIDTH
    var sums = Vector(0)
    for key in range(0, n_whole, WIDTH):
        var weights = exp(scores.unsafe_load[width=WIDTH](key) - highest)
        scores.unsafe_store(key, weights)
        sums += weights
    var total = sums.reduce_add()
    for key in range(n_whole, n_keys):
        var weight = exp(scores.unsafe_load(key) - highest)
        scores.unsafe_store(key, weight)
        total += weight

    comptime n_vectors = head_dim // WIDTH
    var result = Array[Vector, n_vectors](fill=Vector(0))
    for key in range(n_keys):
        var weight = Vector(scores.unsafe_load(key))
        comptime for part in range(n_vectors):
            var value = v.unsafe_load[width=WIDTH](key * head_dim + part * WIDTH).cast[DType.float32]()
            result[part] = value.fma(weight, result[part])
    comptime for part in range(n_vectors):
        output.unsafe_store(part * WIDTH, result[part] / total)


@always_inline
def copy_head[
    dtype: DType, //, head_dim: Int
](target: Pointer[Scalar[dtype], MutUntrackedOrigin], source: FloatPointer):
    """Write a head vector into a cache."""
    comptime for lane in range(0, head_dim, WIDTH):
        target.unsafe_store(lane, source.unsafe_load[width=WIDTH](lane).cast[dtype]())


@extensibility.register("whisper_max.decode_self_attention")
struct DecodeSelfAttention:
    """Write one new key and value a row into the cache, and attend over all up to it."""

    @staticmethod
    def execute[head_dim: Int](
        output: OutputTensor[dtype=DType.float32, rank=2, ...],  # (rows, H * hd)
        qkv: InputTensor[dtype=DType.float32, rank=2, ...],  # (rows, 3 * H * hd)
        lengths: InputTensor[dtype=DType.int32, rank=1, ...],  # (rows,), also the slot that is written
        k_cache: MutableInputTensor[rank=4, ...],  # (rows, H, capacity, hd)
        v_cache: MutableInputTensor[dtype=k_cache.dtype, rank=4, ...],
        ctx: DeviceContext,
    ) raises:
        var n_head = k_cache.dim_size(1)
        var capacity = k_cache.dim_size(2)
        var n_pairs = k_cache.dim_size(0) * n_head
        var n_state = n_head * head_dim
        var out_ptr = rebind[FloatPointer](output.unsafe_ptr())
        var qkv_ptr = rebind[FloatPointer](qkv.unsafe_ptr())
        var k_ptr = rebind[Pointer[Scalar[k_cache.dtype], MutUntrackedOrigin]](k_cache.unsafe_ptr())
        var v_ptr = rebind[Pointer[Scalar[k_cache.dtype], MutUntrackedOrigin]](v_cache.unsafe_ptr())
        var length_ptr = rebind[Pointer[Int32, MutUntrackedOrigin]](lengths.unsafe_ptr())
        var n_workers = min(parallelism_level(None), n_pairs)
        var share = ceildiv(n_pairs, n_workers)
        var scratch = alloc(Layout[Float32](count=n_workers * capacity))
        var scratch_ptr = rebind[FloatPointer](scratch.unsafe_ptr())

        def work(worker: Int) {imm}:
            for pair in range(worker * share, min((worker + 1) * share, n_pairs)):
                var row = pair // n_head
                var slot = Int(length_ptr.unsafe_load(row))
                var q = qkv_ptr.unsafe_offset(row * 3 * n_state + (pair % n_head) * head_dim)
                var keys = k_ptr.unsafe_offset(pair * capacity * head_dim)
                var values = v_ptr.unsafe_offset(pair * capacity * head_dim)
                copy_head[head_dim](keys.unsafe_offset(slot * head_dim), q.unsafe_offset(n_state))
                copy_head[head_dim](values.unsafe_offset(slot * head_dim), q.unsafe_offset(2 * n_state))
                attend[head_dim](
                    out_ptr.unsafe_offset(pair * head_dim), q, keys, values, scratch_ptr.unsafe_offset(worker * capacity), slot + 1
                )

        sync_parallelize(work, n_workers)
        dealloc(scratch^)


@extensibility.register("whisper_max.decode_cross_attention")
struct DecodeCrossAttention:
    """Attend over the audio. The rows of one window are neighbours and share its keys and values."""

    @staticmethod
    def execute[head_dim: Int](
        output: OutputTensor[dtype=DType.float32, rank=2, ...],  # (rows, H * hd)
        q: InputTensor[dtype=DType.float32, rank=2, ...],  # (rows, H * hd)
        k: InputTensor[rank=4, ...],  # (windows, H, n_audio_ctx, hd)
        v: InputTensor[dtype=k.dtype, rank=4, ...],
        ctx: DeviceContext,
    ) raises:
        var n_windows = k.dim_size(0)
        var n_head = k.dim_size(1)
        var n_keys = k.dim_size(2)
        var n_hyps = q.dim_size(0) // n_windows
        var n_pairs = n_windows * n_head
        var out_ptr = rebind[FloatPointer](output.unsafe_ptr())
        var q_ptr = rebind[FloatPointer](q.unsafe_ptr())
        var k_ptr = rebind[Pointer[Scalar[k.dtype], MutUntrackedOrigin]](k.unsafe_ptr())
        var v_ptr = rebind[Pointer[Scalar[k.dtype], MutUntrackedOrigin]](v.unsafe_ptr())
        var n_workers = min(parallelism_level(None), n_pairs)
        var share = ceildiv(n_pairs, n_workers)
        var scratch = alloc(Layout[Float32](count=n_workers * n_keys))
        var scratch_ptr = rebind[FloatPointer](scratch.unsafe_ptr())

        def work(worker: Int) {imm}:
            for pair in range(worker * share, min((worker + 1) * share, n_pairs)):
                var keys = k_ptr.unsafe_offset(pair * n_keys * head_dim)
                var values = v_ptr.unsafe_offset(pair * n_keys * head_dim)
                for hyp in range(n_hyps):
                    var row = (pair // n_head) * n_hyps + hyp
                    var at = (row * n_head + pair % n_head) * head_dim
                    attend[head_dim](
                        out_ptr.unsafe_offset(at), q_ptr.unsafe_offset(at), keys, values, scratch_ptr.unsafe_offset(worker * n_keys), n_keys
                    )

        sync_parallelize(work, n_workers)
        dealloc(scratch^)
