"""Compiled graphs by the private interface of MAX, which needs no graph building, and by the public one."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from max.driver import CPU, Buffer
from max.dtype import DType

from tests.support.numpy_whisper import random_tensors
from whisper_max.checkpoint.published import MODELS
from whisper_max.compile.store import find_module
from whisper_max.engine import loading, select_target
from whisper_max.engine.loading import load_graphs
from whisper_max.engine.runtime import HostGraph
from whisper_max.engine.weights import prepare_weights

LOADED = """
import sys
from max.dtype import DType
from whisper_max.checkpoint.published import MODELS
from whisper_max.compile.store import find_module
from whisper_max.engine import WhisperEngine, select_target
find_module(MODELS["tiny"].dims, DType.int8, select_target("cpu", "int8"), print)
print(sorted({"max.graph", "max.engine"} & set(sys.modules)))
"""


def test_both_interfaces_give_the_same(monkeypatch: pytest.MonkeyPatch):
    dims = MODELS["tiny"].dims
    module, _ = find_module(dims, DType.int8, select_target("cpu", "int8"), print)
    weights = prepare_weights(random_tensors(dims, seed=1), dims, DType.float32, DType.int8, CPU())
    mel = Buffer.from_numpy(np.random.default_rng(2).standard_normal((1, dims.n_mels, 3000), np.float32))
    private = load_graphs(module, CPU(), weights)
    monkeypatch.setattr(loading, "_PRIVATE", ("gone",))
    public = load_graphs(module, CPU(), weights)
    assert isinstance(private["encode"], HostGraph)
    assert not isinstance(public["encode"], HostGraph)
    assert private.keys() == public.keys()
    xa, expected = (graphs["encode"].execute(mel)[0].to_numpy() for graphs in (private, public))
    assert np.isfinite(xa).all()
    np.testing.assert_array_equal(xa, expected)


@pytest.mark.parametrize("interface", [loading._PRIVATE, ("gone",)])
def test_what_does_not_fit_is_an_error_of_max_that_the_engine_tells(interface, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loading, "_PRIVATE", interface)
    module, _ = find_module(MODELS["tiny"].dims, DType.int8, select_target("cpu", "int8"), print)
    for content in (module, b"no module"):
        with pytest.raises((RuntimeError, ValueError)):
            load_graphs(content, CPU(), {})


def test_a_model_that_is_compiled_loads_without_what_builds_graphs():
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")
