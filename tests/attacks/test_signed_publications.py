"""Whoever pushes to an environment ref: Argo CD demands a signature that only the bot can make."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from pysequoia import Tsk

from bot.adapters.signing.openpgp import load_commit_key
from bot.domain.errors import ConfigurationError
from tests.attacks.steps import settle
from tests.world.driver import Driver
from tests.world.tools import attempt, installed, missing

USER = "Lockkeeper of acme <lockkeeper@acme.example>"


@pytest.fixture(scope="module")
def key() -> bytes:
    return str(Tsk.generate(USER)).encode()


@pytest.fixture
def keyring(tmp_path_factory: pytest.TempPathFactory, key: bytes) -> Iterator[dict[str, str]]:
    """What git needs to verify: the public half, as Argo CD is given it, and nothing else."""
    if installed("gpg") is None:
        missing("the tool gpg is missing; run: apt-get install gnupg")
    home = tmp_path_factory.mktemp("gpg")
    home.chmod(0o700)
    public = home / "public.asc"
    public.write_bytes(str(Tsk.from_bytes(key).extract_certificate()).encode())
    environment = {**os.environ, "GNUPGHOME": str(home)}
    done = attempt("gpg", "--batch", "--quiet", "--import", str(public), environment=environment)
    assert done.returncode == 0, done.stderr
    yield environment
    attempt("gpgconf", "--kill", "all", environment=environment)


def verifies(folder: Path, commit: str, keyring: dict[str, str]) -> bool:
    """The verdict of the real git."""
    done = subprocess.run(
        ["git", "--git-dir", str(folder), "verify-commit", commit],
        env=keyring,
        capture_output=True,
        check=False,
    )
    return done.returncode == 0


def grant(driver: Driver, key: bytes, environment: str = "dev") -> Path:
    """Put the publication key where the operator puts it."""
    grants = next(iter((driver.stage.directory / "grants").rglob(environment)))
    (grants / "publication.asc").write_bytes(key)
    return grants


def test_publications_are_signed_and_others_are_not(
    driver: Driver, key: bytes, keyring: dict[str, str]
) -> None:
    stage = driver.stage
    driver.look_first()
    unsigned = stage.ref("dev")
    grant(driver, key)
    digest = driver.build(stage.source, stage.commit("develop"))
    driver.run(driver.propose("dev"))
    settle(driver, "dev")
    tip, folder = stage.ref("dev") or "", stage.manifests.git.path

    assert driver.shown("dev") == digest
    assert verifies(folder, tip, keyring)
    assert not verifies(folder, unsigned or "", keyring)
    foreign = stage.dana.push(stage.manifests, "env/dev", {"evil.md": "x"}, parent=tip)
    assert not verifies(folder, foreign, keyring)

    with driver.app.database.begin() as connection:
        connection.exec_driver_sql("DELETE FROM lk_publication")
    stage.manifests.git.run("update-ref", "refs/heads/env/dev", tip)
    assert tip[:7] in driver.look().cut_off, "ours by its signature, where GitHub vouches for none"


def test_a_signature_of_another_key_or_text_is_none(key: bytes) -> None:
    own = load_commit_key(key, "publication.asc")
    other = load_commit_key(str(Tsk.generate(USER)).encode(), "publication.asc")
    signature = own.sign(b"tree x").encode()

    assert own.verifies(b"tree x", signature)
    assert not own.verifies(b"tree y", signature)
    assert not other.verifies(b"tree x", signature)
    assert not own.verifies(b"tree x", b"-----BEGIN SSH SIGNATURE-----\n")
    assert (own.name, own.email) == ("Lockkeeper of acme", "lockkeeper@acme.example")


@pytest.mark.parametrize(
    ("content", "fact"),
    [
        (b"no key", "not a private OpenPGP key"),
        (str(Tsk.generate(USER).extract_certificate()).encode(), "not a private OpenPGP key"),
        (str(Tsk.generate("nobody")).encode(), "its user id is not NAME <EMAIL>"),
    ],
    ids=["text", "public", "nameless"],
)
def test_what_is_no_publication_key_says_so(content: bytes, fact: str) -> None:
    with pytest.raises(ConfigurationError, match=fact):
        load_commit_key(content, "publication.asc")
