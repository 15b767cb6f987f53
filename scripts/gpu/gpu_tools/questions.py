"""The questions of a GPU's first run, each a function that yields what it finds as soon as it is known.

``python -m gpu_tools.questions NAME KIT --results FILE`` puts one; ``gpu_first_run.py`` does so for all, each in a
process of its own. ``--device cpu`` is a rehearsal: real models by the CPU's artifacts, and what only a GPU's graphs
have by those of ``tiny-shape``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, cast

import numpy as np
from gpu_first_run import STOP
from max.driver import CPU, Accelerator, accelerator_count
from max.dtype import DType
from max.engine import Model as Graph
from numpy.typing import NDArray

from gpu_tools import peers
from gpu_tools.modules import checks_artifact
from gpu_tools.random_model import random_tensors
from gpu_tools.sizes import dims_of
from gpu_tools.smallest import check_smallest
from gpu_tools.timing import Subject, seconds, time_decoding, time_encoding
from gpu_tools.variants import architectures, fitting, form_of, keys_of
from gpu_tools.whole import Heard, compare_heard, hear, load_on
from whisper_max.api import Model
from whisper_max.checkpoint.installed import installed_files
from whisper_max.engine import WhisperEngine
from whisper_max.errors import DeviceError, WhisperMaxError
from whisper_max.hardware.gpu_record import DRIVER
from whisper_max.hardware.processors import cpu_codes
from whisper_max.hardware.target import Target
from whisper_max.measure.verify import Comparison, Reference, read_reference, verify

Tensors = Mapping[str, NDArray[np.float32]]
FAILURES = (RuntimeError, ValueError, KeyError, MemoryError, WhisperMaxError)
"""What a form of a model may end with while the others are still asked."""
LEAST_FREE = 8 << 30
"""Bytes of a GPU's memory that the first run needs."""
STAGE_TOLERANCE = {"float32": 5.0, "bfloat16": 500.0}
"""By dtype, how many times the tolerance of float32 on a CPU a stage may have: up to about the check's limits."""


@dataclass(frozen=True)
class Finding:
    """One answer. passed: None where it could not be asked. figures: as measured."""

    what: str
    answer: str
    passed: bool | None = True
    figures: Any = None


@dataclass(frozen=True)
class Scale:
    """How much is asked.

    smallest, timed, large: sizes, whose weights are random. groups, batches: numbers of windows. tokens: of a window.
    """

    dtypes: tuple[str, ...]
    clips: int
    smallest: str
    timed: str
    groups: tuple[int, ...]
    batches: tuple[int, ...]
    tokens: int
    large: tuple[str, ...]


SCALES = {
    "gpu": Scale(
        ("bfloat16", "float32"), 40, "tiny.en", "base", (1, 8, 32), (8, 64, 256), 64, ("large-v3-turbo", "large-v3")
    ),
    "cpu": Scale(("float32",), 6, "tiny-shape", "tiny-shape", (1, 2), (2, 4), 24, ("tiny-shape",)),
}
MODELS = ("tiny.en", "base")


class Missing(Exception):
    """What a question needs and the kit, or the host, has not."""


@dataclass(frozen=True)
class Form:
    """One compiled form of a size's graphs. label: "base bfloat16 fast"."""

    size: str
    label: str
    target: Target
    artifacts: Path

    def model(self) -> Model:
        """The real model.

        Raises:
            Missing: its weights are not in the kit.
        """
        if installed_files(self.size) is None:
            raise Missing("its weights are not in the kit")
        loaded: Model = load_on(self.size, self.target, None, offline=True)
        return loaded

    def engine(self) -> WhisperEngine:
        return cast(WhisperEngine, self.model().inference)

    def subject(self, tensors: Tensors | None = None) -> Subject:
        """A model of random weights, or of these.

        Raises:
            Missing: a rehearsal's graphs are not in the kit.
        """
        target = self.target
        if (
            target.is_cpu
            and not checks_artifact(dims_of(self.size), target.dtype, target.codes[0], self.artifacts).exists()
        ):
            raise Missing("no artifact in the kit")
        return Subject(dims_of(self.size), target.dtype, target.device, target.codes[0], self.artifacts, tensors)


@dataclass(frozen=True)
class Ground:
    """Where questions are put: an installed kit, and a kind of device."""

    kit: Path
    kind: str

    @property
    def scale(self) -> Scale:
        return SCALES[self.kind]

    @property
    def artifacts(self) -> Path:
        return self.kit / "artifacts"

    def forms(self, size: str) -> list[Form]:
        """The forms in which a size's graphs are in the kit.

        Raises:
            Missing: in none.
            DeviceError: the kit is for another GPU.
        """
        if self.kind == "cpu":
            made_up = (f"cpu:native-{platform.machine()}",)
            target = Target(CPU(), DType.float32, None, cpu_codes() if size in MODELS else made_up)
            return [Form(size, f"{size} float32 on the CPU", target, self.artifacts)]
        device = Accelerator(0)
        architecture = fitting(device.architecture_name, architectures(self.artifacts))
        found = [
            Form(
                size, f"{size} {key.dtype.name} {form_of(key.code)}",
                Target(device, key.dtype, key.dtype, (key.code,)), self.artifacts,
            )
            for key in keys_of(dims_of(size), architecture, self.artifacts)
            if key.dtype.name in self.scale.dtypes
        ]  # fmt: skip
        if not found:
            raise Missing(f"{size}: no artifact in the kit")
        return found


def card(ground: Ground) -> Iterator[Finding]:
    """Whether there is a GPU, free, that MAX takes and that the artifacts are for.

    Raises:
        DeviceError: there is none, or the artifacts are for another.
    """
    made_of = json.loads((ground.kit / "kit.json").read_text(encoding="utf-8"))["made_of"]
    yield Finding("kit", ", ".join(f"{name} {value}" for name, value in made_of.items()))
    if ground.kind == "cpu":
        yield Finding("", f"a rehearsal on the CPU, {platform.machine()}")
        return
    smi = nvidia_smi("--query-gpu=name,driver_version,memory.total,memory.used,utilization.gpu")
    driver = smi or (DRIVER.read_text().splitlines()[0] if DRIVER.exists() else "")
    if accelerator_count() == 0 and not driver:
        raise DeviceError("no NVIDIA driver", where="this host", hint="take a host with a GPU")
    yield Finding("driver", driver or "says nothing of itself")
    if accelerator_count() == 0:
        hint = "MAX 26.7 needs driver 580 or newer (log.txt has its own words); CUDA_VISIBLE_DEVICES may hide a card"
        raise DeviceError("MAX finds no GPU", where="this host", found=driver, hint=hint)
    try:
        device = Accelerator(0)
        usable, name, free = device.is_compatible, device.architecture_name, device.stats.get("free_memory")
    except (RuntimeError, ValueError) as error:
        hint = "a newer driver, or a card that nobody else holds, may do"
        raise DeviceError("MAX can't use the GPU", where="this host", found=error, hint=hint) from error
    fit = fitting(name, architectures(ground.artifacts))
    yield Finding("architecture", f"{name}, artifacts for {fit}")
    if not usable:
        yield Finding("MAX", "says that it doesn't support this GPU: take an H100 or H200", passed=False)
    if free is not None and free < LEAST_FREE:
        answer = f"{free / 2**30:.1f} GiB free of the 8 that are needed: end the programs that hold it"
        yield Finding("memory", answer, passed=False)
    else:
        yield Finding("memory", "unknown" if free is None else f"{free / 2**30:.1f} GiB free")
    if users := nvidia_smi("--query-compute-apps=pid,process_name,used_memory"):
        yield Finding("in use", f"by {users}: end them, or no time counts")


def nvidia_smi(query: str) -> str:
    """What nvidia-smi answers, in one line; nothing where it can't."""
    try:
        command = ["nvidia-smi", query, "--format=csv,noheader"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return "; ".join(done.stdout.split("\n")).strip("; ") if done.returncode == 0 else ""


def load(ground: Ground) -> Iterator[Finding]:
    """Every artifact of a real model, with its weights."""

    def ask(form: Form) -> Iterator[Finding]:
        start = time.perf_counter()
        engine = form.engine()
        yield Finding("", f"{time.perf_counter() - start:.1f} s, {engine.code}")

    for model in MODELS:
        yield from each_form(ground, model, ask)


def smallest(ground: Ground) -> Iterator[Finding]:
    """The smallest graphs against NumPy."""

    def ask(form: Form) -> Iterator[Finding]:
        tensors = random_tensors(dims_of(form.size), form.target.dtype, np.random.default_rng(0))
        for each in check_smallest(form.subject(tensors), tensors, form.target.dtype):
            answer = f"error {each.error:.1e} of {each.tolerance:g}"
            yield Finding(f"{each.name} ({each.shape})", answer, each.passed)

    yield from each_form(ground, ground.scale.smallest, ask)


def replay(ground: Ground) -> Iterator[Finding]:
    """Recording a step and a choice, MAX's own verification of it, and the values of a replay."""
    yield from each_form(ground, ground.scale.smallest, lambda form: record(form.subject()))


def record(subject: Subject) -> Iterator[Finding]:
    """Capture, verify and replay the graphs of a token."""
    batch = subject.batch(1, print, record=False)
    logits = batch._step.outputs[0]
    inputs = {
        "step": (subject.graphs["step"], batch._step._inputs),
        "choose": (subject.graphs["choose"], batch._choose_inputs(logits, slice(0, 1))),
    }
    if subject.place.device.is_host:
        yield Finding("", "a host records no launches", passed=None)
        return

    def set_token(token: int) -> None:
        batch._set(batch._state["tokens"], np.array([token], np.int32))

    for name, (graph, buffers) in inputs.items():
        yield from record_one(name, graph, buffers, subject, set_token)


def record_one(
    name: str, graph: Graph, buffers: Sequence[Any], subject: Subject, set_token: Callable[[int], None]
) -> Iterator[Finding]:
    """Each of the three in turn; the next is tried where one before it is refused.

    A step is recorded with one token and replayed with another, so that a replay that does nothing shows.
    """
    place, key = subject.place, 9_000
    set_token(7)
    expected = place.get(graph.execute(*buffers)[0]).copy()
    set_token(3)
    outputs: list[Any] = []
    for what, work in (
        ("capture", lambda: outputs.extend(graph.capture(key, *buffers))),
        ("debug_verify_replay", lambda: graph.debug_verify_replay(key, *buffers)),
        ("replay", lambda: graph.replay(key, *buffers)),
        ("replay once it is instantiated", lambda: (graph._await_device_graphs(), graph.replay(key, *buffers))),
    ):
        try:
            work()
            subject.wait()
            set_token(7)
        except FAILURES as error:
            yield failed(f"{name}: {what}", error)
            if what == "capture":
                return
            continue
        yield Finding(f"{name}: {what}", "accepted")
    if name == "step":  # a choice changes what it read
        same = np.array_equal(place.get(outputs[0]), expected)
        yield Finding(f"{name}: the replay's logits", "those of a launch" if same else "differ", passed=same)
    outputs.clear()
    graph.release_captured_graph(key)


def parity(ground: Ground) -> Iterator[Finding]:
    """Every stage of the real models against openai-whisper's, and the worst of them."""
    for model in MODELS:
        reference = read_reference(ground.kit / "source" / "tests" / "reference" / model)

        def ask(form: Form, reference: Reference = reference) -> Iterator[Finding]:
            yield worst(list(verify(form.engine(), reference)), STAGE_TOLERANCE[form.target.dtype.name])

        yield from each_form(ground, model, ask)


def worst(found: Sequence[Comparison], times: float) -> Finding:
    """The stages of a model in one line: how many are right, and the first that is not, or the worst."""
    wrong = [each for each in found if not each.error <= times * each.tolerance]
    named = wrong[0] if wrong else max(found, key=lambda each: each.error / each.tolerance)
    kind = "first wrong" if wrong else "worst"
    answer = f"{len(found) - len(wrong)} of {len(found)} stages within {times:g} times the CPU's tolerance, {kind} "
    answer += f"{named.stage} {named.error:.1e} (CPU {named.tolerance:.0e})"
    return Finding("", answer, not wrong, [asdict(each) for each in found])


def tokens(ground: Ground) -> Iterator[Finding]:
    """The clips' tokens against those that the CPU gave before the kit was packed, in the best form of each dtype."""
    said = json.loads((ground.kit / "clips" / "clips.json").read_text(encoding="utf-8"))
    with np.load(ground.kit / "clips" / "clips.npz") as stored:
        n_clips = min(ground.scale.clips, len(said["clips"]))
        samples = [samples_of(stored[f"clip{number}"]) for number in range(n_clips)]
    truths = [clip["text"] for clip in said["clips"][:n_clips]]
    for model, heard in said["heard"].items():
        expected = [Heard(**each) for each in heard[:n_clips]]

        def ask(form: Form, expected: Sequence[Heard] = expected) -> Iterator[Finding]:
            loaded = form.model()
            start = time.perf_counter()
            found = [hear(loaded, each) for each in samples]
            taken = time.perf_counter() - start
            results = compare_heard(form.label, form.target.dtype.name, truths, expected, found)
            said = ", ".join(f"{each.name.partition(': ')[2]} {each.error:.2g}" for each in results)
            answer = f"{len(found)} clips in {taken:.1f} s, {said}"
            yield Finding("", answer, all(each.passed for each in results), [asdict(each) for each in found])
            start = time.perf_counter()
            outcomes = loaded.transcribe_many(samples, batch_size=8, language="en", temperature=0.0)
            texts = {each.index: each.value().text for each in outcomes}
            taken = time.perf_counter() - start
            differing = sum(texts.get(number) != each.text for number, each in enumerate(found))
            yield Finding("8 side by side", f"{taken:.1f} s, {differing} texts differ from those alone", differing == 0)

        yield from each_form(ground, model, ask, best_by_dtype)


def samples_of(stored: NDArray[np.int16]) -> NDArray[np.float32]:
    """(n_samples,) float32 at 16 kHz of what a kit stores."""
    samples: NDArray[np.float32] = stored.astype(np.float32) / np.float32(32768)
    return samples


def latency(ground: Ground) -> Iterator[Finding]:
    """A token of one stream, with replays and with launches."""
    scale = ground.scale
    yield from each_form(ground, scale.timed, lambda form: time_token(form.subject(), scale.tokens))


def time_token(subject: Subject, n_tokens: int) -> Iterator[Finding]:
    said: list[str] = []
    for record in (True, False):
        (row,) = time_decoding(subject, (1,), n_tokens, 1, said.append, record=record)
        if record and subject.place.device.is_host:
            yield Finding("replayed", "a host records no launches", passed=None)
        elif record and said:
            yield Finding("replayed", said[0], passed=False)
        else:
            yield row_of(
                "replayed" if record else "launched", row, lambda row: f"{1000 * median(row['step_s']):.3g} ms"
            )


def encoder(ground: Ground) -> Iterator[Finding]:
    """The encoder and cross-KV by windows together."""
    scale = ground.scale
    yield from each_form(ground, scale.timed, lambda form: time_encoder(form.subject(), scale.groups))


def time_encoder(subject: Subject, groups: tuple[int, ...]) -> Iterator[Finding]:
    def said(row: dict[str, Any]) -> str:
        encode, fill = (1000 * median(row[name]) / row["windows"] for name in ("encode_s", "cross_kv_s"))
        return f"{encode:.3g} ms a window, cross-KV {fill:.3g}"

    for row in time_encoding(subject, groups):
        yield row_of(f"{row['windows']} windows", row, said)


def throughput(ground: Ground) -> Iterator[Finding]:
    """Windows from mel to tokens by batch, and what memory is left, in the best form."""
    scale = ground.scale
    yield from each_form(ground, scale.timed, lambda form: time_batches(form.subject(), scale), best)


def time_batches(subject: Subject, scale: Scale, most: int | None = None) -> Iterator[Finding]:
    group = max(scale.groups)
    for row in time_decoding(subject, scale.batches[:most], scale.tokens, group, print):
        n = row["windows"]
        free = subject.place.device.stats.get("free_memory", 0) / 2**30
        yield row_of(f"batch {n}", {**row, "free_gib": free}, lambda row: (
            f"{row['windows_per_s']:.3g} windows/s, {1000 * median(row['step_s']):.3g} ms a step, "
            f"{row['free_gib']:.1f} GiB free"
        ))  # fmt: skip


def peer(ground: Ground) -> Iterator[Finding]:
    """The same size by PyTorch, in this very run: as it comes, then compiled."""
    device, scale = ("cpu" if ground.kind == "cpu" else "cuda"), ground.scale
    dims, n_windows = dims_of(scale.timed), scale.batches[min(1, len(scale.batches) - 1)]
    wanted = (dims, device, n_windows, scale.tokens)
    measures: dict[str, Callable[[], dict[str, Any]]] = {
        "transformers": partial(peers.time_transformers, *wanted, compiled=False),
        "openai-whisper": partial(peers.time_openai_whisper, *wanted),
        "transformers, compiled": partial(peers.time_transformers, *wanted),
    }
    for name, measure in measures.items():
        if (lacking := peers.missing(name.partition(",")[0])) is not None:
            yield Finding(name, lacking, passed=None)
            continue
        try:
            row = measure()
        except (*FAILURES, TypeError, AttributeError, ImportError) as error:
            yield failed(name, error)
            continue
        answer = f"{row['ms_per_token']:.3g} ms a token, {row['windows_per_s']:.3g} windows/s at batch {n_windows}"
        yield Finding(f"{scale.timed}, {name}", answer, figures=row)


def large(ground: Ground) -> Iterator[Finding]:
    """Large models of random weights at a fixed number of tokens, in the best form."""
    for size in ground.scale.large:
        yield from each_form(ground, size, lambda form: time_large(form.subject(), ground.scale), best)


def time_large(subject: Subject, scale: Scale) -> Iterator[Finding]:
    mel = subject.place.put(subject.mel(1))
    encode = seconds(subject, lambda: subject.encode(mel), repeats=3)
    yield Finding("encoder", f"{1000 * median(encode):.3g} ms a window", figures=encode)
    yield from time_token(subject, scale.tokens)
    yield from time_batches(subject, scale, most=2)


def best(forms: Sequence[Form]) -> Sequence[Form]:
    """The first one only."""
    return forms[:1]


def best_by_dtype(forms: Sequence[Form]) -> Sequence[Form]:
    """The first one of each dtype."""
    return list({form.target.dtype: form for form in reversed(forms)}.values())[::-1]


def each_form(
    ground: Ground,
    size: str,
    ask: Callable[[Form], Iterator[Finding]],
    choose: Callable[[Sequence[Form]], Sequence[Form]] = list,
) -> Iterator[Finding]:
    """What the forms of a size, or those that ``choose`` picks, give; one that fails doesn't end the others."""
    try:
        forms = choose(ground.forms(size))
    except Missing as error:
        yield Finding("", str(error), passed=None)
        return
    for form in forms:
        try:
            for found in ask(form):
                yield replace(found, what=", ".join(filter(None, (form.label, found.what))))
        except Missing as error:
            yield Finding(form.label, str(error), passed=None)
        except FAILURES as error:
            yield failed(form.label, error)


def row_of(what: str, row: dict[str, Any], said: Callable[[dict[str, Any]], str]) -> Finding:
    """A row of figures, or that memory ran out."""
    return Finding(what, row["error"], False, row) if "error" in row else Finding(what, said(row), True, row)


def failed(label: str, error: Exception) -> Finding:
    return Finding(label, f"failed: {' '.join(str(error).split())[:300] or type(error).__name__}", passed=False)


QUESTIONS = {
    each.__name__: each
    for each in (card, load, smallest, replay, parity, tokens, latency, encoder, throughput, peer, large)
}


def main(argv: Sequence[str] | None = None) -> int:
    """The child's side: put one question and append its findings to the results."""
    parser = argparse.ArgumentParser(prog="python -m gpu_tools.questions")
    parser.add_argument("name", choices=QUESTIONS)
    parser.add_argument("kit", type=Path)
    parser.add_argument("--device", default="gpu", choices=SCALES)
    parser.add_argument("--results", type=Path, required=True)
    args = parser.parse_args(argv)

    def keep(finding: Finding) -> None:
        with args.results.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"question": args.name, **asdict(finding)}, default=str) + "\n")
            file.flush()
            os.fsync(file.fileno())

    try:
        for finding in QUESTIONS[args.name](Ground(args.kit, args.device)):
            keep(finding)
    except (OSError, WhisperMaxError) as error:
        keep(Finding("", " ".join(str(error).split()), passed=False))
        return STOP if args.name == card.__name__ else 0
    return 0


if __name__ == "__main__":
    status = main()
    os._exit(status)  # all that was found is on disk; taking a device's runtime apart takes time, and may hang
