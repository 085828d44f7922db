from __future__ import annotations

import pytest
from hypothesis import example, given, strategies as st

from bot.domain.licences import (
    COMMON,
    _by_library,
    _common,
    _Name,
    _names,
    _unavoidable,
    denied_by,
)

DENIED = ["AGPL-3.0-only", "BUSL-1.1", "SSPL-1.0"]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("", None),
        ("MIT", None),
        ("BUSL-1.1", "BUSL-1.1"),
        ("busl-1.1", "BUSL-1.1"),
        ("MIT OR BUSL-1.1", None),
        ("MIT AND BUSL-1.1", "BUSL-1.1"),
        ("(MIT OR Apache-2.0) AND SSPL-1.0", "SSPL-1.0"),
        ("SSPL-1.0 OR BUSL-1.1", "SSPL-1.0"),
        ("(MIT AND SSPL-1.0) OR (BUSL-1.1 AND ISC)", "SSPL-1.0"),
        ("MIT AND (SSPL-1.0 OR ISC)", None),
        ("AGPL-3.0-only WITH some-exception", "AGPL-3.0-only"),
        ("Server side: SSPL-1.0 or commercial (ask us", "SSPL-1.0"),
        ("MIT, see the file", None),
        ("(" * 1000 + "SSPL-1.0" + ")" * 1000, None),
        ("(" * 40 + " SSPL-1.0 " + ")" * 40, "SSPL-1.0"),
    ],
)
def test_denied_by(expression: str, expected: str | None) -> None:
    assert denied_by(expression, DENIED) == expected


@example(["(", "AND", "MIT"])
@example(["(", ")"])
@given(
    st.lists(st.sampled_from(["MIT", "SSPL-1.0", "AND", "OR", "WITH", "(", ")", "x"]), max_size=30)
)
def test_no_text_breaks_it(words: list[str]) -> None:
    found = denied_by(" ".join(words), DENIED)

    assert found in {None, "SSPL-1.0"}


@pytest.mark.parametrize("name", sorted(COMMON))
def test_what_needs_no_library_is_what_the_library_says(name: str) -> None:
    found = _by_library(name)

    assert found is not None
    assert (found.key, _names(found)) == (name, _names(_common(name)))


@given(
    st.lists(st.sampled_from(sorted(COMMON)), min_size=1, max_size=4),
    st.sampled_from(["AND", "OR"]),
)
def test_flat_expressions_mean_what_the_library_says(names: list[str], operator: str) -> None:
    text = f" {operator} ".join(names)
    ours, theirs = _common(text), _by_library(text)

    for one in names:

        def broken(name: _Name, denied: str = one) -> str | None:
            return denied if name.id == denied else None

        assert _unavoidable(ours, broken) == _unavoidable(theirs, broken)


@pytest.mark.parametrize(
    "text", ["MIT WITH x", "(MIT)", "MIT AND (ISC OR Zlib)", "MIT OR", "Foo-1.0", "MIT and ISC"]
)
def test_everything_else_is_the_library_s(text: str) -> None:
    assert _common(text) is None
