"""docs/running.md: how the bot reaches GitHub where the way is not the usual one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.journeys import walk
from tests.walked.pages import ROOT, files
from tests.world.false_internet import behind_tls, certificate, proxy_to
from tests.world.stage import Stage, raised

HOST = "github.example.com"
"""No name server knows it: whoever reaches it came through the proxy."""


def settings(name: str, **local: str) -> dict[str, str]:
    """A file of the page, with the local world in place of some values."""
    text = files(ROOT / "docs" / "running.md")[name]
    found = dict(line.split("=", 1) for line in text.splitlines())
    assert local.keys() <= found.keys()
    return {**found, **local}


def doctor(stage: Stage, *, without: str = "") -> dict[str, str]:
    """The worst severity of each kind of finding."""
    environment = stage.bot.environment
    left = {name: value for name, value in environment.items() if name != without}
    stage.bot.environment = left
    try:
        answer = json.loads(stage.bot.command("doctor", "--json").stdout)
    finally:
        stage.bot.environment = environment
    return {one["id"]: one["severity"] for one in reversed(answer["findings"])}


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A stage whose GitHub is an Enterprise Server with a private CA behind a proxy."""
    directory = tmp_path_factory.mktemp("far")
    made = certificate(directory, HOST)
    with raised(directory / "stage", start=False) as stage:
        port = urlsplit(stage.github.url).port or 0
        with behind_tls(made, port) as secured, proxy_to(secured) as proxy:
            authority = str(made.authority)
            stage.bot.environment |= settings(
                "behind-a-proxy.env",
                HTTPS_PROXY=proxy,
                REQUESTS_CA_BUNDLE=authority,
                GIT_SSL_CAINFO=authority,
            )
            stage.bot.start()
            yield stage
            stage.bot.stop()


def test_a_promotion_goes_through_a_proxy_to_a_server_with_a_private_ca(far: Stage) -> None:
    assert far.bot.environment["LOCKKEEPER_GITHUB_URL"] == f"https://{HOST}"

    _, image = walk.to_dev(far)

    assert far.published("dev") == image.digest


@pytest.mark.parametrize(
    ("line", "api", "git"),
    [
        ("", "ok", "ok"),
        ("HTTPS_PROXY", "unknown", None),
        ("REQUESTS_CA_BUNDLE", "unknown", None),
        ("GIT_SSL_CAINFO", "ok", "unknown"),
    ],
)
def test_each_line_is_needed_there(far: Stage, line: str, api: str, git: str | None) -> None:
    found = doctor(far, without=line)

    assert (found["github.api"], found.get("manifests.fetch")) == (api, git)


def test_a_promotion_needs_no_webhook(tmp_path: Path) -> None:
    local = {"LOCKKEEPER_RECONCILE_SECONDS": "1"}
    with raised(tmp_path, start=False) as stage:
        listen = stage.bot.environment["LOCKKEEPER_LISTEN"]
        assert settings("without-webhooks.env")["LOCKKEEPER_LISTEN"] == "127.0.0.1:8080"
        stage.bot.environment |= settings("without-webhooks.env", LOCKKEEPER_LISTEN=listen, **local)
        for app in stage.github.state.apps.values():
            app.webhook_url = ""
        stage.bot.start()
        walk.looked_at(stage)

        _, image = walk.to_dev(stage)

        assert stage.published("dev") == image.digest
        assert doctor(stage)["webhooks.deliveries"] == "warning"
