"""Dtypes that follow from others; apart from the graphs, so that who runs them needs no graph compiler."""

from __future__ import annotations

from max.dtype import DType


def kv_dtype(dtype: DType, storage: DType) -> DType:
    """The dtype of all caches: the activations', but float16 beside int8 weights, where half the memory counts.

    Args:
        dtype: of activations.
        storage: of the matrices of linear layers.
    """
    return DType.float16 if storage == DType.int8 else dtype
