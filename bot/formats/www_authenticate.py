"""The ``WWW-Authenticate`` header: RFC 9110, section 11.6.1.

>>> parse_challenges(['Bearer realm="https://a.example/t",scope="repository:x:pull,push"'])
(Challenge(scheme='bearer', parameters={'realm': ..., 'scope': 'repository:x:pull,push'}),)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

_WORD: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PARAMETER: Final = re.compile(
    rf'\s*({_WORD})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|({_WORD}))\s*(?:,|(?=\s)|$)'
)
_SCHEME: Final = re.compile(rf"[\s,]*({_WORD})(?=\s|,|$)(?!\s*=)")
_TOKEN68: Final = re.compile(r"\s*[A-Za-z0-9._~+/-]+=*\s*(?:,|$)")
_ESCAPED: Final = re.compile(r"\\(.)")
_LONGEST: Final = 8192
"""Characters of a header that are read: text that ends nowhere is searched to its end again."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to log in that the server offers."""

    scheme: str
    """In lower case: ``basic``, ``bearer``."""
    parameters: Mapping[str, str]


def parse_challenges(headers: Iterable[str]) -> tuple[Challenge, ...]:
    """Read all challenges of all header lines, in order; what is not understood ends its line."""
    return tuple(one for header in headers for one in _challenges_of(header[:_LONGEST]))


def _challenges_of(header: str) -> list[Challenge]:
    found: list[Challenge] = []
    position = 0
    while scheme := _SCHEME.match(header, position):
        position = scheme.end()
        parameters: dict[str, str] = {}
        while parameter := _PARAMETER.match(header, position):
            name, quoted, plain = parameter.groups()
            value = plain if quoted is None else _ESCAPED.sub(r"\1", quoted)
            parameters.setdefault(name.lower(), value)
            position = parameter.end()
        if not parameters and (opaque := _TOKEN68.match(header, position)):
            position = opaque.end()
        found.append(Challenge(scheme[1].lower(), parameters))
    return found
