"""Matrices of 8 bit integers on a CPU: layers quantise their inputs too, and compute in integers."""

from __future__ import annotations

from dataclasses import replace

from max.dtype import DType
from max.graph import TensorValue

from whisper_max.model.layers import Ops, Weights, self_attention
from whisper_max.model.panels import GROUP, PANEL, n_groups, n_panels


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

    def processor(self) -> list[TensorValue]:
        """Declare ``vnni``, (1,) int32, whatever the prefix: which instructions for integers there are."""
        return [replace(self, prefix="")._declare("vnni", (1,), DType.int32)]


class Int8Ops(Ops):
    """The layers of a CPU for such weights."""

    def encoder_attention(self, qkv: TensorValue, n_head: int, weights: Weights) -> TensorValue:
        return int8_self_attention(qkv, n_head, *weights.processor())


def int8_self_attention(qkv: TensorValue, n_head: int, vnni: TensorValue) -> TensorValue:
    """Self-attention with products of 8 bit integers, without a mask. vnni: see ``Int8Weights.processor``."""
    return self_attention("whisper_max.int8_self_attention", [qkv, vnni], n_head)
