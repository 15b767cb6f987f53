"""Write tests/audio/data/vad_reference.json: faster-whisper's spans of speech for made-up probabilities.

Run with a copy of faster-whisper 1.2.1's vad.py: python scripts/reference/dump_vad_reference.py path/to/vad.py
"""

from __future__ import annotations

import importlib.util
import json
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np

OUT = Path(__file__).resolve().parents[2] / "tests" / "audio" / "data" / "vad_reference.json"
CHUNK = 512
CASES = 120


def load_vad(path: str) -> types.ModuleType:
    """faster-whisper's vad.py alone, without the rest of the package."""
    utils = types.ModuleType("faster_whisper.utils")
    utils.get_assets_path = lambda: ""  # type: ignore[attr-defined]
    sys.modules["faster_whisper.utils"] = utils
    spec = importlib.util.spec_from_file_location("peer_vad", path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"not a Python file: {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules["peer_vad"] = module
    spec.loader.exec_module(module)
    return module


def probabilities(rng: np.random.Generator) -> list[float]:
    """Stretches of speech, of silence and of neither."""
    pieces = [
        rng.choice([rng.uniform(0, 0.3), 0.42, rng.uniform(0.6, 1)]) + rng.normal(0, 0.08, rng.integers(1, 90))
        for _ in range(rng.integers(1, 12))
    ]
    return [round(float(each), 2) for each in np.concatenate(pieces).clip(0, 1)]


def options(rng: np.random.Generator) -> dict[str, float]:
    given = {
        "threshold": float(rng.choice([0.3, 0.5, 0.7])),
        "min_speech_duration_ms": int(rng.choice([0, 100, 250, 700])),
        "min_silence_duration_ms": int(rng.choice([0, 100, 160, 500, 2000])),
        "speech_pad_ms": int(rng.choice([0, 30, 77, 400])),
    }
    if rng.random() < 0.3:
        given["neg_threshold"] = 0.25
    if rng.random() < 0.6:
        given["max_speech_duration_s"] = float(rng.choice([1.0, 1.5, 3.0, 6.0]))
    return given


def main() -> None:
    vad: Any = load_vad(sys.argv[1])
    rng = np.random.default_rng(0)
    cases = []
    for _ in range(CASES):
        chunks, given = probabilities(rng), options(rng)
        n_samples = len(chunks) * CHUNK - int(rng.integers(1, CHUNK))
        vad.get_vad_model = lambda chunks=chunks: lambda _audio: np.array(chunks)
        spans = vad.get_speech_timestamps(np.zeros(n_samples, np.float32), vad.VadOptions(**given))
        cases.append(
            {
                "probabilities": chunks,
                "n_samples": n_samples,
                "options": given,
                "spans": [[span["start"], span["end"]] for span in spans],
            }
        )
    OUT.write_text(json.dumps(cases, separators=(",", ":")) + "\n")
    print(OUT, OUT.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
