from __future__ import annotations

import pytest
from hypothesis import example, given, strategies as st

from bot.domain.versions import compare

OLDER_FIRST = [
    # Debian Policy 5.6.12, and versions of real packages
    ("deb", "1.0~rc1", "1.0"),
    ("deb", "2.0", "1:1.0"),
    ("deb", "3.0.17-1~deb12u2", "3.0.17-1~deb12u3"),
    ("deb", "1.2.13.dfsg-1", "1.2.13.dfsg-1+deb12u1"),
    ("deb", "2.36-9+deb12u9", "2.36-9+deb12u10"),
    ("deb", "1.0a", "1.0+"),
    # rpm-version(7)
    ("rpm", "4.2.46-31.el7", "4.2.46-33.el7"),
    ("rpm", "1.0~rc1-1", "1.0-1"),
    ("rpm", "1.0", "1.0^git1"),
    ("rpm", "1.0", "1.0a"),
    ("rpm", "1.0.a", "1.0.1"),
    # apk-package(5)
    ("apk", "3.0.4-r1", "3.0.6-r0"),
    ("apk", "1.1.22-r3", "1.1.22-r10"),
    ("apk", "1.0_rc1", "1.0"),
    ("apk", "1.0", "1.0_p1"),
    ("apk", "1.0a", "1.0b"),
    # SemVer 2.0.0, 11
    ("npm", "1.0.0-rc.1", "1.0.0"),
    ("npm", "1.0.0-alpha.1", "1.0.0-alpha.beta"),
    ("npm", "1.9.0", "1.10.0"),
    ("golang", "v0.0.0-20200101000000-abcdefabcdef", "v0.1.0"),
    ("nuget", "1.0.0.1", "1.0.0.2"),
    ("nuget", "5.0.0-beta2", "5.0.0-RC1"),
    ("nuget", "5.0.0-RC1", "5.0.0-rc2"),
    ("maven", "2.0.0.RELEASE", "2.0.1"),
    ("maven", "2.0.0.RC1", "2.0.0.RELEASE"),
    ("maven", "2.0.0.RELEASE", "2.0.0.SR1"),
    # PEP 440
    ("pypi", "1.0.dev1", "1.0a1"),
    ("pypi", "1.0rc1", "1.0"),
    ("pypi", "1.0", "1.0.post1"),
    ("pypi", "2.0", "1!1.0"),
    ("maven", "1.2", "1.10"),
    ("maven", "1.2-SNAPSHOT", "1.2"),
    ("maven", "2.9.9", "2.9.10.8"),
    ("maven", "1.0-rc1", "1.0"),
    ("maven", "31.1-jre", "32.0.0-jre"),
    ("gem", "1.0.0.pre1", "1.0.0"),
    ("gem", "2.9.9", "2.10.0"),
    ("composer", "v1.0.0-beta2", "1.0.0"),
    ("alpm", "2.0-1", "1:1.0-1"),
    ("golang", "go1.21.9", "1.21.10"),
]


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("17.0.8+7", "17.0.9+9"),
        ("1.8.0_382-b05", "8u392"),
        ("11.0.20", "11.0.20.1"),
        ("8u392", "11"),
    ],
)
def test_java_runtimes(older: str, newer: str) -> None:
    assert compare("generic", older, newer, name="openjdk") == -1
    assert compare("generic", newer, older, name="openjdk") == 1


@pytest.mark.parametrize(("kind", "older", "newer"), OLDER_FIRST)
def test_by_the_rules_of_the_ecosystem(kind: str, older: str, newer: str) -> None:
    assert compare(kind, older, newer) == -1
    assert compare(kind, newer, older) == 1


@pytest.mark.parametrize(
    ("kind", "one", "other"),
    [
        ("golang", "(devel)", "v1.0.0"),
        ("gem", "1.0.0", "x y"),
        ("deb", "x:1", "2"),
        ("apk", "latest", "1"),
        ("npm", "1.0.0", "9" * 300),
        ("", "a", "b"),
    ],
)
def test_nobody_can_say(kind: str, one: str, other: str) -> None:
    assert compare(kind, one, other) is None


TEXTS = st.text(alphabet="0123456789abz.-_~^+:!vr\u0660", max_size=20)


@example("deb", "", "\u06600^")
@given(st.sampled_from(["deb", "rpm", "apk", "npm", "pypi", "maven"]), TEXTS, TEXTS)
def test_comparing_is_antisymmetric_and_never_raises(kind: str, one: str, other: str) -> None:
    forth, back = compare(kind, one, other), compare(kind, other, one)

    assert compare(kind, one, one) == 0
    assert forth is None if back is None else forth == -back


@pytest.mark.parametrize(
    ("kind", "older", "newer"),
    [
        ("golang", "1.22rc1", "1.22.0"),
        ("golang", "go1.22beta2", "go1.22rc1"),
        ("golang", "1.21.9", "1.22rc1"),
        ("golang", "1.22rc2", "1.22rc10"),
        ("golang", "go1.21.4 X:boringcrypto", "1.21.5"),
        ("bitnami", "1.2.3-0", "1.2.3-1"),
        ("bitnami", "1.2.3-9", "1.2.10-0"),
    ],
)
def test_toolchains_of_go_and_revisions_of_bitnami(kind: str, older: str, newer: str) -> None:
    assert compare(kind, older, newer) == -1
    assert compare(kind, newer, older) == 1


@pytest.mark.parametrize(
    ("kind", "one", "other"),
    [
        ("maven", "2.0.0.RELEASE", "2.0.0"),
        ("maven", "2.0.0-release", "2.0.0.Final"),
        ("nuget", "5.0.0-RC1", "5.0.0-rc1"),
    ],
)
def test_two_spellings_of_one_version(kind: str, one: str, other: str) -> None:
    assert compare(kind, one, other) == compare(kind, other, one) == 0
