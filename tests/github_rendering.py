"""GitHub's Markdown parser, and a model of what GitHub adds after it.

The parser is cmark-gfm with GitHub's extensions, hard breaks as in pull request bodies, and raw
HTML left in, so that a tag that escapes is seen. What follows it is not public as a whole; every
rule below names where it is described, and is at least as wide as the description.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html import escape
from html.parser import HTMLParser
from typing import Final

import cmarkgfm  # type: ignore[import-untyped]  # the package has no types

_OPTIONS: Final = cmarkgfm.Options.CMARK_OPT_HARDBREAKS | cmarkgfm.Options.CMARK_OPT_UNSAFE

AFTER_PARSER: Final = {
    # docs.github.com "Mentioning people and teams"; html-pipeline @mention_filter.rb
    "mention": re.compile(r"@[A-Za-z0-9]"),
    # docs.github.com "Autolinked references and URLs", issues and pull requests
    "issue": re.compile(r"#[0-9]|\bGH-[0-9]", re.IGNORECASE),
    # the same page, commit SHAs: 7 to 40 hexadecimal digits
    "commit": re.compile(r"(?i)(?<![0-9a-z])[0-9a-f]{7,40}(?![0-9a-z])"),
    # the same page, URLs; GFM 6.9 autolinks (extension)
    "link": re.compile(r"(?i)(?:https?|ftp)://|\bwww\.|mailto:|xmpp:"),
    # GFM 6.9, e-mail addresses
    "mail": re.compile(r"[A-Za-z0-9._+-]@[A-Za-z0-9_-]+\."),
    # html-pipeline emoji_filter.rb; docs.github.com "Using emojis"
    "emoji": re.compile(r":[a-z0-9_+-]+:"),
    # docs.github.com "Writing mathematical expressions"
    "formula": re.compile(r"\$[^\u2060]|\\\(|\\\["),
}


@dataclass
class Page:
    """What a body became."""

    skeleton: list[str] = field(default_factory=list)
    """Tags with their attributes, in order."""
    prose: list[str] = field(default_factory=list)
    """Text outside code and links."""
    cells: list[str] = field(default_factory=list)
    """Whole text of every table cell."""
    links: list[str] = field(default_factory=list)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.page = Page()
        self._quiet = 0
        self._in_cell = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        shown = " ".join(name for name, _ in attrs)
        self.page.skeleton.append(f"<{tag} {shown}>")
        self._quiet += tag in {"code", "a", "pre"}
        if tag in {"td", "th"}:
            self._in_cell = True
            self.page.cells.append("")
        self.page.links += [value or "" for name, value in attrs if name == "href"]

    def handle_endtag(self, tag: str) -> None:
        self.page.skeleton.append(f"</{tag}>")
        self._quiet -= tag in {"code", "a", "pre"}
        self._in_cell &= tag not in {"td", "th"}

    def handle_comment(self, data: str) -> None:
        self.page.skeleton.append(f"<!--{data}-->")

    def handle_decl(self, decl: str) -> None:
        self.page.skeleton.append(f"<!{decl}>")

    def handle_pi(self, data: str) -> None:
        self.page.skeleton.append(f"<?{data}>")

    def handle_data(self, data: str) -> None:
        if self._in_cell:
            self.page.cells[-1] += data
        if not self._quiet:
            self.page.prose.append(data)


def html(markdown: str) -> str:
    return str(cmarkgfm.github_flavored_markdown_to_html(markdown, _OPTIONS))


def rendered(markdown: str) -> Page:
    reader = _Reader()
    reader.feed(html(markdown))
    reader.close()
    return reader.page


def added_by_github(prose: str) -> list[str]:
    """The rules that would turn something in this text into more than text."""
    return [name for name, rule in AFTER_PARSER.items() if rule.search(prose)]


_ALERT: Final = re.compile(r"<blockquote>\s*<p>\[!([A-Z]+)\]<br />")

# The colours and sizes of GitHub's own pages (primer.style, markdown-body).
STYLE: Final = """\
:root { color-scheme: light; --fg: #1f2328; --bg: #fff; --line: #d1d9e0; --dim: #59636e;
  --code: #818b981f; --row: #f6f8fa; --link: #0969da; --caution: #cf222e; --warning: #9a6700;
  --tip: #1a7f37; --note: #0969da; }
.dark { color-scheme: dark; --fg: #f0f6fc; --bg: #0d1117; --line: #3d444d;
  --dim: #9198a1; --code: #656c7633;
  --row: #151b23; --link: #4493f8; --caution: #f85149; --warning: #d29922; --tip: #3fb950; }
body { font: 14px/1.5 "Noto Sans", "DejaVu Sans", Helvetica, Arial, "Noto Color Emoji", sans-serif;
  color: var(--fg); background: var(--bg); margin: 0; padding: 16px; overflow-wrap: break-word; }
a { color: var(--link); } h3 { font-size: 1.25em; margin: 24px 0 16px; line-height: 1.25; }
table { border-collapse: collapse; display: block; width: max-content; max-width: 100%;
  overflow: auto; margin: 0 0 16px; }
th, td { border: 1px solid var(--line); padding: 6px 13px; } th { font-weight: 600; }
tr:nth-child(2n) { background: var(--row); }
code { font: 85% ui-monospace, "DejaVu Sans Mono", monospace; background: var(--code);
  padding: .2em .4em; border-radius: 6px; white-space: break-spaces; }
details { margin-bottom: 16px; } summary { cursor: pointer; } sub { color: var(--dim); }
.alert { border-left: .25em solid var(--kind); padding: 8px 16px; margin-bottom: 16px; }
.alert b:first-child { color: var(--kind); display: block; } .alert p { margin: 4px 0; }
"""


def page(markdown: str, scheme: str, *, title: str = "Pull request") -> str:
    """The body on a page like GitHub's."""
    head = f'<!doctype html><meta charset="utf-8"><title>{escape(title)}</title>'
    phone = '<meta name="viewport" content="width=device-width">'
    colours = "dark" if scheme == "dark" else "light"
    return f'{head}{phone}\n<style>\n{STYLE}</style><body class="{colours}">{shown(markdown)}'


def shown(markdown: str) -> str:
    """The body's HTML, alerts included."""
    return _ALERT.sub(
        lambda m: (
            f'<blockquote class="alert" style="--kind: var(--{m[1].lower()}); margin-left: 0; '
            f'margin-right: 0"><b>{m[1].title()}</b><p>'
        ),
        html(markdown),
    )
