"""What a body says of files that travel: hostile contents keep to their block."""

from __future__ import annotations

from hypothesis import given, strategies as st

from bot.formats.travelling_section import TravellingFacts, TravellingFile, travelling_section


def section(before: bytes | None, content: bytes, lines: int = 200) -> str:
    file = TravellingFile("envs/prod/a.txt", before, content)
    return travelling_section(TravellingFacts([file], "stage", "c" * 40), lines)


def test_a_change_is_counted_and_shown() -> None:
    shown = section(b"a\nb\n", b"a\nc\nd\n")

    assert "- `envs/prod/a.txt` +2 −1" in shown  # noqa: RUF001 - a minus sign
    assert "as they stand in `stage` at `ccccccc`" in shown
    assert "```diff\n" in shown
    assert "\n-b\n+c\n+d\n```" in shown


def test_what_is_not_text_and_what_has_no_room_says_so() -> None:
    assert "changed, not text" in section(b"\0", b"\1\xff")
    assert "added" in section(None, b"\xff")
    assert "see *Files changed*" in section(b"a", b"b", lines=0)
    assert "more lines" in section(b"", b"x\n" * 500)


def test_nothing_that_travels_says_nothing() -> None:
    assert not travelling_section(TravellingFacts())


@given(st.text(), st.text())
def test_no_content_leaves_its_block(before: str, after: str) -> None:
    raw = before.encode("utf-8", "surrogatepass"), after.encode("utf-8", "surrogatepass")
    shown = section(*raw)

    _, begins, block = shown.partition("<summary>How they change</summary>\n\n")
    if begins:
        fence = block.partition("diff\n")[0]
        body, ends, rest = block.partition("diff\n")[2].partition(f"\n{fence}\n")
        assert set(fence) == {"`"}
        assert ends
        assert fence not in body
        assert "<" not in rest.replace("</details>", "")
