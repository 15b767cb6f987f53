from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.live_world import live_words
from whisper_max.live.agreement import Agreement
from whisper_max.live.events import text_of


def test_two_decodings_commit_what_they_begin_with_alike():
    agreement = Agreement()
    assert agreement.update(live_words("so my fellow")) == []
    assert text_of(agreement.update(live_words("so my felon ask"))) == " so my"
    assert text_of(agreement.tail) == " felon ask"
    assert text_of(agreement.update(live_words("so my fellow ask"))) == ""
    assert text_of(agreement.update(live_words("so my fellow ask not"))) == " fellow ask"


def test_case_and_marks_don_t_matter_and_the_later_spelling_counts():
    agreement = Agreement()
    agreement.update(live_words("So, my fellow."))
    assert text_of(agreement.update(live_words("so my Fellow Americans"))) == " so my Fellow"


def test_letters_with_marks_of_their_own_are_other_letters():
    agreement = Agreement()
    agreement.update(live_words("कि"))
    assert agreement.update(live_words("की")) == []


def test_words_of_marks_alone_are_words():
    agreement = Agreement()
    agreement.update(live_words("... what"))
    assert text_of(agreement.update(live_words("- what"))) == ""


def test_a_word_that_is_not_likely_needs_more_audio_behind_it():
    sure, unsure, after = (
        replace(word, start=0.4 * i, end=0.4 * i + 0.3, probability=probability)
        for i, (word, probability) in enumerate(zip(live_words("so my fellow"), (0.8, 0.79, 0.99), strict=True))
    )
    agreement = Agreement()
    assert text_of(agreement.commit_until([sure, unsure, after], 1.5, 0.8)) == " so"  # what follows waits, too
    assert agreement.commit_until([sure, unsure, after], 1.69, 0.8) == []
    assert text_of(agreement.commit_until([sure, unsure, after], 1.7, 0.8)) == " my fellow"


def agreed_on(text):
    agreement = Agreement()
    agreement.update(live_words(text))
    agreement.update(live_words(text))
    return agreement


def test_committed_words_that_are_heard_otherwise_don_t_come_again():
    agreement = agreed_on("a b c")
    agreement.update(live_words("a x c d e"))
    assert text_of(agreement.tail) == " d e"
    agreement.update(live_words("b c d e"))  # one is missing
    assert text_of(agreement.tail) == ""
    assert text_of(agreement.committed) == " a b c d e"
    agreement.update(live_words("and a b c d e f"))  # one is new
    assert text_of(agreement.tail) == " f"


def test_a_changed_word_at_the_end_is_told_by_its_time():
    agreement = agreed_on("a b c")
    agreement.update(live_words("a b x d"))
    assert text_of(agreement.tail) == " d"


def test_repeated_words_are_counted():
    agreement = agreed_on("no no")
    agreement.update(live_words("no no no no"))
    assert text_of(agreement.tail) == " no no"


def test_times_follow_those_that_are_committed():
    agreement = agreed_on("a b c")  # to 1.4 s
    agreement.update([*live_words("a b c"), *live_words("d e", start=1.0)])
    assert [(word.start, word.end) for word in agreement.tail] == [(1.4, 1.4), (1.5, 1.9)]


def test_words_of_doubt_are_shown_but_agree_with_nothing_yet():
    agreement = Agreement()
    agreement.update(live_words("a b"))
    agreement.doubt(live_words("a b c"))
    assert text_of(agreement.tail) == " a b c"
    assert agreement.committed == []
    assert text_of(agreement.commit_all()) == " a b c"
    assert agreement.tail == []


@pytest.mark.parametrize(("begun", "ended"), [(0.6, 9.0), (1.0, 9.0), (9.0, 0.9), (9.0, 1.3)])
def test_words_are_committed_up_to_a_time(begun, ended):
    agreement = Agreement()
    agreement.update(live_words("a b c"))
    assert text_of(agreement.commit_early(begun, ended)) == " a b"
    assert text_of(agreement.tail) == " c"


def test_forgotten_words_are_not_looked_for():
    agreement = agreed_on("a b c")
    assert text_of(agreement.forget(2)) == " a b"
    agreement.update(live_words("c d", start=1.0))
    assert text_of(agreement.tail) == " d"
    assert agreement.end == 1.4


sentences = st.lists(st.sampled_from("abcd"), max_size=12).map(" ".join)


@given(st.lists(sentences, max_size=8))
def test_what_is_committed_stays(decodings):
    agreement = Agreement()
    committed = []
    for text in decodings:
        before = list(committed)
        committed += agreement.update(live_words(text))
        assert committed[: len(before)] == before
        assert agreement.committed == committed
        times = [time for word in [*committed, *agreement.tail] for time in (word.start, word.end)]
        assert times == sorted(times)


@given(st.lists(st.sampled_from("abcd"), max_size=12), st.lists(st.integers(0, 12), max_size=8))
def test_decodings_that_hear_more_and_more_commit_all_but_the_news(words, cuts):
    """What every decoding of a stream hears alike is committed once it was heard twice."""
    agreement = Agreement()
    heard = [words[:cut] for cut in sorted(cuts)]
    for each in heard:
        agreement.update(live_words(" ".join(each)))
    twice = heard[-2] if len(heard) > 1 else []
    assert text_of(agreement.committed) == "".join(f" {word}" for word in twice)
