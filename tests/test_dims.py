"""Dims from each kind of config, and dims that no Whisper model has."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest

from whisper_max.dims import (
    ModelDimensions,
    check_dims,
    dims_from_ctranslate2,
    dims_from_ggml,
    dims_from_huggingface,
    dims_from_openai,
)
from whisper_max.errors import CheckpointError

TURBO = ModelDimensions(128, 1500, 1280, 20, 32, 51866, 448, 1280, 20, 4)
TURBO_CONFIG = {
    "model_type": "whisper",
    "num_mel_bins": 128,
    "max_source_positions": 1500,
    "d_model": 1280,
    "encoder_attention_heads": 20,
    "encoder_layers": 32,
    "encoder_ffn_dim": 5120,
    "vocab_size": 51866,
    "max_target_positions": 448,
    "decoder_attention_heads": 20,
    "decoder_layers": 4,
    "decoder_ffn_dim": 5120,
    "activation_function": "gelu",
    "scale_embedding": False,
    "torch_dtype": "float16",
}
TURBO_SHAPES = {
    "encoder/conv1/weight": (1280, 128, 3),
    "encoder/position_encodings/encodings": (1500, 1280),
    "decoder/position_encodings/encodings": (448, 1280),
    "decoder/embeddings/weight": (51866, 1280),
    **{f"encoder/layer_{layer}/self_attention/linear_0/weight": (3840, 1280) for layer in range(32)},
    **{f"decoder/layer_{layer}/self_attention/linear_0/weight": (3840, 1280) for layer in range(4)},
}


def test_every_config_gives_the_same_dims():
    assert dims_from_openai(asdict(TURBO)) == TURBO
    assert dims_from_huggingface(TURBO_CONFIG) == TURBO
    assert dims_from_ggml({**asdict(TURBO), "ftype": 1}) == TURBO
    assert dims_from_ctranslate2(TURBO_SHAPES, 20, 20) == TURBO


@pytest.mark.parametrize(
    ("n_vocab", "multilingual", "languages"), [(51864, False, 99), (51865, True, 99), (51866, True, 100)]
)
def test_languages_follow_from_the_vocabulary(n_vocab, multilingual, languages):
    dims = replace(TURBO, n_vocab=n_vocab)
    assert (dims.is_multilingual, dims.num_languages) == (multilingual, languages)
    assert dims.n_frames == 3000


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_mels": 0}, "f: impossible n_mels: expected 1 to 1024, found 0"),
        ({"n_audio_layer": 257}, "f: impossible n_audio_layer: expected 1 to 256, found 257"),
        ({"n_vocab": 1 << 40}, f"f: impossible n_vocab: expected 1 to 1048576, found {1 << 40}"),
        ({"n_text_ctx": -448}, "f: impossible n_text_ctx: expected 1 to 65536, found -448"),
        ({"n_text_ctx": 448.0}, "f: impossible n_text_ctx: expected 1 to 65536, found 448.0"),
        ({"n_text_ctx": True}, "f: impossible n_text_ctx: expected 1 to 65536, found True"),
        ({"n_text_ctx": "448"}, "f: impossible n_text_ctx: expected 1 to 65536, found '448'"),
        ({"n_text_ctx": [1]}, "f: impossible n_text_ctx: expected 1 to 65536, found a value of type list"),
        ({"n_audio_head": 7}, "f: n_audio_state is not a multiple of n_audio_head: found 1280 and 7"),
        ({"n_text_head": 7}, "f: n_text_state is not a multiple of n_text_head: found 1280 and 7"),
        ({"n_text_state": 640}, "f: encoder and decoder widths differ: expected n_text_state 1280, found 640"),
        (
            {"n_audio_state": 2, "n_text_state": 2, "n_audio_head": 1, "n_text_head": 1},
            "f: n_audio_state can't hold sinusoids: expected even, at least 4, found 2",
        ),
    ],
)
def test_impossible_dims(changes, message):
    with pytest.raises(CheckpointError) as caught:
        check_dims(replace(TURBO, **changes), "f")
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "bert"}, "c: not a Whisper model: expected model_type 'whisper', found 'bert'"),
        ({"decoder_ffn_dim": 2048}, "c: unusual decoder_ffn_dim: expected 5120, found 2048"),
        ({"activation_function": "relu"}, "c: unusual activation_function: expected gelu, found 'relu'"),
        ({"scale_embedding": True}, "c: unusual scale_embedding: expected false, found true"),
        ({"d_model": None}, "c: impossible n_audio_state: expected 1 to 65536, found None"),
    ],
)
def test_configs_that_are_not_whisper(changes, message):
    with pytest.raises(CheckpointError) as caught:
        dims_from_huggingface(TURBO_CONFIG | changes, "c")
    assert str(caught.value) == message


def test_a_config_that_lacks_keys():
    with pytest.raises(CheckpointError) as caught:
        dims_from_huggingface({"model_type": "whisper", **{k: v for k, v in TURBO_CONFIG.items() if "layers" not in k}})
    assert str(caught.value) == "config.json lacks keys: expected decoder_layers, encoder_layers"


def test_openai_dims_with_other_keys():
    stated = asdict(TURBO)
    stated["n_mel"] = stated.pop("n_mels")
    with pytest.raises(
        CheckpointError, match=r"the checkpoint's dims have the wrong keys: expected .*n_mels.*found .*'n_mel'"
    ):
        dims_from_openai(stated)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (
            {"encoder/conv1/weight": (1280, 128)},
            r"encoder/conv1/weight has the wrong rank: expected 3, found \[1280, 128\]",
        ),
        ({"decoder/embeddings/weight": (51866, 640)}, "encoder and decoder widths differ"),
        (
            {"encoder/layer_0/self_attention/linear_0/weight": None},
            "impossible n_audio_layer: expected 1 to 256, found 0",
        ),
        (
            {"decoder/position_encodings/encodings": None},
            "a tensor is missing: expected decoder/position_encodings/enc",
        ),
    ],
)
def test_ctranslate2_shapes_that_give_no_dims(shapes, message):
    changed = {name: shape for name, shape in (TURBO_SHAPES | shapes).items() if shape is not None}
    with pytest.raises(CheckpointError, match=message):
        dims_from_ctranslate2(changed, 20, 20)
