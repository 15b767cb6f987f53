"""Diarization: who of a recording speaks when. Windows are read one after the other; what stays is small.

An hour leaves 3.5 MB: who is heard in each window, and a vector for each voice.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from whisper_max.audio.warnings import AudioWarning
from whisper_max.audio.waveform import SAMPLE_RATE, Waveform
from whisper_max.errors import OutputError
from whisper_max.files.atomic import try_to_write
from whisper_max.model.speakers.shapes import FRAME_SAMPLES, N_LOCAL, WINDOW_SAMPLES
from whisper_max.speakers.files import check_there, read_checkpoints
from whisper_max.speakers.timeline import spans
from whisper_max.speakers.voices import voice_features
from whisper_max.speakers.windows import Heard, filled, heard, starts
from whisper_max.transcribe.speakers import Diarization, SpeakerCount
from whisper_max.transcribe.turns import Turn

if TYPE_CHECKING:
    from whisper_max.speakers.clustering import Voices
    from whisper_max.speakers.networks import SpeakerNetworks

Float32 = NDArray[np.float32]
Known = Mapping[str, Float32]
"""Voices by the names of their speakers, (EMBEDDING,) each."""
NOBODY: Known = MappingProxyType({})
OnProgress = Callable[[float, float], object]
"""Called with the seconds done and the seconds of the recording."""
TOGETHER = 12
"""Windows, and voices of the same length, that are heard together."""


class Networks(Protocol):
    """What hears speakers."""

    def segment(self, sound: Float32, starts: Sequence[int]) -> Float32:
        """Logits of ``shapes.CLASSES`` in windows of a sound, which may overlap.

        Args:
            sound: (n_samples,).
            starts: the first frame of each window in it, all of whose WINDOW_SAMPLES are there.

        Returns:
            (B, N_FRAMES, N_CLASSES)
        """

    def embed(self, voices: list[Float32]) -> Float32:
        """Voices as vectors of length 1. voices: features (T, N_MELS), of the same T -> (B, EMBEDDING)."""


class Voice(NamedTuple):
    """A speaker of a window: both by number, the seconds heard, and the voice as a vector."""

    window: int
    local: int
    seconds: float
    vector: Float32


def diarize(
    waveform: Waveform,
    count: SpeakerCount,
    networks: Networks,
    on_progress: OnProgress | None = None,
    known: Known = NOBODY,
) -> Diarization:
    """Find the speakers of a recording.

    Args:
        waveform: the recording.
        count: how many speakers there are.
        networks: what hears them.
        on_progress: called now and then.
        known: those who may be among them.

    Raises:
        AudioError: a spooled recording can't be read back.
    """
    windows, voices = listen(waveform, networks, on_progress)
    if not voices:
        return Diarization([], [_warning("no_speakers", waveform, "no speaker is heard for half a second or longer")])
    from whisper_max.speakers.clustering import means, speakers_of  # SciPy: slow to import, and of an extra
    from whisper_max.speakers.known import name_speakers

    voices.sort(key=lambda voice: (voice.window, voice.local))
    clear = clear_voices(windows, voices)
    labels = speakers_of(clear, count.least, count.most)
    turns = turns_of(windows, voices, labels, waveform.duration)
    centres = means(clear.vectors * clear.seconds[:, None], labels)
    of_speakers = {turn.speaker: centres[turn.speaker] for turn in turns}  # in order of appearance
    n_found = len(of_speakers)
    warnings = []
    if n_found < count.least:
        message = f"found {n_found} speaker{'s' * (n_found != 1)} where {count} were asked for"
        warnings.append(_warning("fewer_speakers", waveform, message))
    return Diarization(turns, warnings, name_speakers(of_speakers, known), of_speakers)


def clear_voices(windows: Sequence[Heard], voices: Sequence[Voice]) -> Voices:
    """Voices, in order of their windows, as they are clustered."""
    from whisper_max.speakers.clustering import Voices

    frames = [np.count_nonzero(windows[voice.window].alone[:, voice.local]) for voice in voices]
    return Voices(
        np.stack([voice.vector for voice in voices]),
        np.array([voice.seconds for voice in voices], np.float32),
        np.array(frames, np.float32) * (FRAME_SAMPLES / SAMPLE_RATE),
        np.array([voice.window for voice in voices], np.intp),
    )


def turns_of(
    windows: Sequence[Heard], voices: Sequence[Voice], labels: NDArray[np.intp], duration: float
) -> list[Turn]:
    """Who speaks when, by the speaker of each voice, (n_voices,)."""
    speakers = {(voice.window, voice.local): int(label) for voice, label in zip(voices, labels, strict=True)}
    found = spans(windows, speakers, int(labels.max()) + 1, duration)
    return [Turn(start, end, speaker) for start, end, speaker in found]


def listen(
    waveform: Waveform, networks: Networks, on_progress: OnProgress | None = None
) -> tuple[list[Heard], list[Voice]]:
    """Who is heard in each window, and the voices; arguments as for ``diarize``."""
    windows: list[Heard] = []
    voices: list[Voice] = []
    waiting: dict[int, list[tuple[int, int, Float32]]] = {}  # features by length: window, local speaker, features

    def embed(length: int) -> None:
        batch = waiting.pop(length)
        for (window, local, _), vector in zip(batch, networks.embed([each[2] for each in batch]), strict=True):
            voices.append(Voice(window, local, length / 100, vector))

    for sound, first, batch in _batches(waveform):
        logits = networks.segment(sound, [start - first for start in batch])
        for start, of_window in zip(batch, logits, strict=True):
            window = heard(start, of_window)
            samples = sound[(start - first) * FRAME_SAMPLES :][:WINDOW_SAMPLES]
            for local in range(N_LOCAL):
                features = voice_features(samples, window.alone[:, local])
                if features is not None:
                    waiting.setdefault(len(features), []).append((len(windows), local, features))
                    if len(waiting[len(features)]) == TOGETHER:
                        embed(len(features))
            windows.append(window)
        if on_progress is not None:
            done = (windows[-1].start * FRAME_SAMPLES + WINDOW_SAMPLES) / SAMPLE_RATE
            on_progress(min(done, waveform.duration), waveform.duration)
    for length in list(waiting):
        embed(length)
    return windows, voices


def _batches(waveform: Waveform) -> Iterator[tuple[Float32, int, list[int]]]:
    """Stretches of several windows, the last one filled up with zeros: samples, first frame, that of each window."""
    windows = list(starts(waveform.n_samples))
    for at in range(0, len(windows), TOGETHER):
        batch = windows[at : at + TOGETHER]
        n_samples = (batch[-1] - batch[0]) * FRAME_SAMPLES + WINDOW_SAMPLES
        first = batch[0] * FRAME_SAMPLES
        yield filled(waveform.read(first, first + n_samples), n_samples), batch[0], batch


def _warning(kind: str, waveform: Waveform, message: str) -> AudioWarning:
    return AudioWarning(kind, 0.0, waveform.duration, message)


# ---------------------------------------------------------------- the networks of this process

_lock = threading.Lock()
_loaded: list[SpeakerNetworks] = []


def load_networks(report: Callable[[str], object] | None = None) -> SpeakerNetworks:
    """The networks, loaded once in a process, on the CPU.

    report: called with a line for people when something slow happens: a download, a compilation.

    Raises:
        OptionError: the extra ``speakers`` or the checkpoints are not installed.
        CheckpointError: a checkpoint is damaged, or is of other networks.
        HubError: one is on the hub, and can't be had.
        ArtifactError: the graphs can't be compiled or loaded.
    """
    check_there()
    with _lock:
        if not _loaded:
            from whisper_max.compile.speakers import find_speakers
            from whisper_max.hardware.threads import start_workers
            from whisper_max.speakers.networks import SpeakerNetworks

            start_workers()
            tell = report or (lambda line: None)
            checkpoints = read_checkpoints(tell)
            _loaded.append(SpeakerNetworks(find_speakers(tell), checkpoints.segmentation, checkpoints.embedding))
        return _loaded[0]


def tell_apart(
    waveform: Waveform,
    count: SpeakerCount,
    on_progress: OnProgress | None = None,
    *,
    known: Known = NOBODY,
    speaker_file: str | os.PathLike[str] | None = None,
) -> Diarization:
    """Find the speakers of a recording by the networks of this process.

    Args:
        waveform, count, on_progress, known: as for ``diarize``.
        speaker_file: more who may be among them; those who are not in it are written to it.

    Raises:
        OptionError: also where the file holds something else.
        OutputError: the file can't be written.
        AudioError, CheckpointError, HubError, ArtifactError: as ``diarize`` and ``load_networks``.
    """
    networks = load_networks()
    if speaker_file is None:
        return diarize(waveform, count, networks, on_progress, known)
    from whisper_max.speakers.known import read_voices, write_voices

    kept = read_voices(speaker_file, networks.name)
    found = diarize(waveform, count, networks, on_progress, {**kept, **known})
    heard = {found.names[speaker]: voice for speaker, voice in found.voices.items()}
    if heard.keys() - kept.keys():
        write_voices(speaker_file, networks.name, {**heard, **kept})
    return found


def check_speakers(speaker_file: str | os.PathLike[str] | None) -> None:
    """Load the networks, and find out whether a file of voices can be read and written; raises as ``tell_apart``."""
    networks = load_networks()
    if speaker_file is None:
        return
    from whisper_max.speakers.known import read_voices

    read_voices(speaker_file, networks.name)
    try:
        try_to_write(Path(speaker_file))
    except OSError as error:
        raise OutputError("can't be written", where=speaker_file, found=error.strerror or error) from error
