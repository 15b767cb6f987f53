"""``layers.Ops`` on a GPU, fast: flash attention in the encoder, and decoding that reads its caches where they stand.

All else is of ``stock``. These forms are in artifacts whose target's code ends in ``FAST``; which of the two a machine
runs is for its check to say, see ``engine/gpu_support.py``.
"""

from __future__ import annotations

from collections.abc import Sequence

from max.dtype import DType
from max.graph import BufferValue, DeviceRef, Dim, TensorType, TensorValue, ops

from whisper_max.model.decoder import decoder_block
from whisper_max.model.gpu.stock import StockOps
from whisper_max.model.layers import Weights

SELF_SPLITS = 8
"""Warps that share the keys of one (row, head) of self-attention: at most 448 keys, 56 each."""
CROSS_SPLITS = 16
"""The same for the audio: 1500 keys, 94 each; one stream of the base model keeps 128 warps busy, of large-v3 320."""
FLASH_DTYPES = (DType.bfloat16,)
"""Where MAX's flash attention is used: it has not compiled in float16, and rounds float32 to fewer bits."""


class FastOps(StockOps):
    """The layers of a GPU."""

    def encoder_attention(self, qkv: TensorValue, n_head: int, weights: Weights) -> TensorValue:
        if qkv.dtype not in FLASH_DTYPES:
            return super().encoder_attention(qkv, n_head, weights)
        batch, length, width = qkv.shape
        head_dim = int(width) // 3 // n_head
        q, k, v = (
            part.reshape((batch, length, n_head, head_dim)) for part in ops.split(qkv, [n_head * head_dim] * 3, axis=-1)
        )
        (attended,) = ops.custom(
            "mo.mha.no_cache",  # what max.nn.kernels.flash_attention_gpu is made of; importing that takes ten seconds
            device=qkv.device,
            values=[q, k, v, ops.constant(head_dim**-0.5, DType.float32, device=DeviceRef.CPU())],
            out_types=[q.type],
            parameters={"mask_str": "null", "local_window_size": -1},
        )  # (B, T, H, hd)
        return attended.tensor.reshape((batch, length, n_head * head_dim))

    def step_block(
        self,
        x: TensorValue,
        lengths: TensorValue,
        weights: Weights,
        cache: tuple[BufferValue, BufferValue],
        audio: tuple[TensorValue, TensorValue],
        batch: Sequence[Dim],
    ) -> TensorValue:
        return decoder_block(
            x,
            weights,
            int(x.shape[1]),
            lambda qkv: split_self_attention(qkv, lengths, *cache),
            lambda q: split_cross_attention(q, *audio),
        )


def split_self_attention(qkv: TensorValue, lengths: TensorValue, keys: BufferValue, values: BufferValue) -> TensorValue:
    """``decode_attention.decode_self_attention`` by ``kernels/split_attention.mojo``; only new slots are written."""
    rows, n_head, _, head_dim = keys.shape
    attended, _ = ops.inplace_custom(
        "whisper_max.split_self_attention",
        device=qkv.device,
        values=[qkv, lengths, keys, values],
        out_types=_out_types(qkv.dtype, qkv.device, rows, int(n_head), int(head_dim), SELF_SPLITS),
        parameters={"head_dim": int(head_dim), "splits": SELF_SPLITS},
    )
    return attended.tensor


def split_cross_attention(q: TensorValue, keys: TensorValue, values: TensorValue) -> TensorValue:
    """``decode_attention.decode_cross_attention`` by the same kernel. q: (rows, n_state), window by window."""
    _, n_head, _, head_dim = keys.shape
    attended, _ = ops.custom(
        "whisper_max.split_cross_attention",
        device=q.device,
        values=[q, keys, values],
        out_types=_out_types(q.dtype, q.device, q.shape[0], int(n_head), int(head_dim), CROSS_SPLITS),
        parameters={"head_dim": int(head_dim), "splits": CROSS_SPLITS},
    )
    return attended.tensor


def _out_types(dtype: DType, device: DeviceRef, rows: Dim, n_head: int, head_dim: int, splits: int) -> list[TensorType]:
    """What is attended, and the shares of the warps that it is put together from."""
    return [
        TensorType(dtype, [rows, n_head * head_dim], device=device),
        TensorType(DType.float32, [rows, n_head * splits * (head_dim + 2)], device=device),
    ]
