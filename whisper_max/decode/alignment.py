"""What word timing asks of a model, for a window that is decoded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray


@dataclass
class Alignment:
    """What word timing needs of a window's n tokens.

    weights: (n_alignment_heads, n, n_audio_ctx) float32, the softmaxed cross-attention of the alignment heads.
    token_probs: (n,) float32; entry i is the probability of token i given those before it, among the first
        ``n_competing`` tokens; entry 0 is 0.
    """

    weights: NDArray[np.float32]
    token_probs: NDArray[np.float32]


Align: TypeAlias = Callable[[Sequence[int], int], Alignment]
"""Called with tokens and ``n_competing``: how a window's audio goes with them."""
