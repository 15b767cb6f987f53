"""How the CPU's kernels store the matrix of a linear layer; ``kernels/tiles.mojo`` has the same numbers."""

from __future__ import annotations

PANEL = 32
"""Outputs that are stored side by side: a matrix (n_out, n_in) is stored (n_panels, n_in, PANEL)."""


def n_panels(n_out: int) -> int:
    """Panels of a layer with ``n_out`` outputs; the last one is filled up with zeros."""
    return -(-n_out // PANEL)
