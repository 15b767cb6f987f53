"""Compiling, in a process of its own: ``python -m whisper_max.engine.compiler``.

A compiler that cross-compiles changes its whole process, needs gigabytes for minutes, and can't be interrupted from
within; a child process keeps all that away from the caller.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import max as max_package
from max.dtype import DType

from whisper_max.dims import ModelDimensions
from whisper_max.errors import ArtifactError


def compile_module(
    dims: ModelDimensions, dtype: DType, storage: DType, code: str, only: Sequence[str] = ()
) -> bytes:
    """Compile all graphs of a model in a child process; takes minutes.

    Args:
        dims: the model's.
        dtype: of activations.
        storage: of the matrices of linear layers.
        code: what to compile for: "cpu:x86-64-v3", "cpu:native-...", "gpu:sm_90a", or "gpu:sm_90a:fast" with the forms
            of `graph.gpu`; need not be this machine's.
        only: names of the graphs to compile; all where empty.

    Returns:
        the compiled module in MAX's format.

    Raises:
        ArtifactError: no compiler is installed, or it failed; the message has its last line.
    """
    check_compiler()
    with tempfile.TemporaryDirectory(prefix="whisper_max_") as folder:
        output = Path(folder) / "module.mef"
        arguments = [json.dumps(asdict(dims)), dtype.name, storage.name, code, str(output), "--only", *only]
        command = [sys.executable, "-m", "whisper_max.engine.compiler", *arguments]
        result = _run(command)
        if result.returncode == -signal.SIGABRT:  # seen once in hundreds: a thread of the compiler, not the graph
            result = _run(command)
        if result.returncode != 0 or not output.exists():
            lines = [line for line in result.stderr.splitlines() if line.strip()]
            reason = next((line for line in lines if "error" in line.lower()), lines[-1] if lines else "no message")
            raise ArtifactError("compiling failed", where=code, found=reason, hint="see `python -m whisper_max doctor`")
        return output.read_bytes()


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)


def check_compiler() -> None:
    """Make sure that there is a compiler: MAX's runtime alone has an empty file, or none, in its place.

    Raises:
        ArtifactError: there is none.
    """
    roots = [Path(place).parent / "modular" for place in max_package.__path__] + [Path(sys.prefix)]
    compilers = [root / "bin" / "mojo" for root in roots]
    if not any(path.is_file() and path.stat().st_size > 0 for path in compilers):
        hint = "`python -m whisper_max export` and `compile` make them on a machine with one; or pip install max"
        raise ArtifactError("no compiler is installed, and there are no compiled graphs here", hint=hint)


def main(argv: Sequence[str] | None = None) -> None:
    """The child's side: compile and export one module."""
    parser = argparse.ArgumentParser(prog="python -m whisper_max.engine.compiler")
    parser.add_argument("dims", help="model dimensions, as JSON")
    parser.add_argument("dtype")
    parser.add_argument("storage")
    parser.add_argument("code", help="cpu:x86-64-v3, cpu:native-..., gpu:sm_90a, gpu:sm_90a:fast...")
    parser.add_argument("output", type=Path)
    parser.add_argument("--only", nargs="*", default=[], help="graphs to compile; by default all")
    args = parser.parse_args(argv)
    kind, _, rest = args.code.partition(":")
    architecture, _, form = rest.partition(":")
    dims = ModelDimensions(**json.loads(args.dims))
    _export(dims, DType[args.dtype], DType[args.storage], kind, architecture, form, args.only, args.output)


def _export(
    dims: ModelDimensions,
    dtype: DType,
    storage: DType,
    kind: str,
    architecture: str,
    form: str,
    only: list[str],
    output: Path,
) -> None:
    # Virtual targets must be set before anything of MAX starts, hence the order and the imports here.
    from max import driver

    if kind == "gpu":
        driver.set_virtual_device_api("cuda")
        driver.set_virtual_device_target_arch(architecture)
        driver.set_virtual_device_count(1)
    elif not architecture.startswith("native"):
        driver.set_virtual_cpu_target(architecture)

    from max.engine import InferenceSession
    from max.graph import DeviceRef

    from whisper_max.graph.module import KERNELS, build_module

    device = DeviceRef.GPU() if kind == "gpu" else DeviceRef.CPU()
    session = InferenceSession(devices=[driver.Accelerator() if kind == "gpu" else driver.CPU()])
    module, _ = build_module(dims, dtype, storage, device, fast={"": False, "fast": True}[form], only=only)
    session.compile(module, custom_extensions=[KERNELS]).export_mef(output)


if __name__ == "__main__":
    main()
    # The module is written. An orderly exit would take apart a compiler whose threads may still run, and could abort.
    os._exit(0)
