"""Run the peers' own test suites on the adapters, and write what became of each test to docs/adapters.md.

It fetches openai-whisper's sources from the package index, and faster-whisper's from its repository (git), unless
``--sources`` has them: a folder with ``openai-whisper`` and ``faster-whisper`` in it. Needs pytest, scipy, and the
extras ``base``, ``tiny-en``, ``vad`` and ``evaluate``. Ends with 1 where a test fails, or is skipped, without a reason.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "adapters.md"
START, END = "<!-- suites: written by scripts/peers/suites.py -->\n", "<!-- end of suites -->\n"
OPENAI, FASTER = "openai-whisper", "faster-whisper"
VERSIONS = {OPENAI: "20250625", FASTER: "1.2.1"}
_FASTER_REPOSITORY = "https://github.com/SYSTRAN/faster-whisper"
_WORDS = {"failed": "fails", "skipped": "not run"}

_NO_WEIGHTS = "no package brings these weights"
_SIZES = ("base.en", "small", "medium", "large", "distil", "turbo")
_OF_TINY = "expects the text of tiny, and is given base"
_TEXT_OF_TINY = ("transcribe", "vad", "multilingual_transcription", "cliptimestamps_segments")
_PHYSICS = ("batched_transcribe", "monotonic_timestamps", "cliptimestamps_timings")
REASONS = {
    **{f"{OPENAI} test_transcribe::test_transcribe[{size}": _NO_WEIGHTS for size in _SIZES},
    **{f"{FASTER} test_transcribe::test_{name}": _OF_TINY for name in _TEXT_OF_TINY},
    **{f"{FASTER} test_transcribe::test_{name}": "its recording was not among the sources" for name in _PHYSICS},
    **{f"{FASTER} test_utils::test_download_model{end}": "the hub was out of reach" for end in ("", "_in_cache")},
}
"""Why tests do not pass, or are not run, by peer and test, or the beginning of one that has parameters."""


@dataclass(frozen=True)
class Outcome:
    """A test of a peer: its file and name, "passed", "failed" or "skipped", and what pytest said."""

    peer: str
    test: str
    outcome: str
    said: str

    @property
    def reason(self) -> str | None:
        """Why it does not pass; None where nobody has said so."""
        if self.outcome == "passed":
            return ""
        key = f"{self.peer} {self.test}"
        starts = (start for start in REASONS if key == start or ("[" in start and key.startswith(start)))
        return next((REASONS[start] for start in starts), None)


def fetch(peer: str, folder: Path) -> Path:
    """The sources of a peer, in a folder of its own."""
    if peer == FASTER:
        tag = f"v{VERSIONS[peer]}"
        subprocess.run(["git", "clone", "-q", "--depth", "1", "-b", tag, _FASTER_REPOSITORY, folder / peer], check=True)
        return folder / peer
    wanted = f"{peer}=={VERSIONS[peer]}"
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:"]
    subprocess.run([*pip, "--no-build-isolation", "-d", str(folder), wanted], check=True)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return next(path for path in folder.iterdir() if path.is_dir() and path.name != FASTER)


def run(peer: str, sources: Path, folder: Path) -> Iterator[Outcome]:
    """The outcome of each of a peer's tests; its sources stay as they are."""
    tests = folder / f"{peer}-tests"
    shutil.copytree(sources / "tests", tests)
    if not (tests / "jfk.flac").exists():
        shutil.copy(ROOT / "samples" / "jfk.flac", tests)  # the recording that the archive leaves out
    report = folder / f"{peer}.xml"
    paths = [str(ROOT), str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "suite_plugin", "-m", "not requires_cuda", "-rs"]
    subprocess.run(
        [*command, "-c", os.devnull, "--rootdir", str(tests), f"--junit-xml={report}", str(tests)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        cwd=tests,
        check=False,
    )
    for case in ElementTree.parse(report).iter("testcase"):
        trouble = next((each for each in case if each.tag in ("failure", "error", "skipped")), None)
        outcome = "passed" if trouble is None else "skipped" if trouble.tag == "skipped" else "failed"
        said = "" if trouble is None else (trouble.get("message") or "").splitlines()[0]
        file = case.get("classname", "").split(".")[-1]
        yield Outcome(peer, f"{file}::{case.get('name')}", outcome, said)


def table(outcomes: list[Outcome]) -> str:
    """The outcomes for the page: a line for each test that does not pass, and how many do."""
    lines = []
    for peer in VERSIONS:
        ours = [each for each in outcomes if each.peer == peer]
        n_passed = sum(each.outcome == "passed" for each in ours)
        lines += ["", f"### {peer} {VERSIONS[peer]}: {n_passed} of {len(ours)} pass", ""]
        lines += ["| test | | reason |", "| --- | --- | --- |"]
        for each in ours:
            word = _WORDS.get(each.outcome, "passes")
            lines.append(f"| `{each.test}` | {word} | {each.reason or ''} |")
    return "\n".join([*lines, "", ""])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sources", type=Path, help="a folder with the peers' sources, in place of fetching them")
    parser.add_argument("--only", choices=VERSIONS, help="one of the peers; the page stays as it is")
    args = parser.parse_args()
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for peer in [args.only] if args.only else VERSIONS:
            (folder / "fetched").mkdir(exist_ok=True)
            sources = args.sources / peer if args.sources else fetch(peer, folder / "fetched")
            outcomes += run(peer, sources, folder)
    if not args.only:
        before, rest = PAGE.read_text(encoding="utf-8").split(START)
        PAGE.write_text(before + START + table(outcomes) + END + rest.split(END)[1], encoding="utf-8")
    unexplained = [each for each in outcomes if each.reason is None]
    for each in unexplained:
        print(f"no reason: {each.peer} {each.test}: {each.outcome}: {each.said}", file=sys.stderr)
    return 1 if unexplained or not outcomes else 0


if __name__ == "__main__":
    sys.exit(main())
