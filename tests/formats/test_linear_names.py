"""Looking for names costs no more than the text is long: counted in steps, not in seconds."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, strategies as st

from bot.domain.environments import At, ImageId, Template, matches
from bot.formats import image_names, place_finder
from bot.formats.image_names import Names
from bot.formats.manifest_file import read_file
from bot.formats.yaml_tree import Node

OURS = ImageId("payments", "payments")
NAMES = Names({"cr.example/acme/payments": OURS}, {"payments": (OURS,)})
EVERY_START = re.compile(r"[A-Za-z0-9._-]+(?::[0-9]{1,5})?(?:/[a-z0-9._-]+)+")


@given(st.text("aB.:/5- ", max_size=20))
def test_nothing_is_missed_by_looking_at_the_first_of_a_run_alone(text: str) -> None:
    found = [match.span() for match in image_names._tokens(text)]  # noqa: SLF001 - the subject

    assert found == [match.span() for match in EVERY_START.finditer(text)]


@given(st.lists(st.sampled_from(["cr.example", "acme", "payments", "x"]), max_size=12))
def test_a_name_behind_any_number_of_folders_is_found(parts: list[str]) -> None:
    text = "/".join(parts)
    is_ours = text == "cr.example/acme/payments" or text.endswith("/cr.example/acme/payments")

    assert bool(list(NAMES.mentions(text))) is is_ours


@pytest.mark.parametrize(
    "text",
    [
        'b: "/ ' + "a" * 1_000_000 + '"\n',
        'b: "' + "a/" * 500_000 + '"\n',
        'b: "' + "a" * 400_000 + " x/y" * 100_000 + '"\n',
        "b: " + "a-" * 300_000 + ":5000\n",
    ],
    ids=["run", "slashes", "long first", "port"],
)
def test_a_long_text_is_read(text: str) -> None:
    """Each took minutes to days once: a test that hangs is one that fails."""
    found = read_file("a.yaml", f"a: cr.example/acme/payments\n{text}", NAMES)

    assert [one.line for one in found.remarks] == [1]


@pytest.mark.parametrize(
    "text",
    [
        "args:\n" + "- cr.example/acme/payments\n" * 400,
        "args:\n" + "".join(f"  k{n}: cr.example/acme/payments:v{n}\n" for n in range(400)),
        "args: |\n" + "".join(f"  cr.example/acme/payments:v{n}\n" for n in range(400)),
    ],
    ids=["list", "mapping", "block"],
)
def test_what_stands_around_many_mentions_is_gathered_once(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = 0
    everything = place_finder._everything  # noqa: SLF001 - what is counted

    def counted(root: Node) -> object:
        nonlocal nodes
        for one in everything(root):
            nodes += 1
            yield one

    monkeypatch.setattr(place_finder, "_everything", counted)
    found = read_file("a.yaml", text, NAMES)

    assert len(found.remarks) == 400
    assert len({one.identity for one in found.remarks}) == 400
    assert nodes < 10 * 400 * 3


@pytest.mark.parametrize("host", ["CR.example:0443", "cr.example:000000443", "cr.example.:443"])
def test_every_spelling_of_a_host_that_is_dialled_is_ours(host: str) -> None:
    found = read_file("a.yaml", f"kind: Pod\nspec: {{image: '{host}/acme/payments:v1'}}\n", NAMES)

    assert [location.image for location in found.locations] == [OURS]


GLOB = st.lists(st.sampled_from(["a", "b", "*", "**", "a*", "?", "x**"]), min_size=1, max_size=4)
PATH = st.lists(st.sampled_from(["a", "b", "ab", "x", "xy"]), min_size=1, max_size=5)


@given(st.lists(GLOB.map("/".join), max_size=6), PATH.map("/".join))
def test_every_glob_that_matches_is_among_those_near(globs: list[str], path: str) -> None:
    places = [At(OURS, Template(glob), f"/{number}") for number, glob in enumerate(globs)]
    named = Names({}, at=tuple(places)).at_file(path)

    wanted = [one for one, glob in zip(places, globs, strict=True) if matches(glob, path)]
    assert sorted(one.pointer for one in named) == sorted(one.pointer for one in wanted)


def test_a_file_is_held_against_few_of_many_globs(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[str] = []

    def counted(glob: str, text: str) -> bool:
        compared.append(glob)
        return matches(glob, text)

    monkeypatch.setattr(image_names, "matches", counted)
    for way in ("envs/*/a{}/values.yaml", "**/a{}/values.yaml", "envs/**/a{}"):
        at = tuple(At(OURS, Template(way.format(n)), "/tag") for n in range(500))
        compared.clear()
        found = Names({}, at=at).at_file(way.format(7).replace("**", "x").replace("*", "x"))
        assert len(found) == 1
        assert compared == [way.format(7)]
