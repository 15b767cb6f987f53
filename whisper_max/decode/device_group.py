"""Windows decoded on a device that chooses the tokens itself: the host only looks on, a few steps behind.

The results are those of the host's decoding, up to rounding: a token differs where two logits, or a sum of
probabilities and a random draw, are closer than float32 tells apart. Beam search, the penalties for repetition and
detecting languages stay with the host.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any, TypeAlias, cast
from weakref import WeakKeyDictionary

import numpy as np

from whisper_max.decode.attempt import Attempt, DecodingTask
from whisper_max.decode.contract import Alignment, AudioFeatures, Inference
from whisper_max.decode.decoded import Decoded
from whisper_max.decode.device_contract import DeviceBatch, DeviceInference, TokenMasks, WindowStart
from whisper_max.decode.masks import token_masks
from whisper_max.decode.sampling import random_streams
from whisper_max.decode.search import Candidate
from whisper_max.errors import WhisperMaxError

Moving: TypeAlias = tuple[Attempt, AudioFeatures]
"""A window on its way to another group, and its audio."""


class DeviceGroups:
    """Which windows a device decodes, and in which groups: one for each set of rules and number of samples.

    Args:
        inference: a ``DeviceInference``.
        max_windows: most slots of a group.
    """

    def __init__(self, inference: Inference, max_windows: int) -> None:
        self._inference = cast(DeviceInference, inference)
        self._max_windows = max_windows
        self._masks: WeakKeyDictionary[DecodingTask, TokenMasks | None] = WeakKeyDictionary()

    def key(self, attempt: Attempt) -> Hashable:
        """Equal for attempts of the same group; None for one that the host has to decode."""
        masks = self._masks_of(attempt)
        return None if masks is None else (attempt.options.n_hyps, attempt.options.temperature > 0, masks.key)

    def new_group(self, attempt: Attempt, key: Hashable) -> DeviceGroup | None:
        """A group for an attempt with this key; None for one that the host has to decode."""
        masks = self._masks_of(attempt)
        return None if masks is None else DeviceGroup(self._inference, masks, attempt, self._max_windows, key)

    @staticmethod
    def give_back(groups: dict[Hashable, Any]) -> None:
        """Free what the device holds for windows that have all left."""
        for key, group in list(groups.items()):
            if isinstance(group, DeviceGroup) and not group.n_windows:
                del groups[key]
                group.close()

    def _masks_of(self, attempt: Attempt) -> TokenMasks | None:
        """The rules of an attempt as masks; None for one that the host has to decode."""
        options, task = attempt.options, attempt.task
        if attempt.undetected or attempt.context.begun or options.beam_size is not None:
            return None
        if options.token_logprobs or attempt.loops:
            return None
        if task not in self._masks:
            self._masks[task] = token_masks(task.rules, task.tokenizer, self._inference.dims.n_vocab)
        return self._masks[task]


class DeviceGroup:
    """The windows that a device decodes by the same rules, greedily or by as many samples each.

    Those that find no slot wait for one.

    Args:
        inference: the model.
        masks: the rules.
        attempt: any of them.
        max_windows: most slots.
        key: what the pool knows it by.
    """

    def __init__(
        self, inference: DeviceInference, masks: TokenMasks, attempt: Attempt, max_windows: int, key: Hashable
    ) -> None:
        self._inference = inference
        self._key = key
        sampled = attempt.options.temperature > 0
        self._batch: DeviceBatch = inference.device_batch(masks, max_windows, attempt.options.n_hyps, sampled=sampled)
        self._slots: dict[int, Moving] = {}
        self._waiting: deque[Moving] = deque()

    @property
    def n_windows(self) -> int:
        return len(self._slots) + len(self._waiting)

    def close(self) -> None:
        """Give the batch back; nothing can be decoded after it."""
        self._inference.give_back(self._batch)

    def add(self, attempts: Sequence[Attempt], features: AudioFeatures) -> None:
        """Let windows join. features: one row for each."""
        windows = [(attempt, features.select([row])) for row, attempt in enumerate(attempts)]
        idle = self._idle_slots()[: len(windows)]
        if idle:
            self._start(idle, windows[: len(idle)], features.select(range(len(idle))))
        self._waiting += windows[len(idle) :]

    def remove(self, attempt: Attempt) -> None:
        """Let a window leave before it is finished."""
        self._waiting = deque(window for window in self._waiting if window[0] is not attempt)
        for slot in [slot for slot, window in self._slots.items() if window[0] is attempt]:
            del self._slots[slot]
            self._batch.drop(slot)
        self._fill()

    def advance(self, group_key: Callable[[Attempt], Hashable]) -> tuple[list[Attempt], list[Moving]]:
        """Queue a token of each window.

        Args:
            group_key: where an attempt is decoded.

        Returns:
            the windows that are known to have left: finished ones, and those whose next attempt is not decoded here.
        """
        finished: list[Attempt] = []
        moving: list[Moving] = []
        self._batch.advance()
        for slot in self._batch.finished():
            attempt, features = self._slots.pop(slot)
            attempt.align = partial(self._align, features)
            if attempt.ends_with(self._take(slot, attempt)):
                finished.append(attempt)
            elif group_key(attempt) == self._key:
                self._start([slot], [(attempt, features)], features)
            else:
                moving.append((attempt, features))
        self._fill()
        return finished, moving

    def _fill(self) -> None:
        """Start waiting windows in idle slots."""
        for slot in self._idle_slots()[: len(self._waiting)]:
            window = self._waiting.popleft()
            self._start([slot], [window], window[1])

    def _idle_slots(self) -> list[int]:
        return [slot for slot in range(self._batch.n_windows) if slot not in self._slots]

    def _start(self, slots: Sequence[int], windows: Sequence[Moving], features: AudioFeatures) -> None:
        self._slots.update(zip(slots, windows, strict=True))
        self._batch.start(slots, features, [_start_of(attempt) for attempt, _ in windows])

    def _take(self, slot: int, attempt: Attempt) -> Decoded | WhisperMaxError:
        try:
            end = self._batch.take(slot)
        except WhisperMaxError as error:
            return error
        eot = attempt.task.tokenizer.eot
        ends = zip(end.tokens, end.sum_logprobs, strict=True)
        candidates = [Candidate(tokens[:-1] if tokens[-1] == eot else tokens, total) for tokens, total in ends]
        return attempt.decoded(candidates, end.no_speech_prob)

    def _align(self, features: AudioFeatures, tokens: Sequence[int], n_competing: int) -> Alignment:
        batch = self._inference.new_batch(1)
        batch.put([0], features)
        return batch.align(0, tokens, n_competing)


def _start_of(attempt: Attempt) -> WindowStart:
    prompt, options, n_ctx = attempt.initial_tokens(), attempt.options, attempt.task.n_ctx
    draws = np.zeros((0, n_ctx), np.float32)
    if options.temperature > 0:
        streams = random_streams(options, attempt.context.stream)
        draws = np.stack([stream.random(n_ctx, dtype=np.float32) for stream in streams])
    sot = len(prompt) + attempt.task.sot_index
    return WindowStart(prompt, sot, attempt.most_tokens(len(prompt)), attempt.earliest_end, options.temperature, draws)
