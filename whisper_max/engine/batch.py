"""Windows on the device: their audio features, and batches of caches with the graphs that run on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from max.driver import Buffer
from max.dtype import DType
from numpy.typing import NDArray

from whisper_max.decode.contract import Alignment, Float32
from whisper_max.dims import ModelDimensions
from whisper_max.engine.alignment_heads import AlignmentHeads, align
from whisper_max.engine.copies import copy_row, take_rows
from whisper_max.engine.runtime import Graph, Placement, prompt_inputs, rows_of, runs_of
from whisper_max.model.panels import cross_shape


@dataclass(frozen=True)
class EncodedWindows:
    """Audio features ``xa``, (n_windows, n_audio_ctx, n_audio_state); see ``decode.contract.AudioFeatures``."""

    xa: Buffer

    @property
    def n_windows(self) -> int:
        return int(self.xa.shape[0])

    def select(self, windows: Sequence[int]) -> EncodedWindows:
        """Some of the windows, in the order given; neighbours share the memory of all."""
        first, n_windows = (windows[0], len(windows)) if windows else (0, 0)
        if list(windows) == list(range(first, first + n_windows)):
            return EncodedWindows(*rows_of([self.xa], slice(first, first + n_windows)))
        return EncodedWindows(take_rows(self.xa, windows))


@dataclass(frozen=True)
class DecoderGraphs:
    """What every batch of a model shares: its graphs, and where they run.

    cross_dtype: of cross keys and values. alignment_heads: those that follow the audio.
    """

    graphs: Mapping[str, Graph]
    dims: ModelDimensions
    placement: Placement
    cross_dtype: DType
    alignment_heads: AlignmentHeads

    def cross_kv(self, n_windows: int) -> list[Buffer]:
        """Room for cross keys, then values, of all layers, each (n_windows, *cross_shape)."""
        shape = (n_windows, *cross_shape(self.dims, self.cross_dtype))
        return [self.placement.zeros(shape, self.cross_dtype) for _ in range(2 * self.dims.n_text_layer)]

    def fill_cross_kv(self, xa: Buffer, sides: Sequence[Buffer]) -> None:
        """Write the cross keys and values of encoded windows."""
        self.graphs["cross_kv"].execute(xa, *sides)

    def kv_cache(self, n_rows: int) -> list[Buffer]:
        """Room for keys, then values, of all layers, each (n_rows, H, n_text_ctx, hd)."""
        dims = self.dims
        shape = (n_rows, dims.n_text_head, dims.n_text_ctx, dims.n_text_state // dims.n_text_head)
        # Zeros, so that a masked slot is finite. On a host untouched pages cost no memory.
        return [self.placement.zeros(shape) for _ in range(2 * dims.n_text_layer)]

    def host_logits(self, logits: Buffer) -> Float32:
        """Logits on the host, without the columns that fill up the last panel of a CPU's weights."""
        return self.placement.get(logits)[:, : self.dims.n_vocab]


class KVBatch:
    """Windows with ``n_hyps`` hypotheses each; row = window * n_hyps + hypothesis. See ``decode.contract``."""

    def __init__(self, model: DecoderGraphs, max_windows: int, n_hyps: int) -> None:
        self._model = model
        self._n_hyps = n_hyps
        self._n_windows = 0
        self._lengths = np.zeros(max_windows * n_hyps, np.int32)  # tokens in each row's cache
        self._all_cross = model.cross_kv(max_windows)
        self._all_cache = model.kv_cache(max_windows * n_hyps)
        self._spare: list[Buffer] = []  # a second cache, for beams that change places
        self._cross = self._cache = self._all_cross  # those of the windows there are
        self._resize(0)

    @property
    def n_windows(self) -> int:
        return self._n_windows

    @property
    def n_hyps(self) -> int:
        return self._n_hyps

    def put(self, windows: Sequence[int], features: EncodedWindows) -> None:
        """Give some slots their audio."""
        self._resize(max(self._n_windows, *(window + 1 for window in windows)))
        for run in runs_of(windows):
            slots = slice(windows[run.start], windows[run.start] + run.stop - run.start)
            (xa,) = rows_of([features.xa], run)
            self._model.fill_cross_kv(xa, rows_of(self._cross, slots))

    def keep(self, windows: Sequence[int]) -> None:
        """Shrink to these windows; those from beyond the new end move into the slots of those that are dropped."""
        for slot, window in enumerate(windows):
            if slot != window:
                self._move(window, slot)
        self._resize(len(windows))

    def _move(self, window: int, slot: int) -> None:
        for side in self._cross:
            copy_row(side, slot, side, window)
        source, target = self._rows(window, 1), self._rows(slot, 1)
        self._lengths[target] = self._lengths[source]
        every = np.arange(self._n_hyps, dtype=np.int32)
        self._gather(every, rows_of(self._cache, target), rows_of(self._cache, source), self._lengths[source])

    def _resize(self, n_windows: int) -> None:
        self._n_windows = n_windows
        self._cross = rows_of(self._all_cross, slice(0, n_windows))
        self._cache = rows_of(self._all_cache, self._rows(0, n_windows))

    def _rows(self, first: int, n_windows: int) -> slice:
        return slice(first * self._n_hyps, (first + n_windows) * self._n_hyps)

    def prefill(
        self, windows: Sequence[int], prompts: Sequence[Sequence[int]], positions: Sequence[Sequence[int]]
    ) -> Float32:
        """Start some windows from their prompts; neighbours run in one call."""
        logits = np.empty((len(windows), len(positions[0]), self._model.dims.n_vocab), np.float32)
        for run in runs_of(windows):
            logits[run] = self._prefill_run(windows[run.start], prompts[run], positions[run])
        return logits

    def _prefill_run(self, first: int, prompts: Sequence[Sequence[int]], positions: Sequence[Sequence[int]]) -> Float32:
        n_windows = len(prompts)
        wanted = [(window, position) for window, places in enumerate(positions) for position in places]
        rows = self._rows(first, n_windows)
        (logits,) = self._model.graphs["prefill"].execute(
            *map(self._model.placement.put, prompt_inputs(prompts, wanted, self._n_hyps)),
            *rows_of(self._cache, rows),
            *rows_of(self._cross, slice(first, first + n_windows)),
        )
        self._lengths[rows] = np.repeat([len(prompt) for prompt in prompts], self._n_hyps)
        return self._model.host_logits(logits).reshape(n_windows, -1, self._model.dims.n_vocab)

    def step(self, tokens: NDArray[np.int32]) -> Float32:
        """Append one token to every row."""
        put = self._model.placement.put
        lengths = self._lengths[: len(tokens)]
        (logits,) = self._model.graphs["step"].execute(
            put(tokens.reshape(self._n_windows, self._n_hyps)), put(lengths), *self._cache, *self._cross
        )
        # A finished row goes on stepping in place at the end of its cache until its window leaves.
        np.minimum(lengths + 1, self._model.dims.n_text_ctx - 1, out=lengths)
        return self._model.host_logits(logits)

    def reorder(self, rows: NDArray[np.int32]) -> None:
        """Row i takes over the history of row ``rows[i]``."""
        if np.array_equal(rows, np.arange(len(rows))):
            return
        self._spare = self._spare or self._model.kv_cache(len(self._lengths))
        lengths = self._lengths[: len(rows)]
        self._gather(rows, rows_of(self._spare, slice(0, len(rows))), self._cache, lengths)
        self._all_cache, self._spare = self._spare, self._all_cache
        lengths[:] = lengths[rows]
        self._resize(self._n_windows)

    def _gather(
        self, rows: NDArray[np.int32], target: list[Buffer], source: list[Buffer], lengths: NDArray[np.int32]
    ) -> None:
        """Fill a cache with rows of another; no slot beyond the longest of ``lengths`` is copied."""
        n_slots = Buffer.from_numpy(np.array([int(lengths.max())], np.int64))
        self._model.graphs["reorder"].execute(self._model.placement.put(rows), n_slots, *target, *source)

    def align(self, window: int, tokens: Sequence[int], n_competing: int) -> Alignment:
        """Run a window's finished tokens and return the attention of the alignment heads."""
        return align(self._model, rows_of(self._cross, slice(window, window + 1)), tokens, n_competing)
