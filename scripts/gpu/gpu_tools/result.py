"""One comparison of a device's values with what they should be."""

from __future__ import annotations

from dataclasses import dataclass

TOLERANCE = {"float32": 1e-4, "float16": 5e-3, "bfloat16": 1e-2}
"""Largest relative error ||ours - expected|| / ||expected|| by dtype; expected from inputs rounded to the dtype."""


@dataclass(frozen=True)
class Result:
    """One comparison. error: relative (absolute for the mel, wrong tokens for choices); NaN where something is not a
    number."""

    name: str
    shape: str
    error: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """True within the tolerance; a NaN never is."""
        return self.error <= self.tolerance
