"""base as every kind of checkpoint: what ``tests/test_checkpoint_kinds.py`` compares with base itself."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tests.checkpoint import conftest as formats
from tests.support.ggml_library import by_ggml
from whisper_max.checkpoint import Checkpoint, read_checkpoint, resolve
from whisper_max.checkpoint.ggml_blocks import KINDS as BLOCKS
from whisper_max.dims import ModelDimensions

State = dict[str, NDArray[Any]]
EMBEDDING = "model.decoder.embed_tokens.weight"
UNHEARD = slice(20000, 20100)
"""Tokens that are in no transcript here."""


class Kind(NamedTuple):
    """make: writes the checkpoint into an empty folder and returns its path. adapter: a LoRA's folder inside it."""

    make: Callable[[Path], Path]
    adapter: str | None = None


@cache
def base() -> Checkpoint:
    """The model that all kinds are made from."""
    return read_checkpoint(resolve("base", offline=True))


def state() -> State:
    """Its tensors, float32."""
    return {name: np.asarray(array) for name, array in base().tensors.items()}


# ---------------------------------------------------------------- Hugging Face


def folder_of(folder: Path, dims: ModelDimensions, words: int = 0, heads: object = None) -> None:
    """What stands beside the weights of a Hugging Face folder."""
    config = formats.huggingface_config(replace(dims, n_vocab=dims.n_vocab + words))
    (folder / "config.json").write_text(json.dumps(config))
    stated = base().alignment_heads if heads is None else heads
    (folder / "generation_config.json").write_text(json.dumps({"alignment_heads": stated}))
    tokenizer = json.loads(resolve("base", offline=True).companions["tokenizer.json"].read_text())
    for i in range(words):
        tokenizer["added_tokens"].append({"id": dims.n_vocab + i, "content": f"newword{i}", "special": False})
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))


def safetensors(folder: Path, dtype: str = "float16", change: Callable[[State], State] = dict, **beside: Any) -> Path:
    """A single file."""
    folder_of(folder, base().dims, **beside)
    stored = change(formats.to_huggingface(state()))
    (folder / "model.safetensors").write_bytes(formats.safetensors_bytes(stored, dtype))
    return folder


def with_words(stored: State, n: int) -> State:
    """With rows more, as ``resize_token_embeddings`` makes them."""
    matrix = stored[EMBEDDING]
    rows = np.repeat(matrix.mean(axis=0, keepdims=True), n, axis=0)
    return stored | {name: np.concatenate([matrix, rows]) for name in (EMBEDDING, "proj_out.weight")}


def untied(stored: State) -> State:
    """With an embedding that would make other tokens likely, if the logits were made by it."""
    matrix = stored[EMBEDDING].copy()
    matrix[UNHEARD] *= 32
    return stored | {EMBEDDING: matrix}


def wrapped(stored: State) -> State:
    """As some trainers save it: without the model's own prefix, with a wrapper's and biases of zeros on the keys."""
    keys = [name for name in stored if name.endswith("k_proj.weight")]
    biases = {name.replace("weight", "bias"): np.zeros(len(stored[name]), np.float32) for name in keys}
    return {"module." + name.removeprefix("model."): array for name, array in (stored | biases).items()}


def shards(stored: State) -> list[State]:
    """In two parts."""
    names = list(stored)
    return [{name: stored[name] for name in part} for part in (names[::2], names[1::2])]


def sharded(folder: Path, stem: str, suffix: str, write: Callable[[Path, State], object]) -> Path:
    """Two shards and the list of them."""
    folder_of(folder, base().dims)
    weight_map = {}
    for number, part in enumerate(shards(formats.to_huggingface(state())), start=1):
        path = folder / f"{stem}-{number:05}-of-00002{suffix}"
        write(path, part)
        weight_map |= dict.fromkeys(part, path.name)
    (folder / f"{stem}{suffix}.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return folder


def write_safetensors(path: Path, stored: State) -> None:
    path.write_bytes(formats.safetensors_bytes(stored, "float16"))


def pytorch(folder: Path) -> Path:
    folder_of(folder, base().dims)
    formats.pytorch_file(folder / "pytorch_model.bin", formats.to_huggingface(state()), "float16")
    return folder


def write_pytorch(path: Path, stored: State) -> None:
    formats.pytorch_file(path, stored, "float16")


def lora(folder: Path) -> Path:
    """A base that lacks what the adapter puts back, in steps that float32 adds exactly."""
    random = np.random.default_rng(0)
    stored, pairs = formats.to_huggingface(state()), {}
    for name in [name for name in stored if name.endswith(("q_proj.weight", "v_proj.weight"))]:
        down, up = (random.integers(-1, 2, shape).astype(np.float32) / 8 for shape in ((4, 512), (512, 4)))
        stored[name] = stored[name] - 2 * (up @ down)
        layer = "base_model.model." + name.removesuffix(".weight")
        pairs |= {f"{layer}.lora_A.weight": down, f"{layer}.lora_B.weight": up}
    safetensors(folder, "float32", lambda _: stored)
    adapter = folder / "adapter"
    adapter.mkdir()
    config = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "bias": "none", "init_lora_weights": True}
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    (adapter / "adapter_model.safetensors").write_bytes(formats.safetensors_bytes(pairs))
    return folder


# ---------------------------------------------------------------- others


def openai(folder: Path) -> Path:
    arrays = state()
    entries = {"data.pkl": formats.openai_pickle(arrays, "float16", base().dims), "byteorder": b"little"}
    entries |= {f"data/{i}": formats.encode(array, "float16") for i, array in enumerate(arrays.values())}
    return formats.write_archive(folder / "model.pt", entries)


def ctranslate2(folder: Path, dtype: str) -> Path:
    """dtype: of what is not quantised. The int8 kinds differ in it; int16 has one scale a matrix."""
    narrow, _, wide = dtype.partition("_")
    stored, variables = formats.to_ctranslate2(state()), []
    code, form = {"float16": (4, "<f2")}.get(wide or narrow, (0, "<f4"))
    heads = {"decoder/num_heads": base().dims.n_text_head, "encoder/num_heads": base().dims.n_audio_head}
    for name, (fmt, kind, value) in formats.CT2_SETTINGS.items():
        variables.append(formats.ct2_variable(name, (), kind, struct.pack("<" + fmt, heads.get(name, value))))
    for name, array in stored.items():
        if narrow.startswith("float") or array.ndim == 1 or "encodings" in name:
            variables.append(formats.ct2_variable(name, array.shape, code, array.astype(form).tobytes()))
        elif narrow == "int8":
            scale = np.float32(127) / np.maximum(np.abs(array.reshape(len(array), -1)).max(axis=1), np.float32(1e-9))
            values = np.rint(array * scale.reshape(-1, *[1] * (array.ndim - 1))).astype("<i1")
            variables.append(formats.ct2_variable(name, array.shape, 1, values.tobytes()))
            variables.append(formats.ct2_variable(f"{name}_scale", scale.shape, 0, scale.astype("<f4").tobytes()))
        else:
            divisor = np.float32(1024 / np.abs(array).max())
            values = np.rint(array * divisor).astype("<i2")
            variables.append(formats.ct2_variable(name, array.shape, 2, values.tobytes()))
            variables.append(formats.ct2_variable(f"{name}_scale", (), 0, divisor.tobytes()))
    (folder / "model.bin").write_bytes(formats.ct2_file(variables))
    files = resolve("base", offline=True).companions
    for name in ("config.json", "tokenizer.json", "vocabulary.txt"):
        (folder / name).write_bytes(files[name].read_bytes())
    return folder


def mlx(folder: Path, bits: int | None = None) -> Path:
    """As mlx-whisper's converter writes it, in float16 or groups of 64."""
    stored: State = {}
    for name, array in state().items():
        theirs = name.replace("mlp.0", "mlp1").replace("mlp.2", "mlp2")
        if array.ndim == 3:
            stored[theirs] = array.swapaxes(1, 2).astype(np.float16)
        elif bits and array.ndim == 2 and "positional" not in name:
            stored |= groups(theirs, array, bits)
        elif name != "encoder.positional_embedding":
            stored[theirs] = array.astype(np.float16)
    heads = np.array(base().alignment_heads, np.int64)
    quantization = {"quantization": {"group_size": 64, "bits": bits}} if bits else {}
    (folder / "config.json").write_text(json.dumps({**asdict(base().dims), "model_type": "whisper", **quantization}))
    np.savez(folder / "weights.npz", **(stored | {"alignment_heads": heads}))  # type: ignore[arg-type]
    return folder


def groups(name: str, array: NDArray[Any], bits: int) -> State:
    """A matrix in groups of 64, the first element in the lowest bits."""
    parts = array.reshape(len(array), -1, 64)
    low = parts.min(axis=-1, keepdims=True).astype(np.float16)
    scale = ((parts.max(axis=-1, keepdims=True) - low) / (2**bits - 1)).astype(np.float16)
    steps = np.rint((parts - low) / np.maximum(scale, np.float16(1e-6))).clip(0, 2**bits - 1).astype(np.uint32)
    words = steps.reshape(len(array), -1, 32 // bits) << np.arange(0, 32, bits, dtype=np.uint32)
    layer = name.removesuffix("weight")
    return {name: words.sum(axis=-1, dtype=np.uint32), f"{layer}scales": scale[..., 0], f"{layer}biases": low[..., 0]}


def ggml(folder: Path, kind: str) -> Path:
    """As whisper.cpp's converter and its quantizer write it: vectors, positions and convolutions stay wide."""
    parts = [formats.ggml_header(base().dims, list(base().vocabulary.tokens))]
    code = next((code for code, block in BLOCKS.items() if block.name == kind), None)
    for name, array in formats.to_ggml(state()).items():
        if kind == "f32" or array.ndim == 1 or array.shape[-1] == 1 or "positional" in name:
            parts.append(formats.ggml_tensor(name, array.shape, 0, array.astype("<f4").tobytes()))
        elif code is None or array.ndim == 3:
            parts.append(formats.ggml_tensor(name, array.shape, 1, array.astype("<f2").tobytes()))
        else:
            parts.append(formats.ggml_tensor(name, array.shape, code, by_ggml(array, code)))
    path = folder / "ggml-model.bin"
    path.write_bytes(b"".join(parts))
    return path


def kinds() -> dict[str, Kind]:
    """Every kind by what it is called on the page."""
    hugging_face: dict[str, Callable[[Path], Path]] = {
        "float16": safetensors,
        "float32": partial(safetensors, dtype="float32"),
        "bfloat16": partial(safetensors, dtype="bfloat16"),
        "float64": partial(safetensors, dtype="float64"),
        "openai-whisper's names": partial(safetensors, change=lambda _: state()),
        "two shards": lambda folder: sharded(folder, "model", ".safetensors", write_safetensors),
        "names of a trainer, biases of zeros on keys": partial(safetensors, change=wrapped),
        "untied `proj_out`": partial(safetensors, dtype="float32", change=untied),
        "one added token": partial(safetensors, change=partial(with_words, n=1), words=1),
        "seven added tokens": partial(safetensors, change=partial(with_words, n=7), words=7),
        "a deeper model's alignment heads": partial(safetensors, heads=[[25, 6], [30, 1]]),
        "`pytorch_model.bin`": pytorch,
        "`pytorch_model.bin`, two shards": lambda folder: sharded(folder, "pytorch_model", ".bin", write_pytorch),
    }
    made = {f"Hugging Face, {name}": Kind(make) for name, make in hugging_face.items()}
    made["Hugging Face with a LoRA adapter"] = Kind(lora, "adapter")
    made["OpenAI `.pt`"] = Kind(openai)
    for dtype in ("float32", "float16", "int8_float32", "int8_float16", "int16"):
        made[f"CTranslate2, {dtype}"] = Kind(partial(ctranslate2, dtype=dtype))
    made["MLX, float16"] = Kind(mlx)
    for bits in (4, 8):
        made[f"MLX, {bits} bits"] = Kind(partial(mlx, bits=bits))
    for kind in ("f32", "f16", *(block.name for block in BLOCKS.values())):
        made[f"ggml, {kind}"] = Kind(partial(ggml, kind=kind))
    return made


def needs_ggml(name: str) -> bool:
    """Whether a kind is made by ggml's own code."""
    return name.startswith("ggml, q")
