from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from bot.domain.version_ranges import is_version


@pytest.mark.parametrize(
    ("kind", "written", "version", "expected"),
    [
        ("npm", "4.17.15", "4.17.15", True),
        ("npm", "4.17.20", "4.17.15", False),
        ("deb", "0:1.2-3", "1.2-3", True),
        ("npm", "vers:npm/>=4.17.0|<5.0.0", "4.17.15", True),
        ("npm", "vers:npm/>=4.17.16", "4.17.15", False),
        ("npm", "vers:npm/<1.0|>=2.0|<3.0", "2.5.0", True),
        ("npm", "vers:npm/<1.0|>=2.0|<3.0", "1.5.0", False),
        ("npm", "vers:npm/<1.0|>=2.0|<3.0", "0.5.0", True),
        ("npm", "vers:npm/>=2.0|!=2.5.0", "2.5.0", False),
        ("npm", "vers:npm/!=2.5.0", "2.4.0", True),
        ("npm", "vers:npm/1.0.0|2.0.0", "2.0.0", True),
        ("npm", "vers:npm/1.0.0|2.0.0", "1.5.0", False),
        ("npm", "vers:npm/*", "1.5.0", True),
        ("npm", "vers:semver/>1.0.0|<=1.5.0", "1.5.0", True),
        ("deb", "vers:deb/>=1%3A1.0-1", "1:1.0-1", True),
        ("npm", "vers:deb/>=1.0", "1.5.0", None),
        ("npm", "vers:npm/>=2.0|<1.0", "1.5.0", None),
        ("npm", "vers:npm/", "1.5.0", None),
        ("npm", "vers:npm/>=x y", "1.5.0", None),
        ("npm", "vers:npm/>=1.0", "", None),
        ("npm", "vers:npm/>=1.0", "no version", None),
    ],
)
def test_a_version_is_in_a_range_or_not_or_nobody_knows(
    kind: str, written: str, version: str, expected: object
) -> None:
    assert is_version(kind, written, version) is expected


@given(st.lists(st.integers(0, 9), min_size=2, max_size=2, unique=True), st.integers(0, 9))
def test_a_range_and_what_it_leaves_out_hold_every_version_once(ends: list[int], at: int) -> None:
    low, high = sorted(ends)
    inside = is_version("npm", f"vers:npm/>={low}.0.0|<{high}.0.0", f"{at}.0.0")
    outside = is_version("npm", f"vers:npm/<{low}.0.0|>={high}.0.0", f"{at}.0.0")

    assert {inside, outside} == {True, False}
    assert inside is (low <= at < high)
