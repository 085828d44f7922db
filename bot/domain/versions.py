"""Which of two versions is newer, by the rules of their ecosystem; None where nobody can say.

The common ecosystems are ordered here, a hundred times faster than by univers; that orders those
whose rules are long: Maven's qualifiers, gems, Composer, Arch Linux.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from itertools import zip_longest
from types import ModuleType
from typing import Any, Final

Key = list[Any]  # compared with keys of the same function only
_SEMVER: Final = re.compile(
    r"v?([0-9]{1,19})(?:\.([0-9]{1,19}))?(?:\.([0-9]{1,19}))?(?:\.([0-9]{1,19}))?"
    r"(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]*)?"
)
_RELEASE: Final = re.compile(r"v?((?:[0-9]{1,19}\.)*[0-9]{1,19})")
_PEP440: Final = re.compile(
    r"v?(?:([0-9]{1,9})!)?((?:[0-9]{1,19}\.)*[0-9]{1,19})"
    r"(?:[._-]?(a|alpha|b|beta|c|rc|pre|preview)[._-]?([0-9]{0,9}))?"
    r"(?:(?:[._-]?(?:post|rev|r)[._-]?|-)([0-9]{1,9}))?"
    r"(?:[._-]?dev[._-]?([0-9]{0,9}))?(?:\+[a-z0-9._-]+)?"
)
_APK: Final = re.compile(
    r"((?:[0-9]{1,19}\.)*[0-9]{1,19})([a-z])?"
    r"((?:_(?:alpha|beta|pre|rc|cvs|svn|git|hg|p)[0-9]{0,19})*)(?:~[0-9a-f]+)?(?:-r([0-9]{1,19}))?"
)
_APK_SUFFIXES: Final = ("alpha", "beta", "pre", "rc", "", "cvs", "svn", "git", "hg", "p")
# Maven's POM reference: `ga`, `final` and `release` say nothing more than the numbers.
_MAVEN_RELEASE: Final = re.compile(r"([.-])release(?=[.-]|$)", re.IGNORECASE)
# Before a release of Go: go1.22rc1, go1.18beta2 (go.dev/doc/toolchain#version).
_GO_TOOLCHAIN: Final = re.compile(r"(?:go)?([0-9]{1,9}\.[0-9]{1,9})(rc|beta)([0-9]{1,9})")
# OpenJDK's: 17.0.8+7, 11.0.20.1, 1.8.0_392-b08, 8u392 (JEP 223, and what was before it).
_JDK: Final = re.compile(
    r"(?:jdk-?)?(?:1\.)?([0-9]{1,9}(?:\.[0-9]{1,9})*)(?:(?:u|_)([0-9]{1,9}))?"
    r"(?:-ea)?(?:[+-]b?([0-9]{1,9}))?(?:-[a-z0-9]+)*",
    re.IGNORECASE,
)
_JDK_NAMES: Final = re.compile(r"(?:open)?j(?:dk|re)|java|temurin|corretto|zulu", re.IGNORECASE)
# Ordered by univers: purl type -> the class of its versions.
_BY_UNIVERS: Final = {
    "maven": "MavenVersion",
    "gem": "RubygemsVersion",
    "composer": "ComposerVersion",
    "alpm": "ArchLinuxVersion",
    "conan": "ConanVersion",
    "ebuild": "GentooVersion",
}
_LONGEST: Final = 256
_SEMVER_TYPES: Final = frozenset({"npm", "cargo", "golang", "nuget", "hex", "pub"})


def compare(kind: str, one: str, other: str, *, name: str = "") -> int | None:
    """-1, 0 or 1 as ``one`` is older than, equal to or newer than ``other``; None: not comparable.

    ``kind`` is the purl type of the package; ``name`` tells Java's runtimes from other binaries.
    """
    if one == other:
        return 0
    if max(len(one), len(other)) > _LONGEST:
        return None
    if kind == "golang":
        one, other = _go(one), _go(other)
    if kind == "nuget":  # its prereleases have no case (learn.microsoft.com, package versioning)
        one, other = one.lower(), other.lower()
    if kind == "maven":  # univers knows `final` and `ga`, and not their third name
        one, other = (_MAVEN_RELEASE.sub(r"\1final", version) for version in (one, other))
    if kind in _BY_UNIVERS:
        return _by_univers(_BY_UNIVERS[kind], one, other)
    if kind in {"deb", "bitnami"}:  # Bitnami's revision is behind the dash, as Debian's
        return _with_epoch(one, other, _debian)
    if kind == "rpm":
        return _with_epoch(one, other, _rpm)
    key = {"apk": _apk, "pypi": _pep440}.get(kind)
    if key is None and kind in {"generic", "github", ""} and _JDK_NAMES.search(name):
        key = _jdk
    if key is None:
        key = _semver if kind in _SEMVER_TYPES else _numbers
    left, right = key(one), key(other)
    if left is None or right is None:
        return None
    return (left > right) - (left < right)


def _go(version: str) -> str:
    """A module's version, or a toolchain's: ``go1.22rc1``, ``go1.21.5 X:boringcrypto``."""
    found = _GO_TOOLCHAIN.fullmatch(version.partition(" ")[0])
    return (
        f"{found[1]}.0-{found[2]}.{found[3]}"
        if found
        else version.removeprefix("go").partition(" ")[0]
    )


def _by_univers(ordering: str, one: str, other: str) -> int | None:
    versions = _univers()
    try:
        kind = getattr(versions, ordering)
        left, right = kind(one), kind(other)
        return int(left > right) - int(left < right)
    except (versions.InvalidVersion, TypeError, ValueError, AttributeError, IndexError):
        return None  # it raises what its parts raise


@cache
def _univers() -> ModuleType:
    from univers import versions  # noqa: PLC0415 - a fifth of a second

    return versions


def _jdk(version: str) -> Key | None:
    """``8u392`` and ``1.8.0_392`` are one release; the build decides last."""
    found = _JDK.fullmatch(version)
    if found is None:
        return None
    numbers = [int(part) for part in found[1].split(".")]
    if found[2] is not None:
        numbers = [numbers[0], 0, int(found[2])]
    return [[*numbers, *([0] * (5 - len(numbers)))], int(found[3] or 0)]


def _with_epoch(one: str, other: str, order: Callable[[str, str], int]) -> int | None:
    """Epoch, version, release: Debian Policy 5.6.12; rpm-version(7)."""
    left, right = _split(one), _split(other)
    if left is None or right is None:
        return None
    if left[0] != right[0]:
        return 1 if left[0] > right[0] else -1
    return order(left[1], right[1]) or order(left[2], right[2])


def _split(version: str) -> tuple[int, str, str] | None:
    epoch, colon, rest = version.rpartition(":")
    if colon and not (epoch.isascii() and epoch.isdigit()):
        return None
    upstream, dash, release = rest.rpartition("-")
    return (int(epoch or 0), upstream, release) if dash else (int(epoch or 0), rest, "")


def _debian(one: str, other: str) -> int:
    """Debian Policy 5.6.12: non-digits by character with ``~`` first, digits as numbers."""
    if one == other:  # most updates change the release alone
        return 0
    left = re.findall(r"[^0-9]+|[0-9]+", one)
    right = re.findall(r"[^0-9]+|[0-9]+", other)
    return _compared(_debian_key(left), _debian_key(right))


def _debian_key(parts: Sequence[str]) -> list[tuple[tuple[int, ...], int]]:
    if parts and parts[0][0] in "0123456789":
        parts = ["", *parts]
    texts, numbers = parts[::2], parts[1::2]
    # The end of a text sorts after "~" and before everything else.
    key = [(_debian_text(text), int(number)) for text, number in zip(texts, numbers, strict=False)]
    return key if len(texts) == len(numbers) else [*key, (_debian_text(texts[-1]), 0)]


@lru_cache(1024)
def _debian_text(text: str) -> tuple[int, ...]:
    """Thousands of versions have the same few texts between their digits."""
    return (*map(_debian_rank, text), 0)


def _debian_rank(character: str) -> int:
    if character == "~":
        return -1
    return ord(character) if character.isalpha() else ord(character) + 256


def _compared(
    left: list[tuple[tuple[int, ...], int]], right: list[tuple[tuple[int, ...], int]]
) -> int:
    empty: tuple[tuple[int, ...], int] = ((0,), 0)
    for a, b in zip_longest(left, right, fillvalue=empty):
        if a != b:
            return 1 if a > b else -1
    return 0


def _rpm(one: str, other: str) -> int:
    """rpmvercmp: segments of digits or letters; ``~`` before the end, ``^`` after it."""
    left, right = _rpm_key(one), _rpm_key(other)
    return (left > right) - (left < right)


def _rpm_key(version: str) -> list[tuple[int, int, str]]:
    ranks = {"~": 0, "^": 2}
    key: list[tuple[int, int, str]] = []
    for part in re.findall(r"[0-9]+|[A-Za-z]+|[~^]", version):
        if part in ranks:
            key.append((ranks[part], 0, ""))
        else:
            key.append((4, int(part), "") if part.isdigit() else (3, 0, part))
    return [*key, (1, 0, "")]


def _apk(version: str) -> Key | None:
    """Alpine's apk-package(5): digits, one letter, suffixes, ``-r`` revision."""
    found = _APK.fullmatch(version)
    if found is None:
        return None
    suffixes = [
        (_APK_SUFFIXES.index(name), int(number or 0))
        for name, number in re.findall(r"_([a-z]+)([0-9]*)", found[3])
    ]
    plain = _APK_SUFFIXES.index("")
    return [_release(found[1]), found[2] or "", [*suffixes, (plain, 0)], int(found[4] or 0)]


def _semver(version: str) -> Key | None:
    """SemVer 2.0.0, section 11; a fourth number as NuGet has it."""
    found = _SEMVER.fullmatch(version)
    if found is None:
        return None
    numbers = [int(found[n] or 0) for n in range(1, 5)]
    if found[5] is None:
        return [numbers, 1, []]
    pre = [(0, int(p), "") if p.isdigit() else (1, 0, p) for p in found[5].split(".")]
    return [numbers, 0, pre]


def _pep440(version: str) -> Key | None:
    """Version specifiers of the Python packaging user guide (PEP 440); local parts are ignored."""
    found = _PEP440.fullmatch(version.lower())
    if found is None:
        return None
    epoch, release, pre, pre_number, post, dev = found.groups()
    stage = {"a": 0, "alpha": 0, "b": 1, "beta": 1}.get(pre, 2) if pre else 3
    if dev is not None and not pre and post is None:
        stage = -1
    return [
        int(epoch or 0),
        _release(release),
        (stage, int(pre_number or 0)),
        int(post) if post else -1,
        int(dev or 0) if dev is not None else float("inf"),
    ]


def _numbers(version: str) -> Key | None:
    """Dotted numbers alone: what every other ecosystem agrees on."""
    found = _RELEASE.fullmatch(version)
    return None if found is None else [_release(found[1])]


def _release(text: str) -> list[int]:
    numbers = [int(part) for part in text.split(".")]
    while len(numbers) > 1 and numbers[-1] == 0:
        numbers.pop()
    return numbers
