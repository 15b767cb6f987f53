"""A world without a model: a stream in which words are said at known times, and one who hears them."""

from dataclasses import dataclass, replace

import numpy as np

from whisper_max.live.core import Heard, LiveCore
from whisper_max.live.events import Closed, Committed, LiveWord, Origin, Tentative, UtteranceEnded, UtteranceStarted
from whisper_max.live.options import LiveOptions
from whisper_max.transcribe.result import Segment, Word

RATE = 16000
WORD = 6400  # samples from one word to the next, 0.4 s
SAID = 4800  # of them are the word


@dataclass(frozen=True)
class Said:
    text: str
    start: int
    end: int


class World:
    """stretches: (words, silence) in turn; each word is 0.4 s long, silence is in samples."""

    def __init__(self, stretches):
        parts: list[np.ndarray] = []
        self.words: list[Said] = []
        position = 0
        for n_words, silence in stretches:
            for _ in range(n_words):
                number = len(self.words)
                mark = "." if number % 7 == 6 else ""
                self.words.append(Said(f" w{number}{mark}", position, position + SAID))
                position += WORD
            parts += [np.full(n_words * WORD, 0.5, np.float32), np.zeros(silence, np.float32)]
            position += silence
        self.samples = np.concatenate([np.zeros(0, np.float32), *parts])
        self.samples += np.arange(len(self.samples), dtype=np.float32) * np.float32(1e-9)  # each sample its own

    @property
    def text(self):
        return "".join(word.text for word in self.words)

    def detector(self, chunk):
        assert chunk.shape == (512,)
        assert chunk.dtype == np.float32
        return float(np.abs(chunk).max() > 0.25)

    def hear(self, listening, garble=0):
        """Words that are whole, and something else for one that is cut off.

        While somebody speaks the last ``garble`` words are misheard.
        """
        inside = [word for word in self.words if word.start >= listening.start and word.start < listening.end]
        texts = [word.text if word.end <= listening.end else f" uh{listening.end}" for word in inside]
        is_over = listening.end == len(self.samples) or self.samples[listening.end - 1] < 0.25
        n_sure = len(texts) if is_over else max(len(texts) - garble, 0)
        words = [
            Word(text if i < n_sure else f" x{listening.end % 97}", *_times(said, listening), 0.9)
            for i, (text, said) in enumerate(zip(texts, inside, strict=True))
        ]
        return heard([words[i : i + 5] for i in range(0, len(words), 5)])


def _times(said, listening) -> tuple[float, float]:
    return (said.start - listening.start) / RATE, (min(said.end, listening.end) - listening.start) / RATE


def heard(groups, language="en", **changes):
    """Segments of words."""
    segments = [segment(words, **changes) for words in groups]
    return Heard(segments, language, 0.8)


def segment(words, **changes):
    plain = Segment(
        id=0,
        seek=0,
        start=words[0].start if words else 0.0,
        end=words[-1].end if words else 0.0,
        text="".join(word.word for word in words),
        tokens=[1],
        temperature=0.0,
        avg_logprob=-0.3,
        compression_ratio=1.2,
        no_speech_prob=0.1,
        words=words,
    )
    return replace(plain, **changes)


def hear_words(_live, listening):
    """In place of what a ``LiveTranscriber`` hears: a word each half second."""
    n_words = int(len(listening.samples) / RATE / 0.5)
    words = [Word(f" word{i}.", i * 0.5, i * 0.5 + 0.4, 0.9) for i in range(n_words)]
    return heard([words] if words else [])


ORIGIN = Origin(0.0, -0.3, 1.2, 0.1)


def live_words(text, start=0.0):
    """Words half a second apart."""
    return [
        LiveWord(f" {each}", start + i * 0.5, start + i * 0.5 + 0.4, 0.9, ORIGIN) for i, each in enumerate(text.split())
    ]


def run(world, core, chunks, hear=None):
    """Push the stream in chunks, in turn and over again; returns all events and all decodings."""
    events, listenings = [], []
    hear = hear or world.hear

    def decode():
        while (listening := core.next_listening()) is not None:
            listenings.append(listening)
            core.accept(listening, hear(listening))
        events.extend(core.take_events())

    position, turn = 0, 0
    while position < len(world.samples):
        size = chunks[turn % len(chunks)]
        core.push(world.samples[position : position + size])
        position += size
        turn += 1
        decode()
    core.close()
    decode()
    return events, listenings


def new_core(world, **options):
    wanted = LiveOptions(**options)
    return LiveCore(wanted, None if wanted.vad is None else world.detector)


def committed_text(events):
    return "".join(word.word for event in events if isinstance(event, Committed) for word in event.words)


def tentative_texts(events):
    return ["".join(word.word for word in event.words) for event in events if isinstance(event, Tentative)]


def check_order(events):
    utterance, inside, last_end = -1, False, 0.0
    for event in events:
        if isinstance(event, Closed):
            assert event.utterance == (utterance if inside else None)
            continue
        if isinstance(event, UtteranceStarted):
            assert not inside
            assert event.utterance == utterance + 1
            utterance, inside = event.utterance, True
        assert inside
        assert event.utterance == utterance
        if isinstance(event, UtteranceEnded):
            assert event.start <= event.end
            inside = False
        if isinstance(event, Committed):
            assert event.words
            for word in event.words:
                assert last_end <= word.start <= word.end
                last_end = word.end
    assert not inside
