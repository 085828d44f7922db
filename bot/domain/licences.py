"""Whether a licence is denied: SPDX licence expressions (SPDX 2.3, annex D).

A choice (``OR``) is denied if every alternative is; a conjunction (``AND``) if any part is. An
exception (``WITH``) does not lift a denial. What is no expression is compared as it stands.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Final

_TOKEN: Final = re.compile(r"\(|\)|[^\s()]+")
_LONGEST: Final = 2_000  # characters; longer text is no expression


def denied_by(expression: str, denied: Collection[str]) -> str | None:
    """The denied licence that an expression makes unavoidable; None if there is none."""
    names = {name.lower(): name for name in denied}
    tokens = _TOKEN.findall(expression) if len(expression) <= _LONGEST else []
    parser = _Parser(tokens, names)
    found = parser.choice()
    if parser.is_broken or parser.left:
        # Free text: any word of it that is denied counts.
        words = [names[word.lower()] for word in tokens if word.lower() in names]
        return names.get(expression.strip().lower()) or next(iter(words), None)
    return found


class _Parser:
    """A recursive descent over ``OR``, ``AND``, ``WITH`` and brackets; depth is bounded."""

    def __init__(self, tokens: Sequence[str], denied: dict[str, str]) -> None:
        self.left = list(reversed(tokens))
        self.is_broken = not tokens
        self._denied = denied
        self._depth = 0

    def choice(self) -> str | None:
        found = [self._conjunction()]
        while self._takes("OR"):
            found.append(self._conjunction())
        return None if None in found else found[0]

    def _conjunction(self) -> str | None:
        found = [self._licence()]
        while self._takes("AND"):
            found.append(self._licence())
        return next((name for name in found if name), None)

    def _licence(self) -> str | None:
        if self._takes("("):
            self._depth += 1
            if self._depth > 32:  # noqa: PLR2004 - deeper than any licence
                self.is_broken = True
                return None
            found = self.choice()
            self.is_broken |= not self._takes(")")
            return found
        if not self.left or self.left[-1] in {"(", ")"}:
            self.is_broken = True
            return None
        name = self.left.pop()
        if self._takes("WITH") and self.left:
            self.left.pop()
        return self._denied.get(name.lower())

    def _takes(self, word: str) -> bool:
        if self.left and self.left[-1].upper() == word:
            self.left.pop()
            return True
        return False
