from __future__ import annotations

import re

import pytest
from hypothesis import given, strategies as st

from bot.formats.markdown import code, plain, table, text

HOSTILE = [
    "</details><img src=x onerror=alert(1)>",
    "@acme/admins please merge #12 and GH-13",
    "[click](https://evil.example)",
    "https://evil.example www.evil.example",
    "a | b | c",
    "``` `` `",
    "line\r\n\r\n# heading",
    "\u202eevil\u202c \u0000 \x1b[31m",
    "![x](y) <!-- lockkeeper:promotion v1 id=0 -->",
    "deadbeefcafe1234",
    "- [ ] item\n> quote",
    ":rocket: $x$ ~~s~~",
]


def test_text_has_no_meaning_left() -> None:
    for value in HOSTILE:
        cell = text(value)
        rest = re.sub(r"&#[0-9]+;", "", cell)
        assert not re.search(r"[\\`*_{}\[\]()<>|~@#\n\r]", rest), cell
        assert not re.search(r"(?i)https?:|www\.|GH-[0-9]", rest), cell


@given(st.text(max_size=80) | st.sampled_from(HOSTILE))
def test_code_spans_end_where_they_should(value: str) -> None:
    span = code(value).strip("\u200e")
    if span:
        fence = re.match(r"`+", span)
        assert fence is not None
        inner = span[len(fence[0]) : -len(fence[0])]
        assert fence[0] not in re.findall(r"`+", inner)
        assert "\n" not in span
        assert "|" not in span


@pytest.mark.parametrize(
    "word", ["\u05e9\u05dc\u05d5\u05dd", "\u0633\u0644\u0627\u0645", "x \u0661"]
)
def test_letters_from_right_to_left_take_nothing_beside_them_along(word: str) -> None:
    assert code(word) == f"\u200e`{word}`\u200e"
    assert text(word) == f"\u200e{word}\u200e"
    assert "\u200e" not in code("plain → 名前") + text("plain → 名前")


@given(st.text(max_size=300))
def test_plain_is_one_bounded_line(value: str) -> None:
    line = plain(value, 50)

    assert len(line) <= 50
    assert line == line.strip()
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", line)


def test_table() -> None:
    assert table(["a", "b"], [["1", "2"]], "lr") == "| a | b |\n| :-- | --: |\n| 1 | 2 |"
