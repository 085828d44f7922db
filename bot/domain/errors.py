"""Everything that can go wrong, in three kinds; the kind decides what happens next.

    LockkeeperError
    ├── RejectedError       a person must change something: reported, never retried
    │   ├── ConfigurationError    a file that Lockkeeper reads is wrong: file, line, remedy
    │   ├── LimitExceededError    something is larger than the documented limit
    │   ├── NotGrantedError       a host, key or repository outside the operator's grant
    │   └── NotFoundError         a thing that was named does not exist
    ├── UnavailableError    try again later: back-off, only in the engine
    └── IntegrityError      content is not what it claims: stop, alarm, never retried
        └── DigestMismatchError

Every leaf builds its message from typed fields and keeps them. Messages name the thing, the fact
and the way out; never a token, a URL query or a header.
"""

from __future__ import annotations

from collections.abc import Sequence


class LockkeeperError(Exception):
    """Root of the tree; never raised itself."""


class RejectedError(LockkeeperError):
    """A person must change something; trying again changes nothing."""


class UnavailableError(LockkeeperError):
    """The other side cannot answer now; the same request may succeed later."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        """Keep ``retry_after``, the seconds that the other side asked us to wait."""
        super().__init__(message)
        self.retry_after = retry_after


class IntegrityError(LockkeeperError):
    """Content is not what it claims to be."""


class ConfigurationError(RejectedError):
    """A file that Lockkeeper reads is wrong."""

    def __init__(
        self,
        file: str,
        line: int | None,
        fact: str,
        remedy: str = "",
        path: Sequence[str | int] = (),
    ) -> None:
        """Place the fact at ``file``, ``line`` (counted from 1) and say the way out.

        ``path`` is where it stands in the document, step by step; empty: it is about the whole.
        """
        place = file if line is None else f"{file}:{line}"
        super().__init__(f"{place}: {fact}" + (f"; {remedy}" if remedy else ""))
        self.file, self.line, self.fact, self.remedy = file, line, fact, remedy
        self.path = tuple(path)


class LimitExceededError(RejectedError):
    """Something is larger than the documented limit (docs/limits.md)."""

    def __init__(self, thing: str, limit: str, found: str = "more") -> None:
        """Name the thing, its limit and what was found."""
        super().__init__(f"{thing}: {found}, the limit is {limit} (docs/limits.md)")
        self.thing, self.limit, self.found = thing, limit, found


class NotGrantedError(RejectedError):
    """A host, credential, key or source repository is outside the operator's grant."""

    def __init__(self, thing: str, grant: str) -> None:
        """Name what was asked for and the grant that lacks it."""
        super().__init__(f"{thing} is not granted by {grant}; the operator adds it there")
        self.thing, self.grant = thing, grant


class NotFoundError(RejectedError):
    """A thing that was named does not exist."""

    def __init__(self, thing: str, where: str) -> None:
        """Name the thing and where it was looked for."""
        super().__init__(f"{thing} does not exist in {where}")
        self.thing, self.where = thing, where


class DigestMismatchError(IntegrityError):
    """Bytes do not hash to the digest that names them."""

    def __init__(self, thing: str, expected: str, got: str) -> None:
        """Name the thing, the digest that was promised and the one that was found."""
        super().__init__(f"{thing}: expected {expected}, got {got}")
        self.thing, self.expected, self.got = thing, expected, got
