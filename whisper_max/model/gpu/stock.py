"""``layers.Ops`` on a GPU by MAX's own operations; the plain forms that ``fast`` takes the rest from."""

from __future__ import annotations

from collections.abc import Sequence

from max.dtype import DType
from max.graph import BufferValue, Dim, TensorValue, ops

from whisper_max.dims import ModelDimensions
from whisper_max.model.decoder import decoder_block
from whisper_max.model.gpu.decode_attention import (
    MASKED,
    attention,
    decode_cross_attention,
    decode_self_attention,
    merge_heads,
    scaled,
)
from whisper_max.model.layers import Ops, Weights, layer_norm, split_heads


class StockOps(Ops):
    """The layers of a GPU."""

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
        return self.linear(layer_norm(x, weights, norm, n_in), weights, name, n_in, n_out, bias=bias)

    def store_heads(
        self,
        target: BufferValue,
        x: TensorValue,
        weights: Weights,
        name: str,
        n_in: int,
        n_out: int,
        *,
        bias: bool = True,
    ) -> None:
        y = self.linear(x, weights, name, n_in, n_out, bias=bias)
        ops.buffer_store(target, split_heads(y, int(target.shape[1])))

    def mlp(self, x: TensorValue, weights: Weights, n_state: int) -> TensorValue:
        normed = layer_norm(x, weights, "mlp_ln", n_state)
        hidden = self.linear(normed, weights, "mlp.0", n_state, 4 * n_state, gelu=True)
        return self.linear(hidden, weights, "mlp.2", 4 * n_state, n_state, residual=x)

    def embed_tokens(self, tokens: TensorValue, weights: Weights, n_vocab: int, n_state: int) -> TensorValue:
        return ops.gather((weights / "token_embedding")("weight", n_vocab, n_state), tokens, axis=0)

    def encoder_attention(self, qkv: TensorValue, n_head: int, weights: Weights) -> TensorValue:
        return self._self_attention(qkv, n_head, None)

    def self_attention(self, qkv: TensorValue, n_head: int, mask: TensorValue) -> TensorValue:
        return self._self_attention(qkv, n_head, mask)

    def _self_attention(self, qkv: TensorValue, n_head: int, mask: TensorValue | None) -> TensorValue:
        n_state = int(qkv.shape[2]) // 3
        q, k, v = ops.split(qkv, [n_state] * 3, axis=-1)
        q, k, v = (split_heads(part, n_head) for part in (scaled(q, n_head), k, v))
        return merge_heads(attention(q, k, v, mask))

    def cross_attention(self, q: TensorValue, keys: TensorValue, values: TensorValue) -> TensorValue:
        n_head = int(keys.shape[1])
        return merge_heads(attention(split_heads(scaled(q, n_head), n_head), keys, values))

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
            lambda qkv: decode_self_attention(qkv, lengths, *cache),
            lambda q: decode_cross_attention(q, *audio, batch),
        )

    def alignment(self, heads: TensorValue, length: Dim, dims: ModelDimensions) -> _Alignment:
        return _Alignment(heads, dims)

    def target_probs(self, logits: TensorValue, targets: TensorValue, n_text_tokens: TensorValue) -> TensorValue:
        n_vocab = int(logits.shape[1])
        ids = ops.range(0, n_vocab, 1, dtype=DType.int32, device=logits.device).reshape((1, n_vocab))
        excluded = ops.greater_equal(ids, n_text_tokens.reshape((1, 1))).cast(DType.float32)
        every = ops.softmax(logits + excluded * MASKED)  # (T, n_vocab)
        return ops.gather_nd(every, ops.unsqueeze(targets, -1), batch_dims=1)


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
