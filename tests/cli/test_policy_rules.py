"""Each rule of docs/policy.md through `review`: what breaks it, what not, what nobody knows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_evidence_cases import POLICY_PAGE, Reviewed, reviewed

NOW = "2026-11-20"
DIGESTS = {"new": "sha256:" + "b" * 64, "old": "sha256:" + "a" * 64}
CONFIG = {
    "User": "1000",
    "Entrypoint": ["/app"],
    "ExposedPorts": {"8080/tcp": {}},
    "Env": ["PATH=/bin"],
    "Labels": {
        "org.opencontainers.image.base.name": "docker.io/library/debian:12-slim",
        "team": "shop",
    },
}
FOUND: dict[str, Any] = {
    "VulnerabilityID": "CVE-2024-9",
    "PkgName": "lodash",
    "PkgPath": "app/node_modules/lodash/package.json",
    "InstalledVersion": "4.17.4",
    "FixedVersion": "4.17.21",
    "Status": "fixed",
    "Severity": "HIGH",
    "CVSS": {"nvd": {"V3Score": 8.1, "V3Vector": "CVSS:3.1/AV:N/AC:H/PR:N/UI:N/S:U/C:H/I:H/A:H"}},
    "PublishedDate": "2026-11-01T00:00:00Z",
    "PkgIdentifier": {"PURL": "pkg:npm/lodash@4.17.4"},
}


def report(
    *found: dict[str, Any],
    side: str = "new",
    image: str = "r.example/shop",
    config: dict[str, Any] | None = None,
    licence: str = "MIT",
    secret: dict[str, Any] | None = None,
    dev: bool = False,
    history: str = "2026-11-10T00:00:00Z",
) -> dict[str, Any]:
    """A whole report of Trivy."""
    lodash = {
        "Name": "lodash",
        "Version": "4.17.4",
        "Licenses": [licence] if licence else [],
        "Identifier": {"PURL": "pkg:npm/lodash@4.17.4"},
        **({"Dev": True} if dev else {}),
    }
    libc = {
        "Name": "libc6",
        "Version": "2.36",
        "Licenses": ["LGPL-2.1-only"],
        "Identifier": {"PURL": "pkg:deb/debian/libc6@2.36"},
    }
    results: list[dict[str, Any]] = [
        {"Target": "os", "Class": "os-pkgs", "Type": "debian", "Packages": [libc]},
        {
            "Target": "Node.js",
            "Class": "lang-pkgs",
            "Type": "node-pkg",
            "Packages": [lodash],
            "Vulnerabilities": list(found),
        },
    ]
    if secret is not None:
        results.append({"Target": "/srv/key.pem", "Class": "secret", "Secrets": [secret]})
    return {
        "SchemaVersion": 2,
        "ArtifactName": f"{image}:1",
        "CreatedAt": "2026-11-20T00:00:00Z",
        "Metadata": {
            "OS": {"Family": "debian", "Name": "12.5"},
            "RepoDigests": [f"{image}@{DIGESTS[side]}"],
            "ImageConfig": {
                "architecture": "amd64",
                "os": "linux",
                "history": [{"created": history}],
                "config": CONFIG if config is None else config,
            },
        },
        "Results": results,
    }


def judged(
    folder: Path,
    rule: str,
    new: dict[str, Any],
    old: dict[str, Any] | None = None,
    *more: str,
    exceptions: str = "",
) -> Reviewed:
    """The answer of a policy with one rule named ``a``."""
    listed = "    exceptions: exceptions.yaml\n" if exceptions else ""
    policy = f"version: 1\nenvironments:\n  x:\n{listed}    rules:\n      - {{ id: a, {rule} }}\n"
    (folder / "policy.yaml").write_text(policy)
    (folder / "exceptions.yaml").write_text(exceptions)
    (folder / "new.json").write_text(json.dumps(new))
    arguments = ["--environment", "x", "--at", NOW, "--policy", "policy.yaml"]
    arguments += ["--new-scan", "new.json", *more]
    if old is not None:
        (folder / "old.json").write_text(json.dumps(old))
        arguments += ["--old-scan", "old.json"]
    return reviewed(arguments, folder)


ROOT = {**CONFIG, "User": ""}
LEAK = {"RuleID": "private-key", "Severity": "HIGH"}
UNFIXED = {**FOUND, "FixedVersion": "", "Status": "will_not_fix"}
RULES = [
    # what breaks it, and what does not
    ('deny: introduced, severity: ">= high"', report(FOUND), "fail"),
    ('deny: introduced, severity: ">= critical"', report(FOUND), "pass"),
    ("deny: introduced, vulnerabilities: [CVE-2024-9]", report(FOUND), "fail"),
    ("deny: introduced, vulnerabilities: [CVE-2024-8]", report(FOUND), "pass"),
    ('deny: introduced, cvss: ">= 8.1"', report(FOUND), "fail"),
    ('deny: introduced, cvss: "> 8.1"', report(FOUND), "pass"),
    ('deny: introduced, cvss: ">= 7"', report({**FOUND, "CVSS": None}), "not_evaluated"),
    ('deny: introduced, cvss_vector: "AV:N/PR:N"', report(FOUND), "fail"),
    ('deny: introduced, cvss_vector: "AV:L"', report(FOUND), "pass"),
    ("deny: introduced, fix: available", report(FOUND), "fail"),
    ("deny: introduced, fix: none", report(FOUND), "pass"),
    ("deny: introduced, fix: none", report(UNFIXED), "fail"),
    ("deny: introduced, status: will_not_fix", report(UNFIXED), "fail"),
    ("deny: introduced, status: [affected, fix_deferred]", report(UNFIXED), "pass"),
    ('deny: introduced, age: "> 7d"', report(FOUND), "fail"),
    ('deny: introduced, age: "> 30d"', report(FOUND), "pass"),
    ("deny: introduced, paths: [/app/**]", report(FOUND), "fail"),
    ("deny: introduced, paths: [/srv]", report(FOUND), "pass"),
    ("deny: introduced, paths: [/srv]", report({**FOUND, "PkgPath": ""}), "not_evaluated"),
    ('deny: introduced, severity: ">= high", max: 1', report(FOUND), "pass"),
    (
        'deny: introduced, severity: ">= high", max: 1',
        report(FOUND, {**FOUND, "VulnerabilityID": "CVE-2024-8"}),
        "fail",
    ),
    ('deny: introduced, severity: ">= high", development: ignore', report(FOUND, dev=True), "pass"),
    ('deny: introduced, severity: ">= high", images: [shop]', report(FOUND), "fail"),
    ('deny: introduced, severity: ">= high", images: [worker]', report(FOUND), "pass"),
    ('deny: introduced, severity: ">= high", class: os', report(FOUND), "pass"),
    ("deny: introduced, kev: true", report(FOUND), "not_evaluated"),
    ("deny: introduced, ransomware: true", report(FOUND), "not_evaluated"),
    ('deny: introduced, epss: "> 0.5"', report(FOUND), "not_evaluated"),
    ("deny: present, packages: [pkg:npm/lodash]", report(), "fail"),
    ("deny: present, packages: [pkg:npm/left-pad]", report(), "pass"),
    ("deny: present, packages: [pkg:npm/lodash], below: 4.17.21", report(), "fail"),
    ("deny: present, packages: [pkg:npm/lodash], below: 4.17.4", report(), "pass"),
    ("deny: present, packages: [pkg:npm/lodash], from: 4.17.4, below: '5'", report(), "fail"),
    ("deny: present, packages: [pkg:npm/lodash], from: 4.17.5", report(), "pass"),
    ("deny: present, packages: [pkg:npm/Lodash]", report(), "fail"),
    ("deny: introduced, licence: [MIT]", report(), "fail"),
    ("deny: introduced, licence: [MIT], class: os", report(), "pass"),
    ("deny: introduced, licence: [LGPL-2.1]", report(), "fail"),
    ("deny: introduced, licence: [unknown]", report(licence=""), "fail"),
    ("deny: introduced, licence: [GPL-3.0-only]", report(licence="GNU GPL v3"), "fail"),
    ("deny: introduced, licence_allow: [MIT, LGPL-2.1-or-later]", report(), "pass"),
    ("deny: introduced, licence_allow: [MIT]", report(), "fail"),
    ("deny: introduced, licence_allow: [LGPL-2.1-only]", report(licence=""), "not_evaluated"),
    ("deny: introduced, class: secret", report(secret=LEAK), "fail"),
    ('deny: introduced, class: secret, severity: ">= critical"', report(secret=LEAK), "pass"),
    ("deny: introduced, class: secret", report(), "not_evaluated"),
    ("deny: introduced, class: secret, when_not_evaluated: warn", report(), "warn"),
    ("deny: present, user: root", report(config=ROOT), "fail"),
    ("deny: present, user: root", report(), "pass"),
    ("deny: present, ports_allow: [8080]", report(), "pass"),
    ("deny: present, ports_allow: [9090/tcp]", report(), "fail"),
    ("deny: present, labels: [team]", report(), "pass"),
    ("deny: present, labels: [owner]", report(), "fail"),
    ('deny: present, base_image_age: "> 5d"', report(), "fail"),
    ('deny: present, base_image_age: "> 30d"', report(), "pass"),
    ('deny: present, base_image_age: "> 5d"', report(history="1970-01-01"), "not_evaluated"),
    ('deny: present, base_image_allow: ["debian:*"]', report(), "pass"),
    ('deny: present, base_image_allow: ["alpine:*"]', report(), "fail"),
    ("deny: present, soak: 24h", report(), "not_evaluated"),
]


@pytest.mark.parametrize(
    ("rule", "new", "expected"), RULES, ids=[f"{rule}: {expected}" for rule, _, expected in RULES]
)
def test_a_rule(tmp_path: Path, rule: str, new: dict[str, Any], expected: str) -> None:
    seen = judged(tmp_path, rule, new)

    assert seen.result("a") == expected, seen.check("a")


def test_every_key_of_a_rule_stands_in_the_documentation() -> None:
    from bot.formats.policy_file import _Exception, _Rule  # noqa: PLC0415 - the reader's own words

    page = POLICY_PAGE.read_text()
    for struct in (_Rule, _Exception):
        for name in struct.__struct_encode_fields__:
            assert f"`{name}" in page or f"{name}:" in page, name


def test_applications_scope_a_rule(tmp_path: Path) -> None:
    rule = 'deny: introduced, severity: ">= high", applications: [pay*]'

    assert judged(tmp_path, rule, report(FOUND), None, "--application", "payments").code == 3
    other = judged(tmp_path, rule, report(FOUND), None, "--application", "shop")
    assert other.code == 0
    assert "a" not in {check["id"] for check in other.document["checks"]}
    assert judged(tmp_path, rule, report(FOUND)).result("a") == "not_evaluated"


@pytest.mark.parametrize(
    ("changed", "part", "expected"),
    [
        ({"Entrypoint": ["/evil"]}, "entrypoint", "fail"),
        ({"User": "0"}, "user", "fail"),
        ({"ExposedPorts": {"22/tcp": {}}}, "ports", "fail"),
        ({"Env": ["PATH=/bin", "LD_PRELOAD=/x"]}, "variables", "fail"),
        ({}, "entrypoint", "pass"),
        ({"User": "0"}, "entrypoint", "pass"),
    ],
)
def test_what_changed_about_how_it_runs(
    tmp_path: Path, changed: dict[str, Any], part: str, expected: str
) -> None:
    new, old = report(config={**CONFIG, **changed}), report(side="old")

    assert (
        judged(tmp_path, f"deny: introduced, changed: [{part}]", new, old).result("a") == expected
    )


KEV_FILE = {
    "dateReleased": "2026-11-19",
    "count": 1,
    "vulnerabilities": [
        {
            "cveID": "CVE-2024-9",
            "dateAdded": "2026-11-01",
            "knownRansomwareCampaignUse": "Unknown",
        }
    ],
}


def test_ransomware_is_more_than_kev(tmp_path: Path) -> None:
    (tmp_path / "kev.json").write_text(json.dumps(KEV_FILE))
    seen = [
        judged(tmp_path, f"deny: introduced, {key}: true", report(FOUND), None, "--kev", "kev.json")
        for key in ("kev", "ransomware")
    ]

    assert [one.result("a") for one in seen] == ["fail", "pass"]


EXCEPTION = (
    "- vulnerability: CVE-2024-9\n  package: pkg:npm/lodash\n  reason: r\n  expires: 2026-11-30\n"
)
HIGH = 'deny: introduced, severity: ">= high"'


@pytest.mark.parametrize(
    ("more", "held"),
    [
        ("", True),
        ("  images: [shop]\n", True),
        ("  images: [r.example/*]\n", True),
        ("  images: [worker]\n", False),
        ("  path: /app\n", True),
        ("  path: app/node_modules/**\n", True),
        ("  path: /srv\n", False),
        ("  applications: [shop]\n", False),
        ("  environments: [y]\n", False),
    ],
)
def test_an_exception_holds_where_it_says(tmp_path: Path, more: str, *, held: bool) -> None:
    seen = judged(tmp_path, HIGH, report(FOUND), exceptions=EXCEPTION + more)

    assert seen.result("a") == ("pass" if held else "fail")
    assert seen.counts("suppressed") == int(held)


@pytest.mark.parametrize(
    ("rule", "new", "exception"),
    [
        ("deny: introduced, licence: [MIT]", report(), "licence: MIT\n  package: pkg:npm/lodash"),
        ("deny: introduced, class: secret", report(secret=LEAK), "secret: private-key"),
        ("deny: introduced, class: secret", report(secret=LEAK), "secret: private-*\n  path: /srv"),
    ],
)
def test_what_is_no_vulnerability_has_exceptions_too(
    tmp_path: Path, rule: str, new: dict[str, Any], exception: str
) -> None:
    entry = f"- {exception}\n  reason: r\n  expires: "

    assert judged(tmp_path, rule, new).result("a") == "fail"
    accepted = judged(tmp_path, rule, new, exceptions=f"{entry}2026-12-01\n")
    assert accepted.result("a") == "pass"
    assert judged(tmp_path, rule, new, exceptions=f"{entry}2026-11-01\n").result("a") == "fail"


def test_packages_that_went_silent_may_be_accepted(tmp_path: Path) -> None:
    blind = report()
    blind["Results"] = blind["Results"][1:]
    entry = "- lost: os\n  images: [shop]\n  reason: from scratch now\n  expires: 2026-12-01\n"

    assert judged(tmp_path, HIGH, blind, report(side="old")).result("scan") == "not_evaluated"
    seen = judged(tmp_path, HIGH, blind, report(side="old"), exceptions=entry)
    assert (seen.code, seen.result("scan")) == (0, "warn")
    elsewhere = entry.replace("shop", "worker")
    assert judged(tmp_path, HIGH, blind, report(side="old"), exceptions=elsewhere).code == 3


def test_an_expired_exception_may_be_kept_by_a_rule(tmp_path: Path) -> None:
    expired = EXCEPTION.replace("2026-11-30", "2026-11-01")
    both = report(FOUND), report(FOUND, side="old")

    assert judged(tmp_path, HIGH, *both, exceptions=expired).result("a") == "fail"
    kept = judged(tmp_path, f"{HIGH}, expired_exceptions: keep", *both, exceptions=expired)
    assert kept.result("a") == "pass"
    assert judged(tmp_path, HIGH, *both).result("a") == "pass"


def test_defaults_are_for_every_environment(tmp_path: Path) -> None:
    policy = (
        "version: 1\ndefaults:\n  rules: [{ id: high, deny: introduced, severity: '>= high' }]\n"
        "environments:\n  x:\n    rules: [{ id: more, warn: present, severity: '>= low' }]\n"
        "  loose:\n    rules: [{ id: high, warn: introduced, severity: '>= high' }]\n"
    )
    (tmp_path / "policy.yaml").write_text(policy)
    (tmp_path / "new.json").write_text(json.dumps(report(FOUND)))

    results = {}
    for name in ("x", "loose", "other"):
        arguments = ["--environment", name, "--at", NOW, "--policy", "policy.yaml"]
        seen = reviewed([*arguments, "--new-scan", "new.json"], tmp_path)
        results[name] = {check["id"]: check["result"] for check in seen.document["checks"][1:]}

    assert results == {
        "x": {"high": "fail", "more": "warn"},
        "loose": {"high": "warn"},
        "other": {"high": "fail"},
    }


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("deny: introduced, licence_alow: [MIT]", "licence_allow"),
        ("deny: introduced, aplications: [x], kev: true", "applications"),
        ("deny: introduced, kev: true, soak: 1h", "write two rules"),
        ("deny: introduced, status: wont_fix", "will_not_fix"),
        ('deny: introduced, below: "1.0"', "which packages"),
        ('deny: introduced, from: "1.0"', "`from` is a version of which packages"),
        ("deny: introduced, packages: [lodash]", "write pkg:npm/lodash"),
        ("deny: introduced, packages: ['pkg:npm/lodash@4']", "has a version"),
        ("deny: introduced, cvss: 11", "CVSS score"),
        ("deny: introduced, max: 0, kev: true", "1 or more"),
        ('deny: introduced, cvss_vector: "NETWORK"', "AV:N/PR:N"),
    ],
)
def test_a_rule_that_cannot_be_is_refused(tmp_path: Path, rule: str, words: str) -> None:
    seen = judged(tmp_path, rule, report())

    assert seen.code == 2
    assert words in seen.said
