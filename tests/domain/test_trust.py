"""Whose certificate counts; the real certificates are in tests/adapters/test_keyless.py."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, strategies as st

from bot.domain.trust import (
    GITHUB_ACTIONS,
    BuiltFrom,
    Certificate,
    IdentityRoot,
    KeyRoot,
    TrustRoots,
)

COMMIT = "c" * 40
BUILT = BuiltFrom("acme/api", 4711, COMMIT, ("main", "release/*"))
FITS = Certificate(
    issuer=GITHUB_ACTIONS,
    repository="https://github.com/acme/api",
    repository_id="4711",
    commit=COMMIT,
    ref="refs/heads/main",
    trigger="push",
    runner="github-hosted",
    workflow="https://github.com/acme/api/.github/workflows/release.yml@refs/heads/main",
)
SECURITY = IdentityRoot(repository="acme/security", repository_id=8)
THEIRS = replace(FITS, repository="https://github.com/acme/security", repository_id="8", commit="d")


def test_the_application_s_own_workflow_fits() -> None:
    assert IdentityRoot().objection(FITS, BUILT) == ""


@pytest.mark.parametrize("name", Certificate.__dataclass_fields__)
def test_nothing_that_is_not_said_fits(name: str) -> None:
    root = IdentityRoot(workflow=".github/workflows/release.yml", hosted=True)
    silent = replace(FITS, **{name: ""})

    if name == "subject":  # people read it, nothing is decided by it
        assert root.objection(silent, BUILT) == ""
    else:
        assert "nothing that it names" in root.objection(silent, BUILT)


def test_github_s_names_do_not_distinguish_case() -> None:
    assert (
        IdentityRoot().objection(replace(FITS, repository=f"{BUILT.web_url}/ACME/API"), BUILT) == ""
    )
    assert IdentityRoot(repository="ACME/api").objection(FITS, BUILT) == ""


def test_another_repository_counts_where_it_is_named() -> None:
    assert SECURITY.objection(THEIRS, BUILT) == ""
    assert "https://github.com/acme/api, not in" in SECURITY.objection(FITS, BUILT)
    assert "the id 9, not 8" in SECURITY.objection(replace(THEIRS, repository_id="9"), BUILT)


def test_a_statement_about_later_news_may_be_of_another_commit() -> None:
    later = replace(FITS, commit="d" * 40)

    assert IdentityRoot().objection(later, BUILT, of_commit=False) == ""
    assert "not " + COMMIT in IdentityRoot().objection(later, BUILT)


def test_a_ref_that_is_written_replaces_the_branches() -> None:
    root = IdentityRoot(ref="refs/tags/v*")

    assert root.objection(replace(FITS, ref="refs/tags/v1.2.0"), BUILT) == ""
    assert "not on refs/tags/v*" in root.objection(FITS, BUILT)


def test_without_branches_no_run_counts() -> None:
    said = IdentityRoot().objection(FITS, replace(BUILT, branches=()))

    assert said == "it was made on refs/heads/main, not on a branch that feeds an environment"


def test_an_installation_of_github_has_its_own_names() -> None:
    own = replace(BUILT, web_url="https://ghe.example.com", issuer="https://ghe.example.com/_oidc")
    certificate = replace(FITS, repository=own.uri, issuer=own.issuer)

    assert IdentityRoot().objection(certificate, own) == ""
    assert IdentityRoot().objection(FITS, own) != ""


@given(st.text())
def test_what_a_certificate_says_is_shown_in_one_printable_line(text: str) -> None:
    said = IdentityRoot().objection(replace(FITS, repository=text), BUILT)

    assert said.isprintable()
    assert len(said) < 400


def test_key_files_are_collected() -> None:
    roots = TrustRoots(signature=(KeyRoot("ci.pub"),), vex=(KeyRoot("sec.pub"), IdentityRoot()))

    assert roots.files == {"ci.pub", "sec.pub"}
