"""The look of a page, light and dark, on a screen and on paper."""

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
svg .line circle, svg .line polygon { fill: var(--c); }
svg .line .stroke { fill: none; stroke: var(--c); stroke-width: 1.4; }
svg .line .leader { fill: none; stroke: var(--soft); stroke-width: 0.6; }
.c0 { --c: var(--c0); } .c1 { --c: var(--c1); } .c2 { --c: var(--c2); } .c3 { --c: var(--c3); }
.c4 { --c: var(--c4); } .c5 { --c: var(--c5); } .c6 { --c: var(--c6); } .c7 { --c: var(--c7); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 10px 0; min-width: 60%; }
caption { text-align: left; font-size: 0.9rem; padding-bottom: 6px; }
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
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 18px; margin: 8px 0;
  font-size: 0.92rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
details { margin: 12px 0; } summary { cursor: pointer; }
pre { background: var(--raised); padding: 10px 12px; border-radius: 6px; overflow-x: auto;
  font-size: 0.88rem; }
@media print { :root { --ground: #fff; --ink: #000; --soft: #444; --raised: #fff; --rule: #bbb; }
  .example { break-inside: avoid; } main { max-width: none; } }
"""
