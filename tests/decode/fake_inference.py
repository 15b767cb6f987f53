"""A stand-in for the model: logits that are a fixed function of the window's content and the token history.

It speaks a little like Whisper does (timestamps that advance, an end that grows likelier, repetition, silence), so
that every branch of decoding is walked. A window's character comes from the checksum of its mel.
"""

import zlib
from functools import cache

import numpy as np
from synthetic_vocabulary import N_TEXT

from whisper_max.dims import ModelDimensions

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
ENGLISH_DIMS = ModelDimensions(**{**vars(DIMS), "n_vocab": N_TEXT + 1607})


@cache
def _noise():
    return np.random.default_rng(7).normal(-9.0, 1.0, 70_000).astype(np.float32)


def signature(mel):
    """What a window's content is known by."""
    return zlib.crc32(np.ascontiguousarray(mel, np.float32).tobytes())


def model_logits(dims, signature, history):
    """(n_vocab,) float32: what follows ``history`` in the window with this signature."""
    n_languages = dims.num_languages
    eot = dims.n_vocab - 1509 - n_languages
    sot = eot + 1
    no_speech = sot + n_languages + 5
    begin = no_speech + 2
    history = list(history)
    key = zlib.crc32(np.array(history, np.int32).tobytes(), signature)
    rng = np.random.Generator(np.random.Philox(key=[signature, key]))
    logits = _noise()[key % 10_000 :][: dims.n_vocab].copy()
    character = np.random.Generator(np.random.Philox(key=signature))
    certainty, talk, silence = character.uniform(2, 14), character.integers(3, 120), character.uniform(-12, 18)
    words = character.integers(0, N_TEXT - 2, character.choice([3, 40, 400]))
    words[1::2] = character.integers(26_857, 44_433, len(words[1::2]))  # a space and three letters
    words[::5] = character.integers(32, 64, len(words[::5]))  # marks and digits, in a vocabulary that begins with bytes
    if history[-1] == sot:
        logits[no_speech] += 9 + silence
        logits[sot + 1 : sot + 1 + n_languages] += rng.uniform(0, certainty + 6, n_languages).astype(np.float32)
    sampled = history[len(history) - history[::-1].index(sot) :] if sot in history else history
    timestamps = [token - begin for token in sampled if token >= begin]
    logits[rng.choice(words, 12)] += rng.uniform(0, certainty, 12).astype(np.float32) + 5
    latest = timestamps[-1] if timestamps else 0
    ahead = begin + np.minimum(latest + rng.integers(0, 120, 8), 1500)
    in_text = bool(sampled) and sampled[-1] < eot
    logits[ahead] += rng.uniform(0, certainty, 8).astype(np.float32) + (9 if rng.random() < 0.2 or not in_text else 1)
    logits[eot] += rng.uniform(0, certainty) + 8 * len(sampled) / talk
    return logits


def attention_scores(signature, tokens, n_heads=3):
    """(n_heads, n_tokens, 1500) float32: attention before its softmax; tokens follow the audio, more or less."""
    rng = np.random.Generator(np.random.Philox(key=[signature, zlib.crc32(np.array(tokens, np.int32).tobytes())]))
    centres = np.sort(rng.uniform(0, rng.uniform(100, 1500), len(tokens)))
    if rng.random() < 0.5:
        centres[len(tokens) // 2 :] += rng.uniform(0, 500)  # a pause
    distance = np.minimum(np.abs(np.arange(1500) - centres[:, None]) / rng.uniform(2, 30), 12)
    return (rng.normal(0, 0.5, (n_heads, len(tokens), 1500)) - distance).astype(np.float32)


class FakeAlignment:
    def __init__(self, dims, signature, tokens, eot):
        scores = attention_scores(signature, tokens)
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        self.weights = weights / weights.sum(axis=-1, keepdims=True)
        self.token_probs = np.zeros(len(tokens), np.float32)
        for i in range(1, len(tokens)):
            logits = model_logits(dims, signature, tokens[:i])[:eot]
            weights = np.exp(logits - logits.max())
            self.token_probs[i] = weights[tokens[i]] / weights.sum() if tokens[i] < eot else 0.0


class FakeFeatures:
    def __init__(self, signatures):
        self.signatures = list(signatures)

    @property
    def n_windows(self):
        return len(self.signatures)

    def select(self, windows):
        return FakeFeatures([self.signatures[window] for window in windows])


class FakeBatch:
    """Keeps whole histories; checks that it is used as the protocol says."""

    def __init__(self, inference, max_windows, n_hyps):
        self._inference = inference
        self._dims = inference.dims
        self._max_windows = max_windows
        self._n_hyps = n_hyps
        self._signatures = []
        self._histories = []

    @property
    def n_windows(self):
        return len(self._signatures)

    @property
    def n_hyps(self):
        return self._n_hyps

    def prefill(self, windows, prompts, positions):
        assert len(windows) == len(prompts) == len(positions)
        out = []
        for window, prompt, places in zip(windows, prompts, positions, strict=True):
            assert 1 <= len(prompt) <= self._dims.n_text_ctx
            for hyp in range(self._n_hyps):
                self._histories[window * self._n_hyps + hyp] = list(prompt)
            ends = [len(prompt) + place + 1 if place < 0 else place + 1 for place in places]
            out.append([model_logits(self._dims, self._signatures[window], prompt[:end]) for end in ends])
        return np.array(out, np.float32)

    def step(self, tokens):
        assert tokens.shape == (len(self._histories),)
        assert tokens.dtype == np.int32
        out = []
        for row, token in enumerate(tokens.tolist()):
            self._histories[row].append(token)
            assert len(self._histories[row]) <= self._dims.n_text_ctx
            out.append(model_logits(self._dims, self._signatures[row // self._n_hyps], self._histories[row]))
        return np.array(out, np.float32)

    def reorder(self, rows):
        assert [row // self._n_hyps for row in rows] == [i // self._n_hyps for i in range(len(self._histories))]
        self._histories = [list(self._histories[row]) for row in rows]

    def put(self, windows, features):
        assert len(windows) == features.n_windows
        for window, new in zip(windows, features.signatures, strict=True):
            assert window <= self.n_windows
            self._signatures[window : window + 1] = [new]
            self._histories[window * self._n_hyps : (window + 1) * self._n_hyps] = [None] * self._n_hyps
        assert self.n_windows <= self._max_windows
        self._inference.largest_batch = max(self._inference.largest_batch, self.n_windows)

    def keep(self, windows):
        assert all(window == place or window >= len(windows) for place, window in enumerate(windows))
        kept = [window * self._n_hyps + hyp for window in windows for hyp in range(self._n_hyps)]
        self._signatures = [self._signatures[window] for window in windows]
        self._histories = [self._histories[row] for row in kept]

    def align(self, window, tokens, eot):
        return FakeAlignment(self._dims, self._signatures[window], tokens, eot)


class FakeInference:
    def __init__(self, dims=DIMS, encode_size=1):
        self._dims = dims
        self.encode_size = encode_size
        self.largest_batch = 0
        self.encoded = 0

    @property
    def dims(self):
        return self._dims

    def encode(self, mel):
        assert mel.shape[1:] == (self._dims.n_mels, self._dims.n_frames)
        assert mel.dtype == np.float32
        self.encoded += len(mel)
        return FakeFeatures([signature(window) for window in mel])

    def new_batch(self, max_windows, n_hyps=1):
        return FakeBatch(self, max_windows, n_hyps)


def fake_mel(n_frames, key=0):
    """(2, n_frames + 3000) float32: a mel that differs everywhere, its padding included."""
    return np.random.default_rng(key).random((2, n_frames + 3000), dtype=np.float32)


class FakeMel:
    """Windows of ``fake_mel``, as ``MelWindows`` gives them."""

    def __init__(self, n_frames, key=0):
        self._mel = fake_mel(n_frames, key)
        self.n_frames = n_frames

    def window(self, seek, segment_size=3000):
        window = np.zeros((2, 3000), np.float32)
        window[:, :segment_size] = self._mel[:, seek : seek + segment_size]
        return window
