"""A decoder batch: the caches of some windows and their hypotheses, and the graphs that run on them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

import numpy as np
from max.driver import Buffer
from max.engine import Model
from numpy.typing import NDArray

from whisper_max.dims import ModelDimensions
from whisper_max.engine.features import EncodedWindows
from whisper_max.engine.tensors import Placement, causal_mask, copy_row, rows_of, take_rows

Float32 = NDArray[np.float32]


class KVBatch:
    """Windows with ``n_hyps`` hypotheses each; row = window * n_hyps + hypothesis. See ``decode.inference``."""

    def __init__(
        self,
        graphs: dict[str, Model],
        dims: ModelDimensions,
        placement: Placement,
        features: EncodedWindows,
        n_hyps: int,
    ) -> None:
        self._graphs = graphs
        self._dims = dims
        self._placement = placement
        self._n_hyps = n_hyps
        self._cross = features.cross_kv()
        self._owns_cross = False  # shared with the features until something has to change
        self._n_windows = features.n_windows
        self._lengths = np.zeros(features.n_windows * n_hyps, np.int32)  # tokens in each row's cache
        self._cache = self._new_cache()
        self._spare: list[Buffer] = []

    @property
    def n_windows(self) -> int:
        """How many windows the batch holds."""
        return self._n_windows

    @property
    def n_hyps(self) -> int:
        """Hypotheses a window."""
        return self._n_hyps

    def prefill(
        self, windows: Sequence[int], prompts: Sequence[Sequence[int]], positions: Sequence[Sequence[int]]
    ) -> Float32:
        """Start some windows from their prompts; neighbours of equal prompt length run in one call."""
        logits = np.empty((len(windows), len(positions[0]), self._dims.n_vocab), np.float32)
        for run in _runs(windows):
            first = windows[run.start]
            logits[run] = self._prefill_run(first, prompts[run], positions[run])
        return logits

    def _prefill_run(
        self, first: int, prompts: Sequence[Sequence[int]], positions: Sequence[Sequence[int]]
    ) -> Float32:
        n_windows, length = len(prompts), max(len(prompt) for prompt in prompts)
        tokens = np.zeros((n_windows, length), np.int32)
        for row, prompt in zip(tokens, prompts, strict=True):
            row[: len(prompt)] = prompt
        wanted = [
            window * length + position % len(prompt)
            for window, (prompt, places) in enumerate(zip(prompts, positions, strict=True))
            for position in places
        ]
        rows = slice(first * self._n_hyps, (first + n_windows) * self._n_hyps)
        (logits,) = self._graphs["prefill"].execute(
            self._placement.put(tokens),
            self._placement.put(np.arange(length, dtype=np.int32)),
            self._placement.put(causal_mask(length)),
            self._placement.put(np.array(wanted, np.int32)),
            self._placement.put(np.repeat(np.arange(n_windows, dtype=np.int32), self._n_hyps)),
            *rows_of(self._cache, rows),
            *rows_of(self._cross, slice(first, first + n_windows)),
        )
        self._lengths[rows] = np.repeat([len(prompt) for prompt in prompts], self._n_hyps)
        return self._logits(logits).reshape(n_windows, -1, self._dims.n_vocab)

    def step(self, tokens: NDArray[np.int32]) -> Float32:
        """Append one token to every row."""
        (logits,) = self._graphs["step"].execute(
            self._placement.put(tokens.reshape(self._n_windows, self._n_hyps)),
            self._placement.put(self._lengths),
            *self._cache,
            *self._cross,
        )
        # A finished row goes on stepping in place at the end of its cache until its window leaves.
        np.minimum(self._lengths + 1, self._dims.n_text_ctx - 1, out=self._lengths)
        return self._logits(logits)

    def _logits(self, logits: Buffer) -> Float32:
        """On the host, without the columns past the vocabulary that fill up the last panel of a CPU's weights."""
        return self._placement.get(logits)[:, : self._dims.n_vocab]

    def reorder(self, rows: NDArray[np.int32]) -> None:
        """Row i takes over the history of row ``rows[i]``."""
        if np.array_equal(rows, np.arange(len(rows))):
            return
        target = self._spare or self._new_cache()
        self._gather(rows, target)
        self._cache, self._spare = target, self._cache
        self._lengths = self._lengths[rows]

    def replace(self, windows: Sequence[int], features: EncodedWindows) -> None:
        """Give some windows new audio."""
        if not self._owns_cross:
            self._cross = [take_rows(side, range(self._n_windows)) for side in self._cross]
            self._owns_cross = True
        for source, window in enumerate(windows):
            for own, new in zip(self._cross, features.cross_kv(), strict=True):
                copy_row(own, window, new, source)

    def keep(self, windows: Sequence[int]) -> None:
        """Shrink to these windows, in this order."""
        rows = np.array([window * self._n_hyps + hyp for window in windows for hyp in range(self._n_hyps)], np.int32)
        self._cross = [take_rows(side, windows) for side in self._cross]
        self._owns_cross = True
        self._n_windows = len(windows)
        self._lengths = self._lengths[rows]
        target = self._new_cache()
        self._gather(rows, target)
        self._cache, self._spare = target, []

    def _gather(self, rows: NDArray[np.int32], target: list[Buffer]) -> None:
        n_slots = Buffer.from_numpy(np.array([int(self._lengths.max())], np.int64))
        self._graphs["reorder"].execute(self._placement.put(rows), n_slots, *target, *self._cache)

    def _new_cache(self) -> list[Buffer]:
        """Keys, then values, of all layers; zeros, so that a masked slot is finite. Untouched pages cost no memory."""
        dims = self._dims
        shape = (len(self._lengths), dims.n_text_head, dims.n_text_ctx, dims.n_text_state // dims.n_text_head)
        return [self._placement.zeros(shape) for _ in range(2 * dims.n_text_layer)]


def _runs(windows: Sequence[int]) -> Iterator[slice]:
    """The stretches of consecutive windows in a list, as slices of it."""
    breaks = [0, *_breaks(windows), len(windows)]
    return (slice(start, stop) for start, stop in pairwise(breaks) if start < stop)


def _breaks(windows: Sequence[int]) -> Iterable[int]:
    return (index for index in range(1, len(windows)) if windows[index] != windows[index - 1] + 1)
