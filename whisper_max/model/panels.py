"""How matrices and caches are stored; apart from the graphs, so that who runs them needs no graph compiler."""

from __future__ import annotations

from max.dtype import DType

from whisper_max.dims import ModelDimensions

PANEL = 32
"""Outputs stored side by side on a CPU, as ``kernels/`` have it: a matrix (n_out, n_in) is (n_panels, n_in, PANEL)."""

SCALE_BYTES = 4
"""Of the scale that each position of an int8 key or value has, float32."""

GROUP = 4
"""Inputs that stand side by side in int8: such a matrix is stored (n_panels, n_groups, PANEL, GROUP)."""


def n_panels(n_out: int) -> int:
    """Panels of a layer with ``n_out`` outputs; the last one is filled up with zeros."""
    return -(-n_out // PANEL)


def n_groups(n_in: int) -> int:
    """Groups of an int8 layer with ``n_in`` inputs; the last one is filled up with zeros."""
    return -(-n_in // GROUP)


def kv_dtype(dtype: DType, storage: DType) -> DType:
    """The dtype of self-attention's cache: that of activations, but float16 beside matrices (storage) in int8."""
    return DType.float16 if storage == DType.int8 else dtype


def cross_dtype(dtype: DType, storage: DType) -> DType:
    """The dtype of cross keys and values: that of activations, but int8 beside matrices (storage) in int8."""
    return DType.int8 if storage == DType.int8 else dtype


def cross_shape(dims: ModelDimensions, dtype: DType) -> tuple[int, int, int]:
    """The shape of one window's cross keys, and of its values, in one layer: (H, n_audio_ctx, hd).

    In int8 positions are filled up to whole panels, and each has a scale besides, (H, n_padded, hd + 4); how its bytes
    are in order, ``kernels/int8_audio.mojo`` says.
    """
    n_head, head_dim = dims.n_text_head, dims.n_text_state // dims.n_text_head
    if dtype != DType.int8:
        return n_head, dims.n_audio_ctx, head_dim
    return n_head, n_panels(dims.n_audio_ctx) * PANEL, head_dim + SCALE_BYTES
