"""Every published size with random weights, through the graphs that ship, against the formulas in NumPy and float64.

    python -m scripts.checks.published_shapes --models medium distil-large-v3

A window is encoded, a prompt prefilled and a token stepped. Weights of another size than base are not on most
machines that develop this, and their artifacts differ in width, heads, layers and mel bins, so this is where a wrong
one shows. Large ones take minutes and 16 GB.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from tests.support.numpy_whisper import NumpyWhisper, random_tensors
from whisper_max.checkpoint import Checkpoint, Tensors, Vocabulary
from whisper_max.checkpoint.published import MODELS
from whisper_max.checkpoint.vocabulary import Tokens
from whisper_max.dims import ModelDimensions
from whisper_max.engine import WhisperEngine, select_target

PROMPT = [7, 1000, 3, 40000]
TOKEN = 99
TOLERANCES = {"float32": 2e-5, "int8": 0.06}
"""Relative, by compute type: 32 layers of float32, or of int8 products with float16 caches, against float64."""


def errors(dims: ModelDimensions, compute_types: Sequence[str], seed: int = 0) -> dict[str, dict[str, float]]:
    """The relative error of each stage by compute type: ``ln_post``, ``prefill`` and ``step``.

    The weights are float16 numbers, as published ones are, so that both sides have the same.
    """
    drawn = random_tensors(dims, seed)
    tensors = {name: tensor.astype(np.float16).astype(np.float32) for name, tensor in drawn.items()}
    mel = np.random.default_rng(seed + 1).standard_normal((1, dims.n_mels, dims.n_frames), dtype=np.float32)
    reference = NumpyWhisper(dims, tensors)
    xa = reference.stages(mel[0])["ln_post"]
    logits, _ = reference.decode([*PROMPT, TOKEN], xa)
    theirs = (xa, logits[-2], logits[-1])
    return {
        compute_type: {
            stage: relative(ours, its)
            for (stage, ours), its in zip(_stages(dims, tensors, compute_type, mel).items(), theirs, strict=True)
        }
        for compute_type in compute_types
    }


def _stages(
    dims: ModelDimensions, tensors: dict[str, NDArray[np.float32]], compute_type: str, mel: NDArray[np.float32]
) -> dict[str, NDArray[np.float32]]:
    read = cast("Tensors", tensors)  # of which only a mapping is asked
    checkpoint = Checkpoint(dims, read, Vocabulary(Tokens.of([]), {}), (), "safetensors", Path("random"), None, None, 0)
    engine = WhisperEngine(checkpoint, select_target("cpu", compute_type), print)
    features = engine.encode(mel)
    batch = engine.new_batch(1)
    batch.put([0], features)
    prefilled = batch.prefill([0], [PROMPT], [[-1]])[0, 0]
    return {
        "ln_post": features.xa.to_numpy()[0],
        "prefill": prefilled,
        "step": batch.step(np.array([TOKEN], np.int32))[0],
    }


def relative(ours: NDArray[Any], theirs: NDArray[Any]) -> float:
    """How far ours is from theirs, as a share of theirs."""
    return float(np.linalg.norm(ours.astype(np.float64) - theirs) / np.linalg.norm(theirs))


def main() -> int:
    """Compare the sizes asked for and print a line for each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS), metavar="NAME")
    parser.add_argument("--compute_types", nargs="+", choices=TOLERANCES, default=list(TOLERANCES), metavar="TYPE")
    args = parser.parse_args()
    sizes = {MODELS[name].dims: name for name in reversed(args.models)}  # of the same size the first one named
    failed = False
    for dims, name in reversed(sizes.items()):
        start = time.monotonic()
        for compute_type, found in errors(dims, args.compute_types).items():
            far = max(found.values()) > TOLERANCES[compute_type]
            failed |= far
            stages = ", ".join(f"{stage} {error:.1e}" for stage, error in found.items())
            print(f"{name} {compute_type}: {stages}{' TOO FAR' if far else ''}", flush=True)
        print(f"    {time.monotonic() - start:.0f} s", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
