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
    conjunction,
    denied_by,
    is_unknown,
    outside,
    outside_for_sure,
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


@pytest.mark.parametrize(
    "text",
    [
        "License :: OSI Approved :: GNU Affero General Public License v3",
        "License :: OSI Approved :: GNU Affero General Public License v3 or later (AGPLv3+)",
        "https://www.gnu.org/licenses/agpl-3.0.html",
        "http://www.gnu.org/licenses/agpl-3.0.txt",
        "https://spdx.org/licenses/AGPL-3.0-only.html",
        "https://opensource.org/licenses/AGPL-3.0",
        "https://licenses.nuget.org/AGPL-3.0-or-later",
        "Dual license: MIT or AGPL-3.0",
        "Released under the GNU Affero General Public License, version 3.",
        "AGPL-3 + file LICENSE",
        "AGPL (>= 3)",
        "MIT & AGPL-3.0",
        "AGPL-3.0-only AND NOASSERTION",
    ],
)
def test_however_it_is_written_a_denied_licence_is_denied(text: str) -> None:
    """Python's classifiers, addresses of Maven and NuGet, R's notations, sentences."""
    assert denied_by(text, DENIED) == "AGPL-3.0-only"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("GPL-2.0-with-classpath-exception", "GPL-2.0-only"),
        ("GPL-2.0-with-GCC-exception", "GPL-2.0-only"),
        ("gpl-2.0-with-font-exception", "GPL-2.0-only"),
        ("eCos-2.0", "GPL-2.0-only"),
        ("MIT AND GPL-2.0-with-bison-exception", "GPL-2.0-only"),
        ("MIT OR GPL-2.0-with-bison-exception", None),
        ("GPL (>= 2)", "GPL-2.0-only"),
        ("GPL-2 | file LICENSE", "GPL-2.0-only"),
        ("https://www.gnu.org/licenses/old-licenses/gpl-2.0.html", "GPL-2.0-only"),
        ("https://www.gnu.org/licenses/old-licenses/gpl-2.0-standalone.html", "GPL-2.0-only"),
        ("License :: OSI Approved :: MIT License", None),
        ("https://opensource.org/licenses/MIT", None),
        ("https://example.com/gpl-2.0.html", None),
        ("https://www.apache.org/licenses/LICENSE-2.0.txt", None),
    ],
)
def test_deprecated_ids_hold_their_licence_and_addresses_are_known_ones(
    text: str, expected: str | None
) -> None:
    assert denied_by(text, ["GPL-2.0-only"]) == expected


@pytest.mark.parametrize(
    "text",
    [
        "License :: OSI Approved :: MIT License",
        "https://opensource.org/licenses/MIT",
        "https://opensource.org/licenses/mit-license.php",
        "MIT + file LICENSE",
        "MIT | GPL-2",
    ],
)
def test_an_allowed_licence_is_allowed_however_it_is_written(text: str) -> None:
    assert outside(text, ["MIT"]) is None


@pytest.mark.parametrize(
    ("text", "is_open", "broken"),
    [
        ("MIT AND NOASSERTION", True, None),
        ("MIT OR NOASSERTION", False, None),
        ("NOASSERTION AND NONE", True, None),
        ("License :: OSI Approved", True, None),
        ("AGPL-3.0-only AND NOASSERTION", True, "AGPL-3.0-only"),
        ("MIT AND LicenseRef-unknown", True, None),
        ("MIT AND ISC", False, "ISC"),
        ("unknown vendor licence", False, "unknown vendor licence"),
    ],
)
def test_a_part_that_nobody_knows_is_told_from_what_is_outside(
    text: str, is_open: object, broken: str | None
) -> None:
    assert is_unknown(text) is is_open
    assert outside_for_sure(text, ["MIT"]) == broken


@pytest.mark.parametrize(
    ("denied", "text"),
    [
        ("EUPL-1.2", "License :: OSI Approved :: European Union Public Licence 1.2 (EUPL 1.2)"),
        ("Elastic-2.0", "Elastic License 2.0"),
        ("MPL-2.0", "MPL-2.0+"),
        ("CC-BY-NC-4.0", "Creative Commons Attribution Non Commercial 4.0"),
        ("CC-BY-NC-SA-4.0", "Creative Commons Attribution-NonCommercial-ShareAlike 4.0"),
        ("CC-BY-NC-4.0", "CC-BY-NC"),
        ("AGPL-3.0-only", "AGPL"),
        ("AGPL-3.0-only", "GNU AFFERO GENERAL PUBLIC LICENSE"),
        ("AGPL-3.0-only", "Dual licence, AGPL or commercial (ask us"),
        ("GPL-2.0-only", "The GNU General Public License, v2 with Universal FOSS Exception, v1.0"),
        ("GPL-3.0-only", "GNU General Public License, Version 3, 29 June 2007"),
        ("GPL-3.0-only", "GNU GENERAL PUBLIC LICENSE\n            Version 3, 29 June 2007"),
        ("SSPL-1.0", "https://www.mongodb.com/licensing/server-side-public-license"),
        ("SSPL-1.0", "SSPL v1"),
    ],
)
def test_a_denied_licence_is_denied_by_its_names_outside_spdx(denied: str, text: str) -> None:
    """Without a version it may be the denied one; with an exception or a date it is."""
    assert denied_by(text, [denied]) == denied
    assert denied_by(text, ["BUSL-1.1", "MIT-0"]) is None
    assert outside(text, ["MIT"]) is not None


@pytest.mark.parametrize(
    "text", ["SEE LICENSE IN LICENSE.md", "MIT AND SEE LICENSE IN x", "see licence in x"]
)
def test_a_licence_that_stands_elsewhere_is_known_to_nobody(text: str) -> None:
    assert is_unknown(text)


CHOICES = ["MIT or ISC", "MIT OR ISC", "MIT/ISC", "MIT | ISC", "MIT|ISC", "MIT) OR (ISC", "(MIT"]


@pytest.mark.parametrize("beside", CHOICES)
def test_a_choice_in_one_licence_is_none_between_all(beside: str) -> None:
    together = conjunction([beside, "AGPL-3.0-only"])
    again = conjunction([together, "Zlib"])

    assert denied_by(together, DENIED) == "AGPL-3.0-only"
    assert denied_by(again, DENIED) == "AGPL-3.0-only"
    assert outside(together, ["MIT", "ISC"]) == "AGPL-3.0-only"
    assert outside(conjunction(["Zlib", "MIT/Apache-2.0"]), ["MIT", "Zlib"]) is None


@pytest.mark.parametrize("text", ["AGPL-3.0-only {} MIT/ISC", "MIT|ISC {} AGPL-3.0-only"])
@pytest.mark.parametrize("word", ["AND", "and", "&"])
def test_a_slash_binds_what_it_touches(text: str, word: str) -> None:
    assert denied_by(text.format(word), DENIED) == "AGPL-3.0-only"
    assert denied_by(text.format("OR"), DENIED) is None


@given(
    st.lists(
        st.lists(st.sampled_from([*CHOICES, "AND", "ISC", "(", ")", "x y", "/"]), max_size=5).map(
            " ".join
        ),
        max_size=4,
    )
)
def test_nothing_beside_a_denied_licence_hides_it(others: list[str]) -> None:
    assert denied_by(conjunction([*others, "SSPL-1.0"]), DENIED) == "SSPL-1.0"
