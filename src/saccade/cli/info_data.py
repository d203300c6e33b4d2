"""What ``saccade info`` says about a data folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from saccade.data import FORMATS, DataFolder
from saccade.errors import DataFaults


def data_facts(folder: DataFolder) -> dict[str, Any]:
    """The JSON object of a sound data folder; sizes are [rows, columns], shares are of the scored pixels."""
    total = folder.class_counts()
    scored = max(1, int(total.sum()))
    rows = zip(folder.classes.indices, folder.classes.names, folder.classes.colours, total, strict=True)
    return {
        "kind": "data folder",
        "format": folder.format.name,
        "path": str(folder.path),
        "splits": {name: _split_facts(folder, name) for name in folder.splits},
        "classes": [
            {"index": i, "name": name, "colour": list(colour), "pixels": int(n), "share": int(n) / scored}
            for i, name, colour, n in rows
        ],
        "ignore_index": folder.classes.file_ignore_index,
        "ignored_values": list(folder.classes.ignored_values),
        "ignored_pixels": sum(fact.ignored for fact in folder.facts.values()),
        "notices": list(folder.notices),
        "faults": [],
    }


def fault_facts(path: Path, faults: DataFaults) -> dict[str, Any]:
    """The JSON object of a data folder with faults."""
    rows = [{"path": str(f.path), "expected": f.expected, "found": f.found} for f in faults.faults]
    return {"kind": "data folder", "path": str(path), "faults": rows}


def _split_facts(folder: DataFolder, name: str) -> dict[str, Any]:
    counts = folder.class_counts(name)
    scored = max(1, int(counts.sum()))
    return {
        "images": len(folder.split(name)),
        "sizes": [{"size": list(size), "images": n} for size, n in folder.sizes(name).most_common()],
        "share": {
            class_name: int(count) / scored
            for class_name, count in zip(folder.classes.names, counts, strict=True)
        },
    }


def data_lines(facts: dict[str, Any]) -> Iterator[str]:
    """The same for people; sizes are width x height."""
    splits = facts["splits"]
    yield f"{facts['path']}: {FORMATS[facts['format']].title}, without faults"
    parts = ", ".join(f"{split['images']} {name}" for name, split in splits.items())
    yield f"  images   {sum(split['images'] for split in splits.values())}: {parts}"
    yield f"  sizes    {_sizes(splits)}"
    ignored = facts["ignored_values"]
    values = f"ignored value{'s' if len(ignored) > 1 else ''}: {', '.join(map(str, ignored)) or 'none'}"
    yield f"  classes  {len(facts['classes'])}; {values}"
    yield ""
    yield from _table(facts)
    if facts["ignored_pixels"]:
        scored = sum(row["pixels"] for row in facts["classes"])
        share = facts["ignored_pixels"] / (scored + facts["ignored_pixels"])
        yield f"  ignored: {percent(share)} of all pixels"
    if facts["notices"]:
        yield ""
    for notice in facts["notices"]:
        yield f"  notice: {notice}"


def _sizes(splits: dict[str, Any]) -> str:
    counts: dict[tuple[int, int], int] = {}
    for split in splits.values():
        for row in split["sizes"]:
            key = (row["size"][1], row["size"][0])
            counts[key] = counts.get(key, 0) + row["images"]
    common = sorted(counts.items(), key=lambda pair: -pair[1])
    shown = ", ".join(f"{width} x {height} ({n})" for (width, height), n in common[:4])
    return shown + (f" and {len(common) - 4} more sizes" if len(common) > 4 else "") + " (width x height)"


def _table(facts: dict[str, Any]) -> Iterator[str]:
    names = list(facts["splits"])
    width = max(len("class"), *(len(row["name"]) for row in facts["classes"]))
    yield f"  index  {'class':<{width}}  {'share':>8}" + "".join(f"  {name:>8}" for name in names)
    for row in facts["classes"]:
        cells = [row["share"], *(facts["splits"][name]["share"][row["name"]] for name in names)]
        yield f"  {row['index']:>5}  {row['name']:<{width}}" + "".join(f"  {percent(c):>8}" for c in cells)


def percent(share: float) -> str:
    """A share as a percentage with three digits that count: "67.2 %", "1.26 %", "0.004 %"."""
    value = share * 100
    if value == 0 or value >= 99.95:
        return f"{value:.0f} %"
    places = 1 if value >= 10 else 2 if value >= 1 else 3
    return f"{value:.{places}f} %" if value >= 0.0005 else "<0.001 %"
