"""Windows being decoded side by side: they join and leave at any time.

They share a batch of the model and nothing else. Each has its prompt, its rules, its search and, when its transcript
fails, its next temperature; so a window's transcript never depends on its company.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from whisper_max.decode.attempt import Attempt
from whisper_max.decode.beam import BeamSearch
from whisper_max.decode.contract import AudioFeatures, DecoderBatch, Float32, Inference
from whisper_max.decode.device_group import DeviceGroup, DeviceGroups, Moving
from whisper_max.decode.language import detect_undetected
from whisper_max.decode.options import DecodingOptions
from whisper_max.decode.sampling import SamplingSearch, random_streams
from whisper_max.decode.search import GreedySearch, Search
from whisper_max.errors import WhisperMaxError


class DecodingPool:
    """Windows in decoding, at most ``max_windows``: one group, with a batch, for each number of hypotheses there is.

    Where the model's device chooses tokens itself, the windows whose options allow it are decoded in ``DeviceGroups``.
    """

    def __init__(self, inference: Inference, max_windows: int) -> None:
        self._inference = inference
        self._max_windows = max_windows
        self._device = DeviceGroups(inference, max_windows) if inference.chooses_tokens else None
        self._groups: dict[Hashable, _HostGroup | DeviceGroup] = {}

    @property
    def room(self) -> int:
        """How many windows may join."""
        return self._max_windows - sum(group.n_windows for group in self._groups.values())

    def add(self, attempts: Sequence[Attempt], features: AudioFeatures) -> None:
        """Let windows join, at most as many as there is room for. features: one row for each."""
        by_key: dict[Hashable, list[int]] = {}
        for row, attempt in enumerate(attempts):
            by_key.setdefault(self._group_key(attempt), []).append(row)
        for key, rows in by_key.items():
            group = self._groups.get(key)
            if group is None:
                group = self._groups[key] = self._new_group(key, attempts[rows[0]])
            group.add([attempts[row] for row in rows], features.select(rows))

    def remove(self, attempt: Attempt) -> None:
        """Let a window leave before it is finished; its slot is free at once."""
        for group in self._groups.values():
            group.remove(attempt)
        if self._device is not None:
            self._device.give_back(self._groups)

    def advance(self) -> list[Attempt]:
        """Give out the windows that are finished; where none is, decode a token of each."""
        finished = []
        for group in list(self._groups.values()):
            left, moving = group.advance(self._group_key)
            finished += left
            for attempt, features in moving:
                self.add([attempt], features)
        if self._device is not None:
            self._device.give_back(self._groups)
        return finished

    def _group_key(self, attempt: Attempt) -> Hashable:
        """Equal for attempts that are decoded in the same batch."""
        key = None if self._device is None else self._device.key(attempt)
        return attempt.options.n_hyps if key is None else key

    def _new_group(self, key: Hashable, attempt: Attempt) -> _HostGroup | DeviceGroup:
        group = None if self._device is None else self._device.new_group(attempt, key)
        return group or _HostGroup(self._inference.new_batch(self._max_windows, attempt.options.n_hyps), key)


class _Sequence:
    """A window's tokens at one temperature, growing in a slot of a batch."""

    def __init__(self, attempt: Attempt, features: AudioFeatures) -> None:
        self.attempt = attempt
        self.features = features
        self.begin()

    def begin(self) -> None:
        """Start from nothing, at the temperature of the attempt."""
        attempt, tokenizer = self.attempt, self.attempt.task.tokenizer
        self.prompt = attempt.initial_tokens()
        self.search: Search = new_search(attempt.options, tokenizer.eot, attempt.context.stream, attempt.context.begun)
        self.most = attempt.most_tokens(len(self.prompt))
        self.sources: NDArray[np.int32] | None = None  # the hypothesis that each one continues, where that is another
        self.no_speech_prob = np.nan
        self.error: WhisperMaxError | None = None
        self.done = False
        if attempt.watch is not None:
            self.search = attempt.watch.watched(self.search, attempt)

    def take_token(self, logits: Float32) -> None:
        """The body of the token loop: mask, choose and append, until it is done.

        logits: (n_hyps, n_vocab) float32, of what may follow each hypothesis; overwritten.
        """
        try:
            for rule in self.attempt.rules:  # mask
                rule.apply(logits, self.search.sampled)
            self.sources = self.search.update(logits)  # choose, and append to each hypothesis
        except WhisperMaxError as error:
            self.error = error
        self.done = self._is_over()

    def _is_over(self) -> bool:
        return self.error is not None or self.search.done or len(self.search.sampled[0]) >= self.most

    def ends(self) -> bool | None:
        """True where the window has its transcript, False where it is decoded again, None where it goes on after all.

        That is where what seemed to be a loop is said so often.
        """
        watch = self.attempt.watch
        if watch is not None and watch.stopped:
            if watch.breaks(self.attempt, self.search.sampled[0]):
                return False
            self.done = self._is_over()
            if not self.done:
                return None
        candidates = self.search.candidates()
        return self.attempt.ends_with(self.error or self.attempt.decoded(candidates, self.no_speech_prob))


def new_search(options: DecodingOptions, eot: int, stream: Sequence[int], begun: Sequence[int] = ()) -> Search:
    """The search that the options ask for.

    stream: what identifies the window among those with the same seed, for its random numbers. begun: tokens that the
    transcript begins with.
    """
    if options.beam_size is not None:
        return BeamSearch(eot, options.beam_size, options.patience, begun)
    if options.temperature == 0:
        return GreedySearch(eot, begun)
    return SamplingSearch(eot, options.temperature, random_streams(options, stream), begun)


@dataclass
class _HostGroup:
    """The windows whose attempt takes the same number of hypotheses, and their batch; None is a free slot.

    key: what the pool knows it by.
    """

    batch: DecoderBatch
    key: Hashable
    slots: list[_Sequence | None] = field(default_factory=list)

    @property
    def n_windows(self) -> int:
        return sum(sequence is not None for sequence in self.slots)

    def advance(self, group_key: Callable[[Attempt], Hashable]) -> tuple[list[Attempt], list[Moving]]:
        """A turn of the token loop: let windows go that are done, or else take a token of each.

        Returns:
            the windows that have left: finished ones, and those whose next attempt is decoded elsewhere.
        """
        if any(sequence is not None and sequence.done for sequence in self.slots):
            return self._settle(group_key)
        sequences, n_hyps = self._close_free_slots(), self.batch.n_hyps
        if not sequences:
            return [], []
        self._reorder(sequences)
        last = [tokens[-1] for sequence in sequences for tokens in sequence.search.sampled]
        logits = self.batch.step(np.array(last, np.int32))  # (n_windows * n_hyps, n_vocab)
        for slot, sequence in enumerate(sequences):
            sequence.take_token(logits[slot * n_hyps : (slot + 1) * n_hyps])
        return [], []

    def add(self, attempts: Sequence[Attempt], features: AudioFeatures) -> None:
        """Take the free slots, then new ones."""
        free = [slot for slot, sequence in enumerate(self.slots) if sequence is None]
        slots = [*free, *range(len(self.slots), len(self.slots) + len(attempts))][: len(attempts)]
        self.batch.put(slots, features)
        if undetected := {slot: each for slot, each in zip(slots, attempts, strict=True) if each.undetected}:
            detect_undetected(self.batch, undetected)
        self.slots += [None] * (max(slots) + 1 - len(self.slots))
        for row, (slot, attempt) in enumerate(zip(slots, attempts, strict=True)):
            self.slots[slot] = _Sequence(attempt, features.select([row]))
        self._prefill(slots)

    def remove(self, attempt: Attempt) -> None:
        self.slots = [None if each is not None and each.attempt is attempt else each for each in self.slots]

    def _prefill(self, slots: Sequence[int]) -> None:
        """Start windows from their prompts, and take the first token of each."""
        sequences = [sequence for slot in slots if (sequence := self.slots[slot]) is not None]
        positions = [[sequence.attempt.sot_index, -1] for sequence in sequences]
        logits = self.batch.prefill(slots, [sequence.prompt for sequence in sequences], positions)
        for sequence, (at_sot, last) in zip(sequences, logits, strict=True):  # each (n_vocab,)
            weights = np.exp(at_sot - at_sot.max())
            sequence.no_speech_prob = float(weights[sequence.attempt.task.tokenizer.no_speech] / weights.sum())
            sequence.take_token(np.repeat(last[None], self.batch.n_hyps, axis=0))

    def _reorder(self, sequences: Sequence[_Sequence]) -> None:
        """Let hypotheses continue others of their window, where the last token made them."""
        if all(sequence.sources is None for sequence in sequences):
            return
        own = np.arange(self.batch.n_hyps)
        rows = [
            slot * len(own) + (own if sequence.sources is None else sequence.sources)
            for slot, sequence in enumerate(sequences)
        ]
        self.batch.reorder(np.concatenate(rows).astype(np.int32))

    def _settle(self, group_key: Callable[[Attempt], Hashable]) -> tuple[list[Attempt], list[Moving]]:
        """Start the next attempt of a window that failed in its slot, where it can; let the others leave."""
        finished: list[Attempt] = []
        moving: list[Moving] = []
        again: list[int] = []
        for slot, sequence in enumerate(self.slots):
            if sequence is None or not sequence.done:
                continue
            attempt = sequence.attempt
            attempt.align = partial(self.batch.align, slot)
            ends = sequence.ends()
            if ends is None:
                continue
            if ends:
                finished.append(attempt)
                self.slots[slot] = None
            elif group_key(attempt) == self.key:
                sequence.begin()
                again.append(slot)
            else:
                moving.append((attempt, sequence.features))
                self.slots[slot] = None
        if again:
            self._prefill(again)
        return finished, moving

    def _close_free_slots(self) -> list[_Sequence]:
        """Let the last windows take the slots that nobody took; returns the windows, slot by slot."""
        n_windows = self.n_windows
        if n_windows < len(self.slots):
            last = (slot for slot in range(n_windows, len(self.slots)) if self.slots[slot] is not None)
            kept = [next(last) if each is None else slot for slot, each in enumerate(self.slots[:n_windows])]
            self.batch.keep(kept)
            self.slots = [self.slots[slot] for slot in kept]
        return [sequence for sequence in self.slots if sequence is not None]
