"""Ids come from what a checkpoint states, never from the number of its embeddings."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from tests.support.synthetic_vocabulary import N_TEXT, synthetic_ranks
from whisper_max.decode.masks import token_masks
from whisper_max.decode.options import DecodingOptions
from whisper_max.decode.rules import build_rules
from whisper_max.errors import CheckpointError, OptionError
from whisper_max.text.special_tokens import published_special_tokens, stated_special_tokens
from whisper_max.text.tokenizer import Vocabulary, build_tokenizer

PUBLISHED = published_special_tokens(N_TEXT, 51865)
STATED = {name: token for name, token in PUBLISHED.by_name().items() if token < PUBLISHED.timestamp_begin}
"""As the tokenizers that Hugging Face first published: without timestamps."""


@cache
def with_words(n_words=3, n_rows=51872):
    words = {f"newword{i}": 51865 + i for i in range(n_words)}
    return Vocabulary(synthetic_ranks(), n_rows, STATED, words)


def tokenizer(**language):
    return build_tokenizer(with_words(), multilingual=True, **{"language": "en", "task": None} | language)


@pytest.mark.parametrize("n_vocab", [51865, 51866, 51867, 51872, 60000])
def test_more_rows_move_no_token(n_vocab):
    stated = stated_special_tokens(STATED, n_vocab)
    assert stated == PUBLISHED
    assert (stated.timestamp_begin, stated.timestamp_end, len(stated.languages)) == (50364, 51865, 99)


def test_a_language_by_its_withdrawn_code_is_that_language():
    old = {name.replace("<|he|>", "<|iw|>"): token for name, token in STATED.items()}
    assert stated_special_tokens(old, 51865) == PUBLISHED
    both = stated_special_tokens({**STATED, "<|iw|>": 51865}, 51866)
    assert both.languages == PUBLISHED.languages
    assert both.others == {"<|iw|>": 51865}


def test_timestamps_that_are_stated_are_believed():
    assert stated_special_tokens(PUBLISHED.by_name(), 51865) == PUBLISHED


def test_a_language_that_was_added_behind_the_timestamps():
    vocabulary = Vocabulary(synthetic_ranks(), 51866, STATED | {"<|yue|>": 51865})
    spoken = build_tokenizer(vocabulary, multilingual=True, language="cantonese", task=None)
    assert spoken.sot_sequence == (50258, 51865, 50359)
    assert (spoken.num_languages, spoken.all_language_tokens[-1], spoken.timestamp_begin) == (100, 51865, 50364)


def test_a_language_that_whisper_does_not_know_is_one_where_the_model_says_so():
    stated = STATED | {"<|ckb|>": 51865, "<|mine|>": 51866}
    vocabulary = Vocabulary(
        synthetic_ranks(), 51867, stated, languages=("<|en|>", "<|ckb|>", "<|transcribe|>", "<|ab|>")
    )
    spoken = build_tokenizer(vocabulary, multilingual=True, language="<|ckb|>", task=None)
    assert build_tokenizer(vocabulary, multilingual=True, language="ckb", task=None) == spoken
    assert spoken.sot_sequence == (50258, 51865, 50359)
    assert (spoken.language, vocabulary.languages[-1], spoken.num_languages) == ("ckb", "ckb", 100)
    assert vocabulary.specials.others == {"<|mine|>": 51866}
    with pytest.raises(OptionError, match=r"the model does not know this language.*found mine"):
        build_tokenizer(vocabulary, multilingual=True, language="<|mine|>", task=None)


def test_names_that_mean_nothing_to_whisper_are_special_and_no_text():
    vocabulary = Vocabulary(synthetic_ranks(), 51867, STATED | {"<|mine|>": 51865, "[PAD]": 51866})
    assert vocabulary.special_tokens["<|mine|>"] == 51865
    assert not vocabulary.is_text(51865)
    assert not vocabulary.is_text(51866)
    assert vocabulary.unused == ()


@pytest.mark.parametrize(
    ("change", "n_vocab", "message"),
    [
        ({"<|transcribe|>": None}, 51865, r"<\|transcribe\|> is not in the vocabulary; put the model's complete"),
        ({"<|nospeech|>": None}, 51865, r"<\|nospeech\|> or <\|nocaptions\|> is not in the vocabulary"),
        ({"<|nocaptions|>": 51865}, 51866, r"<\|nospeech\|> or <\|nocaptions\|> has two ids"),
        ({"newword": 50364}, 51866, r"newword has the id of the timestamp <\|0.00\|>: found 50364"),
        ({"<|0.02|>": 50370}, 51866, r"<\|0.02\|> has an unusual id: expected 50365, found 50370"),
        ({}, 51864, "the token embedding ends before the last timestamp: expected at least 51865 rows, found 51864"),
    ],
)
def test_a_statement_that_is_not_whole_or_consistent(change, n_vocab, message):
    stated = {name: token for name, token in (STATED | change).items() if token is not None}
    with pytest.raises(CheckpointError, match=message):
        Vocabulary(synthetic_ranks(), n_vocab, stated)


def test_a_partial_statement_must_not_contradict_the_published_order():
    ranks = synthetic_ranks()
    assert Vocabulary(ranks, 51865, {"<|endoftext|>": 50257}).specials == PUBLISHED
    with pytest.raises(CheckpointError, match=r"<\|notimestamps\|> has an unusual id: expected 50363, found 50364"):
        Vocabulary(ranks, 51865, {"<|notimestamps|>": 50364})


@pytest.mark.parametrize(
    ("n_text", "stated", "multilingual"), [(50257, None, True), (50256, None, False), (50257, False, False)]
)
def test_what_tells_whether_a_model_knows_more_than_english(n_text, stated, multilingual):
    vocabulary = Vocabulary(synthetic_ranks(n_text), n_text + 1608, multilingual=stated)
    assert vocabulary.is_multilingual is multilingual
    assert len(vocabulary.languages) == (99 if multilingual else 1)


# ---------------------------------------------------------------- words behind the timestamps


def test_added_words_are_text_in_both_directions():
    t = tokenizer()
    tokens = t.encode(" see newword1 here")
    assert 51866 in tokens
    assert t.decode([50364, *tokens, 50464]) == " see newword1 here"
    assert [t.is_text(token) for token in (50256, 50257, 50364, 51864, 51865, 51867, 51868)] == [
        True, False, False, False, True, True, False,
    ]  # fmt: skip
    words, groups = t.split_to_word_tokens([*tokens, t.eot])
    assert "".join(words) == " see newword1 here<|endoftext|>"
    assert [token for group in groups for token in group] == [*tokens, t.eot]
    assert t.n_competing == t.n_vocab


def test_rows_without_a_token_are_never_said():
    t = tokenizer()
    assert t.vocabulary.unused == (51868, 51869, 51870, 51871)
    for options in (DecodingOptions(), DecodingOptions(suppress_tokens="", without_timestamps=True)):
        logits = np.zeros((1, t.n_vocab), np.float32)
        logits[:, t.timestamp_begin : t.timestamp_end] = -30
        logits[:, 51868:] = 50
        for rule in build_rules(t, options):
            rule.apply(logits, [[50364, 7, 9]])
        assert np.isneginf(logits[:, 51868:]).all()
        assert not np.isneginf(logits[:, 51865:51868]).any()


@pytest.mark.parametrize(
    ("sampled", "words_allowed"),
    [
        ([], False),  # a timestamp comes first
        ([50364], True),  # then text
        ([50364, 51865], True),
        ([50364, 51865, 50464], False),  # the second timestamp of a pair, or the end
        ([50364, 51865, 50464, 50464], True),
    ],
)
def test_timestamp_rules_take_added_words_for_text(sampled, words_allowed):
    t = tokenizer()
    logits = np.zeros((1, t.n_vocab), np.float32)
    logits[:, t.timestamp_begin : t.timestamp_end] = -30
    for rule in build_rules(t, DecodingOptions()):
        rule.apply(logits, [sampled])
    assert np.isfinite(logits[:, 51865:51868]).all() == words_allowed


def test_likely_timestamps_forbid_added_words_as_they_forbid_text():
    t = tokenizer()
    logits = np.zeros((1, t.n_vocab), np.float32)
    logits[:, t.timestamp_begin : t.timestamp_end] = 1
    for rule in build_rules(t, DecodingOptions()):
        rule.apply(logits, [[50364, 7, 9]])
    assert np.isneginf(logits[0, 51865:51868]).all()


def test_a_device_leaves_models_with_added_words_to_the_host():
    t = tokenizer()
    assert token_masks(build_rules(t, DecodingOptions()), t, t.n_vocab) is None
    spare = build_tokenizer(with_words(0), multilingual=True, language="en", task=None)
    masks = token_masks(build_rules(spare, DecodingOptions()), spare, spare.n_vocab)
    assert masks is not None
    assert masks.never[51865:].all()
