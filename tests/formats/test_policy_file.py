from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import example, given, settings, strategies as st

from bot.domain.errors import ConfigurationError, RejectedError
from bot.domain.evidence import Severity
from bot.domain.packages import PackageClass, PackageName
from bot.domain.policy import (
    Clock,
    EndOfLifeRule,
    Grace,
    LicenceRule,
    Scope,
    SecretRule,
    VulnerabilityRule,
)
from bot.formats.policy_file import policy_of, read_exceptions, read_policy

POLICY = """\
version: 1
x-defaults: &scan { platforms: all, classes: [os, library], max_database_age: 24h }
environments:
  stage:
    when_not_evaluated: block          # or: warn
    scan: { <<: *scan, max_report_age: 12h }
    rules:
      - { id: known-exploited, deny: introduced, kev: true }
      - { id: critical,  deny: introduced, severity: ">= critical", fix: available }
      - id: high
        deny: introduced
        severity: ">= high"
        fix: available
        grace: { after: fix_available, for: 14d }
      - { id: likely,    deny: introduced, epss: ">= 0.5" }
      - { id: backlog,   warn: present, severity: critical, grace: { after: first_seen, for: 30d } }
      - { id: eol-os,    warn: present, os_end_of_life: true }
      - { id: secrets,   deny: introduced, class: secret }
      - { id: licences,  deny: introduced, licence: [SSPL-1.0], packages_except: ["pkg:deb/*"] }
    severity_from: [vendor, nvd]
    vex: { accept: [policy-repo, signed], statuses: [not_affected, fixed] }
    exceptions: policy/exceptions.yaml
    require:
      sbom: every-platform
      signature: true
      provenance: { builder: github-hosted, source_matches: true }
  dev:
"""

EXCEPTIONS = """\
- vulnerability: CVE-2026-9010
  package: "pkg:deb/debian/perl-base"
  environments: [stage, prod]
  reason: no untrusted input
  ticket: SEC-812
  expires: 2026-12-01
  approved_by: [security-reviewers]
"""


def test_the_whole_vocabulary() -> None:
    policies = read_policy(POLICY, file="policy.yaml")

    stage = policies["stage"]
    kinds = [type(rule) for rule in stage.rules]
    assert kinds == [VulnerabilityRule] * 5 + [EndOfLifeRule, SecretRule, LicenceRule]
    high = stage.rules[2]
    assert isinstance(high, VulnerabilityRule)
    assert (high.at_least, high.has_fix, high.denies) == (Severity.HIGH, True, True)
    assert high.grace == Grace(Clock.FIX_AVAILABLE, timedelta(days=14))
    assert stage.rules[4].scope is Scope.PRESENT
    assert not stage.rules[4].denies
    licences = stage.rules[7]
    assert isinstance(licences, LicenceRule)
    assert not licences.packages.include(PackageName("deb", "debian", "perl"))
    assert (stage.max_database_age, stage.max_report_age) == (timedelta(1), timedelta(hours=12))
    assert stage.classes == frozenset(PackageClass)
    assert stage.blocks_unevaluated
    assert stage.exceptions_file == "policy/exceptions.yaml"
    assert stage.required.sbom
    assert stage.required.signature
    assert stage.required.provenance
    assert policies["dev"].rules == ()


def test_the_examples_of_the_guide_are_valid() -> None:
    page = (Path(__file__).parents[2] / "docs" / "policy.md").read_text(encoding="utf-8")
    blocks: list[str] = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    named, policy, roots, exceptions = blocks

    assert "policy: policy.yaml" in named
    assert len(read_policy(policy, file="policy.yaml")["stage"].rules) == 8
    within = f"version: 1\nenvironments:\n  stage:\n{roots}"
    assert len(read_policy(within, file="policy.yaml")["stage"].roots.signature) == 2
    assert read_exceptions(exceptions, file="exceptions.yaml")[0].ticket == "SEC-812"


def rule(text: str) -> str:
    return f"version: 1\nenvironments:\n  stage:\n    rules:\n      - {text}\n"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("version: 2\nenvironments: {}\n", 1, "version"),
        ("version: 1\n", 1, "environments"),
        ("version: 1\nenvironments:\n  stage:\n    rule: []\n", 4, "did you mean 'rules'?"),
        (
            "version: 1\nenvironments:\n  stage:\n    scan: { clases: [os] }\n",
            4,
            "did you mean 'classes'?",
        ),
        (
            "version: 1\nenvironments:\n  stage:\n    when_not_evaluated: pass\n",
            4,
            "Invalid enum value",
        ),
        (
            "version: 1\nenvironments:\n  stage:\n    exceptions: ../../etc/passwd\n",
            4,
            "below the policy file",
        ),
        (
            "version: 1\nenvironments:\n  stage:\n    exceptions: /etc/passwd\n",
            4,
            "below the policy file",
        ),
        (
            "version: 1\nenvironments:\n  stage:\n    scan:\n      max_report_age: soon\n",
            5,
            "write 30m",
        ),
        (rule("{ id: a, deny: introduced, sevrity: '>= high' }"), 5, "did you mean 'severity'?"),
        (rule("{ id: a, deny: introduced, severity: '>= hihg' }"), 5, "did you mean 'high'?"),
        (rule("{ id: a, deny: introduced, severity: high }"), 5, 'write ">= high"'),
        (rule("{ id: a, deny: everything }"), 5, "Invalid enum value"),
        (rule("{ id: a }"), 5, "either `deny` or `warn`"),
        (rule("{ id: a, deny: present, warn: present }"), 5, "either `deny` or `warn`"),
        (rule("{ deny: present }"), 5, "`id`"),
        (rule("{ id: 'a b', deny: present }"), 5, "not a rule id"),
        (rule("{ id: a, deny: present, epss: 2 }"), 5, "not a probability"),
        (rule("{ id: a, deny: present, epss: often }"), 5, "not a probability"),
        (rule("{ id: a, deny: present, kev: true, licence: [MIT] }"), 5, "write two rules"),
        (rule("{ id: a, deny: present, licence: [] }"), 5, "no licence"),
        (
            rule("{ id: a, deny: present, grace: { after: never, for: 1d } }"),
            5,
            "Invalid enum value",
        ),
        (
            rule("{ id: a, deny: present, grace: { after: disclosed, for: 1y } }"),
            5,
            "length of time",
        ),
        (rule("{ id: a, deny: present }\n      - { id: a, warn: present }"), 6, "stands twice"),
        ("- a\n", 1, "must be a mapping"),
        ("", 1, "0 documents"),
        ("version: 1\nenvironments: [", None, "not YAML"),
    ],
)
def test_errors_have_a_place_and_a_way_out(text: str, line: int | None, words: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        read_policy(text, file="policy.yaml")

    assert (error.value.file, words in str(error.value)) == ("policy.yaml", True), error.value
    if line is not None:
        assert error.value.line == line


WORDS = st.sampled_from(
    [
        *("version", "environments", "stage", "rules", "scan", "id", "deny", "warn", "severity"),
        *("introduced", "present", ">= high", "kev", "epss", "grace", "after", "for", "14d"),
        *("exceptions", "require", "licence", "expires", "package", "vulnerability", "reason"),
    ]
)
VALUES = st.recursive(
    WORDS | st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)


def _refusal(read: Callable[..., object], text: str) -> str | None:
    """Why a reader refuses a document; None: it takes it."""
    try:
        read(text, file="policy.yaml")
    except RejectedError as error:
        return str(error)
    return None


@pytest.mark.slow
@settings(max_examples=300)
@example(">z\U00063dc4", None)
@given(VALUES, VALUES)
def test_no_file_crashes_the_readers(rules: object, other: object) -> None:
    policy = {"version": 1, "environments": {"stage": {"rules": rules, "scan": other}}}

    for read in (read_policy, read_exceptions):
        for document in (policy, rules, [other]):
            refusal = _refusal(read, json.dumps(document))
            assert refusal is None or "policy.yaml" in refusal


def test_an_environment_that_is_not_there() -> None:
    policies = read_policy(POLICY, file="policy.yaml")

    with pytest.raises(ConfigurationError, match=r"policy\.yaml.*'stag'.*did you mean 'stage'"):
        policy_of(policies, "stag", "policy.yaml")


def test_exceptions() -> None:
    (found,) = read_exceptions(EXCEPTIONS, file="policy/exceptions.yaml")

    assert found.package == PackageName("deb", "debian", "perl-base")
    assert (found.expires, found.ticket, found.line) == (date(2026, 12, 1), "SEC-812", 1)
    assert read_exceptions("", file="x") == ()
    assert read_exceptions("# none\n[]\n", file="x") == ()


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("package: ", "packages: ", 2, "did you mean 'package'?"),
        ('"pkg:deb/debian/perl-base"', '"*"', 2, "not a package URL"),
        ("2026-12-01", "next year", 6, "write YYYY-MM-DD"),
        ("no untrusted input", '" "', 4, "reason is empty"),
        ("  expires: 2026-12-01\n", "", 1, "`expires`"),
        ("  reason: no untrusted input\n", "", 1, "`reason`"),
    ],
)
def test_exceptions_with_a_defect(old: str, new: str, line: int, words: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        read_exceptions(EXCEPTIONS.replace(old, new), file="exceptions.yaml")

    assert words in str(error.value)
    assert error.value.line == line


def test_exceptions_are_a_list() -> None:
    with pytest.raises(ConfigurationError, match="must be a list"):
        read_exceptions("vulnerability: x\n", file="exceptions.yaml")


def test_a_team_may_have_to_approve_what_brings_an_exception() -> None:
    head = "version: 1\nenvironments:\n  stage:\n    exceptions: "
    text = head + "{ file: e.yaml, teams: [acme/security] }\n"

    policy = read_policy(text, file="policy.yaml")["stage"]

    assert (policy.exceptions_file, policy.exceptions_teams) == ("e.yaml", ("acme/security",))
    for wrong, words in (
        ("{ file: e.yaml, teams: [security] }", "write organization/team"),
        ("{ file: ../e.yaml }", "not a path below"),
        ('{ file: "e\\0.yaml" }', "not a path below"),
        ("{ teams: [acme/security] }", "`file`"),
    ):
        with pytest.raises(ConfigurationError, match=words):
            read_policy(head + wrong + "\n", file="policy.yaml")
