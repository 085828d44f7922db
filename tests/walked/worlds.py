"""The local world in which each page's commands are typed."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tests.journeys import walk
from tests.walked.first_day import first_day
from tests.walked.pages import ROOT, files
from tests.walked.upkeep import upkeep
from tests.walked.walking import Walk
from tests.world.github.records import PullRequest
from tests.world.images import PLATFORMS, BuiltImage
from tests.world.keys import generate_key_pair
from tests.world.scanners import (
    CANARY,
    open_folder,
    packaged_image,
    placed,
    write_trivy_database,
)
from tests.world.stage import ENVIRONMENTS, PIPELINE, Stage, raised
from tests.world.tools import tool

_DEBIAN: Final = {"openssl": "3.0.11-1~deb12u2", "base-files": "12.4"}


@dataclass(frozen=True)
class Promoted:
    """A stage where one image was promoted to prod."""

    stage: Stage
    image: BuiltImage
    commit: str
    """Of the source."""


Town = Callable[[], Promoted]
"""Raised when somebody asks for it first."""


@contextlib.contextmanager
def promoted(directory: Path) -> Iterator[Promoted]:
    """One image in prod, past a real Trivy and the policy of docs/policy.md for Trivy alone."""
    policy = files(ROOT / "docs" / "policy.md")["policy.yaml"]
    pipeline = f"policy: policy.yaml\n{PIPELINE}"
    with open_folder() as folder:
        database = write_trivy_database(folder / "db", CANARY, datetime.now(UTC))
        variables = {
            "LOCKKEEPER_SCANNER": str(placed(tool("trivy"), folder)),
            "LOCKKEEPER_SCANNER_DATABASE": str(database),
        }
        with raised(
            directory,
            pipeline=pipeline,
            manifests_files={"policy.yaml": policy},
            variables=variables,
        ) as stage:
            stage.patience = 90  # a real scanner
            yield _promote(stage)


def _promote(stage: Stage) -> Promoted:
    """The main path; each promotion past the policy."""
    commit = stage.commit("develop")
    labels = {"org.opencontainers.image.revision": commit}
    image = packaged_image(_DEBIAN, {"lodash": "4.17.21"}, PLATFORMS, labels)
    stage.push_image(image, commit)
    stage.wait_published("dev", image.digest)
    _merge(stage, walk.propose_stage(stage, commit))
    stage.wait_published("stage", image.digest)
    walk.release(stage)
    pull = walk.promotion(stage, "prod")
    stage.rita.approve(pull)
    _merge(stage, pull)
    stage.wait_published("prod", image.digest)
    walk.settled(stage)
    return Promoted(stage, image, commit)


def _merge(stage: Stage, pull: PullRequest) -> None:
    said = walk.check(stage, pull.head, "success")
    assert "not evaluated" not in said.lower(), said
    stage.dana.merge(pull)


def names_of(stage: Stage) -> dict[str, str]:
    """What pages write -> what it is on the stage."""
    hosts = {f"registry.{name}.example.com": stage.hosts[name] for name in ENVIRONMENTS}
    return {**hosts, "/etc/lockkeeper": str(stage.directory)}


def _ordinary(walked: Promoted, folder: Path) -> Walk:
    """In a checkout of the manifests repository, with prod's keys at hand."""
    stage = walked.stage
    for name in ("lockkeeper.yaml", "policy.yaml"):
        (folder / name).write_text(stage.file("main", name))
    grant = stage.directory / "grants" / "prod"
    for name in ("signing.key", "signing.password", "attest.key"):
        shutil.copy(grant / name, folder / name)
    (folder / "attest.password").write_bytes(b"")
    names = {
        **names_of(stage),
        "sha256:<digest>": walked.image.digest,
        "<40 hex digits>": walked.commit,
        "123456": stage.bot.environment["LOCKKEEPER_APP_ID"],
    }
    return Walk(folder, names, dict(stage.bot.environment))


@contextlib.contextmanager
def _read_me(town: Town, folder: Path) -> Iterator[Walk]:
    """`make` says what it would do: CI runs both targets, `make demo` as a test of its own."""
    walked = town()
    walked.stage.bot.stop()
    here = _ordinary(walked, folder)
    here.place = ROOT
    here.environment["MAKEFLAGS"] = "n"
    try:
        yield here
    finally:
        walked.stage.bot.start()


@contextlib.contextmanager
def _checkout(town: Town, folder: Path) -> Iterator[Walk]:
    yield _ordinary(town(), folder)


@contextlib.contextmanager
def _misspelt(town: Town, folder: Path) -> Iterator[Walk]:
    """With one manifests repository whose name is wrong."""
    here = _ordinary(town(), folder)
    here.environment["LOCKKEEPER_MANIFESTS"] = "acme/deplyo acme/deploy"
    yield here


@contextlib.contextmanager
def _scanning(town: Town, folder: Path) -> Iterator[Walk]:
    """With the page's policy, two images of a shop, and Trivy with a database of our own."""
    walked = town()
    here = _ordinary(walked, folder)
    for path, content in files(ROOT / "docs" / "policy.md").items():
        (folder / path).write_text(content)
    names = dict(here.names)
    for age, version in (("old", "3.0.11-1~deb12u1"), ("new", "3.0.11-1~deb12u2")):
        debian = {**_DEBIAN, "openssl": version}
        image = packaged_image(debian, {}, PLATFORMS, {})
        image.push(walked.stage.hosts["dev"], "shop", age)
        names["registry.dev.example.com/acme/payments@sha256:<digest>"] = (
            f"{walked.stage.hosts['dev']}/shop@{image.digest}"
        )
        names[f"registry.example.com/shop@sha256:<{age} digest>"] = (
            f"{walked.stage.hosts['dev']}/shop@{image.digest}"
        )
    shutil.copytree(here.environment["LOCKKEEPER_SCANNER_DATABASE"], folder / "trivy")
    (folder / "ci.key").write_bytes(generate_key_pair(cost=32768).private)
    here.names = names
    here.environment |= trivy_offline(folder / "trivy")
    yield here


def trivy_offline(database: Path) -> dict[str, str]:
    """For a Trivy that asks nobody, and a cosign whose key has no password."""
    return {
        "TRIVY_CACHE_DIR": str(database),
        "TRIVY_SKIP_DB_UPDATE": "true",
        "TRIVY_SKIP_JAVA_DB_UPDATE": "true",
        "TRIVY_SKIP_VERSION_CHECK": "true",
        "TRIVY_OFFLINE_SCAN": "true",
        "COSIGN_PASSWORD": "",
    }


@contextlib.contextmanager
def _first_day(_town: Town, folder: Path) -> Iterator[Walk]:
    with first_day(folder) as here:
        yield here


@contextlib.contextmanager
def _upkeep(_town: Town, folder: Path) -> Iterator[Walk]:
    with upkeep(folder) as here:
        yield here


@contextlib.contextmanager
def _pipeline_file(_town: Town, folder: Path) -> Iterator[Walk]:
    """With the pipeline file of the guide, and nothing that runs."""
    given = files(ROOT / "docs" / "getting-started.md")
    (folder / "lockkeeper.yaml").write_text(given["lockkeeper.yaml"])
    yield Walk(folder, {})


WORLDS: Final[dict[str, Callable[[Town, Path], AbstractContextManager[Walk]]]] = {
    "README.md": _read_me,
    "docs/ci.md": _pipeline_file,
    "docs/doctor.md": _misspelt,
    "docs/getting-started.md": _first_day,
    "docs/pipeline-file.md": _checkout,
    "docs/policy.md": _scanning,
    "docs/running.md": _upkeep,
    "docs/verify.md": _checkout,
}
