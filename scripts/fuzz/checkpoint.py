"""Tiny checkpoints of every format, and damaged ones; see ``Kind``."""

from __future__ import annotations

import io
import json
import struct
import tempfile
import zipfile
from pathlib import Path
from random import Random

import numpy as np

from scripts.fuzz.kinds import Kind, always
from scripts.fuzz.mutate import changed, changed_json
from scripts.fuzz.quantised import write_quantised
from scripts.fuzz.verdicts import ACCEPTED, Verdict, refused
from tests.checkpoint import conftest as writers
from whisper_max.checkpoint import read_checkpoint
from whisper_max.checkpoint.lora import adapter_at, merge_adapters
from whisper_max.checkpoint.own_format import OwnModel, write_own_format
from whisper_max.engine.weights import quantized
from whisper_max.errors import CheckpointError, OptionError

_ADAPTER = "adapter"  # the folder of a LoRA adapter beside a checkpoint's


def seeds() -> dict[str, dict[str, bytes]]:
    """A checkpoint of each format, in each dtype that makes another file, with what stands beside it."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        state = writers.random_state(writers.DIMS)
        for format in writers.FORMATS:
            for dtype in ("float32", "float16", "bfloat16"):
                writers.write_stored(format, root / f"{format}-{dtype}", writers.STORED[format](state), dtype)
        _write_pytorch(root / "pytorch", state)
        _write_shards(root / "shards", state)
        _write_own(root)
        _write_adapter(root / "lora", state)
        write_quantised(root)
        return {folder.name: _files(folder) for folder in sorted(root.iterdir())}


def _files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _write_pytorch(folder: Path, state: writers.State) -> None:
    writers.write_stored("safetensors", folder, writers.to_huggingface(state))
    (folder / "model.safetensors").unlink()
    writers.pytorch_file(folder / "pytorch_model.bin", writers.to_huggingface(state))


def _write_shards(folder: Path, state: writers.State) -> None:
    writers.write_stored("safetensors", folder, writers.to_huggingface(state))
    (folder / "model.safetensors").unlink()
    stored = list(writers.to_huggingface(state).items())
    places: dict[str, str] = {}
    for number, start in enumerate((0, len(stored) // 2), start=1):
        shard = dict(stored[start : start + len(stored) // 2 + 1] if number == 1 else stored[len(stored) // 2 + 1 :])
        name = f"model-{number:05}-of-00002.safetensors"
        (folder / name).write_bytes(writers.safetensors_bytes(shard))
        places |= dict.fromkeys(shard, name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))


def _write_own(root: Path) -> None:
    """Our own format, of floats and of integers with scales."""
    base = read_checkpoint(next((root / "openai-float32").glob("*.pt")))
    for name, quantize in (("own", None), ("own-int8", quantized)):
        (root / name).mkdir()
        model = OwnModel(base.dims, base.tensors, base.vocabulary, base.alignment_heads, base.name)
        write_own_format(root / name / "model.safetensors", model, quantize)


def _write_adapter(folder: Path, state: writers.State) -> None:
    writers.write_stored("safetensors", folder, writers.to_huggingface(state))
    width = writers.DIMS.n_text_state
    down, up = np.ones((2, width), np.float32), np.ones((4 * width, 2), np.float32)
    name = "base_model.model.model.encoder.layers.1.fc1"
    (folder / _ADAPTER).mkdir()
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 6, "bias": "none"}
    (folder / _ADAPTER / "adapter_config.json").write_text(json.dumps(config))
    stored = {f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up}
    (folder / _ADAPTER / "adapter_model.safetensors").write_bytes(writers.safetensors_bytes(stored))


def change(name: str, content: bytes, random: Random) -> bytes:
    """Changed bytes; now and then only in what a format's own checks let through."""
    if random.random() < 0.4:
        return changed(content, random)
    if name.endswith(".safetensors"):
        return _changed_header(content, random)
    if name.endswith((".pt", "pytorch_model.bin", ".npz")):
        return _changed_archive(content, random)
    return changed_json(content, random) if name.endswith(".json") else changed(content, random)


def _changed_header(content: bytes, random: Random) -> bytes:
    """safetensors with another header of the right length."""
    (size,) = struct.unpack_from("<Q", content)
    header = changed_json(content[8 : 8 + size], random)
    return struct.pack("<Q", len(header)) + header + content[8 + size :]


def _changed_archive(content: bytes, random: Random) -> bytes:
    """A zip archive, its checksums right, with another pickle or other tensors; changed bytes where it is none."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    pickles = [each for each in entries if each.endswith("data.pkl")]
    name = random.choice(pickles if pickles and random.random() < 0.8 else list(entries))
    entries[name] = changed(entries[name], random)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", random.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for each, raw in entries.items():
            archive.writestr(each, raw)
    return file.getvalue()


def attempt(folder: Path) -> Verdict:
    """Read all of it, and merge the adapter where there is one."""
    try:
        checkpoint = read_checkpoint(folder)
        tensors = checkpoint.tensors
        if (folder / _ADAPTER).is_dir():
            tensors = merge_adapters(tensors, [adapter_at(folder / _ADAPTER)], checkpoint.dims)
        with np.errstate(all="ignore"):
            for name in tensors:
                tensors[name]
    except (CheckpointError, OptionError) as error:
        return refused(error)
    return Verdict(ACCEPTED, f"{len(tensors)} tensors")


KIND = Kind(seeds, change, lambda: always(attempt))
