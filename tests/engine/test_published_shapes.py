"""A published size that no test has weights of, with random ones: the artifact that ships, against NumPy in float64.

The smallest of them, with fewer decoder than encoder blocks; ``scripts/checks/published_shapes.py`` runs all.
"""

from __future__ import annotations

from scripts.checks.published_shapes import TOLERANCES, errors
from whisper_max.checkpoint.published import MODELS


def test_a_distilled_size():
    for compute_type, found in errors(MODELS["distil-small.en"].dims, list(TOLERANCES)).items():
        assert max(found.values()) < TOLERANCES[compute_type], (compute_type, found)
