"""How long a model takes to load and how much memory that takes: ``python scripts/bench/loading.py base``.

``--random large-v3-turbo`` measures a float16 safetensors file of that size with random weights, made for the purpose.
``--lora RANK`` adds a random adapter of every projection of attention, or ``--lora FOLDER`` that one.
Memory is what the process holds in RAM above what it held with MAX started: files that are mapped count. Without
``--all`` the graphs are left out, and nothing is compiled.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from max.driver import CPU
from max.dtype import DType
from max.engine import InferenceSession
from numpy.typing import NDArray

from whisper_max import load_model
from whisper_max.checkpoint import read_checkpoint, resolve, resolve_adapter
from whisper_max.checkpoint.layout import tensor_shapes
from whisper_max.checkpoint.lora import merge_adapters
from whisper_max.checkpoint.names.huggingface import TABLE
from whisper_max.checkpoint.published import ALIASES, MODELS
from whisper_max.checkpoint.table import expand
from whisper_max.dims import ModelDimensions
from whisper_max.engine.weights import prepare_weights
from whisper_max.hardware.threads import start_workers

MIB = 1 << 20


def main() -> None:
    """Load once and print what it took."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", nargs="?", default="base")
    parser.add_argument("--compute_type", choices=("float32", "float16", "int8"), default="int8", help="of matrices")
    parser.add_argument("--random", metavar="SIZE", help="a published size to make with random weights")
    parser.add_argument("--lora", metavar="RANK_OR_FOLDER", help="an adapter to merge, or the rank of one to make")
    parser.add_argument("--all", action="store_true", help="load the graphs too")
    args = parser.parse_args()
    start_workers()  # as the package starts MAX
    InferenceSession(devices=[CPU()])
    with tempfile.TemporaryDirectory() as folder:
        model = args.model
        if args.random:
            dims = MODELS[ALIASES.get(args.random, args.random)].dims
            write_random(Path(folder), dims)
            model = folder
        adapters = [] if args.lora is None else [adapter_folder(Path(folder), args.lora, model)]
        before = resident("VmRSS")
        reset_peak()
        start = time.perf_counter()
        if args.all:
            load_model(model, device="cpu", compute_type=args.compute_type, offline=True, lora=adapters)
            what = "the whole model"
        else:
            files = resolve(model, offline=True)
            checkpoint = read_checkpoint(files)
            merged = merge_adapters(checkpoint.tensors, map(resolve_adapter, adapters), checkpoint.dims)
            weights = prepare_weights(merged, checkpoint.dims, DType.float32, DType[args.compute_type], CPU())
            held = {id(buffer): buffer.num_elements * buffer.dtype.size_in_bytes for buffer in weights.values()}
            stored = sum(path.stat().st_size for path in files.weights)
            what = f"weights of {sum(held.values()) / MIB:.0f} MiB from {stored / MIB:.0f} MiB"
        seconds, peak = time.perf_counter() - start, resident("VmHWM")
    print(f"{what}: {seconds:.2f} s, at most {(peak - before) / MIB:.0f} MiB")


def adapter_folder(folder: Path, stated: str, model: str) -> Path:
    """The adapter that is meant: a folder, or one of random values of this rank."""
    if not stated.isdigit():
        return Path(stated)
    rank, adapter = int(stated), folder / "adapter"
    dims = read_checkpoint(resolve(model, offline=True)).dims
    parts: dict[str, tuple[int, ...]] = {}
    for name in expand(TABLE.tensors, dims):
        if name.endswith(("q_proj.weight", "k_proj.weight", "v_proj.weight", "out_proj.weight")):
            layer = f"base_model.model.{name.removesuffix('.weight')}"
            parts[f"{layer}.lora_A.weight"] = (rank, dims.n_text_state)
            parts[f"{layer}.lora_B.weight"] = (dims.n_text_state, rank)
    adapter.mkdir()
    write_float16(adapter / "adapter_model.safetensors", parts)
    (adapter / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": rank, "lora_alpha": rank}))
    return adapter


def write_float16(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """A safetensors file of random values, written tensor by tensor."""
    header, end = dict[str, object](), 0
    for name, shape in shapes.items():
        start, end = end, end + 2 * int(np.prod(shape))
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for values in random_values(list(shapes.values())):
            file.write(values.tobytes())


def write_random(folder: Path, dims: ModelDimensions) -> None:
    """A Hugging Face folder with random float16 weights."""
    shapes = tensor_shapes(dims)
    names = {theirs: ours[0] for theirs, ours in expand(TABLE.tensors, dims).items() if ours[0]}
    write_float16(folder / "model.safetensors", {theirs: shapes[ours] for theirs, ours in names.items()})
    config = {
        "model_type": "whisper", "num_mel_bins": dims.n_mels, "max_source_positions": dims.n_audio_ctx,
        "d_model": dims.n_audio_state, "encoder_layers": dims.n_audio_layer, "decoder_layers": dims.n_text_layer,
        "encoder_attention_heads": dims.n_audio_head, "decoder_attention_heads": dims.n_text_head,
        "vocab_size": dims.n_vocab, "max_target_positions": dims.n_text_ctx,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))


def random_values(shapes: list[tuple[int, ...]]) -> Iterator[NDArray[np.float16]]:
    """Values of the size that trained ones have."""
    random = np.random.default_rng(0)
    for shape in shapes:
        yield (random.standard_normal(shape, dtype=np.float32) / 32).astype(np.float16)


def resident(field: str) -> int:
    """Bytes in RAM now ("VmRSS") or at most ("VmHWM")."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def reset_peak() -> None:
    """Forget how much was held before."""
    Path("/proc/self/clear_refs").write_text("5")


if __name__ == "__main__":
    main()
