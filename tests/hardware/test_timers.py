"""Timers of threads that are started meanwhile may be late, and no others."""

import ctypes
import sys
import threading

import pytest

from whisper_max.hardware.timers import LATE, late_timers

GET_TIMERSLACK = 30  # in Linux's prctl.h


def slack() -> int:
    return ctypes.CDLL(None).prctl(GET_TIMERSLACK, 0, 0, 0, 0)


def slack_of_a_new_thread() -> int:
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(slack()))
    thread.start()
    thread.join()
    return found[0]


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone lets threads have late timers")
def test_threads_inherit_late_timers_and_this_one_gets_its_own_back():
    before = slack()
    with late_timers():
        assert slack_of_a_new_thread() == LATE
    assert (slack(), slack_of_a_new_thread()) == (before, before)
