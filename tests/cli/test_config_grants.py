"""``lockkeeper config check --grants``: the file and the operator's folder, held together."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bot.cli.plan import config
from tests.world.keys import generate_key_pair

PIPELINE = """\
version: 1
environments:
  prod:
    on: {branches: [main]}
    image_repository: prod.example.com/acme/{image}
    manifests: [prod/**]
    sign: true
applications: {api: {source: acme/api}}
"""
PAIR, OTHER = (generate_key_pair(cost=32768) for _ in range(2))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    grant = tmp_path / "grants" / "prod"
    grant.mkdir(parents=True)
    (grant / "registry.json").write_text('{"auths": {"prod.example.com": {}}}')
    (grant / "signing.key").write_bytes(PAIR.private)
    (grant / "attest.key").write_bytes(OTHER.private)
    (tmp_path / "grants" / "sources").write_text("acme/*\n")
    (tmp_path / "lockkeeper.yaml").write_text(PIPELINE)
    return tmp_path


def check(folder: Path, *more: str) -> Result:
    words = ["check", f"{folder}/lockkeeper.yaml", f"--grants={folder}/grants", *more]
    return CliRunner().invoke(config, words)


def test_a_file_within_its_grants_is_valid(folder: Path) -> None:
    done = check(folder, "--manifests=acme/deploy")

    assert done.exit_code == 0, done.output


def test_one_key_with_two_roles_is_refused(folder: Path) -> None:
    (folder / "grants" / "prod" / "attest.key").write_bytes(PAIR.private)

    done = check(folder, "--manifests=acme/deploy")

    assert done.exit_code == 2
    assert "signing.key of environment 'prod' and attest.key of environment 'prod'" in done.output
    assert "one public key" in done.output


@pytest.mark.parametrize(
    ("granted", "pattern", "refused"),
    [
        ("acme", "acme/{image}", ""),
        ("acme/api", "acme/{image}", ""),
        ("acme/web", "acme/{image}", "prod.example.com/acme/api"),
        ("acme/ap", "acme/{image}", "prod.example.com/acme/api"),
        ("acme", "acme-{image}", "prod.example.com/acme-api"),
        ("prod", "{environment}/{image}", ""),
        ("api", "{application}/{image}", ""),
        ("api", "{image}", ""),
        ("web", "{image}", "prod.example.com/api"),
    ],
)
def test_folders_and_single_repositories_are_granted(
    folder: Path, granted: str, pattern: str, refused: str
) -> None:
    auths = f'{{"auths": {{"prod.example.com/{granted}": {{}}}}}}'
    (folder / "grants" / "prod" / "registry.json").write_text(auths)
    (folder / "lockkeeper.yaml").write_text(PIPELINE.replace("acme/{image}", pattern))

    done = check(folder, "--manifests=acme/deploy")

    assert done.exit_code == (2 if refused else 0), done.output
    assert refused in done.output


def test_a_host_that_is_not_granted_is_refused(folder: Path) -> None:
    (folder / "grants" / "prod" / "registry.json").write_text('{"auths": {"else.example": {}}}')

    done = check(folder, "--manifests=acme/deploy")

    assert done.exit_code == 2
    assert "prod.example.com" in done.output


def test_grants_need_to_know_whose(folder: Path) -> None:
    assert check(folder).exit_code == 2
