"""Words and segments by the turns that they lie in."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.fake_inference import FakeInference
from tests.support.synthetic_vocabulary import synthetic_vocabulary
from whisper_max.audio.mel import MelWindows
from whisper_max.audio.waveform import ArrayWaveform
from whisper_max.text.tokenizer import build_tokenizer
from whisper_max.transcribe import tidy
from whisper_max.transcribe.options import TranscribeOptions
from whisper_max.transcribe.recording import Recording
from whisper_max.transcribe.result import Segment, Word
from whisper_max.transcribe.scheduler import transcribe_windows
from whisper_max.transcribe.sound import Sound
from whisper_max.transcribe.tidy import Tidy
from whisper_max.transcribe.turns import Turn, Turns, speaker_name
from whisper_max.transcribe.words import attach_words


@cache
def tokenizer():
    return build_tokenizer(synthetic_vocabulary(), multilingual=True, language="en", task="transcribe")


def segment_of(*words):
    """A segment of (text, start, end), with timestamps around its tokens."""
    text = "".join(word for word, *_ in words)
    begin = tokenizer().timestamp_begin
    tokens = [begin, *tokenizer().encode(text), begin + 50]
    timed = [Word(word, start, end, 0.5) for word, start, end in words]
    return Segment(0, 0, words[0][1], words[-1][2], text, tokens, 0, 0, 0, 0, timed)


def said(segments):
    return [(each.speaker, each.text, each.start, each.end) for each in segments]


def test_a_segment_is_split_where_the_speaker_changes_with_its_text_tokens_and_times():
    whole = segment_of((" Do", 1.0, 1.4), (" you?", 1.4, 2.0), (" I", 2.0, 2.3), (" do.", 2.3, 3.0))
    parts = Turns([Turn(0.8, 2.05, 0), Turn(2.05, 3.2, 1)]).label([whole], tokenizer())
    assert said(parts) == [("Speaker 1", " Do you?", 1.0, 2.0), ("Speaker 2", " I do.", 2.0, 3.0)]
    assert [[word.speaker for word in part.words] for part in parts] == [["Speaker 1"] * 2, ["Speaker 2"] * 2]
    assert [token for part in parts for token in part.tokens] == whole.tokens
    spoken = [[token for token in part.tokens if tokenizer().is_text(token)] for part in parts]
    assert [tokenizer().decode(tokens) for tokens in spoken] == [" Do you?", " I do."]


def test_speakers_are_numbered_by_their_first_turns():
    turns = Turns([Turn(5, 6, 0), Turn(0, 1, 7), Turn(2, 3, 3), Turn(8, 9, 7)])
    words = [(" a", 0.2, 0.8), (" b", 2.2, 2.8), (" c", 5.2, 5.8), (" d", 8.2, 8.8)]
    found = [(part.speaker, part.text) for part in turns.label([segment_of(*words)], tokenizer())]
    assert found == [("Speaker 1", " a"), ("Speaker 2", " b"), ("Speaker 3", " c"), ("Speaker 1", " d")]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ((2.0, 3.5), "Speaker 1"),  # 1.0 s of one, 0.5 s of the other
        ((2.8, 4.0), "Speaker 2"),
        ((4.5, 4.5), "Speaker 2"),  # a word without length
        ((6.4, 6.6), "Speaker 2"),  # nobody's, near the turn before it
        ((7.5, 7.7), "Speaker 1"),  # nobody's, near the turn after it
        ((6.9, 7.0), "Speaker 2"),  # in the middle of a pause
        ((20.0, 20.5), None),
    ],
)
def test_whose_a_word_is(word, expected):
    turns = Turns([Turn(0, 3, 0), Turn(3, 6, 1), Turn(8, 9, 0)])
    (part,) = turns.label([segment_of((" word", *word))], tokenizer())
    assert part.speaker == part.words[0].speaker == expected


def test_a_word_that_nobody_is_near_goes_with_its_neighbours():
    turns = Turns([Turn(10, 11, 0), Turn(20, 21, 1)])
    words = [(" a", 5, 6), (" b", 10, 11), (" c", 13, 14), (" d", 20, 21), (" e", 25, 26)]
    found = [(part.speaker, part.text) for part in turns.label([segment_of(*words)], tokenizer())]
    assert found == [("Speaker 1", " a b c"), ("Speaker 2", " d e")]


def test_who_speaks_goes_on_where_both_do():
    turns = Turns([Turn(0, 4, 0), Turn(2, 6, 1)])
    words = [(" a", 0, 1), (" b", 2.2, 3), (" c", 3, 3.8), (" d", 4, 5), (" e", 5, 6)]
    assert [part.text for part in turns.label([segment_of(*words)], tokenizer())] == [" a b c", " d e"]
    late = Turns([Turn(0, 6, 0), Turn(2, 6, 1)]).label([segment_of((" x", 4, 5))], tokenizer())
    assert late[0].speaker is not None


@pytest.mark.parametrize(("span", "expected"), [((0.0, 3.4), "Speaker 1"), ((2.5, 6), "Speaker 2"), ((90, 91), None)])
def test_a_segment_without_words_is_one_speakers(span, expected):
    segment = Segment(0, 0, span[0], span[1], " text", [], 0, 0, 0, 0)
    (part,) = Turns([Turn(0, 3, 0), Turn(3, 6, 1)]).label([segment], tokenizer())
    assert (part.speaker, part.text, part.words) == (expected, " text", None)


def test_no_turns_are_no_speakers():
    segments = [segment_of((" a", 0, 1), (" b", 1, 2)), Segment(0, 0, 2, 3, "", [], 0, 0, 0, 0, [])]
    assert [each.speaker for each in Turns([]).label(segments, tokenizer())] == [None, None]


times = st.integers(0, 400).map(lambda n: n / 10)
turns_of = st.lists(st.builds(lambda a, b, who: Turn(min(a, b), max(a, b), who), times, times, st.integers(0, 3)))


@given(turns_of, times, times)
def test_whose_a_word_is_agrees_with_looking_at_every_turn(turns, one, other):
    start, end = min(one, other), max(one, other) + 0.1
    (part,) = Turns(turns).label([segment_of((" word", start, end))], tokenizer())
    shared: dict[int, float] = {}
    for turn in turns:
        both = min(end, turn.end) - max(start, turn.start)
        shared[turn.speaker] = shared.get(turn.speaker, 0.0) + max(both, 0.0)
    most = max(shared.values(), default=0.0)
    first = dict.fromkeys(turn.speaker for turn in sorted(turns, key=lambda turn: (turn.start, turn.end)))
    names = {speaker: speaker_name(number) for number, speaker in enumerate(first)}
    if most > 1e-3:
        assert part.speaker in {names[speaker] for speaker, seconds in shared.items() if seconds >= most - 1e-5}
    else:
        nearest = min((max(turn.start - end, start - turn.end) for turn in turns), default=99.0)
        assert (part.speaker is None) == (nearest > 1.0) or abs(nearest - 1.0) < 1e-9


@pytest.mark.parametrize("word_timestamps", [True, False])
def test_a_recording_whose_turns_are_known(word_timestamps):
    waveform = ArrayWaveform(make_noise(40))
    options = TranscribeOptions(language="en", temperature=0.0, word_timestamps=word_timestamps)
    plain, labelled = (
        transcribed(waveform, options, turns) for turns in (None, Turns([Turn(0, 9, 0), Turn(9, 40, 1)]))
    )
    assert {each.speaker for each in plain} == {None}
    assert {each.speaker for each in labelled if each.text} == {"Speaker 1", "Speaker 2"}
    assert {each.speaker for each in labelled if not each.text} <= {None}
    assert "".join(each.text for each in labelled) == "".join(each.text for each in plain)
    assert [each.id for each in labelled] == list(range(len(labelled)))
    assert all((each.words is not None) == word_timestamps for each in labelled)
    spoken = [each for each in labelled if each.text]
    assert [each.speaker for each in spoken] == sorted(each.speaker for each in spoken)


@pytest.mark.parametrize(
    ("turns", "until"),
    [
        ([Turn(0, 40, 0)], 0),  # nothing to split
        ([Turn(0, 9, 0), Turn(70, 80, 0)], 0),  # the same speaker later on
        ([Turn(0, 9, 0), Turn(9, 90, 1)], 10),  # a word may be a second from its turn
        (None, 90),  # found later
    ],
)
def test_words_are_timed_only_where_speakers_may_differ(monkeypatch, turns, until):
    aligned = []

    def counted(piece, cut, align):
        aligned.append(cut.window.start)
        attach_words(piece, cut, align)

    monkeypatch.setattr(tidy, "attach_words", counted)
    options = TranscribeOptions(language="en", temperature=0.0)
    segments = transcribed(ArrayWaveform(make_noise(90)), options, Turns(turns))
    assert set(aligned) == {each.seek / 100 for each in segments if each.seek / 100 < until}


def make_noise(seconds):
    return np.random.default_rng(3).normal(0, 0.1, seconds * 16000).astype(np.float32)


def transcribed(waveform, options, turns):
    inference = FakeInference()
    mel = MelWindows(waveform, inference.dims.n_mels)
    recording = Recording(synthetic_vocabulary(), mel, options, tidy=Tidy(Sound(waveform, waveform), turns))
    recording.begin(inference)
    return list(transcribe_windows(inference, recording))
