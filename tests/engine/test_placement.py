"""Values between NumPy and a device."""

from __future__ import annotations

import numpy as np
import pytest
from max.driver import CPU, Buffer
from max.dtype import DType

from whisper_max.engine.runtime import Placement
from whisper_max.engine.stages import floats

PLACE = Placement(CPU(), DType.float32)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_floats_of_a_device_come_as_float32(dtype):
    values = np.array([[1.0, -2.5], [65504.0, 0.0]], dtype)
    found = floats(PLACE, Buffer.from_numpy(values))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, values)


def test_bfloat16_which_numpy_has_not_is_widened():
    values = np.array([[1.0, -2.5, 3.0], [np.inf, 0.0, 2.0**100]], np.float32)
    bits = (values.view(np.uint32) >> 16).astype(np.uint16)
    np.testing.assert_array_equal(floats(PLACE, Buffer.from_numpy(bits).view(DType.bfloat16, bits.shape)), values)
