"""The fuzzer: what it takes for a fault, and that its cases can be made again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from scripts.fuzz import __main__ as fuzz
from scripts.fuzz.child import Child
from scripts.fuzz.kinds import NAMES, kind
from scripts.fuzz.mutate import changed, changed_json
from scripts.fuzz.verdicts import Verdict

PLANTED = "tests.support.planted"
REPOSITORY = Path(__file__).parents[2]


class Patient(Child):
    """Gives a case that does not wait for ever a minute: the limit is not what it is tried for."""

    def judge(self, folder: Path) -> Verdict:
        self._seconds = kind(PLANTED).seconds if (folder / "what").read_text() == "waits" else 60.0
        return super().judge(folder)


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory) -> dict[str, Verdict]:
    """What one warm child says of each seed, one after the other."""
    how = kind(PLANTED)
    found = {}
    with Patient(PLANTED, how.seconds) as child:
        for seed in [*how.seeds(), "accepted"]:
            folder = tmp_path_factory.mktemp(seed)
            fuzz.Case(PLANTED, seed, 0, "0").write(folder, how, how.seeds())
            found[seed] = child.judge(folder)
    return found


@pytest.mark.parametrize(
    ("seed", "outcome", "said"),
    [
        ("accepted", "accepted", ""),  # after all the others
        ("refused", "refused", "file: not audio"),
        ("raises", "fault", "KeyError"),
        ("ends", "fault", "the process ended: SIGKILL"),
        ("waits", "fault", "no end in 2 s"),
        ("fills", "fault", "MemoryError"),
        ("talks", "fault", "on stderr: it talks"),
    ],
)
def test_what_is_a_fault(verdicts, seed, outcome, said):
    assert verdicts[seed].kind == outcome
    assert said in verdicts[seed].said


@pytest.mark.parametrize("name", NAMES)
def test_cases_are_the_same_whenever_they_are_made(name, tmp_path):
    how = kind(name)
    made = []
    for time in range(2):
        seeds = how.seeds()
        for seed in sorted(seeds)[:5]:
            folder = tmp_path / f"{time}-{seed}"
            folder.mkdir()
            fuzz.Case(name, seed, 7, "run").write(folder, how, seeds)
            made.append({path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()})
    half = len(made) // 2
    if name != "audio":  # encoders put serial numbers and dates into some formats
        assert made[:half] == made[half:]
    assert len({str(files) for files in made[:half]}) == half


def test_changes_change():
    content = bytes(range(256)) * 10
    assert sum(changed(content, Random(number)) != content for number in range(100)) > 90
    text = b'{"a": [1, {"b": "c"}], "d": null}'
    assert sum(changed_json(text, Random(number)) != text for number in range(100)) > 90


def test_the_command_tells_faults_keeps_them_and_fails(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(fuzz, "NAMES", (PLANTED,))
    monkeypatch.setattr(fuzz, "Child", Patient)
    monkeypatch.setattr(fuzz, "_FOLDER", tmp_path)
    monkeypatch.setattr(sys, "argv", ["fuzz", "--cases", "7", "--seed", "s"])
    assert fuzz.main() == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "seed s: the same cases again with --seed s"
    assert f"fault: --seed s --case {PLANTED}/raises/0: KeyError: 'raises'" in lines
    assert lines[-1].split() == [PLANTED, "7", "1", "0", "6"]  # a seed that is refused is a fault too
    assert (tmp_path / "faults" / f"{PLANTED}-raises-0-s" / "files" / "what").read_text() == "raises"


@pytest.mark.parametrize("name", NAMES)
def test_every_seed_is_accepted(name, tmp_path):
    command = [sys.executable, "-m", "scripts.fuzz", "--kind", name, "--seed", "0", "--cases"]
    done = subprocess.run(
        [*command, str(len(kind(name).seeds()))], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
