"""Renders the Markdown pages to HTML in build/docs: `python docs/build.py` (make docs).

Every page of docs/ and the repository's own (README, CONTRIBUTING, CHANGELOG), with a list of all pages beside each.
Links between pages lead to the HTML; links to other files of the repository lead to the files.
"""

from __future__ import annotations

import html
import os
import re
import shutil
import sys
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "build" / "docs"

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #59636e; --line: #d8dee4; --back: #fff; --code: #f4f6f8; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e8eb; --soft: #9aa4af; --line: #343b43; --back: #14171a; --code: #1d2226; }
}
body { margin: 0; background: var(--back); color: var(--ink); font: 16px/1.6 system-ui, sans-serif; display: flex; }
nav { flex: 0 0 15rem; padding: 2rem 1.5rem; border-right: 1px solid var(--line); font-size: .9rem; min-height: 100vh;
  box-sizing: border-box; }
nav a { display: block; color: var(--soft); text-decoration: none; padding: .1rem 0; }
nav a:hover, nav a[aria-current] { color: var(--ink); }
nav b { display: block; margin: 1rem 0 .2rem; }
main { max-width: 52rem; padding: 1rem 2.5rem 5rem; min-width: 0; }
pre, code { font: .86em/1.5 ui-monospace, monospace; background: var(--code); border-radius: 4px; }
pre { padding: .8rem 1rem; overflow-x: auto; } code { padding: .1em .3em; } pre code { padding: 0; }
table { border-collapse: collapse; font-size: .92rem; display: block; overflow-x: auto; }
th, td { border-bottom: 1px solid var(--line); padding: .35rem .8rem .35rem 0; text-align: left; vertical-align: top; }
h1, h2 { line-height: 1.25; } h2 { margin-top: 2.2em; }
@media (max-width: 50rem) { body { display: block; } nav { min-height: 0; border: 0; } }
"""


def pages() -> list[Path]:
    """Every Markdown page, in the order of the list beside each."""
    own = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    docs = [p for p in sorted((ROOT / "docs").rglob("*.md")) if p != ROOT / "docs" / "README.md"]
    return [*own, ROOT / "docs" / "README.md", *docs]


def target(page: Path) -> Path:
    """Where a page's HTML is written."""
    relative = page.relative_to(ROOT)
    name = "index.html" if relative == Path("README.md") else relative.with_suffix(".html")
    return OUT / name


def title(page: Path) -> str:
    """The page's first heading."""
    found = re.search(r"^# (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return found[1].replace("`", "") if found else page.stem


def _linked(body: str, page: Path, known: set[Path]) -> str:
    """Relative links rewritten for the place where the HTML lies."""

    def rewrite(match: re.Match[str]) -> str:
        link, _, anchor = html.unescape(match[1]).partition("#")
        if not link or "://" in link or link.startswith("mailto:"):
            return match[0]
        to = (page.parent / link).resolve()
        place = target(to) if to in known else to
        relative = os.path.relpath(place, target(page).parent)
        return f'href="{html.escape(relative + ("#" + anchor if anchor else ""))}"'

    return re.sub(r'href="([^"]*)"', rewrite, body)


def _navigation(page: Path, every: list[Path]) -> str:
    def entry(one: Path) -> str:
        here = ' aria-current="page"' if one == page else ""
        return f'<a href="{os.path.relpath(target(one), target(page).parent)}"{here}>{html.escape(title(one))}</a>'

    groups = {"Assay": ROOT, "Documentation": ROOT / "docs", "Decisions": ROOT / "docs" / "decisions"}
    parts = [f"<b>{name}</b>" + "".join(entry(p) for p in every if p.parent == at) for name, at in groups.items()]
    return "".join(parts)


def main() -> int:
    """Writes every page; returns the exit code."""
    every = pages()
    shutil.rmtree(OUT, ignore_errors=True)
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    for page in every:
        text = re.sub(r"^<!--.*?-->\n", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
        body = _linked(markdown.render(text), page, set(every))
        out = target(page)
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(
            "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
            f"<title>{html.escape(title(page))} · Assay</title><style>{STYLE}</style>"
            f"<nav>{_navigation(page, every)}</nav><main>{body}</main></html>",
            encoding="utf-8",
        )
    sys.stdout.write(f"{len(every)} pages in {OUT.relative_to(ROOT)}; open {target(every[0]).relative_to(ROOT)}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
