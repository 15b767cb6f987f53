"""What scripts say before they work: help without working, and one line where what they need is not installed."""

import os
import subprocess
import sys
from importlib.machinery import PathFinder

import pytest

from tests.support.scripts import SCRIPTS, scripts_of

WITHOUT = """
import runpy, sys
sys.modules["matplotlib"] = None
sys.path.insert(0, sys.argv[1])
del sys.argv[:2]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=1800, check=False)


@pytest.mark.parametrize("name", ["bench/cost_curves", "server/load_server", "bench/memory_over_time"])
def test_without_matplotlib_the_group_is_named_in_one_line(name):
    script = SCRIPTS / f"{name}.py"
    ended = run("-c", WITHOUT, str(script.parent), str(script), "--help")
    assert (ended.returncode, ended.stdout) == (1, "")
    (line,) = ended.stderr.splitlines()
    assert "matplotlib" in line
    assert "pip install --group benchmark" in line


def test_help_does_not_build_vocabularies():
    folder = SCRIPTS.parent / "whisper_max" / "checkpoint" / "data"
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    ended = run(str(SCRIPTS / "build" / "build_vocabularies.py"), "--help")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "usage: build_vocabularies.py [-h]" in ended.stdout
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_a_peers_interpreter_finds_how_the_reference_is_loaded():
    with scripts_of("bench"):
        from benchmarks.runs import PEER_PATH

    places = PEER_PATH.split(os.pathsep)
    assert all(PathFinder.find_spec(module, places) for module in ("benchmarks", "reference_model"))
