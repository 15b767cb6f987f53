"""A window that grows, encoded a piece at a time: what is kept of it in between, and what is encoded anew.

A new window is encoded as a whole; where others wait, as if only ``SILENCE_HEARD`` of silence came behind its sound,
but ``LEAST_HEARD`` in all. The rest of it then has the features that it has in a window without any sound.

An encoder hears forwards, too, so new sound changes its whole window, but most of all what is near: what is more than
``HEARD_AGAIN`` before the new sound, and the silence from ``SILENCE_HEARD`` after it, stays as it was encoded last.
What both cost in words is in docs/live.md.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from weakref import WeakKeyDictionary

import numpy as np
from max.driver import Buffer
from max.dtype import DType
from numpy.typing import NDArray

from whisper_max.compile.renewal import find_renewal, is_renewed
from whisper_max.compile.store import Report
from whisper_max.decode.contract import Float32, Inference
from whisper_max.dims import CHUNK_LENGTH, ModelDimensions
from whisper_max.engine.batch import EncodedWindows
from whisper_max.engine.engine import WhisperEngine
from whisper_max.engine.loading import load_graphs
from whisper_max.engine.runtime import Graph, Placement, rows_of
from whisper_max.errors import ArtifactError

HEARD_AGAIN, SILENCE_HEARD, LEAST_HEARD = 4.0, 2.0, 12.0  # seconds
_MOST = 0.6  # of what is heard: to encode more anew is hardly quicker than all
_SILENCE = np.float32(-0.73)  # a log-mel between words of one who speaks as loud as most
_SAME = np.float32(0.02)  # differences of a log-mel that are none; a quarter is a decade of power


@dataclass(frozen=True)
class Renewal:
    """What encodes windows piece by piece.

    graph: ``renew`` of ``model/renewal.py``. weights: the model's, by the graphs' names.
    """

    graph: Graph
    weights: Mapping[str, Buffer]
    dims: ModelDimensions
    placement: Placement

    @cached_property
    def silence(self) -> Float32:
        """The features of a window without sound, (n_audio_ctx, n_audio_state)."""
        return self.new_window().encode_silence()

    def new_window(self) -> GrowingWindow:
        """A window that nothing is known of."""
        return GrowingWindow(self)


_RENEWALS: WeakKeyDictionary[WhisperEngine, Renewal] = WeakKeyDictionary()
_LOADING = threading.Lock()


def renewal_of(inference: Inference, report: Report) -> Renewal | None:
    """What encodes a model's windows piece by piece, loaded once; None for a model that encodes them as a whole.

    Raises:
        ArtifactError: the graph can't be compiled or loaded.
    """
    if not isinstance(inference, WhisperEngine) or not inference.target.is_cpu or not is_renewed(inference.dims):
        return None
    if inference.decoder.cross_dtype != DType.int8:
        return None
    with _LOADING:
        if inference not in _RENEWALS:
            _RENEWALS[inference] = _load(inference, report)
        return _RENEWALS[inference]


def _load(engine: WhisperEngine, report: Report) -> Renewal:
    module, placement = find_renewal(engine.dims, report), engine.decoder.placement
    try:
        graph = load_graphs(module, placement.device, engine.weights)["renew"]
    except (RuntimeError, ValueError) as error:
        raise ArtifactError("the compiled graph can't be loaded", where="renewal", found=error) from error
    return Renewal(graph, engine.weights, engine.dims, placement)


class GrowingWindow:
    """A window of a stream, whose sound grows at its end; one that begins elsewhere is another.

    Attributes:
        n_heard: how many positions the last encoding heard, those that were kept included.
        n_renewed: how many of them it encoded anew.
    """

    def __init__(self, renewal: Renewal) -> None:
        dims, zeros = renewal.dims, renewal.placement.zeros
        self._renewal = renewal
        self._mel: Float32 | None = None  # each frame as it was when it was encoded
        self._start = 0
        self._positions = renewal.placement.get(renewal.weights["encoder.positional_embedding"])
        shape = (dims.n_audio_ctx, 2 * dims.n_audio_state)
        self._kept = [zeros(shape, DType.float32) for _ in range(dims.n_audio_layer)]
        self._xa = np.zeros((1, dims.n_audio_ctx, dims.n_audio_state), np.float32)
        self.n_heard = self.n_renewed = 0

    def encode(self, mel: Float32, start: int, *, brief: bool = False) -> EncodedWindows:
        """The features of the window, as it sounds now; they are good until the next call.

        mel: (n_mels, n_frames) float32. start: the sample of the stream that it begins with. brief: leave out of a new
            window what is far behind its sound.
        """
        before = self._mel if start == self._start else None
        n_before = 0 if before is None else self.n_heard
        self.n_heard = self._positions_heard(mel, n_before, brief=brief)
        renewed = self._positions_to_renew(mel, before, n_before)
        self._mel, self._start = None, start  # where encoding fails, nothing is known of what is kept
        self.n_renewed = len(renewed)
        if renewed:
            self._xa[:, renewed.start : renewed.stop] = self._renew(mel, renewed)
        if self.n_heard < self._renewal.dims.n_audio_ctx:
            self._xa[0, self.n_heard :] = self._renewal.silence[self.n_heard :]
        self._mel = mel.copy() if before is None else before
        self._mel[:, 2 * renewed.start :] = mel[:, 2 * renewed.start :]
        return EncodedWindows(self._renewal.placement.put(self._xa))

    def encode_silence(self) -> Float32:
        """The features of a window without sound, (n_audio_ctx, n_audio_state)."""
        self.n_heard = self._renewal.dims.n_audio_ctx
        silence = np.full((self._renewal.dims.n_mels, 2 * self.n_heard), _SILENCE)
        xa: Float32 = self._renew(silence, range(self.n_heard))[0].copy()
        return xa

    def _n_positions(self, seconds: float) -> int:
        return round(seconds * self._renewal.dims.n_audio_ctx / CHUNK_LENGTH)

    def _positions_heard(self, mel: Float32, n_before: int, *, brief: bool) -> int:
        """Those of the sound and of the silence behind it that is encoded; n_before: that are encoded already."""
        most = self._renewal.dims.n_audio_ctx
        if not (n_before or brief):
            return most
        sound = _changes(mel, mel[:, -1:])
        n_heard = (sound.stop if sound else 0) + self._n_positions(SILENCE_HEARD)
        return min(max(n_before or self._n_positions(LEAST_HEARD), n_heard), most)

    def _positions_to_renew(self, mel: Float32, heard: Float32 | None, n_before: int) -> range:
        if heard is None:
            return range(self.n_heard)
        changed = _changes(mel, heard)
        if not changed:
            return range(self.n_heard, self.n_heard)
        start = min(max(changed.start - self._n_positions(HEARD_AGAIN), 0), n_before)
        stop = min(changed.stop + self._n_positions(SILENCE_HEARD), self.n_heard)
        return range(start, stop) if stop - start <= _MOST * self.n_heard else range(self.n_heard)

    def _renew(self, mel: Float32, renewed: range) -> NDArray[np.float32]:
        """Encode some of the positions that are heard anew: (1, len(renewed), n_audio_state)."""
        renewal, put = self._renewal, self._renewal.placement.put
        start = max(renewed.start - 1, 0)  # the convolutions hear a neighbour on both sides
        stop = min(renewed.stop + 1, renewal.dims.n_audio_ctx)
        (xa,) = renewal.graph.execute(
            put(mel[None, :, 2 * start : 2 * stop]),
            put(self._positions[start:stop]),
            put(np.arange(renewed.start - start, renewed.stop - start, dtype=np.int32)),
            put(np.array([renewed.start], np.int32)),
            *rows_of(self._kept, slice(0, self.n_heard)),
        )
        return renewal.placement.get(xa)


def _changes(mel: Float32, other: Float32) -> range:
    """The positions between the first and the last that differ; two frames are a position."""
    changed = np.flatnonzero(np.any(np.abs(mel - other) > _SAME, axis=0)) // 2
    return range(int(changed[0]), int(changed[-1]) + 1) if len(changed) else range(0)
