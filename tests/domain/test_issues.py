from __future__ import annotations

import time

import pytest
from hypothesis import given, strategies as st

from bot.domain.issues import MOST_KEYS, BadPatternError, IssuePattern, issue_keys

PAY = IssuePattern("PAY-{number}", "https://issues.example.com/browse/PAY-{number}")


def keys(pattern: str, *texts: str) -> list[str]:
    return [str(one) for one in issue_keys([IssuePattern(pattern)], texts)]


def test_keys_of_subjects_bodies_and_titles_once_each() -> None:
    found = issue_keys([PAY], ["PAY-812: round VAT", "Merge\n\nCloses PAY-9, (PAY-812)."])

    assert [(one.key, one.url) for one in found] == [
        ("PAY-9", "https://issues.example.com/browse/PAY-9"),
        ("PAY-812", "https://issues.example.com/browse/PAY-812"),
    ]


@pytest.mark.parametrize(
    "text",
    ["REPAY-3", "PAY-3a", "pay-3", "X_PAY-3", "PAY-", "PAY-1234567890", "a/PAY-3x", "P-PAY-3"],
)
def test_what_only_looks_like_a_key(text: str) -> None:
    assert keys("PAY-{number}", text) == []


def test_any_project_and_plain_numbers() -> None:
    assert keys("{project}-{number}", "OPS-1 and PAY-22, a-3") == ["OPS-1", "PAY-22"]
    assert keys("#{number}", "Fix rounding (#812), abc#5") == ["#812"]
    assert keys("acme/shop#{number}", "see acme/shop#4") == ["acme/shop#4"]
    assert keys("PAY-{number}", "Merge pull request 5 from acme/PAY-812-vat") == ["PAY-812"]


@pytest.mark.parametrize(
    ("key", "link"),
    [
        ("PAY", ""),
        ("{number}", ""),
        ("{number}{number}x", ""),
        ("{project}{number}", ""),
        ("PAY-{number} .*", ""),
        ("(a+)+-{number}", ""),
        ("PAY-{number}", "javascript:alert({number})"),
        ("PAY-{number}", "https://x.example/) [a](b{number}"),
        ("PAY-{number}", "https://x.example/{project}/{number}"),
        ("PAY-{commit}", ""),
        ("", ""),
    ],
)
def test_what_is_no_pattern(key: str, link: str) -> None:
    with pytest.raises(BadPatternError):
        IssuePattern(key, link)


def test_a_flood_ends() -> None:
    texts = [f"PAY-{n}" for n in range(10_000)]
    started = time.process_time()

    assert len(issue_keys([PAY], texts)) == MOST_KEYS
    assert keys("{project}-{number}", "A" * 5_000_000) == []
    assert time.process_time() - started < 5


@given(st.text(), st.integers(min_value=0, max_value=999_999_999))
def test_a_key_between_spaces_is_found_whatever_is_around(around: str, number: int) -> None:
    found = keys("PAY-{number}", f"{around} PAY-{number} {around}")

    assert len(around) > 9_000 or f"PAY-{number}" in found
