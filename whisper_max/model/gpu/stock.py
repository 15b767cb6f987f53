"""``layers.Ops`` on a GPU by MAX's own operations; the plain forms that ``fast`` takes the rest from."""

from __future__ import annotations

from collections.abc import Sequence

from max.dtype import DType
from max.graph import BufferValue, Dim, TensorValue, ops

from whisper_max.dims import ModelDimensions
from whisper_max.model.alignment import Alignment
from whisper_max.model.decoder import decoder_block
from whisper_max.model.gpu.decode_attention import (
    MASKED,
    attention,
    decode_cross_attention,
    decode_self_attention,
    merge_heads,
    scaled,
)
from whisper_max.model.layers import CONV_TAPS, KeysAndValues, Ops, Weights

LAYER_NORM_EPSILON = 1e-5  # torch.nn.LayerNorm's default, which Whisper was trained with


class StockOps(Ops):
    """The layers of a GPU."""

    def stem(
        self, mel: TensorValue, weights: Weights, dims: ModelDimensions, *, adds_positions: bool = True
    ) -> TensorValue:
        return self.stem_stages(mel, weights, dims)[adds_positions]

    def stem_stages(self, mel: TensorValue, weights: Weights, dims: ModelDimensions) -> list[TensorValue]:
        n_state = dims.n_audio_state
        x = ops.transpose(mel.cast(weights.dtype), 1, 2)  # (B, n_frames, n_mels)
        x = self._conv1d(x, weights, "conv1", dims.n_mels, n_state, stride=1)
        x = self._conv1d(x, weights, "conv2", n_state, n_state, stride=2)
        return [x, x + weights("positional_embedding", dims.n_audio_ctx, n_state)]

    def _conv1d(self, x: TensorValue, weights: Weights, name: str, n_in: int, n_out: int, stride: int) -> TensorValue:
        """A convolution of kernel 3 and padding 1 and its GELU, as one linear layer over the three shifted inputs.

        x: (B, T, n_in) -> (B, T / stride, n_out). The weight is stored (n_out, 3 * n_in), taps outermost.
        """
        length = int(x.shape[1])
        padded = ops.pad(x, [0, 0, 1, 1, 0, 0])  # (B, T + 2, n_in)
        taps = [padded[:, tap : tap + length : stride, :] for tap in range(CONV_TAPS)]  # each (B, T / stride, n_in)
        unfolded = ops.concat(taps, axis=-1)  # (B, T / stride, 3 * n_in)
        return self.linear(unfolded, weights, name, CONV_TAPS * n_in, n_out, gelu=True)

    def layer_norm(self, x: TensorValue, weights: Weights, name: str, n_state: int) -> TensorValue:
        weight, bias = weights.norm(name, n_state)
        if x.dtype == DType.float32:
            return ops.layer_norm(x, weight, bias, LAYER_NORM_EPSILON)
        wide = (value.cast(DType.float32) for value in (x, weight, bias))
        return ops.layer_norm(*wide, LAYER_NORM_EPSILON).cast(x.dtype)

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
        y = x @ ops.transpose((weights / name)("weight", n_out, n_in), 0, 1)
        y = y + (weights / name)("bias", n_out) if bias else y
        y = ops.gelu(y) if gelu else y
        return y if residual is None else residual + y

    def normed_linear(
        self, x: TensorValue, weights: Weights, norm: str, name: str, n_in: int, n_out: int, *, bias: bool = True
    ) -> TensorValue:
        return self.linear(self.layer_norm(x, weights, norm, n_in), weights, name, n_in, n_out, bias=bias)

    def store_audio(self, audio: KeysAndValues, x: TensorValue, weights: Weights, n_in: int, n_out: int) -> None:
        for target, name in zip(audio, ("cross_attn.key", "cross_attn.value"), strict=True):
            y = self.linear(x, weights, name, n_in, n_out, bias=target is audio[1])
            ops.buffer_store(target, split_heads(y, int(target.shape[1])))

    def mlp(self, x: TensorValue, weights: Weights, n_state: int) -> TensorValue:
        normed = self.layer_norm(x, weights, "mlp_ln", n_state)
        hidden = self.linear(normed, weights, "mlp.0", n_state, 4 * n_state, gelu=True)
        return self.linear(hidden, weights, "mlp.2", 4 * n_state, n_state, residual=x)

    def embed(
        self, tokens: TensorValue, positions: TensorValue, weights: Weights, dims: ModelDimensions
    ) -> TensorValue:
        positional_embedding = weights("positional_embedding", dims.n_text_ctx, dims.n_text_state)
        token_embedding = (weights / "token_embedding")("weight", dims.n_vocab, dims.n_text_state)
        embedded = ops.gather(token_embedding, tokens, axis=0)
        return embedded + ops.gather(positional_embedding, positions, axis=0)

    def take_rows(self, x: TensorValue, rows: TensorValue) -> TensorValue:
        return ops.gather(x, rows, axis=0)

    def encoder_attention(self, qkv: TensorValue, n_head: int, weights: Weights) -> TensorValue:
        return self._self_attention(qkv, n_head, None)

    def self_attention(self, qkv: TensorValue, n_head: int, mask: TensorValue) -> TensorValue:
        return self._self_attention(qkv, n_head, mask)

    def _self_attention(self, qkv: TensorValue, n_head: int, mask: TensorValue | None) -> TensorValue:
        n_state = int(qkv.shape[2]) // 3
        q, k, v = ops.split(qkv, [n_state] * 3, axis=-1)
        q, k, v = (split_heads(part, n_head) for part in (scaled(q, n_head), k, v))
        return merge_heads(attention(q, k, v, mask))

    def store_prompt(self, cache: KeysAndValues, qkv: TensorValue, window_of_row: TensorValue) -> None:
        every = slice(None)
        n_head = int(cache[0].shape[1])
        _, k, v = ops.split(qkv, [int(qkv.shape[2]) // 3] * 3, axis=-1)
        for buffer, new in zip(cache, (k, v), strict=True):
            heads = split_heads(new, n_head).cast(buffer.dtype)
            prompt = ops.gather(heads, window_of_row, axis=0)  # (rows, H, length, hd)
            length = ops.shape_to_tensor(prompt.shape)[2].cast(DType.int64)
            ops.buffer_store_slice(buffer, prompt, [every, every, (slice(0, length), prompt.shape[2]), every])

    def copy_slots(
        self,
        targets: Sequence[BufferValue],
        sources: Sequence[TensorValue],
        row_of: TensorValue,
        n_slots: TensorValue,
    ) -> None:
        every, used = slice(None), (slice(0, n_slots[0]), "n_slots")
        for target, source in zip(targets, sources, strict=True):
            kept = source[every, every, used, every]  # (source_rows, H, n_slots, hd)
            ops.buffer_store_slice(target, ops.gather(kept, row_of, axis=0), [every, every, used, every])

    def cross_attention(self, q: TensorValue, keys: TensorValue, values: TensorValue) -> TensorValue:
        n_head = int(keys.shape[1])
        return merge_heads(attention(split_heads(scaled(q, n_head), n_head), keys, values))

    def step_block(
        self,
        x: TensorValue,
        lengths: TensorValue,
        weights: Weights,
        cache: KeysAndValues,
        audio: tuple[TensorValue, TensorValue],
        batch: Sequence[Dim],
    ) -> TensorValue:
        return decoder_block(
            x,
            weights,
            int(x.shape[1]),
            lambda qkv: decode_self_attention(qkv, lengths, *cache),
            lambda q: decode_cross_attention(q, *audio, batch),
        )

    def alignment(self, heads: TensorValue, length: Dim, dims: ModelDimensions) -> Alignment:
        return _Alignment(heads, dims)

    def target_probs(self, logits: TensorValue, targets: TensorValue, n_text_tokens: TensorValue) -> TensorValue:
        n_vocab = int(logits.shape[1])
        ids = ops.range(0, n_vocab, 1, dtype=DType.int32, device=logits.device).reshape((1, n_vocab))
        excluded = ops.greater_equal(ids, n_text_tokens.reshape((1, 1))).cast(DType.float32)
        every = ops.softmax(logits + excluded * MASKED)  # (T, n_vocab)
        return ops.gather_nd(every, ops.unsqueeze(targets, -1), batch_dims=1)


def split_heads(x: TensorValue, n_head: int) -> TensorValue:
    """(B, T, n_state) -> (B, H, T, hd)."""
    batch, length, n_state = x.shape
    x = x.reshape((batch, length, n_head, int(n_state) // n_head))  # (B, T, H, hd)
    return ops.permute(x, [0, 2, 1, 3])


class _Alignment:
    """Queries and keys of all layers, of which the heads are taken at the end."""

    def __init__(self, heads: TensorValue, dims: ModelDimensions) -> None:
        self._heads = heads
        self._n_head = dims.n_text_head
        self._queries: list[TensorValue] = []
        self._keys: list[TensorValue] = []

    def add(self, layer: int, q: TensorValue, keys: TensorValue) -> None:
        self._queries.append(split_heads(scaled(q, self._n_head), self._n_head))  # (1, H, length, hd)
        self._keys.append(keys)

    def result(self) -> TensorValue:
        q, k = (ops.gather(ops.concat(side, axis=1), self._heads, axis=1) for side in (self._queries, self._keys))
        k = k.cast(q.dtype)
        return ops.squeeze(ops.softmax((q @ ops.transpose(k, -1, -2)).cast(DType.float32)), 0)
