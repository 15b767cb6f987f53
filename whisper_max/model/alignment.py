"""What words are timed by: a part of ``layers.Ops`` that only the graph ``align`` has.

A CPU has operations of its own for it, since MAX's product of matrices alone would take a third of the time in which
all graphs are compiled.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from max.dtype import DType
from max.graph import BufferType, Dim, TensorType, TensorValue, ops

from whisper_max.dims import ModelDimensions


class Alignment(Protocol):
    """Collects what the alignment heads attend to, layer by layer."""

    def add(self, layer: int, q: TensorValue, keys: TensorValue) -> None:
        """Take in a layer's queries, (1, length, n_state), and its cross keys, (1, H, n_audio_ctx, hd)."""

    def result(self) -> TensorValue:
        """What each position attends to in each head, (n_heads, length, n_audio_ctx) float32, each row's sum 1."""


class AlignmentOps:
    """What one kind of device computes for it; here a CPU."""

    alignment_kernel = "whisper_max.attention_weights"

    def alignment(self, heads: TensorValue, length: Dim, dims: ModelDimensions) -> Alignment:
        """A collector. heads: (n_heads,) int32, as layer * n_text_head + head; length: of the text."""
        return _Alignment(self.alignment_kernel, heads, length, dims)

    def target_probs(self, logits: TensorValue, targets: TensorValue, n_text_tokens: TensorValue) -> TensorValue:
        """softmax(logits[:, :n_text_tokens])[i, targets[i]] for each i; 0 for a target that does not compete.

        logits: (T, n_vocab); targets: (T,) int32; n_text_tokens: (1,) int32. Returns (T,) float32.
        """
        result_type = TensorType(DType.float32, targets.shape, device=logits.device)
        values = [logits, targets, n_text_tokens]
        (probs,) = ops.custom("whisper_max.target_probs", logits.device, values, out_types=[result_type])
        return probs.tensor


class _Alignment:
    """Weights of the heads in a buffer, which each layer's operation fills. kernel: its name."""

    def __init__(self, kernel: str, heads: TensorValue, length: Dim, dims: ModelDimensions) -> None:
        self._kernel = kernel
        shape = [heads.shape[0], length, dims.n_audio_ctx]
        self._heads = heads
        self._weights = ops.buffer_create(BufferType(DType.float32, shape, device=heads.device))

    def add(self, layer: int, q: TensorValue, keys: TensorValue) -> None:
        number = ops.constant(np.array([layer], np.int32), DType.int32, q.device)
        ops.inplace_custom(
            self._kernel,
            q.device,
            [self._weights, q, keys, self._heads, number],
            parameters={"head_dim": int(q.shape[2]) // int(keys.shape[1])},
        )

    def result(self) -> TensorValue:
        return ops.buffer_load(self._weights)
