"""What a window and a token cost at least: arithmetic and bytes from the dimensions, over what a card can do."""

from __future__ import annotations

from dataclasses import dataclass

from whisper_max.dims import ModelDimensions


@dataclass(frozen=True)
class Card:
    """What a card reaches at best. flops: a second, dense, bfloat16. bandwidth: bytes a second, read and written."""

    name: str
    flops: float
    bandwidth: float


CARDS = (Card("H200", 790e12, 4.3e12), Card("H100", 790e12, 3.0e12))
"""Measured with large matrix products and copies through PyTorch on such cards; not the datasheet's."""


def card_of(name: str, flops: float | None, bandwidth: float | None) -> Card:
    """The ceilings of a device by its name, or as given."""
    known = next((card for card in CARDS if card.name in name), Card(name, 200e9, 17e9))  # two cores of a CPU
    return Card(known.name, flops or known.flops, bandwidth or known.bandwidth)


@dataclass(frozen=True)
class Stage:
    """One stage's work for a batch."""

    name: str
    flops: float
    n_bytes: float

    def floor(self, card: Card) -> float:
        """Seconds that no implementation goes below."""
        return max(self.flops / card.flops, self.n_bytes / card.bandwidth)


def weight_bytes(dims: ModelDimensions, item: int) -> tuple[int, int]:
    """Of the encoder, and of what a decoder's step reads."""
    d, t = dims.n_audio_state, dims.n_text_state
    encoder = 3 * d * (dims.n_mels + d) + dims.n_audio_layer * 12 * d * d
    return encoder * item, (dims.n_text_layer * 14 * t * t + dims.n_vocab * t) * item


def encode(dims: ModelDimensions, n_windows: int, item: int = 2) -> Stage:
    """The encoder: matrix products of the convolutions and blocks, and attention of every position to every other."""
    d, length = dims.n_audio_state, dims.n_audio_ctx
    convolutions = 2 * 3 * dims.n_mels * d * 2 * length + 2 * 3 * d * d * length
    blocks = dims.n_audio_layer * (24 * length * d * d + 4 * length * length * d)
    n_bytes = weight_bytes(dims, item)[0] + n_windows * (4 * dims.n_mels * dims.n_frames + length * d * item)
    return Stage("encode", n_windows * (convolutions + blocks), n_bytes)


def cross_kv(dims: ModelDimensions, n_windows: int, item: int = 2) -> Stage:
    """Keys and values of the audio: the features read once, the caches written once."""
    t, length = dims.n_text_state, dims.n_audio_ctx
    flops = n_windows * dims.n_text_layer * 4 * length * dims.n_audio_state * t
    n_bytes = dims.n_text_layer * 2 * t * dims.n_audio_state * item
    n_bytes += n_windows * length * item * (dims.n_audio_state + 2 * dims.n_text_layer * t)
    return Stage("cross-KV", flops, n_bytes)


def step(dims: ModelDimensions, n_rows: int, n_tokens: int, item: int = 2) -> Stage:
    """One token for every row, with ``n_tokens`` before it: the weights once, and every row's caches."""
    t, layers = dims.n_text_state, dims.n_text_layer
    row = layers * (28 * t * t + 4 * dims.n_audio_ctx * t + 4 * n_tokens * t) + 2 * dims.n_vocab * t
    caches = 2 * layers * t * item * (dims.n_audio_ctx + n_tokens)
    return Stage("step", n_rows * row, weight_bytes(dims, item)[1] + n_rows * caches)


def windows_per_second(dims: ModelDimensions, n_windows: int, n_tokens: int, card: Card) -> float:
    """Throughput that no implementation exceeds, with ``n_tokens`` tokens a window in batches of ``n_windows``."""
    steps = sum(step(dims, n_windows, n, 2).floor(card) for n in range(n_tokens))
    return n_windows / (encode(dims, n_windows).floor(card) + cross_kv(dims, n_windows).floor(card) + steps)
