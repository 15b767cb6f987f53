"""Install a kit on a host with a GPU and without a network, and put the first run's questions to it.

    python3.12 gpu_host.py FOLDER [--install] [--device cpu] [--seconds 420] [--output RESULTS]

Needs nothing but Python. Reads ``kit.json`` and the parts beside itself, as ``pack_kit.py`` wrote them. Parts may come
one at a time: each call checks and keeps those that are new and installs what is whole, ``--install`` stops there, and
a call that finds all in place goes on at once. Exit status: 0 all questions answered, and rightly; 1 some not; 2 the
kit or the host is not right, one line says how.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shutil
import sys
import tarfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, NoReturn, cast

MANIFEST = "kit.json"
INSTALLED = "installed.json"
QUESTIONS = Path("source", "scripts", "gpu", "gpu_first_run.py")
NEEDED = ("source", "runtime")
"""The archives without which no question can be put."""


class KitError(Exception):
    """A kit, a part or a host that is not right, in one line."""


@dataclass(frozen=True)
class Part:
    """A file of the kit. holds: the archives that lie in it, wholly or not."""

    name: str
    size: int
    sha256: str
    holds: tuple[str, ...]


@dataclass(frozen=True)
class Archive:
    """A tar file, maybe compressed: the bytes from start to stop of all parts joined."""

    name: str
    start: int
    stop: int
    sha256: str


@dataclass(frozen=True)
class Kit:
    """What ``kit.json`` says. python: "3.12". parts: in their order. archives: small and needed ones first."""

    python: str
    machine: str
    made_of: dict[str, str]
    parts: tuple[Part, ...]
    archives: tuple[Archive, ...]

    def parts_of(self, archive: Archive) -> list[tuple[Part, int, int]]:
        """The parts that an archive lies in, each with its first byte there and how many there are."""
        found, begin = [], 0
        for part in self.parts:
            first, last = max(archive.start, begin), min(archive.stop, begin + part.size)
            if first < last:
                found.append((part, first - begin, last - first))
            begin += part.size
        return found


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    deadline = time.monotonic() + args.seconds
    try:
        kit = read_kit(args.parts)
        check_host(kit)
        missing = install(kit, args.parts, args.folder)
        if args.install:
            return 0
        lacking = [name for name in NEEDED if name in missing]
        if lacking:
            raise KitError(f"without {' and '.join(lacking)} there is nothing to run: send the parts named above")
    except (KitError, OSError, tarfile.TarError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    ask(args, deadline - time.monotonic())


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="where to install; made when missing")
    parser.add_argument("--parts", type=Path, default=Path(__file__).resolve().parent, help="the kit; beside this file")
    parser.add_argument("--install", action="store_true", help="install what is there and stop")
    parser.add_argument("--device", default="gpu", choices=["gpu", "cpu"], help="cpu is for a rehearsal")
    parser.add_argument("--seconds", type=float, default=420, help="for everything, installing included")
    parser.add_argument("--output", type=Path, help="folder of the results; FOLDER/results")
    parser.add_argument("--only", nargs="*", default=[], help="names of questions; by default all")
    return parser


def read_kit(folder: Path) -> Kit:
    """What is in a kit.

    Raises:
        KitError: its manifest is missing or not one.
    """
    path = folder / MANIFEST
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        parts = tuple(Part(**{**part, "holds": tuple(part["holds"])}) for part in said["parts"])
        archives = tuple(Archive(**archive) for archive in said["archives"])
        return Kit(said["python"], said["machine"], said["made_of"], parts, archives)
    except FileNotFoundError as error:
        raise KitError(f"{path} is not there: send it, or name its folder by --parts") from error
    except (ValueError, KeyError, TypeError) as error:
        raise KitError(f"{path} is no kit's manifest ({error}): send it again") from error


def write_kit(folder: Path, kit: Kit) -> None:
    """Write a kit's manifest; it begins with what to do."""
    call = f"python{kit.python} gpu_host.py FOLDER --install"
    how = f"send this, gpu_host.py and the parts in their order; `{call}` keeps what has come and names what is lacking"
    (folder / MANIFEST).write_text(json.dumps({"how": how, **asdict(kit)}, indent=1) + "\n", encoding="utf-8")


def check_host(kit: Kit) -> None:
    """Refuse a Python or a processor that the kit was not packed for.

    Raises:
        KitError: it is another.
    """
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    if python != kit.python:
        raise KitError(f"the kit is for Python {kit.python} and this is {python}: start it by python{kit.python}")
    if platform.machine() != kit.machine:
        raise KitError(f"the kit is for {kit.machine} and this is {platform.machine()}: no kit is made for that")


def install(kit: Kit, parts: Path, folder: Path) -> list[str]:
    """Check and keep the parts that are new, and unpack every archive that is whole and not there yet.

    Returns:
        the names of the archives that lack parts.

    Raises:
        KitError: a part is damaged; it is named.
    """
    start = time.monotonic()
    kept = folder / "parts"
    kept.mkdir(parents=True, exist_ok=True)
    write_kit(folder, kit)  # what the results are of
    record = folder / INSTALLED
    done: dict[str, str] = json.loads(record.read_text(encoding="utf-8")) if record.exists() else {}
    wanted = [archive for archive in kit.archives if done.get(archive.name) != archive.sha256]
    needed = {part.name: part for archive in wanted for part, _, _ in kit.parts_of(archive)}
    lacking = [part for part in needed.values() if not take(part, parts, kept)]
    missing = []
    for archive in wanted:
        pieces = kit.parts_of(archive)
        if any(part in lacking for part, _, _ in pieces):
            missing.append(archive.name)
            continue
        unpack(archive, [(kept / part.sha256, first, size) for part, first, size in pieces], folder)
        done[archive.name] = archive.sha256
        record.write_text(json.dumps(done), encoding="utf-8")
    for path in kept.iterdir():
        if not any(part.sha256 == path.name for name in missing for part in needed.values() if name in part.holds):
            path.unlink()  # all of it is installed
    fresh = [archive.name for archive in wanted if archive.name not in missing]
    what = f"installed {', '.join(fresh)}" if fresh else "nothing new" if missing else "all in place"
    print(f"{what}: {time.monotonic() - start:.1f} s", flush=True)
    for part in lacking:
        print(f"lacks {part.name} ({', '.join(part.holds)}): send it and call this again")
    return missing


def take(part: Part, source: Path, kept: Path) -> bool:
    """Keep a whole part under its sum; False where it is not there.

    Raises:
        KitError: it is not what the manifest says.
    """
    path = kept / part.sha256
    if path.exists():
        return True
    if not (source / part.name).exists():
        return False
    with (source / part.name).open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != part.sha256:
        size = (source / part.name).stat().st_size
        raise KitError(f"{source / part.name} is damaged ({size} of {part.size} bytes, another sum): send it again")
    copy = path.with_suffix(".new")
    shutil.copyfile(source / part.name, copy)
    copy.replace(path)
    return True


def unpack(archive: Archive, pieces: Sequence[tuple[Path, int, int]], folder: Path) -> None:
    """Unpack an archive that lies in pieces: file, first byte, how many."""
    with tarfile.open(fileobj=cast("IO[bytes]", Joined(pieces)), mode="r|*") as tar:
        tar.extractall(folder, filter="data")


class Joined:
    """A stream of pieces of files, one after the other."""

    def __init__(self, pieces: Sequence[tuple[Path, int, int]]) -> None:
        self._blocks = blocks_of(pieces)
        self._rest = b""

    def read(self, size: int) -> bytes:
        """At most ``size`` bytes; none at the end."""
        block = self._rest or next(self._blocks, b"")
        self._rest = block[size:]
        return block[:size]


def blocks_of(pieces: Sequence[tuple[Path, int, int]]) -> Iterator[bytes]:
    """The bytes of pieces of files in blocks.

    Raises:
        KitError: a file ends too soon.
    """
    for path, first, left in pieces:
        with path.open("rb") as file:
            file.seek(first)
            while left:
                block = file.read(min(left, 1 << 20))
                if not block:
                    raise KitError(f"{path} ends too soon: delete it and send it again")
                left -= len(block)
                yield block


def environment(folder: Path) -> dict[str, str]:
    """What a process needs to find what is installed, and nothing on a network."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(folder / "site"), str(folder / "source")]),
        "WHISPER_MAX_ARTIFACTS": str(folder / "artifacts"),
        "WHISPER_MAX_CACHE": str(folder / "cache"),
        "HF_HUB_OFFLINE": "1",
    }


def ask(args: argparse.Namespace, seconds: float) -> NoReturn:
    """Become the process that puts the questions, in the time that is left; whoever ends this one ends that."""
    folder: Path = args.folder.resolve()
    output = args.output or folder / "results"
    command = [sys.executable, str(folder / QUESTIONS), str(folder), "--device", args.device]
    command += ["--seconds", f"{seconds:.1f}", "--output", str(output.resolve()), "--only", *args.only]
    sys.stdout.flush()
    os.execve(sys.executable, command, environment(folder))


if __name__ == "__main__":
    sys.exit(main())
