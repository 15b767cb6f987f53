"""The smallest graph that shows whether MAX compiles and runs here: an encoder of one block."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO

from max.driver import CPU
from max.engine import InferenceSession, read

from whisper_max.compile.compiler import compile_module
from whisper_max.compile.store import Report, reporting
from whisper_max.decode.contract import Float32
from whisper_max.dims import ModelDimensions
from whisper_max.engine.runtime import Placement
from whisper_max.engine.stages import floats
from whisper_max.engine.storage import PUBLISHED_STORAGE
from whisper_max.engine.weights import prepare_weights
from whisper_max.errors import ArtifactError
from whisper_max.hardware.target import Target

ONE_BLOCK = ModelDimensions(
    n_mels=80,
    n_audio_ctx=64,
    n_audio_state=128,
    n_audio_head=2,
    n_audio_layer=1,
    n_vocab=64,
    n_text_ctx=16,
    n_text_state=128,
    n_text_head=2,
    n_text_layer=1,
)
"""One block of heads 64 wide, as all published models have."""


@dataclass(frozen=True)
class Ran:
    """What a graph gave, and how long it took.

    xa: (1, n_audio_ctx, n_audio_state) float32. compiling, running: seconds, running once warm.
    """

    xa: Float32
    compiling: float
    running: float


def compile_and_run(tensors: Mapping[str, Float32], mel: Float32, target: Target, report: Report) -> Ran:
    """Compile the graph ``encode`` of ``ONE_BLOCK``, always anew, and run it on a device.

    Args:
        tensors: a state dict of these dimensions.
        mel: (1, n_mels, n_frames) float32.
        target: where and in which dtype.
        report: called with a line for people while it compiles.

    Raises:
        ArtifactError: no compiler is installed, or the graph can't be compiled, loaded or run.
    """
    storage = target.storage or PUBLISHED_STORAGE
    begin = time.perf_counter()
    report(f"compiling one block in {target.dtype.name} on {storage.name} for {target.code}")
    with reporting(report):
        module = compile_module(ONE_BLOCK, target.dtype, storage, target.code, ["encode"])
    compiled = time.perf_counter()
    weights = prepare_weights(tensors, ONE_BLOCK, target.dtype, storage, target.device)
    placement = Placement(target.device, target.dtype)
    devices = [CPU()] if target.is_cpu else [CPU(), target.device]
    try:
        graph = InferenceSession(devices=devices).init_all(read(BytesIO(module)), weights_registry=weights)["encode"]
        graph.execute(placement.put(mel))
        start = time.perf_counter()
        (xa,) = graph.execute(placement.put(mel))
        values = floats(placement, xa)
    except (RuntimeError, ValueError) as error:
        raise ArtifactError("the compiled graph can't be run", where=target.code, found=error) from error
    return Ran(values, compiled - begin, time.perf_counter() - start)
