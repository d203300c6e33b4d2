"""Tables as files: CSV, or Parquet by the suffix, row by row; there whole or not at all."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TextIO

from saccade.rasters.decoders import load
from saccade.runtime.files import UNENCODABLE, encodable, finished_file

AT_ONCE = 50_000
"""Rows of a Parquet file that wait in memory for being written together."""


@dataclass(frozen=True)
class Column:
    """A column: text, whole numbers or real ones; ``digits`` is how CSV writes a real one.

    Without ``digits`` there are ten, and all of a large one: whole counts of pixels stay whole.
    """

    name: str
    kind: Literal["text", "count", "real"]
    digits: str = ""

    def written(self, value: Any) -> Any:
        """The cell of a CSV file; "" for None."""
        if value is None or self.kind != "real":
            return "" if value is None else value
        if self.digits:
            return format(value, self.digits)
        return f"{value:.10g}" if value < 1e10 else f"{value:.0f}"


class Table(Protocol):
    """Takes rows: a value or None for each column."""

    def add(self, row: Sequence[Any]) -> None: ...


@contextmanager
def table_file(path: Path, columns: Sequence[Column], *, overwrite: bool = False) -> Iterator[Table]:
    """A table that appears under its name at the end.

    Raises:
        FileProblem: ``path`` exists without ``overwrite``, or cannot be written; pyarrow is not installed.
    """
    if path.suffix.lower() == ".parquet":
        load("pyarrow.parquet", "parquet", path, "Parquet tables")
        with finished_file(path, overwrite=overwrite) as temporary:
            table = _ParquetTable(temporary, columns)
            try:
                yield table
                table.flush()
            finally:
                table.close()
        return
    with (
        finished_file(path, overwrite=overwrite) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors=UNENCODABLE) as file,
    ):
        yield _CsvTable(file, columns)


class _CsvTable:
    def __init__(self, file: TextIO, columns: Sequence[Column]) -> None:
        self._columns, self._rows = columns, csv.writer(file)
        self._rows.writerow([column.name for column in columns])

    def add(self, row: Sequence[Any]) -> None:
        pairs = zip(self._columns, row, strict=True)
        self._rows.writerow([column.written(value) for column, value in pairs])


class _ParquetTable:
    def __init__(self, path: Path, columns: Sequence[Column]) -> None:
        import pyarrow
        from pyarrow import parquet

        kinds = {"text": pyarrow.string(), "count": pyarrow.int64(), "real": pyarrow.float64()}
        self._schema = pyarrow.schema([(column.name, kinds[column.kind]) for column in columns])
        self._batch = pyarrow.record_batch
        self._array = pyarrow.array
        self._writer = parquet.ParquetWriter(path, self._schema)
        self._rows: list[Sequence[Any]] = []

    def add(self, row: Sequence[Any]) -> None:
        self._rows.append([encodable(value) if isinstance(value, str) else value for value in row])
        if len(self._rows) == AT_ONCE:
            self.flush()

    def flush(self) -> None:
        columns = zip(*self._rows, strict=True) if self._rows else ((),) * len(self._schema)
        arrays = [
            self._array(list(some), kind) for some, kind in zip(columns, self._schema.types, strict=True)
        ]
        self._writer.write_batch(self._batch(arrays, schema=self._schema))
        self._rows = []

    def close(self) -> None:
        self._writer.close()
