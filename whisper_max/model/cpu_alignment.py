"""``ops.Ops`` on a CPU, for what words are timed by.

They have operations of their own too, since MAX's product of matrices alone would take a third of the time in which all
graphs are compiled.
"""

from __future__ import annotations

import numpy as np
from max.dtype import DType
from max.graph import BufferType, Dim, TensorType, TensorValue, ops

from whisper_max.dims import ModelDimensions


class _Alignment:
    """Weights of the heads in a buffer, which each layer's operation fills."""

    def __init__(self, heads: TensorValue, length: Dim, dims: ModelDimensions) -> None:
        shape = [heads.shape[0], length, dims.n_audio_ctx]
        self._heads = heads
        self._weights = ops.buffer_create(BufferType(DType.float32, shape, device=heads.device))

    def add(self, layer: int, q: TensorValue, keys: TensorValue) -> None:
        number = ops.constant(np.array([layer], np.int32), DType.int32, q.device)
        ops.inplace_custom(
            "whisper_max.attention_weights",
            q.device,
            [self._weights, q, keys, self._heads, number],
            parameters={"head_dim": int(keys.shape[3])},
        )

    def result(self) -> TensorValue:
        return ops.buffer_load(self._weights)


def alignment(heads: TensorValue, length: Dim, dims: ModelDimensions) -> _Alignment:
    return _Alignment(heads, length, dims)


def target_probs(logits: TensorValue, targets: TensorValue, n_text_tokens: TensorValue) -> TensorValue:
    result_type = TensorType(DType.float32, targets.shape, device=logits.device)
    values = [logits, targets, n_text_tokens]
    (probs,) = ops.custom("whisper_max.target_probs", logits.device, values, out_types=[result_type])
    return probs.tensor
