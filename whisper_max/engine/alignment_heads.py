"""The attention heads that time words: the checkpoint's, else those of the decoder's upper half."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from whisper_max.checkpoint import Checkpoint


class AlignmentHeads:
    """Alignment heads counted through all layers, and a remark on them that is made when they are first used.

    Args:
        checkpoint: the model. Where it states no head that it has, all heads of the decoder's upper half are taken, as
            openai/whisper ``model.py`` does for models that it does not know.
        report: called with the remark, once, where the heads are not just those that the checkpoint states.
    """

    def __init__(self, checkpoint: Checkpoint, report: Callable[[str], object]) -> None:
        dims, stated, dropped = checkpoint.dims, checkpoint.alignment_heads, checkpoint.heads_dropped
        self._report = report
        self._remark = None
        if stated:
            numbers = [layer * dims.n_text_head + head for layer, head in stated]
            if dropped:
                self._remark = (
                    f"left out {dropped} of {dropped + len(stated)} alignment heads, which this model has not"
                )
        else:
            numbers = list(range(dims.n_text_layer // 2 * dims.n_text_head, dims.n_text_layer * dims.n_text_head))
            why = (
                "its alignment heads are not known" if not dropped else f"it has none of its {dropped} alignment heads"
            )
            self._remark = f"words of this model are timed by the upper half of its decoder, less exactly: {why}"
        self._numbers = np.array(numbers, np.int32)

    def numbers(self) -> NDArray[np.int32]:
        """(n_heads,) int32, layer * n_text_head + head."""
        remark, self._remark = self._remark, None
        if remark is not None:
            self._report(remark)
        return self._numbers
