"""The frame of a report: one HTML file that needs nothing else, readable on light and on dark."""

from __future__ import annotations

from html import escape

_STYLE = """
:root { color-scheme: light dark;
  --page: #fbfaf8; --card: #ffffff; --ink: #23262b; --soft: #5d636d; --faint: #d4d6da; --strong: #101215;
  --series-1: #1f6fc4; --series-2: #c9541c; --series-3: #1c8a5a; --series-4: #9a4fb0;
  --series-5: #8a6d00; --series-6: #c03a6b; --series-7: #0b8494; --series-8: #6b6f78; }
@media (prefers-color-scheme: dark) { :root {
  --page: #15171a; --card: #1d2024; --ink: #d9dce1; --soft: #9aa1ac; --faint: #3a3f47; --strong: #ffffff;
  --series-1: #6aaef5; --series-2: #f2905c; --series-3: #5cc795; --series-4: #cf96e0;
  --series-5: #d9b93c; --series-6: #f088ad; --series-7: #4fc4d4; --series-8: #a9aeb8; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 2.5rem 1.5rem 4rem; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Liberation Sans", sans-serif; }
h1 { margin: 0; font-size: 1.75rem; line-height: 1.2; color: var(--strong); letter-spacing: -0.01em; text-wrap: balance;
  overflow-wrap: anywhere; }
h2 { margin: 3rem 0 0.75rem; font-size: 1.2rem; color: var(--strong); }
h3 { margin: 2rem 0 0.75rem; font-size: 1rem; color: var(--strong); }
p { max-width: 46rem; margin: 0.5rem 0; }
.soft, figcaption, .legend, dd { color: var(--soft); font-size: 0.875rem; }
.scroll { overflow-x: auto; margin: 1.25rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 0.4rem 0.45rem; font-size: 0.9rem; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--faint); }
th { font-weight: 600; font-size: 0.8125rem; color: var(--soft); }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
thead th { border-bottom: 1.5px solid var(--soft); }
tr.mean td { font-weight: 600; color: var(--strong); }
td b { color: var(--strong); }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(19rem, 1fr)); gap: 1rem; }
.charts figure { margin: 0; padding: 1rem 1rem 0.75rem; background: var(--card); border: 1px solid var(--faint);
  border-radius: 8px; }
.charts svg { display: block; width: 100%; height: auto; }
figcaption { margin-bottom: 0.5rem; }
.legend { display: flex; flex-wrap: wrap; gap: 0.25rem 1.25rem; margin: 0 0 0.75rem; padding: 0; list-style: none; }
.legend i { display: inline-block; width: 1.1rem; height: 0.2rem; margin-right: 0.45rem; vertical-align: middle;
  border-radius: 1px; }
.legend i.block { width: 0.8rem; height: 0.8rem; border-radius: 2px; vertical-align: -0.05rem; }
.pair { margin: 0 0 1.5rem; }
.pair .name { margin: 0 0 0.4rem; max-width: none; font-size: 0.875rem; color: var(--soft); overflow-wrap: anywhere; }
.pair .name b { color: var(--strong); margin-right: 0.75rem; }
.pair .name span { margin-right: 0.9rem; white-space: nowrap; font-variant-numeric: tabular-nums; }
.strip { display: flex; flex-wrap: wrap; align-items: flex-end; gap: 0.6rem; }
.strip figure { margin: 0; max-width: calc(25% - 0.45rem); }
.strip img { display: block; width: auto; height: auto; max-width: 100%; max-height: 15rem;
  outline: 1px solid var(--faint); outline-offset: -1px; }
.strip figcaption { margin: 0.25rem 0 0; font-size: 0.8125rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0.25rem 1.25rem; margin: 1rem 0; max-width: 46rem; }
dt { font-weight: 600; font-size: 0.875rem; } dd { margin: 0; }
@media (max-width: 40rem) { .strip figure { max-width: calc(50% - 0.3rem); } }
@media print { body { max-width: none; padding: 0; } .pair, .charts figure { break-inside: avoid; } }
"""


def page(title: str, body: str) -> str:
    """A whole document; `title` is plain text, `body` is HTML."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )
