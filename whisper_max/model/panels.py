"""How matrices and caches are stored; apart from the graphs, so that who runs them needs no graph compiler."""

from __future__ import annotations

from max.dtype import DType

PANEL = 32
"""Outputs stored side by side on a CPU, as ``kernels/`` have it: a matrix (n_out, n_in) is (n_panels, n_in, PANEL)."""

GROUP = 4
"""Inputs that stand side by side in int8: such a matrix is stored (n_panels, n_groups, PANEL, GROUP)."""


def n_panels(n_out: int) -> int:
    """Panels of a layer with ``n_out`` outputs; the last one is filled up with zeros."""
    return -(-n_out // PANEL)


def n_groups(n_in: int) -> int:
    """Groups of an int8 layer with ``n_in`` inputs; the last one is filled up with zeros."""
    return -(-n_in // GROUP)


def kv_dtype(dtype: DType, storage: DType) -> DType:
    """The dtype of all caches: the activations', but float16 beside int8 weights, where half the memory counts.

    Args:
        dtype: of activations.
        storage: of the matrices of linear layers.
    """
    return DType.float16 if storage == DType.int8 else dtype
