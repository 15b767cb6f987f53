"""Our own graphs against the clock: stages by batch, throughput, and the latency of one stream."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from io import BytesIO
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from max.driver import CPU, Buffer, Device
from max.dtype import DType
from max.engine import InferenceSession, read
from numpy.typing import NDArray

from gpu_tools.modules import find_checks
from gpu_tools.random_model import tiled_tensors
from whisper_max.compile.store import find_module
from whisper_max.decode.device_contract import TokenMasks, WindowStart
from whisper_max.dims import ModelDimensions
from whisper_max.engine.batch import EncodedWindows
from whisper_max.engine.gpu.decoding import DeviceDecoding
from whisper_max.engine.gpu.memory import is_out_of_memory
from whisper_max.engine.runtime import Placement
from whisper_max.engine.weights import prepare_weights
from whisper_max.hardware.target import Target

PROMPT = (0, 1, 2, 3)  # as long as the start of a multilingual transcript
REPEATS = 5
Report = Callable[[str], object]


class Subject:
    """A model of random weights on a device; its speed is that of real ones, for no step depends on values.

    Args:
        dims, dtype, device: the model's.
        code: of its artifact.
        artifacts: where a host's are; a GPU's are looked for as ``load_model`` does.
        tensors: its weights; random where they don't matter.
    """

    def __init__(
        self,
        dims: ModelDimensions,
        dtype: DType,
        device: Device,
        code: str,
        artifacts: Path,
        tensors: Mapping[str, NDArray[np.float32]] | None = None,
    ) -> None:
        self.dims, self.place = dims, Placement(device, dtype)
        if device.is_host:
            module = find_checks(dims, dtype, code, artifacts)
        else:
            module, _ = find_module(dims, dtype, Target(device, dtype, dtype, (code,)), print)
        weights = prepare_weights(tensors or tiled_tensors(dims), dims, dtype, dtype, device)
        devices = [CPU()] if device.is_host else [CPU(), device]
        self.graphs = InferenceSession(devices=devices).init_all(read(BytesIO(module)), weights_registry=weights)
        self.rng = np.random.default_rng(1)

    def encode(self, mel: Buffer) -> Buffer:
        (xa,) = self.graphs["encode"].execute(mel)
        return xa

    def mel(self, n_windows: int) -> np.ndarray:
        shape = (n_windows, self.dims.n_mels, self.dims.n_frames)
        return self.rng.standard_normal(shape, dtype=np.float32)

    def batch(self, n_windows: int, report: Report, *, record: bool = True) -> DeviceDecoding:
        """Places for windows that never end by themselves."""
        never = np.zeros(self.dims.n_vocab, np.bool_)
        eot = self.dims.n_vocab - 1
        never[eot] = True
        masks = TokenMasks(never, np.zeros_like(never), eot, self.dims.n_vocab, 5)
        return DeviceDecoding(self.graphs, self.dims, self.place, masks, n_windows, record=record, report=report)

    def starts(self, n_windows: int, n_tokens: int) -> list[WindowStart]:
        draws = np.zeros((0, self.dims.n_text_ctx), np.float32)
        return [WindowStart(PROMPT, 0, n_tokens, 0, 0.0, draws)] * n_windows

    def wait(self) -> None:
        self.place.device.synchronize()


def seconds(subject: Subject, work: Callable[[], object], repeats: int = REPEATS) -> list[float]:
    """How long a piece of work takes, the device idle before and after; once more than that, unmeasured, first."""
    taken = []
    for turn in range(repeats + 1):
        subject.wait()
        start = time.perf_counter()
        work()
        subject.wait()
        if turn:
            taken.append(time.perf_counter() - start)
    return taken


def time_encoding(subject: Subject, groups: tuple[int, ...]) -> Iterator[dict[str, Any]]:
    """The encoder and cross-KV by group of windows, the mel on the device already."""
    dims = subject.dims
    head_dim = dims.n_text_state // dims.n_text_head
    for n_windows in groups:
        try:
            mel = subject.place.put(subject.mel(n_windows))
            xa = subject.encode(mel)
            shape = (n_windows, dims.n_text_head, dims.n_audio_ctx, head_dim)
            cross = [subject.place.zeros(shape) for _ in range(2 * dims.n_text_layer)]
            encode = seconds(subject, partial(subject.encode, mel))
            fill = seconds(subject, partial(subject.graphs["cross_kv"].execute, xa, *cross))
        except (RuntimeError, ValueError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            yield {"windows": n_windows, "error": "out of memory"}
            return
        yield {"windows": n_windows, "encode_s": encode, "cross_kv_s": fill}


def time_decoding(
    subject: Subject, batches: tuple[int, ...], n_tokens: int, group: int, report: Report, *, record: bool = True
) -> Iterator[dict[str, Any]]:
    """A step, and windows from mel to tokens, by batch; without ``record`` each step is launched anew."""
    for n_windows in batches:
        try:
            yield _time_batch(subject, n_windows, n_tokens, group, report, record)
        except (RuntimeError, ValueError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            yield {"windows": n_windows, "error": "out of memory"}
            return


def _time_batch(
    subject: Subject, n_windows: int, n_tokens: int, group: int, report: Report, record: bool
) -> dict[str, Any]:
    batch = subject.batch(n_windows, report, record=record)
    mel = subject.mel(min(group, n_windows))
    places = list(range(n_windows))
    steps: list[float] = []

    def transcribe() -> None:
        """Mel on the host to tokens on the host."""
        for first in range(0, n_windows, len(mel)):
            own = places[first : first + len(mel)]
            features = EncodedWindows(subject.encode(subject.place.put(mel))).select(range(len(own)))
            batch.start(own, features, subject.starts(len(own), n_tokens))
        subject.wait()
        start = time.perf_counter()
        done: list[int] = []
        while not done:
            batch.advance()
            done = batch.finished()
        subject.wait()
        steps.append((time.perf_counter() - start) / (n_tokens - 1))
        for place in done:
            batch.take(place)

    total = seconds(subject, transcribe, repeats=3)
    batch.close()
    return {"windows": n_windows, "tokens": n_tokens, "step_s": steps[1:], "total_s": total,
            "windows_per_s": n_windows / median(total)}  # fmt: skip


COLD_START = """
import time; start = time.perf_counter()
from whisper_max import load_model
load_model({model!r}, device={device!r}, offline=True)
print(time.perf_counter() - start)
"""


def cold_start(model: str, device: str) -> float:
    """Seconds from a new interpreter's first line to a loaded model, its artifact compiled before."""
    code = COLD_START.format(model=model, device=device)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def time_clip(model: str, device: str, clip: Path) -> dict[str, Any]:
    """A real model on a clip, audio in to text out."""
    from whisper_max import load_model

    loaded = load_model(model, device=device, offline=True)
    taken = []
    for turn in range(REPEATS + 1):
        start = time.perf_counter()
        text = loaded.transcribe(clip, language="en", temperature=0.0).text
        if turn:
            taken.append(time.perf_counter() - start)
    return {"seconds": taken, "text": text}
