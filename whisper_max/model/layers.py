"""What graphs are made of: layers and their weights.

``Weights`` are placeholders that are bound when the compiled graph is loaded. Keeping weights outside the graph makes
a compiled artifact depend on dimensions, dtypes and device alone, so one artifact serves every checkpoint of a size.

``Ops`` is the one place where graphs differ by device. It says what there is to compute, and how a CPU does it: by
operations of our own (``kernels/``), in float32 between matrices in panels; several layers are one operation where that
saves waking threads. ``gpu.stock`` does it by MAX's operations, and ``gpu.fast`` has other forms of attention.
``module.weights_for`` chooses among them, once; a graph's builders have the choice as ``Weights.ops``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import TypeAlias

import numpy as np
from max.dtype import DType
from max.graph import BufferValue, DeviceRef, Dim, TensorType, TensorValue, ops

from whisper_max.dims import ModelDimensions
from whisper_max.model.alignment import AlignmentOps
from whisper_max.model.panels import PANEL, n_panels
from whisper_max.model.slots import SlotOps

CONV_TAPS = 3  # inputs that an output of a convolution of the stem is made of
KeysAndValues: TypeAlias = tuple[BufferValue, BufferValue]
Declared = dict[str, tuple[tuple[int, ...], DType]]
"""Full name -> shape and dtype of a weight."""


@dataclass(frozen=True)
class Weights:
    """A prefix into the model's weights.

    ``weights / "blocks" / 3`` narrows the prefix; calling it declares one weight. ``declared`` collects every weight,
    by full name, shared by all prefixes of one graph module.

    dtype: of activations and of weights that are small. storage: of the matrices of linear layers. On a GPU it is
    ``dtype``; on a CPU float32 or float16 (widened as it is read, exact), or int8 (``int8.Int8Weights``). ops: the
    layers of the device.
    """

    dtype: DType
    storage: DType
    device: DeviceRef
    ops: Ops
    prefix: str = ""
    declared: Declared = field(default_factory=dict)

    def __truediv__(self, part: str | int) -> Weights:
        return replace(self, prefix=f"{self.prefix}{part}.")

    def __call__(self, name: str, *shape: int) -> TensorValue:
        """Declare the weight ``prefix + name`` of the given shape and return it as a graph value."""
        return self._declare(name, shape, self.dtype)

    def norm(self, name: str, n_state: int) -> list[TensorValue]:
        """Declare weight and bias of a layer norm, each (n_state,)."""
        return [self(f"{name}.weight", n_state), self(f"{name}.bias", n_state)]

    def panels(self, name: str, n_in: int, n_out: int) -> list[TensorValue]:
        """Declare a linear layer's matrix in panels: (n_panels, n_in, PANEL) in the storage dtype."""
        return [self._declare(f"{name}.weight", (n_panels(n_out), n_in, PANEL), self.storage)]

    def layer(self, name: str, n_in: int, n_out: int) -> list[TensorValue]:
        """Declare a linear layer for the kernels: the matrix and the bias, zeros where there is none."""
        matrix = self.panels(name, n_in, n_out)
        return [*matrix, self._declare(f"{name}.bias", (n_panels(n_out) * PANEL,), self.dtype)]

    def operands(self, name: str, n_in: int, n_out: int) -> list[TensorValue]:
        """Declare what the linear kernels take: a layer, and what they are told of the processor."""
        return [*self.layer(name, n_in, n_out), *self.processor()]

    def processor(self) -> list[TensorValue]:
        """Declare what the kernels are told of the processor: nothing, but in int8."""
        return []

    def kernel(self, name: str) -> str:
        """The custom operation ``name`` for matrices in the storage dtype."""
        return f"whisper_max.{name}"

    def parameters(self, name: str) -> dict[str, int]:
        """What the kernels are told of a layer besides: nothing, but in int8."""
        return {}

    def _declare(self, name: str, shape: tuple[int, ...], dtype: DType) -> TensorValue:
        full_name = self.prefix + name
        self.declared[full_name] = (shape, dtype)
        return ops.constant_external(full_name, TensorType(dtype, list[int](shape), device=self.device))


class Ops(AlignmentOps, SlotOps):
    """The layers of one kind of device; here of a CPU."""

    block_parameters: Mapping[str, int] = {}
    """What the operation of a decoder block is told besides, where its types do not say it."""

    def stem_stages(self, mel: TensorValue, weights: Weights, dims: ModelDimensions) -> list[TensorValue]:
        """What ``stem`` gives, before and after positions are added."""
        return [self.stem(mel, weights, dims, adds_positions=adds) for adds in (False, True)]

    def stem(
        self, mel: TensorValue, weights: Weights, dims: ModelDimensions, *, adds_positions: bool = True
    ) -> TensorValue:
        """The convolutions, and positions. mel: (B, n_mels, n_frames) float32 -> (B, n_audio_ctx, n_audio_state)."""
        n_state = dims.n_audio_state
        values = [
            mel,
            weights("positional_embedding", dims.n_audio_ctx, n_state),
            ops.constant(np.array([adds_positions], np.int32), DType.int32, mel.device),
            *weights.layer("conv1", CONV_TAPS * dims.n_mels, n_state),
            *weights.layer("conv2", CONV_TAPS * n_state, n_state),
            *weights.processor(),
        ]
        result_type = TensorType(DType.float32, [mel.shape[0], dims.n_audio_ctx, n_state], device=mel.device)
        (x,) = ops.custom(weights.kernel("conv_stem"), mel.device, values, out_types=[result_type])
        return x.tensor

    def layer_norm(self, x: TensorValue, weights: Weights, name: str, n_state: int) -> TensorValue:
        """Normalise the last axis in float32, whatever the dtype. x: (..., n_state), same shape out."""
        return _run("whisper_max.layer_norm", [rows_of(x), *weights.norm(name, n_state)], x.shape)

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

        x: (..., n_in) -> (..., n_out), the shape of residual. On a CPU a layer without a bias has one of zeros.
        """
        values = [rows_of(x), *weights.operands(name, n_in, n_out)]
        shape = [*x.shape[:-1], n_out]
        if residual is None:
            return _run(weights.kernel("linear"), values, shape, gelu=gelu)
        values.insert(1, rows_of(residual))
        return _run(weights.kernel("linear_residual"), values, shape)

    def normed_linear(
        self, x: TensorValue, weights: Weights, norm: str, name: str, n_in: int, n_out: int, *, bias: bool = True
    ) -> TensorValue:
        """``linear(layer_norm(x))``. x: (..., n_in) -> (..., n_out)."""
        values = [rows_of(x), *weights.norm(norm, n_in), *weights.operands(name, n_in, n_out)]
        return _run(weights.kernel("normed_linear"), values, [*x.shape[:-1], n_out], **weights.parameters(name))

    def logits(self, x: TensorValue, weights: Weights, dims: ModelDimensions) -> TensorValue:
        """Logits of ``ln(x)``, by a matrix of their own or the embedding. x: (n, n_text_state) -> (n, n_vocab)."""
        n_state, n_vocab = dims.n_text_state, dims.n_vocab
        return self.normed_linear(x, weights, "ln", "logits", n_state, n_vocab, bias=False).cast(DType.float32)

    def store_audio(self, audio: KeysAndValues, x: TensorValue, weights: Weights, n_in: int, n_out: int) -> None:
        """Fill a layer's cross keys and values, each (B, H, T, hd). x: (B, T, n_in); n_out: H * hd."""
        for target, name in zip(audio, ("cross_attn.key", "cross_attn.value"), strict=True):
            operands = [target, rows_of(x), *weights.operands(name, n_in, n_out)]
            parameters = {"head_dim": int(target.shape[3])}
            ops.inplace_custom(weights.kernel("linear_heads"), x.device, operands, parameters=parameters)

    def mlp(self, x: TensorValue, weights: Weights, n_state: int) -> TensorValue:
        """Layer norm, two linear layers around a GELU, the residual. x: (..., n_state), same shape out."""
        values = [
            *(rows_of(x), *weights.norm("mlp_ln", n_state)),
            *weights.layer("mlp.0", n_state, 4 * n_state),
            *weights.operands("mlp.2", 4 * n_state, n_state),
        ]
        return _run(weights.kernel("mlp"), values, x.shape, **weights.parameters("mlp.2"))

    def embed(
        self, tokens: TensorValue, positions: TensorValue, weights: Weights, dims: ModelDimensions
    ) -> TensorValue:
        """Embeddings of tokens and of positions. tokens: (..., T) int32; positions: (T,) int32. Returns (..., T, n)."""
        flat = tokens.reshape((prod(tokens.shape[1:], start=tokens.shape[0]),))
        table = weights("positional_embedding", dims.n_text_ctx, dims.n_text_state)
        matrix = weights.panels("token_embedding", dims.n_text_state, dims.n_vocab)
        return _run(weights.kernel("embed"), [flat, positions, table, *matrix], [*tokens.shape, dims.n_text_state])

    def take_rows(self, x: TensorValue, rows: TensorValue) -> TensorValue:
        """Some rows of x, in an order. x: (n_rows, n_state); rows: (n,) int32. Returns (n, n_state)."""
        result_type = TensorType(x.dtype, [rows.shape[0], x.shape[1]], device=x.device)
        return ops.custom("whisper_max.take_rows", x.device, [x, rows], out_types=[result_type])[0].tensor

    def encoder_attention(self, qkv: TensorValue, n_head: int, weights: Weights) -> TensorValue:
        """Every position over all others. qkv: (B, T, 3 * n_state) -> (B, T, n_state)."""
        return self_attention("whisper_max.self_attention", [qkv], n_head, causal=False)

    def self_attention(self, qkv: TensorValue, n_head: int, mask: TensorValue) -> TensorValue:
        """A sequence over itself. qkv: (B, T, 3 * n_state); mask: the causal mask, (T, T). Returns (B, T, n_state).

        A CPU's kernel needs no mask to know what comes later.
        """
        return self_attention("whisper_max.self_attention", [qkv], n_head, causal=True)

    def store_prompt(self, cache: KeysAndValues, qkv: TensorValue, window_of_row: TensorValue) -> None:
        """Write the first slots of one layer's cache, whose keys and values are (rows, H, capacity, hd).

        qkv: (windows, length, 3 * n_state); window_of_row: (rows,) int32.
        """
        told = {"head_dim": int(cache[0].shape[3])}
        ops.inplace_custom("whisper_max.store_prompt", qkv.device, [*cache, qkv, window_of_row], parameters=told)

    def cross_attention(self, q: TensorValue, keys: TensorValue, values: TensorValue) -> TensorValue:
        """A sequence over the audio. q: (B, T, n_state); keys, values: (B, H, S, hd). Returns (B, T, n_state)."""
        return cross_attention("whisper_max.cross_attention", q, keys, values)

    def step_block(
        self,
        x: TensorValue,
        lengths: TensorValue,
        weights: Weights,
        cache: KeysAndValues,
        audio: tuple[TensorValue, TensorValue],
        batch: Sequence[Dim],
    ) -> TensorValue:
        """A decoder block for one new token a row. x: (rows, n_state), same shape out.

        lengths: (rows,) int32; cache: keys and values (rows, H, capacity, hd), where the new ones are written; audio:
        cross keys and values, as for ``cross_attention``; batch: the dimensions (windows, hyps), whose product is rows.
        """
        n_state = int(x.shape[1])
        values = [
            *(x, lengths, *cache, *audio, *weights.processor()),
            *weights.norm("attn_ln", n_state),
            *weights.layer("attn.qkv", n_state, 3 * n_state),
            *weights.layer("attn.out", n_state, n_state),
            *weights.norm("cross_attn_ln", n_state),
            *weights.layer("cross_attn.query", n_state, n_state),
            *weights.layer("cross_attn.out", n_state, n_state),
            *weights.norm("mlp_ln", n_state),
            *weights.layer("mlp.0", n_state, 4 * n_state),
            *weights.layer("mlp.2", 4 * n_state, n_state),
        ]
        parameters = {"head_dim": int(cache[0].shape[3]), **self.block_parameters, **weights.parameters("mlp.2")}
        kernel = weights.kernel("decoder_block")
        (y,) = ops.inplace_custom(kernel, x.device, values, out_types=[x.type], parameters=parameters)
        return y.tensor


def self_attention(kernel: str, values: Sequence[TensorValue], n_head: int, **parameters: bool) -> TensorValue:
    """Run a kernel of self-attention. The first value is qkv, (B, T, 3 * n_state); returns (B, T, n_state)."""
    qkv = values[0]
    *leading, width = qkv.shape
    n_state = int(width) // 3
    (attended,) = ops.custom(
        kernel,
        qkv.device,
        values,
        out_types=[TensorType(qkv.dtype, [*leading, n_state], device=qkv.device)],
        parameters={"head_dim": n_state // n_head, **parameters},
    )
    return attended.tensor


def cross_attention(
    kernel: str, q: TensorValue, keys: TensorValue, values: TensorValue, **parameters: int
) -> TensorValue:
    """Run a kernel of attention over the audio. q: (B, T, n_state); returns the same shape."""
    told = {"head_dim": int(q.shape[2]) // int(keys.shape[1]), **parameters}
    (attended,) = ops.custom(kernel, q.device, [q, keys, values], out_types=[q.type], parameters=told)
    return attended.tensor


def rows_of(x: TensorValue) -> TensorValue:
    """(..., n) -> (rows, n)."""
    first, *others, n = x.shape
    return x.reshape((prod(others, start=first), n))


def _run(kernel: str, values: Sequence[TensorValue], shape: Sequence[Dim | int], **parameters: int) -> TensorValue:
    """Run a kernel over the first of the values, row by row; returns its rows in a shape, float32."""
    x = values[0]
    result_type = TensorType(DType.float32, [x.shape[0], shape[-1]], device=x.device)
    (y,) = ops.custom(kernel, x.device, values, out_types=[result_type], parameters=parameters)
    return y.tensor.reshape(shape)
