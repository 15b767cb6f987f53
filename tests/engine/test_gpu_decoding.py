"""What the host makes of a device's words on its windows; the device is a fake."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
import pytest

from whisper_max.engine.gpu.decoding import LAG, DeviceDecoding
from whisper_max.errors import OptionError, WhisperMaxError
from whisper_max.model.stages import BROKEN, GOING_ON, IMPOSSIBLE


class FakeReport:
    def __init__(self, *said):
        self._said = np.array(said, np.int32)

    def read(self):
        return self._said


class Listening(DeviceDecoding):
    """Two places of two hypotheses each, whose device says what it is told to."""

    def __init__(self):
        self.n_windows, self.n_hyps = 2, 2
        self._started, self._ended, self._under_way, self._n_steps = {}, {}, deque(), 0
        self._no_speech_probs = {}

    def begin(self, place):
        self._started[place], self._no_speech_probs[place] = self._n_steps, (None, 0)

    def say(self, *said, heard=True):
        report: Any = FakeReport(*said)
        self._under_way.append((self._n_steps, report))
        self._n_steps += 1
        if heard:
            for _ in range(LAG):
                self.say(*[GOING_ON] * 4, heard=False)


def test_a_window_is_finished_when_all_its_hypotheses_are():
    batch = Listening()
    batch.begin(0)
    batch.begin(1)
    batch.say(3, GOING_ON, GOING_ON, GOING_ON)
    assert batch.finished() == []
    batch.say(3, GOING_ON, 4, 4)
    assert batch.finished() == [1]
    batch.say(3, 9, 4, 4)
    assert batch.finished() == [0, 1]


def test_the_host_hears_of_it_some_steps_later():
    batch = Listening()
    batch.begin(0)
    for _ in range(LAG):
        batch.say(3, 3, 0, 0, heard=False)
        assert batch.finished() == []
    batch.say(3, 3, 0, 0, heard=False)
    assert batch.finished() == [0]


def test_what_was_said_of_a_place_before_its_window_does_not_count():
    batch = Listening()
    batch.say(3, 3, 0, 0)
    batch.begin(0)
    assert batch.finished() == []
    batch.say(5, 5, 0, 0)
    assert batch.finished() == [0]


@pytest.mark.parametrize(("said", "error"), [(BROKEN, WhisperMaxError), (IMPOSSIBLE, OptionError)])
def test_an_error_is_said_once_and_ends_its_window_only(said, error):
    batch = Listening()
    batch.begin(0)
    batch.begin(1)
    batch.say(GOING_ON, GOING_ON, GOING_ON, said)
    batch.say(GOING_ON, GOING_ON, 2, 2)
    assert batch.finished() == [1]
    with pytest.raises(error) as caught:
        batch.take(1)
    assert type(caught.value) is error
    assert batch.finished() == []
    assert list(batch._started) == [0]
    batch.drop(0)
    batch.say(3, 3, 3, 3)
    assert batch.finished() == []
