"""How the CPU's kernels store the matrix of a linear layer; ``kernels/`` has the same numbers."""

from __future__ import annotations

PANEL = 32
"""Outputs that are stored side by side: a matrix (n_out, n_in) is stored (n_panels, n_in, PANEL)."""


GROUP = 4
"""Inputs that stand side by side in int8: such a matrix is stored (n_panels, n_groups, PANEL, GROUP)."""


def n_panels(n_out: int) -> int:
    """Panels of a layer with ``n_out`` outputs; the last one is filled up with zeros."""
    return -(-n_out // PANEL)


def n_groups(n_in: int) -> int:
    """Groups of an int8 layer with ``n_in`` inputs; the last one is filled up with zeros."""
    return -(-n_in // GROUP)
