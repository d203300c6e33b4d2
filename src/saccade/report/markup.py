"""Pieces of HTML: every text that comes from outside is escaped here, every picture embedded."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from saccade.report.style import STYLE

JPEG_QUALITY = 82


@dataclass(frozen=True)
class Figure:
    """A picture as a file's bytes, with what it shows.

    Attributes:
        name: short, unique within an example ("truth").
        caption: the line under the picture.
        alt: what somebody who does not see it should know.
        kind: "jpeg" or "png".
        data: the file.
    """

    name: str
    caption: str
    alt: str
    kind: str
    data: bytes


def figure(name: str, caption: str, alt: str, picture: NDArray[np.uint8], *, flat: bool = False) -> Figure:
    """A picture (H, W, 3) as a JPEG, or as a PNG of few colours where it is ``flat``."""
    buffer = io.BytesIO()
    image = Image.fromarray(picture)
    if flat:
        image.quantize(64, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
        return Figure(name, caption, alt, "png", buffer.getvalue())
    image.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return Figure(name, caption, alt, "jpeg", buffer.getvalue())


def figure_html(shown: Figure) -> str:
    """The picture embedded, with alt text and caption."""
    source = f"data:image/{shown.kind};base64,{base64.b64encode(shown.data).decode('ascii')}"
    alt = escape(shown.alt, quote=True)
    return (
        f'<figure><img src="{source}" alt="{alt}"><figcaption>{escape(shown.caption)}</figcaption></figure>'
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, caption: str) -> str:
    """A table of cells that are markup already (:func:`number`, :func:`text`); the first heads its row."""
    heads = "".join(f'<th scope="col">{escape(text)}</th>' for text in head)
    body = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in rest)}</tr>'
        for first, *rest in rows
    )
    return (
        f'<div class="scroll"><table><caption>{escape(caption)}</caption>'
        f"<thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def number(value: float | None, digits: int = 3) -> str:
    """A number, or a dash where there is none."""
    if value is None or not math.isfinite(value):
        return '<span class="none" title="no value">–</span>'
    return f"{value:.{digits}f}"


def text(value: object) -> str:
    """Any value as escaped text."""
    return escape(str(value))


def facts(pairs: Mapping[str, object]) -> str:
    """A list of names and values."""
    items = "".join(
        f"<dt>{escape(str(key))}</dt><dd>{escape(str(value))}</dd>" for key, value in pairs.items()
    )
    return f"<dl>{items}</dl>"


def details(summary: str, content: str) -> str:
    """Something folded away."""
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"


def page(title: str, body: str) -> str:
    """A whole page that asks nothing of any network."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>"
        f"<body><main>{body}</main></body></html>\n"
    )
