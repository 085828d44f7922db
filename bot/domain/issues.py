"""Issue keys in what people write about their commits, by the pipeline file's patterns.

A pattern is text with ``{number}`` and perhaps ``{project}``, no regular expression: whoever may
write one can neither slow a look down nor match what no tracker would call an issue.

>>> [str(key) for key in issue_keys([IssuePattern("PAY-{number}")], ["PAY-812: fix, see REPAY-3"])]
['PAY-812']
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from bot.domain.errors import RejectedError

MOST_KEYS: Final = 200
"""Of one promotion; what is beyond is counted by nobody, as the commits beyond the limit are."""
_MESSAGE: Final = 20_000  # characters of one message that are looked through
_PARTS: Final = {"number": r"[0-9]{1,9}", "project": r"[A-Z][A-Z0-9]{1,15}"}
_PART: Final = re.compile(r"\{(number|project)\}")
_KEY: Final = re.compile(r"(?:[A-Za-z0-9#/_-]|\{number\}|\{project\}){1,60}")
_LINK: Final = re.compile(
    r"https?://[A-Za-z0-9.:-]+(?:/(?:[\w./?=&%#~+-]|\{number\}|\{project\})*)?"
)
_BEFORE: Final = r"(?<![A-Za-z0-9_-])"
_AFTER: Final = r"(?![A-Za-z0-9_])"


class BadPatternError(RejectedError):
    """A pattern that names no issue, or a link that leads to none."""

    def __init__(self, pattern: str, fact: str) -> None:
        """Name the pattern and what is wrong with it."""
        super().__init__(f"{pattern[:200]!r} {fact}")
        self.pattern, self.fact = pattern, fact


@dataclass(frozen=True, slots=True)
class IssuePattern:
    """How a tracker calls its issues, and where they are read."""

    key: str
    """``PAY-{number}``, ``{project}-{number}``, ``#{number}``."""
    link: str = ""
    """``https://issues.example.com/browse/PAY-{number}``; empty: keys are shown without a link."""

    def __post_init__(self) -> None:
        parts = _PART.findall(self.key)
        if not _KEY.fullmatch(self.key):
            raise BadPatternError(self.key, "is not made of letters, digits and `# / _ -`")
        if parts.count("number") != 1 or parts.count("project") > 1:
            raise BadPatternError(self.key, "needs {number} once, and {project} at most once")
        if "{project}{number}" in self.key or not _PART.sub("", self.key):
            raise BadPatternError(self.key, "needs a letter or a sign of its own beside {number}")
        if self.link and not _LINK.fullmatch(self.link):
            raise BadPatternError(self.link, "is no http(s) address with {number}")
        if set(_PART.findall(self.link)) - set(parts):
            raise BadPatternError(self.link, "uses {project}, and the key has none")


@dataclass(frozen=True, slots=True)
class IssueKey:
    """One issue that a commit or a pull request names."""

    key: str
    url: str = ""

    def __str__(self) -> str:
        return self.key


def issue_keys(patterns: Sequence[IssuePattern], texts: Iterable[str]) -> tuple[IssueKey, ...]:
    """Every issue that the texts name, each once, by tracker and number.

    Args:
        patterns: of the application; the first that knows a place says what stands there.
        texts: whole commit messages, titles of pull requests: text from outside.
    """
    found: dict[str, IssueKey] = {}
    for text in texts:
        for pattern in patterns:
            for match in _expression(pattern.key).finditer(text[:_MESSAGE]):
                found.setdefault(match[0], IssueKey(match[0], _filled(pattern.link, match)))
                if len(found) == MOST_KEYS:
                    return _sorted(found.values())
    return _sorted(found.values())


def _sorted(keys: Iterable[IssueKey]) -> tuple[IssueKey, ...]:
    """``PAY-9`` before ``PAY-10``."""
    return tuple(
        sorted(keys, key=lambda one: (one.key.rstrip("0123456789"), len(one.key), one.key))
    )


@lru_cache(64)
def _expression(key: str) -> re.Pattern[str]:
    """Bounded repeats alone: linear in the text."""
    parts = re.split(r"(\{(?:number|project)\})", key)
    inner = "".join(
        f"(?P<{part[1:-1]}>{_PARTS[part[1:-1]]})" if _PART.fullmatch(part) else re.escape(part)
        for part in parts
    )
    return re.compile(f"{_BEFORE}{inner}{_AFTER}", re.ASCII)


def _filled(link: str, match: re.Match[str]) -> str:
    return _PART.sub(lambda part: match[part[1]], link)
