"""The kit of a GPU's first run: packed, installed in several goes, refused where it is not right."""

import hashlib
import json
import re
import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.scripts import scripts_of
from whisper_max.compile.artifact import write_artifact
from whisper_max.compile.build import Build
from whisper_max.errors import ArtifactError, OptionError
from whisper_max.model.digest import Graphs

MOST = 40_000
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture
def modules():
    with scripts_of("gpu"):
        import gpu_artifacts
        import gpu_host
        import pack_kit

        yield gpu_host, pack_kit, gpu_artifacts


@pytest.fixture
def host(modules):
    return modules[0]


@pytest.fixture
def packer(modules):
    return modules[1]


CONTENTS = {"source": 3_000, "artifacts": 100, "runtime": 90_000, "tiny.en": 50_000}


@pytest.fixture
def kit(packer, tmp_path):
    """A kit of four archives with a file each, in parts of at most MOST bytes."""
    made, out = tmp_path / "made", tmp_path / "kit"
    made.mkdir()
    out.mkdir()
    archives = []
    for number, (name, size) in enumerate(CONTENTS.items()):
        file = made / name
        file.write_bytes(bytes((number + index * 7) % 251 for index in range(size)))
        suffix = ".tar.xz" if name == "source" else ".tar"
        archives.append(packer.archive(made / f"{name}{suffix}", [(file, f"{name}/file")]))
    return packer.write_parts(out, archives, MOST, PYTHON)


def run(host, tmp_path, *more):
    return host.main([str(tmp_path / "there"), "--parts", str(tmp_path / "kit"), "--install", *more])


def installed(tmp_path):
    there = tmp_path / "there"
    return {name for name in CONTENTS if (there / name / "file").exists()}


def test_parts_are_no_larger_than_asked_and_hold_what_they_say(kit, host, tmp_path):
    sizes = [(tmp_path / "kit" / part.name).stat().st_size for part in kit.parts]
    assert sizes == [part.size for part in kit.parts]
    assert sizes[:-1] == [MOST] * (len(sizes) - 1)
    assert 0 < sizes[-1] <= MOST
    assert sum(sizes) == kit.archives[-1].stop
    assert kit.parts[0].holds == ("source", "artifacts", "runtime")
    assert kit.parts[-1].holds == ("tiny.en",)
    assert [archive.name for archive in kit.archives] == list(CONTENTS)
    assert host.read_kit(tmp_path / "kit") == kit
    assert (
        f"python{PYTHON} gpu_host.py FOLDER --install"
        in json.loads((tmp_path / "kit" / host.MANIFEST).read_text())["how"]
    )


def test_the_same_content_gives_the_same_parts(packer, tmp_path):
    file = tmp_path / "file"
    sums = []
    for turn in range(2):
        file.write_text("the same")
        file.touch()
        path = packer.archive(tmp_path / f"{turn}.tar.xz", [(file, "a/file")])
        sums.append(packer.sha256_of(path))
    assert sums[0] == sums[1]


def test_all_is_installed_and_a_second_call_finds_it(kit, host, tmp_path, capsys):
    assert run(host, tmp_path) == 0
    for name in CONTENTS:
        assert (tmp_path / "there" / name / "file").read_bytes() == (tmp_path / "made" / name).read_bytes()
    assert "installed source, artifacts, runtime, tiny.en" in capsys.readouterr().out
    for part in kit.parts:
        (tmp_path / "kit" / part.name).unlink()  # nothing is read again
    assert run(host, tmp_path) == 0
    assert "all in place" in capsys.readouterr().out


def test_parts_may_come_one_at_a_time(kit, host, tmp_path, capsys):
    away = tmp_path / "away"
    away.mkdir()
    for part in kit.parts:
        (tmp_path / "kit" / part.name).rename(away / part.name)
    seen = []
    for part in kit.parts:
        (away / part.name).rename(tmp_path / "kit" / part.name)
        assert run(host, tmp_path) == 0
        seen.append(installed(tmp_path))
        (tmp_path / "kit" / part.name).unlink()  # a part is sent once
    assert seen[0] == {"source", "artifacts"}
    assert seen[-1] == set(CONTENTS)
    assert seen == sorted(seen, key=len)
    assert not list((tmp_path / "there" / "parts").iterdir())
    said = capsys.readouterr().out
    assert f"lacks {kit.parts[1].name} (runtime): send it and call this again" in said


def test_a_damaged_part_is_named_and_what_is_right_stays_out(kit, host, tmp_path, capsys):
    path = tmp_path / "kit" / kit.parts[1].name
    content = bytearray(path.read_bytes())
    content[1234] ^= 1
    path.write_bytes(content)
    assert run(host, tmp_path) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"{path} is damaged" in said
    assert "send it again" in said
    assert installed(tmp_path) == set()
    content[1234] ^= 1
    path.write_bytes(content)
    assert run(host, tmp_path) == 0
    assert installed(tmp_path) == set(CONTENTS)


def test_a_part_that_is_cut_off_is_named(kit, host, tmp_path, capsys):
    path = tmp_path / "kit" / kit.parts[0].name
    path.write_bytes(path.read_bytes()[:-1])
    assert run(host, tmp_path) == 2
    assert f"{path} is damaged ({MOST - 1} of {MOST} bytes" in capsys.readouterr().err


def test_a_new_artifact_is_installed_over_the_old_one(kit, packer, host, tmp_path):
    assert run(host, tmp_path) == 0
    made = tmp_path / "made"
    (made / "artifacts").write_bytes(b"newer")
    packer.archive(made / "artifacts.tar", [(made / "artifacts", "artifacts/file")])
    archives = [made / f"{name}{'.tar.xz' if name == 'source' else '.tar'}" for name in CONTENTS]
    packer.write_parts(tmp_path / "kit", archives, MOST, PYTHON)
    assert run(host, tmp_path) == 0
    assert (tmp_path / "there" / "artifacts" / "file").read_bytes() == b"newer"


def test_the_questions_get_what_is_installed_and_the_time_that_is_left(kit, host, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(host.os, "execve", lambda program, command, environment: asked.append((command, environment)))
    there = tmp_path / "there"
    host.main([str(there), "--parts", str(tmp_path / "kit"), "--seconds", "300", "--device", "cpu", "--only", "card"])
    ((command, environment),) = asked
    assert command[1:5] == [str(there / host.QUESTIONS), str(there), "--device", "cpu"]
    assert 290 < float(command[command.index("--seconds") + 1]) <= 300
    assert command[-2:] == ["--only", "card"]
    assert environment["PYTHONPATH"] == f"{there / 'site'}:{there / 'source'}"
    assert environment["WHISPER_MAX_ARTIFACTS"] == str(there / "artifacts")
    assert host.read_kit(there).made_of == kit.made_of


def test_without_runtime_no_question_is_put(kit, host, tmp_path, capsys):
    (tmp_path / "kit" / kit.parts[1].name).unlink()
    assert host.main([str(tmp_path / "there"), "--parts", str(tmp_path / "kit")]) == 2
    assert "without runtime there is nothing to run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"python": "3.9"}, f"the kit is for Python 3.9 and this is {PYTHON}: start it by python3.9"),
        ({"machine": "riscv64"}, "the kit is for riscv64"),
        ({"parts": [{"name": "part.00"}]}, "is no kit's manifest"),
    ],
)
def test_a_host_that_the_kit_is_not_for(kit, host, tmp_path, capsys, change, said):
    path = tmp_path / "kit" / host.MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert run(host, tmp_path) == 2
    assert said in capsys.readouterr().err
    path.unlink()
    assert run(host, tmp_path) == 2
    assert "is not there: send it" in capsys.readouterr().err


def pack(packer, tmp_path, *more):
    return packer.pack(packer.build_parser().parse_args([str(tmp_path / "kit"), "--artifacts", str(tmp_path), *more]))


@pytest.mark.parametrize("size", ["0", "61"])
def test_parts_that_are_too_large_are_refused(packer, tmp_path, size):
    with pytest.raises(OptionError, match="part_mib: out of range: expected 1 to 60"):
        pack(packer, tmp_path, "--part_mib", size)


def test_a_model_without_an_artifact_is_refused(packer, tmp_path, monkeypatch):
    monkeypatch.setattr(packer, "keys_of", lambda dims, architecture, folder: [])
    with pytest.raises(
        ArtifactError,
        match=r"no artifact of tiny\.en for sm_90a .*gpu_artifacts.py .* --sizes tiny\.en --architecture sm_90a",
    ):
        packer.chosen_artifacts(tmp_path, ["tiny.en"], "gpu", "sm_90a")
    with pytest.raises(ArtifactError, match="no such folder"):
        packer.chosen_artifacts(tmp_path / "none", ["tiny.en"], "gpu", "sm_90a")


def test_a_damaged_artifact_is_refused_and_strange_ones_stay_out(packer, tmp_path, capsys):
    good, bad = tmp_path / "checks-128-float32-cpu-0.wmx", tmp_path / "checks-128-float32-cpu-1.wmx"
    write_artifact(good, b"module")
    (tmp_path / "384x4-old.wmx").write_bytes(b"of another version")
    assert packer.chosen_artifacts(tmp_path, [], "cpu", "sm_90a") == [good]
    assert "left out, of another source, version or size: 384x4-old.wmx" in capsys.readouterr().out
    bad.write_bytes(good.read_bytes()[:-1] + b"?")
    with pytest.raises(ArtifactError, match="damaged"):
        packer.chosen_artifacts(tmp_path, [], "cpu", "sm_90a")


def test_the_source_that_travels_is_enough_and_no_more(packer):
    names = [name for _, name in packer.source_files(["tiny.en"])]
    for needed in ("whisper_max/load.py", "scripts/gpu/gpu_first_run.py", "tests/reference/tiny.en/stages.npz"):
        assert f"source/{needed}" in names
    artifacts = [name for name in names if name.endswith(".wmx")]
    assert artifacts
    assert all("/384x4-" in name for name in artifacts)
    assert not any(name.startswith("source/docs") for name in names)


def test_what_is_compiled_is_what_is_packed(modules, packer, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WHISPER_MAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(Graphs, "build", lambda graphs: hashlib.sha256(graphs.name.encode()).hexdigest())
    monkeypatch.setattr(packer, "MODELS", ("tiny.en",))
    monkeypatch.setitem(packer.SCALES, "gpu", replace(packer.SCALES["gpu"], large=("tiny",)))
    wanted = modules[2].wanted(["tiny.en"], ["bfloat16", "float32"], ["plain", "fast"], "sm_90a")
    assert [each.target for each in wanted] == [
        "tiny.en bfloat16 plain", "tiny.en bfloat16 fast", "tiny.en float32 plain", "tiny.en float32 fast",
    ]  # fmt: skip
    for each in wanted[1:]:
        write_artifact(tmp_path / each.key.file_name, b"module")
    chosen = packer.chosen_artifacts(tmp_path, ["tiny.en"], "gpu", "sm_90a")
    assert {path.name for path in chosen} == {each.key.file_name for each in wanted[1:]}
    said = capsys.readouterr().out
    assert "tiny.en: bfloat16 fast, float32 fast, float32 plain" in said
    assert "tiny: no artifact" in said
    work = tmp_path / "work"
    work.mkdir()
    files = packer.artifact_files(work, chosen, "sm_90a")
    assert {name for _, name in files} == {
        "artifacts",
        "artifacts/graphs.json",
        *(f"artifacts/{p.name}" for p in chosen),
    }
    listed = json.loads((work / "artifacts" / "graphs.json").read_text())["graphs"]
    assert {each.key.graphs.name: each.key.digest for each in wanted}.items() <= listed.items()


def test_artifacts_are_compiled_side_by_side_where_asked_for(modules, tmp_path, monkeypatch, capsys):
    asked = []
    keys: list[Any] = [SimpleNamespace(file_name=name) for name in ("one", "two")]
    builds = [Build(key.file_name, key) for key in keys]

    def compile_into(folder, wanted, report, jobs=1):
        asked.append(([each.target for each in wanted], jobs))
        for each in wanted:
            (folder / each.key.file_name).write_bytes(bytes(20_000))
        return [folder / each.key.file_name for each in wanted]

    monkeypatch.setattr(modules[2], "compile_into", compile_into)
    monkeypatch.setattr(modules[2], "wanted", lambda *arguments: builds)
    (tmp_path / "two").write_bytes(b"")
    assert modules[2].main([str(tmp_path)]) == 0
    assert asked == [(["one"], 1), (["two"], 1)]
    _, _, first, second = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"\| one \| \d+ \| \d+\.\d \| 0\.02 \|", first)
    assert second == "| two | was there | | 0.02 |"
    assert modules[2].main([str(tmp_path), "--jobs", "2"]) == 0
    assert asked[2:] == [(["one", "two"], 2)]


def test_a_size_that_does_not_exist_is_named(modules, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        modules[2].main([str(tmp_path), "--sizes", "base", "bass"])
    assert re.search(r"--sizes: no such size: expected one of .* tiny-shape, found bass", capsys.readouterr().err)
