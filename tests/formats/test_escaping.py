"""Strings from outside, through GitHub's own parser: they stay text wherever they stand."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from functools import cache

import pytest

from bot.formats.markdown import code, details, plain, prose, table, text
from tests.github_rendering import added_by_github, rendered
from tests.samples import SAMPLES, sample

JOINER = "\u2060"
FUZZED = 20_000
PIECES = [
    *("<", ">", "&", "&amp;", "&#60;", "</td>", "</details>", "<!--", "-->", "<![CDATA[", "<?"),
    *("`", "``", "```", "~~~", "|", "\\|", "\\", "*", "**", "_", "~~", "[", "](", ")", "!["),
    *("[x]: y", "[^1]", "[!CAUTION]", "> ", "# ", "- ", "+ ", "1. ", "1) ", "    ", "---", "==="),
    *("@acme/admins", "@octocat", "#1", "GH-13", "acme/shop#4", "acme/shop@deadbeef", "deadbee"),
    *("0123456789abcdef0123456789abcdef01234567", "https://evil.example/", "http:", "www.evil.io"),
    *("ftp://x", "mailto:a@b.cz", "xmpp:a@b.cz", "a@b.example", "javascript:alert(1)", ":tada:"),
    *("$x$", "$`x`$", "$$", "\\(", "{{7*7}}", "${jndi:ldap://x}", "%00", "\x00", "\x1b[31m", "\r"),
    *("\n", "\n\n", "\t", "\u2028", "\u2029", "\u202e", "\u2066", "\u200b", "\ufeff", "\u00ad"),
    *("\ud800", "\udfff", "\U000e0041", "e\u0301\u0301\u0301\u0301\u0301", "\u00e9", "名", "🟥"),
    *("a", "b", "0", "7", " ", "  ", ".", ",", ":", ";", "/", "'", '"', "=", "+", "-", "(", "^"),
    *("<img src=x onerror=alert(1)>", "<svg/onload=x>", "<b>", "</summary>", "<a href=x>", "&lt;"),
]


def fuzzed() -> Iterator[str]:
    generator = random.Random(20261120)  # noqa: S311 - the same strings in every run
    for _ in range(FUZZED):
        yield "".join(generator.choices(PIECES, k=generator.randint(1, 12)))


@cache
def real() -> list[str]:
    sample("SOURCES.md")
    found: set[str] = set()

    def walk(value: object) -> None:
        if isinstance(value, str):
            found.add(value)
        elif isinstance(value, list):
            for item in value:
                walk(item)
        elif isinstance(value, dict):
            for key, item in value.items():
                found.add(key)
                walk(item)

    for file in sorted(SAMPLES.rglob("*")):
        if file.suffix in {".json", ".jsonl", ".sarif"} and "manifests" not in file.parts:
            try:
                walk(json.loads(file.read_text(encoding="utf-8")))
            except ValueError:
                walk(file.read_text(encoding="utf-8", errors="replace"))
    return sorted(found)


def batches(strings: list[str], size: int = 100) -> Iterator[list[str]]:
    for start in range(0, len(strings), size):
        yield strings[start : start + size]


def shown(value: str) -> str:
    return " ".join(value.replace(JOINER, "").split())


@pytest.mark.slow
@pytest.mark.parametrize("source", ["fuzzed", "real"])
def test_text_in_cells_is_text(source: str) -> None:
    strings = [v for v in (list(fuzzed()) if source == "fuzzed" else real()) if plain(v)]
    assert len(strings) > 10_000

    for batch in batches(strings):
        page = rendered(table(["a", "b"], [[text(value), "end"] for value in batch]))

        expected = rendered(table(["a", "b"], [["x", "end"]] * len(batch)))
        assert page.skeleton == expected.skeleton, batch
        assert [shown(c) for c in page.cells[2::2]] == [shown(plain(v)) for v in batch]
        for cell in page.cells[2::2]:
            assert not added_by_github(cell), cell


@pytest.mark.slow
@pytest.mark.parametrize("source", ["fuzzed", "real"])
def test_code_in_cells_is_code(source: str) -> None:
    strings = [v for v in (list(fuzzed()) if source == "fuzzed" else real()) if plain(v)]

    for batch in batches(strings):
        page = rendered(table(["a", "b"], [[code(value), "end"] for value in batch]))

        expected = rendered(table(["a", "b"], [["`x`", "end"]] * len(batch)))
        assert page.skeleton == expected.skeleton, batch
        assert [shown(c) for c in page.cells[2::2]] == [
            shown(plain(v).replace("|", "¦")) for v in batch
        ]


SINKS: dict[str, Callable[[str], str]] = {
    "paragraph": text,
    "item": lambda value: f"- {text(value)}",
    "quote": lambda value: f"> **bold** {text(value)}",
    "summary": lambda value: details(f"<b>1</b>: {text(value)}", "rest"),
    "between emphasis": lambda value: f"**{text(value)}**",
    "code in prose": lambda value: f"before {code(value)} after",
}


@pytest.mark.slow
@pytest.mark.parametrize("sink", SINKS)
def test_other_sinks_keep_their_shape(sink: str) -> None:
    for value in [v for v in fuzzed() if plain(v)][:4000]:
        page = rendered(SINKS[sink](value))

        if sink == "between emphasis":  # bold needs a word beside its stars, shape aside
            assert set(page.skeleton) <= {"<p >", "</p>", "<strong >", "</strong>"}, value
        else:
            assert page.skeleton == rendered(SINKS[sink]("x")).skeleton, value
        assert not page.links
        for part in page.prose:
            assert not added_by_github(part), value


@pytest.mark.slow
@pytest.mark.parametrize("source", ["fuzzed", "real"])
def test_prose_is_text_and_code_and_nothing_else(source: str) -> None:
    strings = [v for v in (list(fuzzed()) if source == "fuzzed" else real()) if plain(v)]

    for value in strings:
        page = rendered(f"before {prose(value)} after")

        assert set(page.skeleton) <= {"<p >", "</p>", "<code >", "</code>"}, value
        assert not page.links
        for part in page.prose:
            assert not added_by_github(part), value


COPIED = [
    "registry.dev.example.com/acme/payments@sha256:" + "ab" * 32,
    "localhost:5000/acme/payments:sha-2b2e927",
    "sha256:" + "0" * 64,
    "2b2e927d1f0c1e2d3c4b5a69788796a5b4c3d2e1",
    "2b2e927",
    "release/v1.2.0-sha-2b2e927",
    "env/prod",
    "1.2.3",
    "acme/deploy",
    "deliver:4711:prod:payments",
]


@pytest.mark.parametrize("copied", COPIED)
@pytest.mark.parametrize("sentence", ["looked for {}, in vain", "({})", "{}: gone", "{}."])
def test_what_people_copy_is_whole_in_a_sentence(copied: str, sentence: str) -> None:
    source = sentence.format(copied)

    words = prose(source)

    assert JOINER not in words
    assert rendered(f"| a |\n| - |\n| {words} |").cells[1] == source


def test_commands_in_backquotes_are_code() -> None:
    assert prose("run `lockkeeper adopt prod`, then") == "run `lockkeeper adopt prod`, then"


def test_the_model_knows_what_github_adds() -> None:
    for wild, rule in [
        ("thanks @octocat", "mention"),
        ("fixes #12", "issue"),
        ("see gh-9", "issue"),
        ("since deadbeef", "commit"),
        ("at HTTPS://x.example", "link"),
        ("mail a@b.example", "mail"),
        ("great :tada:", "emoji"),
        ("$x^2$", "formula"),
    ]:
        assert rule in added_by_github(wild)
        assert not added_by_github("".join(rendered(text(wild)).prose)), wild
