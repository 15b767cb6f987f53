"""What a live transcription does with the stream, without a model: what to decode when, and what then is certain.

The core takes samples and asks for decodings; whoever has the model makes them and says what was heard:

    core.push(samples)
    while (listening := core.next_listening()) is not None:
        core.accept(listening, heard)
    events = core.take_events()

All depends on the samples and on how they were pushed, nothing on the clock. A decoding is asked for once ``step`` has
passed since the last one and no pushed sample is left to look at: who pushes more at once has longer steps. Pauses are
decoded as soon as they seem to be one, so that at the end of the utterance its words are there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from whisper_max.audio.vad import Detector
from whisper_max.audio.vad_options import VAD_CHUNK
from whisper_max.audio.waveform import SAMPLE_RATE
from whisper_max.live.agreement import Agreement
from whisper_max.live.buffer import StreamBuffer
from whisper_max.live.endpoint import Endpointer
from whisper_max.live.events import (
    Closed,
    Committed,
    CoreEvent,
    LiveWord,
    SpeechEnded,
    Tentative,
    UtteranceEnded,
    UtteranceStarted,
    text_of,
)
from whisper_max.live.inbox import Inbox
from whisper_max.live.options import AGREEMENT, ATTENTION, LiveOptions
from whisper_max.live.prompt import Prompt
from whisper_max.live.words import ends_sentence, trusted, without_mark, words_of
from whisper_max.transcribe.growing import Encode, GrowingWindow
from whisper_max.transcribe.options import HIGH_TEMPERATURE, TranscribeOptions
from whisper_max.transcribe.result import Segment

_PAUSE = SAMPLE_RATE // 5  # samples of silence that are decoded at once; a decoding that heard them heard the last word
_FIRST = SAMPLE_RATE  # samples that the first decoding of an utterance hears: of less it makes other words
_SURER = 2.0  # times as likely must words be which that decoding alone has heard
_GAP = 3 * SAMPLE_RATE  # most samples between two utterances that are heard together


@dataclass(frozen=True, eq=False)
class Listening:
    """A decoding to be made.

    samples: (n_samples,) float32 at 16 kHz. start: the first one's place in the stream. options: of the decoding.
    final: True where it is the utterance's last. forced: True where the buffer is full and must be cut.
    anew: True where all is encoded, whatever is kept of it: it is cut next, or the decoding before it failed.
    """

    samples: NDArray[np.float32]
    start: int
    options: TranscribeOptions
    final: bool = False
    forced: bool = False
    anew: bool = False

    @property
    def end(self) -> int:
        """The sample after the last."""
        return self.start + len(self.samples)

    def encoding(self, window: GrowingWindow | None, *, brief: bool = False) -> Encode | None:
        """How its window is encoded; None: as a whole. brief: quickly, where others wait."""
        return None if window is None or self.anew else partial(window.encode, start=self.start, brief=brief)


@dataclass(frozen=True)
class Heard:
    """What a decoding heard.

    segments: with words, their times in seconds from the start of ``Listening.samples``. language: its code, given or
    detected. language_probability: 1.0 where it was given.
    """

    segments: Sequence[Segment]
    language: str
    language_probability: float


class LiveCore:
    """The state of one stream.

    Args:
        options: how to listen.
        detector: tells speech in chunks of 512 samples; None exactly where ``options.vad`` is None.
        position: of the first sample in the stream.
        utterance: number of the first utterance.
    """

    def __init__(
        self, options: LiveOptions, detector: Detector | None, *, position: int = 0, utterance: int = 0
    ) -> None:
        self._options = options
        self._detector = detector
        self._endpointer = None if options.vad is None else Endpointer(options.vad)
        self._inbox = Inbox()
        self._buffer = StreamBuffer(options.buffer_samples)
        self._buffer.skip(position)
        self._prompt = Prompt(options.decoding)
        self._agreement = Agreement()
        self._events: list[CoreEvent] = []
        self._n_utterances = utterance
        self._start: int | None = None  # of the utterance
        self._ended = position  # the utterance before it
        self._heard = 0  # where its last decoding ended
        self._trusted = False  # that decoding
        self._language = options.decoding.language  # None: to be detected
        self._spoken = ("", 0.0)  # the language of the stream, or else of the last decoding, and its probability

    # ---------------------------------------------------------------- the stream

    @property
    def position(self) -> int:
        """How many samples of the stream have been looked at."""
        return self._buffer.end

    @property
    def n_buffered(self) -> int:
        """Samples that are kept, of those that have been looked at."""
        return len(self._buffer)

    @property
    def utterance(self) -> int | None:
        """The number of the utterance that goes on; None where none does."""
        return None if self._start is None else self._n_utterances

    @property
    def next_utterance(self) -> int:
        """The number of the utterance after the one that goes on, or of the next one."""
        return self._n_utterances + (self._start is not None)

    def push(self, samples: NDArray[np.float32]) -> None:
        """Take the next samples, (n_samples,) float32 at 16 kHz; nobody may write to them any more."""
        self._inbox.push(samples)

    def close(self) -> None:
        """Let the utterance end after the samples pushed so far."""
        self._inbox.mark()

    def clear(self) -> None:
        """Drop the utterance, and the samples pushed so far; what is committed stays so."""
        waiting = self._inbox.n_samples
        self._inbox.clear()
        self.drop_utterance()
        self._buffer.skip(waiting)

    def drop_utterance(self) -> None:
        """Drop the utterance, and the samples looked at so far; what is committed stays so."""
        self._drop_context(self._buffer.end)
        self._ended = self._buffer.end
        self._reset(self.next_utterance)

    def take_events(self) -> list[CoreEvent]:
        """What happened since the last call."""
        events, self._events = self._events, []
        return events

    def next_listening(self) -> Listening | None:
        """Look at the samples up to the next decoding; None where there is none before more is pushed.

        One that is neither final nor forced need not be made: the next call has a later one, which hears more.
        """
        while True:
            if self._inbox.take_mark():
                self._events.append(Closed(self.utterance))
                listening = self._end_utterance(self._buffer.end, self._buffer.end)
            elif (chunk := self._inbox.take(VAD_CHUNK)) is not None:
                listening = self._look_at(chunk)
            else:
                return self._listening(self._buffer.end) if self._is_due() else None
            if listening is not None:
                return listening

    def _look_at(self, chunk: NDArray[np.float32]) -> Listening | None:
        self._buffer.append(chunk)
        if self._endpointer is None or self._detector is None:
            if self._start is None:
                self._start_utterance(self._ended)
        elif (listening := self._listen_for_speech(chunk, self._endpointer, self._detector)) is not None:
            return listening
        if self._buffer.room < VAD_CHUNK:
            return self._listening(self._buffer.end, forced=True)
        return None

    def _listen_for_speech(
        self, chunk: NDArray[np.float32], endpointer: Endpointer, detector: Detector
    ) -> Listening | None:
        """Start and end utterances where speech does."""
        end = self._buffer.end
        whole = np.zeros(VAD_CHUNK, np.float32)
        whole[: len(chunk)] = chunk
        change = endpointer.update(end - len(chunk), end, detector(whole))
        pad = self._options.pad_samples
        if change is None:
            if not endpointer.speaking:
                self._be_quiet(end - self._options.before_samples)
        elif change.started:
            self._start_utterance(change.position - pad)
        else:
            self._events.append(SpeechEnded(self._n_utterances, change.position / SAMPLE_RATE))
            return self._end_utterance(change.position + _PAUSE, min(change.position + pad, end))
        return None

    # ---------------------------------------------------------------- utterances

    def _be_quiet(self, position: int) -> None:
        """Forget what comes before a place where speech may begin, but for an utterance that was just before it."""
        if position - self._ended > _GAP or 2 * len(self._buffer) > self._options.buffer_samples:
            self._drop_context(position)

    def _start_utterance(self, position: int) -> None:
        if not self._agreement.committed:
            self._buffer.drop_before(position)
        self._start = self._heard = max(position, self._ended, self._buffer.start)
        self._events.append(UtteranceStarted(self._n_utterances, self._start / SAMPLE_RATE))

    def _end_utterance(self, enough: int, end: int) -> Listening | None:
        """End the utterance at ``end``: with one more decoding, unless the last one heard ``enough``."""
        if self._endpointer is not None:
            self._endpointer.reset()
        if self._start is None:
            return None
        if end > max(self._start, self._buffer.start) and (self._heard < enough or not self._trusted):
            return self._listening(end, final=True)
        self._finish(end)
        return None

    def _finish(self, end: int) -> None:
        """All words of the utterance are certain, and what comes after it is not its."""
        self._commit(self._agreement.commit_all())
        start = end if self._start is None else self._start
        times = (start / SAMPLE_RATE, max(start, end) / SAMPLE_RATE)
        spoken = self._spoken if self._language else ("", 0.0)
        self._events.append(UtteranceEnded(self._n_utterances, *times, *spoken))
        if self._options.decoding.multilingual:
            self._language = None
        if not self._goes_on:
            self._drop_context(end)
        self._ended = end
        self._reset(self._n_utterances + 1)

    @property
    def _goes_on(self) -> bool:
        """Whether the next utterance may be heard together with this one, and its text goes on from this one's."""
        decoding = self._options.decoding
        conditions = decoding.condition_on_previous_text and not decoding.multilingual
        is_good = self._trusted and all(
            word.origin.temperature <= HIGH_TEMPERATURE for word in self._agreement.committed
        )
        return self._options.policy == ATTENTION and bool(conditions) and is_good

    def _drop_context(self, position: int) -> None:
        """Forget the audio before a place, and its words but for what of them prompts the next decoding."""
        self._prompt.add(self._agreement.committed)
        self._agreement = Agreement(after=self._agreement.end)
        self._buffer.drop_before(position)

    def _reset(self, n_utterances: int) -> None:
        self._n_utterances = n_utterances
        self._start = None
        self._trusted = False
        if self._endpointer is not None:
            self._endpointer.reset()

    # ---------------------------------------------------------------- decodings

    def _is_due(self) -> bool:
        if self._start is None:
            return False
        quiet = None if self._endpointer is None else self._endpointer.quiet
        if quiet is not None:
            return self._heard < quiet + _PAUSE <= self._buffer.end
        return self._buffer.end - self._heard >= self._needed_samples

    @property
    def _needed_samples(self) -> int:
        """New audio that the next decoding needs, while somebody speaks."""
        is_first = self._heard == self._start and self._options.policy == ATTENTION
        return max(self._options.step_samples, _FIRST if is_first else 0)

    def _listening(self, end: int, *, final: bool = False, forced: bool = False) -> Listening:
        """What is decoded again when it fails must be committed now; elsewhere the next decoding hears more."""
        decoding = self._options.decoding
        options = replace(
            decoding,
            language=self._language,
            multilingual=False,
            initial_prompt=self._prompt.text,
            first_prefix=self._certain_text,
            temperature=decoding.temperatures if final or forced else decoding.temperatures[:1],
        )
        start, failed = self._buffer.start, self._heard != self._start and not self._trusted
        return Listening(self._buffer.read(start, end), start, options, final, forced, forced or (final and failed))

    @property
    def _certain_text(self) -> str | None:
        """What the next decoding goes on from, whose audio it hears again; None where it hears all of it anew."""
        if self._options.policy == AGREEMENT:
            return None
        return text_of(self._agreement.committed).strip() or None

    def accept(self, listening: Listening, heard: Heard) -> None:
        """Take what a decoding heard; ``listening`` is what ``next_listening`` gave out last."""
        segments = heard.segments
        words = words_of(segments, listening.start / SAMPLE_RATE)
        tail, is_first = self._agreement.tail, self._heard == self._start
        self._heard = listening.end
        self._trusted = trusted(segments, self._options.decoding.thresholds)
        if self._language is None or not self._spoken[0]:
            self._spoken = (heard.language, heard.language_probability)
        if listening.final or not self._trusted:
            self._agreement.doubt(words)
        else:
            self._commit(self._certain(words, listening, is_first=is_first))
        if listening.final:
            self._finish(listening.end)
            return
        self._cut(forced=listening.forced)
        if self._agreement.tail != tail:
            self._events.append(Tentative(self._n_utterances, tuple(self._agreement.tail)))

    def _certain(self, words: Sequence[LiveWord], listening: Listening, *, is_first: bool) -> list[LiveWord]:
        """The words of a decoding that don't change any more."""
        if self._options.policy == AGREEMENT:
            return self._agreement.update(words)
        end = listening.end / SAMPLE_RATE - self._options.margin
        quiet = None if self._endpointer is None else self._endpointer.quiet
        if quiet is not None:  # what ended before the pause is whole
            end = max(end, (quiet + _PAUSE / 2) / SAMPLE_RATE)
        elif words and words[-1].end <= end:  # its mark is of the end of the audio, not of a sentence
            words = [*words[:-1], without_mark(words[-1])]
        sure = self._options.sure * (_SURER if is_first else 1.0)
        return self._agreement.commit_until(words, end, min(sure, 1.0))

    def _commit(self, words: Sequence[LiveWord]) -> None:
        if words:
            self._events.append(Committed(self._n_utterances, tuple(words)))
            self._language = self._language or self._spoken[0] or None

    def _cut(self, *, forced: bool) -> None:
        """Drop audio whose words are committed, up to the end of a sentence or segment, once it is half the buffer."""
        if 2 * len(self._buffer) > self._options.buffer_samples:
            committed = self._agreement.committed
            ends = (i for i, word in enumerate(committed, start=1) if word.closes or ends_sentence(word))
            self._cut_after(max(ends, default=0))
        if forced and self._buffer.room < self._options.buffer_samples // 4:
            self._make_room()

    def _make_room(self) -> None:
        """Drop what a full buffer can't keep: all audio whose words are committed, and as little else as will do.

        The audio of the first quarter can't be heard again. So words that begin there are committed as this decoding
        heard them, agreed or not, unless they may still be said (they end in the last quarter). What begins later
        waits for the next decoding, which hears more after it. Audio without a word is dropped up to the last quarter.
        """
        quarter = self._options.buffer_samples // 4
        first, last = self._buffer.start, self._buffer.end - quarter
        self._commit(self._agreement.commit_early((first + quarter) / SAMPLE_RATE, last / SAMPLE_RATE))
        self._cut_after(len(self._agreement.committed))
        if self._agreement.tail:
            self._buffer.drop_before(first + quarter // 2)  # well before a word that begins after the quarter
        elif self._buffer.room < 2 * quarter:
            self._buffer.drop_before(last)

    def _cut_after(self, n_words: int) -> None:
        """Drop the first committed words and their audio, up to the middle of the silence after them."""
        if not n_words:
            return
        words = [*self._agreement.committed, *self._agreement.tail]
        end = words[n_words - 1].end
        border = (end + words[n_words].start) / 2 if n_words < len(words) else end
        self._prompt.add(self._agreement.forget(n_words))
        self._buffer.drop_before(round(border * SAMPLE_RATE))
