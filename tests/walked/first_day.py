"""docs/getting-started.md: its files are written, its service is started, its promotion happens."""

from __future__ import annotations

import configparser
import contextlib
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from bot.formats.yaml_tree import compose_all, plain
from tests.journeys import walk
from tests.walked.pages import ROOT, files
from tests.walked.walking import Walk
from tests.world.stage import ENVIRONMENTS, Bot, Stage, raised, registries
from tests.world.tools import attempt, free_port

_UNIT: Final = "/etc/systemd/system/lockkeeper.service"
_ARGO: Final = "argocd/payments-prod.yaml"


@contextlib.contextmanager
def first_day(folder: Path) -> Iterator[Walk]:
    """A reader with the files of the page, a GitHub, three registries, and no bot yet."""
    given = files(ROOT / "docs" / "getting-started.md")
    etc, state, checkout = (folder / name for name in ("etc", "state", "checkout"))
    for made in (etc, state, checkout):
        made.mkdir()
    with registries(folder / "registries") as (_, hosts):
        names = {f"registry.{name}.example.com": hosts[name] for name in ENVIRONMENTS}
        names |= {"/etc/lockkeeper": str(etc), "/var/lib/lockkeeper": str(state)}
        names["sha256:<64 hex digits>"] = f"sha256:{'a' * 64}"
        here = Walk(folder, names, place=checkout)
        manifests = {
            path: here.translated(text) for path, text in given.items() if not path.startswith("/")
        }
        with raised(folder / "stage", hosts=hosts, manifests_files=manifests, start=False) as stage:
            _settle(stage, here, given, manifests)
            yield here


def _settle(
    stage: Stage, here: Walk, given: Mapping[str, str], manifests: Mapping[str, str]
) -> None:
    """Write the files, and leave the App's key where GitHub's download is put."""
    local = stage.bot.environment
    here.names = {
        **here.names,
        "123456": local["LOCKKEEPER_APP_ID"],
        "127.0.0.1:8080": local["LOCKKEEPER_LISTEN"],
    }
    for path, text in manifests.items():
        _write(here.folder / "checkout" / path, text)
    for path, text in given.items():
        if path.startswith("/etc/lockkeeper"):
            _write(Path(here.translated(path)), here.translated(text))
    etc = Path(here.names["/etc/lockkeeper"])
    (etc / "app.pem").write_bytes((stage.directory / "app.pem").read_bytes())
    around = {
        "LOCKKEEPER_GITHUB_URL": local["LOCKKEEPER_GITHUB_URL"],
        "LOCKKEEPER_BOARD_LISTEN": f"127.0.0.1:{free_port()}",
    }
    here.environment = around
    here.effect = {
        "systemctl enable --now lockkeeper": lambda: _serve(stage, here, given[_UNIT], around)
    }
    here.then = lambda: _promote(stage, etc, given[_ARGO])


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _serve(stage: Stage, here: Walk, unit: str, around: Mapping[str, str]) -> None:
    """What systemd makes of the unit: its environment, its command."""
    found = configparser.ConfigParser(strict=True, interpolation=None)
    found.optionxform = str  # type: ignore[assignment,method-assign]  # systemd minds the case
    found.read_string(unit)
    service = found["Service"]
    settings = dict(
        line.split("=", 1)
        for line in Path(here.translated(service["EnvironmentFile"])).read_text().splitlines()
    )
    name, _, value = here.translated(service["Environment"]).partition("=")
    assert service["ExecStart"] == "/opt/lockkeeper/bin/lockkeeper serve"
    assert f"/var/lib/{service['StateDirectory']}" == "/var/lib/lockkeeper"
    secret = Path(settings["LOCKKEEPER_WEBHOOK_SECRET_FILE"]).read_text().strip()
    for app in stage.github.state.apps.values():  # the form on GitHub's page is filled in
        app.webhook_secret = secret
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": settings["LOCKKEEPER_DATA_DIR"],
        **settings,
        name: value,
        **around,
        "LOCKKEEPER_PUBLISH_INTERVAL_SECONDS": "1",
        "LOCKKEEPER_PROPOSE_INTERVAL_SECONDS": "1",
    }
    stage.bot = Bot(
        environment, here.folder / "bot.log", around["LOCKKEEPER_BOARD_LISTEN"], is_executed=True
    )
    stage.bot.start()
    # The App was installed when the stage was raised; that GitHub says so counts from here.
    webhooks = stage.github.webhooks
    webhooks.redeliver(webhooks.log[0])
    webhooks.wait_until_delivered()


def _promote(stage: Stage, etc: Path, argo: str) -> None:
    """The promotion that the page tells of, and what its other files promise."""
    open_to_others = [
        path for path in etc.rglob("*") if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)
    ]
    walked = walk.to_prod(stage)
    key = ["--key", str(etc / "prod-signing.pub")]
    reference = f"{stage.hosts['prod']}/acme/payments@{walked.image.digest}"
    verified = attempt(
        "cosign3", "verify", *key, "--insecure-ignore-tlog=true", "--allow-http-registry", reference
    )
    application = plain(compose_all(argo, _ARGO)[0], _ARGO).value

    assert open_to_others == []
    assert verified.returncode == 0, verified.stderr
    assert isinstance(application, dict)
    assert stage.ref("prod")
