"""The script that says how far int8 moves what comes next."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from tests.support.fake_inference import FakeInference, fake_mel
from tests.support.scripts import scripts_of


@pytest.fixture
def script():
    with scripts_of("checks"):
        import int8_divergence as module

        yield module


def test_divergence_and_the_tokens_that_are_others(script):
    halves, thirds = np.log(np.array([[0.5, 0.25, 0.25], [0.25, 0.5, 0.25]])), np.zeros((2, 3))
    found = script.moved("de", halves.astype(np.float32), thirds.astype(np.float32) + 7)
    assert (found.language, found.n_tokens, found.other) == ("de", 2, 1)
    assert found.divergence == pytest.approx(2 * (0.5 * np.log(1.5) + 0.5 * np.log(0.75)), rel=1e-6)
    assert script.moved("de", halves, halves) == script.Moved("de", 2, 0.0, 0)


def test_tokens_weigh_the_same_whatever_their_window(script):
    windows = [script.Moved("de", 1, 0.008, 1), script.Moved("fr", 9, 0.0, 0), script.Moved("de", 3, 0.0, 0)]
    lines = list(script.table(windows))
    assert [line.split() for line in lines[1:]] == [
        ["de", "2", "4", "2.00", "25.00"], ["fr", "1", "9", "0.00", "0.00"], ["all", "3", "13", "0.62", "7.69"],
    ]  # fmt: skip


def test_a_model_that_is_given_its_own_tokens_says_the_same(script):
    inference = FakeInference()
    eot = inference.dims.n_vocab - 1509 - inference.dims.num_languages
    model = SimpleNamespace(inference=inference, vocabulary=SimpleNamespace(specials=SimpleNamespace(eot=eot)))
    mel = fake_mel(script.N_FRAMES, 3)[:, : script.N_FRAMES]
    expected = script.logits_of(model, mel, [eot + 1], None)
    tokens = expected.argmax(axis=1).tolist()
    assert len(tokens) == script.MOST_TOKENS or tokens.index(eot) == len(tokens) - 1
    assert len(tokens) > 1
    np.testing.assert_array_equal(script.logits_of(model, mel, [eot + 1], tokens[:-1]), expected)
