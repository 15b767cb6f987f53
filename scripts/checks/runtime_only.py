"""Build an environment that runs bundles and can't compile, and transcribe a sample in it.

    python scripts/checks/runtime_only.py FOLDER BUNDLE [AUDIO]

Needs no network: it copies from the environment that it runs in. Of MAX come ``max-core``, the parts of ``max`` that
its engine imports, and of ``mojo-compiler`` the Python module and the shared libraries. Libraries for GPUs are left out
(``--gpu`` keeps them). Prints the installed size by package, and the transcript.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
import venv
from collections import Counter
from importlib.metadata import Distribution, distribution
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = (
    *("max-core", "numpy", "msgspec", "psutil", "tiktoken", "regex", "soundfile", "cffi", "soxr", "safetensors"),
    *("tqdm", "typing_extensions", "rich"),
)
ABSENT = ("torch", "transformers", "huggingface_hub", "max_mojo_libs", "pip")
GPU_LIBRARIES = ("libNVPTX", "libnvshmem", "nvshmem_")
COMPILER = "mojo-compiler"
UNUSED = ("max/pipelines", "max/serve", "max/benchmark", "max/include", "max/experimental", "max/_entrypoints")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="where to; must not exist")
    parser.add_argument("bundle", type=Path, help="a folder that `python -m whisper_max export` made")
    parser.add_argument("audio", type=Path, nargs="?", default=ROOT / "samples" / "jfk.flac")
    parser.add_argument("--gpu", action="store_true", help="keep what only GPUs need")
    args = parser.parse_args()
    site = build(args.folder, args.gpu)
    return transcribe(args.folder / "bin" / "python", site, args.bundle.resolve(), args.audio.resolve())


def build(folder: Path, gpu: bool) -> Path:
    """Make the environment; its site-packages."""
    if folder.exists():
        raise SystemExit(f"{folder} is there already")
    venv.create(folder, with_pip=False, symlinks=True)
    site = next(folder.glob("lib/python3.*")) / "site-packages"
    sizes: Counter[str] = Counter()
    for name in (*PACKAGES, "max", COMPILER):
        sizes[name] = copy(distribution(name), site, name, gpu)
    shutil.copytree(ROOT / "whisper_max", site / "whisper_max", ignore=shutil.ignore_patterns("__pycache__"))
    sizes["whisper_max"] = sum(path.stat().st_size for path in (site / "whisper_max").rglob("*") if path.is_file())
    compiler = site / "modular" / "bin" / "mojo"
    compiler.parent.mkdir(parents=True, exist_ok=True)
    compiler.touch()  # MAX finds its root by this file
    for name, size in sizes.most_common():
        print(f"{name:<20}{size / 1e6:>8.1f} MB")
    print(f"{'together':<20}{sum(sizes.values()) / 1e6:>8.1f} MB")
    return site


def copy(package: Distribution, site: Path, name: str, gpu: bool) -> int:
    """Copy what a package needs at run time; the bytes."""
    total = 0
    for file in package.files or ():
        if not wanted(file, name, gpu):
            continue
        source = Path(str(package.locate_file(file)))
        if not source.is_file():
            continue
        target = site / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)
        total += source.stat().st_size
    return total


def wanted(file: PurePosixPath, name: str, gpu: bool) -> bool:
    """Whether a file is for running compiled graphs."""
    path = file.as_posix()
    if path.startswith("../") or "__pycache__" in path or path.startswith(UNUSED):
        return False
    if not gpu and file.name.startswith(GPU_LIBRARIES):
        return False
    if name == COMPILER:
        return path.startswith("mojo/") or (path.startswith("modular/lib/") and ".so" in file.name)
    return not path.startswith("modular/bin/")


def transcribe(python: Path, site: Path, bundle: Path, audio: Path) -> int:
    """Transcribe in the new environment, with nothing of this one in reach."""
    output = site.parent / "transcripts"
    environment = {"PATH": os.environ["PATH"], "HF_HUB_OFFLINE": "1", "WHISPER_MAX_CACHE": str(output / "cache")}
    probe = "import importlib.util as u, sys; print([n for n in sys.argv[1:] if u.find_spec(n)])"
    found = subprocess.run([python, "-c", probe, *ABSENT], env=environment, capture_output=True, text=True, check=True)
    print(f"of {', '.join(ABSENT)} there are: {found.stdout.strip()}")
    command = [str(python), "-m", "whisper_max", "transcribe", str(audio), "--model", str(bundle)]
    command += ["--output_dir", str(output)]
    for run in ("first", "second"):
        start = time.monotonic()
        status = subprocess.run(command, env=environment, check=False, cwd=output.parent).returncode
        print(f"{run} run: {time.monotonic() - start:.2f} s, exit status {status}", flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
