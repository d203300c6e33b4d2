"""STAPLE: one label map from those of several annotators, fused once and kept in the user's cache folder."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from saccade.data.inspection import value_counts
from saccade.errors import FileProblem
from saccade.rasters import read_label_map, write_label_png

UPDATE = 1e-5
"""The largest change of a confusion matrix at which the iteration has settled."""
MOST_ITERATIONS = 1000
_PIECE = 1 << 18
"""Pixels that are counted at once, so that what is read stays near."""


def staple(maps: Sequence[NDArray[np.uint8]], undecided: int = 255) -> NDArray[np.uint8]:
    """The fused labels (H, W); ``undecided`` where two labels are equally probable.

    Args:
        maps: (H, W) each, at least one; a single one is its own answer.
        undecided: no label of the maps.
    """
    if len(maps) == 1:
        return maps[0]
    labels, codes, all_counts = _tuples(maps)
    present = np.flatnonzero(all_counts)
    tuples = np.stack(np.unravel_index(present, (len(labels),) * len(maps)), 1)
    counts = all_counts[present]
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
    answer = np.full(len(all_counts), undecided, np.uint8)
    answer[present] = np.where(tied, undecided, labels[best])
    return np.take(answer, codes).reshape(maps[0].shape)


def _tuples(
    maps: Sequence[NDArray[np.uint8]],
) -> tuple[NDArray[np.uint8], NDArray[np.unsignedinteger], NDArray[np.int64]]:
    """The labels that occur; the tuple of each pixel as a number, (H * W,), whose digits are positions in the
    labels; and how many pixels have each number."""
    seen = sum(value_counts(labels_of_one) for labels_of_one in maps)
    labels = np.flatnonzero(seen).astype(np.uint8)
    numbers = len(labels) ** len(maps)
    codes = np.zeros(maps[0].size, np.min_scalar_type(numbers - 1))
    digit = np.zeros(256, codes.dtype)
    digit[labels] = np.arange(len(labels))
    counts = np.zeros(numbers, np.int64)
    for start in range(0, len(codes), _PIECE):
        piece = codes[start : start + _PIECE]
        for labels_of_one in maps:
            piece *= len(labels)
            piece += np.take(digit, labels_of_one.reshape(-1)[start : start + _PIECE])
        counts += np.bincount(piece, minlength=numbers)
    return labels, codes, counts


def _from_voting(tuples: NDArray[np.intp], counts: NDArray[np.int64], labels: int) -> NDArray[np.float64]:
    """A first guess, SimpleITK's: for what each annotator said, what the majority said where there is one."""
    votes = np.zeros((len(tuples), labels))
    for annotator_votes in tuples.T:
        votes[np.arange(len(tuples)), annotator_votes] += 1
    leads = votes == votes.max(1, keepdims=True)
    decided = leads.sum(1) == 1
    return _shares(_said_and_true(tuples, leads * (decided * counts)[:, None], labels), 2)


def _performance(tuples: NDArray[np.intp], weight: NDArray[np.float64], labels: int) -> NDArray[np.float64]:
    """(annotators, said, true): how probably each says a label where another is true."""
    return _shares(_said_and_true(tuples, weight, labels), 1)


def _said_and_true(tuples: NDArray[np.intp], weight: NDArray[np.float64], labels: int) -> NDArray[np.float64]:
    """(annotators, said, true): the sums of ``weight`` (T, true)."""
    votes = np.eye(labels)[tuples.T]
    return votes.transpose(0, 2, 1) @ weight


def _shares(values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Values over their sums along an axis; 0 where there is nothing."""
    sums = values.sum(axis, keepdims=True)
    return np.divide(values, sums, out=np.zeros_like(values), where=sums > 0)


def _truth(
    tuples: NDArray[np.intp], trust: NDArray[np.float64], prior: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(T, labels): how probable each label is, given what the annotators said."""
    weight = np.broadcast_to(prior, (len(tuples), len(prior))).copy()
    for annotator, votes in enumerate(tuples.T):
        weight *= trust[annotator][votes]
    return _shares(weight, 1)


_VERSION = b"staple 1"


def fused_labels(
    paths: Sequence[Path], meaning: Mapping[int, int], undecided: int = 255
) -> NDArray[np.uint8]:
    """The fused label map (H, W) of one image.

    It is kept in ``$XDG_CACHE_HOME/saccade`` or ``~/.cache/saccade``, named by what the maps hold, so another
    download or a moved folder finds it; where that cannot be written, it is made again each time.

    Args:
        paths: a map of each annotator.
        meaning: the label of each value that maps may hold.
        undecided: the label where annotators are equally probable.

    Raises:
        FileProblem: a map cannot be read, holds another value, or has another size than the first.
    """
    contents = [_read_bytes(path) for path in paths]
    kept = cache_folder() / f"{_name(contents, meaning)}.png"
    try:
        return read_label_map(kept).astype(np.uint8)
    except FileProblem:
        fused = staple(_read(paths, meaning), undecided)
    _keep(kept, fused)
    return fused


def cache_folder() -> Path:
    """Where fused maps are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "saccade" / "fused"


def _keep(path: Path, fused: NDArray[np.uint8]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_label_png(path, fused, overwrite=True)
    except (OSError, FileProblem):
        return


def _name(contents: Sequence[bytes], meaning: Mapping[int, int]) -> str:
    whole = hashlib.blake2b(_VERSION + repr(sorted(meaning.items())).encode(), digest_size=20)
    for content in contents:
        whole.update(hashlib.blake2b(content).digest())
    return whole.hexdigest()


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise FileProblem(path, "a map of an annotator", error.strerror or "an unreadable file") from error


def _read(paths: Sequence[Path], meaning: Mapping[int, int]) -> list[NDArray[np.uint8]]:
    maps = [read_label_map(path) for path in paths]
    for path, values in zip(paths, maps, strict=True):
        strange = [int(v) for v in np.flatnonzero(value_counts(values)) if int(v) not in meaning]
        if strange:
            allowed = ", ".join(map(str, sorted(meaning)))
            raise FileProblem(path, f"only the values {allowed}", ", ".join(map(str, strange[:5])))
        if values.shape != maps[0].shape:
            height, width = maps[0].shape
            expected = (
                f"the size of {paths[0].parent.name}/{paths[0].name}, {height} x {width} (rows x columns)"
            )
            raise FileProblem(path, expected, f"{values.shape[0]} x {values.shape[1]}")
    table = np.zeros(65536, np.uint8)
    table[list(meaning)] = list(meaning.values())
    return [np.take(table, values) for values in maps]
