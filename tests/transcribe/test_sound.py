"""Segments that agree with the recording's sound: its end, its pauses, its silence; and the adapter's, which don't."""

import numpy as np
import pytest

from tests.support.fake_inference import FakeInference
from tests.support.recordings import begun
from tests.support.synthetic_vocabulary import synthetic_vocabulary as vocabulary
from whisper_max.audio.mel import MelWindows
from whisper_max.audio.speech import SpeechWaveform, Timeline
from whisper_max.audio.waveform import ArrayWaveform
from whisper_max.decode.language import detect_language
from whisper_max.text.tokenizer import build_tokenizer
from whisper_max.transcribe.options import TranscribeOptions
from whisper_max.transcribe.result import Segment, Word
from whisper_max.transcribe.scheduler import transcribe_windows
from whisper_max.transcribe.sound import Sound
from whisper_max.transcribe.speech import Speech
from whisper_max.transcribe.tidy import break_at_pauses, join_elisions, keep_within


def recording(*parts, seed=0):
    """Seconds of noise of a loudness, one part after the other: (seconds, loudness)."""
    rng = np.random.default_rng(seed)
    noise = [rng.normal(0, 0.3, round(seconds * 16000)).clip(-1, 1) * loudness for seconds, loudness in parts]
    return ArrayWaveform(np.concatenate(noise).astype(np.float32))


def sound(*parts):
    waveform = recording(*parts)
    return Sound(waveform, waveform)


def transcribed(waveform, *, peer=False, speech=None, heard=None, **options):
    inference, heard = FakeInference(), heard or waveform
    found = None if peer else Sound(waveform, heard)
    wanted = TranscribeOptions(**{"language": "en", "temperature": 0.0, **options})
    work = begun(inference, vocabulary(), MelWindows(heard, 2), wanted, speech, sound=found)
    return work, list(transcribe_windows(inference, work))


# ---------------------------------------------------------------- the end


@pytest.mark.seconds
@pytest.mark.parametrize("word_timestamps", [False, True])
def test_nothing_ends_after_the_recording(word_timestamps):
    late = 0
    for seed in range(20):
        waveform = recording((3.9, 1), seed=seed)
        _, theirs = transcribed(waveform, peer=True, word_timestamps=word_timestamps)
        work, ours = transcribed(waveform, word_timestamps=word_timestamps)
        late += sum(segment.end > 3.9 for segment in theirs)
        assert "".join(segment.text for segment in ours) == "".join(segment.text for segment in theirs)
        assert all(0 <= segment.start <= segment.end <= 3.9 for segment in ours)
        assert all(word.end <= 3.9 for segment in ours for word in segment.words or ())
        assert [segment.id for segment in ours] == list(range(len(ours)))
        assert work.result(ours).duration == 3.9
    assert word_timestamps or late > 0  # as openai-whisper's own


def test_words_are_kept_within_too():
    segment = Segment(0, 0, 1.0, 9.0, " a b", [], 0, 0, 0, 0, [Word(" a", 1.0, 3.0, 1.0), Word(" b", 5.0, 9.0, 1.0)])
    keep_within([segment], 4.0)
    assert (segment.start, segment.end) == (1.0, 4.0)
    assert [(word.start, word.end) for word in segment.words] == [(1.0, 3.0), (4.0, 4.0)]


# ---------------------------------------------------------------- silence


def test_windows_that_are_not_silent():
    assert sound((40, 0), (30, 1), (30, 0), (30, 1)).windows(1) == [3000]
    assert sound((40, 0), (30, 1), (30, 0), (30, 1)).windows(5) == [3000, 6000, 9000, 12000]
    assert sound((70, 0)).windows(2) == [0]
    assert sound((5, 1e-4), (1, 1)).windows(1) == [0]
    assert ArrayWaveform(np.zeros(0, np.float32)).n_samples == 0
    assert sound((0, 1)).windows(1) == [0]


def test_where_the_first_sound_is():
    assert sound((41.5, 0), (5, 1)).start == pytest.approx(41.5, abs=0.01)
    assert sound((5, 1)).start == pytest.approx(0, abs=0.01)
    assert sound((5, 0)).start == 5


def test_the_language_of_a_file_that_starts_with_silence():
    waveform = recording((40, 0), (40, 1))
    work, _ = transcribed(waveform, language=None)
    inference = FakeInference()
    tokenizer = build_tokenizer(vocabulary(), multilingual=True, language=None, task=None)
    features = [inference.encode(MelWindows(waveform, 2).window(seek)[None]) for seek in (0, 3000)]
    silent, loud = (detect_language(inference, tokenizer, each)[0] for each in features)
    assert (work.detected.code, work.detected.probability) == (loud.code, loud.probability)
    peers, _ = transcribed(waveform, language=None, peer=True)
    assert (peers.detected.code, peers.detected.probability) == (silent.code, silent.probability)
    assert silent.probability != loud.probability


@pytest.mark.parametrize(("silence", "start", "expected"), [(21, 0.0, 1), (21, 20.0, 0), (4, 0.0, 0)])
def test_a_first_segment_much_before_any_sound_is_told(silence, start, expected):
    work, _ = transcribed(recording((silence, 0), (5, 1)))
    blank = Segment(0, 0, 0.0, 0.0, "", [], 0, 0, 0, 0)
    found = work.result([blank, Segment(1, 0, start, 26.0, " Hello", [], 0, 0, 0, 0)]).warnings
    told = [(each.kind, each.start, round(each.end, 1)) for each in found]
    assert told == [("early segment", start, 21.0)] * expected
    if expected:
        assert found[0].message.endswith("s: the first segment starts before any sound; align_segments True moves it")


# ---------------------------------------------------------------- pauses


def test_parts_that_sound():
    parts = sound((2, 0), (1, 1), (0.3, 0), (1, 1), (3, 0.001), (2, 1), (1, 0)).parts(0.5, 10)
    assert np.array(parts) == pytest.approx(np.array([(2, 4.3), (7.3, 9.3)]), abs=0.06)
    assert sound((5, 0)).parts(0, 5) == []


def test_words_settle_on_what_sounds():
    words = [Word(" a", 0.0, 3.0, 1.0), Word(" b", 3.0, 8.0, 1.0), Word(" c", 8.0, 9.0, 1.0)]
    sound((2, 0), (1.5, 1), (3.5, 0), (2, 1)).settle(words)
    found = [(word.start, word.end) for word in words]
    assert np.array(found) == pytest.approx(np.array([(2, 3), (7, 8), (8, 9)]), abs=0.06)


def segment_of(tokenizer, *words):
    """A segment of (text, start, end), with timestamps around its tokens."""
    text = "".join(word for word, *_ in words)
    begin = tokenizer.timestamp_begin
    tokens = [begin, *tokenizer.encode(text), begin + 50]
    timed = [Word(word, start, end, 0.5) for word, start, end in words]
    return Segment(0, 0, words[0][1], words[-1][2], text, tokens, 0, 0, 0, 0, timed)


def test_a_segment_is_broken_at_its_pauses_with_its_text_and_tokens():
    tokenizer = build_tokenizer(vocabulary(), multilingual=True, language="en", task="transcribe")
    words = [(" It", 1, 2), (" ends.", 2, 2.5), (" And", 9, 9.5), (" on", 9.5, 10), (" on", 15, 16)]
    whole = segment_of(tokenizer, *words)
    parts = break_at_pauses(whole, tokenizer)
    assert [(part.text, part.start, part.end) for part in parts] == [
        (" It ends.", 1, 2.5),
        (" And on", 9, 10),
        (" on", 15, 16),
    ]
    assert [token for part in parts for token in part.tokens] == whole.tokens
    texts = [tokenizer.decode([token for token in part.tokens if token < tokenizer.eot]) for part in parts]
    assert texts == [part.text for part in parts]
    together = segment_of(tokenizer, (" It", 1, 2), (" ends", 2.5, 3))
    assert break_at_pauses(together, tokenizer) == [together]


def test_with_vad_no_segment_reaches_over_a_pause():
    waveform = recording((8, 1), (20, 0), (14, 1), (15, 0), (9, 1))
    timeline = Timeline([(0, 8 * 16000), (28 * 16000, 42 * 16000), (57 * 16000, 66 * 16000)], waveform.n_samples)
    heard = SpeechWaveform(waveform, timeline)
    speech = Speech(timeline, lambda start, stop: np.ones(stop - start, np.float32), 0.35)
    _, theirs = transcribed(waveform, peer=True, heard=heard, speech=speech, vad=True, drop_unlikely=False)
    _, ours = transcribed(waveform, heard=heard, speech=speech, vad=True, drop_unlikely=False)
    gaps = [(8, 28), (42, 57)]

    def over(segments):
        return [each for each in segments for start, end in gaps if each.start < start - 0.05 and each.end > end + 0.05]

    assert over(theirs)
    assert not [each for each in over(ours) if len(each.text.split()) > 1]
    assert "".join(each.text for each in ours) == "".join(each.text for each in theirs)
    assert all(each.words is None for each in ours)


def test_aligned_segments_start_and_end_with_sound():
    waveform = recording((10, 0), (8, 1), (12, 0))
    _, plain = transcribed(waveform)
    _, aligned = transcribed(waveform, align_segments=True)
    assert "".join(each.text for each in aligned) == "".join(each.text for each in plain)
    assert [token for each in aligned for token in each.tokens] == [token for each in plain for token in each.tokens]
    assert all(each.words is None for each in aligned)


# ---------------------------------------------------------------- elisions


@pytest.mark.parametrize(
    ("language", "words", "expected"),
    [
        ("fr", [" l", "'avion", " qu", "'elle", " voit"], [" l'avion", " qu'elle", " voit"]),
        ("it", [" dell'", "acqua", " c", "’è"], [" dell'acqua", " c’è"]),
        ("fr", [" les", " années", " '80", " dit", "-il", " '", "oui", "'"], None),
        ("en", [" the", " boys", "'", " l", "'avion"], None),
    ],
)
def test_elided_words_are_one(language, words, expected):
    timed = [Word(word, float(i), i + 1.0, 0.5) for i, word in enumerate(words)]
    segment = Segment(0, 0, 0.0, 9.0, "".join(words), [], 0, 0, 0, 0, timed)
    join_elisions([segment], language)
    assert [word.word for word in segment.words] == (expected or words)
    assert (segment.words[0].start, segment.words[-1].end) == (0.0, float(len(words)))
