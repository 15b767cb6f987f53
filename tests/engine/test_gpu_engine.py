"""What a CPU says of options for GPUs, and how many windows go together on a GPU; the engine below is a fake."""

from __future__ import annotations

import numpy as np
import pytest
from max.driver import CPU, Buffer
from max.dtype import DType

from whisper_max import load_model
from whisper_max.checkpoint.published import MODELS
from whisper_max.engine import WhisperEngine
from whisper_max.engine.features import EncodedWindows
from whisper_max.engine.gpu_engine import GpuEngine
from whisper_max.engine.gpu_memory import BatchLimit
from whisper_max.engine.tensors import Placement
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
