"""Copies into the caches of the decoder."""

import extensibility
from extensibility import InputTensor
from extensibility import _MutableInputTensor as MutableInputTensor
from max.gpu.host import DeviceContext

from .decode_attention import copy_head
from .dot import IntPointer
from .taps import share_out
from .tiles import FloatPointer, WIDTH


@extensibility.register("whisper_max.store_prompt")
struct StorePrompt:
    """Keys and values of prompts, written into the first slots of the rows of a cache."""

    @staticmethod
    def execute[
        head_dim: Int
    ](
        keys: MutableInputTensor[rank=4, ...],  # (rows, H, capacity, hd)
        values: MutableInputTensor[dtype=keys.dtype, rank=4, ...],  # (rows, H, capacity, hd)
        qkv: InputTensor[dtype=DType.float32, rank=3, ...],  # (windows, length, 3 * H * hd)
        window_of_row: InputTensor[dtype=DType.int32, rank=1, ...],  # (rows,)
        ctx: DeviceContext,
    ) raises:
        comptime Values = Pointer[Scalar[keys.dtype], MutUntrackedOrigin]
        var keys_ptr = rebind[Values](keys.unsafe_ptr())
        var values_ptr = rebind[Values](values.unsafe_ptr())
        var qkv_ptr = rebind[FloatPointer](qkv.unsafe_ptr())
        var windows_ptr = rebind[IntPointer](window_of_row.unsafe_ptr())
        var n_head = keys.dim_size(1)
        var capacity = keys.dim_size(2)
        var length = qkv.dim_size(1)
        var n_state = n_head * head_dim

        def work(pair: Int) {imm}:
            var window = Int(windows_ptr.unsafe_load(pair // n_head))
            for position in range(length):
                var q = qkv_ptr.unsafe_offset((window * length + position) * 3 * n_state + pair % n_head * head_dim)
                var slot = (pair * capacity + position) * head_dim
                copy_head[head_dim](keys_ptr.unsafe_offset(slot), q.unsafe_offset(n_state))
                copy_head[head_dim](values_ptr.unsafe_offset(slot), q.unsafe_offset(2 * n_state))

        share_out(work, keys.dim_size(0) * n_head)


@extensibility.register("whisper_max.copy_slots")
struct CopySlots:
    """The first slots of rows of one cache, copied into another."""

    @staticmethod
    def execute(
        target: MutableInputTensor[rank=4, ...],  # (rows, H, capacity, hd)
        source: InputTensor[dtype=target.dtype, rank=4, ...],  # (source_rows, H, capacity, hd)
        row_of: InputTensor[dtype=DType.int32, rank=1, ...],  # (rows,), the row of the source for each
        n_slots: InputTensor[dtype=DType.int64, rank=1, ...],  # (1,)
        ctx: DeviceContext,
    ) raises:
        comptime Values = Pointer[Scalar[target.dtype], MutUntrackedOrigin]
        var target_ptr = rebind[Values](target.unsafe_ptr())
        var source_ptr = rebind[Values](source.unsafe_ptr())
        var rows_ptr = rebind[IntPointer](row_of.unsafe_ptr())
        var n_head = target.dim_size(1)
        var target_size = target.dim_size(2) * target.dim_size(3)
        var source_size = source.dim_size(2) * source.dim_size(3)
        var used = Int(n_slots.unsafe_ptr().unsafe_load(0)) * target.dim_size(3)

        def work(pair: Int) {imm}:
            var head = Int(rows_ptr.unsafe_load(pair // n_head)) * n_head + pair % n_head
            var written = target_ptr.unsafe_offset(pair * target_size)
            var read = source_ptr.unsafe_offset(head * source_size)
            for i in range(0, used, WIDTH):
                written.unsafe_store(i, read.unsafe_load[width=WIDTH](i))

        share_out(work, target.dim_size(0) * n_head)
