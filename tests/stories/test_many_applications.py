"""Many applications in one repository: none waits for, loses or is looked at for another."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from git.cmd import Git

from bot.domain.jobs import Done, JobKind
from bot.formats.webhook import WebhookHint
from bot.reconcilers.intake import intake
from tests.world.driver import Driver
from tests.world.many import at_once, build_all, many, names, path
from tests.world.stage import digest_in

pytestmark = pytest.mark.slow

COUNT = 12


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    with many(tmp_path_factory.mktemp("many"), COUNT) as up:
        up.run(*(up.propose("dev", name) for name in names(COUNT)), up.publish("dev"), most=99)
        yield up


def test_promotions_at_once_lose_nothing(driver: Driver) -> None:
    stage = driver.stage
    commit = stage.commit("develop")
    digests = build_all(driver, commit, COUNT)
    before = len(stage.github.requests)

    outcomes = at_once(driver, [driver.propose("dev", name) for name in names(COUNT)])

    assert {type(one) for one in outcomes} == {Done}
    asked = len(stage.github.requests) - before
    assert asked <= 13 * COUNT
    pulls = {pull.head_ref: pull for pull in stage.manifests.open_pulls()}
    assert set(pulls) == {f"lockkeeper/dev/{name}" for name in names(COUNT)}
    for name in names(COUNT):
        head = stage.manifests.head(f"lockkeeper/dev/{name}") or ""
        changed = stage.manifests.git.text("diff", "--name-only", "main", head).split()
        assert changed == [path(name)]
    for pull in pulls.values():
        stage.dana.merge(pull)
    main = stage.manifests.head("main") or ""
    assert {n: digest_in(stage.file(main, path(n))) for n in names(COUNT)} == digests

    driver.queue.waiting.clear()
    driver.run(*(driver.deliver("dev", name) for name in names(COUNT)), most=3 * COUNT)
    shown = stage.ref("dev") or ""
    assert {n: digest_in(stage.file(shown, path(n))) for n in names(COUNT)} == digests


def pushed(driver: Driver, commit: str) -> list[tuple[JobKind, str, str]]:
    """What a push of the manifests repository has looked at."""
    driver.queue.waiting.clear()
    hint = WebhookHint("push", repository="acme/deploy", ref="refs/heads/main", after=commit)
    intake(driver.ports, hint)
    return [(job.kind, job.environment, job.subject) for job in driver.queue.waiting.values()]


def test_a_push_looks_at_what_it_brings(driver: Driver) -> None:
    """Behind the promotions of the test above: an open one of each would be looked at, too."""
    stage = driver.stage
    build_all(driver, stage.commit("develop"), COUNT)
    at_once(driver, [driver.propose("dev", name) for name in names(COUNT)])
    pushed(driver, stage.manifests.head("main") or "")
    main = stage.manifests.head("main") or ""
    (one, other), mine = ("1" * 64, "2" * 64), stage.file(main, path("svc-0007"))

    changed = mine.replace(digest_in(mine) or "", f"sha256:{one}")
    looks = pushed(driver, stage.dana.push(stage.manifests, "main", {path("svc-0007"): changed}))
    assert [look for look in looks if look[2].startswith("svc")] == [
        (JobKind.DELIVER, "dev", "svc-0007"),
        (JobKind.PROPOSE, "dev", "svc-0007"),
    ]

    changed = changed.replace(one, other)
    looks = pushed(driver, stage.dana.push(stage.manifests, "main", {"README.md": "hello\n"}))
    assert [look for look in looks if look[2].startswith("svc")] == [
        (JobKind.DELIVER, "dev", "svc-0007")  # what is not shown yet is to be delivered
    ]

    rules = stage.file(main, "lockkeeper.yaml") + "# more\n"
    looks = pushed(driver, stage.dana.push(stage.manifests, "main", {"lockkeeper.yaml": rules}))
    assert len([look for look in looks if look[0] is JobKind.PROPOSE]) == COUNT


def test_a_look_with_nothing_new_starts_few_processes(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver.run(driver.propose("dev", "svc-0001"), driver.deliver("dev", "svc-0001"))
    started: list[str] = []
    execute = Git.execute

    def counted(self: Git, command: list[str], **options: object) -> object:
        started.append(command[1])
        return execute(self, command, **options)  # type: ignore[call-overload]  # whatever was asked for

    monkeypatch.setattr(Git, "execute", counted)
    for job in (driver.propose("dev", "svc-0001"), driver.deliver("dev", "svc-0001")):
        started.clear()
        at_once(driver, [job])
        assert len(started) <= 5, started
