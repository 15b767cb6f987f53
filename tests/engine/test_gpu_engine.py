"""What a CPU says of options for GPUs, and how many windows go together on a GPU; the engine below is a fake."""

from __future__ import annotations

import numpy as np
import pytest
from max.driver import CPU, Buffer
from max.dtype import DType

from whisper_max import load_model
from whisper_max.checkpoint.published import MODELS
from whisper_max.decode.device_contract import DeviceInference
from whisper_max.engine import WhisperEngine
from whisper_max.engine.batch import EncodedWindows
from whisper_max.engine.gpu import engine as gpu_engine
from whisper_max.engine.gpu.engine import GpuEngine
from whisper_max.engine.gpu.memory import BatchLimit
from whisper_max.engine.runtime import Placement
from whisper_max.errors import DeviceError, OptionError

DIMS = MODELS["tiny"].dims


def test_a_cpu_takes_no_share_of_a_gpus_memory():
    with pytest.raises(OptionError, match=r"gpu_memory_utilization: only a GPU's memory is planned: found cpu:"):
        load_model("base", device="cpu", gpu_memory_utilization=0.5)


class SmallGpu(GpuEngine):
    """An encoder that has room for so many windows; a window's features are its own first value."""

    def __init__(self, most, report):
        self._dims, self._placement = DIMS, Placement(CPU(), DType.float32)
        self._encoded = BatchLimit(most, "windows in the encoder", report)
        self._decoded = BatchLimit(most, "windows in the decoder", report)
        self._graphs, self._report, self._idle, self._tokens = {}, report, {}, True


@pytest.fixture
def room(monkeypatch):
    """Sets how many windows fit in the encoder; returns the sizes it was asked for."""
    asked = []

    def make(most):
        def encode(engine, mel):
            asked.append(len(mel))
            if len(mel) > most:
                raise ValueError("CUDA_ERROR_OUT_OF_MEMORY")
            xa = np.zeros((len(mel), DIMS.n_audio_ctx, DIMS.n_audio_state), np.float32)
            xa += mel[:, :1, :1]
            return EncodedWindows(Buffer.from_numpy(xa))

        monkeypatch.setattr(WhisperEngine, "encode", encode)
        return asked

    return make


@pytest.mark.parametrize(("fits", "expected"), [(8, [5]), (4, [4, 1]), (2, [4, 2, 2, 1])])
def test_windows_are_encoded_in_groups_that_fit_and_keep_their_order(room, fits, expected):
    asked, lines = room(fits), []
    mel = np.zeros((5, DIMS.n_mels, DIMS.n_frames), np.float32)
    mel += np.arange(5, dtype=np.float32)[:, None, None]
    engine = SmallGpu(8 if fits == 8 else 4, lines.append)
    xa = engine.encode(mel).xa.to_numpy()
    assert asked == expected
    assert engine.encode_size == min(fits, 8)
    assert len(lines) == (fits == 2)
    np.testing.assert_array_equal(xa[:, 0, 0], np.arange(5))
    np.testing.assert_array_equal(xa[:, -1, -1], np.arange(5))


def test_an_encoder_without_room_for_one_window(room):
    room(0)
    with pytest.raises(DeviceError, match="out of memory with one of the windows in the encoder"):
        SmallGpu(4, lambda line: None).encode(np.zeros((1, DIMS.n_mels, DIMS.n_frames), np.float32))


class FakeDecoding:
    """A batch of places; making one with more than ``fits`` beside those alive runs out of memory."""

    fits, alive = 100, 0

    def __init__(self, graphs, dims, placement, masks, n_windows, n_hyps, *, sampled, report):
        if FakeDecoding.alive + n_windows * n_hyps > FakeDecoding.fits:
            raise ValueError("CUDA_ERROR_OUT_OF_MEMORY")
        self.n_windows, self.n_hyps, self.sampled, self.masks = n_windows, n_hyps, sampled, masks
        FakeDecoding.alive += n_windows * n_hyps

    def restart(self, masks):
        self.masks = masks

    def close(self):
        FakeDecoding.alive -= self.n_windows * self.n_hyps


@pytest.fixture
def engine(monkeypatch):
    """With room for 8 windows in the decoder; its lines are in ``lines``."""
    monkeypatch.setattr(gpu_engine, "DeviceDecoding", FakeDecoding)
    monkeypatch.setattr(FakeDecoding, "alive", 0)
    monkeypatch.setattr(FakeDecoding, "fits", 100)
    lines = []
    engine = SmallGpu(8, lines.append)
    engine.lines = lines  # type: ignore[attr-defined]
    return engine


def test_the_engine_is_one_whose_device_chooses_tokens_and_the_cpus_is_not(engine):
    assert isinstance(engine, DeviceInference)
    assert engine.chooses_tokens
    assert not isinstance(object.__new__(WhisperEngine), DeviceInference)


def test_batches_are_used_again_once_they_are_given_back(engine):
    first = engine.device_batch("a", 3, 1, sampled=False)
    assert (first.n_windows, first.masks) == (4, "a")
    assert engine.device_batch("b", 3, 1, sampled=False) is not first  # in use
    engine.give_back(first)
    assert engine.device_batch("c", 4, 1, sampled=True) is not first
    again = engine.device_batch("d", 4, 1, sampled=False)
    assert again is first
    assert again.masks == "d"


def test_a_few_batches_are_kept(engine):
    for n_hyps in range(1, 7):
        engine.give_back(engine.device_batch("a", 1, n_hyps, sampled=True))
    assert FakeDecoding.alive == 3 + 4 + 5 + 6


def test_batches_that_nobody_uses_make_room_before_a_batch_shrinks(engine, monkeypatch):
    monkeypatch.setattr(FakeDecoding, "fits", 10)
    engine.give_back(engine.device_batch("a", 4, 1, sampled=False))
    assert engine.device_batch("a", 8, 1, sampled=False).n_windows == 8
    assert FakeDecoding.alive == 8
    assert engine.lines == []
    assert engine.device_batch("a", 4, 1, sampled=True).n_windows == 2
    assert len(engine.lines) == 2  # 8 to 4, 4 to 2


def test_they_make_room_for_the_encoder_too(engine, room):
    room(8)
    engine.give_back(engine.device_batch("a", 4, 1, sampled=False))
    engine.encode(np.zeros((2, DIMS.n_mels, DIMS.n_frames), np.float32))
    assert FakeDecoding.alive == 4
    room(1)
    engine.encode(np.zeros((2, DIMS.n_mels, DIMS.n_frames), np.float32))
    assert FakeDecoding.alive == 0


def test_they_make_room_for_what_the_host_decodes(engine, monkeypatch):
    def new_batch(engine, max_windows, n_hyps):
        if FakeDecoding.alive:
            raise ValueError("CUDA_ERROR_OUT_OF_MEMORY")
        return max_windows, n_hyps

    monkeypatch.setattr(WhisperEngine, "new_batch", new_batch)
    engine.give_back(engine.device_batch("a", 4, 1, sampled=False))
    assert engine.new_batch(3, 5) == (3, 5)
    lent = engine.device_batch("a", 4, 1, sampled=False)
    with pytest.raises(ValueError, match="OUT_OF_MEMORY"):
        engine.new_batch(3, 5)
    lent.close()
