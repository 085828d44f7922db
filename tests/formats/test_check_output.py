"""A check run and a comment say what the body says, within GitHub's limits, escaped as well."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

import pytest

from bot.domain.assessment import Assessment, Evidence, assess
from bot.domain.policy import Shown
from bot.formats.check_output import OUTPUT_LIMIT, check_output, title, verdict_changed
from bot.formats.markdown import plain
from tests.evidence_bodies import AT, KEPT
from tests.formats.test_escaping import fuzzed, real
from tests.formats.test_evidence_body import STREWN, crowd, harmless, strewn
from tests.github_rendering import added_by_github, rendered

REPORT = "https://lockkeeper.example/promotions/0123456789abcdef0123456789"
GITHUB_LIMIT = 65_535


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("blocked", "Blocked: 2 of 11 checks fail"),
        ("clean", "All 10 checks pass"),
        ("degraded", "Blocked: 8 of 10 checks could not be evaluated"),
    ],
)
def test_titles_say_the_answer(name: str, expected: str) -> None:
    assert title(KEPT[name]()) == expected


def test_without_a_policy_nothing_is_promised() -> None:
    output = check_output(assess("stage", Evidence(None), None, AT))

    assert output.title == "Policy not evaluated: none is configured"
    assert "### Vulnerabilities\n\n**Not evaluated.**" in output.text


def test_what_a_body_groups_is_listed_one_by_one() -> None:
    output = check_output(KEPT["degraded"](), REPORT)

    assert "in the same package" not in output.text
    assert output.text.count("`linux-libc-dev`") == 98
    assert f"[Full report]({REPORT})" in output.summary
    assert "[!" not in output.summary  # alerts are for bodies and comments


@pytest.mark.parametrize("size", [0, 40, 1500])
@pytest.mark.parametrize("word", ["plain", "<&|*_`@#$:>", "🟥", "名前"])
def test_every_part_keeps_to_github_s_limit_and_stays_whole(size: int, word: str) -> None:
    judged = crowd(size, word).assessment
    assert judged is not None

    output = check_output(judged, REPORT)
    comment = verdict_changed(judged, Shown.PASS, REPORT)

    for part in (output.summary, output.text, comment):
        assert len(part.encode()) <= OUTPUT_LIMIT < GITHUB_LIMIT
        assert part.count("<details>") == part.count("</details>")
    assert "**Policy: " in output.summary
    assert "### Vulnerabilities" in output.text


def test_a_comment_names_both_verdicts() -> None:
    comment = verdict_changed(KEPT["blocked"](), Shown.PASS, REPORT)

    assert comment.startswith("> [!CAUTION]\n> **Policy: blocked for `stage`.**")
    assert "**The verdict for `stage` changed: pass → blocked.**" in comment


def parts(words: Iterator[str]) -> list[str]:
    judged = strewn(words).assessment
    assert isinstance(judged, Assessment)
    output = check_output(judged, REPORT)
    assert not added_by_github(output.title)
    return [output.summary, output.text, verdict_changed(judged, Shown.WARN, REPORT)]


@pytest.mark.slow
@pytest.mark.parametrize("source", ["fuzzed", "real"])
def test_hostile_strings_change_no_part(source: str) -> None:
    known = re.compile(r"CVE-[0-9-]+|GHSA(-[0-9a-z]{4}){3}")
    given = fuzzed() if source == "fuzzed" else real()
    strings = [v for v in given if plain(v) and not known.fullmatch(plain(v))]
    generator = random.Random(2)  # noqa: S311 - the same order in every run
    generator.shuffle(strings)
    expected = [rendered(part).skeleton for part in parts(harmless())]

    for start in range(0, len(strings) - STREWN, STREWN):
        for part, shape in zip(parts(iter(strings[start : start + STREWN])), expected, strict=True):
            page = rendered(part)
            assert page.skeleton == shape, part
            for prose in page.prose:
                assert not added_by_github(prose), prose
            for link in page.links:
                assert re.match(r"https://(github\.com|nvd\.nist\.gov|lockkeeper\.example)/", link)
