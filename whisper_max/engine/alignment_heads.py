"""What words are timed by: the attention of the checkpoint's alignment heads, else of the decoder's upper half."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from max.driver import Buffer
from numpy.typing import NDArray

from whisper_max.checkpoint import Checkpoint
from whisper_max.decode.contract import Alignment
from whisper_max.engine.runtime import causal_mask

if TYPE_CHECKING:
    from whisper_max.engine.batch import DecoderGraphs


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


def align(model: DecoderGraphs, cross: Sequence[Buffer], tokens: Sequence[int], n_competing: int) -> Alignment:
    """Run finished tokens over a window's cross keys and values; see ``DecoderBatch.align``."""
    place, row = model.placement, np.array(tokens, np.int32)
    inputs = [
        row[None],
        np.arange(len(row), dtype=np.int32),
        causal_mask(len(row)),
        model.alignment_heads.numbers(),
        np.append(row[1:], 0).astype(np.int32),
        np.array([n_competing], np.int32),
    ]
    weights, probs = model.graphs["align"].execute(*map(place.put, inputs), *cross)
    return Alignment(place.get(weights), np.concatenate([np.zeros(1, np.float32), place.get(probs)[:-1]]))
