"""No secret is ever said, whatever goes wrong."""

from __future__ import annotations

import base64
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest
import requests

from tests.journeys import walk
from tests.journeys.conftest import Raise
from tests.world.github.faults import When
from tests.world.registry import Registry, error
from tests.world.stage import ENVIRONMENTS, PASSWORD, SECRET, Stage

LOGIN = "robot:password-of-the-registry-robot"


class Watch:
    """Reads the command lines of the bot and of its children, as anybody on the machine may."""

    def __init__(self) -> None:
        self.seen: set[bytes] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stop.wait(0.004):
            for process in Path("/proc").iterdir():
                with contextlib.suppress(OSError):  # no process, or one that ends at this moment
                    self.seen.add((process / "cmdline").read_bytes())


def secrets(stage: Stage) -> dict[str, bytes]:
    """What must not be found, by a piece of each that is not found by chance."""
    key = (stage.directory / "app.pem").read_bytes().splitlines()[5]
    signing = (stage.directory / "grants" / "prod" / "signing.key").read_bytes().splitlines()[3]
    password = LOGIN.partition(":")[2].encode()
    found = {
        "the App's private key": key,
        "the webhook secret": SECRET.encode(),
        "the signing key": signing,
        "the signing key's password": PASSWORD,
        "the registry's password": password,
        "the registry's login": base64.b64encode(LOGIN.encode()),
    }
    for number, token in enumerate(stage.github.state.tokens):
        found[f"installation token {number}"] = token.encode()
    for environment, registry in REGISTRIES.items():
        for number, token in enumerate(registry.tokens):
            found[f"token {number} of {environment}'s registry"] = token.encode()
    return found


REGISTRIES: dict[str, Registry] = {}


@pytest.fixture
def guarded(raise_stage: Raise) -> Iterator[Stage]:
    """A stage whose registries ask for a login."""
    with contextlib.ExitStack() as stack:
        name, _, password = LOGIN.partition(":")
        for environment in ENVIRONMENTS:
            registry = Registry(login="bearer", users={name: password})
            REGISTRIES[environment] = stack.enter_context(registry)
        hosts = {environment: registry.host for environment, registry in REGISTRIES.items()}
        yield stack.enter_context(raise_stage(hosts=hosts, login=LOGIN, executed=True))


def go_wrong(stage: Stage, *faults: tuple[str, str, int, When]) -> None:
    for method, path, status, when in faults:
        headers = {"Retry-After": "1"} if status in {403, 429} else {}
        stage.github.fail(method, path, status, when=when, headers=headers)


def published_words(stage: Stage) -> bytes:
    """Everything that people can read on GitHub."""
    words: list[str] = []
    for repository in (stage.manifests, stage.source):
        for pull in repository.pulls.values():
            words += [pull.title, pull.body or "", *(comment.body for comment in pull.comments)]
        words += [str(found.output) for found in repository.check_runs.values()]
        for deployment in repository.deployments.values():
            words += [status.description for status in deployment.statuses]
        words.append(repository.git.text("log", "--all", "--format=%B"))
    return "\n".join(words).encode()


def test_no_secret_is_found_anywhere_after_a_journey_with_faults(guarded: Stage) -> None:
    stage = guarded
    with Watch() as watch:
        go_wrong(
            stage,
            ("POST", "/repos/*/git/trees", 502, "before"),
            ("POST", "/repos/*/check-runs", 500, "after"),
            ("POST", "/app/installations/*/access_tokens", 502, "before"),
        )
        commit = stage.commit("develop")
        for registry in REGISTRIES.values():
            registry.login = "none"
        image = stage.build(commit)
        for registry in REGISTRIES.values():
            registry.login = "bearer"
        stage.wait_published("dev", image.digest)
        go_wrong(
            stage,
            ("GET", "/repos/*/pulls", 429, "before"),
            ("POST", "/repos/*/pulls", 502, "after"),
            ("POST", "/repos/*/git/commits", 403, "before"),
        )
        stage.dana.merge(walk.propose_stage(stage, commit))
        stage.wait_published("stage", image.digest)
        walk.release(stage)
        pull = walk.promotion(stage, "prod")
        go_wrong(
            stage,
            ("POST", "/repos/*/deployments", 500, "after"),
            ("POST", "/repos/*/git/refs", 0, "before"),
            ("PATCH", "/repos/*/git/refs/*", 502, "after"),
        )
        REGISTRIES["prod"].on("POST", "", error(503, "UNAVAILABLE"), times=2)
        stage.rita.approve(pull)
        stage.dana.merge(pull)
        stage.wait_published("prod", image.digest)
        walk.settled(stage)
        figures = requests.get(f"http://{stage.bot.board}/metrics", timeout=10).content
        data = [path for path in (stage.directory / "data").rglob("*") if path.is_file()]
        kept = {str(path.relative_to(stage.directory)): path.read_bytes() for path in data}

    places = {
        **kept,
        "the log": stage.bot.log.read_bytes(),
        "GitHub": published_words(stage),
        "the metrics": figures,
        "command lines": b"\n".join(watch.seen),
    }
    assert any(name.endswith("-wal") for name in places)
    assert b"lockkeeper_registry_requests_total" in figures
    assert any(registry.tokens for registry in REGISTRIES.values())
    assert [
        (what, where)
        for what, secret in secrets(stage).items()
        for where, content in places.items()
        if secret in content
    ] == []
