"""Pieces of HTML, escaped and self-contained, and the look of a page, light and dark.

Functions rather than templates: a page is mostly charts and tables that are computed.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

JPEG_QUALITY = 82
KINDS = ("jpeg", "png")
"""Of pictures in a page."""


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
    source = f"data:image/{escape(shown.kind)};base64,{base64.b64encode(shown.data).decode('ascii')}"
    alt = escape(shown.alt, quote=True)
    # A box that is ticked shows the picture as large as the window: no script, and keys work (space).
    return (
        f'<figure><label><input type="checkbox" aria-label="enlarge: {alt}"/>'
        f'<img src="{source}" alt="{alt}"></label><figcaption>{escape(shown.caption)}</figcaption></figure>'
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


STYLE = """
:root { --ink: #1b1f24; --soft: #59636e; --ground: #ffffff; --raised: #f4f6f8; --rule: #d5dae0;
  --c0: #0072b2; --c1: #b84a00; --c2: #00795a; --c3: #9c4a7d; --c4: #6b6b00; --c5: #333333; --c6: #2f6fdd;
  --c7: #a03030; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --soft: #9aa5b1; --ground: #14171a;
  --raised: #1f2429; --rule: #373e46; --c0: #56b4e9; --c1: #f0944d; --c2: #2fc79a; --c3: #e0a3c8;
  --c4: #e6dc5a; --c5: #dddddd; --c6: #8fb4ff; --c7: #ff9a9a; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 28px 20px 60px; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 40px 0 10px; padding-bottom: 4px; border-bottom: 1px solid var(--rule); }
h3 { font-size: 1rem; margin: 26px 0 8px; }
p { margin: 8px 0; max-width: 75ch; }
.soft, figcaption, caption, .none { color: var(--soft); }
.tiles { display: grid; gap: 12px; margin: 20px 0;
  grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); }
.tile { background: var(--raised); border-radius: 8px; padding: 12px 14px; }
.tile b { display: block; font-size: 1.55rem; line-height: 1.2; font-variant-numeric: tabular-nums; }
.tile span { color: var(--soft); font-size: 0.86rem; }
.charts { display: grid; gap: 20px 28px;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 480px), 1fr)); }
.charts h3 { margin: 8px 0 2px; }
svg.chart { width: 100%; height: auto; display: block; }
svg.chart text { fill: var(--ink); font-size: 12px; }
svg .gridline { stroke: var(--rule); stroke-width: 1; }
svg .axis { stroke: var(--soft); stroke-width: 1; }
svg .line polyline { fill: none; stroke: var(--c); stroke-width: 2; stroke-linejoin: round; }
svg .line .edge { stroke: var(--ink); stroke-width: 3.6; }
svg .own circle, svg .own polygon { stroke: var(--ink); stroke-width: 0.8; }
svg .line circle, svg .line polygon { fill: var(--c); }
svg .line .stroke { fill: none; stroke: var(--c); stroke-width: 1.4; }
svg .line .leader { fill: none; stroke: var(--soft); stroke-width: 0.6; }
.c0 { --c: var(--c0); } .c1 { --c: var(--c1); } .c2 { --c: var(--c2); } .c3 { --c: var(--c3); }
.c4 { --c: var(--c4); } .c5 { --c: var(--c5); } .c6 { --c: var(--c6); } .c7 { --c: var(--c7); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 10px 0; min-width: 60%; }
caption { text-align: left; font-size: 0.9rem; padding: 0 max(0px, calc(100% - 100vw + 44px)) 6px 0; }
th, td { padding: 5px 12px; text-align: right; border-bottom: 1px solid var(--rule); }
thead th { font-size: 0.86rem; color: var(--soft); font-weight: 600; vertical-align: bottom; }
th:first-child { text-align: left; font-weight: 600; white-space: nowrap; }
td { white-space: nowrap; }
.swatch { display: inline-block; width: 0.9em; height: 0.9em; margin-right: 0.5em; vertical-align: -0.1em;
  border: 1px solid var(--soft); border-radius: 2px; }
.pictures { display: grid; gap: 12px 14px;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 330px), 1fr)); }
figure { margin: 0; }
figure img { width: 100%; height: auto; display: block; border-radius: 4px; background: var(--raised); }
figcaption { font-size: 0.85rem; padding-top: 3px; }
figure label { display: block; cursor: zoom-in; }
figure input { position: absolute; opacity: 0; pointer-events: none; }
figure input:focus-visible + img { outline: 3px solid var(--c0); outline-offset: 2px; }
figure input:checked + img { position: fixed; inset: 0; z-index: 9; width: 100vw; height: 100vh;
  cursor: zoom-out; object-fit: contain; background: var(--ground); border-radius: 0; }
.confusion table { min-width: 0; }
.share { display: block; padding: 1px 6px; border-radius: 3px; }
.share.right { background: color-mix(in srgb, var(--c2) calc(var(--share) * 0.45), transparent); }
.share.wrong { background: color-mix(in srgb, var(--c1) calc(var(--share) * 0.8), transparent); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 18px; margin: 8px 0;
  font-size: 0.92rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
details { margin: 12px 0; } summary { cursor: pointer; }
pre { background: var(--raised); padding: 10px 12px; border-radius: 6px; overflow-x: auto;
  font-size: 0.88rem; }
@media print { :root { --ground: #fff; --ink: #000; --soft: #444; --raised: #fff; --rule: #bbb; }
  .example { break-inside: avoid; } figure input { display: none; } main { max-width: none; } }
"""


def score_lines(scores: dict[str, Any]) -> list[str]:
    """The object of ``saccade evaluate --json`` as a small table."""
    cost = scores["cost"]
    lines = [f"{'class':<24}{'IoU':>8}{'accuracy':>10}{'recovery':>10}{'sampling':>10}"]
    for name, iou in scores["iou"].items():
        others = (scores["pixel_accuracy"][name], scores["label_recovery"]["iou"][name])
        ratio = scores["sampling_ratio"][name]
        cells = "".join(f"{_number(value):>10}" for value in (*others, ratio))
        lines.append(f"{name[:23]:<24}{_number(iou):>8}{cells}")
    lines.append(
        f"{'mean IoU':<24}{_number(scores['miou']):>8}{'':>10}{_number(scores['label_recovery']['miou']):>10}"
    )
    lines.append(
        f"boundary IoU {_number(scores['boundary_iou'])}, {scores['images']} images at full resolution"
    )
    lines.append(
        "recovery: IoU of the true labels at the samples, put back onto all pixels; "
        "sampling: share of the samples over share of the pixels"
    )
    memory = cost["peak_memory_bytes"]
    lines.append(
        f"{cost['pixels']} pixels seen an image, {cost['gflops']:.3f} GFLOPs "
        f"({cost['sampler_gflops']:.3f} for the sampler), {cost['seconds_per_image'] * 1e3:.1f} ms, "
        f"{'-' if memory is None else f'{memory / 1e6:.0f}'} MB"
    )
    never = [name for name, value in scores["pixel_accuracy"].items() if value == 0]
    if never:
        lines.append(
            f"note: {', '.join(never)}: not one pixel is found; train with loss.class_weights=rarity, more "
            "samples (--size) or more epochs"
        )
    return lines


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
