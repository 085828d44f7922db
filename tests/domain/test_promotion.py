from __future__ import annotations

import pytest

from bot.domain.oci import Digest
from bot.domain.promotion import (
    Candidate,
    FoundImage,
    KnownBy,
    Order,
    OrderFacts,
    Refused,
    Source,
    Waiting,
    choose_source,
    label_verdict,
    order,
    promotion_id,
)
from bot.domain.source_refs import SourceRef

A, B = "a" * 40, "b" * 40
ONE, TWO = Digest("sha256:" + "1" * 64), Digest("sha256:" + "2" * 64)


# --- order ---


def facts(
    *,
    running: str | None = B,
    contains: bool = False,
    contained: bool = False,
    branches: tuple[str, str] = ("develop", "develop"),
    something: bool = True,
) -> OrderFacts:
    return OrderFacts(
        candidate=A,
        running=running,
        candidate_contains_running=contains,
        running_contains_candidate=contained,
        candidate_ref=SourceRef.of(branches[0]),
        running_ref=SourceRef.of(branches[1]),
        something_runs=something,
    )


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (facts(running=None, something=False), Order.FIRST),
        (facts(running=None), Order.DIVERGING),
        (facts(running=A), Order.SAME),
        (facts(contains=True), Order.FORWARD),
        (facts(contained=True), Order.LATE),
        (facts(), Order.DIVERGING),
        (facts(branches=("release/v1.3.0", "release/v1.2.0")), Order.FORWARD),
        (facts(branches=("release/v1.10", "release/v1.9")), Order.FORWARD),
        (facts(branches=("release/v1.2.0", "release/v1.3.0"), contains=True), Order.LATE),
        (facts(branches=("release/v1.3.0-rc.1", "release/v1.3.0")), Order.LATE),
        (facts(branches=("release/v1.3.0", "release/v1.3.0")), Order.DIVERGING),
        (facts(branches=("hotfix/v1.2", "release/v1.2.0"), contains=True), Order.FORWARD),
        (facts(branches=("hotfix/urgent", "release/v1.2.0")), Order.DIVERGING),
        (facts(branches=("hotfix/urgent", "release/v1.2.0"), contains=True), Order.FORWARD),
        (facts(branches=("release/v1.2.0", "")), Order.DIVERGING),
        (facts(branches=("tag:v1.0.2", "tag:v1.1.0")), Order.LATE),
        (facts(branches=("tag:v1.1.0", "tag:v1.0.2"), contained=True), Order.FORWARD),
        (facts(branches=("tag:v1.2.0-rc.10", "tag:v1.2.0-rc.9")), Order.FORWARD),
        (facts(branches=("tag:v1.2.0", "v1.2.0")), Order.DIVERGING),
        (facts(branches=("tag:v1.1.0", "main"), contains=True), Order.FORWARD),
    ],
)
def test_order_follows_history_and_between_branches_the_version(
    given: OrderFacts, expected: Order
) -> None:
    assert order(given) is expected


# --- which commit's image ---


def candidate(
    commit: str,
    *,
    same_tree: bool = True,
    image: Digest | None = None,
    in_source: bool = False,
    contradiction: str = "",
    why: str = "a parent",
) -> Candidate:
    return Candidate(
        commit,
        why,
        same_tree,
        differs_in=() if same_tree else ("app.py",),
        images={"api": image} if image else None,
        missing=() if image else (f"dev/api:sha-{commit[:7]}",),
        in_source=in_source,
        contradiction=contradiction,
    )


def test_the_first_with_the_tree_and_its_images_in_place_is_taken() -> None:
    chosen = choose_source(
        [
            candidate("c" * 40),
            candidate(A, image=ONE, in_source=True),
            candidate(B, image=TWO, in_source=True),
        ],
        "dev",
    )

    assert chosen == Source(A, {"api": ONE})


def test_another_tree_is_never_taken_and_said_to_differ() -> None:
    decision = choose_source(
        [
            candidate(A),
            candidate(B, same_tree=False, image=ONE, in_source=True, why="head of pull request 4"),
        ],
        "stage",
    )

    assert isinstance(decision, Waiting)
    assert "dev/api:sha-aaaaaaa" in decision.reason
    assert "head of pull request 4 (bbbbbbb) is not taken because it differs in app.py" in (
        decision.reason
    )


def test_what_is_built_and_not_there_waits_for_the_environment() -> None:
    decision = choose_source([candidate(A, image=ONE, why="the commit itself")], "stage")

    assert decision == Waiting(
        "built at aaaaaaa (the commit itself), not yet in stage", for_environment=True
    )


def test_a_contradiction_is_refused_even_if_another_candidate_would_do() -> None:
    decision = choose_source(
        [candidate(A, contradiction="the label says b"), candidate(B, image=ONE, in_source=True)],
        "dev",
    )

    assert decision == Refused("the label says b")


def test_without_candidates_there_is_nothing_to_promote() -> None:
    assert isinstance(choose_source([], "dev"), Waiting)


# --- labels ---


@pytest.mark.parametrize(
    ("label", "known_by", "contradicted"),
    [
        (A, KnownBy.LABEL, False),
        (A.upper(), KnownBy.LABEL, False),
        (f"  {A}\n", KnownBy.LABEL, False),
        (None, KnownBy.TAG_ONLY, False),
        ("", KnownBy.TAG_ONLY, False),
        (" ", KnownBy.TAG_ONLY, False),
        (A[:7], KnownBy.TAG_ONLY, True),
        (A[:39] + "b", KnownBy.TAG_ONLY, True),
        (A + "0", KnownBy.TAG_ONLY, True),
        ("main", KnownBy.TAG_ONLY, True),
    ],
)
def test_only_the_whole_commit_in_the_label_proves_anything(
    label: str | None, known_by: KnownBy, *, contradicted: bool
) -> None:
    verdict, contradiction = label_verdict(A, FoundImage("api", ONE, label), "dev/api:sha-aaaaaaa")

    assert verdict is known_by
    assert bool(contradiction) is contradicted


def test_an_abbreviated_label_is_named_with_the_way_out() -> None:
    verdict, words = label_verdict(A, FoundImage("api", ONE, A[:12]), "t")

    assert verdict == KnownBy.TAG_ONLY
    assert "set the label org.opencontainers.image.revision to all 40 digits" in words


def test_a_contradiction_shows_nothing_of_a_hostile_label() -> None:
    _, contradiction = label_verdict(A, FoundImage("api", ONE, "<img src=x>\n|`@all`"), "t")

    assert "labelled as commit imgsrcxall, not" in contradiction


# --- identity of a promotion ---


def test_a_promotion_is_known_by_its_digests_and_place_alone() -> None:
    given = {"api": ONE, "worker": TWO}

    same = promotion_id(1, "prod", "payments", dict(reversed(given.items())))

    assert same == promotion_id(1, "prod", "payments", given)
    assert len(same) == 26
    others = {
        promotion_id(2, "prod", "payments", given),
        promotion_id(1, "dev", "payments", given),
        promotion_id(1, "prod", "shop", given),
        promotion_id(1, "prod", "payments", {"api": TWO, "worker": ONE}),
    }
    assert len(others | {same}) == 5
