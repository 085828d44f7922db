"""One repository that refuses reports, or cannot be read at all; and everything else goes on."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pytest

from bot.adapters.grants import Grants
from bot.cli.answers import words_of
from bot.domain.doctor.findings import About, Finding, Look, Severity, Unknown
from bot.domain.environments import GitHubRepository
from bot.domain.errors import NotFoundError, UnavailableError
from bot.domain.jobs import Done, Failed, Job, JobKind, JobState
from bot.domain.pipeline_rules import UnknownNameError
from bot.facts.snapshot import look
from bot.formats.webhook import WebhookHint
from bot.reconcilers.intake import intake, put_reconcile, reconcile
from bot.reconcilers.operator import (
    AmbiguousEnvironmentError,
    Request,
    hold,
    status,
)
from bot.reporting.failures import tell_failure, tell_over
from tests.world.driver import TWO, Driver, Queue, driven
from tests.world.github.records import Repository
from tests.world.keys import generate_key_pair
from tests.world.stage import OVERLAY, PIPELINE

pytestmark = pytest.mark.slow

EVERY_TIME = 10**6
REPORTS = ("check-runs*", "deployments*")
BILLING = "envs/dev/billing/kustomization.yaml"


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    with driven(tmp_path, pipeline=TWO) as up:
        yield up


def refuse(driver: Driver, repository: str, status_code: int, *paths: str) -> None:
    """GitHub refuses every write of these kinds in a repository."""
    for path in paths:
        for method in ("POST", "PATCH", "PUT"):
            driver.stage.github.fail(
                method,
                f"/repos/acme/{repository}/{path}",
                status_code,
                times=EVERY_TIME,
                message="Repository was archived so is read-only.",
            )


def wrong(driver: Driver) -> list[str]:
    return [
        f"{key}: {outcome.summary}" for key, outcome in driver.ran if isinstance(outcome, Failed)
    ]


@pytest.mark.parametrize("status_code", [403, 404, 422, 502])
def test_a_source_that_takes_no_reports_is_delivered_and_published_all_the_same(
    driver: Driver, status_code: int
) -> None:
    stage, billing = driver.stage, driver.add_billing()
    driver.look_first("payments", "billing")
    commit = stage.commit("develop")
    digest = driver.build(stage.source, commit)
    other = stage.dana.push(billing, "develop", {"b.py": "1\n"})
    other_digest = driver.build(billing, other)

    refuse(driver, "payments", status_code, *REPORTS)
    driver.run(driver.propose("dev"))
    driver.run(driver.propose("dev", "billing"))

    assert wrong(driver) == []
    assert driver.shown("dev") == digest
    assert driver.shown("dev", BILLING) == other_digest
    told = stage.checks(billing, other)
    assert told["lockkeeper: billing -> dev"] == ("success", "Published")


def test_what_was_refused_is_a_fact_that_status_shows(driver: Driver) -> None:
    stage = driver.stage
    driver.look_first()
    driver.build(stage.source, stage.commit("develop"))
    refuse(driver, "payments", 403, *REPORTS)

    driver.run(driver.propose("dev"))

    findings = [one for one in driver.ports.findings() if one.about is About.REPORTS]
    assert {one.subject for one in findings} == {
        "acme/payments checks",
        "acme/payments deployments",
    }
    assert all("read-only" in one.fact for one in findings)
    shown = status(Request(driver.ports, (), "ops", lambda _key: False))["findings"]
    assert "acme/payments checks" in str(shown)


def test_what_github_could_not_take_comes_when_it_can(driver: Driver) -> None:
    stage = driver.stage
    driver.look_first()
    commit = stage.commit("develop")
    driver.build(stage.source, commit)
    refuse(driver, "payments", 502, *REPORTS)
    driver.run(driver.propose("dev"))
    assert stage.checks(stage.source, commit) == {}

    stage.github.faults.clear()

    def told() -> tuple[str, str] | None:
        driver.outbox.flush()
        return stage.checks(stage.source, commit).get("lockkeeper: payments -> dev")

    assert stage.eventually(told, "the report is sent again") == ("success", "Published")


@pytest.mark.parametrize("status_code", [403, 404, 422, 503])
def test_a_promotion_needs_no_label_reviewer_comment_or_check(
    driver: Driver, status_code: int
) -> None:
    stage = driver.stage
    driver.look_first()
    commit = stage.commit("develop")
    digest = driver.build(stage.source, commit)
    driver.run(driver.propose("dev"))
    stage.dana.push(stage.source, "release/v1", parent=commit)

    writes = ("issues/*/labels", "issues/*/comments*", "pulls/*/requested_reviewers", "check-runs*")
    refuse(driver, "deploy", status_code, *writes)
    driver.run(driver.propose("stage"))
    pull = stage.open_promotion("stage")
    assert pull is not None, driver.ran[-3:]
    stage.dana.merge(pull)
    driver.run(driver.deliver("stage"))
    stage.dana.push(stage.source, "main", parent=commit, force=True)
    driver.run(driver.propose("prod"))

    assert wrong(driver) == []
    assert driver.shown("stage") == digest
    assert stage.open_promotion("prod") is not None
    refused = {one.subject for one in driver.ports.findings() if one.about is About.REPORTS}
    kinds = {"labels", "comments", "review requests", "checks"}
    assert refused == (set() if status_code == 503 else {f"acme/deploy {kind}" for kind in kinds})


# --- loops over manifests repositories ---


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Driver, Repository]]:
    """Two manifests repositories, the other one named first."""
    with driven(tmp_path, pipeline=TWO) as up:
        stage = up.stage
        grants = tmp_path / "both" / "acme"
        for name in ("other", "deploy"):
            shutil.copytree(tmp_path / "grants", grants / name)
        (grants / "other" / "prod" / "signing.key").unlink()  # a key has one meaning
        (grants / "other" / "prod" / "attest.key").unlink()
        file = stage.file("main", "lockkeeper.yaml").replace("    sign: true\n", "")
        other = stage.github.add_repository("acme/other", files={"lockkeeper.yaml": file})
        installation = next(iter(stage.github.state.installations.values()))
        stage.github.add_to_installation(installation, other)
        names = ("acme/other", "acme/deploy")
        granted = replace(up.ports.grants, grants=Grants(grants.parent, names))  # type: ignore[type-var]  # the real one is a dataclass
        ports = replace(
            up.ports,
            manifests=tuple(GitHubRepository.parse(name) for name in names),
            grants=granted,
        )
        up.ports, up.workflows = ports, replace(up.workflows, ports=ports)
        yield up, other


def gone(_driver: Driver, other: Repository) -> None:
    """The other one cannot be fetched: its git is not there."""
    other.git.path.rename(other.git.path.with_name("gone.git"))


def uninstalled(driver: Driver, other: Repository) -> None:
    installation = next(iter(driver.stage.github.state.installations.values()))
    driver.stage.github.remove_from_installation(installation, other)


def unreadable_file(driver: Driver, other: Repository) -> None:
    driver.stage.dana.push(other, "main", {"lockkeeper.yaml": "environments: [\n"})


def no_grant(driver: Driver, _other: Repository) -> None:
    folder = driver.stage.directory / "both" / "acme" / "other"
    (folder / "sources").write_text("this is no owner/name glob/at all\n")
    (folder / "prod" / "signing.nonsense").write_text("x")


def down(driver: Driver, _other: Repository) -> None:
    driver.stage.github.fail("GET", "/repos/acme/other", 502, times=EVERY_TIME)
    driver.stage.github.fail("GET", "/repos/acme/other/installation", 502, times=EVERY_TIME)


BREAKS = [gone, uninstalled, unreadable_file, no_grant, down]
Break = Callable[[Driver, Repository], None]


def push_to(repository: Repository, branch: str = "main") -> WebhookHint:
    return WebhookHint(
        "push",
        repository=repository.full_name,
        ref=f"refs/heads/{branch}",
        after=repository.head(branch) or "",
    )


@pytest.mark.parametrize("breaks", BREAKS)
def test_a_member_that_is_broken_keeps_no_webhook_of_the_others(
    pair: tuple[Driver, Repository], breaks: Break
) -> None:
    driver, other = pair
    breaks(driver, other)

    for hint in (push_to(driver.stage.manifests), push_to(driver.stage.source, "develop")):
        driver.queue.waiting.clear()
        with contextlib.suppress(UnavailableError):  # so that the other one is asked again
            intake(driver.ports, hint)
        jobs = [
            job
            for job in driver.queue.waiting.values()
            if job.manifests == driver.stage.manifests.id
        ]
        assert jobs, hint


@pytest.mark.parametrize("breaks", BREAKS)
def test_a_member_that_is_broken_keeps_nothing_of_the_others_from_being_looked_at(
    pair: tuple[Driver, Repository], breaks: Break
) -> None:
    driver, other = pair
    breaks(driver, other)
    number = driver.stage.manifests.id

    with contextlib.suppress(UnavailableError):  # which the log then has
        put_reconcile(driver.ports)

    assert Job(JobKind.RECONCILE, number).key in driver.queue.waiting
    assert isinstance(reconcile(driver.ports, number), Done)
    view = look(driver.ports, number)
    assert (str(view.repository), view.broken) == ("acme/deploy", None)
    assert driver.publish("prod").key in driver.queue.waiting


@pytest.mark.parametrize("breaks", BREAKS)
def test_a_member_that_is_broken_keeps_no_command_and_no_status_of_the_others(
    pair: tuple[Driver, Repository], breaks: Break
) -> None:
    driver, other = pair
    breaks(driver, other)
    ports = replace(driver.ports, manifests=driver.ports.manifests)

    shown = status(Request(ports, (), "ops", lambda _key: False))

    assert {place["manifests"] for place in shown["places"]} >= {"acme/deploy"}  # type: ignore[attr-defined]  # an answer is a mapping of anything
    if breaks not in {unreadable_file, no_grant}:
        assert set(shown["problems"]) == {"acme/other"}  # type: ignore[call-overload]  # ditto
        held = hold(Request(ports, ("stage",), "ops", lambda _key: False))
        assert (held["held"], held["manifests"]) == (True, "acme/deploy")
        assert set(held["problems"]) == {"acme/other"}  # type: ignore[call-overload]  # ditto
        with pytest.raises(UnknownNameError, match="acme/other"):
            hold(Request(ports, ("nowhere",), "ops", lambda _key: False))


def test_an_environment_that_two_repositories_have_is_ambiguous(
    pair: tuple[Driver, Repository],
) -> None:
    driver, _ = pair

    def ask(*arguments: str) -> Request:
        return Request(driver.ports, arguments, "ops", lambda _key: False)

    with pytest.raises(AmbiguousEnvironmentError, match="--manifests acme/other or --manifests"):
        hold(ask("prod"))
    assert hold(ask("ACME/deploy:prod"))["manifests"] == "acme/deploy"
    with pytest.raises(UnknownNameError, match="did you mean 'acme/deploy'"):
        hold(ask("acme/depoy:prod"))
    with pytest.raises(UnknownNameError, match="did you mean 'stage'"):
        hold(ask("acme/other:stge"))
    with pytest.raises(UnknownNameError, match="application biling does not exist: did you mean"):
        hold(ask("acme/other:stage", "biling"))

    shown = status(ask())["places"]
    states = {(p["manifests"], p["environment"]): p["state"] for p in shown}  # type: ignore[attr-defined]  # an answer is a mapping of anything
    assert states["acme/deploy", "prod"] == "held"
    assert ("acme/other", "prod") not in states or states["acme/other", "prod"] != "held"


def test_status_says_what_an_open_promotion_waits_for_with_the_link(driver: Driver) -> None:
    stage = driver.stage
    driver.add_billing()
    driver.look_first("payments", "billing")
    driver.build(stage.source, stage.commit("develop"))
    driver.run(driver.propose("dev"))
    driver.run(driver.propose("stage"))

    shown = status(Request(driver.ports, (), "ops", lambda _key: False))
    places: list[dict[str, str]] = shown["places"]  # type: ignore[assignment]  # ditto
    stands = {one["environment"]: one for one in places if one["application"] == "payments"}

    assert stands["dev"]["state"] == "published"
    assert stands["stage"]["state"] in {"proposed", "waiting", "nothing promoted yet"}
    words = words_of("status", shown)
    assert "ENVIRONMENT" in words
    assert stands["dev"]["published"][:19] in words


def test_a_list_that_cannot_be_had_keeps_nothing_that_was_known_before(driver: Driver) -> None:
    number = driver.stage.manifests.id
    driver.stage.github.fail("GET", "/repos/acme/deploy/pulls", 502, times=EVERY_TIME)

    with pytest.raises(UnavailableError):
        reconcile(driver.ports, number)

    assert driver.deliver("prod", "billing").key in driver.queue.waiting
    assert driver.publish("prod").key in driver.queue.waiting


def test_one_image_whose_delivery_waits_keeps_no_other_from_being_sealed(tmp_path: Path) -> None:
    images = PIPELINE.replace(
        "  payments: {{}}\n", "  payments: {{ images: [payments, worker] }}\n"
    )
    with driven(tmp_path, pipeline=images) as driver:
        stage = driver.stage
        commit = stage.commit("develop")
        merges = {
            name: stage.dana.push(
                stage.manifests,
                "main",
                {f"envs/dev/{name}/kustomization.yaml": pinned(driver, name, commit)},
            )
            for name in ("payments", "worker")
        }
        stage.github.fail(
            "GET", f"/repos/acme/deploy/commits/{merges['payments']}/pulls", 502, times=EVERY_TIME
        )

        driver.run(driver.deliver("dev"), most=1)

        (_, outcome) = driver.ran[-1]
        assert "502" in outcome.summary
        scope = look(driver.ports, stage.manifests.id).scope("dev")
        assert [seal.image for seal in driver.ports.memory.seals(scope)] == ["worker"]
        assert driver.publish("dev").key in driver.queue.waiting


def pinned(driver: Driver, name: str, commit: str) -> str:
    """An overlay that names the image that CI built of a commit."""
    digest = driver.build(driver.stage.source, commit, name)
    host = driver.stage.hosts["dev"]
    overlay = OVERLAY.format(environment="dev", host=host).replace("payments", name)
    return f"{overlay}    newTag: sha-{commit[:7]}\n    digest: {digest}\n"


# --- the grant of one environment ---


def wrong_password(folder: Path) -> None:
    keys = generate_key_pair(b"right", cost=32768)
    (folder / "prod" / "signing.key").write_bytes(keys.private)
    (folder / "prod" / "signing.password").write_bytes(b"not-this")


def no_registry(folder: Path) -> None:
    (folder / "prod" / "registry.json").unlink()


def no_folder(folder: Path) -> None:
    shutil.rmtree(folder / "prod")


def no_key(folder: Path) -> None:
    (folder / "prod" / "attest.key").unlink()


def one_key_for_two(folder: Path) -> None:
    for kind in ("key", "password"):
        shutil.copy(folder / "prod" / f"signing.{kind}", folder / "prod" / f"attest.{kind}")


@pytest.mark.parametrize(
    ("breaks", "words"),
    [
        (wrong_password, "password"),
        (no_registry, "registry.json"),
        (no_folder, "registry.json"),
        (no_key, "attest.key"),
        (one_key_for_two, "are one public key"),
    ],
)
def test_a_broken_grant_of_one_environment_stops_that_one_alone(
    driver: Driver, tmp_path: Path, breaks: Callable[[Path], None], words: str
) -> None:
    stage = driver.stage
    driver.look_first()
    commit = stage.commit("develop")
    digest = driver.build(stage.source, commit)
    breaks(tmp_path / "grants")
    driver.run(driver.propose("dev"))
    stage.dana.push(stage.source, "release/v1", parent=commit)
    driver.run(driver.propose("stage"))
    pull = stage.open_promotion("stage")
    assert pull is not None, driver.ran[-3:]
    stage.dana.merge(pull)
    driver.run(driver.deliver("stage"))

    assert (driver.shown("dev"), driver.shown("stage")) == (digest, digest)
    stage.dana.push(stage.source, "main", parent=commit, force=True)
    driver.ran.clear()
    driver.run(driver.propose("prod"), driver.deliver("prod"), driver.publish("prod"))
    assert stage.open_promotion("prod") is None
    stopped = dict(driver.ran)
    assert {key.split(":")[0] for key in stopped} >= {"propose", "deliver", "publish"}
    for outcome in stopped.values():
        assert isinstance(outcome, Failed)
        assert words in outcome.summary
    told = stage.checks(stage.source, commit)
    assert told["lockkeeper: payments -> prod failed"] == ("failure", "Could not be proposed")


def test_a_source_that_is_not_granted_stops_its_application_alone(
    driver: Driver, tmp_path: Path
) -> None:
    stage, billing = driver.stage, driver.add_billing()
    driver.look_first("payments", "billing")
    (tmp_path / "grants" / "sources").write_text("acme/payments\n")
    digest = driver.build(stage.source, stage.commit("develop"))
    driver.build(billing, stage.dana.push(billing, "develop", {"b.py": "1\n"}))

    driver.run(driver.propose("dev"), driver.propose("dev", "billing"))

    assert driver.shown("dev") == digest
    assert wrong(driver)
    assert all(":billing: " in one and "acme/billing" in one for one in wrong(driver))


def judged(driver: Driver, file: str) -> dict[str, object]:
    """What the check says of a pull request that brings this pipeline file."""
    stage = driver.stage
    branch = f"change-{len(stage.manifests.pulls)}"
    head = stage.dana.push(stage.manifests, branch, {"lockkeeper.yaml": file})
    pull = stage.dana.open_pull_request(stage.manifests, branch)
    driver.run(Job(JobKind.ANSWER, stage.manifests.id, "", str(pull.number)))
    checks = stage.manifests.check_runs.values()
    runs = [run for run in checks if run.commit == head and run.name == "lockkeeper"]
    return {"conclusion": runs[-1].conclusion, **runs[-1].output}


def test_the_check_tells_what_a_change_asks_for_from_what_was_stopped_before(
    driver: Driver, tmp_path: Path
) -> None:
    wrong_password(tmp_path / "grants")
    file = driver.stage.file("main", "lockkeeper.yaml")
    host = driver.stage.hosts["dev"]

    words = judged(driver, f"# a word\n\n{file}")
    asks = judged(driver, file.replace(f"{host}/acme/", "registry.invalid/acme/"))

    assert words["conclusion"] == "success"
    assert "Stopped now, and not by this change" in str(words["summary"])
    assert "password" in str(words["summary"])
    assert asks["conclusion"] == "failure"
    assert "registry.invalid" in str(asks["title"])
    assert "password" not in str(asks["summary"])


def test_digests_of_an_environment_that_is_stopped_cannot_be_delivered(
    driver: Driver, tmp_path: Path
) -> None:
    stage = driver.stage
    driver.look_first()
    commit = stage.commit("develop")
    driver.build(stage.source, commit)
    driver.run(driver.propose("dev"))
    stage.dana.push(stage.source, "release/v1", parent=commit)
    driver.run(driver.propose("stage"))
    pull = stage.open_promotion("stage")
    assert pull is not None
    (tmp_path / "grants" / "stage" / "registry.json").write_text("{")

    driver.run(Job(JobKind.ANSWER, stage.manifests.id, "", str(pull.number)))

    runs = [run for run in stage.manifests.check_runs.values() if run.name == "lockkeeper"]
    assert runs[-1].output["title"] == "These digests cannot be delivered"
    assert "registry.json" in str(runs[-1].output["summary"])


# --- several manifests repositories over one source ---


@dataclass
class Standing(Queue):
    """A queue in which jobs stand."""

    found: Sequence[JobState] = ()

    def states(self) -> Sequence[JobState]:
        return self.found


def test_a_check_says_which_manifests_repository_it_speaks_of(
    pair: tuple[Driver, Repository],
) -> None:
    driver, _ = pair
    stage = driver.stage
    driver.look_first()
    commit = stage.commit("develop")
    driver.build(stage.source, commit)
    driver.run(driver.propose("dev"))

    assert stage.checks(stage.source, commit) == {
        "lockkeeper: payments -> dev (acme/deploy)": ("success", "Published")
    }


def test_what_is_over_in_one_repository_hides_no_failure_of_the_other(
    pair: tuple[Driver, Repository],
) -> None:
    """Both have an environment dev, an application payments and the same source."""
    driver, other = pair
    stage = driver.stage
    driver.look_first()
    commit = stage.commit("develop")
    driver.run(driver.propose("dev"))
    jobs = [Job(JobKind.PROPOSE, one.id, "dev", "payments") for one in (stage.manifests, other)]
    for job in jobs:
        tell_failure(driver.ports, job, NotFoundError("the base", "GitHub"))

    tell_over(driver.ports, jobs[1])
    driver.outbox.flush()

    states = stage.checks(stage.source, commit)
    assert states["lockkeeper: payments -> dev (acme/deploy) failed"][0] == "failure"
    assert states["lockkeeper: payments -> dev (acme/other) failed"] == ("neutral", "Over")


class Silent:
    """`bot.ports.premises.Looks` at something that hangs."""

    def begin(self, _look: Callable[[], object]) -> Callable[[], Look[Any]]:
        return lambda: Unknown("no answer within 4 s")


def test_status_tells_what_is_wrong_whether_github_answers_or_not(driver: Driver) -> None:
    """While GitHub hung, `status` took half a minute: longer than it waits for its own answer."""
    finding = Finding(About.API, driver.stage.github.api_url, Severity.UNKNOWN, "silence")
    ports = replace(driver.ports, looks=lambda _seconds: Silent(), findings=lambda: [finding])

    shown = status(Request(ports, (), "ops", lambda _key: False))

    assert shown["problems"] == {"acme/deploy": "no answer within 4 s"}
    assert [one["line"] for one in cast("list[dict[str, str]]", shown["findings"])] == [
        finding.line
    ]


def test_status_does_not_list_the_question_itself(driver: Driver) -> None:
    own, other = Job(JobKind.COMMAND, subject="7"), driver.propose("dev")
    states = [JobState(job.key, "running", 0, None, "") for job in (own, other)]
    ports = replace(driver.ports, jobs=Standing(found=states))

    shown = status(Request(ports, (), "ops", lambda _key: False, own.key))["jobs"]

    assert [one["key"] for one in cast("list[dict[str, str]]", shown)] == [other.key]
