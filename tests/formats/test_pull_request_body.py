from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from bot.domain.environments import Approvals
from bot.domain.history import GitCommit
from bot.domain.images import BaseImage
from bot.domain.oci import Digest
from bot.formats.body_budget import BUDGET, LIMIT
from bot.formats.pull_request_body import (
    BodyFacts,
    ImageFacts,
    authored,
    marked_promotion,
    render,
    render_group,
    superseded,
    title,
)

GOLDEN = Path(__file__).parents[1] / "golden"
AT = datetime(2026, 11, 20, 10, 4, tzinfo=UTC)


def commit(number: int, subject: str = "Fix rounding of VAT") -> GitCommit:
    return GitCommit(f"{number:040x}", "t" * 40, (), AT, subject, "Rita")


FACTS = BodyFacts(
    promotion="0123456789abcdef0123456789",
    application="payments",
    environment="prod",
    ref="env/prod",
    source_repository="acme/payments",
    web_url="https://github.example.com",
    branch="main",
    commit="c" * 40,
    now_commit="b" * 40,
    known_by="label",
    images=[
        ImageFacts(
            "payments",
            Digest("sha256:" + "2" * 64),
            Digest("sha256:" + "1" * 64),
            ("linux/amd64", "linux/arm64"),
            ("linux/amd64",),
            90_000_000,
            88_000_000,
            AT,
            AT,
        )
    ],
    source_repositories=["registry.stage.example.com/acme/payments"],
    target_repositories=["registry.prod.example.com/acme/payments"],
    commits=[commit(1), commit(2, "Merge | `evil` <b> @acme #1")],
    leaving=[],
    signs=True,
    approvals=Approvals(1, ("acme/release-managers",)),
    merges_itself=False,
)


def test_golden_body() -> None:
    assert render(FACTS) == (GOLDEN / "promotion-body.md").read_text()


def test_a_diverging_first_promotion_without_facts() -> None:
    facts = replace(
        FACTS,
        now_commit=None,
        images=[ImageFacts("payments", Digest("sha256:" + "2" * 64), None)],
        commits=None,
        leaving=[commit(3)],
        source_repositories=[],
        signs=False,
        approvals=Approvals(),
        merges_itself=True,
        known_by="tag only",
    )

    assert render(facts) == (GOLDEN / "promotion-body-diverging.md").read_text()


def test_missing_data_is_never_clean() -> None:
    body = render(FACTS)

    assert body.count("Not evaluated") == 3
    assert body.count("not evaluated") >= 4
    assert "clean" not in body.lower()


def test_the_body_stays_within_the_limit() -> None:
    facts = replace(FACTS, commits=[commit(n, "x&<" * 60) for n in range(3000)])

    assert len(render(facts)) <= LIMIT


def test_the_marker_survives_being_closed() -> None:
    body = render(FACTS)

    assert marked_promotion(body) == (FACTS.promotion, False)
    assert marked_promotion(superseded(body)) == (FACTS.promotion, True)
    assert marked_promotion("anything") is None


@given(st.text(max_size=100), st.text(max_size=40))
def test_authored_text_keeps_to_its_characters(branch: str, application: str) -> None:
    for line in (title(application, "prod", f"{branch} at ccccccc"), authored(branch)):
        assert all(c.isascii() and (c.isalnum() or c in " ._/@:+-") for c in line)
        assert len(line) <= 255


def with_bases(new: tuple[BaseImage, ...], now: tuple[BaseImage, ...]) -> str:
    image = replace(FACTS.images[0], new_bases=new, now_bases=now)
    rows = [
        line
        for line in render(replace(FACTS, images=[image])).splitlines()
        if line.startswith("- **Base image**")
    ]
    return "".join(rows)


def test_the_base_image_and_whether_it_changed() -> None:
    old = BaseImage("debian:12", "sha256:" + "a" * 64)
    new = BaseImage("debian:12", "sha256:" + "b" * 64)

    assert with_bases((new,), (old,)) == (
        "- **Base image**: `debian:12` `sha256:aaaaaaaa…aaaa` "
        "→ `debian:12` `sha256:bbbbbbbb…bbbb` (changed)"
    )
    assert "changed" not in with_bases((new,), (new,))


def test_bases_of_several_platforms_are_counted() -> None:
    each = tuple(BaseImage("debian:12", f"sha256:{n}") for n in "ab")

    assert with_bases(each, ()) == "- **Base image**: not known → `debian:12` (2 platforms)"


def test_an_image_that_says_nothing_has_no_row() -> None:
    assert with_bases((), ()) == ""


@pytest.mark.parametrize("number", [1, 2, 40, 400])
def test_the_body_of_a_group_of_any_size_fits_and_names_what_it_leaves_out(number: int) -> None:
    members = [replace(FACTS, application=f"application-{n}") for n in range(number)]

    body = render_group("a" * 26, "shop", members)

    assert len(body.encode()) <= BUDGET
    assert marked_promotion(body) == ("a" * 26, False)
    assert f"{number} promotion" in body
    named = sum(f"`{one.application}`" in body for one in members)
    assert named == number or "more: each has its own page" in body
    assert named >= min(number, 40)
