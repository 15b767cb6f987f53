"""Recorded graphs: what is called when, and that a GPU which can't record is used all the same."""

from __future__ import annotations

from whisper_max.engine.gpu.replay import ReplayedGraph


class FakeModel:
    """Counts what is asked of it; ``refusal`` is raised instead of recording."""

    def __init__(self, refusal=None):
        self.calls, self.refusal = [], refusal

    def execute(self, *inputs):
        self.calls.append(("execute", *inputs))
        return [len(self.calls)]

    def capture(self, key, *inputs):
        if self.refusal is not None:
            raise self.refusal
        self.calls.append(("capture", key, *inputs))
        return ["recorded"]

    def _await_device_graphs(self):
        self.calls.append(("await",))

    def replay(self, key, *inputs):
        self.calls.append(("replay", key, *inputs))

    def release_captured_graph(self, key):
        self.calls.append(("release", key))


def test_a_recorded_graph_is_replayed_on_the_same_buffers():
    model, lines = FakeModel(), []
    graph = ReplayedGraph(model, ["a", "b"], record=True, report=lines.append)
    assert graph.recorded
    assert [graph.run(), graph.run()] == [["recorded"], ["recorded"]]
    graph.close()
    key = model.calls[1][1]
    assert model.calls == [
        ("execute", "a", "b"), ("capture", key, "a", "b"), ("await",), ("replay", key, "a", "b"),
        ("replay", key, "a", "b"), ("release", key),
    ]  # fmt: skip
    assert lines == []


def test_every_recording_has_a_key_of_its_own():
    model = FakeModel()
    for _ in range(3):
        ReplayedGraph(model, ["a"], record=True, report=print)
    keys = [call[1] for call in model.calls if call[0] == "capture"]
    assert len(set(keys)) == 3


def test_what_cannot_be_recorded_is_executed_and_said_once():
    model, lines = FakeModel(ValueError("host sync in capture\nat 0x0")), []
    graph = ReplayedGraph(model, ["a"], record=True, report=lines.append)
    assert not graph.recorded
    assert [graph.run(), graph.run()] == [[2], [3]]
    graph.close()
    assert {call[0] for call in model.calls} == {"execute"}
    assert lines == ["this GPU's launches can't be recorded, so every step is launched anew (host sync in capture)"]


def test_a_host_records_nothing():
    model = FakeModel()
    graph = ReplayedGraph(model, ["a"], record=False, report=print)
    graph.run()
    assert model.calls == [("execute", "a")] * 2


def test_a_recording_that_nobody_holds_is_released():
    model = FakeModel()
    graph = ReplayedGraph(model, ["a"], record=True, report=print)
    key = next(call[1] for call in model.calls if call[0] == "capture")
    del graph
    assert model.calls[-1] == ("release", key)
