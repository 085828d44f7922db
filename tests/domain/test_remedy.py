"""The version to go to: free of every finding, and never a guess between two release lines."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from bot.domain.remedy import _frees, remedy
from bot.domain.versions import compare
from tests.domain.evidence import finding

LOG4J = (
    ("2.3.1", "2.12.2", "2.15.0"),
    ("2.3.1", "2.12.2", "2.16.0"),
    ("2.3.1", "2.12.3", "2.17.0"),
    ("2.3.2", "2.12.4", "2.17.1"),
)


@pytest.mark.parametrize(
    ("kind", "installed", "fixes", "expected"),
    [
        ("maven", "2.14.1", LOG4J, "2.17.1"),
        ("maven", "2.12.1", LOG4J, "2.12.4"),
        ("maven", "2.0", LOG4J, "2.3.2"),
        ("maven", "2.13.0", LOG4J, "2.17.1"),
        ("pypi", "4.0.1", (("3.2.15", "4.0.4"), ("3.2.20", "4.1.10", "4.2.3")), "4.1.10"),
        ("pypi", "3.2.1", (("3.2.15", "4.0.4"), ("3.2.20", "4.1.10", "4.2.3")), "3.2.20"),
        ("npm", "1.1.0", (("1.2.5", "2.0.3"), ("1.3.0",)), "1.3.0"),
        ("npm", "1.1.0", (("1.2.5", "2.0.3"), ("2.0.1",)), "2.0.3"),
        ("npm", "3.0.0", (("1.2.5", "2.0.3"),), ""),
        ("deb", "3.0.11-1", (("3.0.12-1",), ("3.0.13-1~deb12u1",)), "3.0.13-1~deb12u1"),
        ("nuget", "5.0.0-beta2", (("5.0.0-RC1",),), "5.0.0-RC1"),
        ("maven", "2.0.0.RC1", (("2.0.0.RELEASE",),), "2.0.0.RELEASE"),
        ("maven", "2.0.0.RELEASE", (("2.0.0",),), ""),
    ],
)
def test_the_way_out(
    kind: str, installed: str, fixes: tuple[tuple[str, ...], ...], expected: str
) -> None:
    findings = [
        finding(f"CVE-2026-{n:04d}", kind=kind, versions=(installed,), fixed_in=one)
        for n, one in enumerate(fixes)
    ]
    assert remedy(findings).version == expected


@given(
    st.lists(
        st.dictionaries(st.integers(0, 5), st.integers(1, 9), min_size=1, max_size=4),
        min_size=1,
        max_size=3,
    ),
    st.integers(0, 5),
)
def test_no_way_out_is_vulnerable(fixed: list[dict[int, int]], line: int) -> None:
    """Each line of a major version gets its own fix or none; lines after the last one are free."""
    findings = [
        finding(
            f"CVE-2026-{n:04d}",
            kind="npm",
            versions=(f"1.{line}.0",),
            fixed_in=tuple(f"1.{minor}.{patch}" for minor, patch in one.items()),
        )
        for n, one in enumerate(fixed)
    ]
    version = remedy(findings).version
    if not version:
        return
    minor, patch = (int(part) for part in version.split(".")[1:])
    for one in fixed:
        if minor > max(one):
            assert max(one) >= line
        else:
            assert minor in one or len(one) == 1
            assert patch >= one.get(minor, 10) or len(one) == 1


def test_hundreds_of_fixes_of_one_package_are_compared_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared = 0

    def counting(kind: str, one: str, other: str, *, name: str = "") -> int | None:
        nonlocal compared
        compared += 1
        return compare(kind, one, other, name=name)

    monkeypatch.setattr("bot.domain.remedy.compare", counting)
    asked = 0

    def frees(*arguments: Any) -> bool:  # noqa: ANN401 - as `_frees` takes them
        nonlocal asked
        asked += 1
        return _frees(*arguments)

    monkeypatch.setattr("bot.domain.remedy._frees", frees)
    findings = [
        finding(f"CVE-2026-{n:04d}", kind="npm", versions=("1.0.0",), fixed_in=(f"1.{n}.1",))
        for n in range(1, 901)
    ]

    assert remedy(findings).version == "1.900.1"
    assert compared < 900 * 20
    assert asked < 900 * 3
