"""Build the wheel and the source distribution, and try each as a stranger would: ``make dist``.

Each is installed in a new environment, away from the repository, and transcribes the sample there with an empty cache:
the version has to be the same everywhere, the words those of the sample, and nothing may be compiled. Nothing is
published.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
SAMPLE = REPOSITORY / "samples" / "jfk.flac"
SAID = "ask what you can do for your country"
EXTRAS = "[base]"


def main() -> int:
    """Build both, then try both; say what each took."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, default=REPOSITORY / "build" / "dist", help="folder for both files")
    output: Path = parser.parse_args().output
    for old in output.glob("whisper_max-*"):
        old.unlink()
    run([sys.executable, "-m", "build", "--outdir", str(output), str(REPOSITORY)])
    version = stated_version()
    files = sorted(output.glob("whisper_max-*"))
    if [name_of(path, version) for path in files] != ["wheel", "sdist"]:
        print(f"error: expected a wheel and an sdist of {version}, found {[path.name for path in files]}")
        return 1
    for path in files:
        print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB; installing it in a new environment", flush=True)
        try_out(path, version)
    print(f"both run: {output}")
    return 0


def stated_version() -> str:
    """The version as its one place has it."""
    text = (REPOSITORY / "whisper_max" / "version.py").read_text(encoding="utf-8")
    found = re.search(r'VERSION = "([^"]+)"', text)
    if found is None:
        raise SystemExit("error: whisper_max/version.py: no VERSION")
    return found[1]


def name_of(path: Path, version: str) -> str:
    """``wheel`` or ``sdist`` where the name is right for the version, else empty."""
    names = {f"whisper_max-{version}-py3-none-any.whl": "wheel", f"whisper_max-{version}.tar.gz": "sdist"}
    return names.get(path.name, "")


def try_out(path: Path, version: str) -> None:
    """Install a distribution and transcribe the sample with it.

    Raises:
        SystemExit: it says another version, hears other words, or compiles.
    """
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        venv.create(home / "venv", with_pip=True)
        python = str(home / "venv" / "bin" / "python")
        run([python, "-m", "pip", "install", "--quiet", f"{path}{EXTRAS}"])
        environment = {**os.environ, "HOME": folder, "WHISPER_MAX_CACHE": str(home / "cache"), "PYTHONPATH": ""}
        said = output_of([python, "-m", "whisper_max", "--version"], home, environment)
        if said.strip() != f"whisper_max {version}":
            raise SystemExit(f"error: {path.name}: expected version {version}, found {said.strip()!r}")
        command = [python, "-m", "whisper_max", "transcribe", str(SAMPLE), "--offline", "-f", "txt", "-o", folder]
        output_of(command, home, environment)
        text = (home / SAMPLE.with_suffix(".txt").name).read_text(encoding="utf-8")
        if SAID not in text.replace("\n", " "):
            raise SystemExit(f"error: {path.name}: expected {SAID!r}, found {text!r}")
        if compiled := list((home / "cache").rglob("*.wmx")):
            raise SystemExit(f"error: {path.name}: it compiled {compiled[0].name}; nothing for this processor ships")


def run(command: list[str]) -> None:
    """Run a command and end with its status where it fails."""
    status = subprocess.run(command, check=False).returncode
    if status:
        raise SystemExit(status)


def output_of(command: list[str], folder: Path, environment: dict[str, str]) -> str:
    """What a command prints, run in a folder.

    Raises:
        SystemExit: it failed.
    """
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"error: {' '.join(command[1:4])}: status {done.returncode}: {done.stderr.strip()}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
