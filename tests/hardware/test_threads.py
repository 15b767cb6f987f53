"""The pool of worker threads: its size, and that it leaves no thread tied to a core."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from whisper_max.errors import OptionError
from whisper_max.hardware import threads
from whisper_max.hardware.cores import usable_cores
from whisper_max.hardware.threads import start_workers

N_CORES = len(os.sched_getaffinity(0))

WORKERS = """
import os, sys, time
from whisper_max.hardware.threads import start_workers

def names():
    return {task: open(f"/proc/self/task/{task}/comm").read() for task in os.listdir("/proc/self/task")}

before = names()
start_workers(int(sys.argv[1]) if len(sys.argv) > 1 else None)
while any(name in before.values() for task, name in names().items() if task not in before):
    time.sleep(0.01)  # until the workers have taken their own names
print(sum("Thread" in name for name in names().values()), {tuple(os.sched_getaffinity(int(task))) for task in names()})
"""


def started(*arguments, **environment):
    """Workers of a new process, and which cores its threads may run on."""
    result = subprocess.run(
        [sys.executable, "-c", WORKERS, *arguments],
        env={**os.environ, **environment}, capture_output=True, text=True, check=True, timeout=600,
    )  # fmt: skip
    return result.stdout.strip()


@pytest.mark.parametrize("count", sorted({1, N_CORES}))
def test_so_many_workers_on_any_core(count):
    anywhere = {tuple(os.sched_getaffinity(0))}
    assert started(str(count)) == f"{count} {anywhere}"
    assert started(WHISPER_MAX_THREADS=str(count)) == f"{count} {anywhere}"


@pytest.fixture
def no_pool(monkeypatch):
    monkeypatch.setattr(threads, "_started", [])
    monkeypatch.setattr(threads, "CPU", lambda: None)
    monkeypatch.delenv("WHISPER_MAX_THREADS", raising=False)


def test_every_usable_core_by_default(no_pool, monkeypatch):
    monkeypatch.setattr(threads, "usable_cores", lambda: 1)
    assert start_workers() == 1


def test_an_argument_goes_before_the_environment(no_pool, monkeypatch):
    monkeypatch.setenv("WHISPER_MAX_THREADS", "1000")
    assert start_workers(1) == 1


@pytest.mark.parametrize("count", [0, -1, 100_000])
def test_a_number_that_can_not_be_had(no_pool, count):
    with pytest.raises(OptionError, match=rf"^threads: impossible number of threads: expected 1 to {N_CORES}, found"):
        start_workers(count)


def test_a_pool_keeps_its_size(no_pool):
    assert start_workers(1) == start_workers() == start_workers(1) == 1
    with pytest.raises(OptionError, match="the threads of a process are started once: expected 1, found 2"):
        start_workers(2)


def test_a_system_without_affinity(no_pool, monkeypatch):
    monkeypatch.setattr(threads, "allowed_cores", lambda: [0, 1])
    monkeypatch.setattr(threads, "os", type("Other", (), {"environ": {}}))
    assert start_workers() == usable_cores()
    threads._started.clear()
    with pytest.raises(OptionError, match="threads: can't be set on this system: expected 2, found 1"):
        start_workers(1)
