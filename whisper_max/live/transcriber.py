"""A live transcription in one thread: feed samples, get events."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from whisper_max.audio.vad import Detector, new_detector
from whisper_max.audio.warnings import AudioWarning
from whisper_max.audio.waveform import SAMPLE_RATE, ArrayWaveform
from whisper_max.decode.contract import Inference
from whisper_max.errors import OptionError
from whisper_max.live.core import Heard, Listening, LiveCore
from whisper_max.live.events import Committed, LiveEvent, SpeakersHeard
from whisper_max.live.intake import Intake
from whisper_max.live.options import LiveOptions
from whisper_max.live.speakers import StreamSpeakers
from whisper_max.text.tokenizer import Vocabulary
from whisper_max.transcribe.check import check_options
from whisper_max.transcribe.growing import GrowingWindow
from whisper_max.transcribe.opening import open_recording
from whisper_max.transcribe.scheduler import transcribe_windows


class LiveTranscriber:
    """Words while somebody speaks.

    Words are tentative first and committed once two decodings agree on them, at the latest when the utterance ends.
    Committed words never change. Memory is bounded, however long the stream is: ``LiveTranscript`` collects what is
    said, where a whole transcript is wanted. The same chunks give the same events.

    Args:
        inference: the model.
        vocabulary: of the same checkpoint.
        options: how to listen.
        sampling_rate: of what is fed, in Hz.
        channels: of what is fed; they are mixed into one.
        detector: what tells speech, in place of Silero's model.
        speakers: what tells speakers apart; None where nobody asks who speaks.
        window: the stream's; without one, all of the audio is encoded at each step.

    Raises:
        OptionError: an option that is impossible, or impossible for this model; the extra ``vad`` is not installed.
    """

    def __init__(
        self,
        inference: Inference,
        vocabulary: Vocabulary,
        options: LiveOptions | None = None,
        *,
        sampling_rate: int = SAMPLE_RATE,
        channels: int = 1,
        detector: Detector | None = None,
        speakers: StreamSpeakers | None = None,
        window: GrowingWindow | None = None,
    ) -> None:
        self.options = options or LiveOptions()
        check_options(inference.dims, vocabulary, self.options.decoding)
        self._inference = inference
        self._vocabulary = vocabulary
        self._intake: Intake | None = Intake(sampling_rate, channels)
        self._found: list[AudioWarning] = []  # once the stream is finished
        if self.options.vad is not None and detector is None:
            detector = new_detector()
        self._core = LiveCore(self.options, detector)
        self._speakers = speakers
        self._window = window

    def feed(self, samples: NDArray[Any]) -> list[LiveEvent]:
        """Take the next samples, any number of them; decode what is due, and return what happened.

        Args:
            samples: (n_samples,) of one channel or (n_samples, channels); int16, or floats of about -1..1.

        Raises:
            AudioError: another shape or dtype, or a sample that is not finite or far from -1..1.
            OptionError: the stream is finished.
        """
        self._push(self._open_intake().convert(samples))
        return self._decode()

    def commit(self) -> list[LiveEvent]:
        """End the utterance here, and return its last words; the stream goes on.

        Raises:
            OptionError: the stream is finished.
        """
        self._open_intake()
        self._core.close()
        return self._decode()

    def finish(self) -> list[LiveEvent]:
        """End the stream, and return its last words; nothing, where it is ended already."""
        if self._intake is None:
            return []
        self._push(self._intake.flush())
        self._found = self._intake.warnings
        self._intake = None
        self._core.close()
        return self._decode(final=True)

    @property
    def warnings(self) -> list[AudioWarning]:
        """What a listener should know of the stream so far; the same finding grows with it."""
        return self._found if self._intake is None else self._intake.warnings

    @property
    def position(self) -> float:
        """Seconds of the stream that have been looked at."""
        return self._core.position / SAMPLE_RATE

    def _open_intake(self) -> Intake:
        if self._intake is None:
            raise OptionError("the stream is finished", where="live")
        return self._intake

    def _push(self, samples: NDArray[np.float32]) -> None:
        self._core.push(samples)
        if self._speakers is not None:
            self._speakers.push(samples)

    def _decode(self, *, final: bool = False) -> list[LiveEvent]:
        while (listening := self._core.next_listening()) is not None:
            self._core.accept(listening, self._heard(listening))
        events: list[LiveEvent] = [*self._core.take_events()]
        if self._speakers is not None and (final or any(isinstance(event, Committed) for event in events)):
            events.append(SpeakersHeard(tuple(self._speakers.turns(final=final))))
        return events

    def _heard(self, listening: Listening) -> Heard:
        samples, n_mels = ArrayWaveform(listening.samples), self._inference.dims.n_mels
        encode = listening.encoding(self._window)
        recording = open_recording(samples, self._vocabulary, n_mels, listening.options, as_openai=True, encode=encode)
        recording.begin(self._inference)
        segments = list(transcribe_windows(self._inference, recording))
        return Heard(segments, recording.language, recording.language_probability)
