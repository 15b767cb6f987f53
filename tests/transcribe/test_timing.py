from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.synthetic_vocabulary import synthetic_vocabulary
from whisper_max.decode.contract import Alignment
from whisper_max.text.tokenizer import build_tokenizer
from whisper_max.transcribe.options import Punctuation
from whisper_max.transcribe.result import Segment, Word
from whisper_max.transcribe.timing import (
    WordTiming,
    add_words,
    alignment_tokens,
    find_words,
    merge_punctuations,
)


@cache
def tokenizer():
    return build_tokenizer(synthetic_vocabulary(), multilingual=True, language="en", task=None)


def timing(word, start=0.0, end=0.5, tokens=(1,), probability=0.9):
    return WordTiming(word, list(tokens), start, end, probability)


def segment(start, end, tokens, seek=0):
    return Segment(0, seek, start, end, "x", list(tokens), 0.0, -0.3, 1.0, 0.1)


class Attention(Alignment):
    """Each token attends to the 25 positions, half a second, after the token before it."""

    def __init__(self, n_tokens, first):
        self.weights = np.full((3, n_tokens, 1500), 1e-4, np.float32)
        for token in range(n_tokens - first - 1):
            self.weights[:, first + token, 25 * token : 25 * (token + 1)] = 1.0
        self.token_probs = np.linspace(0, 1, n_tokens, dtype=np.float32)


def test_words_get_the_times_and_the_mean_probability_of_their_tokens():
    t = tokenizer()
    text_tokens = [t.vocabulary.token_bytes.index(text) for text in (b" abc", b"de", b" fgh")]
    tokens = alignment_tokens(t, text_tokens)
    assert tokens == [t.sot, t.language_token, t.transcribe, t.no_timestamps, *text_tokens, t.eot]
    alignment = Attention(len(tokens), first=3)
    first, second = find_words(t, text_tokens, alignment, n_frames=3000)
    assert (first.word, first.start, first.end, first.tokens) == (" abcde", 0.0, 1.0, text_tokens[:2])
    assert (second.word, second.start, second.end) == (" fgh", 1.0, 1.5)
    assert [first.probability, second.probability] == pytest.approx([(4 / 7 + 5 / 7) / 2, 6 / 7])


def test_no_text_has_no_words():
    assert find_words(tokenizer(), [], Attention(5, 3), n_frames=3000) == []
    empty = segment(0, 1, [])
    add_words([empty], [], Punctuation(), tokenizer(), 0.0)
    assert (empty.words, empty.start, empty.end) == ([], 0, 1)
    add_words([], [timing(" a")], Punctuation(), tokenizer(), 0.0)


def words_of(*words):
    timings = [timing(word, tokens=(i,)) for i, word in enumerate(words)]
    merge_punctuations(timings, Punctuation())
    return [(each.word, each.tokens) for each in timings if each.word]


def test_punctuation_joins_its_word():
    assert words_of(" say", ' "', "hello", ",", '"') == [(" say", [0]), (' "hello,"', [1, 2, 3, 4])]
    assert words_of(" (", "a", ")", " b") == [(" (a)", [0, 1, 2]), (" b", [3])]
    assert words_of(" a", " -", " b") == [(" a", [0]), (" - b", [1, 2])]
    assert words_of(" a", "?", "!") == [(" a?!", [0, 1, 2])]


@settings(deadline=None)
@given(st.lists(st.sampled_from([" a", "b", ",", ' "', '"', " (", ")", ".", " ", "¿"]), max_size=12))
def test_joining_loses_nothing(words):
    joined = words_of(*words)
    assert "".join(word for word, _ in joined) == "".join(words)
    assert [token for _, tokens in joined for token in tokens] == list(range(len(words)))


def test_words_go_to_the_segment_of_their_tokens_and_set_its_times():
    segments = [segment(0.0, 2.0, [50400, 1, 2, 50500]), segment(2.0, 4.0, [50500, 3, 50600])]
    timings = [timing(" a", 0.2, 0.6), timing(" b", 0.6, 1.1), timing(" c", 2.3, 2.8)]
    add_words(segments, timings, Punctuation(), tokenizer(), 0.0)
    assert segments[0].words == [Word(" a", 0.2, 0.6, 0.9), Word(" b", 0.6, 1.1, 0.9)]
    assert segments[1].words == [Word(" c", 2.3, 2.8, 0.9)]
    assert [(each.start, each.end) for each in segments] == [(0.2, 1.1), (2.3, 2.8)]


def test_times_count_from_the_start_of_the_recording():
    one = segment(60.0, 62.0, [1], seek=6000)
    add_words([one], [timing(" a", 0.5, 1.0)], Punctuation(), tokenizer(), 60.0)
    assert one.words == [Word(" a", 60.5, 61.0, 0.9)]


def test_a_long_first_word_after_a_pause_is_shortened_to_twice_the_median():
    one = segment(0.0, 7.0, [1, 2, 3, 4])
    timings = [timing(" a", 0.0, 5.0), timing(" b", 5.0, 5.4), timing(" c", 5.4, 5.8), timing(" d", 5.8, 6.2)]
    add_words([one], timings, Punctuation(), tokenizer(), 0.0)
    assert (one.words[0].start, one.words[0].end) == pytest.approx((4.2, 5.0))
    assert one.start == pytest.approx(4.2)


def test_a_long_mark_at_the_end_of_a_sentence_is_shortened():
    timings = [timing(" a", 0.0, 0.4), timing(".", 0.4, 3.0), timing(" b", 3.0, 3.4), timing(" c", 3.4, 3.8)]
    one = segment(0.0, 4.0, [1, 2, 3, 4])
    add_words([one], timings, Punctuation(), tokenizer(), 0.0)
    assert (one.words[0].word, one.words[0].start, one.words[0].end) == (" a.", 0.0, 0.4)
    timings = [timing(" a", 0.0, 0.4), timing(".", 0.4, 0.5), timing(" b", 0.5, 3.4), timing(" c", 3.4, 3.8)]
    add_words([one], timings, Punctuation(), tokenizer(), 0.0)
    assert one.words[1].start == pytest.approx(3.4 - 0.8)


def test_the_segment_wins_where_a_word_reaches_far_beyond_it():
    one = segment(2.0, 3.0, [1, 2, 3])
    timings = [timing(" a", 1.0, 2.4), timing(" b", 2.4, 2.8), timing(" c", 2.8, 3.8)]
    add_words([one], timings, Punctuation(), tokenizer(), 1.0)
    assert (one.words[0].start, one.start) == (pytest.approx(1.7), 2.0)  # the word's end less the median, 0.7
    assert (one.words[-1].end, one.end) == (pytest.approx(3.5), 3.0)
