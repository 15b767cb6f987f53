"""The published Whisper models, as data: names, hub ids, dims and alignment heads."""

from __future__ import annotations

from dataclasses import dataclass

from whisper_max.dims import ModelDimensions


@dataclass(frozen=True)
class PublishedModel:
    """One published model.

    name: what ``load_model`` calls it.
    hub_id: its repository on the hub.
    dims: its sizes.
    alignment_heads: (decoder layer, head) pairs whose cross-attention follows the audio, as published in
        openai/whisper ``_ALIGNMENT_HEADS``; None for the distilled models, whose config on the hub states theirs.
    """

    name: str
    hub_id: str
    dims: ModelDimensions
    alignment_heads: tuple[tuple[int, int], ...] | None


def _dims(width: int, n_vocab: int, encoder: int, decoder: int, n_mels: int = 80) -> ModelDimensions:
    """Published dims: every model has 64 wide heads, 1500 audio and 448 text positions."""
    heads = width // 64
    return ModelDimensions(n_mels, 1500, width, heads, encoder, n_vocab, 448, width, heads, decoder)


_ENGLISH, _MULTILINGUAL, _WITH_CANTONESE = 51864, 51865, 51866

_V3_HEADS = ((7, 0), (10, 17), (12, 18), (13, 12), (16, 1), (17, 14), (19, 11), (21, 4), (24, 1), (25, 6))

# fmt: off
_MODELS = (
    PublishedModel(
        "tiny.en", "openai/whisper-tiny.en", _dims(384, _ENGLISH, 4, 4),
        ((1, 0), (2, 0), (2, 5), (3, 0), (3, 1), (3, 2), (3, 3), (3, 4)),
    ),
    PublishedModel(
        "tiny", "openai/whisper-tiny", _dims(384, _MULTILINGUAL, 4, 4),
        ((2, 2), (3, 0), (3, 2), (3, 3), (3, 4), (3, 5)),
    ),
    PublishedModel(
        "base.en", "openai/whisper-base.en", _dims(512, _ENGLISH, 6, 6),
        ((3, 3), (4, 7), (5, 1), (5, 5), (5, 7)),
    ),
    PublishedModel(
        "base", "openai/whisper-base", _dims(512, _MULTILINGUAL, 6, 6),
        ((3, 1), (4, 2), (4, 3), (4, 7), (5, 1), (5, 2), (5, 4), (5, 6)),
    ),
    PublishedModel(
        "small.en", "openai/whisper-small.en", _dims(768, _ENGLISH, 12, 12),
        ((6, 6), (7, 0), (7, 3), (7, 8), (8, 2), (8, 5), (8, 7), (9, 0), (9, 4), (9, 8), (9, 10), (10, 0), (10, 1),
         (10, 2), (10, 3), (10, 6), (10, 11), (11, 2), (11, 4)),
    ),
    PublishedModel(
        "small", "openai/whisper-small", _dims(768, _MULTILINGUAL, 12, 12),
        ((5, 3), (5, 9), (8, 0), (8, 4), (8, 7), (8, 8), (9, 0), (9, 7), (9, 9), (10, 5)),
    ),
    PublishedModel(
        "medium.en", "openai/whisper-medium.en", _dims(1024, _ENGLISH, 24, 24),
        ((11, 4), (14, 1), (14, 12), (14, 14), (15, 4), (16, 0), (16, 4), (16, 9), (17, 12), (17, 14), (18, 7),
         (18, 10), (18, 15), (20, 0), (20, 3), (20, 9), (20, 14), (21, 12)),
    ),
    PublishedModel(
        "medium", "openai/whisper-medium", _dims(1024, _MULTILINGUAL, 24, 24),
        ((13, 15), (15, 4), (15, 15), (16, 1), (20, 0), (23, 4)),
    ),
    PublishedModel(
        "large-v1", "openai/whisper-large", _dims(1280, _MULTILINGUAL, 32, 32),
        ((9, 19), (11, 2), (11, 4), (11, 17), (22, 7), (22, 11), (22, 17), (23, 2), (23, 15)),
    ),
    PublishedModel(
        "large-v2", "openai/whisper-large-v2", _dims(1280, _MULTILINGUAL, 32, 32),
        ((10, 12), (13, 17), (16, 11), (16, 12), (16, 13), (17, 15), (17, 16), (18, 4), (18, 11), (18, 19), (19, 11),
         (21, 2), (21, 3), (22, 3), (22, 9), (22, 12), (23, 5), (23, 7), (23, 13), (25, 5), (26, 1), (26, 12),
         (27, 15)),
    ),
    PublishedModel("large-v3", "openai/whisper-large-v3", _dims(1280, _WITH_CANTONESE, 32, 32, 128), _V3_HEADS),
    PublishedModel(
        "large-v3-turbo", "openai/whisper-large-v3-turbo", _dims(1280, _WITH_CANTONESE, 32, 4, 128),
        ((2, 4), (2, 11), (3, 3), (3, 6), (3, 11), (3, 14)),
    ),
    PublishedModel("distil-small.en", "distil-whisper/distil-small.en", _dims(768, _ENGLISH, 12, 4), None),
    PublishedModel("distil-medium.en", "distil-whisper/distil-medium.en", _dims(1024, _ENGLISH, 24, 2), None),
    PublishedModel("distil-large-v2", "distil-whisper/distil-large-v2", _dims(1280, _MULTILINGUAL, 32, 2), None),
    PublishedModel("distil-large-v3", "distil-whisper/distil-large-v3", _dims(1280, _WITH_CANTONESE, 32, 2, 128), None),
    PublishedModel(
        "distil-large-v3.5", "distil-whisper/distil-large-v3.5", _dims(1280, _WITH_CANTONESE, 32, 2, 128), None
    ),
)
# fmt: on

MODELS = {model.name: model for model in _MODELS}
"""Every published model by name, small to large."""

ALIASES = {"large": "large-v3", "turbo": "large-v3-turbo"}
"""Other names of published models."""
