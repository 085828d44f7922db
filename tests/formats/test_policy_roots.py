"""Whose word counts, as the policy file says it."""

from __future__ import annotations

import pytest

from bot.domain.errors import ConfigurationError
from bot.domain.policy import EnvironmentPolicy
from bot.domain.trust import IdentityRoot, KeyRoot, TrustRoots
from bot.formats.policy_file import read_policy

HEAD = "version: 1\nenvironments:\n  prod:\n"


def policy(*lines: str) -> EnvironmentPolicy:
    text = HEAD + "".join(f"    {line}\n" for line in lines)
    return read_policy(text, file="policy.yaml")["prod"]


def test_what_is_not_written_is_the_application_s_own() -> None:
    for found in (policy("when_not_evaluated: warn"), policy("require: { signature: true }")):
        assert found.roots == TrustRoots()
        assert found.roots.signature == (IdentityRoot(),)


def test_keys_and_identities() -> None:
    found = policy(
        "require:",
        "  signature: [{ key: keys/ci.pub }, { key: keys/new.pub }]",
        "  provenance: { workflow: .github/workflows/release.yml, builder: github-hosted }",
        "  sbom: { repository: acme/builds, repository_id: 7, ref: main, issuer: 'https://i.x' }",
        "vex: { identities: [acme/security, { key: keys/sec.pub }] }",
    )

    assert found.roots == TrustRoots(
        signature=(KeyRoot("keys/ci.pub"), KeyRoot("keys/new.pub")),
        provenance=(IdentityRoot(workflow=".github/workflows/release.yml", hosted=True),),
        sbom=(IdentityRoot("https://i.x", "acme/builds", 7, ref="main"),),
        vex=(IdentityRoot(repository="acme/security"), KeyRoot("keys/sec.pub")),
    )
    required = found.required
    assert (required.signature, required.provenance, required.sbom) == (True, True, True)


@pytest.mark.parametrize(
    ("written", "required", "vouched"),
    [
        ("false", False, False),
        ("true", True, False),
        ("every-platform", True, False),
        ("{ builder: github-hosted }", True, True),
        ("[{ key: ci.pub }]", True, True),
    ],
)
def test_an_sbom_with_a_root_has_to_be_signed(
    written: str, *, required: bool, vouched: bool
) -> None:
    found = policy(f"require: {{ sbom: {written} }}").required

    assert (found.sbom, found.vouched_sbom) == (required, vouched)


def test_attested_reports_count_where_a_root_is_named_and_their_age_is_limited() -> None:
    own = policy("scan: { attested: true, max_report_age: 24h }")
    key = policy("scan: { attested: { key: ci.pub }, max_report_age: 24h }")

    assert policy("scan: { max_report_age: 24h }").roots.scan == ()
    assert own.roots.scan == (IdentityRoot(),)
    assert key.roots.scan == (KeyRoot("ci.pub"),)
    assert key.roots.files == {"ci.pub"}
    with pytest.raises(ConfigurationError, match="write max_report_age: 24h beside it"):
        policy("scan: { attested: true }")


@pytest.mark.parametrize(("accept", "counts"), [("[policy-repo]", False), ("[signed]", True)])
def test_signed_vex_counts_where_it_is_accepted(accept: str, *, counts: bool) -> None:
    assert policy(f"vex: {{ accept: {accept} }}").accepts_signed_vex is counts


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("{ repository: 'acme/*' }", "wildcards over repositories"),
        ("{ repository: 'acme/a?i' }", "wildcards over repositories"),
        ("{ repository: 'https://github.com/acme/api' }", "write owner/name"),
        ("{ repository: api }", "write owner/name"),
        ("{ key: ../ci.pub }", "not a path below the policy file"),
        ("{ key: /ci.pub }", "not a path below the policy file"),
        ("{ key: ci.pub, repository: acme/api }", "a key or an identity, not both"),
        ("{ issuer: token.example.com }", "write https://..."),
        ("{ workflow: '.github/workflows/*' }", "not the path of a workflow"),
        ("{ workflow: release }", "not the path of a workflow"),
        ("{ repository_id: 7 }", "repository_id without repository"),
        ("{ builder: self-hosted }", "self-hosted"),
        ("{ source_matches: false }", "False"),
        ("{ repositry: acme/api }", "repository"),
        ("anybody", "signature"),
    ],
)
def test_a_root_with_a_defect_is_named_with_its_line(written: str, words: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        policy("require:", f"  signature: {written}")

    assert words in str(error.value)
    assert error.value.line == 5


def test_identities_of_vex_are_no_globs() -> None:
    with pytest.raises(ConfigurationError, match="name each repository") as error:
        policy("vex:", "  identities:", "    - https://github.com/acme/*/.github/workflows/*")

    assert error.value.line == 6
