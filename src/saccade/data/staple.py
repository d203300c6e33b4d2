"""STAPLE for several labels: what several annotators most probably meant, by how far each can be trusted.

Warfield, Zou and Wells, "Simultaneous truth and performance level estimation", IEEE TMI 2004, with one
confusion matrix an annotator. A pixel matters only by the tuple of labels that the annotators gave it, and
there are few such tuples: the work does not grow with the image beyond counting them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

UPDATE = 1e-5
"""The largest change of a confusion matrix at which the iteration has settled."""
MOST_ITERATIONS = 1000


def staple(maps: Sequence[NDArray[np.uint8]], undecided: int = 255) -> NDArray[np.uint8]:
    """The fused labels (H, W); ``undecided`` where two labels are equally probable.

    Args:
        maps: (H, W) each, at least one; a single one is its own answer.
        undecided: no label of the maps.
    """
    if len(maps) == 1:
        return maps[0]
    labels, tuples, counts, which = _tuples(maps)
    prior = np.zeros(len(labels))
    for votes in tuples.T:
        np.add.at(prior, votes, counts)
    prior /= prior.sum()
    trust = _from_voting(tuples, counts, len(labels))
    for _ in range(MOST_ITERATIONS):
        updated = _performance(tuples, _truth(tuples, trust, prior) * counts[:, None], len(labels))
        change = np.abs(updated - trust).max()
        trust = updated
        if change < UPDATE:
            break
    truth = _truth(tuples, trust, prior)
    best = truth.argmax(1)
    tied = (truth == truth.max(1, keepdims=True)).sum(1) > 1
    answer = np.where(tied, undecided, labels[best]).astype(np.uint8)
    return answer[which].reshape(maps[0].shape)


def _tuples(
    maps: Sequence[NDArray[np.uint8]],
) -> tuple[NDArray[np.uint8], NDArray[np.intp], NDArray[np.int64], NDArray[np.intp]]:
    """The labels that occur; each tuple of them that occurs, (T, annotators) positions in the labels; how
    many pixels have it; and the tuple of each pixel."""
    seen = np.zeros(256, bool)
    for one in maps:
        seen |= np.bincount(one.ravel(), minlength=256) > 0
    labels = np.flatnonzero(seen).astype(np.uint8)
    position = np.zeros(256, np.int64)
    position[labels] = np.arange(len(labels))
    codes = np.zeros(maps[0].size, np.int64)
    for one in maps:
        codes = codes * len(labels) + position[one.ravel()]
    largest = len(labels) ** len(maps)
    number = np.bincount(codes, minlength=largest)
    present = np.flatnonzero(number)
    place = np.zeros(largest, np.intp)
    place[present] = np.arange(len(present))
    tuples = np.stack(np.unravel_index(present, (len(labels),) * len(maps)), 1)
    return labels, tuples, number[present], place[codes]


def _from_voting(tuples: NDArray[np.intp], counts: NDArray[np.int64], labels: int) -> NDArray[np.float64]:
    """A first guess, SimpleITK's: for what each annotator said, what the majority said where there is one."""
    votes = np.zeros((len(tuples), labels))
    for said in tuples.T:
        votes[np.arange(len(tuples)), said] += 1
    leads = votes == votes.max(1, keepdims=True)
    decided = leads.sum(1) == 1
    return _shares(_said_and_true(tuples, leads * (decided * counts)[:, None], labels), 2)


def _performance(tuples: NDArray[np.intp], weight: NDArray[np.float64], labels: int) -> NDArray[np.float64]:
    """(annotators, said, true): how probably each says a label where another is true."""
    return _shares(_said_and_true(tuples, weight, labels), 1)


def _said_and_true(tuples: NDArray[np.intp], weight: NDArray[np.float64], labels: int) -> NDArray[np.float64]:
    """(annotators, said, true): the sums of ``weight`` (T, true)."""
    matrix = np.zeros((tuples.shape[1], labels, labels))
    for annotator, said in enumerate(tuples.T):
        np.add.at(matrix[annotator], said, weight)
    return matrix


def _shares(values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Values over their sums along an axis; 0 where there is nothing."""
    sums = values.sum(axis, keepdims=True)
    return np.divide(values, sums, out=np.zeros_like(values), where=sums > 0)


def _truth(
    tuples: NDArray[np.intp], trust: NDArray[np.float64], prior: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(T, labels): how probable each label is, given what the annotators said."""
    weight = np.broadcast_to(prior, (len(tuples), len(prior))).copy()
    for annotator, said in enumerate(tuples.T):
        weight *= trust[annotator][said]
    return _shares(weight, 1)
