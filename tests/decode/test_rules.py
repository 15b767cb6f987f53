from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.synthetic_vocabulary import synthetic_vocabulary
from whisper_max.decode.more_rules import NoRepeatNgram, RepetitionPenalty, SpeechGoesOn
from whisper_max.decode.options import DecodingOptions
from whisper_max.decode.rules import SuppressTokens, TimestampRules, build_rules
from whisper_max.errors import OptionError
from whisper_max.text.tokenizer import build_tokenizer


@cache
def tokenizer():
    return build_tokenizer(synthetic_vocabulary(), multilingual=True, language="en", task=None)


BEGIN = 50364
EOT = 50257
V = 51865


def logits(value=0.0, rows=1):
    return np.full((rows, V), value, np.float32)


def allowed(row):
    return set(np.flatnonzero(row > -np.inf).tolist())


def after(*sampled, options=None, raw=None):
    """What the rules leave after some tokens, with text far likelier than timestamps."""
    out = logits() if raw is None else raw
    if raw is None:
        out[:, :BEGIN] = 50.0
    for rule in build_rules(tokenizer(), options or DecodingOptions()):
        rule.apply(out, [list(sampled)])
    return allowed(out[0])


def test_first_token_is_a_timestamp_within_the_limit():
    assert after() == set(range(BEGIN, BEGIN + 51))
    assert after(options=DecodingOptions(max_initial_timestamp=0.04)) == set(range(BEGIN, BEGIN + 3))
    for no_limit in (None, 0.0, 99.0):
        assert after(options=DecodingOptions(max_initial_timestamp=no_limit)) == set(range(BEGIN, V))


def test_text_follows_a_first_timestamp_and_a_pair():
    text = after(BEGIN + 5)
    assert max(text) < BEGIN
    assert EOT in text
    assert 100 in text
    assert after(BEGIN + 5, 100, BEGIN + 9, BEGIN + 9) == text


def test_a_timestamp_after_text_is_followed_by_one_not_earlier_or_the_end():
    found = after(BEGIN + 5, 100, BEGIN + 9)
    assert {token for token in found if token >= BEGIN} == set(range(BEGIN + 9, V))
    assert EOT in found
    assert min(found) == EOT


def test_timestamps_after_text_are_later_than_the_last():
    assert {token for token in after(BEGIN + 5, 100) if token >= BEGIN} == set(range(BEGIN + 6, V))
    assert {token for token in after(BEGIN, 100, V - 1, V - 1, 7) if token >= BEGIN} == set()


def test_timestamps_win_where_their_sum_is_likelier_than_any_text():
    row = logits(-20.0)
    row[0, 100] = 0.0
    row[0, BEGIN + 10 : BEGIN + 20] = -2.0  # ten of them: log-sum 0.3
    assert after(BEGIN, 100, raw=row) == set(range(BEGIN + 1, V))
    row = logits(-20.0)
    row[0, 100] = 0.31
    row[0, BEGIN + 10 : BEGIN + 20] = -2.0
    assert 100 in after(BEGIN, 100, raw=row)


def test_without_timestamps_only_blanks_and_suppressed_tokens_are_out():
    found = after(options=DecodingOptions(without_timestamps=True))
    blank = tokenizer().encode(" ")
    assert not found & {*blank, EOT, *tokenizer().non_speech_tokens, tokenizer().sot, tokenizer().no_speech}
    assert {100, BEGIN, tokenizer().no_timestamps} <= found
    assert EOT in after(100, options=DecodingOptions(without_timestamps=True))
    free = DecodingOptions(without_timestamps=True, suppress_blank=False, suppress_tokens="")
    assert after(options=free) == set(range(V))


def test_where_speech_goes_on_a_transcript_is_not_over_after_a_pair_of_timestamps():
    def may_end(*sampled):
        row = logits()
        SpeechGoesOn(tokenizer(), BEGIN + 100).apply(row, [list(sampled)])
        assert allowed(row[0]) | {EOT} == set(range(V))
        return bool(row[0, EOT] == 0)

    assert not may_end(BEGIN, 100, BEGIN + 50, BEGIN + 50)
    assert not may_end(BEGIN, 100, BEGIN + 99, BEGIN + 99)
    assert may_end(BEGIN, 100, BEGIN + 100, BEGIN + 100)
    assert may_end(BEGIN, 100, BEGIN + 50)  # nothing is said after a single one
    assert may_end(BEGIN)
    assert may_end(BEGIN, 100)
    assert may_end()


def test_suppressed_ids_bring_the_special_tokens_with_them():
    options = DecodingOptions(without_timestamps=True, suppress_blank=False, suppress_tokens=[100, 200])
    t = tokenizer()
    special = {t.transcribe, t.translate, t.sot, t.sot_prev, t.sot_lm, t.no_speech}
    assert after(options=options) == set(range(V)) - {100, 200} - special


def test_suppress_numerals_and_regex():
    base: dict[str, Any] = {"without_timestamps": True, "suppress_blank": False, "suppress_tokens": None}
    digits = set(range(V)) - after(options=DecodingOptions(**base, suppress_numerals=True))
    spelled = {tokenizer().decode([token]) for token in digits}
    assert {"0", "9", "%", "$", " 1", "a7", "$$"} <= spelled
    assert all(set(text) & set("0123456789%$£") for text in spelled)
    gone = set(range(V)) - after(options=DecodingOptions(**base, suppress_regex=r" ?ab[a-c]"))
    assert {tokenizer().decode([token]) for token in gone} == {"aba", "abb", "abc", " aba", " abb", " abc"}


def test_unknown_suppressed_token():
    with pytest.raises(OptionError, match="no such token: expected -1 or ids below 51865, found 60000"):
        build_rules(tokenizer(), DecodingOptions(suppress_tokens=[60000]))


def test_repetition_penalty_divides_likely_and_multiplies_unlikely_text():
    out = logits(2.0)
    out[0, 7] = -3.0
    RepetitionPenalty(1.5, tokenizer()).apply(out, [[BEGIN, 7, 9, 9]])
    assert out[0, [7, 9, 11, BEGIN]].tolist() == pytest.approx([-4.5, 2 / 1.5, 2.0, 2.0])


def test_no_repeat_ngram_ignores_timestamps():
    def banned(size, *tokens):
        out = logits()
        NoRepeatNgram(size, tokenizer()).apply(out, [list(tokens)])
        return set(range(V)) - allowed(out[0])

    assert banned(2, 5, 6, 5) == {6}
    assert banned(2, 5, BEGIN + 3, BEGIN + 3, 6, 5) == {6}
    assert banned(3, 5, 6, 7, 5, 6) == {7}
    assert banned(3, 5, 6) == set()
    assert banned(1, 5, 6, BEGIN) == {5, 6}
    assert banned(2) == set()


def test_rules_see_each_hypothesis_by_itself():
    out = logits(rows=2)
    TimestampRules(tokenizer(), None).apply(out, [[BEGIN + 4, 100], [BEGIN + 800, 100]])
    assert [min(token for token in allowed(row) if token >= BEGIN) for row in out] == [BEGIN + 5, BEGIN + 801]
    out = logits(rows=2)
    SuppressTokens([3]).apply(out, [[], []])
    assert out[:, 3].tolist() == [-np.inf, -np.inf]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_random_sequences_obey_the_timestamp_rules(seed):
    rng = np.random.default_rng(seed)
    rules = build_rules(tokenizer(), DecodingOptions())
    sampled = []
    for _ in range(25):
        out = rng.normal(0, 3, (1, V)).astype(np.float32)
        out[0, EOT] += 6
        out[0, EOT + 1 : BEGIN] = -30  # languages and the like
        out[0, BEGIN:] += rng.choice([-6, 3])
        for rule in rules:
            rule.apply(out, [sampled])
        token = int(out[0].argmax())
        if token == EOT:
            break
        sampled.append(token)
    times = [token for token in sampled if token >= BEGIN]
    assert times == sorted(times)
    assert sampled[0] >= BEGIN
    runs = "".join("t" if token >= BEGIN else "x" for token in sampled)
    assert "ttt" not in runs
    assert not runs.startswith("tt")
    opened = [i for i in range(1, len(runs) - 1) if runs[i] == "t" and runs[i - 1] == "x"]
    assert all(runs[i + 1] == "t" for i in opened)
