"""What a promotion says of itself, asked of a real mirror, the local GitHub and a registry."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.world.driver import Driver, driven
from tests.world.images import build_image
from tests.world.stage import PIPELINE

pytestmark = pytest.mark.slow

WATCHING = PIPELINE.replace(
    "  source: acme/{{application}}\n",
    "  source: acme/{{application}}\n"
    "  watch: [migrations/**]\n"
    "  issues:\n"
    '    - "PAY-{{number}}"\n'
    '    - {{ key: "OPS-{{number}}", link: "https://ops.example/{{number}}" }}\n',
)


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    with driven(tmp_path, pipeline=WATCHING) as up:
        up.look_first()
        yield up


def body(driver: Driver) -> str:
    """Of the newest pull request."""
    pulls = driver.stage.manifests.pulls
    newest = max(pulls.values(), key=lambda one: one.number) if pulls else None
    assert newest is not None, driver.ran
    return newest.body or ""


def built(driver: Driver, commit: str, user: str) -> None:
    labels = {"org.opencontainers.image.revision": commit}
    image = build_image(
        labels=labels,
        seed=int(commit[:8], 16),
        layer_size=2000,
        runs={"User": user, "ExposedPorts": {"8080/tcp": {}}, "Env": ["SECRET=never shown"]},
    )
    image.push(driver.stage.hosts["dev"], "acme/payments", f"sha-{commit[:7]}")


def test_what_a_promotion_says_of_the_past_and_the_source(driver: Driver) -> None:
    stage = driver.stage
    built(driver, stage.commit("develop", {"migrations/0001.sql": "one"}), "1000")
    driver.run(driver.propose("dev"))
    first = body(driver)
    driver.run(driver.deliver("dev"), driver.publish("dev"))
    stage.dana.push(
        stage.source,
        "feature",
        {"migrations/0002.sql": "two", "migrations/0001.sql": None},
        parent=stage.source.head("develop"),
        message="Add a lock\n\nCloses PAY-7; see REPAY-8",
    )
    pull = stage.dana.open_pull_request(
        stage.source, "feature", base="develop", title="OPS-3: a lock"
    )
    stage.dana.merge(pull, "merge")
    head = stage.source.head("develop") or ""
    built(driver, head, "0")
    driver.run(driver.propose("dev"))
    second = body(driver)

    assert "Nothing runs there yet" in first
    assert "migrations" not in first
    assert f"**Asked by** `dana`, who moved `develop` to [`{head[:7]}`]" in second
    assert f"with pull request {pull.number}" in second
    assert "⚠️ **2 files under `migrations/**` change:**" in second
    assert "- `migrations/0001.sql` removed\n- `migrations/0002.sql` added" in second
    assert "**Issues:** [`OPS-3`](https://ops.example/3), `PAY-7`" in second
    assert "REPAY" not in second
    assert "- ⚠️ **User**: `1000` → `0`" in second
    assert "never shown" not in second
    assert "The running version came on 20" in second
    assert "(today). Rollback ready: `/rollback` here goes back to it: [`" in second
    assert "- **Built by**: not known: the image carries no provenance\n" in second


def test_a_merged_branch_names_its_issue_and_one_that_is_only_opened_does_not(
    driver: Driver,
) -> None:
    """Anybody may open a pull request of a commit that is there already, and call it anything."""
    stage = driver.stage
    built(driver, stage.commit("develop", {"app.py": "one"}), "1000")
    driver.run(driver.propose("dev"), driver.deliver("dev"), driver.publish("dev"))
    now = stage.source.head("develop")
    branch = "feature/PAY-41-lock"
    stage.dana.push(stage.source, branch, {"lock.py": "x"}, parent=now, message="Add it")
    pull = stage.dana.open_pull_request(stage.source, branch, base="develop", title="A lock")
    stage.dana.merge(pull, "squash")
    head = stage.commit("develop", {"app.py": "two"})
    stage.dana.push(stage.source, "PAY-98-x", {"other.py": "x"}, parent=head, message="x")
    stage.dana.open_pull_request(stage.source, "PAY-98-x", base="main", title="PAY-99")
    built(driver, head, "1000")
    driver.run(driver.propose("dev"))

    second = body(driver)

    assert "**2 commits in 1 pull request**" in second
    assert "**Issues:** `PAY-41`\n" in second
    assert "PAY-9" not in second
