"""A small random model that decodes on a device, and the graphs that it decodes by."""

from __future__ import annotations

import pytest

from tests.support import device_graphs as small


@pytest.fixture(scope="session")
def device_dims():
    return small.DIMS


@pytest.fixture(scope="session")
def device_tensors():
    return small.device_tensors()


@pytest.fixture(scope="session")
def device_graphs(kernel_graphs):
    """By name; the file of the tests has ``add_graphs`` of ``tests.support.device_graphs``."""
    return kernel_graphs | {name: small.Widened(kernel_graphs[name]) for name in small.CHOOSERS}
