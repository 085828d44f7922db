"""Which values a chart writes into labels, where a digest behind a tag is not allowed.

A label's value has at most 63 characters and no ``@`` (Kubernetes, labels and selectors), so a
chart that puts its tag there takes no ``tag@digest``. Templates are read line by line: below
``labels:`` and ``matchLabels:``, and in named templates that are called something with labels.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

_LABELS: Final = re.compile(r"^(\s*)(?:-\s+)?(?:\w+Labels|labels|matchLabels):\s*$")
_DEFINED: Final = re.compile(r"{{-?\s*define\s+\"[^\"]*labels?\"", re.IGNORECASE)
_OPENS: Final = re.compile(r"{{-?\s*(?:if|range|with|define|block)\b")
_ENDS: Final = re.compile(r"{{-?\s*end\b")
_VALUE: Final = re.compile(r"\.Values((?:\.[A-Za-z_][\w-]*)+)")
_SHORTENED: Final = re.compile(r"\b(?:trunc|splitList|split|regex\w+|replace|sha\w*sum|substr)\b")


def values_in_labels(template: str) -> Iterator[tuple[int, str]]:
    """Line and dotted path of each value that a template writes into a label as it is."""
    indent, depth = -1, 0
    for number, line in enumerate(template.splitlines(), start=1):
        depth = _depth(line, depth)
        found = _LABELS.match(line)
        stripped = line.strip()
        own = len(line) - len(line.lstrip())
        if indent >= 0 and stripped and not stripped.startswith("{{") and own <= indent:
            indent = -1
        if (indent >= 0 or depth) and ":" in line and not _SHORTENED.search(line):
            for value in _VALUE.findall(line):
                yield number, value[1:]
        if found:
            indent = len(found[1])


def _depth(line: str, depth: int) -> int:
    """How deep a line is in a named template of labels; 0: in none."""
    if not depth:
        return 1 if _DEFINED.search(line) else 0
    return depth + len(_OPENS.findall(line)) - len(_ENDS.findall(line))
