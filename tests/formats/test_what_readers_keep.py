"""What readers keep of a report so that rules can tell one thing from another."""

from __future__ import annotations

import json
from datetime import date

import pytest

from bot.formats.openvex import read_openvex
from bot.formats.reports import read_scan

LIBRARY = {
    "VulnerabilityID": "CVE-2026-0001",
    "PkgName": "lodash",
    "InstalledVersion": "4.17.15",
    "CVSS": {
        "nvd": {"V3Score": 7.5, "V3Vector": "CVSS:3.1/AV:N/AC:L"},
        "ghsa": {"V3Score": 9.0, "V3Vector": "CVSS:3.1/AV:L/AC:L"},
    },
}


def trivy(**result: object) -> bytes:
    return json.dumps(
        {
            "SchemaVersion": 2,
            "Results": [{"Target": "t", "Class": "lang-pkgs", "Type": "node-pkg", **result}],
        }
    ).encode()


def test_every_vector_of_trivy_and_the_highest_score() -> None:
    (found,) = read_scan(trivy(Vulnerabilities=[LIBRARY]), "t.json").findings.values()

    assert found.cvss is not None
    assert found.cvss.vector == "CVSS:3.1/AV:L/AC:L"
    assert found.vectors == {"CVSS:3.1/AV:L/AC:L", "CVSS:3.1/AV:N/AC:L"}


@pytest.mark.parametrize(
    ("status", "is_of_image"), [("not_affected", True), ("fixed", True), ("ignored", False)]
)
def test_vex_that_trivy_was_given_is_of_the_image(status: str, is_of_image: bool) -> None:  # noqa: FBT001 - drawn
    entry = {"Type": "vulnerability", "Status": status, "Finding": LIBRARY}
    report = read_scan(trivy(ExperimentalModifiedFindings=[entry]), "t.json")

    assert [one.is_of_image for one in report.suppressed.values()] == [is_of_image]


def test_a_second_secret_of_one_rule_in_one_file_is_another() -> None:
    row = {"RuleID": "aws", "Severity": "HIGH"}
    one, two = (
        read_scan(trivy(Class="secret", Secrets=[row] * times), "t.json").secrets
        for times in (1, 2)
    )

    assert one < two


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        (["2026-01-01T00:00:00Z", "2026-06-01T00:00:00Z"], date(2026, 1, 1)),
        ([None, "2026-06-01T00:00:00Z"], None),
        (["1970-01-01T00:00:00Z", "2026-06-01T00:00:00Z"], None),
        ([], None),
    ],
)
def test_a_base_is_as_old_as_the_first_layer_alone(
    history: list[str | None], expected: date | None
) -> None:
    document = json.loads(trivy())
    document["Metadata"] = {
        "ImageConfig": {"config": {}, "history": [{"created": made} for made in history]}
    }
    configuration = read_scan(json.dumps(document).encode(), "t.json").configuration

    assert configuration is not None
    assert configuration.base_created == expected


def test_a_go_module_is_spelled_as_trivy_spells_it_too() -> None:
    entry = {
        **LIBRARY,
        "PkgName": "github.com/BurntSushi/toml",
        "PkgIdentifier": {"PURL": "pkg:golang/github.com/burntsushi/toml@v1.0.0"},
    }
    report = read_scan(trivy(Type="gobinary", Vulnerabilities=[entry]), "t.json")
    (found,) = report.findings.values()

    assert found.package.full_name == "github.com/BurntSushi/toml"
    assert [one.spelled for one in found.installations] == ["pkg:golang/github.com/burntsushi/toml"]


def test_a_hash_that_nobody_can_compare_is_kept() -> None:
    statement = {
        "vulnerability": {"name": "CVE-2026-0001"},
        "products": [{"@id": "pkg:oci/shop", "hashes": {"sha-512": "AB", "sha-256": "CD"}}],
        "status": "fixed",
    }
    document = {"@context": "https://openvex.dev/ns/v0.2.0", "statements": [statement]}
    (found,) = read_openvex(json.dumps(document).encode(), "v.json")

    assert found.products[0].digests == {"sha512:ab", "sha256:cd"}
