"""Runs of tiers: each starts a process, reads what it tells, and notes how far it is."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from whisper_max.audio.waveform import SAMPLE_RATE, Waveform
from whisper_max.checkpoint import Checkpoint, read_checkpoint, resolve, resolve_adapter
from whisper_max.checkpoint.layout import LOGITS
from whisper_max.checkpoint.lora import merge_adapters
from whisper_max.checkpoint.published import ALIASES, MODELS
from whisper_max.compile.bundle import read_bundle
from whisper_max.errors import OutputError
from whisper_max.hardware.cores import usable_cores
from whisper_max.measure.demo.differences import Part, parts
from whisper_max.measure.demo.tiers import Tier

WAITING, STARTING, DONE, SKIPPED, FAILED = "waiting", "starting", "done", "skipped", "failed"
_ENDS = (DONE, SKIPPED, FAILED)
_REFERENCE_CHILD = Path(__file__).with_name("reference_child.py")
_OURS = "whisper_max.measure.demo.child"
_PUBLISHED_VOCABULARIES = (51864, 51865, 51866)
_BLOCK = 10 * 60 * SAMPLE_RATE  # samples that are copied at once


@dataclass
class Run:
    """A tier's run, as it goes on; times in seconds, memory in bytes.

    stage: "waiting", "starting", "loading", "transcribing", "done", "skipped" or "failed". note: what of it is slow, or
    why it was skipped or failed. target: where it runs and by what, in words. position: seconds of the recording that
    are done. words: said so far. began: when the transcription did, by ``time.perf_counter``. load, transcribe, first:
    how long loading and transcribing took, and until the first words. peak: of the process's memory.
    """

    tier: Tier
    duration: float
    stage: str = WAITING
    note: str = ""
    target: str | None = None
    position: float = 0.0
    words: list[str] = field(default_factory=list)
    began: float | None = None
    load: float | None = None
    transcribe: float | None = None
    first: float | None = None
    peak: int | None = None
    process: subprocess.Popen[str] | None = field(default=None, repr=False)

    @property
    def ended(self) -> bool:
        """True when nothing more will happen."""
        return self.stage in _ENDS

    @property
    def speed(self) -> float | None:
        """Seconds of the recording in a second: of the whole run, or so far."""
        if self.transcribe is not None:
            return self.duration / self.transcribe if self.transcribe else None
        if self.began is None or not self.position:
            return None
        return self.position / max(time.perf_counter() - self.began, 1e-3)

    def memory(self) -> int | None:
        """Bytes that its process holds now, or held at most once it has ended; None where the system doesn't say."""
        if self.peak is not None or self.process is None:
            return self.peak
        return resident(self.process.pid, "VmRSS")

    def to_dict(self) -> dict[str, Any]:
        """The run by name, JSON-serialisable."""
        names = ("stage", "note", "target", "load", "transcribe", "first", "peak")
        values = {name: getattr(self, name) for name in names}
        ended = self.stage == DONE
        return {**asdict(self.tier), **values, "speed": self.speed if ended else None, "text": " ".join(self.words)}


def resident(pid: int, what: str) -> int | None:
    """A process's memory, in bytes, as Linux tells it. what: "VmRSS" now, "VmHWM" at most so far."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    found = re.search(rf"^{what}:\s+(\d+) kB", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else None


@dataclass(frozen=True)
class Job:
    """What all tiers are given.

    samples: a file of float32 at 16 kHz. model: the arguments of ``load_model`` but for device and compute type.
    options: of the transcription, which all know. python: the interpreter that has openai-whisper, or None.
    weights: the folder of ``write_weights``. dims: of the model. no_reference: why openai-whisper can't run it.
    """

    samples: Path
    model: dict[str, Any]
    options: dict[str, Any]
    python: Path | None = None
    weights: Path | None = None
    dims: dict[str, int] | None = None
    no_reference: str | None = None

    def command(self, tier: Tier) -> list[str]:
        """How a tier's process is started."""
        common = {"samples": str(self.samples), "options": self.options}
        if tier.reference:
            threads = self.model.get("threads") or usable_cores()
            own = {"device": tier.device, "threads": threads, "dims": self.dims, "weights": str(self.weights)}
            return [str(self.python), str(_REFERENCE_CHILD), json.dumps({**common, **own})]
        model = {**self.model, "device": tier.device, "compute_type": tier.compute_type}
        batches = {"batch_size": tier.batch_size} if tier.batch_size > 1 else {}
        options = {**self.options, **batches}
        return [sys.executable, "-m", _OURS, json.dumps({**common, "model": model, "options": options})]


def write_samples(waveform: Waveform, path: Path) -> None:
    """The samples of a recording as a file of float32.

    Raises:
        OutputError: there is no room.
    """
    try:
        with path.open("wb") as file:
            for start in range(0, waveform.n_samples, _BLOCK):
                file.write(waveform.read(start, min(start + _BLOCK, waveform.n_samples)).tobytes())
    except OSError as error:
        raise OutputError("no room for samples", where=path.parent, found=error.strerror or error) from error


def checkpoint_of(model: dict[str, Any]) -> Checkpoint:
    """The checkpoint that ``load_model`` would read for these arguments, adapters merged.

    Raises:
        WhisperMaxError: as ``load_model``.
    """
    name = model["model"]
    folder = Path(model["weights_dir"]) if model.get("weights_dir") else None
    bundle = None if name in (*MODELS, *ALIASES) else read_bundle(name)
    offline = model.get("offline", False)
    found = read_checkpoint(bundle.files() if bundle else resolve(name, offline=offline, weights_dir=folder))
    adapters = [resolve_adapter(each, offline=offline) for each in model.get("lora") or ()]
    return replace(found, tensors=merge_adapters(found.tensors, adapters, found.dims))


def why_no_reference(checkpoint: Checkpoint) -> str | None:
    """Why openai-whisper can't run a checkpoint, or None."""
    if checkpoint.dims.n_vocab not in _PUBLISHED_VOCABULARIES or checkpoint.vocabulary.words:
        return "openai-whisper knows the published vocabularies only"
    if LOGITS in checkpoint.tensors:
        return "openai-whisper knows no logits that are made by a matrix of their own"
    return None


def write_weights(checkpoint: Checkpoint, folder: Path) -> None:
    """The state dict as one ``.npy`` a tensor, in openai-whisper's names; float16 where that holds a tensor exactly.

    Raises:
        OutputError: there is no room.
        CheckpointError: a tensor can't be read.
    """
    try:
        for name in checkpoint.tensors:
            tensor = checkpoint.tensors[name]
            with np.errstate(over="ignore"):
                half = tensor.astype(np.float16)
            np.save(folder / f"{name}.npy", half if np.array_equal(half, tensor) else tensor)
    except OSError as error:
        raise OutputError("no room for weights", where=folder, found=error.strerror or error) from error


def go(run: Run, job: Job) -> None:
    """Run a tier to its end; whatever happens is noted in ``run``."""
    if run.tier.reference:
        reason = job.no_reference or (
            None if job.python else "no environment with openai-whisper; name it: --reference"
        )
        if reason is not None:
            run.stage, run.note = SKIPPED, reason
            return
    run.stage = STARTING
    with tempfile.TemporaryFile("w+") as errors:
        try:
            process = subprocess.Popen(
                job.command(run.tier),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                encoding="utf-8",
                env={**os.environ, "PYTHONIOENCODING": "utf-8"},
            )
        except OSError as error:
            run.stage, run.note = FAILED, str(error.strerror or error)
            return
        run.process = process
        try:
            for line in process.stdout or ():
                _take(run, line)
                if run.ended:
                    break
        finally:
            if not run.ended:
                process.kill()
            process.communicate()
        if not run.ended:
            errors.seek(0)
            last = [line for line in errors.read().splitlines() if line.strip()][-1:]
            run.stage, run.note = FAILED, " ".join([*last, f"(exit status {process.returncode})"])


def _take(run: Run, line: str) -> None:
    """Note an event; a line that is none was printed by a library, and says nothing."""
    try:
        event: dict[str, Any] = json.loads(line)
    except ValueError:
        return
    if not isinstance(event, dict):
        return
    run.note = str(event.get("note", run.note))
    run.target = event.get("target", run.target)
    if "stage" in event:
        run.stage, run.note = event["stage"], ""
        run.began = time.perf_counter() if run.stage == "transcribing" else None
    if "segment" in event:
        run.words += event["segment"].split()
    run.position = min(max(run.position, event.get("progress", 0.0)), run.duration)
    if "missing" in event:
        run.stage, run.note = SKIPPED, event["missing"]
    if "done" in event:
        done = event["done"]
        run.load, run.transcribe, run.first = done["load"], done["transcribe"], done["first"]
        run.words, run.position = done["text"].split(), run.duration
        run.peak = resident(run.process.pid, "VmHWM") if run.process is not None else None
        run.stage = DONE


def compared_with(runs: Sequence[Run]) -> Run | None:
    """The run that the others are compared with: the first that is done, of which openai-whisper's come first."""
    return next((run for run in runs if run.stage == DONE), None)


def alignments(runs: Sequence[Run]) -> dict[str, list[Part]]:
    """The words of each other run that is done, aligned with those that they are compared with, by the tier's name."""
    first = compared_with(runs)
    others = [run for run in runs if run.stage == DONE and run is not first]
    return {} if first is None else {run.tier.name: parts(first.words, run.words) for run in others}
