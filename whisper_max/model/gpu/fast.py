"""A GPU's graphs, fast: by kernels of our own.

They know their sizes when they run, so that one compilation of a kernel serves all layers. A decoder block of a step is
one launch. These forms are in artifacts whose target's code ends in ``FAST``; which of the two a machine runs is for
its check to say, see ``engine/gpu_support.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from max.dtype import DType
from max.graph import BufferValue, TensorType, TensorValue, Value, ops

from whisper_max.dims import ModelDimensions
from whisper_max.model.alignment import AlignmentOps
from whisper_max.model.decoder import split_cross_kv, split_kv_cache
from whisper_max.model.gpu.stock import StockOps
from whisper_max.model.layers import CONV_TAPS, KeysAndValues, Weights, cross_attention, rows_of, self_attention

SPLITS = 8
"""Thread blocks that may share the audio's keys of one (row, head), as ``kernels/token_block.mojo`` has it."""
COUNTS = 16
"""Numbers that a row adds to what thread blocks count with, besides one for each head; ditto."""


class FastOps(StockOps):
    """The layers of a GPU."""

    def stem(
        self, mel: TensorValue, weights: Weights, dims: ModelDimensions, *, adds_positions: bool = True
    ) -> TensorValue:
        n_state, n_frames = dims.n_audio_state, dims.n_frames
        x_type = TensorType(weights.dtype, [mel.shape[0], dims.n_audio_ctx, n_state], device=mel.device)
        rows = mel.shape[0] * n_frames
        x, *_ = ops.custom(
            "whisper_max.long_stem",
            device=mel.device,
            values=[
                mel,
                weights("positional_embedding", dims.n_audio_ctx, n_state),
                *_layer(weights, "conv1", CONV_TAPS * dims.n_mels, n_state),
                *_layer(weights, "conv2", CONV_TAPS * n_state, n_state),
            ],
            out_types=[
                x_type,
                TensorType(weights.dtype, [rows, CONV_TAPS * dims.n_mels], device=mel.device),
                TensorType(weights.dtype, [rows, n_state], device=mel.device),
            ],
            parameters={"adds_positions": adds_positions},
        )
        return x.tensor

    def stem_stages(self, mel: TensorValue, weights: Weights, dims: ModelDimensions) -> list[TensorValue]:
        return [self.stem(mel, weights, dims, adds_positions=adds) for adds in (False, True)]

    def layer_norm(self, x: TensorValue, weights: Weights, name: str, n_state: int) -> TensorValue:
        flat = rows_of(x)
        values = [flat, *weights.norm(name, n_state)]
        (y,) = ops.custom("whisper_max.norm_rows", device=x.device, values=values, out_types=[flat.type])
        return y.tensor.reshape(x.shape)

    def linear(
        self,
        x: TensorValue,
        weights: Weights,
        name: str,
        n_in: int,
        n_out: int,
        *,
        bias: bool = True,
        gelu: bool = False,
        residual: TensorValue | None = None,
    ) -> TensorValue:
        if not bias:
            return super().linear(x, weights, name, n_in, n_out, bias=False, gelu=gelu, residual=residual)
        flat = rows_of(x)
        (y,) = ops.custom(
            "whisper_max.long_linear",
            device=x.device,
            values=[flat, flat if residual is None else rows_of(residual), *_layer(weights, name, n_in, n_out)],
            out_types=[TensorType(x.dtype, [flat.shape[0], n_out], device=x.device)],
            parameters={"gelu": gelu, "has_residual": residual is not None},
        )
        return y.tensor.reshape((*x.shape[:-1], n_out))

    def embed(
        self, tokens: TensorValue, positions: TensorValue, weights: Weights, dims: ModelDimensions
    ) -> TensorValue:
        table = weights("positional_embedding", dims.n_text_ctx, dims.n_text_state)
        matrix = (weights / "token_embedding")("weight", dims.n_vocab, dims.n_text_state)
        flat = tokens.reshape((tokens.shape[0] * tokens.shape[1],))
        x = _picked_rows(matrix, flat, weights.dtype, table, positions)
        return x.reshape((*tokens.shape, dims.n_text_state))

    def take_rows(self, x: TensorValue, rows: TensorValue) -> TensorValue:
        """As the base's, but in float32, in which logits are made."""
        return _picked_rows(x, rows, DType.float32)

    def logits(self, x: TensorValue, weights: Weights, dims: ModelDimensions) -> TensorValue:
        n_state = dims.n_text_state
        matrix = (weights / "logits")("weight", dims.n_vocab, n_state)
        return row_logits(x.cast(DType.float32), [*weights.norm("ln", n_state), matrix])

    def store_audio(self, audio: KeysAndValues, x: TensorValue, weights: Weights, n_in: int, n_out: int) -> None:
        key = (weights / "cross_attn.key")("weight", n_out, n_in)
        values = [*audio, rows_of(x), key, *_layer(weights, "cross_attn.value", n_in, n_out)]
        ops.inplace_custom("whisper_max.long_heads", device=x.device, values=values)

    def self_attention(self, qkv: TensorValue, n_head: int, mask: TensorValue) -> TensorValue:
        return self_attention("whisper_max.attend_self", [qkv], n_head, causal=True)

    def cross_attention(self, q: TensorValue, keys: TensorValue, values: TensorValue) -> TensorValue:
        return cross_attention("whisper_max.attend_audio", q, keys, values)

    def store_prompt(self, cache: KeysAndValues, qkv: TensorValue, window_of_row: TensorValue) -> None:
        ops.inplace_custom("whisper_max.prompt_slots", device=qkv.device, values=[*cache, qkv, window_of_row])

    def copy_slots(
        self,
        targets: Sequence[BufferValue],
        sources: Sequence[TensorValue],
        row_of: TensorValue,
        n_slots: TensorValue,
    ) -> None:
        for target, source in zip(targets, sources, strict=True):
            values = [target, source, row_of, n_slots[0]]
            ops.inplace_custom("whisper_max.move_slots", device=row_of.device, values=values)

    alignment = AlignmentOps.alignment
    alignment_kernel = "whisper_max.heard_weights"

    def target_probs(self, logits: TensorValue, targets: TensorValue, n_text_tokens: TensorValue) -> TensorValue:
        result_type = TensorType(DType.float32, targets.shape, device=logits.device)
        values = [logits, targets, n_text_tokens]
        (probs,) = ops.custom("whisper_max.rated_targets", device=logits.device, values=values, out_types=[result_type])
        return probs.tensor

    def encoder_attention(self, qkv: TensorValue, n_head: int, weights: Weights) -> TensorValue:
        return self_attention("whisper_max.attend_self", [qkv], n_head, causal=False)


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

    layer = partial(_layer, weights)
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


def _layer(weights: Weights, name: str, n_in: int, n_out: int) -> list[TensorValue]:
    own = weights / name
    return [own("weight", n_out, n_in), own("bias", n_out)]


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


def _picked_rows(
    table: TensorValue,
    rows: TensorValue,
    dtype: DType,
    added: TensorValue | None = None,
    places: TensorValue | None = None,
) -> TensorValue:
    """Rows of a table, (n,) int32, with the sum of others where they are given, in a dtype: (n, columns).

    added: (any, columns); places: (m,) int32, rows of what is added; n is a multiple of m.
    """
    (picked,) = ops.custom(
        "whisper_max.picked_rows",
        device=table.device,
        values=[table, rows, table if added is None else added, rows if places is None else places],
        out_types=[TensorType(dtype, [rows.shape[0], table.shape[1]], device=table.device)],
        parameters={"adds": added is not None},
    )
    return picked.tensor


def row_logits(x: TensorValue, layer: Sequence[TensorValue]) -> TensorValue:
    """Logits of the normalised x, (rows, n_vocab) float32. layer: weight and bias of the norm, the matrix."""
    out_type = TensorType(DType.float32, [x.shape[0], layer[2].shape[0]], device=x.device)
    return ops.custom("whisper_max.row_logits", device=x.device, values=[x, *layer], out_types=[out_type])[0].tensor


def choose(inputs: Sequence[Value]) -> TensorValue:
    """``choose.choose`` in one launch."""
    nothing = ops.constant(np.zeros(1, np.float32), DType.float32, inputs[0].tensor.device)
    return _choose(inputs[:6], nothing, inputs[0].tensor, inputs[6:], sampled=False)


def sample(inputs: Sequence[Value]) -> TensorValue:
    """``choose.sample`` in one launch."""
    return _choose(inputs[:6], inputs[6].tensor, inputs[7].tensor, inputs[8:], sampled=True)


def _choose(
    inputs: Sequence[Value], temperatures: TensorValue, draws: TensorValue, state: Sequence[Value], sampled: bool
) -> TensorValue:
    """logits, never, not_first, ids, limits, earliest; what is not sampled does without temperatures and draws."""
    logits, *masks = (value.tensor for value in inputs)
    (report,) = ops.inplace_custom(
        "whisper_max.choose_rows",
        device=logits.device,
        values=[logits, *masks, temperatures, draws, *(value.buffer for value in state)],
        out_types=[TensorType(DType.int32, [logits.shape[0]], device=logits.device)],
        parameters={"sampled": sampled},
    )
    return report.tensor


def no_speech(inputs: Sequence[Value]) -> TensorValue:
    """``choose.no_speech`` in one launch."""
    logits, token = (value.tensor for value in inputs)
    out_type = TensorType(DType.float32, [logits.shape[0]], device=logits.device)
    values = [logits, token]
    return ops.custom("whisper_max.no_speech_rows", device=logits.device, values=values, out_types=[out_type])[0].tensor


CHOOSERS = (choose, sample, no_speech)
