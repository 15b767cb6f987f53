"""The parts every block is made of that are the same everywhere: layer norm, and heads put side by side or apart.

Those that differ, linear layers and attention among them, are in ``ops.Ops``.
"""

from __future__ import annotations

from max.dtype import DType
from max.graph import TensorValue, ops

from whisper_max.model.weights import Weights

LAYER_NORM_EPSILON = 1e-5  # torch.nn.LayerNorm's default, which Whisper was trained with


def layer_norm(x: TensorValue, weights: Weights, name: str, n_state: int) -> TensorValue:
    """Normalise the last axis in float32, whatever the compute dtype. x: (..., n_state), same shape out."""
    weight, bias = norm_operands(weights / name, n_state)
    if x.dtype == DType.float32:
        return ops.layer_norm(x, weight, bias, LAYER_NORM_EPSILON)
    wide = (value.cast(DType.float32) for value in (x, weight, bias))
    return ops.layer_norm(*wide, LAYER_NORM_EPSILON).cast(x.dtype)


def norm_operands(weights: Weights, n_state: int) -> list[TensorValue]:
    """Declare weight and bias of a layer norm, each (n_state,)."""
    return [weights("weight", n_state), weights("bias", n_state)]


def split_heads(x: TensorValue, n_head: int) -> TensorValue:
    """(B, T, n_state) -> (B, H, T, hd)."""
    batch, length, n_state = x.shape
    x = x.reshape((batch, length, n_head, int(n_state) // n_head))  # (B, T, H, hd)
    return ops.permute(x, [0, 2, 1, 3])


def merge_heads(x: TensorValue) -> TensorValue:
    """(B, H, T, hd) -> (B, T, n_state)."""
    batch, n_head, length, head_dim = x.shape
    return ops.permute(x, [0, 2, 1, 3]).reshape((batch, length, int(n_head) * int(head_dim)))


def scaled(q: TensorValue, n_head: int) -> TensorValue:
    """Queries times ``hd ** -0.5``; exact for the 64 wide heads of every published model. q: (..., n_state)."""
    return q * (int(q.shape[-1]) // n_head) ** -0.5
