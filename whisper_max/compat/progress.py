"""The progress bar of the peers: seconds of the recording, on standard error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tqdm.auto import tqdm

from whisper_max.api import OnProgress


@contextmanager
def progress_bar(show: bool) -> Iterator[OnProgress]:
    """A bar that lives as long as the ``with`` block, or none; yields what moves it on."""
    with tqdm(total=0, unit="s", disable=not show) as bar:

        def advance(done: float, total: float) -> None:
            bar.total = round(total, 1)
            bar.update(round(done, 1) - bar.n)

        yield advance
