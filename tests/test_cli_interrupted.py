"""Ctrl-C while modules are imported, when an exception would abort the process within MAX, and between."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from whisper_max import cli
from whisper_max.__main__ import interrupt

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


@pytest.mark.parametrize("module", ["argparse", "whisper_max.cli_serve", "whisper_max.api", "max.driver"])
def test_an_import_is_ended_in_one_line(module: str):
    done = subprocess.run([sys.executable, "-c", STARTED.format(module=module)], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")


def test_elsewhere_it_is_an_exception_that_cleans_up():
    with pytest.raises(KeyboardInterrupt):
        interrupt(signal.SIGINT, None)


def test_ctrl_c_while_arguments_are_read_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):

    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "build_parser", interrupted)
    assert cli.main(["models"]) == 130
    assert capsys.readouterr() == ("", "interrupted\n")
