"""A stand-in for the model: logits that are a fixed function of the window's content and the token history.

It speaks a little like Whisper does (timestamps that advance, an end that grows likelier, repetition, silence), so
that every branch of decoding is walked. A window's character comes from the signature of its mel.
"""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

from tests.support.synthetic_vocabulary import N_TEXT
from whisper_max.decode.contract import Alignment
from whisper_max.dims import ModelDimensions

Float32 = NDArray[np.float32]
DIMS = ModelDimensions(
    n_mels=2,
    n_audio_ctx=1500,
    n_audio_state=2,
    n_audio_head=1,
    n_audio_layer=1,
    n_vocab=N_TEXT + 1608,
    n_text_ctx=448,
    n_text_state=2,
    n_text_head=1,
    n_text_layer=1,
)
ENGLISH_DIMS = replace(DIMS, n_vocab=N_TEXT + 1607)


@cache
def _noise() -> Float32:
    return np.random.default_rng(7).normal(-9.0, 1.0, 70_000).astype(np.float32)


def checksum(mel: Float32) -> int:
    """What a window is known by whose mel was made by rule (``fake_mel``): the same bits on every machine."""
    return zlib.crc32(np.ascontiguousarray(mel, np.float32).tobytes())


@cache
def _signs(size: int) -> NDArray[np.float64]:
    """(4, size) float64 of 1 and -1."""
    return np.random.default_rng(5).choice([-1.0, 1.0], (4, size))


def signature(mel: Float32) -> int:
    """What a window is known by whose mel was computed: four sums of its values by random signs, in steps.

    Processors round a mel's values differently, by some 1e-7 each and 2e-6 in such a sum, so a window in five thousand
    has a sum close enough to the border of two steps to be known by another number elsewhere. The step and its origin
    are odd numbers, so that no border lies at the sums of silence, which are round.
    """
    steps = np.floor((_signs(mel.size) @ mel.ravel().astype(np.float64) + 0.3137) / 0.0731)
    return zlib.crc32(steps.astype(np.int64).tobytes())


@cache
def _character(signature: int) -> tuple[float, float, float, NDArray[np.int64]]:
    """A window's certainty, talkativeness and silence, and the tokens it says."""
    rng = np.random.Generator(np.random.Philox(key=signature))
    certainty, talk, silence = rng.uniform(2, 14), float(rng.integers(3, 120)), rng.uniform(-12, 18)
    words = rng.integers(0, N_TEXT - 2, rng.choice([3, 40, 400]))
    words[1::2] = rng.integers(26_857, 44_433, len(words[1::2]))  # a space and three letters
    words[::5] = rng.integers(32, 64, len(words[::5]))  # marks and digits, in a vocabulary that begins with bytes
    return certainty, talk, silence, words


def model_logits(dims: ModelDimensions, signature: int, history: Iterable[int]) -> Float32:
    """(n_vocab,) float32: what follows ``history`` in the window with this signature."""
    written = array("i", history).tobytes()
    offset, tokens, values = _likelier(dims, signature, written)
    logits = _noise()[offset : offset + dims.n_vocab].copy()
    logits[tokens] = values
    return logits


@lru_cache(maxsize=30_000)  # a kilobyte each: runs that must be the same ask the same
def _likelier(dims: ModelDimensions, signature: int, written: bytes) -> tuple[int, NDArray[np.int64], Float32]:
    """Where a row of logits begins in the noise, and which of its tokens are not noise, with their logits.

    Args:
        dims: the model's.
        signature: the window's.
        written: the history as int32.
    """
    n_languages = dims.num_languages
    eot = dims.n_vocab - 1509 - n_languages
    sot = eot + 1
    no_speech = sot + n_languages + 5
    begin = no_speech + 2
    history = memoryview(written).cast("i").tolist()
    key = zlib.crc32(written, signature)
    rng = np.random.Generator(np.random.Philox(key=[signature, key]))
    offset = key % 10_000
    logits = _noise()[offset : offset + dims.n_vocab].copy()
    certainty, talk, silence, words = _character(signature)
    changed = [np.array([eot])]
    if history[-1] == sot:
        changed += [np.array([no_speech]), np.arange(sot + 1, sot + 1 + n_languages)]
        logits[no_speech] += 9 + silence
        logits[sot + 1 : sot + 1 + n_languages] += rng.uniform(0, certainty + 6, n_languages).astype(np.float32)
    sampled = history[len(history) - history[::-1].index(sot) :] if sot in history else history
    timestamps = [token - begin for token in sampled if token >= begin]
    said = words[rng.integers(0, len(words), 12)]
    logits[said] += rng.uniform(0, certainty, 12).astype(np.float32) + 5
    latest = timestamps[-1] if timestamps else 0
    ahead = begin + np.minimum(latest + rng.integers(0, 120, 8), 1500)
    in_text = bool(sampled) and sampled[-1] < eot
    logits[ahead] += rng.uniform(0, certainty, 8).astype(np.float32) + (9 if rng.random() < 0.2 or not in_text else 1)
    logits[eot] += rng.uniform(0, certainty) + 8 * len(sampled) / talk
    tokens = np.concatenate([*changed, said, ahead])
    return offset, tokens, logits[tokens]


def attention_scores(signature: int, tokens: Sequence[int], n_heads: int = 3) -> Float32:
    """(n_heads, n_tokens, 1500) float32: attention before its softmax; tokens follow the audio, more or less."""
    rng = np.random.Generator(np.random.Philox(key=[signature, zlib.crc32(np.array(tokens, np.int32).tobytes())]))
    centres = np.sort(rng.uniform(0, rng.uniform(100, 1500), len(tokens)))
    if rng.random() < 0.5:
        centres[len(tokens) // 2 :] += rng.uniform(0, 500)  # a pause
    distance = np.minimum(np.abs(np.arange(1500) - centres[:, None]) / rng.uniform(2, 30), 12)
    scores: Float32 = (rng.normal(0, 0.5, (n_heads, len(tokens), 1500)) - distance).astype(np.float32)
    return scores


class FakeAlignment(Alignment):
    def __init__(self, dims: ModelDimensions, signature: int, tokens: Sequence[int], eot: int) -> None:
        scores = attention_scores(signature, tokens)
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        super().__init__(weights / weights.sum(axis=-1, keepdims=True), np.zeros(len(tokens), np.float32))
        for i in range(1, len(tokens)):
            logits = model_logits(dims, signature, tokens[:i])[:eot]
            weights = np.exp(logits - logits.max())
            self.token_probs[i] = weights[tokens[i]] / weights.sum() if tokens[i] < eot else 0.0


class FakeFeatures:
    def __init__(self, signatures: Iterable[int]) -> None:
        self.signatures = list(signatures)

    @property
    def n_windows(self) -> int:
        return len(self.signatures)

    def select(self, windows: Sequence[int]) -> FakeFeatures:
        return FakeFeatures([self.signatures[window] for window in windows])


class FakeBatch:
    """Keeps whole histories; checks that it is used as the protocol says."""

    def __init__(self, inference: FakeInference, max_windows: int, n_hyps: int) -> None:
        self._inference = inference
        self._dims = inference.dims
        self._max_windows = max_windows
        self._n_hyps = n_hyps
        self._signatures: list[int] = []
        self._histories: list[list[int]] = []

    @property
    def n_windows(self) -> int:
        return len(self._signatures)

    @property
    def n_hyps(self) -> int:
        return self._n_hyps

    def prefill(
        self, windows: Sequence[int], prompts: Sequence[Sequence[int]], positions: Sequence[Sequence[int]]
    ) -> Float32:
        assert len(windows) == len(prompts) == len(positions)
        out = []
        for window, prompt, places in zip(windows, prompts, positions, strict=True):
            assert 1 <= len(prompt) <= self._dims.n_text_ctx
            for hyp in range(self._n_hyps):
                self._histories[window * self._n_hyps + hyp] = list(prompt)
            ends = [len(prompt) + place + 1 if place < 0 else place + 1 for place in places]
            out.append([model_logits(self._dims, self._signatures[window], prompt[:end]) for end in ends])
        return np.array(out, np.float32)

    def step(self, tokens: NDArray[np.int32]) -> Float32:
        assert tokens.shape == (len(self._histories),)
        assert tokens.dtype == np.int32
        out = []
        for row, token in enumerate(tokens.tolist()):
            self._histories[row].append(token)
            assert len(self._histories[row]) <= self._dims.n_text_ctx
            out.append(model_logits(self._dims, self._signatures[row // self._n_hyps], self._histories[row]))
        return np.array(out, np.float32)

    def reorder(self, rows: NDArray[np.int32]) -> None:
        assert [row // self._n_hyps for row in rows] == [i // self._n_hyps for i in range(len(self._histories))]
        self._histories = [list(self._histories[row]) for row in rows]

    def put(self, windows: Sequence[int], features: FakeFeatures) -> None:
        assert len(windows) == features.n_windows
        for window, new in zip(windows, features.signatures, strict=True):
            assert window <= self.n_windows
            self._signatures[window : window + 1] = [new]
            self._histories[window * self._n_hyps : (window + 1) * self._n_hyps] = [[]] * self._n_hyps
        assert self.n_windows <= self._max_windows
        self._inference.largest_batch = max(self._inference.largest_batch, self.n_windows)

    def keep(self, windows: Sequence[int]) -> None:
        assert all(window == place or window >= len(windows) for place, window in enumerate(windows))
        kept = [window * self._n_hyps + hyp for window in windows for hyp in range(self._n_hyps)]
        self._signatures = [self._signatures[window] for window in windows]
        self._histories = [self._histories[row] for row in kept]

    def align(self, window: int, tokens: Sequence[int], eot: int) -> FakeAlignment:
        return FakeAlignment(self._dims, self._signatures[window], tokens, eot)


class FakeInference:
    def __init__(
        self, dims: ModelDimensions = DIMS, encode_size: int = 1, known_by: Callable[[Float32], int] = signature
    ) -> None:
        self._dims = dims
        self._known_by = known_by
        self.encode_size = encode_size
        self.chooses_tokens = False
        self.largest_batch = 0
        self.encoded = 0

    @property
    def dims(self) -> ModelDimensions:
        return self._dims

    def encode(self, mel: Float32) -> FakeFeatures:
        assert mel.shape[1:] == (self._dims.n_mels, self._dims.n_frames)
        assert mel.dtype == np.float32
        self.encoded += len(mel)
        return FakeFeatures([self._known_by(window) for window in mel])

    def new_batch(self, max_windows: int, n_hyps: int = 1) -> FakeBatch:
        return FakeBatch(self, max_windows, n_hyps)


def fake_mel(n_frames: int, key: int = 0) -> Float32:
    """(2, n_frames + 3000) float32: a mel that differs everywhere, its padding included."""
    return np.random.default_rng(key).random((2, n_frames + 3000), dtype=np.float32)


class FakeMel:
    """Windows of ``fake_mel``, as ``MelWindows`` gives them."""

    def __init__(self, n_frames: int, key: int = 0) -> None:
        self._mel = fake_mel(n_frames, key)
        self.n_frames = n_frames

    def window(self, seek: int, segment_size: int = 3000) -> Float32:
        window = np.zeros((2, 3000), np.float32)
        window[:, :segment_size] = self._mel[:, seek : seek + segment_size]
        return window
