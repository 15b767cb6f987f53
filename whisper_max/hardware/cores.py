"""The cores that this process may really use: by its affinity, and by the time that its control groups allow."""

from __future__ import annotations

import os
from pathlib import Path


def usable_cores() -> int:
    """How many cores this process can keep busy: those it may run on, or its quota (rounded) where that is less."""
    quota = cpu_quota()
    cores = len(allowed_cores())
    return cores if quota is None else max(1, min(cores, round(quota)))


def cpu_quota(groups: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> float | None:
    """CPUs' worth of time that the control groups of this process allow, or None without a limit.

    Args:
        groups: which groups the process is in: lines "number:controllers:path"; version 2 has number 0.
        root: where control groups are mounted. A container sees its own group at the root, whatever its path.
    """
    try:
        lines = groups.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    quotas = []
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if number == "0":
            mounts, read = [root, root / "unified"], _quota_v2
        elif "cpu" in controllers.split(","):
            mounts, read = [root / "cpu", root / controllers], _quota_v1
        else:
            continue
        own = Path(path.lstrip("/"))
        folders = {mount / part for mount in mounts for part in (own, *own.parents)}
        quotas += [quota for folder in folders if (quota := read(folder)) is not None]
    return min(quotas, default=None)


def _quota_v2(folder: Path) -> float | None:
    """``cpu.max``: quota and period in microseconds, or "max"."""
    quota, _, period = _text(folder / "cpu.max").partition(" ")
    return float(quota) / float(period) if quota not in ("", "max") else None


def _quota_v1(folder: Path) -> float | None:
    """``cpu.cfs_quota_us``, -1 without a limit, and ``cpu.cfs_period_us``."""
    quota, period = _text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us")
    return float(quota) / float(period) if quota and period and float(quota) > 0 else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def allowed_cores() -> list[int]:
    """The cores that this thread may run on; one hardware thread of each physical core first."""
    if not hasattr(os, "sched_getaffinity"):
        return list(range(os.cpu_count() or 1))
    cores = sorted(os.sched_getaffinity(0))
    siblings = {core: _text(Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list")) for core in cores}
    firsts = {group: core for core, group in reversed(siblings.items())}
    return sorted(cores, key=lambda core: (firsts[siblings[core]] != core and siblings[core] != "", core))
