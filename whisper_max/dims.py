"""The dimensions of a Whisper model: the one place where a size is a number, read from the checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from whisper_max.errors import CheckpointError, brief

SAMPLE_RATE = 16000  # samples per second, of every Whisper model
HOP_LENGTH = 160  # samples between frames of the log-mel, 10 ms
CHUNK_LENGTH = 30  # seconds per window
FRAMES_PER_SECOND = SAMPLE_RATE // HOP_LENGTH  # 100 mel frames, 10 ms each


@dataclass(frozen=True)
class ModelDimensions:
    """The ten sizes that define a Whisper architecture, in openai-whisper's names.

    n_mels: mel bins per frame (80 or 128).
    n_audio_ctx: encoder positions per 30 s window (1500).
    n_audio_state, n_audio_head, n_audio_layer: encoder width, heads and blocks.
    n_vocab: rows of the token embedding.
    n_text_ctx: decoder positions (448).
    n_text_state, n_text_head, n_text_layer: decoder width, heads and blocks.
    """

    n_mels: int
    n_audio_ctx: int
    n_audio_state: int
    n_audio_head: int
    n_audio_layer: int
    n_vocab: int
    n_text_ctx: int
    n_text_state: int
    n_text_head: int
    n_text_layer: int

    @property
    def is_multilingual(self) -> bool:
        """True for a published model of many languages; what a checkpoint knows is its vocabulary's business."""
        return self.n_vocab >= 51865

    @property
    def num_languages(self) -> int:
        """Language tokens of the published model: 99, or 100 since large-v3 (openai/whisper ``model.py``)."""
        return self.n_vocab - 51765 - int(self.is_multilingual)

    @property
    def n_frames(self) -> int:
        """Mel frames per window: the second convolution halves them to ``n_audio_ctx``."""
        return 2 * self.n_audio_ctx  # 3000


_LARGEST = {"n_audio_layer": 256, "n_text_layer": 256, "n_mels": 1024, "n_vocab": 1 << 20}
_LARGEST_OTHERWISE = 1 << 16  # widths, heads and positions


def check_dims(dims: ModelDimensions, where: object = None) -> ModelDimensions:
    """Return ``dims`` if a Whisper model can have them.

    Raises:
        CheckpointError: a size is not a positive integer, absurdly large, or contradicts another.
    """
    for name in _names():
        size, most = getattr(dims, name), _LARGEST.get(name, _LARGEST_OTHERWISE)
        if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= most:
            raise CheckpointError(f"impossible {name}", where=where, expected=f"1 to {most}", found=brief(size))
    for width, heads in (("n_audio_state", "n_audio_head"), ("n_text_state", "n_text_head")):
        if getattr(dims, width) % getattr(dims, heads):
            raise CheckpointError(
                f"{width} is not a multiple of {heads}",
                where=where,
                found=f"{getattr(dims, width)} and {getattr(dims, heads)}",
            )
    if dims.n_audio_state != dims.n_text_state:
        raise CheckpointError(
            "encoder and decoder widths differ",
            where=where,
            expected=f"n_text_state {dims.n_audio_state}",
            found=dims.n_text_state,
        )
    if dims.n_audio_state % 2 or dims.n_audio_state < 4:  # halves, and a division by half the width less one
        raise CheckpointError(
            "n_audio_state can't hold sinusoids", where=where, expected="even, at least 4", found=dims.n_audio_state
        )
    return dims


def _names() -> list[str]:
    return [field.name for field in fields(ModelDimensions)]


def dims_from_openai(stated: Mapping[str, object], where: object = None) -> ModelDimensions:
    """Dims from the ``dims`` dictionary of an OpenAI ``.pt``, whose keys are the field names.

    Raises:
        CheckpointError: a key is missing or extra, or a size is impossible.
    """
    if set(stated) != set(_names()):
        raise CheckpointError(
            "the checkpoint's dims have the wrong keys",
            where=where,
            expected=", ".join(sorted(_names())),
            found=", ".join(sorted(brief(key) for key in stated)[:20]),
        )
    return check_dims(ModelDimensions(**stated), where)  # type: ignore[arg-type]


_HUGGINGFACE_KEYS = {
    "n_mels": "num_mel_bins",
    "n_audio_ctx": "max_source_positions",
    "n_audio_state": "d_model",
    "n_audio_head": "encoder_attention_heads",
    "n_audio_layer": "encoder_layers",
    "n_vocab": "vocab_size",
    "n_text_ctx": "max_target_positions",
    "n_text_state": "d_model",
    "n_text_head": "decoder_attention_heads",
    "n_text_layer": "decoder_layers",
}


def dims_from_huggingface(config: Mapping[str, object], where: object = None) -> ModelDimensions:
    """Dims from a Hugging Face ``config.json`` of model type ``whisper``.

    Raises:
        CheckpointError: another model type, a missing key, an MLP that is not four times the width, or an
            impossible size.
    """
    if config.get("model_type") != "whisper":
        raise CheckpointError(
            "not a Whisper model", where=where, expected="model_type 'whisper'", found=brief(config.get("model_type"))
        )
    missing = sorted(set(_HUGGINGFACE_KEYS.values()) - set(config))
    if missing:
        raise CheckpointError("config.json lacks keys", where=where, expected=", ".join(missing))
    sizes = {name: config[key] for name, key in _HUGGINGFACE_KEYS.items()}
    dims = check_dims(ModelDimensions(**sizes), where)  # type: ignore[arg-type]
    for key in ("encoder_ffn_dim", "decoder_ffn_dim"):
        if config.get(key, 4 * dims.n_audio_state) != 4 * dims.n_audio_state:
            raise CheckpointError(
                f"unusual {key}", where=where, expected=4 * dims.n_audio_state, found=brief(config[key])
            )
    if config.get("activation_function", "gelu") != "gelu":
        raise CheckpointError(
            "unusual activation_function", where=where, expected="gelu", found=brief(config["activation_function"])
        )
    if config.get("scale_embedding", False):
        raise CheckpointError("unusual scale_embedding", where=where, expected="false", found="true")
    return dims


def dims_from_ggml(hparams: Mapping[str, int], where: object = None) -> ModelDimensions:
    """Dims from the header of a whisper.cpp ggml file, whose names are the field names plus ``ftype``.

    Raises:
        CheckpointError: an impossible size.
    """
    return check_dims(ModelDimensions(**{name: hparams[name] for name in _names()}), where)


def dims_from_ctranslate2(
    shapes: Mapping[str, tuple[int, ...]], n_audio_head: int, n_text_head: int, where: object = None
) -> ModelDimensions:
    """Dims from the variables of a CTranslate2 ``model.bin``: its config states none, so shapes speak.

    Args:
        shapes: shape of every variable, by name.
        n_audio_head: the value of ``encoder/num_heads``.
        n_text_head: the value of ``decoder/num_heads``.
        where: the file, for errors.

    Raises:
        CheckpointError: a variable that carries a size is missing or has another rank, or a size is impossible.
    """

    def shape(name: str, rank: int) -> tuple[int, ...]:
        found = shapes.get(name)
        if found is None:
            raise CheckpointError("a tensor is missing", where=where, expected=name)
        if len(found) != rank:
            raise CheckpointError(f"{name} has the wrong rank", where=where, expected=rank, found=list(found))
        return found

    n_audio_state, n_mels, _ = shape("encoder/conv1/weight", 3)
    n_audio_ctx = shape("encoder/position_encodings/encodings", 2)[0]
    n_text_ctx = shape("decoder/position_encodings/encodings", 2)[0]
    n_vocab, n_text_state = shape("decoder/embeddings/weight", 2)
    return check_dims(
        ModelDimensions(
            n_mels=n_mels,
            n_audio_ctx=n_audio_ctx,
            n_audio_state=n_audio_state,
            n_audio_head=n_audio_head,
            n_audio_layer=_count_layers(shapes, "encoder"),
            n_vocab=n_vocab,
            n_text_ctx=n_text_ctx,
            n_text_state=n_text_state,
            n_text_head=n_text_head,
            n_text_layer=_count_layers(shapes, "decoder"),
        ),
        where,
    )


def _count_layers(shapes: Mapping[str, object], side: str) -> int:
    """Layers that have a first attention projection: a gap leaves the layers above it unexpected."""
    count = 0
    while f"{side}/layer_{count}/self_attention/linear_0/weight" in shapes:
        count += 1
    return count
