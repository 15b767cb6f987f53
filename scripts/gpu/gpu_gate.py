"""Check that a GPU computes Whisper rightly: ``python scripts/gpu/gpu_gate.py``; needs nothing but whisper_max.

Every operation and stage, at every shape that the models use, against float64 NumPy on fresh random inputs, into
buffers full of NaN; then real models against float32 on the CPU. Says which forms are wrong on this device and what
runs in their place, writes all figures as JSON, and leaves the record that lets ``--device auto`` use the GPU. Exits
with 1 where anything is wrong, or nothing is right.

``--build FOLDER`` compiles everything for a GPU that is not attached, ``--device cpu --models tiny-shape`` tries this
script itself, and ``--spoil NAME`` puts one NaN into the results of an operation, to see the check fail.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import secrets
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from gpu_tools.checks import Checker
from gpu_tools.modules import find_checks
from gpu_tools.names import DTYPES, dtype_names, form_names, size_names
from gpu_tools.result import Result
from gpu_tools.sizes import SIZES, dims_of, one_layer
from max.driver import CPU, Accelerator, Device, accelerator_architecture_name, accelerator_count
from max.dtype import DType

from whisper_max.errors import WhisperMaxError
from whisper_max.files.cache import cache_dir
from whisper_max.hardware.gpu_record import GpuRecord, write_record

INSTEAD = {
    "encoder attention": "softmax form (the plain artifact)",
    "decoder block": "stock operations, over the whole cache (the plain artifact)",
    "choose": "the host's rules and searches",
}
"""What runs in place of an operation that is wrong in the fast form; whatever is wrong in the plain form as well means
that the dtype isn't used."""
KERNELS = {
    "linear": "MAX matmul",
    "layer_norm": "MAX layer_norm",
    "encoder attention": "long_attention.mojo in the fast form, else batched matmul and softmax",
    "decode": "token_block.mojo in the fast form, else batched matmul and softmax",
    "choose": "MAX reductions and elementwise kernels",
    "stage": "several",
}
HOST_CHECKS = ("choose",)
"""Checks whose failure leaves the graphs of the model right."""


@dataclass(frozen=True)
class Run:
    """The checks of one size (or real model) in one dtype and form."""

    what: str
    dtype: str
    form: str
    seconds: float
    results: tuple[Result, ...]
    error: str | None = None

    @property
    def passed(self) -> bool:
        """True where the model's own graphs are right."""
        return self.error is None and all(r.passed for r in self.results if r.name not in HOST_CHECKS)


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    dtypes = [DType[name] for name in args.dtypes]
    sizes = args.models
    if args.build:
        return build_all(sizes, dtypes, args.architecture, args.build)
    device, code = open_device(args.device)
    seed = args.seed if args.seed is not None else secrets.randbits(32)
    deadline = time.monotonic() + args.budget
    print(f"{describe(device)}, MAX {version('max-core')}, seed {seed}")
    runs: list[Run] = []
    for size in sizes:
        for dtype in dtypes:
            for form in args.forms:
                if time.monotonic() < deadline:
                    runs.append(check_size(size, dtype, form, device, code, args.artifacts, seed, args.spoil))
                    print_run(runs[-1])
                else:
                    print(f"not checked, out of time: {size} {dtype.name} {form}")
    names = [name for name in args.whole.split(",") if name]
    runs += check_whole(names, dtypes, runs, device, code, args, deadline)
    if args.spoil and not any(result.name == args.spoil for run in runs for result in run.results):
        raise SystemExit(f"error: no operation is called {args.spoil!r}")
    return conclude(runs, [*sizes, *names], dtypes, device, args.output, seed)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--device", default="gpu", choices=["gpu", "cpu"])
    parser.add_argument("--models", type=size_names, default=list(SIZES), help="sizes to check, with commas between")
    parser.add_argument("--dtypes", type=dtype_names, default="bfloat16,float32", help=", ".join(DTYPES))
    parser.add_argument("--forms", type=form_names, default="fast,plain", help="see docs/gpu.md")
    parser.add_argument("--whole", default="tiny.en,base", help="real models to compare; empty for none")
    parser.add_argument("--weights_dir", type=Path)
    parser.add_argument("--audio", type=Path, default=Path(__file__).resolve().parents[3] / "shared" / "audio")
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--artifacts", type=Path, default=cache_dir() / "gpu", help="compiled checks")
    parser.add_argument("--build", type=Path, metavar="FOLDER", help="compile the checks into a folder and stop")
    parser.add_argument("--architecture", default="sm_90a", help="for --build")
    parser.add_argument("--output", type=Path, default=Path("gpu_gate.json"))
    parser.add_argument("--budget", type=float, default=480, help="seconds after which nothing new is started")
    parser.add_argument("--seed", type=int, help="of the random inputs; fresh by default")
    parser.add_argument("--spoil", help="an operation whose results get one NaN")
    return parser


def build_all(sizes: Sequence[str], dtypes: Sequence[DType], architecture: str, folder: Path) -> int:
    for size in sizes:
        for dtype in dtypes:
            for form in (":fast", ""):
                start = time.monotonic()
                find_checks(one_layer(dims_of(size)), dtype, f"gpu:{architecture}{form}", folder)
                print(f"{size} {dtype.name} gpu:{architecture}{form}: {time.monotonic() - start:.0f} s", flush=True)
    return 0


def open_device(kind: str) -> tuple[Device, str]:
    """The device, and the code of its plain artifacts."""
    if kind == "cpu":
        return CPU(), f"cpu:native-{platform.machine()}"
    if accelerator_count() == 0:
        raise SystemExit("error: MAX finds no GPU on this machine")
    return Accelerator(0), f"gpu:{accelerator_architecture_name()}"


def describe(device: Device) -> str:
    return "the CPU" if device.is_host else f"{device.model_name}, {accelerator_architecture_name()}"


def check_size(
    size: str, dtype: DType, form: str, device: Device, code: str, folder: Path, seed: int, spoil: str | None
) -> Run:
    start = time.monotonic()
    dims = one_layer(dims_of(size))
    results: list[Result] = []
    try:
        module = find_checks(dims, dtype, code + (":fast" if form == "fast" else ""), folder)
        for result in Checker(module, dims, dtype, device, seed, spoil).run():
            results.append(result)
    except (RuntimeError, ValueError, KeyError, WhisperMaxError) as error:  # failing outright is a finding, too
        return Run(size, dtype.name, form, time.monotonic() - start, tuple(results), " ".join(str(error).split())[:300])
    return Run(size, dtype.name, form, time.monotonic() - start, tuple(results))


def check_whole(
    names: Sequence[str], dtypes: Sequence[DType], runs: Sequence[Run], device: Device, code: str,
    args: argparse.Namespace, deadline: float,
) -> Iterator[Run]:  # fmt: skip
    if device.is_host or not names:
        return
    from gpu_tools.whole import compare_models, find_clips

    from whisper_max.hardware.target import Target

    clips = find_clips(args.audio, args.clips)
    if not clips:
        print(f"not checked, no recordings in {args.audio}: {', '.join(names)}")
        return
    tokens = everywhere(runs, "choose")
    for name in names:
        for dtype in dtypes:
            for form in args.forms:
                checked = [run for run in runs if (run.dtype, run.form) == (dtype.name, form)]
                if not all(run.passed for run in checked):
                    continue
                if time.monotonic() > deadline:
                    print(f"not checked, out of time: {name} {dtype.name} {form}")
                    continue
                start = time.monotonic()
                target = Target(device, dtype, dtype, (code + (":fast" if form == "fast" else ""),), tokens)
                results, error = [], None
                try:
                    results = compare_models(name, target, clips, args.weights_dir, offline=True)
                except (RuntimeError, ValueError, WhisperMaxError) as failure:
                    error = " ".join(str(failure).split())[:300]
                run = Run(name, dtype.name, form, time.monotonic() - start, tuple(results), error)
                print_run(run)
                yield run


def print_run(run: Run) -> None:
    worst: dict[str, Result] = {}
    for result in run.results:
        if result.name not in worst or not result.error <= worst[result.name].error:
            worst[result.name] = result
    verdict = "right" if run.passed else "WRONG"
    print(f"{run.what} {run.dtype} {run.form}: {verdict}, {len(run.results)} comparisons in {run.seconds:.0f} s")
    for result in worst.values():
        mark = "" if result.passed else "   <- wrong"
        print(f"    {result.name:42} worst {result.error:9.2e} at {result.shape:14} (limit {result.tolerance:g}){mark}")
    if run.error is not None:
        print(f"    failed: {run.error}")


def conclude(
    runs: Sequence[Run], names: Sequence[str], dtypes: Sequence[DType], device: Device, output: Path, seed: int
) -> int:
    """Say what is wrong and what runs instead; write the figures, and on a GPU its record."""
    found = record_of(runs, names, [dtype.name for dtype in dtypes])
    wrong = sorted({(r.name, run.dtype, run.form) for run in runs for r in run.results if not r.passed})
    for name, dtype, form in wrong:
        kernel = next((text for start, text in KERNELS.items() if name.startswith(start)), "the whole model")
        print(f"wrong on this device: {name} in {dtype}, {form} ({kernel}); instead: {instead(name, dtype, found)}")
    for run in runs:
        if run.error is not None:
            print(f"failed on this device: {run.what} {run.dtype} {run.form}: {run.error}")
    facts: dict[str, Any] = {
        "device": describe(device), "max": version("max-core"), "python": platform.python_version(), "seed": seed,
        "record": asdict(found), "runs": [asdict(run) | {"passed": run.passed} for run in runs],
    }  # fmt: skip
    output.write_text(json.dumps(_plain(facts), indent=1) + "\n", encoding="utf-8")
    usable = sorted({*found.plain, *found.fast})
    print(f"right: {', '.join(f'{name}' for name in usable) or 'nothing'}; figures in {output}")
    if not device.is_host:
        print(f"record: {write_record(accelerator_architecture_name(), found)}")
    return 0 if usable and not wrong and all(run.error is None for run in runs) else 1


def record_of(runs: Sequence[Run], names: Sequence[str], dtypes: Sequence[str]) -> GpuRecord:
    """What may be used: a form of a dtype with every size and every real model right, and each of them checked.

    names: of all sizes and real models.
    """

    def right(form: str) -> tuple[str, ...]:
        return tuple(
            dtype
            for dtype in dtypes
            if (own := [run for run in runs if (run.dtype, run.form) == (dtype, form)])
            and all(run.passed for run in own)
            and set(names) <= {run.what for run in own}
        )

    return GpuRecord(right("plain"), right("fast"), everywhere(runs, "choose"))


def everywhere(runs: Sequence[Run], name: str) -> bool:
    """True where an operation was checked, and right each time."""
    found = [result.passed for run in runs for result in run.results if result.name == name]
    return bool(found) and all(found)


def instead(name: str, dtype: str, found: GpuRecord) -> str:
    if name in HOST_CHECKS or dtype in found.plain:
        return INSTEAD.get(name, "the plain artifact")
    others = [other for other in found.plain if other != dtype]
    return f"{dtype} is not used; {' or '.join(others)} is" if others else "the CPU"


def _plain(value: object) -> object:
    """The same for JSON, which has no NaN and no infinity."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


if __name__ == "__main__":
    sys.exit(main())
