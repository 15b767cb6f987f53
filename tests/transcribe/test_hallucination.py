import pytest

from whisper_max.decode.decoded import Decoded
from whisper_max.transcribe.hallucination import skip_hallucinations
from whisper_max.transcribe.result import Segment, Word
from whisper_max.transcribe.window import Cut, Window, end_of_speech

RESULT = Decoded("en", [], "", -0.3, 0.1, 0.0, 1.0)


def segment(start, words):
    """Words as (length, probability), one after the other."""
    timed, at = [], start
    for length, probability in words:
        timed.append(Word(" a", at, at + length, probability))
        at += length
    return Segment(0, 0, start, at, " a", [1], 0.0, -0.3, 1.0, 0.1, timed)


def good(start):
    return segment(start, [(0.4, 0.9)] * 5)


def strange(start):
    return segment(start, [(0.05, 0.05)] * 5)


def skip(segments, *, threshold=2.0, seek=10_000, last_speech=99.0, n_frames=60_000, ends_in_silence=False):
    cut = Cut(Window(seek, 3000, ()), RESULT, seek + 2000, list(segments), ends_in_silence)
    skip_hallucinations(cut, last_speech, n_frames, threshold)
    return cut


def test_good_text_stays_and_the_next_window_starts_after_it():
    cut = skip([good(101), good(120)])
    assert (len(cut.segments), cut.seek, cut.skipped) == (2, 12_200, False)
    cut = skip([good(101), good(127)])
    assert (len(cut.segments), cut.seek) == (2, 13_000)  # what remains is shorter than the threshold
    cut = skip([good(101)], ends_in_silence=True)
    assert cut.seek == 12_000


def test_strange_text_after_a_silence_is_listened_to_again_from_its_start():
    cut = skip([strange(105), good(110)])
    assert (cut.segments, cut.skipped, cut.seek) == ([], True, 10_500)


def test_strange_text_between_silences_is_dropped_with_all_after_it():
    cut = skip([good(101), strange(110), good(115)])
    assert ([each.start for each in cut.segments], cut.seek, cut.skipped) == ([101], 11_000, False)


def test_strange_text_next_to_speech_stays():
    assert len(skip([good(101), strange(103.5), good(104)]).segments) == 3


def test_strange_text_at_the_end_of_the_recording_ends_it():
    cut = skip([good(101), strange(110)], n_frames=11_100)
    assert ([each.start for each in cut.segments], cut.seek) == ([101], 11_100)


@pytest.mark.parametrize("words", [[(0.4, 0.05)] * 3, [(3.5, 0.9)], [(0.001, 0.9)]])
def test_unlikely_long_and_short_words_are_strange(words):
    assert skip([segment(105, words)]).skipped


@pytest.mark.parametrize("words", [[(0.4, 0.15)] * 3, [(2.9, 0.9)], [(0.07, 0.9)]])
def test_words_just_within_the_limits_are_not_strange(words):
    assert not skip([segment(105, words)]).skipped


def test_three_strange_words_among_eight_are_enough():
    some = [(0.4, 0.05)] * 3 + [(0.4, 0.9)] * 9
    assert skip([segment(105, some)]).skipped
    assert not skip([segment(105, [(0.4, 0.9)] * 6 + some)]).skipped


def test_a_gap_of_no_frames_is_no_gap():
    cut = skip([strange(100.001)], threshold=0.0)
    assert not cut.skipped
    assert cut.seek > 10_000


def test_end_of_speech():
    silent = Segment(0, 0, 5.0, 7.0, "", [], 0.0, -0.3, 1.0, 0.1, [])
    assert end_of_speech([]) is None
    assert end_of_speech([silent]) == 7.0
    assert end_of_speech([good(1.0), silent]) == pytest.approx(3.0)
