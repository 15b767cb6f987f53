"""Which voices are one speaker's.

Voices are clustered by average linkage of their cosine distances; clusters with too little speech are no speakers of
their own, unless they are far from all others and more was said than compared. Then every voice goes to the speaker
that it is most like, but those of one window to different ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage

from whisper_max.transcribe.speakers import MOST_SPEAKERS

Float32 = NDArray[np.float32]
Ints = NDArray[np.intp]
FARTHEST = 0.66
"""Mean cosine distance above which two clusters are two speakers."""
LEAST_SECONDS = 3.0
"""Speech of a speaker, where the number of speakers is not given."""
APART = 0.8
"""Mean cosine distance to all others from which on somebody heard by less is a speaker, if alone for so long."""
BLOCK = 2000
"""Voices that are clustered at once: the distances between all of them are 16 MB. More are clustered in two rounds."""
NEAR = 0.4
"""The distance of the first round, below which two voices are one speaker's for sure."""


@dataclass(frozen=True)
class Voices:
    """What is known of the speakers of all windows.

    vectors: of length 1, (n, EMBEDDING). seconds: that each was heard by, (n,). alone: seconds in which each speaks and
    nobody else, (n,). windows: the number of its window.
    """

    vectors: Float32
    seconds: Float32
    alone: Float32
    windows: Ints


def speakers_of(voices: Voices, least: int, most: int | None) -> Ints:
    """The speaker of each voice, from 0; at least so many and at most so many, where there are so many voices."""
    centres, seconds, alone = _centres(voices)
    labels = _cut(centres, seconds, alone, least, most)
    speakers = means(centres * seconds[:, None], labels)
    return assign(voices, speakers)


def _centres(voices: Voices) -> tuple[Float32, Float32, Float32]:
    """Vectors, seconds, seconds alone: of voices or, of many, of those in a block that are surely a speaker's."""
    if len(voices.vectors) <= BLOCK:
        return voices.vectors, voices.seconds, voices.alone
    centres, seconds, alone = [], [], []
    for start in range(0, len(voices.vectors), BLOCK):
        vectors, weights = voices.vectors[start : start + BLOCK], voices.seconds[start : start + BLOCK]
        labels = _at_distance(_tree(vectors), NEAR) if len(vectors) > 1 else np.zeros(1, np.intp)
        centres.append(means(vectors * weights[:, None], labels))
        seconds.append(np.bincount(labels, weights).astype(np.float32))
        alone.append(np.bincount(labels, voices.alone[start : start + BLOCK]).astype(np.float32))
    return np.concatenate(centres), np.concatenate(seconds), np.concatenate(alone)


def _tree(vectors: Float32) -> NDArray[np.float64]:
    return np.asarray(linkage(vectors.astype(np.float64), "average", metric="cosine"))


def _at_distance(tree: NDArray[np.float64], distance: float) -> Ints:
    return np.asarray(fcluster(tree, distance, "distance")).astype(np.intp) - 1


def _cut(centres: Float32, seconds: Float32, alone: Float32, least: int, most: int | None) -> Ints:
    """Clusters, -1 for what is in none that is a speaker."""
    if len(centres) == 1:
        return np.zeros(1, np.intp)
    tree = _tree(centres)
    labels = _with_rare(tree, alone, _speakers_at(tree, seconds, FARTHEST))
    found = labels.max() + 1
    wanted = min(max(found, least), most or MOST_SPEAKERS)
    if found == wanted:
        return labels
    # The merges from far to near: the first cut with as many speakers as are wanted, or most of them and no more.
    cuts = (_speakers_at(tree, seconds, distance) for distance in [np.inf, *tree[::-1, 2][:BLOCK] - 1e-9])
    best = max((cut for cut in cuts if cut.max() < wanted), key=lambda cut: int(cut.max()))
    if best.max() + 1 < wanted:  # too few that speak for long: all count
        return np.asarray(fcluster(tree, wanted, "maxclust")).astype(np.intp) - 1
    return best


def _speakers_at(tree: NDArray[np.float64], seconds: Float32, distance: float) -> Ints:
    """Clusters at a distance, numbered from 0; -1 for those that speak too little, unless all do."""
    labels = _at_distance(tree, distance)
    spoken = np.bincount(labels, seconds)
    counts = spoken >= min(LEAST_SECONDS, spoken.max())
    numbers = np.where(counts, np.cumsum(counts) - 1, -1)
    return numbers[labels]


def _with_rare(tree: NDArray[np.float64], alone: Float32, labels: Ints) -> Ints:
    """Speakers, and besides whom few vectors are of, who yet speak for long enough and are like nobody else."""
    apart = _at_distance(tree, APART)
    for cluster in range(apart.max() + 1):
        members = apart == cluster
        if (labels[members] < 0).all() and alone[members].sum() >= LEAST_SECONDS:
            labels = np.where(members, labels.max() + 1, labels)
    return labels


def means(vectors: Float32, labels: Ints) -> Float32:
    """The mean of each cluster, of length 1, (n_clusters, EMBEDDING)."""
    sums = np.stack([vectors[labels == label].sum(axis=0) for label in range(labels.max() + 1)])
    return np.asarray(sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12), np.float32)


def assign(voices: Voices, speakers: Float32) -> Ints:
    """The speaker of each voice, no two of a window alike unless there are more voices than speakers.

    speakers: the mean voice of each, (n_speakers, EMBEDDING).
    """
    likeness = voices.vectors @ speakers.T  # (n, n_speakers)
    found: Ints = likeness.argmax(axis=1)
    shared = np.unique(voices.windows[1:][np.diff(voices.windows) == 0])
    if not len(shared) or len(speakers) == 1:
        return found
    from scipy.optimize import linear_sum_assignment  # slow to import: not for one speaker

    for window in shared:
        rows = np.flatnonzero(voices.windows == window)
        row, column = linear_sum_assignment(-likeness[rows] * voices.seconds[rows, None])  # the longer heard, the surer
        found[rows[row]] = column
    return found
