"""Inputs that public bug reports about scanners, VEX, EPSS and SBOMs tell of, and their answers.

Written anew after the reports that are cited. Two were wrong here when they were tried: scores
that are not CVSS's, and the case of package URLs.
"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import Any

import pytest

from bot.domain.assessment import Evidence, assess
from bot.domain.licences import denied_by, outside
from bot.formats.exploitation_feeds import read_epss
from bot.formats.policy_file import read_policy
from bot.formats.reports import read_sbom, read_scan, read_vex

AT = datetime(2026, 11, 20, tzinfo=UTC)
POLICY = read_policy(
    "version: 1\nenvironments:\n  stage:\n"
    "    rules: [{ id: high, deny: introduced, severity: '>= high' }]\n"
    "    vex: { accept: [policy-repo], statuses: [not_affected, fixed] }\n",
    file="policy.yaml",
)["stage"]


def written(document: object) -> bytes:
    return json.dumps(document).encode()


def grype_match(identifier: str, related: list[str], fixes: list[str]) -> dict[str, Any]:
    return {
        "vulnerability": {
            "id": identifier,
            "severity": "Critical",
            "fix": {"versions": fixes, "state": "fixed" if fixes else "unknown"},
        },
        "relatedVulnerabilities": [{"id": one} for one in related],
        "artifact": {
            "name": "github.com/grafana/grafana",
            "version": "v12.0.0",
            "type": "go-module",
            "purl": "pkg:golang/github.com/grafana/grafana@v12.0.0",
        },
    }


def test_two_databases_of_go_name_one_vulnerability() -> None:
    """anchore/grype 3511: GHSA and GO ids of one CVE are two matches."""
    matches = [
        grype_match("GHSA-w62r-7c53-fmc5", ["CVE-2025-41115"], ["12.0.7"]),
        grype_match("GO-2025-4153", ["CVE-2025-41115", "GHSA-w62r-7c53-fmc5"], []),
    ]
    found = read_scan(written({"matches": matches, "source": {}, "descriptor": {}}), "g.json")

    [one] = found.findings.values()
    assert (one.vulnerability, one.fixed_in) == ("CVE-2025-41115", ("12.0.7",))
    assert one.aliases == {"CVE-2025-41115", "GHSA-w62r-7c53-fmc5", "GO-2025-4153"}


def rated(*ratings: dict[str, Any]) -> tuple[str, float | None]:
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "components": [
            {"type": "library", "name": "axios", "bom-ref": "x", "purl": "pkg:npm/axios@1.8.1"}
        ],
        "vulnerabilities": [
            {"id": "CVE-2025-27152", "ratings": list(ratings), "affects": [{"ref": "x"}]}
        ],
    }
    [one] = read_scan(written(document), "c.json").findings.values()
    return one.severity.word, one.cvss.score if one.cvss else None


@pytest.mark.parametrize(
    ("ratings", "severity", "score"),
    [
        # anchore/grype 2695: EPSS as a rating.
        (
            [
                {"score": 7.5, "severity": "high", "method": "CVSSv31"},
                {"score": 0.87, "method": "EPSS"},
            ],
            "high",
            7.5,
        ),
        ([{"score": 0.87, "method": "EPSS"}], "unknown", None),
        ([{"score": 87, "method": "other", "source": {"name": "EPSS"}}], "unknown", None),
        ([{"score": 0.87, "source": {"name": "EPSS"}}], "unknown", None),
        ([{"score": 9.1, "source": {"name": "NVD"}}], "critical", 9.1),
        # DefectDojo 6559: severity and score of two ratings.
        (
            [{"severity": "low", "method": "other"}, {"score": 9.8, "method": "CVSSv3"}],
            "critical",
            9.8,
        ),
        # DependencyTrack 1493: OWASP's risk rating is no CVSS score.
        (
            [
                {"score": 9.9, "method": "OWASP", "severity": "critical"},
                {"score": 5.0, "method": "CVSSv31"},
            ],
            "critical",
            5.0,
        ),
        ([{"method": "SSVC", "vector": "SSVCv2/E:A"}], "unknown", None),
        ([{"score": None, "severity": None}], "unknown", None),
    ],
)
def test_only_cvss_scores_are_cvss_scores(
    ratings: list[dict[str, Any]], severity: str, score: float | None
) -> None:
    assert rated(*ratings) == (severity, score)


def trivy(purl: str, identifier: str, name: str, kind: str = "debian") -> dict[str, Any]:
    return {
        "SchemaVersion": 2,
        "ArtifactName": "ghcr.io/acme/engine:1",
        "Metadata": {
            "OS": {"Family": "debian", "Name": "12.13"},
            "RepoDigests": ["ghcr.io/acme/engine@sha256:" + "3" * 64],
        },
        "Results": [
            {
                "Target": "x",
                "Class": "os-pkgs" if kind == "debian" else "lang-pkgs",
                "Type": kind,
                "Vulnerabilities": [
                    {
                        "VulnerabilityID": identifier,
                        "PkgName": name,
                        "InstalledVersion": purl.partition("@")[2].partition("?")[0],
                        "PkgIdentifier": {"PURL": purl},
                        "Severity": "HIGH",
                    }
                ],
            }
        ],
    }


def suppressed(
    report: dict[str, Any], product: str, subcomponent: str = "", **vulnerability: object
) -> bool:
    """Whether a statement about the product takes the one finding away; else it is told as idle."""
    inside = {"subcomponents": [{"@id": subcomponent}]} if subcomponent else {}
    statement = {
        "vulnerability": vulnerability or {"name": "CVE-2020-1"},
        "products": [{"@id": product, **inside}],
        "status": "not_affected",
        "justification": "vulnerable_code_not_present",
    }
    document = {
        "@context": "https://openvex.dev/ns/v0.2.0",
        "@id": "x",
        "author": "a",
        "timestamp": "2026-01-01T00:00:00Z",
        "version": 1,
        "statements": [statement],
    }
    evidence = Evidence(
        read_scan(written(report), "t.json"), vex=read_vex(written(document), "v.json")
    )
    judged = assess("stage", evidence, POLICY, AT)
    assert judged.delta is not None
    [said] = [check.detail for check in judged.verdict.checks if check.id == "vex"]
    is_idle = said.startswith("1 statements match nothing")
    assert is_idle != bool(judged.delta.suppressed)
    return not is_idle


SSL = trivy(
    "pkg:deb/debian/libssl3@3.0.19-1~deb12u2?arch=amd64&distro=debian-12.13",
    "CVE-2020-1",
    "libssl3",
)


@pytest.mark.parametrize(
    ("product", "counts"),
    [
        # arthur-engine 1862: the release without its point release.
        ("pkg:deb/debian/libssl3@3.0.19-1~deb12u2?distro=debian-12", True),
        ("pkg:deb/debian/libssl3?distro=debian-12.13", True),
        ("pkg:deb/debian/libssl3?distro=debian-1", False),
        ("pkg:deb/debian/libssl3?distro=debian-12.1", False),
        ("pkg:deb/debian/libssl3?distro=debian-11", False),
        # purl-spec: neither the scheme nor Debian's names have a case.
        ("PKG:deb/Debian/LibSSL3", True),
        ("pkg:deb/debian/libssl3-dev", False),
        ("Unknown Product", False),
        ("pkg:oci/engine@sha256%3A" + "3" * 64, True),
        ("pkg:oci/engine@sha256:" + "4" * 64, False),
    ],
)
def test_a_vex_product_is_what_its_package_url_says(product: str, *, counts: bool) -> None:
    assert suppressed(SSL, product) is counts


@pytest.mark.parametrize(
    ("product", "subcomponent", "counts"),
    [
        # golang/go 68152: what govulncheck writes names no product.
        ("Unknown Product", "", False),
        # tianon/gosu 157: of another program's binary.
        ("pkg:golang/github.com/tianon/gosu", "pkg:golang/stdlib", False),
        ("pkg:oci/engine?repository_url=ghcr.io/acme/engine", "pkg:golang/stdlib", True),
        ("pkg:oci/engine", "pkg:golang/stdlib@1.18.2", True),
        ("pkg:oci/engine", "pkg:golang/stdlib@v1.18.3", False),
    ],
)
def test_statements_of_govulncheck_by_their_alias(
    product: str, subcomponent: str, *, counts: bool
) -> None:
    report = trivy("pkg:golang/stdlib@v1.18.2", "CVE-2022-1962", "stdlib", "gobinary")
    names = {"@id": "https://pkg.go.dev/vuln/GO-2022-0515", "name": "GO-2022-0515"}

    found = suppressed(report, product, subcomponent, **names, aliases=["CVE-2022-1962"])

    assert found is counts


@pytest.mark.parametrize(
    ("licence", "read"),
    [
        ({"license": {"id": "NOASSERTION"}}, []),  # cyclonedx-dotnet 525
        ({"license": {"id": "Apache-2.0 OR MPL-2.0"}}, ["Apache-2.0 OR MPL-2.0"]),  # devguard 1322
        ({"license": {"id": None, "name": "MIT"}}, ["MIT"]),
        ({"license": {"name": ""}}, []),
    ],
)
def test_licences_where_they_do_not_belong(licence: dict[str, Any], read: list[str]) -> None:
    component = {"type": "library", "name": "a", "purl": "pkg:npm/a@1", "licenses": [licence]}
    document = {"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [component]}

    assert list(read_sbom(written(document), "s.json").licences.values()) == read


def test_with_binds_closer_than_and() -> None:
    """DependencyTrack 5025, sbom-utility 6 and 131."""
    long = "BSD-2-Clause AND FSFULLR AND GPL-2.0-or-later WITH Libtool-exception AND FSFUL"

    assert denied_by(long, ["GPL-2.0-or-later"]) == "GPL-2.0-or-later"
    assert outside(long, ["BSD-2-Clause", "FSFULLR", "GPL-2.0-or-later", "FSFUL"]) is None
    assert outside("(MIT OR CC0-1.0)", ["CC0-1.0"]) is None
    assert outside("Apache-2.0 WITH LLVM-exception", ["Apache-2.0"]) is None


@pytest.mark.parametrize(
    ("comment", "scored"),
    [
        ("#model_version:v2023.03.01,score_date:2024-05-13T00:00:00+0000\n", date(2024, 5, 13)),
        (
            "\ufeff#model_version:v2025.03.14,score_date:2026-11-19T12:55:00Z\r\n",
            date(2026, 11, 19),
        ),
        ("", None),
    ],
)
def test_epss_by_every_head_that_it_had(comment: str, scored: date | None) -> None:
    """ossf/cve-bin-tool 4127, greenbone/gvmd 2290."""
    rows = "".join(f"CVE-2020-{n},0.41,0.9\n" for n in range(1000, 1010))

    scores, at = read_epss(
        f"{comment}cve,epss,percentile\n{rows}".encode(), "e.csv", {"CVE-2020-1003"}
    )

    assert (scores, at) == ({"CVE-2020-1003": 0.41}, scored)
