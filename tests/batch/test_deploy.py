"""The files for clusters and for watching name commands that exist, and are what their readers accept."""

import shlex
from pathlib import Path
from typing import Any

import pytest

from whisper_max.commands.main import build_parser

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
MARK = "-m whisper_max "


@pytest.fixture(scope="module")
def objects() -> list[dict[str, Any]]:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    return list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text()))


def parsed(command: str):
    return build_parser().parse_args(shlex.split(command))


@pytest.mark.parametrize("version", ["1.27", "1.31"])
def test_kubernetes_accepts_every_object(objects: list[dict[str, Any]], version: str):
    kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    for each in objects:
        kubernetes_validate.validate(each, version, strict=True)
    broken = {**objects[1], "spec": {**objects[1]["spec"], "replicas": "one"}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, version, strict=True)


def test_objects_find_each_other(objects: list[dict[str, Any]]):
    service, head, workers, job = objects
    assert service["spec"]["selector"] == head["spec"]["template"]["metadata"]["labels"]
    for each in (head, workers):
        assert each["spec"]["selector"]["matchLabels"] == each["spec"]["template"]["metadata"]["labels"]
    address = f"--address={service['metadata']['name']}:{service['spec']['ports'][0]['port']}"
    for each in (workers, job):
        (container,) = each["spec"]["template"]["spec"]["containers"]
        assert address in " ".join([*container["command"], *container.get("args", [])])
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in each["spec"]["template"]["spec"]["volumes"]}


def test_whoever_joins_the_cluster_needs_its_token(objects: list[dict[str, Any]]):
    for each in objects[1:]:
        (container,) = each["spec"]["template"]["spec"]["containers"]
        assert {"name": "RAY_AUTH_MODE", "value": "token"} in container["env"]
        assert {"secretRef": {"name": "whisper-max-ray"}} in container["envFrom"]


def test_the_job_is_a_command(objects: list[dict[str, Any]]):
    (container,) = objects[3]["spec"]["template"]["spec"]["containers"]
    args = parsed(container["args"][0].partition(MARK)[2])
    assert (args.ray, args.actors, args.num_cpus, args.output_format) == ("auto", (2, 50), 4, ("srt", "json"))


def test_the_unit_watches():
    (line,) = [each for each in (DEPLOY / "whisper_max_watch.service").read_text().splitlines() if "ExecStart" in each]
    args = parsed(line.partition(MARK)[2])
    assert (args.watch, args.output, args.output_format) == (True, "/srv/transcripts", ("srt", "txt"))


def test_compose_watches():
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    service = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["watch"]
    args = build_parser().parse_args(service["command"])
    assert args.watch
    assert {args.recordings[0], args.output} == {"/recordings", "/transcripts"}
    assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
    assert service["profiles"] == ["watch"]  # it doesn't start with the server


def test_the_container_runs_commands():
    text = (DEPLOY / "worker.Containerfile").read_text()
    assert 'ENTRYPOINT ["python", "-m", "whisper_max"]' in text
    assert "'/src[base,vad,remote,ray]'" in text
    assert "USER whisper_max" in text
