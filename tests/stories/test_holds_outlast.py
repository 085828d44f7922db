"""Holds and freezes outlast labels, names, other people and the moment of publication."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bot.domain.errors import RejectedError
from bot.domain.freezes import Moment, Window, frozen
from bot.domain.memory import HoldKind
from bot.facts.gates import holds_of
from bot.reconcilers.operator import freeze, hold, status, unfreeze, unhold
from tests.stories.test_holds import (
    FROZEN,
    MONDAY,
    SATURDAY,
    TUESDAY,
    asked,
    at,
    check,
    delivered,
    in_stage,
    promoted,
    put_back,
    ready,
)
from tests.stories.test_unchanged_images import BOTH, WORKER, build_both
from tests.world.driver import TWO, Driver, driven
from tests.world.stage import OVERLAY, PIPELINE

pytestmark = pytest.mark.slow


OPEN = PIPELINE.replace(
    "    sign: true\n    approvals: {{ count: 1, teams: [acme/release-managers] }}\n", ""
)
"""Rules that change without anybody's approval."""


def rename(driver: Driver) -> None:
    """The application payments is called pay from now on."""
    renamed = OPEN.format(**driver.stage.hosts).replace(
        "  payments: {}\n", "  pay:\n    source: acme/payments\n    images: [payments]\n"
    )
    driver.stage.dana.push(driver.stage.manifests, "main", {"lockkeeper.yaml": renamed})
    assert "pay" in driver.look().pipeline.applications


@pytest.fixture
def open_rules(tmp_path: Path) -> Iterator[Driver]:
    with driven(tmp_path, pipeline=OPEN) as up:
        up.look_first()
        yield up


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    with driven(tmp_path) as up:
        up.look_first()
        yield up


def test_a_freeze_takes_no_label_off_that_a_person_put_on(driver: Driver) -> None:
    """The label is a person's hold: a freeze is one more stop, never one less."""
    digest = ready(driver)
    pull = promoted(driver)
    driver.stage.dana.label(pull, "lockkeeper/hold")

    freeze(asked(driver, "stage", "8h", "the fair"))
    assert "lockkeeper/hold" in {label.name for label in pull.labels}

    unfreeze(asked(driver, "stage"))
    driver.stage.dana.merge(pull)
    delivered(driver)
    assert driver.shown("stage") != digest


def test_the_end_of_a_freeze_takes_no_label_off_that_a_hold_has(driver: Driver) -> None:
    ready(driver)
    pull = promoted(driver)
    hold(asked(driver, "stage", "payments", "incident"))
    assert "lockkeeper/hold" in {label.name for label in pull.labels}

    freeze(asked(driver, "stage", "8h", "the fair"))
    assert "lockkeeper/hold" in {label.name for label in pull.labels}, "after the freeze"
    unfreeze(asked(driver, "stage"))
    assert "lockkeeper/hold" in {label.name for label in pull.labels}, "after its end"


def test_the_end_of_the_environment_s_hold_leaves_the_application_s_label(driver: Driver) -> None:
    ready(driver)
    pull = promoted(driver)
    hold(asked(driver, "stage", "payments", "incident"))
    hold(asked(driver, "stage", "", "the fair"))

    unhold(asked(driver, "stage"))

    assert [one.reason for one in holds_of(driver.look(), "stage")] == ["incident"]
    assert "lockkeeper/hold" in {label.name for label in pull.labels}


def test_a_label_by_hand_outlives_the_end_of_another_person_s_hold(driver: Driver) -> None:
    """The documents say: it holds until it is taken off. By whom else than a person?"""
    ready(driver)
    pull = promoted(driver)
    driver.stage.dana.label(pull, "lockkeeper/hold")  # dana's own stop
    hold(asked(driver, "stage", "", "the fair", actor="ada"))

    unhold(asked(driver, "stage", actor="ada"))  # ada ends hers

    assert "lockkeeper/hold" in {label.name for label in pull.labels}


def test_a_shorter_freeze_does_not_end_a_longer_one(driver: Driver) -> None:
    """Whoever may write may freeze; who may end a freeze early is the approvals team alone."""
    freeze(asked(driver, "stage", "2w", "audit"))
    before = [one.until for one in holds_of(driver.look(), "stage")]

    freeze(asked(driver, "stage", "1m", "oops", actor="mallory"))

    [one] = holds_of(driver.look(), "stage")
    assert one.until is not None
    assert before[0] is not None
    assert one.until >= before[0]


def test_a_second_person_s_hold_does_not_replace_the_first_one_s(driver: Driver) -> None:
    """Nobody ends what somebody else holds, says the document."""
    hold(asked(driver, "stage", "payments", "the database is being moved", actor="ada"))
    hold(asked(driver, "stage", "payments", "wait for lunch", actor="bob"))

    reasons = " ".join(one.reason for one in holds_of(driver.look(), "stage"))
    assert "the database is being moved" in reasons


def test_a_hold_outlives_the_application_s_new_name(open_rules: Driver) -> None:
    """What is held and has no application any more is said, else the hold is gone in silence."""
    driver = open_rules
    in_stage(driver)
    hold(asked(driver, "stage", "payments", "the database is being moved"))
    rename(driver)
    driver.run(driver.propose("stage", "pay"), driver.publish("stage"))

    said = str(status(asked(driver)))

    assert "the database is being moved" in said


@pytest.mark.parametrize(
    ("begins", "ends"),
    [
        ("2026-11-01 00:00", "9999-12-31 24:00"),
        ("0001-01-01 00:00", "2027-01-01 00:00"),
    ],
)
@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York"])
def test_a_window_for_ever_is_closed_or_refused(begins: str, ends: str, zone: str) -> None:
    """Whoever means "until further notice" writes the last date that there is."""
    now = datetime(2026, 12, 1, tzinfo=UTC)
    try:
        window = Window(Moment.parse(begins), Moment.parse(ends), zone)
    except RejectedError:
        return
    assert frozen([window], now) is not None


@pytest.mark.parametrize(
    ("begins", "ends"),
    [("24:00", "00:00"), ("fri 24:00", "sat 00:00"), ("2026-12-19 24:00", "2026-12-20 00:00")],
)
def test_a_window_that_never_closes_is_refused(begins: str, ends: str) -> None:
    """They are the same moment, written in two ways."""
    with pytest.raises(RejectedError):
        Window(Moment.parse(begins), Moment.parse(ends), "Europe/Berlin")


def test_a_freeze_lets_a_set_come_back_of_which_one_image_stayed(tmp_path: Path) -> None:
    """A rollback of two images, one of which is the same in both sets."""
    frozen_both = BOTH.replace(
        "    from: dev\n",
        "    from: dev\n    freeze:\n"
        '      - {{ from: "fri 16:00", until: "mon 08:00", time_zone: Europe/Berlin }}\n',
    )
    with driven(tmp_path, pipeline=frozen_both) as driver:
        stage = driver.stage
        overlays = {
            f"envs/{name}/worker/kustomization.yaml": OVERLAY.format(
                environment=name, host=host
            ).replace("payments", WORKER)
            for name, host in stage.hosts.items()
        }
        stage.dana.push(stage.manifests, "main", dict(overlays))
        driver.look_first()
        at(driver, TUESDAY)
        digests, files, path = [], [], "envs/stage/kustomization.yaml"
        for version in ("v1", "v2"):
            commit = stage.commit("develop")
            digests.append(build_both(driver, commit))
            driver.run(driver.propose("dev"))
            stage.dana.push(stage.source, f"release/{version}", parent=commit)
            driver.run(driver.propose("stage"))
            stage.dana.merge(promoted(driver))
            delivered(driver)
            assert driver.shown("stage") == digests[-1]
            merged = stage.manifests.head("main") or ""
            files.append(f"{stage.file(merged, path)}\n")
        at(driver, SATURDAY)

        stage.dana.push(stage.manifests, "back", {path: files[0]})
        pull = stage.dana.open_pull_request(stage.manifests, "back")
        driver.run(driver.answer(str(pull.number)))
        title = stage.checks(stage.manifests, pull.head)["lockkeeper"]
        stage.dana.merge(pull)
        delivered(driver)

        assert driver.shown("stage") == digests[0]
        assert not title[1].startswith("Frozen")


def test_a_freeze_of_a_day_is_not_ended_by_a_commands_clock(driver: Driver) -> None:
    """A freeze that has ended is over at every step, and a new one counts anew."""
    freeze(asked(driver, "stage", "1h", "short"))
    later = driver.ports.clock.now() + timedelta(hours=2)
    at(driver, later)
    digest = ready(driver)
    driver.stage.dana.merge(promoted(driver))
    delivered(driver)

    assert driver.shown("stage") == digest
    assert "frozen" not in {p["state"] for p in status(asked(driver))["places"]}  # type: ignore[attr-defined]  # an answer is a mapping of anything


def test_a_hold_of_one_application_stops_no_other(tmp_path: Path) -> None:
    with driven(tmp_path, pipeline=TWO) as driver:
        driver.add_billing()
        driver.look_first("payments", "billing")
        hold(asked(driver, "stage", "payments", "incident"))
        ready_billing = driver.stage.github.state.repository("acme/billing")
        commit = driver.stage.dana.push(ready_billing, "develop", {"b.py": "1\n"})
        digest = driver.build(ready_billing, commit)
        driver.run(driver.propose("dev", "billing"))
        driver.stage.dana.push(ready_billing, "release/v1", parent=commit)
        driver.run(driver.propose("stage", "billing"))
        [pull] = driver.stage.manifests.open_pulls()
        driver.stage.dana.merge(pull)
        driver.run(driver.deliver("stage", "billing"), driver.publish("stage"))

        assert driver.shown("stage", "envs/stage/billing/kustomization.yaml") == digest


def test_a_freeze_before_a_first_publication_is_not_going_round_it(tmp_path: Path) -> None:
    """Nothing runs yet: the first digest goes forward, so the weekend stops it."""
    with driven(tmp_path, pipeline=FROZEN) as driver:
        driver.look_first()
        at(driver, SATURDAY)
        ready(driver)
        driver.stage.dana.merge(promoted(driver))
        delivered(driver)

        assert driver.shown("stage") is None
        assert HoldKind.FREEZE not in {one.kind for one in holds_of(driver.look(), "stage")}


def test_the_check_says_frozen_where_the_publication_will_be(tmp_path: Path) -> None:
    """A way back that changes a line of configuration too waits: its check has to say so."""
    with driven(tmp_path, pipeline=FROZEN) as driver:
        driver.look_first()
        at(driver, TUESDAY)
        old = in_stage(driver)
        in_stage(driver, "release/v2")
        at(driver, SATURDAY)
        stage = driver.stage
        pinned = OVERLAY.format(environment="stage", host=stage.hosts["stage"])
        text = f"{pinned}    digest: {old}\nnamePrefix: x-\n"
        stage.dana.push(stage.manifests, "back", {"envs/stage/kustomization.yaml": text})
        pull = stage.dana.open_pull_request(stage.manifests, "back")
        driver.run(driver.answer(str(pull.number)))
        title = stage.checks(stage.manifests, pull.head)["lockkeeper"][1]
        stage.dana.merge(pull)
        delivered(driver)

        assert driver.shown("stage") == old or title.startswith("Frozen"), title


def test_configuration_alone_says_frozen_too(tmp_path: Path) -> None:
    """Configuration waits as images do, and the check on a pull request names the opening."""
    with driven(tmp_path, pipeline=FROZEN) as driver:
        driver.look_first()
        at(driver, TUESDAY)
        in_stage(driver)
        at(driver, SATURDAY)
        stage = driver.stage
        stage.dana.push(stage.manifests, "config", {"envs/stage/more.yaml": "kind: ConfigMap\n"})
        pull = stage.dana.open_pull_request(stage.manifests, "config")
        driver.run(driver.answer(str(pull.number)))

        title = stage.checks(stage.manifests, pull.head)["lockkeeper"][1]
        assert title.startswith("Frozen")


def test_a_label_holds_what_is_delivered_and_not_yet_published(driver: Driver) -> None:
    """It holds a promotion "open or merged, until it is taken off"."""
    digest = ready(driver)
    pull = promoted(driver)
    driver.stage.dana.merge(pull)
    driver.run(driver.deliver("stage"), most=1)
    driver.queue.waiting.clear()
    driver.stage.dana.label(pull, "lockkeeper/hold")

    driver.run(driver.publish("stage"))

    assert driver.shown("stage") != digest


def test_a_hold_in_the_last_moment_stops_the_publication(driver: Driver) -> None:
    digest = ready(driver)
    driver.stage.dana.merge(promoted(driver))
    driver.run(driver.deliver("stage"), most=1)
    driver.queue.waiting.clear()
    for method in ("PATCH", "POST"):
        driver.stage.github.just_before(
            method,
            "/repos/acme/deploy/git/commits",
            lambda: hold(asked(driver, "stage", "", "stop!")),
        )

    driver.run(driver.publish("stage"))

    assert [one.reason for one in holds_of(driver.look(), "stage")] == ["stop!"]
    assert driver.shown("stage") != digest


def test_a_way_back_passes_while_something_newer_waits_for_the_opening(tmp_path: Path) -> None:
    """Merged on Saturday: v3, which waits. Then v1 comes back: prod must not wait for Monday."""
    with driven(tmp_path, pipeline=FROZEN) as driver:
        driver.look_first()
        at(driver, TUESDAY)
        old = in_stage(driver)
        running = in_stage(driver, "release/v2")
        at(driver, SATURDAY)
        ready(driver, "release/v3")
        driver.stage.dana.merge(promoted(driver))
        delivered(driver)
        assert driver.shown("stage") == running

        put_back(driver, old)
        delivered(driver)

        assert driver.shown("stage") == old


def test_a_revert_of_what_waits_leaves_what_runs(tmp_path: Path) -> None:
    """v2 was merged on Saturday and reverted on Saturday: Monday brings nothing new."""
    with driven(tmp_path, pipeline=FROZEN) as driver:
        driver.look_first()
        at(driver, TUESDAY)
        old = in_stage(driver)
        at(driver, SATURDAY)
        ready(driver, "release/v2")
        driver.stage.dana.merge(promoted(driver))
        delivered(driver)
        put_back(driver, old)
        delivered(driver)
        at(driver, MONDAY)
        delivered(driver)

        assert driver.shown("stage") == old


def test_the_label_in_other_letters_holds_too(driver: Driver) -> None:
    """GitHub has one label, however it is written; whoever made it first chose the letters."""
    digest = ready(driver)
    pull = promoted(driver)
    driver.stage.dana.label(pull, "Lockkeeper/Hold")
    driver.stage.dana.merge(pull)
    delivered(driver)

    assert driver.shown("stage") != digest


def test_the_bot_merges_nothing_in_a_window_and_all_of_it_afterwards(tmp_path: Path) -> None:
    text = PIPELINE.replace(
        "    merge: auto\n",
        "    merge: auto\n    freeze:\n"
        '      - {{ from: "fri 16:00", until: "mon 08:00", time_zone: Europe/Berlin }}\n',
    )
    with driven(tmp_path, pipeline=text) as driver:
        driver.look_first()
        at(driver, SATURDAY)
        stage = driver.stage
        commit = stage.commit("develop")
        digest = driver.build(stage.source, commit)
        driver.run(driver.propose("dev"))
        assert driver.shown("dev") != digest
        pull = stage.open_promotion("dev")
        assert pull is not None
        assert not pull.merged

        at(driver, MONDAY)
        driver.run(driver.propose("dev"))

        assert driver.shown("dev") == digest


def test_status_says_what_a_label_by_hand_stops(driver: Driver) -> None:
    """The same words on check, command line and board."""
    ready(driver)
    pull = promoted(driver)
    driver.stage.dana.label(pull, "lockkeeper/hold")
    driver.run(driver.answer(str(pull.number)))

    [place] = [p for p in status(asked(driver))["places"] if p["environment"] == "stage"]  # type: ignore[attr-defined]  # an answer is a mapping of anything

    assert place["state"] == "held"


def test_a_label_stops_what_is_in_the_merge_queue_already(driver: Driver) -> None:
    """The check on the group's head is what the queue waits for."""
    ready(driver)
    pull = promoted(driver)
    stage = driver.stage
    stage.dana.label(pull, "lockkeeper/hold")
    git = stage.manifests.git
    main = stage.manifests.head("main") or ""
    signature = stage.dana.account.signature(stage.github.state.clock())
    group = git.write_commit(git.commit(pull.head).tree, (main, pull.head), "Group", signature)
    name = f"gh-readonly-queue/main/pr-{pull.number}-{main}"
    stage.dana.push(stage.manifests, name, parent=group)

    driver.run(driver.answer(group))

    assert check(driver, group) == ("failure", "Held")


def test_the_environment_s_unhold_names_what_applications_still_hold(driver: Driver) -> None:
    hold(asked(driver, "stage", "payments", "incident"))
    hold(asked(driver, "stage", "", "the fair"))

    said = unhold(asked(driver, "stage"))

    assert "incident" in str(said["left"])


def test_a_hold_of_an_application_that_has_gone_can_be_ended(open_rules: Driver) -> None:
    driver = open_rules
    in_stage(driver)
    hold(asked(driver, "stage", "payments", "the database is being moved"))
    rename(driver)

    unhold(asked(driver, "stage", "payments"))

    assert not holds_of(driver.look(), "stage")


def test_a_hold_goes_with_the_application_s_new_name(open_rules: Driver) -> None:
    """Nobody lets the database go on by calling the application otherwise."""
    driver = open_rules
    in_stage(driver)
    hold(asked(driver, "stage", "payments", "the database is being moved"))
    stage = driver.stage
    rename(driver)
    commit = stage.commit("develop")
    digest = driver.build(stage.source, commit)
    driver.run(driver.propose("dev", "pay"))
    for pull in stage.manifests.open_pulls():
        stage.dana.merge(pull)
    driver.run(driver.deliver("dev", "pay"), driver.publish("dev"))
    assert driver.shown("dev") == digest, driver.ran[-4:]
    stage.dana.push(stage.source, "release/v2", parent=commit)
    driver.run(driver.propose("stage", "pay"))
    for pull in stage.manifests.open_pulls():
        stage.dana.merge(pull)
    driver.run(driver.deliver("stage", "pay"), driver.publish("stage"))

    assert driver.shown("stage") != digest


def test_a_revert_of_a_promotion_with_its_files_passes_a_freeze(tmp_path: Path) -> None:
    """Files that travel came with the image, and go back with it: a rollback goes through."""
    text = FROZEN.replace("  payments: {{}}\n", '  payments: {{ promote: ["envs/*/config/**"] }}\n')
    with driven(tmp_path, pipeline=text) as driver:
        stage, path = driver.stage, "envs/{}/config/a.yaml"
        driver.look_first()
        at(driver, TUESDAY)
        digests, states = [], []
        for version in ("v1", "v2"):
            content = f"kind: ConfigMap\ndata: {{a: {version}}}\n"
            stage.dana.push(stage.manifests, "main", {path.format("dev"): content})
            driver.run(driver.publish("dev"))
            digests.append(in_stage(driver, f"release/{version}"))
            names = ("envs/stage/kustomization.yaml", path.format("stage"))
            merged = stage.manifests.head("main") or ""
            states.append({name: f"{stage.file(merged, name)}\n" for name in names})
        assert states[0] != states[1]
        at(driver, SATURDAY)
        stage.dana.push(stage.manifests, "back", dict(states[0]))
        stage.dana.merge(stage.dana.open_pull_request(stage.manifests, "back"))
        delivered(driver)

        assert driver.shown("stage") == digests[0]


def test_one_environment_s_window_stops_the_status_of_no_other(tmp_path: Path) -> None:
    """Frozen "for ever" by the last date that there is; `config check` has nothing against it."""
    text = FROZEN.replace("fri 16:00", "2026-11-01 00:00").replace("mon 08:00", "9999-12-31 24:00")
    with driven(tmp_path, pipeline=text) as driver:
        driver.run(driver.propose("dev"), driver.publish("dev"))

        found = status(asked(driver))["places"]

        assert "dev" in {place["environment"] for place in found}  # type: ignore[attr-defined]  # an answer is a mapping of anything
