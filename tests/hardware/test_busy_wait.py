"""How long workers spin: set before MAX starts, and never so that MAX ends the process."""

import os
import subprocess
import sys

import pytest

from whisper_max.errors import OptionError
from whisper_max.hardware import busy_wait
from whisper_max.hardware.busy_wait import SESSION, SHORT, WORKERS, settle_busy_wait

SESSIONS = """
import os, sys
from max.driver import CPU
from max.engine import InferenceSession
from whisper_max.hardware.threads import start_workers

if "others" in sys.argv:
    InferenceSession(devices=[CPU()])
start_workers()
InferenceSession(devices=[CPU()])
print(os.environ.get(sys.argv[1]), os.environ.get(sys.argv[2]))
for name in sys.argv[1:3]:
    os.environ.pop(name, None)
start_workers()
InferenceSession(devices=[CPU()])
"""


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch):
    monkeypatch.setattr(busy_wait, "_settled", {})
    for name in (WORKERS, SESSION):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("given", "others", "found"),
    [({}, False, SHORT), ({WORKERS: "40"}, False, "40"), ({SESSION: "40"}, False, "40"), ({}, True, "None")],
)
def test_sessions_are_made_with_what_the_workers_were_started_with(given, others, found):
    result = subprocess.run(
        [sys.executable, "-c", SESSIONS, WORKERS, SESSION, *(["others"] if others else [])],
        env={**os.environ, **given}, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert (result.returncode, result.stdout.split()) == (0, [found, found]), result.stderr


def test_two_times_are_refused(monkeypatch):
    monkeypatch.setenv(WORKERS, "40")
    monkeypatch.setenv(SESSION, "50")
    with pytest.raises(OptionError, match=f"{SESSION}.*40.*50"):
        settle_busy_wait()


def test_where_threads_have_no_names_nothing_is_set(monkeypatch, tmp_path):
    monkeypatch.setattr(busy_wait, "_TASKS", tmp_path / "missing")
    settle_busy_wait()
    assert not {WORKERS, SESSION} & set(os.environ)
