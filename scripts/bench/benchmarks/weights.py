"""The one checkpoint in the formats that the peers read, made once and kept; how long it took is reported apart.

Every format is written from ``whisper_max``'s own reader, so that all systems run the same numbers: float16 matrices,
which is how OpenAI published them, or what a system's own tool makes of them (int8).
"""

from __future__ import annotations

import json
import struct
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from whisper_max.audio.mel_filters import mel_filters
from whisper_max.checkpoint import Checkpoint, ModelFiles, read_checkpoint, resolve
from whisper_max.checkpoint.names import ggml, huggingface
from whisper_max.checkpoint.table import KEY_BIAS
from whisper_max.text.languages import LANGUAGES

Record = dict[str, float]
"""A format -> the seconds its making took."""


class NotMade(Exception):
    """A format can't be made here: its tool is not installed, or failed."""


def make_weights(kinds: set[str], folder: Path, pythons: Mapping[str, str]) -> tuple[Record, dict[str, str]]:
    """Make the formats asked for, where they are missing; returns also those that can't be made, and why.

    pythons: the interpreter of each family of systems.
    """
    folder.mkdir(parents=True, exist_ok=True)
    record_path = folder / "seconds.json"
    record: Record = json.loads(record_path.read_text()) if record_path.exists() else {}
    files = resolve("base", offline=True)
    wanted = kinds | ({"huggingface"} if any(kind.startswith("openvino") for kind in kinds) else set())
    unmade = {}
    for kind in sorted(wanted, key=list(_MAKERS).index):
        if kind not in record:
            start = time.perf_counter()
            try:
                _MAKERS[kind](files, folder / kind, pythons)
            except NotMade as error:
                unmade[kind] = str(error)
                continue
            record[kind] = time.perf_counter() - start
            record_path.write_text(json.dumps(record, indent=1))
    return record, unmade


# ---------------------------------------------------------------- CTranslate2: the package's own parts, put together


def _ctranslate2(files: ModelFiles, target: Path, _: Mapping[str, str]) -> None:
    target.mkdir(exist_ok=True)
    for path in files.weights[0].parent.glob("*.*"):
        if path.suffix in (".json", ".txt"):
            (target / path.name).write_bytes(path.read_bytes())
    (target / "model.bin").write_bytes(b"".join(path.read_bytes() for path in files.weights))


# ---------------------------------------------------------------- Hugging Face: safetensors, configs, tokenizer


def _huggingface(files: ModelFiles, target: Path, _: Mapping[str, str]) -> None:
    checkpoint = read_checkpoint(files)
    target.mkdir(exist_ok=True)
    save_file(_huggingface_tensors(checkpoint), target / "model.safetensors", metadata={"format": "pt"})
    given = files.weights[0].parent
    ids = json.loads((given / "config.json").read_text())
    tokenizer = _with_timestamps(json.loads((given / "tokenizer.json").read_text(encoding="utf-8")))
    merges = [line if isinstance(line, str) else " ".join(line) for line in tokenizer["model"]["merges"]]
    contents = {
        "config.json": _model_config(checkpoint),
        "generation_config.json": _generation_config(checkpoint, ids),
        "preprocessor_config.json": PREPROCESSOR | {"feature_size": checkpoint.dims.n_mels},
        "tokenizer.json": tokenizer,
        "tokenizer_config.json": TOKENIZER,
        "special_tokens_map.json": dict.fromkeys(("bos_token", "eos_token", "pad_token", "unk_token"), END),
        "vocab.json": tokenizer["model"]["vocab"],
        "added_tokens.json": {token["content"]: token["id"] for token in tokenizer["added_tokens"]},
    }
    for name, content in contents.items():
        (target / name).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    (target / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", encoding="utf-8")


END = "<|endoftext|>"
PREPROCESSOR = {
    "feature_extractor_type": "WhisperFeatureExtractor",
    "processor_class": "WhisperProcessor",
    "sampling_rate": 16000,
    "n_fft": 400,
    "hop_length": 160,
    "chunk_length": 30,
    "n_samples": 480000,
    "nb_max_frames": 3000,
    "padding_side": "right",
    "padding_value": 0.0,
    "return_attention_mask": False,
}
TOKENIZER = {
    "tokenizer_class": "WhisperTokenizer",
    "processor_class": "WhisperProcessor",
    "add_prefix_space": False,
    "errors": "replace",
    "model_max_length": 1024,
    **dict.fromkeys(("bos_token", "eos_token", "pad_token", "unk_token"), END),
}
SECONDS_PER_TIMESTAMP = 0.02


def _huggingface_tensors(checkpoint: Checkpoint) -> dict[str, np.ndarray]:
    dims = checkpoint.dims
    layers = {"encoder": dims.n_audio_layer, "decoder": dims.n_text_layer}
    tensors = {}
    for theirs, (ours,) in huggingface.TABLE.tensors.items():
        if ours == KEY_BIAS:
            continue  # biases that the model has not
        for layer in range(layers[ours.partition(".")[0]]) if "{}" in theirs else [0]:
            tensors[theirs.format(layer)] = np.ascontiguousarray(checkpoint.tensors[ours.format(layer)])
    return tensors


def _with_timestamps(tokenizer: dict[str, Any]) -> dict[str, Any]:
    """The tokenizer with the timestamps among its added tokens, as the published one has them."""
    pattern = tokenizer["added_tokens"][-1]
    first = pattern["id"] + 1
    known = {token["content"] for token in tokenizer["added_tokens"]}
    for i in range(1501):
        content = f"<|{i * SECONDS_PER_TIMESTAMP:.2f}|>"
        if content not in known:
            tokenizer["added_tokens"].append({**pattern, "id": first + i, "content": content, "special": False})
    return tokenizer


def _model_config(checkpoint: Checkpoint) -> dict[str, object]:
    dims = checkpoint.dims
    end = dims.n_vocab - 1501 - 107  # text tokens come first; then 107 special tokens, then timestamps
    return {
        "architectures": ["WhisperForConditionalGeneration"],
        "model_type": "whisper",
        "vocab_size": dims.n_vocab,
        "num_mel_bins": dims.n_mels,
        "d_model": dims.n_audio_state,
        "encoder_layers": dims.n_audio_layer,
        "encoder_attention_heads": dims.n_audio_head,
        "encoder_ffn_dim": 4 * dims.n_audio_state,
        "decoder_layers": dims.n_text_layer,
        "decoder_attention_heads": dims.n_text_head,
        "decoder_ffn_dim": 4 * dims.n_text_state,
        "max_source_positions": dims.n_audio_ctx,
        "max_target_positions": dims.n_text_ctx,
        "activation_function": "gelu",
        "is_encoder_decoder": True,
        "scale_embedding": False,
        "tie_word_embeddings": True,
        "bos_token_id": end,
        "eos_token_id": end,
        "pad_token_id": end,
        "decoder_start_token_id": end + 1,
        "torch_dtype": "float32",
    }


def _generation_config(checkpoint: Checkpoint, ids: Mapping[str, list[int]]) -> dict[str, object]:
    config = _model_config(checkpoint)
    last_language = ids["lang_ids"][-1]
    return {
        **{name: config[name] for name in ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")},
        "is_multilingual": True,
        "lang_to_id": {f"<|{code}|>": number for code, number in zip(LANGUAGES, ids["lang_ids"], strict=False)},
        "task_to_id": {"translate": last_language + 1, "transcribe": last_language + 2},
        "no_timestamps_token_id": last_language + 6,
        "prev_sot_token_id": last_language + 4,
        "max_initial_timestamp_index": 50,
        "return_timestamps": False,
        "max_length": checkpoint.dims.n_text_ctx,
        "suppress_tokens": ids["suppress_ids"],
        "begin_suppress_tokens": ids["suppress_ids_begin"],
        "alignment_heads": ids["alignment_heads"],
    }


# ---------------------------------------------------------------- ggml, as whisper.cpp's own converter lays it out

F32, F16, Q8_0 = 0, 1, 8
FILE_TYPES = {F16: 1, Q8_0: 2007}  # q8_0: version 2 of the quantisation times 1000, plus 7
BLOCK = 32
KEPT_FLOAT32 = (*ggml.COLUMNS, "encoder.positional_embedding", "decoder.positional_embedding")


def _ggml(matrix_type: int) -> Callable[[ModelFiles, Path, Mapping[str, str]], None]:
    def make(files: ModelFiles, target: Path, _: Mapping[str, str]) -> None:
        checkpoint = read_checkpoint(files)
        with target.open("wb") as file:
            file.write(_ggml_header(checkpoint, FILE_TYPES[matrix_type]))
            for name in checkpoint.tensors:
                file.write(_ggml_tensor(name, checkpoint.tensors[name], matrix_type))

    return make


def _ggml_header(checkpoint: Checkpoint, file_type: int) -> bytes:
    dims = checkpoint.dims
    sizes = [getattr(dims, name) for name in (
        "n_vocab", "n_audio_ctx", "n_audio_state", "n_audio_head", "n_audio_layer",
        "n_text_ctx", "n_text_state", "n_text_head", "n_text_layer", "n_mels",
    )]  # fmt: skip
    filters = np.asarray(mel_filters(dims.n_mels), np.float32)
    tokens = checkpoint.vocabulary.tokens
    parts = [
        struct.pack("<i", 0x67676D6C),
        struct.pack("<11i", *sizes, file_type),
        struct.pack("<2i", *filters.shape),
        filters.tobytes(),
        struct.pack("<i", len(tokens)),
        *(struct.pack("<i", len(token)) + token for token in tokens),
    ]
    return b"".join(parts)


def _ggml_tensor(name: str, values: np.ndarray, matrix_type: int) -> bytes:
    if name in ggml.COLUMNS:
        values = values[:, None]
    kind = F32 if values.ndim < 2 or name in KEPT_FLOAT32 else matrix_type
    if kind == Q8_0 and values.ndim != 2:
        kind = F16  # convolutions
    data = {F32: values.tobytes, F16: values.astype("<f2").tobytes, Q8_0: lambda: q8_0(values)}[kind]()
    shape = values.shape[::-1]
    header = struct.pack(f"<3i{len(shape)}i", len(shape), len(name), kind, *shape)
    return header + name.encode() + data


def q8_0(values: np.ndarray) -> bytes:
    """ggml's q8_0: blocks of 32 with a float16 scale, the largest magnitude of a block being 127."""
    blocks = values.reshape(-1, BLOCK)
    scales = np.abs(blocks).max(axis=1, keepdims=True) / 127
    inverse = np.divide(1, scales, out=np.zeros_like(scales), where=scales > 0)
    packed = np.zeros(len(blocks), np.dtype([("scale", "<f2"), ("values", "i1", BLOCK)]))
    packed["scale"] = scales[:, 0]
    packed["values"] = np.rint(blocks * inverse)
    return packed.tobytes()


# ---------------------------------------------------------------- OpenVINO, by optimum-intel


def _openvino(weight_format: str) -> Callable[[ModelFiles, Path, Mapping[str, str]], None]:
    def make(_: ModelFiles, target: Path, pythons: Mapping[str, str]) -> None:
        command = [
            *(pythons["openvino"], "-m", "optimum.commands.optimum_cli", "export", "openvino"),
            *("--model", str(target.parent / "huggingface"), "--task", "automatic-speech-recognition-with-past"),
            *("--weight-format", weight_format, str(target)),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
            raise NotMade(f"optimum-intel can't export {weight_format}: {last}")

    return make


_MAKERS: dict[str, Callable[[ModelFiles, Path, Mapping[str, str]], None]] = {
    "ctranslate2": _ctranslate2,
    "huggingface": _huggingface,
    "ggml-f16.bin": _ggml(F16),
    "ggml-q8_0.bin": _ggml(Q8_0),
    "openvino-fp32": _openvino("fp32"),
    "openvino-int8": _openvino("int8"),
}
