"""Style sheet of the report page, light or dark according to the system setting."""

CSS = """
:root {
  color-scheme: light dark;
  --paper: #ffffff; --ink: #1b1f24; --soft: #5b6570; --line: #dde1e6; --panel: #f5f7f9;
  --network: #0072b2; --baseline: #8a949e;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14171a; --ink: #e6e9ec; --soft: #a0a9b2; --line: #30363d; --panel: #1d2125;
    --network: #56b4e9; --baseline: #707a84;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
}
main { max-width: 60rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0 0 .75rem; }
h2 { font-size: 1.2rem; margin: 0 0 .75rem; }
.headline { font-size: 1.2rem; line-height: 1.45; margin: 0 0 1rem; }
section, figure { margin: 2.5rem 0 0; }
.note { color: var(--soft); font-size: .875rem; }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 400; }
.bars th { width: 19.5rem; padding: .4rem 1rem .4rem 0; }
.bars .number { width: 10rem; padding-left: 1rem; white-space: nowrap; font-weight: 600; }
.bars .number .note { font-weight: 400; }
.bar { position: relative; height: 1.25rem; background: var(--panel); border-radius: 3px; }
.bar b { display: block; height: 100%; background: var(--baseline); border-radius: 3px; }
.bar.network b { background: var(--network); }
.bar i {
  position: absolute; top: 50%; height: 0; border-top: 2px solid var(--ink);
}
.facts th, .facts td { padding: .35rem 0; border-bottom: 1px solid var(--line); }
.facts th { width: 19.5rem; padding-right: 1rem; color: var(--soft); }
.facts td { overflow-wrap: anywhere; }
figure img {
  display: block; max-width: 100%; max-height: 44rem; margin: 0 auto;
}
figure a {
  display: block; background: #ffffff; padding: .75rem;
  border: 1px solid var(--line); border-radius: 6px;
}
figcaption { margin-top: .6rem; color: var(--soft); font-size: .925rem; }
pre {
  background: var(--panel); border: 1px solid var(--line); border-radius: 6px;
  padding: .9rem 1rem; overflow-x: auto; font-size: .9rem; line-height: 1.5;
}
code { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
@media (max-width: 40rem) {
  .bars tr { display: grid; grid-template-columns: 1fr auto; padding: .4rem 0; }
  .bars th { width: auto; padding: 0; }
  .bars .number { width: auto; grid-row: 1; grid-column: 2; }
  .bars .track { grid-column: 1 / -1; padding: .25rem 0 0; }
  .facts th { width: 50%; }
}
@media print { main { max-width: none; padding: 0; } figure { break-inside: avoid; } }
"""
"""Style sheet, without external fonts or files, so that the page works offline."""
