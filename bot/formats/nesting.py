"""How deep a JSON document nests, counted on its bytes before anything parses it."""

from __future__ import annotations

import re
from itertools import accumulate
from typing import Final

_CHUNK: Final = 2**16
_CLOSED: Final = 2  # times that pairs of brackets with nothing in between are left out
_BACKSLASHES: Final = re.compile(rb"\\+")
_STEP: Final = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_NEITHER: Final = bytes(sorted(set(range(256)) - set(_STEP) - {ord('"')}))


def nests_deeper(document: bytes, limit: int) -> bool:
    """Whether brackets outside strings nest deeper; bounded memory, linear time."""
    depth, in_string, start = 0, 0, 0
    while start < len(document):
        end = start + _CHUNK
        run = _BACKSLASHES.match(document, end - 1)
        if run:  # an escape is never cut in two
            end = run.end() + 1
        chunk = document[start:end]
        if b"\\" in chunk:
            chunk = chunk.replace(b"\\\\", b"").replace(b'\\"', b"")
        # Most strings hold no bracket and vanish; two that touch hide the same as one.
        parts = chunk.translate(None, _NEITHER).replace(b'""', b"").split(b'"')
        brackets = b"".join(parts[in_string::2])
        in_string ^= (len(parts) - 1) & 1
        deepest, depth = _depths(brackets, depth, limit)
        if deepest > limit:
            return True
        start = end
    return False


def _depths(brackets: bytes, depth: int, limit: int) -> tuple[int, int]:
    """How deep they nest at most, beginning at ``depth``, and how deep they end.

    What closes at once adds its own levels and no more: without it a hundredth is left to count.
    """
    short = brackets
    for _ in range(_CLOSED):
        short = short.replace(b"{}", b"").replace(b"[]", b"")
    depths = list(accumulate(map(_STEP.__getitem__, short), initial=depth))
    if max(depths) + 2 * _CLOSED > limit:
        depths = list(accumulate(map(_STEP.__getitem__, brackets), initial=depth))
    return max(depths), depths[-1]
