"""A process that was forked after MAX was started: every use of a model there is refused at once, never waits."""

from __future__ import annotations

import copy
import os
import pickle
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

import whisper_max
from whisper_max import errors
from whisper_max.errors import DeviceError, WhisperMaxError

REPOSITORY = Path(__file__).parents[2]
PREPARE = """
import multiprocessing, os, sys, warnings
import whisper_max
warnings.simplefilter("ignore")  # newer Pythons warn of threads at every fork
AUDIO = "samples/jfk.flac"

def uses(model):
    return {
        "transcribe": lambda: model.transcribe(AUDIO),
        "transcribe_many": lambda: list(model.transcribe_many([AUDIO])),
        "transcribe_segments": lambda: list(model.transcribe_segments(AUDIO)),
        "detect_language": lambda: model.detect_language(AUDIO),
        "live": lambda: model.live(vad=False),
        "check": lambda: model.check(),
        "begun": lambda: list(begun),
        "batch": lambda: model.inference.new_batch(1),
        "load": lambda: whisper_max.load_model("tiny.en", device="cpu"),
    }

def use(model, how):
    try:
        return f"{how}: {uses(model)[how]()}"
    except whisper_max.WhisperMaxError as error:
        return f"{how}: {type(error).__name__}: {error}"
"""
FORK = """
model = whisper_max.load_model("tiny.en", device="cpu")
begun = model.transcribe_segments(AUDIO, clip_timestamps="0,3,3,6,6,9")
next(begun)
if os.fork() == 0:
    print(*(use(model, how) for how in uses(model)), sep="\\n")
    sys.exit(3)  # as a server's worker ends, with all that the interpreter does then
print(os.waitstatus_to_exitcode(os.wait()[1]))
"""
POOL = """
model = whisper_max.load_model("tiny.en", device="cpu")
def work(how):
    return use(model, how)
with multiprocessing.get_context("fork").Pool(2) as pool:
    print(*pool.map(work, ["transcribe", "load"]), sep="\\n")
"""
RAISED = """
from concurrent.futures import ProcessPoolExecutor
model = whisper_max.load_model("tiny.en", device="cpu")
with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
    try:
        pool.submit(model.transcribe, AUDIO).result()
    except whisper_max.WhisperMaxError as error:
        print(f"{type(error).__name__}: {error}")
"""
BEFORE = """
if os.fork() == 0:  # nothing of MAX but its modules is there yet
    print(whisper_max.load_model("tiny.en", device="cpu").transcribe(AUDIO).text, flush=True)
    sys.exit(0)
sys.exit(os.wait()[1])
"""


def run(script: str) -> str:
    """What a process and its children print; they must end before long."""
    command = [sys.executable, "-c", PREPARE + script]
    process = subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        output, errors = process.communicate(timeout=1800)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # children that wait for ever outlive their parent
    assert (process.returncode, errors) == (0, "")
    return output


def test_a_forked_process_is_told_at_once_whatever_it_does_and_ends_as_it_likes():
    *lines, status = run(FORK).splitlines()
    assert len(lines) == 9
    for line in lines:
        start = "DeviceError: MAX can't run in a process forked after it was started: found process"
        assert line.partition(": ")[2].startswith(start)
        assert 'multiprocessing.get_context("spawn")' in line
        assert "gunicorn" in line
    assert status == "3"


def test_pools_of_forked_processes():
    lines = run(POOL).splitlines()
    assert [line.partition(" MAX")[0] for line in lines] == ["transcribe: DeviceError:", "load: DeviceError:"]


def test_an_error_comes_back_from_a_pool_or_the_model_does_not_go_in():
    (line,) = run(RAISED).splitlines()
    assert line.startswith("DeviceError: cpu:")
    assert "a model can't be pickled or copied" in line


def test_a_process_forked_before_any_model_was_loaded_works():
    assert "ask not what your country can do for you" in run(BEFORE)


@pytest.fixture(scope="module")
def model() -> whisper_max.Model:
    return whisper_max.load_model("tiny.en", device="cpu")


@pytest.mark.parametrize("way", [pickle.dumps, copy.deepcopy])
def test_a_model_is_neither_pickled_nor_copied(model: whisper_max.Model, way):
    for what in (model, model.inference, model.live(vad=False)):
        with pytest.raises(DeviceError, match=r"can't be pickled or copied; load it in each process.*spawn"):
            way(what)


def test_results_are_pickled(model: whisper_max.Model):
    result = model.transcribe(np.zeros(16000, np.float32))
    assert pickle.loads(pickle.dumps(result)) == result


@pytest.mark.parametrize(
    "kind", [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, WhisperMaxError)]
)
def test_errors_are_pickled(kind: type[WhisperMaxError]):
    error = kind("what", where="where", expected=1, found=2, hint="hint")
    back = pickle.loads(pickle.dumps(error))
    assert (type(back), str(back), vars(back)) == (kind, str(error), vars(error))
