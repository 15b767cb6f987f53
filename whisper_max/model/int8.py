"""Matrices of 8 bit integers on a CPU: layers quantise their inputs too, and compute in integers.

So are the keys and values of the audio; queries are held in 16 bits.
"""

from __future__ import annotations

from dataclasses import replace

from max.dtype import DType
from max.graph import TensorValue, ops

from whisper_max.model.layers import KeysAndValues, Ops, Weights, cross_attention, self_attention
from whisper_max.model.panels import GROUP, PANEL, n_groups, n_panels

FINE = ("mlp.2", "logits")
"""Layers of the decoder whose inputs are held in 16 bits, as two bytes: where rounding to 8 moves most what is said."""


class Int8Weights(Weights):
    """Weights whose matrices have a scale and an offset for each output, (n_panels * PANEL,)."""

    def kernel(self, name: str) -> str:
        return f"whisper_max.int8_{name}"

    def panels(self, name: str, n_in: int, n_out: int) -> list[TensorValue]:
        """Declare a matrix, (n_panels, n_groups, PANEL, GROUP), and its scales, float32."""
        shape = (n_panels(n_out), n_groups(n_in), PANEL, GROUP)
        matrix = self._declare(f"{name}.weight", shape, DType.int8)
        return [matrix, self._declare(f"{name}.scale", (n_panels(n_out) * PANEL,), DType.float32)]

    def layer(self, name: str, n_in: int, n_out: int) -> list[TensorValue]:
        """Declare a layer: matrix, bias, scale, and offset, int32."""
        matrix, scale = self.panels(name, n_in, n_out)
        bias = self._declare(f"{name}.bias", (n_panels(n_out) * PANEL,), self.dtype)
        offset = self._declare(f"{name}.offset", (n_panels(n_out) * PANEL,), DType.int32)
        return [matrix, bias, scale, offset]

    def parameters(self, name: str) -> dict[str, int]:
        """Bytes that a layer's inputs are held in."""
        return {"parts": 2 if self.prefix.startswith("decoder.") and name in FINE else 1}

    def processor(self) -> list[TensorValue]:
        """Declare ``vnni``, (1,) int32, whatever the prefix: which instructions for integers there are."""
        return [replace(self, prefix="")._declare("vnni", (1,), DType.int32)]


class Int8Ops(Ops):
    """The layers of a CPU for such weights. n_audio: positions of the audio; its keys are filled up to whole panels."""

    alignment_kernel = "whisper_max.int8_attention_weights"

    def __init__(self, n_audio: int) -> None:
        self.block_parameters = {"n_audio": n_audio}

    def encoder_attention(self, qkv: TensorValue, n_head: int, weights: Weights) -> TensorValue:
        return int8_self_attention(qkv, n_head, *weights.processor())

    def store_audio(self, audio: KeysAndValues, x: TensorValue, weights: Weights, n_in: int, n_out: int) -> None:
        for target, name in zip(audio, ("cross_attn.key", "cross_attn.value"), strict=True):
            operands = [target, x.reshape((x.shape[0] * x.shape[1], n_in)), *weights.operands(name, n_in, n_out)]
            parameters: dict[str, bool | int] = {"head_dim": n_out // int(target.shape[1]), "keys": target is audio[0]}
            ops.inplace_custom("whisper_max.int8_linear_audio", x.device, operands, parameters=parameters)

    def cross_attention(self, q: TensorValue, keys: TensorValue, values: TensorValue) -> TensorValue:
        return cross_attention("whisper_max.int8_cross_attention", q, keys, values, **self.block_parameters)


def int8_self_attention(qkv: TensorValue, n_head: int, vnni: TensorValue) -> TensorValue:
    """Self-attention with products of 8 bit integers, without a mask. vnni: see ``Int8Weights.processor``."""
    return self_attention("whisper_max.int8_self_attention", [qkv, vnni], n_head)
