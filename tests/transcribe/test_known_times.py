"""A known text in the recording that says it: words as they are written, in order, within it; or a clear answer."""

from pathlib import Path

import numpy as np
import pytest

from tests.support.fake_inference import DIMS, FakeInference
from tests.support.synthetic_vocabulary import synthetic_vocabulary as vocabulary
from whisper_max.api import Model
from whisper_max.errors import AlignmentError, OptionError
from whisper_max.output import FORMATS, render
from whisper_max.transcribe.known_text import KnownWord
from whisper_max.transcribe.known_times import _complete, _Item, _items, _regrouped, _windows
from whisper_max.transcribe.result import Word

PLAIN = {"language": "en", "temperature": 0.0}
SAMPLE = Path(__file__).parents[2] / "samples" / "jfk.flac"


def known(*texts):
    return [KnownWord(f" {text}", text) for text in texts]


def heard(*words):
    return [Word(f" {text}", start, end, 0.9) for text, start, end in words]


def spoken(n_words, first=0, start=0.0):
    return heard(*((f"w{first + i}", start + i * 0.5, start + i * 0.5 + 0.4) for i in range(n_words)))


def shown(items):
    return [(item.text.strip(), item.known) for item in items]


# ---------------------------------------------------------------- what is said where


def test_what_is_heard_and_not_written_stands_for_its_sound_and_what_is_not_heard_is_left_out():
    words = spoken(10)
    text = known("w0", "w1", "w2", "w4", "w5", "never", "w6", "w7", "w8", "w9")
    assert shown(_items(text, words, 6.0)) == [
        ("w0", 0), ("w1", 1), ("w2", 2), ("w3", None), ("w4", 3), ("w5", 4),
        ("w6", 6), ("w7", 7), ("w8", 8), ("w9", 9),
    ]  # fmt: skip


def test_what_is_written_otherwise_is_said_for_what_was_heard_and_is_worth_as_much_as_it_is_like_it():
    items = _items(known("w0", "w1", "w2", "w33", "xyz", "w5", "w6", "w7"), spoken(8), 5.0)
    assert shown(items)[3:5] == [("w33", 3), ("xyz", 4)]
    assert items[2].weight == 1.0
    assert 0.2 < items[3].weight < 1.0
    assert items[3].start == 1.5
    assert items[4].end == pytest.approx(2.4)


def test_numbers_may_be_written_in_other_ways():
    words = heard(
        ("in", 0, 0.4), ("the", 0.4, 0.6), ("year", 0.6, 1.0), ("1960", 1.0, 1.8), ("it", 1.8, 2), ("was", 2, 3)
    )
    items = _items(known("in", "the", "year", "nineteen", "sixty", "it", "was"), words, 4.0)
    assert [item.weight for item in items] == [1.0] * 7


def test_a_long_part_that_the_text_skips_is_left_out():
    words = [*spoken(5), *spoken(60, 100, 10.0), *spoken(5, 5, 50.0)]
    text = known(*(f"w{i}" for i in range(10)))
    items = _items(text, words, 60.0)
    assert shown(items) == [(f"w{i}", i) for i in range(10)]
    assert [item.alone for item in items] == [False] * 5 + [True] + [False] * 4


@pytest.mark.parametrize("text", [known("something", "else", "altogether"), known("w1", "x", "w5", "y", "z", "w2")])
def test_a_text_of_another_recording_is_an_error(text):
    with pytest.raises(AlignmentError, match="text: the recording does not say it"):
        _items(text, spoken(30), 20.0)


def test_a_recording_in_which_nothing_is_said_is_an_error():
    with pytest.raises(AlignmentError):
        _items(known("w1"), [], 20.0)


# ---------------------------------------------------------------- windows


def test_windows_are_cut_in_pauses_and_hold_all_items_once():
    words = [word for first in range(0, 300, 20) for word in spoken(20, first, first * 0.6)]
    items = _items(known(*(f"w{i}" for i in range(300))), words, 200.0)
    windows = list(_windows(items, len, 200.0))
    assert [item for window in windows for item in window.items] == items
    for window in windows:
        assert 0 < window.end - window.start <= 30
        assert window.items[0].known % 20 == 0  # each begins after a pause
        assert window.start <= window.items[0].start
        assert window.items[-1].end <= window.end
    ends = [window.end for window in windows]
    assert all(end <= window.start for end, window in zip(ends, windows[1:], strict=False))


def test_one_item_that_lasts_longer_than_a_window():
    (window,) = _windows([_Item(" a", 0, 0.0, 90.0)], len, 100.0)
    assert window.items[0].text == " a"


# ---------------------------------------------------------------- words


def test_words_of_the_model_are_put_together_as_they_are_written():
    items = [_Item(" twenty-five", 0, 0, 1), _Item(" it's", 1, 1, 2, weight=0.5), _Item(" —", 2, 2, 2)]
    words = [
        Word(" twenty", 0.0, 0.4, 0.8), Word("-five", 0.4, 0.9, 0.6), Word(" it's —", 0.9, 1.6, 0.8),
    ]  # fmt: skip
    found = [(word.word, word.start, word.end, round(word.probability, 6)) for word in _regrouped(items, words)]
    assert found == [(" twenty-five", 0.0, 0.9, 0.7), (" it's", 0.9, 1.6, 0.4), (" —", 0.9, 1.6, 0.8)]


def test_words_that_were_not_said_are_between_their_neighbours_with_probability_0():
    timed = [None, Word(" a", 1.0, 1.5, 0.9), None, Word(" b", 1.4, 2.0, 0.8), None]
    found = _complete(known("x", "a", "y", "b", "z"), timed)
    assert [(word.start, word.end, word.probability) for word in found] == [
        (1.0, 1.0, 0.0), (1.0, 1.5, 0.9), (1.5, 1.5, 0.0), (1.5, 2.0, 0.8), (2.0, 2.0, 0.0),
    ]  # fmt: skip


def test_marks_alone_take_no_time_and_are_as_likely_as_what_is_before_them():
    text = known("w0", "w1", "w2", "\u266a", "w3", "\u2014")
    assert shown(_items(text, spoken(4), 3.0)) == [("w0", 0), ("w1", 1), ("w2", 2), ("w3", 4)]
    found = _complete(text[2:4], [Word(" w2", 1.0, 1.4, 0.7), None])
    assert [(word.start, word.end, word.probability) for word in found] == [(1.0, 1.4, 0.7), (1.4, 1.4, 0.7)]


# ---------------------------------------------------------------- all of it, with a model of fake logits


def noise(seconds, seed=0):
    return np.random.default_rng(seed).normal(0, 0.2, round(seconds * 16000)).astype(np.float32)


def model():
    return Model(FakeInference(DIMS), vocabulary())


def own_text(audio):
    result = model().transcribe(audio, word_timestamps=True, **PLAIN)
    return "\n".join(segment.text.strip() for segment in result.segments if segment.text.strip())


@pytest.mark.parametrize("seconds", [12, 70])
def test_the_text_comes_back_as_it_was_with_times_that_ascend(seconds):
    audio, progress = noise(seconds), []
    text = own_text(audio)
    result = model().align(audio, text, on_progress=lambda done, total: progress.append((done, total)), **PLAIN)
    words = [word for segment in result.segments for word in segment.words]
    assert "".join(word.word for word in words).split() == text.split()
    assert [segment.text for segment in result.segments] == [
        "".join(word.word for word in segment.words) for segment in result.segments
    ]
    assert all(0 <= word.start <= word.end <= seconds for word in words)
    starts = [word.start for word in words]
    assert starts == sorted(starts)
    assert progress[-1] == (2 * seconds, 2 * seconds)
    for format in FORMATS:
        assert render(result, format)


def test_it_depends_on_nothing_but_the_recording_and_the_text():
    audio = noise(40)
    text = own_text(audio)
    assert model().align(audio, text, **PLAIN) == model().align(audio, text, **PLAIN)


@pytest.mark.parametrize(
    ("text", "options", "error"),
    [
        ("", {}, OptionError),
        ("words of somebody else, and more of them", {}, AlignmentError),
        ("a text", {"task": "translate"}, OptionError),
        ("a text", {"channels": "separate"}, OptionError),
        ("a text", {"speakers": 2}, OptionError),
        ("a text", {"no_such_option": 1}, OptionError),
    ],
)
def test_what_is_refused(text, options, error):
    with pytest.raises(error):
        model().align(noise(12), text, **PLAIN | options)


def test_a_file_of_text(tmp_path):
    with pytest.raises(OptionError, match="can't be read"):
        model().align(noise(3), tmp_path / "missing.txt", **PLAIN)


# ---------------------------------------------------------------- the base model on real speech


@pytest.fixture(scope="module")
def base(encoding_once):
    return encoding_once("base")


@pytest.mark.slow
def test_real_speech(base):
    own = base.transcribe(SAMPLE, word_timestamps=True, language="en")
    words = [word for segment in own.segments for word in segment.words]
    text = "".join(word.word for word in words)
    aligned = base.align(SAMPLE, text, language="en")
    found = [word for segment in aligned.segments for word in segment.words]
    distances = [abs(a - b) for x, y in zip(words, found, strict=True) for a, b in ((x.start, y.start), (x.end, y.end))]
    assert np.mean(distances) < 0.05
    assert np.mean([word.probability for word in found]) > 0.8

    srt = (
        "1\n00:00:00,000 --> 00:00:01,000\nAnd so, my fellow Americans,\nask not\n\n"
        "2\n00:00:05,000 --> 00:00:06,000\nwhat purple elephants your country can do for you.\n"
    )
    timed = base.align(SAMPLE, srt, language="en")
    assert [segment.text for segment in timed.segments] == [
        " And so, my fellow Americans,\nask not",
        " what purple elephants your country can do for you.",
    ]
    likely = {word.word.strip(): word.probability for segment in timed.segments for word in segment.words}
    assert max(likely["purple"], likely["elephants"]) < 0.1
    assert min(likely["country"], likely["fellow"]) > 0.7
    with pytest.raises(AlignmentError):
        base.align(SAMPLE, "Und so, meine amerikanischen Mitbürger, fragt nicht, was euer Land tun kann", language="en")
