"""The encoder alone, of any published size, by this package and by two peers; run in each one's own interpreter.

    python -m benchmarks.encoders make small FOLDER          # openai-whisper, openvino, nncf
    python -m benchmarks.encoders time SYSTEM FOLDER THREADS RUNS

Weights are random, of a seed, in openai-whisper's own layers, so that all have the same.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

CHECKPOINT, CTRANSLATE2 = "random.pt", "ctranslate2"
N_FRAMES = 3000
Encode = Callable[[np.ndarray], Any]


def make(dims: dict[str, int], folder: Path) -> None:
    """Write a checkpoint with random weights, and its encoder as OpenVINO's: float16 and int8 weights."""
    import nncf
    import openvino
    import torch
    from whisper.model import ModelDimensions, Whisper

    torch.manual_seed(0)
    model = Whisper(ModelDimensions(**dims)).eval()
    torch.nn.init.normal_(model.decoder.positional_embedding, std=0.02)
    state = {name: tensor.half() for name, tensor in model.state_dict().items()}
    torch.save({"dims": dims, "model_state_dict": state}, folder / CHECKPOINT)
    model.load_state_dict({name: tensor.float() for name, tensor in state.items()})
    with torch.no_grad():
        converted = openvino.convert_model(model.encoder, example_input=torch.zeros(1, dims["n_mels"], N_FRAMES))
    openvino.save_model(converted, folder / "openvino-float.xml")
    openvino.save_model(nncf.compress_weights(converted), folder / "openvino-int8.xml")


def _ours(compute_type: str) -> Callable[[Path, int], Encode]:
    def load(folder: Path, threads: int) -> Encode:
        import whisper_max

        model = whisper_max.load_model(folder / CHECKPOINT, compute_type=compute_type, threads=threads, offline=True)
        return model.inference.encode

    return load


def _ctranslate2(compute_type: str) -> Callable[[Path, int], Encode]:
    def load(folder: Path, threads: int) -> Encode:
        import ctranslate2

        model = ctranslate2.models.Whisper(
            str(folder / CTRANSLATE2), device="cpu", compute_type=compute_type, intra_threads=threads
        )
        return lambda mel: model.encode(ctranslate2.StorageView.from_array(mel), to_cpu=True)

    return load


def _openvino(weights: str, precision: str) -> Callable[[Path, int], Encode]:
    def load(folder: Path, threads: int) -> Encode:
        import openvino

        properties = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": precision}
        compiled = openvino.Core().compile_model(folder / f"openvino-{weights}.xml", "CPU", properties)
        return lambda mel: compiled(mel)[0]

    return load


SYSTEMS: dict[str, Callable[[Path, int], Encode]] = {
    "ours-float32": _ours("float32"),
    "ours-int8": _ours("int8"),
    "ctranslate2-float32": _ctranslate2("float32"),
    "ctranslate2-int8": _ctranslate2("int8"),
    "openvino-float32": _openvino("float", "f32"),
    "openvino-bfloat16": _openvino("float", "bf16"),
    "openvino-int8": _openvino("int8", "f32"),
    "openvino-int8-bfloat16": _openvino("int8", "bf16"),
}


def seconds(encode: Encode, n_mels: int, runs: int) -> list[float]:
    """Of each window, the first left out."""
    mel = np.random.default_rng(0).standard_normal((1, n_mels, N_FRAMES), dtype=np.float32)
    encode(mel)
    found = []
    for _ in range(runs):
        start = time.perf_counter()
        encode(mel)
        found.append(time.perf_counter() - start)
    return found


def table(result: dict[str, Any]) -> str:
    """Each size's systems, the quickest first."""
    machine = result["machine"]
    lines = [
        f"One window at a time; {machine['processor']}, {machine['threads']} threads.",
        "",
        "| model's shape | system | ms a window, median (least) | times as long as ours-int8 |",
        "| --- | --- | --- | --- |",
    ]
    for model, systems in result["models"].items():
        ours = median(systems["ours-int8"])
        for name, found in sorted(systems.items(), key=lambda item: median(item[1])):
            times = f"{1000 * median(found):.0f} ({1000 * min(found):.0f})"
            lines.append(f"| {model} | {name} | {times} | {median(found) / ours:.2f} |")
    return "\n".join(lines)


def main() -> None:
    """Do as the module's first lines say; prints JSON."""
    task, name, folder, *rest = sys.argv[1:]
    if task == "make":
        make(json.loads(name), Path(folder))
        return
    threads, n_mels, runs = map(int, rest)
    print(json.dumps(seconds(SYSTEMS[name](Path(folder), threads), n_mels, runs)))


if __name__ == "__main__":
    main()
