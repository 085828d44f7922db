"""A writer: may push to, or merge into, the manifests repository's default branch; no approver."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from bot.domain.errors import NotFoundError
from bot.domain.jobs import Failed, JobKind
from bot.reconcilers.operator import Request, accept, adopt, hold, unhold
from tests.attacks.steps import (
    FILE,
    TEAM,
    asked_for_prod,
    head,
    rules,
    said,
    settle,
    signed,
    to_prod,
    to_stage,
    wish,
)
from tests.journeys.walk import overlay
from tests.world.driver import Driver, driven
from tests.world.github.behaviour import pulls
from tests.world.github.gitstore import Signature
from tests.world.github.records import Actor
from tests.world.images import build_image
from tests.world.stage import PIPELINE


def foreign_image(driver: Driver, environment: str = "prod") -> str:
    """An image that CI never built, in the environment's own repository."""
    evil = build_image(labels={}, seed=666)
    evil.push(driver.stage.hosts[environment], "acme/payments", "x")
    return evil.digest


def command(driver: Driver, *arguments: str) -> Request:
    return Request(driver.ports, arguments, "ops", lambda _key: False)


# --- adoption is an event -----------------------------------------------------------------------


def adopting(driver: Driver, digest: str) -> str:
    text = rules(driver).replace("    sign: true\n", f"    sign: true\n    adopt: [{digest}]\n", 1)
    assert text != rules(driver)
    return text


def test_the_key_adopt_in_the_file_takes_nothing_over_later(driver: Driver) -> None:
    good = to_prod(driver)
    evil = foreign_image(driver)

    files = {FILE: adopting(driver, evil), **wish(driver, evil)}
    driver.stage.dana.push(driver.stage.manifests, "main", dict(files), message="tidy up")
    settle(driver)

    assert driver.shown("prod") == good
    assert not signed(driver, evil)


def test_the_key_adopt_alone_and_the_wish_afterwards_take_nothing_over(driver: Driver) -> None:
    good = to_prod(driver)
    evil = foreign_image(driver)

    driver.stage.dana.push(driver.stage.manifests, "main", {FILE: adopting(driver, evil)})
    settle(driver)
    driver.stage.dana.push(driver.stage.manifests, "main", dict(wish(driver, evil)))
    settle(driver)

    assert driver.shown("prod") == good


def test_without_a_ref_adopt_takes_what_the_record_shows_and_no_wish(driver: Driver) -> None:
    good = to_prod(driver)
    stage, evil = driver.stage, foreign_image(driver)
    stage.dana.push(stage.manifests, "main", dict(wish(driver, evil)))
    stage.dana.delete_branch(stage.manifests, "env/prod")
    stage.github.fail("POST", "/repos/acme/deploy/git/refs", 422, times=1000, message="Not here")
    settle(driver, "prod")
    outcomes = [one for key, one in driver.ran if key.startswith("publish:") and "prod" in key]

    taken = adopt(command(driver, "prod"))
    stage.github.faults.clear()
    settle(driver, "prod")

    assert isinstance(outcomes[-1], Failed)
    assert "Not here" in outcomes[-1].summary
    assert taken["adopted"] == [good]
    assert driver.shown("prod") in {None, good}


def test_unhold_accepts_no_image_that_is_not_sealed(driver: Driver) -> None:
    good = to_prod(driver)
    stage, evil = driver.stage, foreign_image(driver)
    hold(command(driver, "prod"))
    text = stage.file(stage.ref("prod") or "", overlay("prod")).replace(good, evil)
    stage.dana.push(stage.manifests, "env/prod", {overlay("prod"): text})

    unhold(command(driver, "prod"))
    settle(driver, "prod")

    assert driver.shown("prod") == good


def test_what_is_adopted_by_the_first_publication_is_in_the_audit(driver: Driver) -> None:
    stage, runs = driver.stage, foreign_image(driver, "prod")
    files = {FILE: adopting(driver, runs), **wish(driver, runs)}
    stage.dana.push(stage.manifests, "main", dict(files))

    driver.look_first()

    assert driver.shown("prod") == runs
    entries = [one for one in driver.ports.audit.entries() if one.kind == "adopted"]
    assert [one.facts["digests"] for one in entries] == [runs]
    to_stage(driver)
    assert head(driver)
    assert driver.shown("prod") == runs


# --- what was approved is what is delivered -----------------------------------------------------


def merged_by_hand(driver: Driver, onto: str, head_commit: str, files: dict[str, str]) -> str:
    """A merge commit that a person made and pushed, with more in it than the head brings."""
    stage, git = driver.stage, driver.stage.manifests.git
    tree = git.with_files(git.commit(onto).tree, {**files})
    mine = stage.dana.account.signature(stage.github.clock())
    merge = git.write_commit(tree, (onto, head_commit), "Merge pull request #9", mine)
    stage.dana.push(stage.manifests, "main", parent=merge)
    return merge


def test_a_merge_commit_with_another_digest_than_was_approved(driver: Driver) -> None:
    _, other = to_stage(driver, "v1.2.0")
    _, image = to_stage(driver, "v1.3.0")
    pull = asked_for_prod(driver, "v1.3.0")
    driver.stage.rita.approve(pull)

    merge = merged_by_hand(driver, head(driver), pull.head, wish(driver, other))
    settle(driver, "prod")

    assert pull.merged
    assert driver.shown("prod") is None
    assert not signed(driver, other)
    assert not signed(driver, image)
    assert said(driver, merge)["lockkeeper: payments -> prod"][0] == "failure"


def test_a_merge_commit_with_another_file_than_was_approved(driver: Driver) -> None:
    _, image = to_stage(driver)
    pull = asked_for_prod(driver)
    driver.stage.rita.approve(pull)
    files = {**wish(driver, image), "base/extra.yaml": "kind: ConfigMap\n"}

    merged_by_hand(driver, head(driver), pull.head, files)
    settle(driver, "prod")

    assert driver.shown("prod") is None
    assert not signed(driver, image)


@pytest.mark.parametrize("method", ["merge", "squash", "rebase"])
def test_every_way_to_merge_what_was_approved_is_delivered(driver: Driver, method: str) -> None:
    """Also of two commits, of which the first one brings the digest."""
    stage, (_, image) = driver.stage, to_stage(driver)
    stage.dana.push(stage.manifests, "hand", dict(wish(driver, image)), message="Pin")
    stage.dana.push(stage.manifests, "hand", {"docs/a.md": "1\n"}, message="Words")
    stage.dana.push(stage.manifests, "main", {"docs/b.md": "meanwhile\n"})
    pull = stage.dana.open_pull_request(stage.manifests, "hand")
    stage.rita.approve(pull)

    stage.dana.merge(pull, method)
    settle(driver, "prod")

    assert driver.shown("prod") == image, driver.ran[-4:]
    assert signed(driver, image)


@pytest.mark.parametrize("method", ["merge", "squash", "rebase"])
@pytest.mark.parametrize("order", ["opened before the push", "opened after the push"])
def test_a_pushed_digest_does_not_belong_to_the_next_pull_request(
    driver: Driver, order: str, method: str
) -> None:
    """Rita sees and approves words; the digest below them was pushed."""
    stage, (_, image) = driver.stage, to_stage(driver)
    pushed = stage.dana.push(stage.manifests, "docs", dict(wish(driver, image)), message="wip")
    stage.dana.push(stage.manifests, "docs", {"docs/a.md": "1\n"}, message="one")
    stage.dana.push(stage.manifests, "docs", {"docs/b.md": "1\n"}, message="two")
    pull = None
    if order == "opened before the push":
        pull = stage.dana.open_pull_request(stage.manifests, "docs")
    stage.dana.push(stage.manifests, "main", parent=pushed)
    pull = pull or stage.dana.open_pull_request(stage.manifests, "docs")
    stage.rita.approve(pull)

    stage.dana.merge(pull, method)
    settle(driver, "prod")

    assert driver.shown("prod") is None
    assert not signed(driver, image)


def test_a_pushed_copy_of_a_commit_does_not_pass_for_a_rebased_one(driver: Driver) -> None:
    """Message and author are copied from the pull request's commit; the digest is not in it."""
    stage, (_, image) = driver.stage, to_stage(driver)
    stage.dana.push(stage.manifests, "docs", {"docs/a.md": "1\n"}, message="one")
    stage.dana.push(stage.manifests, "docs", {"docs/b.md": "1\n"}, message="two")
    pull = stage.dana.open_pull_request(stage.manifests, "docs")
    stage.rita.approve(pull)
    stage.dana.push(stage.manifests, "main", dict(wish(driver, image)), message="one")

    stage.dana.merge(pull, "squash", message="two")
    settle(driver, "prod")

    assert driver.shown("prod") is None
    assert not signed(driver, image)


# --- rules do not loosen themselves -------------------------------------------------------------


def test_a_merge_does_not_choose_the_team_that_may_approve_it(driver: Driver) -> None:
    stage, (_, image) = driver.stage, to_stage(driver)
    sam = stage.github.add_user("sam")
    stage.github.add_team("acme", "everyone", [sam])
    mine = rules(driver).replace(TEAM, "teams: [acme/everyone]")
    stage.dana.push(stage.manifests, "both", {FILE: mine, **wish(driver, image)})
    pull = stage.dana.open_pull_request(stage.manifests, "both")
    sam.approve(pull)

    stage.dana.merge(pull)
    settle(driver, "prod")

    assert driver.shown("prod") is None
    assert not signed(driver, image)


def weaker_rules(driver: Driver) -> dict[str, tuple[str, str]]:
    """Ways to loosen the rules of prod: what is replaced, by what."""
    hosts = driver.stage.hosts
    return {
        "no approvals": (f"approvals: {{ count: 1, {TEAM} }}", "approvals: { count: 0 }"),
        "another team": (TEAM, "teams: [acme/everyone]"),
        "no signature": ("    sign: true\n", ""),
        "another source": ("source: acme/{application}", "source: acme/other"),
        "another repository": (f"{hosts['prod']}/acme/", f"{hosts['prod']}/mine/"),
        "renamed": ("  prod:\n", "  production:\n    publish: { ref: env/prod }\n"),
        "broken, then fixed": ("    sign: true\n", "    sign: tru\n"),
    }


@pytest.mark.parametrize("how", ["pushed", "approved by Sam"])
@pytest.mark.parametrize(
    "what",
    [
        "no approvals",
        "another team",
        "no signature",
        "another source",
        "another repository",
        "renamed",
    ],
)
def test_rules_do_not_loosen_by_a_merge_of_their_own(driver: Driver, what: str, how: str) -> None:
    """First the rules, then what they would let through."""
    stage = driver.stage
    driver.look_first()
    sam = stage.github.add_user("sam")
    stage.github.add_team("acme", "everyone", [sam])
    old, new = weaker_rules(driver)[what]
    text = rules(driver).replace(old, new)
    assert text != rules(driver)
    before = driver.look().pipeline

    if how == "pushed":
        stage.dana.push(stage.manifests, "main", {FILE: text})
    else:
        stage.dana.push(stage.manifests, "rules", {FILE: text})
        pull = stage.dana.open_pull_request(stage.manifests, "rules")
        sam.approve(pull)
        stage.dana.merge(pull)
    view = driver.look()
    driver.run(driver.answer(head(driver)))

    assert view.pipeline == before
    assert view.pending is not None
    assert view.pending.commit == head(driver)
    assert said(driver, head(driver))["lockkeeper/rules"] == ("failure", "Not in force")


def test_rules_that_were_approved_come_into_force(driver: Driver) -> None:
    """Before the merge or behind it; the check on the pull request says what is missing."""
    stage = driver.stage
    driver.look_first()
    text = rules(driver).replace("approvals: { count: 1", "approvals: { count: 2")
    stage.dana.push(stage.manifests, "rules", {FILE: text})
    pull = stage.dana.open_pull_request(stage.manifests, "rules")
    driver.run(driver.answer(str(pull.number)))
    assert said(driver, pull.head)["lockkeeper/rules"] == ("failure", "Approvals are missing")
    merge = stage.dana.merge(pull)
    assert driver.look().environment("prod").approvals.count == 1

    stage.rita.approve(pull)
    driver.run(driver.answer(str(pull.number)))

    assert driver.look().environment("prod").approvals.count == 2
    assert driver.look().pending is None
    assert said(driver, merge)["lockkeeper/rules"] == ("success", "In force")
    stage.github.add_team("acme", "release-managers", [])
    assert driver.look().environment("prod").approvals.count == 2, "it was let in once"


def test_an_operator_lets_rules_in_by_name(driver: Driver) -> None:
    stage = driver.stage
    driver.look_first()
    text = rules(driver).replace("approvals: { count: 1", "approvals: { count: 2")
    pushed = stage.dana.push(stage.manifests, "main", {FILE: text})
    older = driver.look().pipeline.commit

    for wrong in ("main", older, "0" * 40):
        with pytest.raises(NotFoundError):
            accept(command(driver, "prod", wrong))
    accept(command(driver, "prod", pushed))

    assert driver.look().environment("prod").approvals.count == 2
    entries = [one for one in driver.ports.audit.entries() if one.kind == "rules accepted"]
    assert entries[-1].facts == {"commit": pushed, "by": "ops by command"}


def test_a_pushed_change_does_not_ride_below_an_approved_one(driver: Driver) -> None:
    """Rita sees the second of two changes and approves it."""
    stage = driver.stage
    driver.look_first()
    before = rules(driver)
    loose = before.replace(f"approvals: {{ count: 1, {TEAM} }}", "approvals: { count: 0 }")
    stage.dana.push(stage.manifests, "main", {FILE: loose})
    other = loose.replace("{image_tag}", "x-{image_tag}")
    stage.dana.push(stage.manifests, "rules", {FILE: other})
    pull = stage.dana.open_pull_request(stage.manifests, "rules")
    stage.rita.approve(pull)
    stage.dana.merge(pull)

    assert driver.look().environment("prod").approvals.count == 1

    stage.dana.push(stage.manifests, "back", {FILE: before})
    back = stage.dana.open_pull_request(stage.manifests, "back")
    driver.run(driver.answer(str(back.number)))
    assert said(driver, back.head)["lockkeeper/rules"] == ("success", "May come into force")
    stage.dana.merge(back)
    assert driver.look().pending is None


def test_rules_that_only_concern_what_nobody_approves_are_in_force_at_once(
    driver: Driver,
) -> None:
    stage = driver.stage
    driver.look_first()
    text = rules(driver).replace("[develop]", "[develop, trunk]")

    stage.dana.push(stage.manifests, "main", {FILE: text})

    assert driver.look().environment("dev").branches == ("develop", "trunk")
    assert driver.look().pending is None


@pytest.mark.parametrize(
    ("floor", "what"),
    [
        ('{"approvals": {"count": 1}}', "no approvals"),
        ('{"approvals": {"count": 1, "teams": ["acme/release-managers"]}}', "another team"),
        ('{"sign": true}', "no signature"),
    ],
)
def test_nobody_approves_rules_below_the_operators_floor(
    driver: Driver, floor: str, what: str
) -> None:
    """Rita approves, and the environment stands still: nothing goes there by weaker rules."""
    stage = driver.stage
    driver.look_first()
    (stage.directory / "grants" / "prod" / "floor.json").write_text(floor)
    text = rules(driver).replace(*weaker_rules(driver)[what])
    head = stage.dana.push(stage.manifests, "rules", {FILE: text})
    pull = stage.dana.open_pull_request(stage.manifests, "rules")
    stage.rita.approve(pull)
    driver.run(driver.job(JobKind.ANSWER, "", str(pull.number)))
    assert stage.checks(stage.manifests, head)["lockkeeper"][0] == "failure"

    stage.dana.merge(pull)
    driver.ran.clear()
    driver.run(driver.deliver("prod"), driver.publish("prod"), driver.publish("dev"))

    stopped = dict(driver.ran)
    for job in (driver.deliver("prod"), driver.publish("prod")):
        outcome = stopped[job.key]
        assert isinstance(outcome, Failed)
        assert "floor.json" in outcome.summary
    assert not isinstance(stopped[driver.publish("dev").key], Failed)


def test_no_environment_takes_anothers_ref_and_files(driver: Driver) -> None:
    good = to_prod(driver)
    stage = driver.stage
    text = (
        rules(driver)
        .replace("[envs/dev/**]", "[envs/prod/**]\n    publish: { ref: env/prod }")
        .replace(
            "manifests: [envs/prod/**]\n    image_tags",
            "manifests: [envs/nothing/**]\n    publish: { ref: env/nothing }\n    image_tags",
        )
    )
    stage.dana.push(stage.manifests, "main", {FILE: text})
    image = driver.build(stage.source, stage.commit("develop"))
    driver.run(driver.propose("dev"))
    settle(driver)

    assert driver.shown("prod") == good
    assert driver.shown("dev") == image


def test_a_ref_stays_with_the_environment_that_published_there(driver: Driver) -> None:
    """Where no environment has approvals, the file is anybody's: the ref is not."""
    stage, (_, image) = driver.stage, to_stage(driver)
    text = rules(driver)
    stage_part = text[text.index("  stage:") : text.index("  prod:")]
    other = stage_part.replace("  stage:", "  third:").replace("envs/stage", "envs/third")
    other = other.replace("    from: dev\n", "    from: dev\n    publish: { ref: env/stage }\n")
    gone = text.replace(stage_part, other).replace("from: stage", "from: third")
    third = stage.directory / "grants" / "third"
    shutil.copytree(stage.directory / "grants" / "stage", third)
    stage.dana.push(stage.manifests, "rules", {FILE: gone})
    pull = stage.dana.open_pull_request(stage.manifests, "rules")
    stage.rita.approve(pull)
    stage.dana.merge(pull)
    before = stage.ref("stage")

    driver.run(driver.publish("third"))

    assert driver.look().environment("third").ref == "env/stage"
    assert stage.ref("stage") == before
    assert driver.shown("stage") == image
    assert isinstance(driver.ran[-1][1], Failed)


# --- who is who ---------------------------------------------------------------------------------


def by_nobody(
    driver: Driver, parent: str, files: dict[str, str], email: str = "nobody@invalid.example"
) -> str:
    """A commit under an address of the attacker's choice."""
    git = driver.stage.manifests.git
    tree = git.with_files(git.commit(parent).tree, {**files})
    who = Signature("Nobody", email, driver.stage.github.clock())
    return git.write_commit(tree, (parent,), "Change", who)


@pytest.mark.parametrize("address", ["nobody", "bob"])
def test_an_approver_cannot_hide_behind_another_address(driver: Driver, address: str) -> None:
    """Dana pushes another digest onto the bot's branch, approves and merges it herself."""
    stage = driver.stage
    _, other = to_stage(driver, "v1.2.0")
    to_stage(driver, "v1.3.0")
    bob = stage.github.add_user("bob")
    stage.github.add_team("acme", "release-managers", [stage.rita, stage.dana])
    release = bob.open_pull_request(stage.source, "release/v1.3.0", "main")
    bob.merge(release)
    driver.run(driver.propose("prod"))
    pull = stage.open_promotion("prod")
    assert pull is not None
    email = bob.account.email if address == "bob" else "nobody@invalid.example"
    stage.dana.push(
        stage.manifests,
        pull.head_ref,
        parent=by_nobody(driver, pull.head, wish(driver, other), email),
    )
    stage.dana.approve(pull)

    stage.dana.merge(pull)
    settle(driver, "prod")

    assert driver.shown("prod") is None
    assert not signed(driver, other)


@pytest.mark.parametrize("address", ["nobody", "bob", "somebody else's commit"])
def test_who_pushed_the_source_branch_asked_whatever_the_commit_says(
    driver: Driver, address: str
) -> None:
    stage = driver.stage
    commit, image = to_stage(driver)
    bob = stage.github.add_user("bob")
    stage.github.add_team("acme", "release-managers", [stage.rita, stage.dana])
    git = stage.source.git
    email = bob.account.email if address == "bob" else "nobody@invalid.example"
    who = Signature("Nobody", email, stage.github.clock())
    parents = (stage.source.head("main") or "", commit)
    release = git.write_commit(git.commit(commit).tree, parents, "Release", who)
    if address == "somebody else's commit":
        bob.push(stage.source, "prepared", parent=release)
    stage.dana.push(stage.source, "main", parent=release)
    driver.run(driver.propose("prod"))
    pull = stage.open_promotion("prod")
    assert pull is not None
    stage.dana.approve(pull)

    stage.dana.merge(pull)
    settle(driver, "prod")

    assert driver.shown("prod") is None
    assert not signed(driver, image)


def test_nobody_loses_an_approval_to_a_commit_in_their_name(driver: Driver) -> None:
    stage, (_, image) = driver.stage, to_stage(driver)
    pull = asked_for_prod(driver)
    framed = by_nobody(driver, pull.head, {}, stage.rita.account.email)
    stage.dana.push(stage.manifests, pull.head_ref, parent=framed)
    stage.rita.approve(pull)

    stage.dana.merge(pull)
    settle(driver, "prod")

    assert driver.shown("prod") == image, driver.ran[-3:]


def test_who_pushed_to_the_branch_long_ago_may_approve_what_is_on_it_now(driver: Driver) -> None:
    """The bot's branch is one for all promotions, and it wrote over what Rita had put there."""
    stage, (_, _old) = driver.stage, to_stage(driver, "v1.2.0")
    first = asked_for_prod(driver, "v1.2.0")
    stage.rita.push(stage.manifests, first.head_ref, {"notes.md": "mine\n"})
    stage.dana.close(first)
    stage.dana.delete_branch(stage.manifests, first.head_ref)
    _, image = to_stage(driver, "v1.3.0")
    pull = asked_for_prod(driver, "v1.3.0")
    assert pull.head_ref == first.head_ref
    stage.rita.approve(pull)

    stage.dana.merge(pull)
    settle(driver, "prod")

    assert driver.shown("prod") == image, driver.ran[-3:]


def test_a_new_account_of_an_approvers_old_name_approves_nothing(driver: Driver) -> None:
    """GitHub gives names that are free to others; the number in the review stays."""
    stage, (_, image) = driver.stage, to_stage(driver)
    pull = asked_for_prod(driver)
    sam = stage.github.add_user("sam")
    sam.approve(pull)
    sam.account.login = "rita-who-left"

    stage.dana.merge(pull)
    settle(driver, "prod")

    assert driver.shown("prod") is None
    assert not signed(driver, image)


def test_a_merge_does_not_choose_where_its_own_digest_comes_from(driver: Driver) -> None:
    """`from: stage` becomes `from: dev` with a digest that only dev has, and Rita approves both."""
    stage = driver.stage
    driver.look_first()
    commit = stage.commit("develop")
    image = driver.build(stage.source, commit)
    driver.run(driver.propose("dev"))
    text = rules(driver)
    prod = text.index("  prod:")
    weaker = text[:prod] + text[prod:].replace("from: stage", "from: dev", 1)
    granted = stage.directory / "grants" / "prod" / "registry.json"
    hosts = json.loads(granted.read_text())
    hosts["auths"][stage.hosts["dev"]] = {}
    granted.write_text(json.dumps(hosts))
    stage.dana.push(stage.manifests, "both", {FILE: weaker, **wish(driver, image)})
    pull = stage.dana.open_pull_request(stage.manifests, "both")
    stage.rita.approve(pull)

    stage.dana.merge(pull)
    settle(driver, "prod")

    assert driver.shown("prod") is None
    assert not signed(driver, image)


# --- what comes back comes with authority -------------------------------------------------------


def test_a_sealed_digest_that_comes_back_needs_authority_again(tmp_path: Path) -> None:
    """In an environment with approvals that neither signs nor attests."""
    unsigned = PIPELINE.replace("    sign: true\n", "")
    with driven(tmp_path, pipeline=unsigned) as driver:
        for key in (driver.stage.directory / "grants" / "prod").glob("*.key"):
            key.unlink()
        old = to_prod(driver, "v1.2.0")
        new = to_prod(driver, "v1.3.0")

        pushed = driver.stage.dana.push(
            driver.stage.manifests, "main", dict(wish(driver, old)), message="back"
        )
        settle(driver, "prod")

        assert driver.shown("prod") == new
        assert said(driver, pushed)["lockkeeper: payments -> prod"][0] == "failure"

        back = driver.stage.dana.push(driver.stage.manifests, "main", dict(wish(driver, new)))
        assert back
        driver.stage.dana.push(driver.stage.manifests, "back", dict(wish(driver, old)))
        pull = driver.stage.dana.open_pull_request(driver.stage.manifests, "back")
        driver.stage.rita.approve(pull)
        driver.stage.dana.merge(pull)
        settle(driver, "prod")

        assert driver.shown("prod") == old, driver.ran[-3:]


# --- the bot's own pull request -----------------------------------------------------------------


def test_the_bot_merges_only_into_the_branch_that_it_chose(driver: Driver) -> None:
    """Whoever may edit pull requests sends the one that merges itself to a protected branch."""
    stage = driver.stage
    driver.look_first()
    protected = stage.dana.push(stage.manifests, "production-line", parent=head(driver))
    stage.github.protect(stage.manifests, "main", checks=("lint",))
    digest = driver.build(stage.source, stage.commit("develop"))
    driver.run(driver.propose("dev"))
    pull = stage.open_promotion("dev")
    assert pull is not None
    stage.github.protect(stage.manifests, "production-line")
    with stage.github.state.lock:
        pulls.edit(stage.github.state, Actor(stage.dana.account), pull, base="production-line")

    driver.run(driver.propose("dev"))

    assert not pull.merged
    assert stage.manifests.head("production-line") == protected
    to_main = [one for one in stage.manifests.open_pulls() if one.base_ref == "main"]
    assert [digest in stage.file(one.head, overlay("dev")) for one in to_main] == [True]
