"""A GPU's graphs, fast: flash attention in the encoder, and a step by kernels of our own, one launch a block.

All else is of ``stock``. These forms are in artifacts whose target's code ends in ``FAST``; which of the two a machine
runs is for its check to say, see ``engine/gpu_support.py``.
"""

from __future__ import annotations

from collections.abc import Sequence

from max.dtype import DType
from max.graph import BufferValue, DeviceRef, TensorType, TensorValue, Value, ops

from whisper_max.dims import ModelDimensions
from whisper_max.model.decoder import split_cross_kv, split_kv_cache
from whisper_max.model.gpu.stock import StockOps
from whisper_max.model.layers import Weights

SPLITS = 8
"""Thread blocks that may share the audio's keys of one (row, head), as ``kernels/token_block.mojo`` has it."""
COUNTS = 16
"""Numbers that a row adds to what thread blocks count with, besides one for each head; ditto."""
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


def step(inputs: Sequence[Value], weights: Weights, dims: ModelDimensions) -> TensorValue:
    """``decoder.step`` by ``kernels/token_block.mojo``: the residual stream stays in float32, and so do the logits."""
    inputs, cross = split_cross_kv(inputs, dims)
    inputs, cache = split_kv_cache(inputs, dims)
    tokens, lengths = (value.tensor for value in inputs)
    tokens = tokens.reshape((tokens.shape[0] * tokens.shape[1],)).rebind(lengths.shape)  # (rows,)
    n_state, n_head = dims.n_text_state, dims.n_text_head
    embedding = (weights / "token_embedding")("weight", dims.n_vocab, n_state)
    positions = weights("positional_embedding", dims.n_text_ctx, n_state)
    x, counts = embed_rows(tokens, lengths, embedding, positions, n_head)
    for layer in range(dims.n_text_layer):
        layers = block_layers(weights / "blocks" / layer, n_state)
        x = token_block(x, counts, lengths, cache[layer], cross[layer], layers)
    matrix = (weights / "logits")("weight", dims.n_vocab, n_state)
    return row_logits(x, [*weights.norm("ln", n_state), matrix])


def block_layers(weights: Weights, n_state: int) -> list[TensorValue]:
    """Declare a decoder block's layers in the order of the kernel: each normalisation before what reads its result."""

    def layer(name: str, n_in: int, n_out: int) -> list[TensorValue]:
        own = weights / name
        return [own("weight", n_out, n_in), own("bias", n_out)]

    return [
        *weights.norm("attn_ln", n_state),
        *layer("attn.qkv", n_state, 3 * n_state),
        *layer("attn.out", n_state, n_state),
        *weights.norm("cross_attn_ln", n_state),
        *layer("cross_attn.query", n_state, n_state),
        *layer("cross_attn.out", n_state, n_state),
        *weights.norm("mlp_ln", n_state),
        *layer("mlp.0", n_state, 4 * n_state),
        *layer("mlp.2", 4 * n_state, n_state),
    ]


def embed_rows(
    tokens: TensorValue, lengths: TensorValue, embedding: TensorValue, positions: TensorValue, n_head: int
) -> tuple[TensorValue, TensorValue]:
    """One new token a row, (rows,) int32 as its position: (rows, n_state) float32, and zeros to count with."""
    rows, device = lengths.shape[0], lengths.device
    x, counts = ops.custom(
        "whisper_max.embed_rows",
        device=device,
        values=[tokens, lengths, embedding, positions],
        out_types=[
            TensorType(DType.float32, [rows, embedding.shape[1]], device=device),
            TensorType(DType.int32, [rows, COUNTS + n_head], device=device),
        ],
    )
    return x.tensor, counts.tensor


def token_block(
    x: TensorValue,
    counts: TensorValue,
    lengths: TensorValue,
    cache: tuple[BufferValue, BufferValue],
    audio: tuple[TensorValue, TensorValue],
    layers: Sequence[TensorValue],
) -> TensorValue:
    """A decoder block for one new token a row. x: (rows, n_state) float32, same shape out.

    lengths: (rows,) int32; cache: (rows, H, capacity, hd) each, where a slot is written; audio: (windows, H, n_audio,
    hd) each, the rows of one window neighbours; counts, layers: of ``embed_rows`` and ``block_layers``.
    """
    rows, n_head, _, head_dim = cache[0].shape
    n_state, dtype = int(x.shape[1]), cache[0].dtype
    n_shares = int(n_head) * SPLITS * (int(head_dim) + 2)
    y, *_ = ops.inplace_custom(
        "whisper_max.token_block",
        device=x.device,
        values=[x, counts, lengths, *cache, *audio, *layers],
        out_types=[
            x.type,
            TensorType(dtype, [rows, n_state], device=x.device),
            TensorType(dtype, [rows, n_state], device=x.device),
            TensorType(dtype, [rows, 4 * n_state], device=x.device),
            TensorType(DType.float32, [rows, n_shares], device=x.device),
        ],
        parameters={"head_dim": int(head_dim)},
    )
    return y.tensor


def row_logits(x: TensorValue, layer: Sequence[TensorValue]) -> TensorValue:
    """Logits of the normalised x, (rows, n_vocab) float32. layer: weight and bias of the norm, the matrix."""
    out_type = TensorType(DType.float32, [x.shape[0], layer[2].shape[0]], device=x.device)
    return ops.custom("whisper_max.row_logits", device=x.device, values=[x, *layer], out_types=[out_type])[0].tensor
