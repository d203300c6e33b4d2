"""JSON files of a data set: broken ones become faults that name the line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from saccade.errors import Fault


class _RepeatedKey(ValueError):
    pass


def _refuse_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for key in keys if keys.count(key) > 1)
        raise _RepeatedKey(repeated)
    return result


def read_json(path: Path) -> tuple[dict[str, Any] | None, list[Fault]]:
    """The object in a JSON file, or None and the fault that says what is wrong and in which line."""
    expected = "a JSON object"
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_refuse_repeats)
    except FileNotFoundError:
        return None, [Fault(path, expected, "no such file")]
    except OSError as error:
        return None, [Fault(path, expected, error.strerror or str(error))]
    except UnicodeDecodeError as error:
        return None, [Fault(path, expected, f"bytes that are not UTF-8 at byte {error.start}")]
    except json.JSONDecodeError as error:
        found = f"broken JSON in line {error.lineno}, column {error.colno} ({error.msg})"
        return None, [Fault(path, expected, found)]
    except _RepeatedKey as error:
        return None, [Fault(path, "each key once", f"{error.args[0]!r} more than once")]
    except RecursionError:
        return None, [Fault(path, expected, "JSON that is nested too deeply")]
    if not isinstance(value, dict):
        return None, [Fault(path, expected, f"a JSON {type(value).__name__}")]
    return value, []
