"""A random state dict of any size, quick to make, its values exact in the dtype that is checked."""

from __future__ import annotations

import numpy as np
from max.dtype import DType
from numpy.typing import NDArray

from whisper_max.checkpoint.layout import tensor_shapes
from whisper_max.dims import ModelDimensions

Array = NDArray[np.float32]


def rounded(values: NDArray[np.floating], dtype: DType) -> Array:
    """The nearest values that a dtype has, as float32."""
    values = np.ascontiguousarray(values, np.float32)
    if dtype == DType.float16:
        return values.astype(np.float16).astype(np.float32)
    if dtype == DType.bfloat16:
        bits = values.view(np.uint32)
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)
    return values


def random_tensors(dims: ModelDimensions, dtype: DType, rng: np.random.Generator) -> dict[str, Array]:
    """openai-whisper's names; scaled so that activations stay about 1, as in a trained model."""
    tensors = {}
    for name, shape in tensor_shapes(dims).items():
        values = rng.standard_normal(shape, dtype=np.float32)
        if name.endswith("_ln.weight") or name.endswith("ln_post.weight") or name == "decoder.ln.weight":
            values = 1 + 0.1 * values
        elif name.endswith("bias"):
            values *= 0.1
        elif "embedding" in name:
            values *= 0.3
        else:
            values /= np.sqrt(np.prod(shape[1:]))
        tensors[name] = rounded(values, dtype)
    return tensors


def tiled_tensors(dims: ModelDimensions) -> dict[str, Array]:
    """As ``random_tensors``, of one block of values again and again: seconds less for a large model that is timed."""
    block = np.random.default_rng(0).standard_normal(1 << 16, dtype=np.float32)
    tensors = {}
    for name, shape in tensor_shapes(dims).items():
        scale = 0.1 if len(shape) == 1 else 0.3 if "embedding" in name else 1 / np.sqrt(np.prod(shape[1:]))
        tensors[name] = np.resize(np.float32(scale) * block, shape)
    return tensors
