"""The parts every block is made of: linear layers, layer norm, heads and attention."""

from __future__ import annotations

from max.dtype import DType
from max.graph import TensorValue, ops

from whisper_max.graph.weights import Weights

LAYER_NORM_EPSILON = 1e-5  # torch.nn.LayerNorm's default, which Whisper was trained with


def linear(x: TensorValue, weights: Weights, name: str, n_in: int, n_out: int, *, bias: bool = True) -> TensorValue:
    """``x @ weight.T + bias``. x: (..., n_in) -> (..., n_out); the weight is stored (n_out, n_in)."""
    y = x @ ops.transpose((weights / name)("weight", n_out, n_in), 0, 1)
    return y + (weights / name)("bias", n_out) if bias else y


def layer_norm(x: TensorValue, weights: Weights, name: str, n_state: int) -> TensorValue:
    """Normalise the last axis in float32, whatever the compute dtype. x: (..., n_state), same shape out."""
    weight, bias = (weights / name)("weight", n_state), (weights / name)("bias", n_state)
    if x.dtype == DType.float32:
        return ops.layer_norm(x, weight, bias, LAYER_NORM_EPSILON)
    wide = (value.cast(DType.float32) for value in (x, weight, bias))
    return ops.layer_norm(*wide, LAYER_NORM_EPSILON).cast(x.dtype)


def mlp(x: TensorValue, weights: Weights, n_state: int) -> TensorValue:
    """Two linear layers around an exact (erf) GELU. x: (..., n_state), same shape out."""
    hidden = ops.gelu(linear(x, weights, "mlp.0", n_state, 4 * n_state))
    return linear(hidden, weights, "mlp.2", 4 * n_state, n_state)


def split_heads(x: TensorValue, n_head: int) -> TensorValue:
    """(B, T, n_state) -> (B, H, T, hd)."""
    batch, length, n_state = x.shape
    x = x.reshape((batch, length, n_head, int(n_state) // n_head))  # (B, T, H, hd)
    return ops.permute(x, [0, 2, 1, 3])


def merge_heads(x: TensorValue) -> TensorValue:
    """(B, H, T, hd) -> (B, T, n_state)."""
    batch, n_head, length, head_dim = x.shape
    return ops.permute(x, [0, 2, 1, 3]).reshape((batch, length, int(n_head) * int(head_dim)))


def attention(q: TensorValue, k: TensorValue, v: TensorValue, mask: TensorValue | None = None) -> TensorValue:
    """``softmax(q @ k^T + mask) @ v``; softmax in float32.

    q is already scaled by ``hd ** -0.5`` (the query weights are, when they are loaded), which also keeps the compiler
    from choosing its fused CPU attention, slower than these three ops.

    q: (B, H, T, hd); k, v: (B, H, S, hd); mask: broadcastable to (B, H, T, S), added. Returns (B, H, T, hd).
    """
    qk = q @ ops.transpose(k, -1, -2)  # (B, H, T, S)
    if mask is not None:
        qk = qk + mask
    weights = ops.softmax(qk) if qk.dtype == DType.float32 else ops.softmax(qk.cast(DType.float32)).cast(v.dtype)
    return weights @ v
