"""Tiny random checkpoints, written in each format by code that shares nothing with the readers."""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pytest

from whisper_max.dims import ModelDimensions

FORMATS = ("safetensors", "ctranslate2", "openai", "ggml")
DIMS = ModelDimensions(
    n_mels=6,
    n_audio_ctx=10,
    n_audio_state=8,
    n_audio_head=2,
    n_audio_layer=3,
    n_vocab=300,
    n_text_ctx=12,
    n_text_state=8,
    n_text_head=4,
    n_text_layer=2,
)
WORDS = [*(bytes([byte]) for byte in range(256)), b"th", b" t", " é".encode(), b""]
SPECIALS = {"<|endoftext|>": 260, "<|startoftranscript|>": 261}

State = dict[str, np.ndarray]


def random_state(dims: ModelDimensions, seed: int = 0) -> State:
    """Random tensors whose values float16 and bfloat16 hold exactly."""
    random = np.random.default_rng(seed)
    width = dims.n_text_state
    state: State = {}

    def add(name: str, *shape: int) -> None:
        state[name] = random.integers(-127, 128, shape).astype(np.float32) / 64

    def linear(name: str, outputs: int, inputs: int, bias: bool = True) -> None:
        add(f"{name}.weight", outputs, inputs)
        if bias:
            add(f"{name}.bias", outputs)

    def norm(name: str) -> None:
        add(f"{name}.weight", width)
        add(f"{name}.bias", width)

    def block(name: str, attentions: tuple[str, ...]) -> None:
        for attention in attentions:
            for projection in ("query", "key", "value", "out"):
                linear(f"{name}.{attention}.{projection}", width, width, projection != "key")
            norm(f"{name}.{attention}_ln")
        linear(f"{name}.mlp.0", 4 * width, width)
        linear(f"{name}.mlp.2", width, 4 * width)
        norm(f"{name}.mlp_ln")

    add("encoder.conv1.weight", width, dims.n_mels, 3)
    add("encoder.conv1.bias", width)
    add("encoder.conv2.weight", width, width, 3)
    add("encoder.conv2.bias", width)
    add("encoder.positional_embedding", dims.n_audio_ctx, width)
    for layer in range(dims.n_audio_layer):
        block(f"encoder.blocks.{layer}", ("attn",))
    norm("encoder.ln_post")
    add("decoder.token_embedding.weight", dims.n_vocab, width)
    add("decoder.positional_embedding", dims.n_text_ctx, width)
    for layer in range(dims.n_text_layer):
        block(f"decoder.blocks.{layer}", ("attn", "cross_attn"))
    norm("decoder.ln")
    return state


# What each format calls and how it stacks the tensors.


def to_huggingface(state: State) -> State:
    replacements = (
        ("mlp_ln", "final_layer_norm"),
        ("cross_attn_ln", "encoder_attn_layer_norm"),
        ("attn_ln", "self_attn_layer_norm"),
        ("cross_attn.", "encoder_attn."),
        (".attn.", ".self_attn."),
        (".query.", ".q_proj."),
        (".key.", ".k_proj."),
        (".value.", ".v_proj."),
        (".out.", ".out_proj."),
        ("mlp.0", "fc1"),
        ("mlp.2", "fc2"),
        ("blocks", "layers"),
        ("ln_post", "layer_norm"),
        ("decoder.ln.", "decoder.layer_norm."),
        ("token_embedding", "embed_tokens"),
        ("positional_embedding", "embed_positions.weight"),
    )
    stored = {}
    for name, array in state.items():
        for ours, theirs in replacements:
            if theirs.startswith(("encoder_attn", "self_attn_")) and "self_attn_layer_norm" in name:
                continue
            if ours == "attn_ln" and "encoder_attn_layer_norm" in name:
                continue
            name = name.replace(ours, theirs)
        stored["model." + name] = array
    stored["proj_out.weight"] = state["decoder.token_embedding.weight"]
    return stored


def to_ctranslate2(state: State) -> State:
    stored = {
        "encoder/position_encodings/encodings": state["encoder.positional_embedding"],
        "decoder/position_encodings/encodings": state["decoder.positional_embedding"],
        "decoder/embeddings/weight": state["decoder.token_embedding.weight"],
    }
    for convolution in ("conv1", "conv2"):
        for part in ("weight", "bias"):
            stored[f"encoder/{convolution}/{part}"] = state[f"encoder.{convolution}.{part}"]
    for side, norm in (("encoder", "ln_post"), ("decoder", "ln")):
        stored[f"{side}/layer_norm/gamma"] = state[f"{side}.{norm}.weight"]
        stored[f"{side}/layer_norm/beta"] = state[f"{side}.{norm}.bias"]
    for side in ("encoder", "decoder"):
        layer = 0
        while f"{side}.blocks.{layer}.mlp.0.weight" in state:
            ours, theirs = f"{side}.blocks.{layer}", f"{side}/layer_{layer}"

            def put(place: str, *names: str, ours: str = ours, theirs: str = theirs) -> None:
                for part in ("weight", "bias"):
                    zeros = np.zeros(len(state[f"{ours}.mlp_ln.bias"]), np.float32)
                    arrays = [state.get(f"{ours}.{name}.{part}", zeros) for name in names]
                    stored[f"{theirs}/{place}/{part}"] = np.concatenate(arrays)

            def put_norm(place: str, name: str, ours: str = ours, theirs: str = theirs) -> None:
                stored[f"{theirs}/{place}/layer_norm/gamma"] = state[f"{ours}.{name}.weight"]
                stored[f"{theirs}/{place}/layer_norm/beta"] = state[f"{ours}.{name}.bias"]

            put("self_attention/linear_0", "attn.query", "attn.key", "attn.value")
            put("self_attention/linear_1", "attn.out")
            put_norm("self_attention", "attn_ln")
            put("ffn/linear_0", "mlp.0")
            put("ffn/linear_1", "mlp.2")
            put_norm("ffn", "mlp_ln")
            if side == "decoder":
                put("attention/linear_0", "cross_attn.query")
                put("attention/linear_1", "cross_attn.key", "cross_attn.value")
                put("attention/linear_2", "cross_attn.out")
                put_norm("attention", "cross_attn_ln")
            layer += 1
    return stored


def to_ggml(state: State) -> State:
    return {
        name: array.reshape(-1, 1) if name in ("encoder.conv1.bias", "encoder.conv2.bias") else array
        for name, array in state.items()
    }


STORED: Mapping[str, Callable[[State], State]] = {
    "safetensors": to_huggingface,
    "ctranslate2": to_ctranslate2,
    "openai": dict,
    "ggml": to_ggml,
}


# Bytes of each format.


def encode(array: np.ndarray, dtype: str) -> bytes:
    if dtype == "bfloat16":
        return (array.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()
    return array.astype({"float32": "<f4", "float16": "<f2", "float64": "<f8", "int8": "<i1"}[dtype]).tobytes()


def safetensors_bytes(stored: State, dtype: str = "float32") -> bytes:
    code = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "float64": "F64", "int8": "I8"}[dtype]
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    parts, end = [], 0
    for name, array in stored.items():
        parts.append(encode(array, dtype))
        start, end = end, end + len(parts[-1])
        header[name] = {"dtype": code, "shape": list(array.shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # aligns the data
    return b"".join([struct.pack("<Q", len(text)), text, *parts])


CT2_SETTINGS = {
    "decoder/activation": ("b", 1, 3),
    "decoder/alibi": ("b", 1, 0),
    "decoder/alignment_heads": ("h", 2, 1),
    "decoder/alignment_layer": ("h", 2, -1),
    "decoder/num_heads": ("h", 2, DIMS.n_text_head),
    "decoder/pre_norm": ("b", 1, 1),
    "decoder/scale_embeddings": ("b", 1, 0),
    "decoder/start_from_zero_embedding": ("b", 1, 0),
    "encoder/num_heads": ("h", 2, DIMS.n_audio_head),
}


def ct2_string(text: str) -> bytes:
    return struct.pack("<H", len(text) + 1) + text.encode() + b"\0"


def ct2_variable(name: str, shape: tuple[int, ...], code: int, raw: bytes, size: int | None = None) -> bytes:
    return (
        ct2_string(name)
        + struct.pack(f"<B{len(shape)}I", len(shape), *shape)
        + struct.pack("<BI", code, len(raw) if size is None else size)
        + raw
    )


def ctranslate2_bytes(stored: State, dtype: str = "float32", settings: Mapping[str, tuple] = CT2_SETTINGS) -> bytes:
    code = {"float32": 0, "int8": 1, "float16": 4, "bfloat16": 5}[dtype]
    variables = [ct2_variable(name, (), c, struct.pack("<" + f, v)) for name, (f, c, v) in settings.items()]
    variables += [ct2_variable(name, array.shape, code, encode(array, dtype)) for name, array in stored.items()]
    return ct2_file(variables)


def ct2_file(variables: list[bytes], count: int | None = None, version: int = 6, spec: str = "WhisperSpec") -> bytes:
    count = len(variables) if count is None else count
    head = struct.pack("<I", version) + ct2_string(spec) + struct.pack("<II", 3, count)
    alias = ct2_string("decoder/projection/weight") + ct2_string("decoder/embeddings/weight")
    return head + b"".join(variables) + struct.pack("<I", 1) + alias


def ggml_header(dims: ModelDimensions = DIMS, words: list[bytes] = WORDS, count: int | None = None) -> bytes:
    names = "n_vocab n_audio_ctx n_audio_state n_audio_head n_audio_layer"
    names += " n_text_ctx n_text_state n_text_head n_text_layer n_mels"
    sizes = [asdict(dims)[name] for name in names.split()]
    filters = struct.pack("<2i", 4, 5) + bytes(4 * 4 * 5)
    vocabulary = b"".join(struct.pack("<i", len(word)) + word for word in words)
    tokens = struct.pack("<i", len(words) if count is None else count) + vocabulary
    return struct.pack("<12i", 0x67676D6C, *sizes, 1) + filters + tokens


def ggml_tensor(name: str, shape: tuple[int, ...], code: int, raw: bytes) -> bytes:
    numbers = (len(shape), len(name), code, *reversed(shape))
    return struct.pack(f"<{len(numbers)}i", *numbers) + name.encode() + raw


def ggml_bytes(stored: State, dtype: str = "float32", dims: ModelDimensions = DIMS) -> bytes:
    code = {"float32": 0, "float16": 1, "bfloat16": 30}[dtype]
    tensors = [ggml_tensor(name, array.shape, code, encode(array, dtype)) for name, array in stored.items()]
    return ggml_header(dims) + b"".join(tensors)


class Pickle:
    """Opcodes of a torch pickle, put together by hand."""

    @staticmethod
    def name(module: str, name: str) -> bytes:
        return f"c{module}\n{name}\n".encode()

    @staticmethod
    def text(text: str) -> bytes:
        return b"X" + struct.pack("<I", len(text.encode())) + text.encode()

    @staticmethod
    def number(number: int) -> bytes:
        if -(1 << 31) <= number < 1 << 31:
            return b"J" + struct.pack("<i", number)
        raw = number.to_bytes(number.bit_length() // 8 + 1, "little", signed=True)
        return b"\x8a" + bytes([len(raw)]) + raw

    @staticmethod
    def tuple(*items: bytes) -> bytes:
        return b"(" + b"".join(items) + b"t"

    @staticmethod
    def dict(items: Mapping[str, bytes]) -> bytes:
        return b"}(" + b"".join(Pickle.text(key) + value for key, value in items.items()) + b"u"

    @staticmethod
    def tensor(
        key: str,
        shape: Sequence[int],
        storage: str,
        count: int | None = None,
        offset: int = 0,
        strides: Sequence[int] | None = None,
    ) -> bytes:
        p = Pickle
        size = int(np.prod(shape)) if count is None else count
        strides = [int(np.prod(shape[axis + 1 :])) for axis in range(len(shape))] if strides is None else strides
        reference = p.tuple(p.text("storage"), p.name("torch", storage), p.text(key), p.text("cpu"), p.number(size))
        return (
            p.name("torch._utils", "_rebuild_tensor_v2")
            + p.tuple(
                reference + b"Q",
                p.number(offset),
                p.tuple(*map(p.number, shape)),
                p.tuple(*map(p.number, strides)),
                b"\x89",
                p.name("collections", "OrderedDict") + b")R",
            )
            + b"R"
        )

    @staticmethod
    def state(tensors: Mapping[str, bytes]) -> bytes:
        items = b"".join(Pickle.text(name) + tensor for name, tensor in tensors.items())
        metadata = b"}" + Pickle.text("_metadata") + b"}s"
        return Pickle.name("collections", "OrderedDict") + b")R(" + items + b"u" + metadata + b"b"

    @staticmethod
    def whole(content: bytes) -> bytes:
        return b"\x80\x02" + content + b"."


TORCH_STORAGES = {"float32": "FloatStorage", "float16": "HalfStorage", "bfloat16": "BFloat16Storage"}


def openai_pickle(stored: State, dtype: str = "float32", dims: ModelDimensions = DIMS) -> bytes:
    storage = {**TORCH_STORAGES, "float64": "DoubleStorage", "int8": "CharStorage"}[dtype]
    tensors = {name: Pickle.tensor(str(i), a.shape, storage) for i, (name, a) in enumerate(stored.items())}
    sizes = {name: Pickle.number(size) for name, size in asdict(dims).items()}
    return Pickle.whole(Pickle.dict({"dims": Pickle.dict(sizes), "model_state_dict": Pickle.state(tensors)}))


def write_archive(path: Path, entries: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, raw in entries.items():
            archive.writestr(f"archive/{name}", raw)
    return path


def openai_entries(stored: State, dtype: str = "float32") -> dict[str, bytes]:
    arrays = enumerate(stored.values())
    return {
        "data.pkl": openai_pickle(stored, dtype),
        "byteorder": b"little",
        **{f"data/{index}": encode(array, dtype) for index, array in arrays},
        "version": b"3\n",
    }


def pytorch_file(path: Path, stored: State, dtype: str = "float32") -> Path:
    """A file as ``torch.save`` writes a state dict."""
    tensors = {
        name: Pickle.tensor(str(i), a.shape, TORCH_STORAGES[dtype]) for i, (name, a) in enumerate(stored.items())
    }
    arrays = enumerate(stored.values())
    return write_archive(
        path,
        {
            "data.pkl": Pickle.whole(Pickle.state(tensors)),
            "byteorder": b"little",
            **{f"data/{index}": encode(array, dtype) for index, array in arrays},
            "version": b"3\n",
        },
    )


# Whole checkpoints.


def byte_characters() -> list[str]:
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(rest)) for byte in range(256)]


def tokenizer_json() -> str:
    characters = byte_characters()
    vocab = {"".join(characters[byte] for byte in word): index for index, word in enumerate(WORDS)}
    added = [{"id": index, "content": text, "special": True} for text, index in SPECIALS.items()]
    return json.dumps({"model": {"type": "BPE", "vocab": vocab, "merges": []}, "added_tokens": added})


def huggingface_config(dims: ModelDimensions = DIMS) -> dict[str, object]:
    return {
        "model_type": "whisper",
        "num_mel_bins": dims.n_mels,
        "max_source_positions": dims.n_audio_ctx,
        "d_model": dims.n_audio_state,
        "encoder_attention_heads": dims.n_audio_head,
        "encoder_layers": dims.n_audio_layer,
        "encoder_ffn_dim": 4 * dims.n_audio_state,
        "vocab_size": dims.n_vocab,
        "max_target_positions": dims.n_text_ctx,
        "decoder_attention_heads": dims.n_text_head,
        "decoder_layers": dims.n_text_layer,
        "decoder_ffn_dim": 4 * dims.n_text_state,
        "activation_function": "gelu",
    }


def write_stored(kind: str, folder: Path, stored: State, dtype: str = "float32") -> Path:
    """Write a checkpoint from tensors in the format's own names; return the weight file."""
    folder.mkdir(parents=True, exist_ok=True)
    if kind == "ggml":
        path = folder / "ggml-model.bin"
        path.write_bytes(ggml_bytes(stored, dtype))
        return path
    (folder / "tokenizer.json").write_text(tokenizer_json(), encoding="utf-8")
    if kind == "openai":
        return write_archive(folder / "model.pt", openai_entries(stored, dtype))
    if kind == "ctranslate2":
        (folder / "config.json").write_text(json.dumps({"alignment_heads": [[1, 3]]}))
        path = folder / "model.bin"
        path.write_bytes(ctranslate2_bytes(stored, dtype))
        return path
    (folder / "config.json").write_text(json.dumps(huggingface_config()))
    (folder / "generation_config.json").write_text(json.dumps({"alignment_heads": [[0, 1], [1, 2]]}))
    path = folder / "model.safetensors"
    path.write_bytes(safetensors_bytes(stored, dtype))
    return path


@dataclass(frozen=True)
class Writers:
    """What the tests of this folder write checkpoints with."""

    dims = DIMS
    formats = FORMATS
    words = WORDS
    specials = SPECIALS
    pickle = Pickle
    random_state = staticmethod(random_state)
    write_stored = staticmethod(write_stored)
    write_archive = staticmethod(write_archive)
    pytorch_file = staticmethod(pytorch_file)
    openai_entries = staticmethod(openai_entries)
    openai_pickle = staticmethod(openai_pickle)
    safetensors_bytes = staticmethod(safetensors_bytes)
    ctranslate2_bytes = staticmethod(ctranslate2_bytes)
    ct2_variable = staticmethod(ct2_variable)
    ct2_file = staticmethod(ct2_file)
    ct2_settings = CT2_SETTINGS
    ggml_header = staticmethod(ggml_header)
    ggml_tensor = staticmethod(ggml_tensor)
    ggml_bytes = staticmethod(ggml_bytes)
    huggingface_config = staticmethod(huggingface_config)
    tokenizer_json = staticmethod(tokenizer_json)
    byte_characters = staticmethod(byte_characters)

    def stored(self, kind: str, state: State | None = None) -> State:
        """The tensors of a random checkpoint in a format's own names and stacking."""
        return dict(STORED[kind](random_state(DIMS) if state is None else state))


@pytest.fixture(scope="session")
def writers() -> Writers:
    return Writers()


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's caches, weights folder or hub settings."""
    monkeypatch.setenv("WHISPER_MAX_CACHE", str(tmp_path / "own-cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "own-hf-home"))
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_ENDPOINT", "HF_HUB_OFFLINE", "WHISPER_MAX_WEIGHTS"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
    (tmp_path / "own-folder").mkdir()
    monkeypatch.chdir(tmp_path / "own-folder")
