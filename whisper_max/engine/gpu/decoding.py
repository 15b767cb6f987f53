"""Decoding whose tokens stay on the device: each step's choice is the next one's input, and the host looks on later.

The slots of a batch are fixed. A finished window's slot is idle, stepping on without effect, until another window
starts in it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from max.driver import Buffer, DeviceEvent, Usage
from max.dtype import DType
from numpy.typing import NDArray

from whisper_max.decode.device_contract import TokenMasks, WindowEnd, WindowStart
from whisper_max.dims import ModelDimensions
from whisper_max.engine.batch import EncodedWindows
from whisper_max.engine.gpu.replay import ReplayedGraph
from whisper_max.engine.runtime import Placement, prompt_inputs, rows_of, runs_of
from whisper_max.errors import OptionError, WhisperMaxError
from whisper_max.hardware.forks import check_process
from whisper_max.model.stages import BROKEN, IMPOSSIBLE, ROW_STATE

if TYPE_CHECKING:
    from max.engine import Model

LAG = 4
"""Steps under way before the host asks what the first of them finished; as many are wasted at a batch's end."""
Report = Callable[[str], object]


class DeviceDecoding:
    """A batch of ``n_windows`` slots with ``n_hyps`` hypotheses each, all greedy or all sampled.

    Args:
        graphs: a module's, for a GPU (or, slowly, a host with the same graphs).
        sampled: take samples, at each window's temperature.
        record: whether the device records its launches.
        report: called with a line where it can't.
    """

    def __init__(
        self,
        graphs: Mapping[str, Model],
        dims: ModelDimensions,
        placement: Placement,
        masks: TokenMasks,
        n_windows: int,
        n_hyps: int = 1,
        *,
        sampled: bool = False,
        record: bool = True,
        report: Report,
    ) -> None:
        self.n_windows, self.n_hyps, self.sampled = n_windows, n_hyps, sampled
        self._graphs, self._dims, self._placement = graphs, dims, placement
        rows, n_layer = n_windows * n_hyps, dims.n_text_layer
        head_dim = dims.n_text_state // dims.n_text_head
        self._cache = [placement.zeros((rows, dims.n_text_head, dims.n_text_ctx, head_dim)) for _ in range(2 * n_layer)]
        self._cross = [
            placement.zeros((n_windows, dims.n_text_head, dims.n_audio_ctx, head_dim)) for _ in range(2 * n_layer)
        ]
        self._masks = [
            self._new(DType.bool, dims.n_vocab),
            self._new(DType.bool, dims.n_vocab),
            self._new(DType.int32, 3),
        ]
        self._no_speech = self._new(DType.int32, 1)
        self._limits, self._earliest = self._new(DType.int32, rows), self._new(DType.int32, rows)
        self._sampling = [self._new(DType.float32, rows), self._new(DType.float32, rows, dims.n_text_ctx)]
        self._set(self._sampling[0], np.ones(rows, np.float32))
        self._state = {name: self._new(_state_dtype(name), *_state_shape(name, rows, dims)) for name in ROW_STATE}
        self._no_speech_probs: dict[int, tuple[Buffer, int]] = {}
        self._n_steps = 0  # queued so far
        self._started: dict[int, int] = {}  # slot -> the first step that counts for its window
        self._ended: dict[int, WhisperMaxError | None] = {}  # slot -> why, where that is an error
        self._under_way: deque[tuple[int, _Report]] = deque()  # the number of a step, and what it said

        self.restart(masks)

        tokens = self._state["tokens"].view(DType.int32, (n_windows, n_hyps))
        step_inputs = [tokens, self._state["lengths"], *self._cache, *self._cross]
        record = record and not placement.device.is_host
        self._step = ReplayedGraph(graphs["step"], step_inputs, record=record, report=report)
        self._choose_graph = graphs["sample" if sampled else "choose"]
        self._choice: ReplayedGraph | None = None
        if self._step.recorded:
            inputs = self._choose_inputs(self._step.outputs[0], slice(0, rows))
            self._choice = ReplayedGraph(self._choose_graph, inputs, record=True, report=report)

    def restart(self, masks: TokenMasks) -> None:
        """Forget all windows, and take other rules from here on."""
        ids = np.array([masks.eot, masks.timestamp_begin, self._dims.n_text_ctx], np.int32)
        for target, values in zip(self._masks, (masks.never, masks.not_first, ids), strict=True):
            self._set(target, values)
        self._set(self._no_speech, np.array([masks.no_speech], np.int32))
        self._set(self._limits, np.zeros(self.n_windows * self.n_hyps, np.int32))
        self._started.clear()
        self._ended.clear()
        self._no_speech_probs.clear()
        self._under_way.clear()

    def start(self, slots: Sequence[int], features: EncodedWindows, starts: Sequence[WindowStart]) -> None:
        """Begin windows in idle slots, each with its first token chosen.

        Args:
            slots: increasing.
            features: of these windows, in the same order.
            starts: what each begins with.
        """
        for run in runs_of(slots):
            self._start_run(slots[run.start], rows_of([features.xa], run)[0], starts[run])

    def advance(self) -> None:
        """Queue one more token for every window."""
        check_process()
        (logits,) = self._step.run()
        if self._choice is not None:
            (finished,) = self._choice.run()
        else:
            rows = slice(0, self.n_windows * self.n_hyps)
            (finished,) = self._choose_graph.execute(*self._choose_inputs(logits, rows))
        self._under_way.append((self._n_steps, _Report(self._placement, finished)))
        self._n_steps += 1

    def finished(self) -> list[int]:
        """The slots whose windows are known to be finished; lags ``LAG`` steps behind what was queued."""
        while len(self._under_way) > LAG:
            step, report = self._under_way.popleft()
            said = report.read().reshape(self.n_windows, self.n_hyps)
            for slot, first in self._started.items():
                if step >= first:
                    self._note(slot, said[slot])
        return sorted(self._ended)

    def take(self, slot: int) -> WindowEnd:
        """What a finished window became; its slot is idle after it.

        Raises:
            OptionError: the rules left it no token to choose from.
            WhisperMaxError: its logits were not finite.
        """
        error = self._ended[slot]
        probs, index = self._no_speech_probs[slot]
        self.drop(slot)
        if error is not None:
            raise error
        rows = slice(slot * self.n_hyps, (slot + 1) * self.n_hyps)
        names = ("transcript", "n_sampled", "sum_logprobs")
        transcript, lengths, sums = (self._placement.get(rows_of([self._state[name]], rows)[0]) for name in names)
        return WindowEnd(
            tokens=[row[:length].tolist() for row, length in zip(transcript, lengths, strict=True)],
            sum_logprobs=[float(value) for value in sums],
            no_speech_prob=float(self._placement.get(probs)[index]),
        )

    def drop(self, slot: int) -> None:
        """Forget a window; its slot is idle."""
        del self._started[slot]
        del self._no_speech_probs[slot]
        self._ended.pop(slot, None)

    def close(self) -> None:
        """Give the recordings' memory back."""
        for graph in (self._choice, self._step):
            if graph is not None:
                graph.close()

    def _start_run(self, first: int, xa: Buffer, starts: Sequence[WindowStart]) -> None:
        """Start neighbouring slots. xa: their own rows."""
        n_windows, n_hyps = len(starts), self.n_hyps
        windows, rows = slice(first, first + n_windows), slice(first * n_hyps, (first + n_windows) * n_hyps)
        lengths = [len(start.prompt) for start in starts]
        last = [(window, -1) for window in range(n_windows) for _ in range(n_hyps)]
        sot = [(window, start.sot) for window, start in enumerate(starts)]
        inputs = prompt_inputs([start.prompt for start in starts], [*last, *sot], n_hyps)
        cross = rows_of(self._cross, windows)
        self._graphs["cross_kv"].execute(xa, *cross)
        (logits,) = self._graphs["prefill"].execute(
            *map(self._placement.put, inputs),
            *rows_of(self._cache, rows),
            *cross,
        )
        n_rows = n_windows * n_hyps
        (at_sot,) = rows_of([logits], slice(n_rows, n_rows + n_windows))
        (probs,) = self._graphs["no_speech"].execute(at_sot, self._no_speech)
        self._no_speech_probs |= {first + window: (probs, window) for window in range(n_windows)}
        self._set_rows(rows, starts, np.repeat(np.array(lengths, np.int32), n_hyps))
        (first_logits,) = rows_of([logits], slice(0, n_rows))
        (said,) = self._choose_graph.execute(*self._choose_inputs(first_logits, rows))
        for window, each in enumerate(self._placement.get(said).reshape(n_windows, n_hyps)):
            self._started[first + window] = self._n_steps
            self._note(first + window, each)

    def _note(self, slot: int, said: NDArray[np.int32]) -> None:
        """Take note of what a choice said of a window's rows; an error is said once and ends the window."""
        if slot in self._ended:
            return
        if (said == IMPOSSIBLE).any():
            error = OptionError("the options leave no token to choose from", where="suppress_tokens")
            self._ended[slot] = error
        elif (said == BROKEN).any():
            self._ended[slot] = WhisperMaxError("the model returned logits that are not finite")
        elif (said >= 0).all():
            self._ended[slot] = None

    def _set_rows(self, rows: slice, starts: Sequence[WindowStart], lengths: NDArray[np.int32]) -> None:
        """The state of rows whose caches hold a prompt and that have said nothing."""
        n = len(lengths)
        values: dict[str, NDArray[Any]] = {
            "tokens": np.zeros(n, np.int32),
            "lengths": lengths - 1,
            "before": np.full(n, self._dims.n_vocab, np.int32),
            "last_timestamp": np.full(n, -1, np.int32),
            "n_sampled": np.zeros(n, np.int32),
            "sum_logprobs": np.zeros(n, np.float32),
        }
        for name, value in values.items():
            self._set(rows_of([self._state[name]], rows)[0], value)
        ends = np.array([(start.limit, start.earliest) for start in starts], np.int32)  # (n_windows, 2)
        for target, values_of in zip(rows_of([self._limits, self._earliest], rows), ends.T, strict=True):
            self._set(target, np.repeat(values_of, self.n_hyps))
        if self.sampled:
            temperatures = np.repeat(np.array([start.temperature for start in starts], np.float32), self.n_hyps)
            self._set(rows_of([self._sampling[0]], rows)[0], temperatures)
            draws = np.concatenate([start.draws for start in starts])
            self._set(rows_of([self._sampling[1]], rows)[0], draws)

    def _choose_inputs(self, logits: Buffer, rows: slice) -> list[Buffer]:
        sampling = rows_of(self._sampling, rows) if self.sampled else []
        state = [self._state[name] for name in ROW_STATE]
        return [logits, *self._masks, *rows_of([self._limits, self._earliest], rows), *sampling, *rows_of(state, rows)]

    def _new(self, dtype: DType, *shape: int) -> Buffer:
        return Buffer.zeros(shape, dtype, device=self._placement.device)

    def _set(self, target: Buffer, values: NDArray[Any]) -> None:
        """Overwrite a buffer; done before what the device does next."""
        target.inplace_copy_from(self._placement.put(values))
        if self._placement.device.is_host:
            self._placement.device.synchronize()


class _Report:
    """What a step said of its rows, on its way to the host."""

    def __init__(self, placement: Placement, finished: Buffer) -> None:
        self._event: DeviceEvent | None = None
        if placement.device.is_host:
            self._values = finished
        else:
            self._values = Buffer(
                dtype=finished.dtype, shape=finished.shape, device=placement.device, usage=Usage.STAGING
            )
            self._values.inplace_copy_from(finished)
            self._event = placement.device.default_queue.record_event()

    def read(self) -> NDArray[np.int32]:
        """(rows,) int32: how long a finished row's transcript is, else -1; waits until it is there."""
        if self._event is not None:
            self._event.synchronize()
        values: NDArray[np.int32] = self._values.to_numpy()
        return values


def _state_dtype(name: str) -> DType:
    return DType.float32 if name == "sum_logprobs" else DType.int32


def _state_shape(name: str, rows: int, dims: ModelDimensions) -> tuple[int, ...]:
    return (rows, dims.n_text_ctx) if name == "transcript" else (rows,)
