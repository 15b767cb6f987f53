"""openai-whisper's transcripts, in an environment of its own: ``python -m benchmarks.peer_texts MODEL THREADS``.

Each line of standard input is a job: ``{"audio": path of an .npy with 16 kHz mono float32, "options": {...}}``; each
gets a line of JSON with the text and the seconds that it took. The first line out names the versions.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
import time
from typing import Any

import numpy as np


def main() -> None:
    import torch
    from reference_model import load_reference

    name, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    model = load_reference(name)[0]
    answer({package: importlib.metadata.version(package) for package in ("openai-whisper", "torch")})
    for line in sys.stdin:
        job = json.loads(line)
        torch.manual_seed(0)
        start = time.perf_counter()
        result = model.transcribe(np.load(job["audio"]), fp16=False, **job["options"])
        answer({"text": result["text"], "elapsed": time.perf_counter() - start})


def answer(values: dict[str, Any]) -> None:
    print(json.dumps(values), flush=True)


if __name__ == "__main__":
    main()
