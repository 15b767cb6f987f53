"""The Ray cluster of a job: one that is there, or one of this machine, for as long as the job."""

from __future__ import annotations

import logging
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import Any

from whisper_max.errors import DeviceError, OptionError
from whisper_max.hardware.cores import usable_cores

_HINT = 'pip install "whisper-max[ray]"'
_OBJECT_STORE = 128 << 20  # bytes of a cluster of this machine: rows are paths, never audio
_START_SECONDS = "600"  # that a busy machine may take to start Ray
_QUIET = ("ray", "ray.data", "ray.serve")
_TOKEN = "RAY_AUTH_TOKEN"
_TOKENS = f"a cluster that asks for a token takes RAY_AUTH_MODE=token and {_TOKEN}"


@dataclass(frozen=True)
class Cluster:
    """A cluster that one is connected to.

    cpus, gpus: of all its nodes. is_local: started for this job, on this machine. seconds: that it took to start or
    to reach.
    """

    cpus: int
    gpus: int
    is_local: bool
    seconds: float


def imported() -> Any:  # noqa: ANN401 - a module
    """Ray, which takes a second to import.

    Raises:
        OptionError: it is not installed.
    """
    # What a user has set stays. Ray reads these when it is imported.
    os.environ.setdefault("RAY_raylet_start_wait_time_s", _START_SECONDS)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # else a line for each pool of actors
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise OptionError("needs the extra ray", where="batch", found=error.name, hint=_HINT) from error
    return ray


@contextmanager
def connected(address: str | None = None, num_cpus: int | None = None) -> Iterator[Cluster]:
    """A connection to a cluster, until the block ends.

    Args:
        address: as ``ray.init`` takes it; None starts one on this machine, which ends with the block, or with this
            process, however it dies.
        num_cpus: of a cluster of this machine; None for every core that may be used.

    Raises:
        OptionError: Ray is not installed, or no cluster is at this address.
        DeviceError: Ray doesn't start on this machine.
    """
    ray = imported()
    start = time.monotonic()
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.ERROR)
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        cores = num_cpus or usable_cores()
        options |= {"address": "local", "num_cpus": cores, "object_store_memory": _OBJECT_STORE}
        options |= {"include_dashboard": False}
    else:
        options |= {"address": address}
    with _own_token() if address is None else nullcontext():
        try:
            ray.init(**options)
        except Exception as error:  # Ray raises plain ones, too
            ray.shutdown()
            found = " ".join(str(error).split())[:300]
            if address is None:
                raise DeviceError("Ray doesn't start on this machine", found=found) from error
            raise OptionError("no Ray cluster", where=f"--ray {address}", found=found, hint=_TOKENS) from error
        try:
            context = ray.data.DataContext.get_current()
            context.enable_progress_bars = False
            has = ray.cluster_resources()
            cpus, gpus = int(has.get("CPU", 0)), int(has.get("GPU", 0))
            yield Cluster(cpus, gpus, address is None, time.monotonic() - start)
        finally:
            ray.shutdown()


@cache
def _token() -> str:
    """One for each process: Ray reads it once, for all clusters that a process starts."""
    return secrets.token_hex(32)


@contextmanager
def _own_token() -> Iterator[None]:
    """A token for a cluster of this machine, as long as that lasts, unless the user has one.

    Else Ray would write one to the home folder, which services don't have, and from then on every cluster that
    is started there would ask for it.
    """
    if _TOKEN in os.environ or "RAY_AUTH_TOKEN_PATH" in os.environ:
        yield
        return
    os.environ[_TOKEN] = _token()
    try:
        yield
    finally:
        del os.environ[_TOKEN]
