"""What a data set is by content: what a run was trained on, and what an evaluation is of."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from saccade.data.classes import ClassTable
from saccade.data.dataset import DataFolder
from saccade.errors import FileProblem
from saccade.runtime.reading import open_regular

KIND = "saccade data 1"
MOST_NAMED = 3


@dataclass(frozen=True)
class ImageContent:
    """One image and its labels by content.

    Attributes:
        name: its stem, for messages; not part of what it is.
        height, width: in pixels, as read.
        image: digest of the pixels.
        labels: digest of the class ids.
    """

    name: str
    height: int
    width: int
    image: str
    labels: str

    @property
    def content(self) -> tuple[int, int, str, str]:
        """All but the name: two images of equal content are the same image."""
        return self.height, self.width, self.image, self.labels


@dataclass(frozen=True)
class DataRecord:
    """Images, labels, splits, class table and ignore rule of a data set, by content and not by file names.

    Attributes:
        classes: (index, name) of each scored class, in the order of ids.
        ignored: values of mask files that count nowhere.
        aliases: (value, index) of values that mean another class.
        splits: the images of each split, in order.
    """

    classes: tuple[tuple[int, str], ...]
    ignored: tuple[int, ...]
    aliases: tuple[tuple[int, int], ...]
    splits: dict[str, tuple[ImageContent, ...]]

    @classmethod
    def of(cls, data: DataFolder, splits: Sequence[str]) -> DataRecord:
        """Of an opened data set, with those of ``splits`` that it has."""
        table: ClassTable = data.classes
        rows = {
            name: tuple(
                ImageContent(item.stem, *facts.size, facts.image, facts.labels)
                for item in data.splits[name]
                for facts in [data.facts[item.stem]]
            )
            for name in splits
            if name in data.splits
        }
        classes = tuple(zip(table.indices, table.names, strict=True))
        return cls(classes, tuple(sorted(table.ignored_values)), tuple(sorted(table.aliases)), rows)

    @property
    def digest(self) -> str:
        """16 hexadecimal digits that are equal where everything is, file names included."""
        return digest_of(self.to_json())

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": KIND,
            "classes": [list(row) for row in self.classes],
            "ignored": list(self.ignored),
            "aliases": [list(row) for row in self.aliases],
            "splits": {name: [list(astuple(row)) for row in rows] for name, rows in self.splits.items()},
        }

    @classmethod
    def from_json(cls, value: Any, path: Path) -> DataRecord:
        """The inverse of :meth:`to_json`.

        Raises:
            FileProblem: when the ``value`` that ``path`` holds is something else.
        """
        try:
            if value["kind"] != KIND:
                raise ValueError(value["kind"])
            splits = {
                str(name): tuple(ImageContent(*row) for row in rows) for name, rows in value["splits"].items()
            }
            classes = tuple((int(index), str(name)) for index, name in value["classes"])
            aliases = tuple((int(first), int(second)) for first, second in value["aliases"])
            return cls(classes, tuple(map(int, value["ignored"])), aliases, splits)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise FileProblem(path, KIND, "something else", "train the run anew") from error

    def differences(self, other: DataRecord) -> list[str]:
        """What is otherwise in ``other``, a line each; [] where both are the same data.

        The order of the training images counts: the shuffling goes by position.
        """
        lines = []
        if self.classes != other.classes:
            lines.append(f"the classes are {_spelled(other.classes)} instead of {_spelled(self.classes)}")
        if self.ignored != other.ignored:
            now, before = (", ".join(map(str, stems)) or "none" for stems in (other.ignored, self.ignored))
            lines.append(f"the ignored values (ignore_index) are {now} instead of {before}")
        if self.aliases != other.aliases:
            lines.append("other mask values are taken for a class")
        for name, rows in self.splits.items():
            lines += _split_differences(name, rows, other.splits.get(name, ()))
        return lines


def _split_differences(
    split: str, before: Sequence[ImageContent], now: Sequence[ImageContent]
) -> Iterable[str]:
    ordered = split == "train"
    if [row.content for row in before] == [row.content for row in now]:
        return
    if Counter(row.content for row in before) == Counter(row.content for row in now):
        if ordered:
            yield f"{split} holds its images in another order"
        return
    named = {row.name: row for row in now}
    pairs = [(row, named[row.name]) for row in before if row.name in named]
    sizes = [
        f"{old.name} ({new.height}x{new.width} instead of {old.height}x{old.width})"
        for old, new in pairs
        if (old.height, old.width) != (new.height, new.width)
    ]
    same_size = [(old, new) for old, new in pairs if (old.height, old.width) == (new.height, new.width)]
    images = [old.name for old, new in same_size if old.image != new.image]
    masks = [old.name for old, new in same_size if old.image == new.image and old.labels != new.labels]
    gone = [row.name for row in before if row.name not in named]
    names = {row.name for row in before}
    new_ones = [row.name for row in now if row.name not in names]
    for what, which in (
        ("images of another size", sizes),
        ("images with other pixels", images),
        ("masks with other labels", masks),
        ("images that are missing", gone),
        ("images that are new", new_ones),
    ):
        if which:
            yield f"{split} has {len(which)} {what}: {_few(which)}"


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


def _spelled(classes: Sequence[tuple[int, str]]) -> str:
    return ", ".join(f"{index} {name}" for index, name in classes)


def digest_of(value: Any) -> str:
    """16 hexadecimal digits of a value that JSON has; equal values give equal digits."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def digest_of_file(path: Path) -> str:
    """16 hexadecimal digits of the bytes of a file; raises FileProblem where it cannot be read."""
    try:
        with open_regular(path, "a file that can be read") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=8)).hexdigest()
    except OSError as error:
        raise FileProblem(path, "a file that can be read", error.strerror or str(error)) from error
