"""Branches and git tags of source repositories: what asks for a promotion, and its version.

A branch and a tag may have one name. They are two refs, and stay two wherever they are kept.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Self

_TAG: Final = "tag:"
"""No ref's name holds a colon (git-check-ref-format), so no branch is ever taken for a tag."""
_HEADS: Final = "refs/heads/"
_TAGS: Final = "refs/tags/"
# DESIGN: `{version}` is v?N(.N)*(-x)?(+y)?, at the end of the branch or git tag.
# Tools for monorepos put an @ before it: `@acme/payments@1.10.0`.
_VERSION: Final = re.compile(
    r"(?:^|[/_@-])(v?[0-9]+(?:\.[0-9]+)*(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?)$"
)
_DATE: Final = re.compile(r"[0-9]{4}(?:-[0-9]+){2,}(?![0-9A-Za-z])")
"""``2026-3-10``, and a counter behind it: numbers, no pre-release of a version 2026."""
_COMMIT_IN_NAME: Final = re.compile(r"-sha-([0-9a-f]{7,40})$")

VersionKey = tuple[tuple[int, ...], bool, tuple[tuple[bool, int, str], ...]]


@dataclass(frozen=True, slots=True, order=True)
class SourceRef:
    """A branch or a git tag of a source repository."""

    name: str
    """Without ``refs/heads/`` or ``refs/tags/``."""
    is_tag: bool = False

    @classmethod
    def of(cls, key: str) -> Self:
        """Read what `key` wrote; what was kept before there were tags is a branch."""
        if key.startswith(_TAG):
            return cls(key.removeprefix(_TAG), is_tag=True)
        return cls(key)

    @classmethod
    def of_full(cls, ref: str) -> Self | None:
        """Read ``refs/heads/develop`` or ``refs/tags/v1``; None: it is neither."""
        for prefix, is_tag in ((_HEADS, False), (_TAGS, True)):
            if ref.startswith(prefix) and ref != prefix:
                return cls(ref.removeprefix(prefix), is_tag)
        return None

    @property
    def key(self) -> str:
        """How it is kept: a branch by its name, a tag as ``tag:v1.2.0``."""
        return f"{_TAG}{self.name}" if self.is_tag else self.name

    @property
    def full(self) -> str:
        """As git names it."""
        return f"{_TAGS if self.is_tag else _HEADS}{self.name}"

    @property
    def version(self) -> str | None:
        """The version that it is named for; None without one."""
        return version_of(self.name)

    @property
    def rank(self) -> tuple[bool, VersionKey]:
        """A sort key: without a version first, then by version."""
        version = self.version
        return version is not None, version_order(version or "0")

    def is_older_than(self, other: SourceRef) -> bool:
        """Whether both are named for versions, and this one's is lower."""
        ours, theirs = self.version, other.version
        if ours is None or theirs is None:
            return False
        return version_order(ours) < version_order(theirs)

    def __str__(self) -> str:
        return f"tag {self.name}" if self.is_tag else self.name


NO_REF: Final = SourceRef("")
"""Where nobody knows which ref asked."""


def version_of(name: str) -> str | None:
    """The version that a branch or tag is named for, as ``v1.2.0``; None without one."""
    found = _VERSION.search(_COMMIT_IN_NAME.sub("", name))
    return found[1] if found else None


def version_order(version: str) -> VersionKey:
    """A sort key: numbers first; a pre-release (``-rc.1``) is before its release (SemVer 11)."""
    plain, _, _build = version.removeprefix("v").partition("+")
    plain = _DATE.sub(lambda found: found[0].replace("-", "."), plain, count=1)
    numbers, _, suffix = plain.partition("-")
    parts = [int(part) for part in numbers.split(".")]
    while parts and parts[-1] == 0:
        parts.pop()
    return tuple(parts), not suffix, tuple(_identifier(one) for one in suffix.split("."))


def _identifier(text: str) -> tuple[bool, int, str]:
    """Numbers among themselves, and before words: ``rc.9`` is before ``rc.10``."""
    is_number = text.isascii() and text.isdigit()
    return (False, int(text), "") if is_number else (True, 0, text)


def commit_in_name(branch: str) -> str | None:
    """The (abbreviated) commit that a branch name like ``release/v1-sha-2b2e927`` states."""
    found = _COMMIT_IN_NAME.search(branch)
    return found[1] if found else None
