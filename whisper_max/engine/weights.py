"""From a checkpoint's tensors to the weights that the compiled graphs ask for.

The graphs want what runs fastest: query, key and value stacked, the attention scale folded into the query, convolutions
as matrices. Each rule below makes one of their weights from the checkpoint's tensors, named as in openai-whisper.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from operator import itemgetter

import numpy as np
from max.driver import Buffer, Device
from max.dtype import DType
from numpy.typing import NDArray

from whisper_max.dims import ModelDimensions

Array = NDArray[np.float32]
Tensors = Mapping[str, Array]
Rule = tuple[str, Callable[[Tensors], Array]]


def prepare_weights(tensors: Tensors, dims: ModelDimensions, dtype: DType, device: Device) -> dict[str, Buffer]:
    """All weights of the graphs, by the graphs' names, in the compute dtype and on the device.

    Args:
        tensors: the checkpoint's state dict, complete and of the right shapes (the checkpoint room sees to that).
        dims: its dimensions.
        dtype: float32, float16 or bfloat16.
        device: where the graphs run.
    """
    return {name: to_device(make(tensors), dtype, device) for name, make in weight_rules(dims)}


def weight_rules(dims: ModelDimensions) -> Iterator[Rule]:
    """(the graphs' name, how to make it) for every weight."""
    for conv in ("encoder.conv1", "encoder.conv2"):
        yield f"{conv}.weight", partial(_unfolded, name=f"{conv}.weight")
        yield _as_is(f"{conv}.bias")
    yield _as_is("encoder.positional_embedding")
    for layer in range(dims.n_audio_layer):
        yield from _block_rules(f"encoder.blocks.{layer}", dims.n_audio_state // dims.n_audio_head)
    yield from _both("encoder.ln_post")
    yield _as_is("decoder.token_embedding.weight")
    yield _as_is("decoder.positional_embedding")
    for layer in range(dims.n_text_layer):
        block, head_dim = f"decoder.blocks.{layer}", dims.n_text_state // dims.n_text_head
        yield from _block_rules(block, head_dim)
        yield from _both(f"{block}.cross_attn_ln")
        for part in ("weight", "bias"):
            name = f"{block}.cross_attn.query.{part}"
            yield name, partial(_scaled, name=name, head_dim=head_dim)
        yield _as_is(f"{block}.cross_attn.key.weight")
        yield from _both(f"{block}.cross_attn.value")
        yield from _both(f"{block}.cross_attn.out")
    yield from _both("decoder.ln")


def _block_rules(block: str, head_dim: int) -> Iterator[Rule]:
    """What encoder and decoder blocks share."""
    attn = f"{block}.attn"
    yield f"{attn}.qkv.weight", partial(_stacked_weight, attn=attn, head_dim=head_dim)
    yield f"{attn}.qkv.bias", partial(_stacked_bias, attn=attn, head_dim=head_dim)
    for layer in (f"{attn}.out", f"{block}.attn_ln", f"{block}.mlp_ln", f"{block}.mlp.0", f"{block}.mlp.2"):
        yield from _both(layer)


def _as_is(name: str) -> Rule:
    return name, itemgetter(name)


def _both(layer: str) -> Iterator[Rule]:
    yield _as_is(f"{layer}.weight")
    yield _as_is(f"{layer}.bias")


def _scaled(tensors: Tensors, name: str, head_dim: int) -> Array:
    return tensors[name] * _scale(head_dim)


def _scale(head_dim: int) -> np.float32:
    """The attention scale ``hd ** -0.5``; a power of two for the 64 of every published model, so folding is exact."""
    return np.float32(head_dim**-0.5)


def _stacked_weight(tensors: Tensors, attn: str, head_dim: int) -> Array:
    """(3 * n_state, n_state): scaled query, key, value."""
    query, key, value = (tensors[f"{attn}.{part}.weight"] for part in ("query", "key", "value"))
    return np.concatenate([query * _scale(head_dim), key, value])


def _stacked_bias(tensors: Tensors, attn: str, head_dim: int) -> Array:
    """(3 * n_state,): scaled query, zeros (a key has no bias), value."""
    query, value = tensors[f"{attn}.query.bias"], tensors[f"{attn}.value.bias"]
    return np.concatenate([query * _scale(head_dim), np.zeros_like(query), value])


def _unfolded(tensors: Tensors, name: str) -> Array:
    """A convolution's (n_out, n_in, 3) as the matrix (n_out, 3 * n_in) over its unfolded input, taps outermost."""
    weight = tensors[name]
    return np.ascontiguousarray(weight.transpose(0, 2, 1)).reshape(weight.shape[0], -1)


def to_device(array: Array, dtype: DType, device: Device) -> Buffer:
    """A float32 array in the compute dtype, on the device; float32 on a CPU is not copied."""
    array = np.ascontiguousarray(array, dtype=np.float32)
    if dtype == DType.float16:
        buffer = Buffer.from_numpy(array.astype(np.float16))
    elif dtype == DType.bfloat16:
        buffer = Buffer.from_numpy(_bfloat16_bits(array)).view(DType.bfloat16, array.shape)
    else:
        buffer = Buffer.from_numpy(array)
    return buffer if device.is_host else buffer.to(device)


def _bfloat16_bits(array: Array) -> NDArray[np.uint16]:
    """The upper halves of float32 values, rounded to nearest even."""
    bits = array.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
