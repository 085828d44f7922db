"""The author of a fork: may open pull requests, with branches named like the bot's."""

from __future__ import annotations

from bot.domain.environments import GitHubRepository
from tests.attacks.steps import asked_for_prod, head, to_stage, wish
from tests.world.driver import Driver


def test_a_fork_in_the_organisation_does_not_stand_in_for_the_bots_branch(driver: Driver) -> None:
    """GitHub's filter ``head=acme:branch`` names an owner, whose forks have that branch too."""
    stage, (_, image) = driver.stage, to_stage(driver)
    eve = stage.github.add_user("eve", outsider=True)
    fork = stage.github.fork(stage.manifests, eve)
    files = {"x.md": "x", **wish(driver, "sha256:" + "f" * 64)}
    eve.push(fork, "lockkeeper/prod/payments", dict(files), parent=head(driver))
    foreign = eve.open_pull_request(stage.manifests, "eve:lockkeeper/prod/payments")
    fork.owner, fork.name = stage.manifests.owner, "deploy-fork"

    asked_for_prod(driver)

    own = [
        one
        for one in stage.manifests.open_pulls()
        if one.head_repository is stage.manifests and one.head_ref == "lockkeeper/prod/payments"
    ]
    assert len(own) == 1
    assert image in stage.file(own[0].head, "envs/prod/kustomization.yaml")
    assert foreign.state == "open"
    listed = driver.ports.github.pull_requests(
        GitHubRepository("acme", "deploy"), state="open", head="lockkeeper/prod/payments"
    )
    assert [one.number for one in listed] == [own[0].number]
