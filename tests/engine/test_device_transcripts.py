"""A real model that chooses its tokens by graphs, through `transcribe`: the transcripts of the host's rules."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

import whisper_max
from tests.support.device_graphs import CHOOSERS, WIDE
from tests.support.device_graphs import add_graphs as add_graphs
from whisper_max.engine.gpu.decoding import DeviceDecoding

JFK = Path(__file__).resolve().parents[2] / "samples" / "jfk.flac"


@pytest.fixture(scope="module")
def host():
    return whisper_max.load_model("tiny.en", device="cpu")


@pytest.fixture(scope="module")
def choosers(kernel_graphs):
    """``choose``, ``sample`` and ``no_speech`` over logits of ``WIDE``."""
    return WIDE, {name: kernel_graphs[name] for name in CHOOSERS}


class OnDevice:
    """A CPU's engine with a GPU's way of decoding. started: windows; asked: the host's batches."""

    chooses_tokens, encode_size = True, 1

    def __init__(self, engine, choosers):
        self._engine, self.dims = engine, engine.dims
        self._padded, graphs = choosers
        self._graphs = {**engine._graphs, **graphs}
        self.encode = engine.encode
        self.started, self.asked, self.n_lent = 0, 0, 0

    def new_batch(self, max_windows, n_hyps=1):
        self.asked += 1
        return self._engine.new_batch(max_windows, n_hyps)

    def device_batch(self, masks, n_windows, n_hyps, *, sampled):
        filler = np.ones(self._padded.n_vocab - self.dims.n_vocab, np.bool_)
        never, not_first = (np.concatenate([mask, filler]) for mask in (masks.never, masks.not_first))
        has_timestamps = masks.timestamp_begin < self.dims.n_vocab
        begin = masks.timestamp_begin if has_timestamps else self._padded.n_vocab
        masks = replace(masks, never=never, not_first=not_first, timestamp_begin=begin)
        parts = (self._graphs, self._padded, self._engine._placement, masks, n_windows, n_hyps)
        self.n_lent += 1
        return Counted(self, *parts, sampled=sampled, report=pytest.fail)

    def give_back(self, batch):
        self.n_lent -= 1


class Counted(DeviceDecoding):
    def __init__(self, inference, *parts, **options):
        super().__init__(*parts, **options)
        self._inference = inference

    def start(self, places, features, starts):
        self._inference.started += len(places)
        super().start(places, features, starts)


@pytest.fixture(scope="module")
def audio():
    """The sample three times, once at half its loudness, with pauses: 46 s."""
    samples, rate = soundfile.read(JFK, dtype="float32")
    assert rate == 16000
    short, long = np.zeros(rate, np.float32), np.zeros(12 * rate, np.float32)
    return np.concatenate([samples, short, 0.5 * samples, long, samples])


def content(result):
    return [
        (each.start, each.end, each.tokens, each.temperature, [vars(word) for word in each.words or []])
        for each in result.segments
    ]


@pytest.mark.parametrize(
    ("options", "n_asked"),
    [
        ({"temperature": 0.0}, 0),
        ({"temperature": (0.0, 0.4, 0.8), "logprob_threshold": -0.05, "best_of": 2, "seed": 3}, 0),
        ({"temperature": 0.0, "word_timestamps": True, "initial_prompt": "A speech."}, None),
        ({"temperature": 0.0, "without_timestamps": True}, 0),
        ({"temperature": (0.0, 0.5), "beam_size": 2, "logprob_threshold": -0.05}, 1),
    ],
    ids=["greedy", "fallback", "words", "text", "beams, then samples"],
)
def test_transcripts_are_those_of_the_host(host, choosers, audio, options, n_asked):
    inference = OnDevice(host.inference, choosers)
    found = replace(host, inference=inference).transcribe(audio, **options)
    expected = host.transcribe(audio, **options)
    assert content(found) == content(expected)
    assert found.text == expected.text
    for mine, theirs in zip(found.segments, expected.segments, strict=True):
        assert mine.avg_logprob == pytest.approx(theirs.avg_logprob, abs=1e-4)
        assert mine.no_speech_prob == pytest.approx(theirs.no_speech_prob, abs=1e-4)
    climbs = isinstance(options["temperature"], tuple)
    assert any(each.temperature > 0 for each in found.segments) == climbs
    assert inference.started >= 2
    assert inference.n_lent == 0
    assert inference.asked == n_asked or (n_asked is None and inference.asked >= 1)
