"""A window that grows, encoded a piece at a time: what is kept of it in between, and what is encoded anew.

An encoder hears forwards, too, so new sound changes its whole window, but most of all what is near. What is more than
``HEARD_AGAIN`` before the new sound, and the silence from ``SILENCE_AGAIN`` after it, stays as it was encoded last.
With less silence decodings end too early, and go on in a second window; with silence that was encoded behind another
utterance, or behind none, they are wrong more often (docs/live.md).
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
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
from whisper_max.engine.runtime import Graph, Placement
from whisper_max.errors import ArtifactError

HEARD_AGAIN, SILENCE_AGAIN = 4.0, 2.0  # seconds
_MOST = 0.6  # of a window: to encode more anew is hardly quicker than all
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
    """A window of a stream, whose sound grows at its end; one that begins elsewhere is another, and encoded as a whole.

    Attributes:
        n_renewed: how many positions the last encoding encoded anew.
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
        self.n_renewed = 0

    def encode(self, mel: Float32, start: int) -> EncodedWindows:
        """The features of the window, as it sounds now; they are good until the next call.

        mel: (n_mels, n_frames) float32. start: the sample of the stream that it begins with.
        """
        before = self._mel if start == self._start else None
        renewed = self._positions_to_renew(mel, before)
        self._mel, self._start = None, start  # where encoding fails, nothing is known of what is kept
        self.n_renewed = len(renewed)
        if renewed:
            self._xa[:, renewed.start : renewed.stop] = self._renew(mel, renewed)
        self._mel = mel.copy() if before is None else before
        self._mel[:, 2 * renewed.start : 2 * renewed.stop] = mel[:, 2 * renewed.start : 2 * renewed.stop]
        return EncodedWindows(self._renewal.placement.put(self._xa))

    def _positions_to_renew(self, mel: Float32, heard: Float32 | None) -> range:
        n_positions = self._renewal.dims.n_audio_ctx
        if heard is None:
            return range(n_positions)
        changed = np.flatnonzero(np.any(np.abs(mel - heard) > _SAME, axis=0)) // 2  # two frames are a position
        if not len(changed):
            return range(0)
        before, after = (round(seconds * n_positions / CHUNK_LENGTH) for seconds in (HEARD_AGAIN, SILENCE_AGAIN))
        start, stop = max(int(changed[0]) - before, 0), min(int(changed[-1]) + 1 + after, n_positions)
        return range(start, stop) if stop - start <= _MOST * n_positions else range(n_positions)

    def _renew(self, mel: Float32, renewed: range) -> NDArray[np.float32]:
        """Encode some positions anew: (1, len(renewed), n_audio_state)."""
        renewal, put = self._renewal, self._renewal.placement.put
        start = max(renewed.start - 1, 0)  # the convolutions hear a neighbour on both sides
        stop = min(renewed.stop + 1, renewal.dims.n_audio_ctx)
        (xa,) = renewal.graph.execute(
            put(mel[None, :, 2 * start : 2 * stop]),
            put(self._positions[start:stop]),
            put(np.arange(renewed.start - start, renewed.stop - start, dtype=np.int32)),
            put(np.array([renewed.start], np.int32)),
            *self._kept,
        )
        return renewal.placement.get(xa)
