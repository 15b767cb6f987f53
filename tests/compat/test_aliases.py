"""Programs that can't be edited: the adapters under the peers' own names, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from whisper_max.version import VERSION

PROGRAM = """\
import sys
import faster_whisper
import whisper
import whisper.audio
from faster_whisper.transcribe import Segment
from whisper.tokenizer import get_tokenizer
import whisper_max.compat.whisper as own
from whisper_max.compat.faster_whisper.transcribe import Segment as own_segment
import beside
print(whisper is own, Segment is own_segment, own.__spec__.name, beside.NAME, sys.argv[1:], __name__)
sys.exit(7)
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    (tmp_path / "beside.py").write_text("NAME = 'beside'\n")
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    return path


def python(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=1800, cwd=cwd)


EXPECTED = "True True whisper_max.compat.whisper beside ['--model', 'base', '-m'] __main__\n"


def test_a_program_runs_unchanged_and_ends_as_it_would(program: Path):
    ended = python("-m", "whisper_max.compat", "run", str(program), "--model", "base", "-m")
    assert (ended.stdout, ended.stderr, ended.returncode) == (EXPECTED, "", 7)


def test_a_module_runs_as_python_runs_it(program: Path):
    ended = python("-m", "whisper_max.compat", "run", "-m", "program", "--model", "base", "-m", cwd=program.parent)
    assert (ended.stdout, ended.returncode) == (EXPECTED, 7), ended.stderr


def test_the_peers_command_is_ours():
    ended = python("-m", "whisper_max.compat", "run", "-m", "whisper", "--help")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("usage: python -m whisper_max transcribe")
    refused = python("-m", "whisper_max.compat.whisper", "no such file.wav", "--model", "no-such-model")
    assert refused.returncode in (1, 2)
    assert refused.stderr.startswith("error: ")


def test_what_is_no_program_is_refused_in_a_line(tmp_path: Path):
    script = tmp_path / "script.sh"
    script.write_text("#!/bin/sh\necho 'no Python' | cat\n")
    for program, what in ((str(script), "not a Python program"), (str(tmp_path / "none"), "no such file")):
        ended = python("-m", "whisper_max.compat", "run", program)
        assert ended.returncode == 2
        assert ended.stderr.count("\n") == 1
        assert what in ended.stderr


SPAWNING = """\
import multiprocessing
import sys
from whisper.tokenizer import LANGUAGES

def told(queue):
    import faster_whisper
    queue.put((faster_whisper.__name__, len(LANGUAGES)))

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    queue = context.Queue()
    process = context.Process(target=told, args=(queue,))
    process.start()
    print(queue.get(timeout=600))
    process.join()
"""


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_processes_that_a_program_spawns_have_the_names(tmp_path: Path, method: str):
    (tmp_path / "spawning.py").write_text(SPAWNING)
    ended = python("-m", "whisper_max.compat", "run", str(tmp_path / "spawning.py"), method)
    assert ended.stdout == "('whisper_max.compat.faster_whisper', 100)\n", ended.stderr


INSTALLED = """\
from whisper_max.compat import install
install()
install()
import faster_whisper, importlib.util
from whisper_max import version
print(faster_whisper.__name__, importlib.util.find_spec("whisper").name, version.VERSION)
try:
    import whisper.triton_ops
except ModuleNotFoundError as error:
    print(error)
"""


def test_install_is_for_programs_with_a_line_to_spare(tmp_path: Path):
    (tmp_path / "whisper.py").write_text("raise RuntimeError('the wrong one')\n")
    ended = python("-c", INSTALLED, cwd=tmp_path)
    first, second = ended.stdout.splitlines()
    assert first == f"whisper_max.compat.faster_whisper whisper {VERSION}"
    assert second == "whisper.triton_ops: the adapter has no such module"


def test_a_peer_that_is_there_already_is_not_mixed_with_the_adapter(tmp_path: Path):
    (tmp_path / "whisper.py").write_text("")
    ended = python("-c", "import whisper\nfrom whisper_max.compat import install\ninstall()", cwd=tmp_path)
    assert "OptionError: whisper: imported already" in ended.stderr
