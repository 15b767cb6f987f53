"""Attention of some positions of a window over all of them, whose keys and values are kept from one run to the next."""

import extensibility
from extensibility import InputTensor, OutputTensor
from extensibility import _MutableInputTensor as MutableInputTensor
from max.gpu.host import DeviceContext
from std.memory import alloc, dealloc
from std.memory.alloc import Layout

from .attention import run_in_parallel
from .dot import IntPointer, is_fast
from .int8_attention import Int8Head
from .taps import share_out
from .tiles import FloatPointer, WIDTH


@extensibility.register("whisper_max.int8_kept_attention")
struct Int8KeptAttention:
    """New keys and values take their places among those that are kept; then the new queries attend to all."""

    @staticmethod
    def execute[
        head_dim: Int
    ](
        output: OutputTensor[dtype=DType.float32, rank=3, ...],  # (1, T, H * hd)
        kept: MutableInputTensor[dtype=DType.float32, rank=2, ...],  # (S, 2 * H * hd), each a key and a value
        qkv: InputTensor[dtype=DType.float32, rank=3, ...],  # (1, T, 3 * H * hd)
        start: InputTensor[dtype=DType.int32, rank=1, ...],  # (1,), the place of the first, at most S - T
        vnni: InputTensor[dtype=DType.int32, rank=1, ...],  # (1,), see `is_fast`
        ctx: DeviceContext,
    ) raises:
        var n_queries = qkv.dim_size(1)
        var n_keys = kept.dim_size(0)
        var n_state = output.dim_size(2)
        var stride = 2 * n_state
        var out_ptr = rebind[FloatPointer](output.unsafe_ptr())
        var qkv_ptr = rebind[FloatPointer](qkv.unsafe_ptr())
        var kept_ptr = rebind[FloatPointer](kept.unsafe_ptr())
        var first = Int(rebind[IntPointer](start.unsafe_ptr()).unsafe_load(0))
        var memory = alloc(Layout[Float32](count=n_queries * stride))
        var queries = rebind[FloatPointer](memory.unsafe_ptr())  # as far apart as keys are

        def place(row: Int) {imm}:
            var source = qkv_ptr.unsafe_offset(row * 3 * n_state)
            var query = queries.unsafe_offset(row * stride)
            var target = kept_ptr.unsafe_offset((first + row) * stride)
            for lane in range(0, n_state, WIDTH):
                query.unsafe_store(lane, source.unsafe_load[width=WIDTH](lane))
            for lane in range(0, stride, WIDTH):
                target.unsafe_store(lane, source.unsafe_load[width=WIDTH](n_state + lane))

        def run[fast: Bool]() {imm}:
            def head_of(index: Int) {imm} -> Int8Head[head_dim, fast]:
                var lane = index * head_dim
                var key = kept_ptr.unsafe_offset(lane)
                var own = queries.unsafe_offset(lane)
                return {out_ptr.unsafe_offset(lane), n_state, own, key, key.unsafe_offset(n_state), stride, n_keys}

            run_in_parallel[Int8Head[head_dim, fast]](head_of, n_state // head_dim, n_queries)

        share_out(place, n_queries)
        if is_fast(vnni.unsafe_ptr().unsafe_load(0)):
            run[True]()
        else:
            run[False]()
        dealloc(memory^)
