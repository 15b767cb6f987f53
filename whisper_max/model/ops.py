"""What a CPU and a GPU compute in ways of their own: the one place where graphs differ by device.

``cpu`` has operations of this package's own (``kernels/``), ``gpu.stock`` MAX's, and ``gpu.fast`` the same but for
attention. ``module.ops_for`` chooses among them, once; a graph's builders have the choice as ``Weights.ops``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from max.graph import BufferValue, Dim, TensorValue

from whisper_max.dims import ModelDimensions

if TYPE_CHECKING:
    from whisper_max.model.weights import Weights


class Alignment(Protocol):
    """Collects what the alignment heads attend to, layer by layer."""

    def add(self, layer: int, q: TensorValue, keys: TensorValue) -> None:
        """Take in a layer's queries, (1, length, n_state), and its cross keys, (1, H, n_audio_ctx, hd)."""

    def result(self) -> TensorValue:
        """What each position attends to in each head, (n_heads, length, n_audio_ctx) float32, each row's sum 1."""


class Ops(Protocol):
    """The layers of one kind of device; a module with these functions."""

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
        """``x @ weight.T + bias``, then an exact (erf) GELU or the sum with a residual, where asked.

        x: (..., n_in) -> (..., n_out), the shape of residual.
        """

    def normed_linear(
        self, x: TensorValue, weights: Weights, norm: str, name: str, n_in: int, n_out: int, *, bias: bool = True
    ) -> TensorValue:
        """``linear(layer_norm(x))``. x: (..., n_in) -> (..., n_out)."""

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
        """Fill a buffer (B, H, T, hd) with a linear layer's result by heads. x: (B, T, n_in); n_out: H * hd."""

    def mlp(self, x: TensorValue, weights: Weights, n_state: int) -> TensorValue:
        """A block's second half: layer norm, two linear layers around a GELU, the residual.

        x: (..., n_state), same shape out.
        """

    def embed_tokens(self, tokens: TensorValue, weights: Weights, n_vocab: int, n_state: int) -> TensorValue:
        """Rows of ``token_embedding``. tokens: (..., T) int32 -> (..., T, n_state)."""

    def encoder_attention(self, qkv: TensorValue, n_head: int, weights: Weights) -> TensorValue:
        """Every position over all others. qkv: (B, T, 3 * n_state) -> (B, T, n_state)."""

    def self_attention(self, qkv: TensorValue, n_head: int, mask: TensorValue) -> TensorValue:
        """A sequence over itself. qkv: (B, T, 3 * n_state); mask: the causal mask, (T, T). Returns (B, T, n_state)."""

    def cross_attention(self, q: TensorValue, keys: TensorValue, values: TensorValue) -> TensorValue:
        """A sequence over the audio. q: (B, T, n_state); keys, values: (B, H, S, hd). Returns (B, T, n_state)."""

    def step_block(
        self,
        x: TensorValue,
        lengths: TensorValue,
        weights: Weights,
        cache: tuple[BufferValue, BufferValue],
        audio: tuple[TensorValue, TensorValue],
        batch: Sequence[Dim],
    ) -> TensorValue:
        """A decoder block for one new token a row. x: (rows, n_state), same shape out.

        lengths: (rows,) int32; cache: keys and values (rows, H, capacity, hd), where the new ones are written; audio:
        cross keys and values (windows, H, n_audio_ctx, hd); batch: the dimensions (windows, hyps), whose product is
        rows.
        """

    def alignment(self, heads: TensorValue, length: Dim, dims: ModelDimensions) -> Alignment:
        """A collector. heads: (n_heads,) int32, as layer * n_text_head + head; length: of the text."""

    def target_probs(self, logits: TensorValue, targets: TensorValue, n_text_tokens: TensorValue) -> TensorValue:
        """softmax(logits[:, :n_text_tokens])[i, targets[i]] for each i; 0 for a target that does not compete.

        logits: (T, n_vocab); targets: (T,) int32; n_text_tokens: (1,) int32. Returns (T,) float32.
        """
