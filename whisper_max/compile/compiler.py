"""Compiling, in a process of its own: ``python -m whisper_max.compile.compiler``.

A compiler that cross-compiles changes its whole process, needs gigabytes for minutes, and can't be interrupted from
within; a child process keeps all that away from the caller.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import max as max_package
from max.dtype import DType

from whisper_max.dims import ModelDimensions
from whisper_max.errors import ArtifactError
from whisper_max.hardware.processors import compiler_target, other_family

if TYPE_CHECKING:
    from max.graph import KernelLibrary, Module

SPEAKERS = "speakers"
"""What the child calls the networks that tell speakers apart."""
RENEW = "renew"
"""The graph of ``model.renewal``, which is compiled alone."""
_NO_FLOAT16 = "f16 data type is not supported"
"""What MAX 26.7 says of float16 in graphs for a CPU, where it runs on Arm."""
_ELSEWHERE = "`python -m whisper_max compile MODEL --target cpu:neoverse-n1` on an x86-64 machine makes it"


def compile_module(dims: ModelDimensions, dtype: DType, storage: DType, code: str, only: Sequence[str] = ()) -> bytes:
    """Compile all graphs of a model in a child process; takes minutes.

    Args:
        dims: the model's.
        dtype: of activations.
        storage: of the matrices of linear layers.
        code: what to compile for: "cpu:x86-64-v3", "cpu:native-...", "gpu:sm_90a", "gpu:gfx942", or "gpu:sm_90a:fast"
            with the forms of `model.gpu.fast`; need not be this machine's.
        only: names of the graphs to compile; all where empty.

    Returns:
        the compiled module in MAX's format.

    Raises:
        ArtifactError: no compiler is installed, or none for such processors; it failed, the message has its last line;
            or there is no temporary folder.
    """
    kinds = ["--dtype", dtype.name, "--storage", storage.name]
    return _compile([json.dumps(asdict(dims)), code, *kinds, "--only", *only], code)


def compile_speakers(code: str) -> bytes:
    """Compile the graphs of the networks that tell speakers apart; see ``compile_module``.

    Raises:
        ArtifactError: as ``compile_module``.
    """
    return _compile([SPEAKERS, code], code)


def compile_renewal(dims: ModelDimensions, code: str) -> bytes:
    """Compile the graph that encodes a window piece by piece; see ``compile_module``.

    Raises:
        ArtifactError: as ``compile_module``.
    """
    return _compile([json.dumps(asdict(dims)), code, "--only", RENEW], code)


def _compile(arguments: Sequence[str], code: str) -> bytes:
    check_compiler(code)
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="whisper_max_"))
        except OSError as error:
            hint = "set TMPDIR to a folder with free space"
            raise ArtifactError("no temporary folder", found=error.strerror or error, hint=hint) from error
        output = Path(folder) / "module.mef"
        command = [sys.executable, "-m", "whisper_max.compile.compiler", *arguments, "--output", str(output)]
        # Objects in MAX's cache are exported as a whole, with all that earlier compilations put into them.
        environment = {**os.environ, "MODULAR_CACHE_DIR": str(Path(folder) / "cache")}
        result = _run(command, environment)
        if result.returncode == -signal.SIGABRT:  # seen once in hundreds: a thread of the compiler, not the graph
            result = _run(command, environment)
        if result.returncode != 0 or not output.exists():
            lines = [line for line in result.stderr.splitlines() if line.strip()]
            reason = next((line for line in lines if "error" in line.lower()), lines[-1] if lines else "no message")
            hint = _ELSEWHERE if _NO_FLOAT16 in reason else "see `python -m whisper_max doctor`"
            raise ArtifactError("compiling failed", where=code, found=reason, hint=hint)
        return output.read_bytes()


def _run(command: list[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, env=environment
    )


def check_compiler(code: str) -> None:
    """Make sure that there is a compiler for a target: MAX's runtime alone has an empty file, or none, in its place.

    Raises:
        ArtifactError: there is none, or none for such processors.
    """
    roots = [Path(place).parent / "modular" for place in max_package.__path__] + [Path(sys.prefix)]
    compilers = [root / "bin" / "mojo" for root in roots]
    if not any(path.is_file() and path.stat().st_size > 0 for path in compilers):
        hint = "`python -m whisper_max export` and `compile` make them on a machine with one; or pip install max"
        raise ArtifactError("no compiler is installed, and there are no compiled graphs here", hint=hint)
    if (machine := other_family(code)) is not None:
        raise ArtifactError(
            "can't be compiled on this machine", where=code, expected=machine, found=platform.machine(),
            hint=f"compile it on a machine with {machine}, or take a release that has it",
        )  # fmt: skip


def main(argv: Sequence[str] | None = None) -> None:
    """The child's side: compile and export one module."""
    parser = argparse.ArgumentParser(prog="python -m whisper_max.compile.compiler")
    parser.add_argument("model", help=f"model dimensions, as JSON, or {SPEAKERS}")
    parser.add_argument("code", help="cpu:x86-64-v3, cpu:native-..., gpu:sm_90a, gpu:sm_90a:fast...")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--storage", default="float32")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=[], help="graphs to compile; by default all")
    _export(parser.parse_args(argv))


def _export(args: argparse.Namespace) -> None:
    # Virtual targets must be set before anything of MAX starts, hence the order and the imports here.
    from max import driver

    kind, _, rest = args.code.partition(":")
    architecture, _, form = rest.partition(":")

    if kind == "gpu":
        driver.set_virtual_device_api("hip" if architecture.startswith("gfx") else "cuda")
        driver.set_virtual_device_target_arch(architecture)
        driver.set_virtual_device_count(1)
    elif not architecture.startswith("native"):
        driver.set_virtual_cpu_target(compiler_target(architecture))

    from max.engine import InferenceSession

    from whisper_max.model.module import kernel_library

    session = InferenceSession(devices=[driver.Accelerator() if kind == "gpu" else driver.CPU()])
    library = kernel_library()  # compiled once, for the checks of calls and for the module
    module = _module(args, kind, form, library)
    session.compile(module, custom_extensions=library.library_paths()).export_mef(args.output)


def _module(args: argparse.Namespace, kind: str, form: str, library: KernelLibrary) -> Module:
    from max.graph import DeviceRef

    from whisper_max.model.module import build_module
    from whisper_max.model.renewal import build_module as build_renewal
    from whisper_max.model.speakers.module import build_module as build_speakers

    if args.model == SPEAKERS:
        return build_speakers(library)[0]
    dims = ModelDimensions(**json.loads(args.model))
    if args.only == [RENEW]:
        return build_renewal(dims, library)[0]
    dtype, storage = DType[args.dtype], DType[args.storage]
    device = DeviceRef.GPU() if kind == "gpu" else DeviceRef.CPU()
    fast = {"": False, "fast": True}[form]
    return build_module(dims, dtype, storage, device, fast=fast, only=args.only, library=library)[0]


if __name__ == "__main__":
    main()
    # The module is written. An orderly exit would take apart a compiler whose threads may still run, and could abort.
    os._exit(0)
