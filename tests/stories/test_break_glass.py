"""Two persons in an emergency: what they let pass, and what nobody does."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from tests.usecases.test_approved_stays import into_prod, prod
from tests.usecases.test_comments import answers, later, receipts
from tests.usecases.test_holds import SATURDAY, at, check, delivered, promoted, ready

from tests.world.driver import Driver, driven
from tests.world.github.people import User
from tests.world.github.records import PullRequest
from tests.world.stage import PIPELINE

pytestmark = pytest.mark.slow

STRICT = PIPELINE.replace("version: 1\n", "version: 1\npolicy: policy.yaml\n").replace(
    "    from: dev\n",
    "    from: dev\n    freeze:\n"
    '      - {{ from: "sat 00:00", until: "mon 08:00", time_zone: UTC, reason: weekend }}\n',
)
POLICY = """\
version: 1
environments:
  stage:
    rules: [{ id: critical, deny: introduced, severity: ">= critical" }]
"""
"""There is no scanner here, so nothing passes."""


def second(driver: Driver) -> User:
    """Another release manager."""
    stage = driver.stage
    rosa = stage.github.add_user("rosa")
    next(iter(stage.github.state.teams.values())).members.add(rosa.login)
    stage.manifests.owner.members.add(rosa.login)
    return rosa


def test_two_persons_let_one_build_pass_policy_and_freeze(tmp_path: Path) -> None:
    with driven(tmp_path, pipeline=STRICT) as driver:
        stage = driver.stage
        stage.dana.push(stage.manifests, "main", {"policy.yaml": POLICY})
        driver.look_first()
        digest = ready(driver)
        pull = promoted(driver)
        at(driver, SATURDAY)
        driver.ports = driver.workflows.ports
        driver.run(driver.answer(str(pull.number)))
        assert check(driver, pull.head)[0] == "failure"

        for who in (stage.dana, stage.dana):  # the same person twice is one person
            said(driver, who, pull)
        stage.dana.merge(pull)
        delivered(driver)
        assert driver.shown("stage") is None

        said(driver, stage.rita, pull)
        delivered(driver)
        assert driver.shown("stage") == digest
        assert "the glass is broken" in answers(pull)[-1]
        assert "lockkeeper/break-glass" in {label.name for label in pull.labels}
        kinds = [entry.kind for entry in driver.ports.audit.entries()]
        assert "glass broken" in kinds


def said(driver: Driver, who: User, pull: PullRequest) -> None:
    """Somebody says so, at the driver's time."""
    written = who.comment(pull, "/break-glass the shop is down")
    now = driver.workflows.ports.clock.now()
    written.created_at = written.updated_at = now
    driver.run(driver.comment(written))


def test_the_number_of_approvals_is_passed_and_the_persons_are_named(tmp_path: Path) -> None:
    with driven(tmp_path) as driver:
        driver.look_first()
        pull, rosa = prod(driver), second(driver)
        driver.stage.dana.merge(pull)
        assert into_prod(driver) is None

        refused = driver.heard(driver.stage.dana, pull, "/break-glass now")
        assert receipts(refused) == ["confused"], "a developer may not"
        driver.heard(driver.stage.rita, pull, "/break-glass now")
        assert into_prod(driver) is None
        driver.heard(rosa, pull, "/break-glass yes")

        assert into_prod(driver) is not None
        [sealed] = [
            entry
            for entry in driver.ports.audit.entries()
            if entry.kind == "sealed" and entry.scope.environment == "prod"
        ]
        assert "rita (break-glass)" in sealed.facts["approved_by"]


def test_a_second_person_who_comes_too_late_is_a_first(tmp_path: Path) -> None:
    with driven(tmp_path) as driver:
        driver.look_first()
        pull, rosa = prod(driver), second(driver)
        driver.stage.dana.merge(pull)
        driver.heard(driver.stage.rita, pull, "/break-glass now")
        later(driver, timedelta(hours=2))
        written = rosa.comment(pull, "/break-glass yes")
        written.created_at = written.updated_at = driver.workflows.ports.clock.now()
        driver.run(driver.comment(written))

        assert into_prod(driver) is None
        assert "a second person" in answers(pull)[-1]


def test_it_passes_no_hold_and_no_revocation(tmp_path: Path) -> None:
    text = PIPELINE.replace("version: 1\n", "version: 1\npolicy: policy.yaml\n")
    with driven(tmp_path, pipeline=text) as driver:
        stage = driver.stage
        nothing = f"version: 1\nrevoked: [{{ digest: 'sha256:{'0' * 64}', reason: none }}]\n"
        stage.dana.push(stage.manifests, "main", {"policy.yaml": nothing})
        driver.look_first()
        pull, rosa = prod(driver), second(driver)
        stage.dana.merge(pull)
        driver.heard(stage.rita, pull, "/hold look first")
        driver.heard(stage.rita, pull, "/break-glass now")
        driver.heard(rosa, pull, "/break-glass yes")
        assert into_prod(driver) is None, "who holds it knows why"

        digest = driver.shown("stage")
        policy = f"version: 1\nrevoked: [{{ digest: '{digest}', reason: stolen }}]\n"
        stage.dana.push(stage.manifests, "rules", {"policy.yaml": policy})
        rules = stage.dana.open_pull_request(stage.manifests, "rules")
        stage.rita.approve(rules)
        stage.dana.merge(rules)
        driver.heard(stage.rita, pull, "/unhold")
        assert into_prod(driver) is None
