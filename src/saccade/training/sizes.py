"""Sizes as people write them: ``64x128``."""

from __future__ import annotations

import re

from saccade.errors import InvalidInput

_SIZE = re.compile(r"\s*([0-9]{1,6})\s*[xX×]\s*([0-9]{1,6})\s*")


def parse_size(text: str, what: str = "size") -> tuple[int, int]:
    """``ROWSxCOLUMNS`` as (rows, columns), both at least 1.

    Raises:
        InvalidInput: when ``text`` is anything else.
    """
    found = _SIZE.fullmatch(text)
    rows, columns = (int(found[1]), int(found[2])) if found else (0, 0)
    if rows < 1 or columns < 1:
        raise InvalidInput(what, "ROWSxCOLUMNS, both at least 1, such as 64x128", repr(text))
    return rows, columns


def looks_like_size(text: str) -> bool:
    """Whether a size is meant; YAML would read ``0x10`` as the number 16."""
    return _SIZE.fullmatch(text) is not None
