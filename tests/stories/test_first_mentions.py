"""What names an image of ours and is no place holds a first publication, like any later one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.domain.jobs import Done
from bot.facts.ref_snapshot import RefSnapshot
from bot.reconcilers.operator import Request, adopt
from bot.reconcilers.publication.last_look import unproven_mentions
from tests.world.driver import Driver, driven

pytestmark = pytest.mark.slow
NOTE = "envs/prod/note.yaml"


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    with driven(tmp_path) as up:
        yield up


def mention(driver: Driver, tag: str) -> dict[str, str]:
    text = f"run {driver.stage.hosts['prod']}/acme/payments:{tag}"
    return {NOTE: f"kind: ConfigMap\nmetadata: {{name: note}}\ndata: {{text: '{text}'}}\n"}


def publish(driver: Driver) -> str:
    driver.ran.clear()
    driver.run(driver.publish("prod"))
    return driver.ran[0][1].summary


def test_a_first_publication_waits_until_somebody_takes_it_over(driver: Driver) -> None:
    stage = driver.stage
    stage.dana.push(stage.manifests, "main", dict(mention(driver, "v1")))

    waits = publish(driver)

    assert NOTE in waits
    assert "lockkeeper adopt prod" in waits
    assert stage.ref("prod") is None

    adopt(Request(driver.ports, ("prod",), "olga", lambda _key: False))
    assert "published" in publish(driver)
    assert (entry := driver.ports.audit.entries()[-1]).kind == "published", entry
    adopted = [e for e in driver.ports.audit.entries() if e.kind == "adopted"]
    assert adopted[-1].facts["mentions"] == "1"

    stage.dana.push(stage.manifests, "main", dict(mention(driver, "v2")))
    assert "merges wait" in publish(driver)
    assert ":v1" in stage.file(stage.ref("prod") or "", NOTE)


def test_the_last_look_asks_the_new_tree_itself(driver: Driver) -> None:
    """Whatever was decided, a mention that the last publication lacks is not written."""
    stage = driver.stage
    driver.look_first()
    old = stage.ref("prod") or ""
    head = stage.dana.push(stage.manifests, "main", dict(mention(driver, "v1")))
    view = driver.look()
    records = [*driver.ports.memory.latest_publications(view.scope("prod"))][::-1]
    desk = RefSnapshot(view, view.environment("prod"), old, records[-1])

    found = unproven_mentions(desk, head)

    assert len(found) == 1
    assert NOTE in found[0]
    assert unproven_mentions(desk, old) == []
    assert isinstance(driver.ran[0][1], Done)


def test_a_digest_of_ours_under_another_name_is_a_mention(driver: Driver) -> None:
    stage = driver.stage
    driver.look_first()
    digest = driver.build(stage.source, stage.commit("develop"))
    driver.run(driver.propose("dev"))
    pod = "kind: Pod\nspec: {containers: [{name: a, image: 'mirror.example.com/cache/x@%s'}]}\n"
    files = {"envs/prod/pod.yaml": pod % digest}
    stage.dana.push(stage.manifests, "change", dict(files))
    pull = stage.dana.open_pull_request(stage.manifests, "change")

    driver.run(driver.answer(str(pull.number)))

    checks = stage.checks(stage.manifests, stage.manifests.head("change") or "")
    assert checks["lockkeeper"] == ("failure", "An image stands where it cannot be sealed")
    stage.dana.push(stage.manifests, "main", dict(files))
    waits = publish(driver)
    assert "a digest of payments/payments, where no place is known" in waits
    comment: dict[str, str | bytes | None] = {
        "envs/prod/note.yaml": f"# {digest}\na: 1\n",
        "envs/prod/pod.yaml": None,
    }
    stage.dana.push(stage.manifests, "main", comment)
    assert "published" in publish(driver)
