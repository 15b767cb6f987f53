"""faster-whisper's ``faster_whisper.vad``: where somebody speaks, and the speech as samples of its own."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whisper_max.audio import vad_options as native
from whisper_max.audio.vad import find_speech, speech_probabilities
from whisper_max.audio.vad_options import VAD_CHUNK
from whisper_max.audio.waveform import SAMPLE_RATE, ArrayWaveform
from whisper_max.errors import OptionError


@dataclass
class VadOptions:
    """When speech begins and ends; what the fields mean stands at ``whisper_max.audio.vad_options.VadOptions``."""

    threshold: float = 0.5
    neg_threshold: float | None = None
    min_speech_duration_ms: int = 0
    max_speech_duration_s: float = float("inf")
    min_silence_duration_ms: int = 2000
    speech_pad_ms: int = 400

    def native(self) -> native.VadOptions:
        """The same for ``whisper_max``.

        Raises:
            OptionError: an impossible value.
        """
        return native.VadOptions(**asdict(self))


def vad_options_of(given: dict[str, Any] | VadOptions | None, default: VadOptions | None = None) -> VadOptions:
    """``vad_parameters`` as ``VadOptions``; None stands for the default.

    Raises:
        OptionError: a name that is no option.
    """
    if given is None:
        return default or VadOptions()
    if isinstance(given, VadOptions):
        return given
    names = [each.name for each in fields(VadOptions)]
    unknown = sorted(set(given) - set(names))
    if unknown:
        raise OptionError(
            "unknown option", where="vad_parameters", expected=f"some of {', '.join(names)}", found=", ".join(unknown)
        )
    return VadOptions(**given)


_Span = Mapping[str, Any]
"""First sample of speech as "start", and the one after the last as "end"."""


def get_speech_timestamps(
    audio: NDArray[np.float32],
    vad_options: VadOptions | None = None,
    sampling_rate: int = SAMPLE_RATE,
    **kwargs: Any,
) -> list[dict[str, int]]:
    """The spans of speech, each a dict of its first sample ("start") and the one after the last ("end").

    Args:
        audio: (n_samples,) at 16 kHz.
        vad_options: what counts as speech.
        sampling_rate: 16000.
        kwargs: fields of ``VadOptions``, where no ``vad_options`` are given.

    Raises:
        OptionError: another rate, an unknown option, or the extra ``vad`` is not installed.
    """
    if sampling_rate != SAMPLE_RATE:
        raise OptionError("no other is offered", where="sampling_rate", expected=SAMPLE_RATE, found=sampling_rate)
    wanted = vad_options_of(kwargs) if vad_options is None else vad_options
    spans = find_speech(ArrayWaveform(np.ascontiguousarray(audio, np.float32)), wanted.native())
    return [{"start": start, "end": end} for start, end in spans]


def collect_chunks(
    audio: NDArray[np.float32],
    chunks: Sequence[_Span],
    sampling_rate: int = SAMPLE_RATE,
    max_duration: float = float("inf"),
) -> tuple[list[NDArray[np.float32]], list[dict[str, Any]]]:
    """Spans put one after the other, in pieces of at most ``max_duration`` seconds; a longer span is a piece alone.

    Returns:
        the samples of each piece, and for each its "offset" in the speech and its "duration", in seconds, and the spans
        that it is made of as "segments". Without spans there is one empty piece.
    """
    pieces: list[list[_Span]] = [[]]
    longest = max_duration * sampling_rate
    length = 0
    for chunk in chunks:
        n_samples = chunk["end"] - chunk["start"]
        if pieces[-1] and length + n_samples > longest:
            pieces.append([])
            length = 0
        pieces[-1].append(chunk)
        length += n_samples
    lengths = [sum(each["end"] - each["start"] for each in piece) for piece in pieces]
    offsets = accumulate(lengths, initial=0)
    about = [
        {"offset": offset / sampling_rate, "duration": n_samples / sampling_rate, "segments": piece}
        for offset, n_samples, piece in zip(offsets, lengths, pieces, strict=False)
    ]
    nothing = np.zeros(0, np.float32)
    return [
        np.concatenate([nothing, *(audio[each["start"] : each["end"]] for each in piece)]) for piece in pieces
    ], about


class SpeechTimestampsMap:
    """The way back from times in the speech to times in the recording.

    Args:
        chunks: the spans of speech.
        sampling_rate: Hz of their samples.
        time_precision: digits of a second.
    """

    def __init__(self, chunks: Sequence[_Span], sampling_rate: int, time_precision: int = 2) -> None:
        self.sampling_rate = sampling_rate
        self.time_precision = time_precision
        self.chunk_end_sample = list(accumulate(each["end"] - each["start"] for each in chunks))
        self.total_silence_before = [
            (each["end"] - spoken) / sampling_rate for each, spoken in zip(chunks, self.chunk_end_sample, strict=True)
        ]

    def get_original_time(self, time: float, chunk_index: int | None = None, is_end: bool = False) -> float:
        """Seconds in the recording of a time in the speech; where it is the end of something, with the earlier span."""
        span = self.get_chunk_index(time, is_end) if chunk_index is None else chunk_index
        return float(round(self.total_silence_before[span] + time, self.time_precision))

    def get_chunk_index(self, time: float, is_end: bool = False) -> int:
        """The span that a time in the speech belongs to; the last one for a time after all of them."""
        sample = int(time * self.sampling_rate)
        if is_end and sample in self.chunk_end_sample:
            return self.chunk_end_sample.index(sample)
        return min(bisect_right(self.chunk_end_sample, sample), len(self.chunk_end_sample) - 1)


class SileroVADModel:
    """The model that hears speech; ``get_vad_model`` gives it."""

    def __call__(self, audio: NDArray[np.float32], num_samples: int = VAD_CHUNK) -> NDArray[np.float32]:
        """How likely it is that somebody speaks, (n_chunks,), in each 512 samples of audio at 16 kHz.

        Raises:
            OptionError: chunks of another length, or the extra ``vad`` is not installed.
        """
        if num_samples != VAD_CHUNK:
            raise OptionError("no other is offered", where="num_samples", expected=VAD_CHUNK, found=num_samples)
        return speech_probabilities(ArrayWaveform(np.ascontiguousarray(audio, np.float32)))


def get_vad_model() -> SileroVADModel:
    """The model that hears speech."""
    return SileroVADModel()
