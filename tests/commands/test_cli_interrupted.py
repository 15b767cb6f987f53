"""How the process ends: Ctrl-C while modules are imported, when an exception would abort the process within MAX, and
between; at once where nothing is left to be done."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from whisper_max.__main__ import interrupt
from whisper_max.commands import main as cli

STARTED = """
import os, signal, sys

class Interrupts:
    def find_spec(self, name, *_):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupts())
sys.argv = ["whisper-max", "transcribe", "a.wav", "--offline"]
from whisper_max.__main__ import run
sys.exit(run())
"""


@pytest.mark.parametrize("module", ["argparse", "whisper_max.commands.transcribe", "whisper_max.api", "max.driver"])
def test_an_import_is_ended_in_one_line(module: str):
    done = subprocess.run([sys.executable, "-c", STARTED.format(module=module)], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")


def test_elsewhere_it_is_an_exception_that_cleans_up():
    with pytest.raises(KeyboardInterrupt):
        interrupt(signal.SIGINT, None)


def test_ctrl_c_while_arguments_are_read_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):

    def interrupted(**_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "build_parser", interrupted)
    assert cli.main(["models"]) == 130
    assert capsys.readouterr() == ("", "interrupted\n")


ENDED = """
import atexit, sys, threading, time
from whisper_max import __main__ as program

class Late:
    def __del__(self):
        print("taken apart")

def wait():
    time.sleep(0.2)
    print("waited for")

late = Late()
atexit.register(print, "registered")
if sys.argv[1] == "thread":
    threading.Thread(target=wait).start()
threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
print("written", end="\\n")
program.leave(3)
sys.exit(4)
"""


@pytest.mark.parametrize(
    ("kind", "status", "printed"),
    [("alone", 3, ["written", "registered"]), ("thread", 4, ["written", "waited for", "registered", "taken apart"])],
)
def test_it_ends_once_all_is_done_that_was_registered_or_is_at_work(kind: str, status: int, printed: list[str]):
    done = subprocess.run([sys.executable, "-c", ENDED, kind], capture_output=True, text=True)
    assert (done.returncode, done.stdout.splitlines(), done.stderr) == (status, printed, "")
