"""The formats that the benchmark writes for the peers hold the numbers of the checkpoint they are made from."""

import numpy as np
import pytest

from tests.support.scripts import scripts_of
from whisper_max.checkpoint import read_checkpoint, resolve
from whisper_max.errors import WhisperMaxError


@pytest.fixture
def weights():
    with scripts_of("bench"):
        from benchmarks import weights as module

        yield module


@pytest.fixture(scope="module")
def base():
    try:
        return read_checkpoint(resolve("base", offline=True))
    except WhisperMaxError:
        pytest.skip("the base weights are not installed")


@pytest.mark.parametrize("kind", ["ggml-f16.bin", "huggingface"])
def test_written_formats_read_back_as_the_same_checkpoint(weights, base, tmp_path, kind):
    weights.make_weights({kind}, tmp_path, {})
    again = read_checkpoint(tmp_path / kind)
    assert again.dims == base.dims
    assert again.vocabulary.ranks == base.vocabulary.ranks
    for name in base.tensors:
        np.testing.assert_array_equal(again.tensors[name], base.tensors[name], err_msg=name)


def test_a_format_whose_tool_is_not_there_is_named_and_left_out(weights, base, tmp_path):
    record = tmp_path / "seconds.json"
    record.write_text('{"huggingface": 1.0}')
    made, unmade = weights.make_weights({"openvino-int8"}, tmp_path, {"openvino": "/bin/false"})
    assert made == {"huggingface": 1.0}
    assert unmade == {"openvino-int8": "optimum-intel can't export int8: exit status 1"}


def test_q8_0_keeps_each_value_within_half_a_step(weights):
    values = np.random.default_rng(0).standard_normal((3, 64)).astype(np.float32)
    values[1, :32] = 0
    packed = np.frombuffer(weights.q8_0(values), np.dtype([("scale", "<f2"), ("values", "i1", 32)]))
    restored = (packed["scale"].astype(np.float32)[:, None] * packed["values"]).reshape(values.shape)
    steps = np.repeat(np.abs(values.reshape(-1, 32)).max(axis=1) / 127, 32).reshape(values.shape)
    assert np.all(np.abs(restored - values) <= 0.5 * steps + 127 * steps * 2**-11)
    assert not restored[1, :32].any()
    assert set(np.abs(packed["values"].astype(int)).max(axis=1)) == {0, 127}
