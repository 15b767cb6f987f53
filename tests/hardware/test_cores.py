"""The cores that a process may use, from the files in which Linux says it."""

from __future__ import annotations

import os

import pytest

from whisper_max.hardware import cores
from whisper_max.hardware.cores import allowed_cores, cpu_quota, usable_cores


def write(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("cpu_", "cpu.", 1)).write_text(text)


@pytest.fixture
def group(tmp_path):
    """Gives the quota of a process in the groups of these lines."""

    def quota(*lines):
        (tmp_path / "cgroup").write_text("".join(f"{line}\n" for line in lines))
        return cpu_quota(tmp_path / "cgroup", tmp_path / "root")

    return quota


@pytest.mark.parametrize(("text", "expected"), [("150000 100000\n", 1.5), ("max 100000\n", None)])
def test_version_2_in_a_container(group, tmp_path, text, expected):
    write(tmp_path / "root", cpu_max=text)
    assert group("0::/../../some/where") == expected


def test_version_2_takes_the_tightest_of_all_groups_above(group, tmp_path):
    write(tmp_path / "root" / "a", cpu_max="200000 100000")
    write(tmp_path / "root" / "a" / "b", cpu_max="max 100000")
    write(tmp_path / "root" / "other", cpu_max="10000 100000")
    assert group("0::/a/b") == 2.0


@pytest.mark.parametrize("mount", ["cpu", "cpu,cpuacct"])
@pytest.mark.parametrize(("quota", "expected"), [("300000", 3.0), ("-1", None)])
def test_version_1(group, tmp_path, mount, quota, expected):
    write(tmp_path / "root" / mount, cpu_cfs_quota_us=quota, cpu_cfs_period_us="100000")
    assert group("4:memory:/m", f"3:{mount}:/docker/1", "0::/") == expected


def test_both_versions_side_by_side(group, tmp_path):
    write(tmp_path / "root" / "unified" / "u", cpu_max="400000 100000")
    write(tmp_path / "root" / "cpu" / "c", cpu_cfs_quota_us="50000", cpu_cfs_period_us="100000")
    assert group("2:cpu:/c", "0::/u") == 0.5


def test_no_control_groups(tmp_path):
    assert cpu_quota(tmp_path / "cgroup", tmp_path) is None


@pytest.mark.parametrize(("quota", "expected"), [(None, 4), (0.2, 1), (1.4, 1), (1.6, 2), (9.0, 4)])
def test_a_quota_is_rounded_and_never_zero(monkeypatch, quota, expected):
    monkeypatch.setattr(cores, "cpu_quota", lambda: quota)
    monkeypatch.setattr(cores, "allowed_cores", lambda: [0, 1, 2, 3])
    assert usable_cores() == expected


@pytest.mark.parametrize(
    ("siblings", "expected"),
    [
        ({0: "0", 1: "1", 2: "2", 3: "3"}, [0, 1, 2, 3]),
        ({0: "0-1", 1: "0-1", 2: "2-3", 3: "2-3"}, [0, 2, 1, 3]),
        ({0: "0,2", 1: "1,3", 2: "0,2", 3: "1,3"}, [0, 1, 2, 3]),
        ({}, [0, 1, 2, 3]),
    ],
)
def test_physical_cores_come_first(monkeypatch, siblings, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 2, 1, 0})
    monkeypatch.setattr(cores, "_text", lambda path: siblings.get(int(path.parts[5].removeprefix("cpu")), ""))
    assert allowed_cores() == expected
