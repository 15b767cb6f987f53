"""Running one graph again and again on the same buffers: a GPU records its launches once and replays them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import TYPE_CHECKING
from weakref import finalize

from max.driver import Buffer

if TYPE_CHECKING:
    from max.engine import Model

Report = Callable[[str], object]
_KEYS = count(1)  # of recordings; a model keeps its own by key


class ReplayedGraph:
    """A graph bound to its inputs.

    Made while the inputs hold nothing that matters: recording may or may not run the graph.

    Args:
        model: the graph.
        inputs: its buffers, the same at every run.
        record: whether to record; a host has nothing to record with.
        report: called with a line where recording fails; the graph is then executed each time.
    """

    def __init__(self, model: Model, inputs: Sequence[Buffer], *, record: bool, report: Report) -> None:
        self._model = model
        self._inputs = list(inputs)
        self._key: int | None = None
        self._release: Callable[[], object] | None = None  # also called once nobody holds the graph any more
        self.outputs: list[Buffer] = model.execute(*self._inputs)  # also loads what a first run loads
        if record:
            self._record(report)

    @property
    def recorded(self) -> bool:
        """True where runs are replays, whose outputs are always the same buffers."""
        return self._key is not None

    def run(self) -> list[Buffer]:
        """Start the graph; returns its outputs without waiting for them."""
        if self._key is None:
            self.outputs = self._model.execute(*self._inputs)
        else:
            self._model.replay(self._key, *self._inputs)
        return self.outputs

    def close(self) -> None:
        """Give the recording's memory back; the graph can't be run any more."""
        self.outputs = []
        if self._release is not None:
            self._release()

    def _record(self, report: Report) -> None:
        key = next(_KEYS)
        try:
            self.outputs = self._model.capture(key, *self._inputs)
            self._model._await_device_graphs()  # threads make a recording ready; MAX's own runner awaits them, too
        except (RuntimeError, ValueError, NotImplementedError) as error:
            report(f"this GPU's launches can't be recorded, so every step is launched anew ({_first_line(error)})")
        else:
            self._key = key
            self._release = release = finalize(self, self._model.release_captured_graph, key)
            release.atexit = False


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
