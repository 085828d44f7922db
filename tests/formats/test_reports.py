"""Every sample is read, or refused by name and defect; counts equal an independent count."""

from __future__ import annotations

import base64
import gzip
import json
import time
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given, settings, strategies as st

from bot.domain.errors import LimitExceededError, RejectedError
from bot.domain.evidence import Fix, Looked, Scan, Severity, UnreadableEvidenceError
from bot.domain.packages import PackageClass, PackageName
from bot.formats.nesting import nests_deeper
from bot.formats.reports import read_sbom, read_scan, read_vex
from tests.samples import sample

SCANS = [
    *(f"trivy/{n}.json" for n in ("alpine-310", "alpine-39", "ubuntu-1804", "dd-issue-9333")),
    *(f"trivy/{n}.json" for n in ("ubuntu-1804-ignore-unfixed", "distroless-python27")),
    *(f"trivy/{n}.json" for n in ("fluentd-gems", "npm-with-suppressed", "jenkins-alpine-3.14")),
    *(f"trivy/{n}.json" for n in ("dd-scheme2-many", "dd-scheme2-none", "dd-licenses", "secrets")),
    *(f"grype/{n}.json" for n in ("chainguard-ruby", "ghsa", "jenkins-0.71-137k", "dd-no-vuln")),
    "grype/dd-0.94-busybox-epss-risk.json",
    "cyclonedx/dd-issue-9277-1.5.json",
    "cyclonedx/trivy-fluentd-short-vulns-1.7.cdx.json",
    "cyclonedx/trivy-npm-1.7.cdx.json",
]
SBOMS = [
    *(f"cyclonedx/{n}.json" for n in ("dd-issue-9277-1.5", "keycloak-10.0.2-2.2MB")),
    *(f"cyclonedx/{n}.json" for n in ("spec-valid-bom-1.6", "spec-valid-bom-1.7")),
    "cyclonedx/trivy-npm-1.7.cdx.json",
    *(f"spdx/{n}.json" for n in ("scan-action-test_sbom", "syft-alpine-3.10", "trivy-centos-7")),
    "spdx/SPDXJSONExample-v2.3.json",
]
REFUSED = {
    "hostile/trivy-null.json": "the JSON value null",
    "hostile/sarif-no-runs.sarif": "a SARIF log",
    "hostile/alpine-tampered.cdx.att.json": "not JSON",
    "hostile/cdx-invalid-licence-encoding-1.7.json": "base85",
    "sarif/dockle.sarif": "a SARIF log",
    "sarif/trivy-alpine-310.sarif": "a SARIF log",
    "sarif/grype-0.34-cxf.sarif": "a SARIF log",
    "lint/hadolint-many.json": "hadolint",
    "trivy/alpine-310.gitlab.json": "GitLab",
    "feeds/kev-small.json": "no known format",
    "feeds/kev-2025-08-25.json": "the KEV catalogue",
    "feeds/epss-small.json": "no known format",
    "vex/openvex-all-statuses.json": "OpenVEX",
    "spdx/syft-alpine-3.10.json": "an SPDX document",
    "cyclonedx/keycloak-10.0.2-2.2MB.json": "without `vulnerabilities`",
    "attestations/cosign-vuln-predicate.json": "no known format",
}


def purl_key(purl: str) -> tuple[str, ...]:
    """Independent of the bot: type, namespace and name of a purl."""
    path = purl.removeprefix("pkg:").partition("#")[0].partition("?")[0]
    kind, _, rest = path.partition("/")
    head, slash, last = rest.rpartition("/")
    name = unquote(last.split("@")[0])
    kind = kind.lower().replace("alpine", "apk")  # as Alpine's packages were called once
    return (kind, unquote(head if slash else ""), name)


def trivy_pairs(document: dict[str, Any]) -> Iterator[tuple[str, object]]:
    for result in document.get("Results") or []:
        for entry in result.get("Vulnerabilities") or []:
            purl = (entry.get("PkgIdentifier") or {}).get("PURL")
            key = purl_key(purl) if purl else (result.get("Type"), entry["PkgName"])
            yield entry["VulnerabilityID"], key


def grype_pairs(document: dict[str, Any]) -> Iterator[tuple[str, object]]:
    for match in document["matches"]:
        ids = [match["vulnerability"]["id"], *(r["id"] for r in match["relatedVulnerabilities"])]
        cve = next((i for i in ids if i.startswith("CVE-")), ids[0])
        yield cve, purl_key(match["artifact"]["purl"])


def cyclonedx_pairs(document: dict[str, Any]) -> Iterator[tuple[str, object]]:
    for entry in document["vulnerabilities"]:
        for affected in entry["affects"]:
            yield entry["id"], purl_key(affected["ref"])


@pytest.mark.parametrize("name", SCANS)
def test_findings_equal_an_independent_count(name: str) -> None:
    data = sample(name).read_bytes()
    oracle = {"t": trivy_pairs, "g": grype_pairs, "c": cyclonedx_pairs}[name[0]]

    scan = read_scan(data, name)

    assert len(scan.findings) == len(set(oracle(json.loads(data))))


@pytest.mark.parametrize("name", SBOMS)
def test_packages_equal_an_independent_count(name: str) -> None:
    data = sample(name).read_bytes()
    document = json.loads(data)
    if "spdxVersion" in document:
        refs = [
            [
                r["referenceLocator"]
                for r in p.get("externalRefs", [])
                if r["referenceType"] == "purl"
            ]
            for p in document["packages"]
        ]
        expected = {purl_key(found[0]) for found in refs if found}
    else:
        expected = {purl_key(c["purl"]) for c in document["components"] if c.get("purl")}

    found = {(n.type, n.namespace, n.name) for n in read_sbom(data, name).versions if n.type}

    assert {key[0::2] for key in found} == {key[0::2] for key in expected}
    assert len(found) == len(expected)


@pytest.mark.parametrize(("name", "words"), REFUSED.items())
def test_what_is_no_scan_is_refused_by_its_name(name: str, words: str) -> None:
    with pytest.raises(RejectedError) as refusal:
        read_scan(sample(name).read_bytes(), name)

    assert str(refusal.value).startswith(f"{name}: ")
    assert words in str(refusal.value)


def outcome(read: Callable[[bytes, str], object], data: bytes, file: str) -> str:
    try:
        read(data, file)
    except RejectedError as error:
        return str(error)
    return f"{file}: read"


def test_every_sample_is_read_or_refused(subtests: pytest.Subtests) -> None:
    root = sample("SOURCES.md").parent
    for file in sorted(root.glob("*/*")):
        if file.is_file() and file.suffix not in {".png", ".md"}:
            with subtests.test(file.name):
                for read in (read_scan, read_sbom, read_vex):
                    assert file.name in outcome(read, file.read_bytes(), file.name)


@pytest.mark.parametrize("name", ["trivy/fluentd-gems.json", "grype/ghsa.json"])
def test_a_truncated_report_is_never_read(name: str) -> None:
    data = sample(name).read_bytes().rstrip()

    for end in range(0, len(data) - 1, 97):
        with pytest.raises(UnreadableEvidenceError, match=r"empty|truncated|malformed|not JSON"):
            read_scan(data[:end], "cut.json")


@settings(max_examples=200)
@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_rubbish_is_refused(data: bytes) -> None:
    for read in (read_scan, read_sbom, read_vex):
        with pytest.raises(RejectedError, match="rubbish"):
            read(data, "rubbish")


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=300)
@given(
    st.sampled_from(
        ["SchemaVersion", "matches", "bomFormat", "spdxVersion", "@graph", "statements"]
    ),
    st.dictionaries(
        st.sampled_from(
            [
                *("SchemaVersion", "Results", "Metadata", "matches", "source", "bomFormat"),
                *("specVersion", "components", "vulnerabilities", "spdxVersion", "SPDXID"),
                *("packages", "@graph", "@context", "statements", "payload", "payloadType"),
            ]
        ),
        JSON_VALUES,
    ),
    JSON_VALUES,
)
def test_a_wrong_shape_never_crashes(key: str, rest: dict[str, Any], value: object) -> None:
    data = json.dumps({**rest, key: value}).encode("utf-8", "surrogatepass")

    for read in (read_scan, read_sbom, read_vex):
        assert "odd.json" in outcome(read, data, "odd.json")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"  \n", "empty"),
        (b"null", "null"),
        (b"42", "42"),
        (b'"clean"', "clean"),
        (b"[]", "an empty list"),
        (b"{}", "no known format"),
        (b'{"SchemaVersion": 2, "Results": {}}', "Expected `array | null`"),
        (b'{"SchemaVersion": 3}', "schema 3"),
        (
            b'{"SchemaVersion": 2, "Results": [{"Target": "x", "Vulnerabilities": [{}]}]}',
            "required",
        ),
        (b'{"matches": null}', "Expected `array`"),
        (b'{"matches": [null]}', "Expected `object`"),
        (b'{"bomFormat": "CycloneDX", "specVersion": "1.8", "vulnerabilities": []}', "1.8"),
        (b'{"bomFormat": "Other", "specVersion": "1.6"}', "bomFormat"),
        (b'{"SchemaVersion": 2} trailing', "trailing"),
        (b'{"SchemaVersion": 2, "x": NaN}', "not JSON"),
        (b'{"SchemaVersion": 2, "ArtifactName": "\\ud800", "Results": []}', "surrogate"),
        (b'{"SchemaVersion": 2, "ArtifactName": "\xff"}', "not JSON"),
        (gzip.compress(b"[]", mtime=0)[:-4], "truncated"),
        (b"\x1f\x8brubbish.........", "gzip"),
    ],
)
def test_defects_are_named(data: bytes, words: str) -> None:
    with pytest.raises(UnreadableEvidenceError, match=r"report\.json") as refusal:
        read_scan(data, "report.json")

    assert words in str(refusal.value)


def test_what_a_message_quotes_is_printable() -> None:
    data = json.dumps({"\x1b[31mred\u202e": 1, **{f"{n}" * 90: 1 for n in range(9)}}).encode()

    with pytest.raises(UnreadableEvidenceError) as refusal:
        read_scan(data, "odd.json")

    assert str(refusal.value).isprintable()
    assert len(str(refusal.value)) < 600


def test_a_cyclonedx_document_without_findings_covers_nothing() -> None:
    component = {"type": "library", "name": "a", "purl": "pkg:npm/a@1"}
    bom = {"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [component]}

    scan = read_scan(json.dumps({**bom, "vulnerabilities": []}).encode(), "bom.json")

    assert scan.looked == frozenset()


def test_cyclonedx_takes_the_highest_rating() -> None:
    ratings = [
        {"source": {"name": "debian"}, "severity": "low"},
        {"source": {"name": "nvd"}, "severity": "high"},
    ]
    entry = {"id": "CVE-2026-1", "ratings": ratings, "affects": [{"ref": "pkg:npm/a@1"}]}
    bom = {"bomFormat": "CycloneDX", "specVersion": "1.6", "vulnerabilities": [entry]}

    (finding,) = read_scan(json.dumps(bom).encode(), "bom.json").findings.values()

    assert (finding.severity, finding.nvd_severity) == (Severity.HIGH, Severity.HIGH)


@pytest.mark.parametrize(
    "bomb",
    [
        b"[" * 200_000,
        b'{"a":' * 200_000,
        b'{"SchemaVersion": 2, "x": ' + b"[" * 65 + b"]" * 65 + b"}",
        b'{"x": "' + b"\\" * 300_000 + b'", "y":' + b"[" * 70,
    ],
)
def test_nesting_is_counted_before_parsing(bomb: bytes) -> None:
    start = time.process_time()
    with pytest.raises(LimitExceededError, match=r"nesting of bomb.json.*64 levels"):
        read_scan(bomb, "bomb.json")
    assert time.process_time() - start < 2

    tracemalloc.start()
    with pytest.raises(LimitExceededError):
        read_scan(bomb, "bomb.json")
    assert tracemalloc.get_traced_memory()[1] < 50_000_000
    tracemalloc.stop()


def test_brackets_inside_text_do_not_nest() -> None:
    odd = "[" * 500 + '\\"' + "{" * 500
    data = json.dumps({"SchemaVersion": 2, "ArtifactName": odd, "Results": [], "y": ["]" * 99]})

    assert read_scan(data.encode(), "odd.json").image == odd


def test_sizes_are_limited() -> None:
    with pytest.raises(LimitExceededError, match="64 MiB"):
        read_scan(b" " * (64 * 2**20 + 1), "big.json")
    with pytest.raises(LimitExceededError, match="inflated"):
        read_scan(gzip.compress(b" " * (64 * 2**20 + 1)), "big.json.gz")


REPORT = {
    "SchemaVersion": 2,
    "Results": [
        {
            "Target": "x (debian 12)",
            "Class": "os-pkgs",
            "Type": "debian",
            "Vulnerabilities": [
                {"VulnerabilityID": "CVE-2026-0001", "PkgName": "a", "Severity": "LOW"},
                {"VulnerabilityID": "CVE-2026-0001", "PkgName": "a", "Severity": "HIGH"},
            ],
        }
    ],
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_every_encoding_of_json_is_read(encoding: str) -> None:
    scan = read_scan(json.dumps(REPORT).encode(encoding), "report.json")

    (finding,) = scan.findings.values()
    assert finding.severity is Severity.HIGH
    assert finding.package == PackageName("deb", "debian", "a")


def test_gzip_is_read() -> None:
    assert len(read_scan(gzip.compress(json.dumps(REPORT).encode()), "r.json.gz").findings) == 1


@pytest.mark.parametrize("vulnerabilities", [None, [], "absent"])
def test_trivy_schema_1(vulnerabilities: object) -> None:
    result: dict[str, object] = {"Target": "alpine:3.10 (alpine 3.10.2)", "Type": "alpine"}
    if vulnerabilities != "absent":
        result["Vulnerabilities"] = vulnerabilities

    scan = read_scan(json.dumps([result]).encode(), "legacy.json")

    assert not scan.findings
    assert not scan.looked  # nothing in it shows that there was anything to look at


def test_packages_of_a_system_that_was_not_recognised_are_not_covered() -> None:
    """What Trivy 0.74 says of an image without ``os-release``: its packages match nothing."""
    packages = [{"Name": "openssl", "Version": "3.0.9-1"}]
    report = {
        "SchemaVersion": 2,
        "Metadata": {"OS": {"Family": "none", "Name": ""}},
        "Results": [
            {"Target": "image", "Class": "os-pkgs", "Type": "none", "Packages": packages},
            {"Target": "Node.js", "Class": "lang-pkgs", "Type": "node-pkg"},
        ],
    }

    scan = read_scan(json.dumps(report).encode(), "trivy.json")

    assert scan.looked == {Looked.LIBRARY}
    assert scan.operating_system == ""
    assert scan.end_of_life is None


@pytest.mark.parametrize("results", [None, [], "absent"])
def test_a_report_without_results_covers_nothing(results: object) -> None:
    report: dict[str, object] = {"SchemaVersion": 2, "ArtifactName": "scratch"}
    if results != "absent":
        report["Results"] = results

    assert read_scan(json.dumps(report).encode(), "r.json").looked == frozenset()


def test_trivy_packages_secrets_and_suppressions() -> None:
    npm = read_scan(sample("trivy/npm-with-suppressed.json").read_bytes(), "npm")
    secrets = read_scan(sample("trivy/secrets.json").read_bytes(), "secrets")
    licences = read_scan(sample("trivy/dd-licenses.json").read_bytes(), "licences")

    (suppression,) = npm.suppressed.values()
    assert suppression.finding.vulnerability == "CVE-2017-16137"
    assert suppression.reason == "vulnerable_code_not_in_execute_path"
    assert npm.inventory is not None
    assert len(npm.inventory.versions) == 2
    assert len(secrets.secrets) == 2
    assert secrets.looked == {Looked.SECRET}
    assert licences.looked == {Looked.LICENCE}


def test_trivy_names_packages_without_purl_as_with_one() -> None:
    entries = [("gobinary", "github.com/a/b"), ("jar", "org.x:y"), ("npm", "@s/n"), ("pip", "A_b")]
    results = [
        {
            "Target": kind,
            "Type": kind,
            "Vulnerabilities": [{"VulnerabilityID": "X", "PkgName": name}],
        }
        for kind, name in entries
    ]

    scan = read_scan(json.dumps({"SchemaVersion": 2, "Results": results}).encode(), "r.json")

    assert {str(f.package) for f in scan.findings.values()} == {
        *("pkg:golang/github.com/a/b", "pkg:maven/org.x/y", "pkg:npm/@s/n", "pkg:pypi/a-b")
    }


def test_grype_aliases_fixes_and_exploitation() -> None:
    match = {
        "vulnerability": {
            "id": "GHSA-7q5r-r9c2-x8mj",
            "severity": "High",
            "namespace": "github:language:javascript",
            "risk": 91.2,
            "epss": [{"cve": "CVE-2026-0002", "epss": 0.91, "percentile": 0.99}],
            "knownExploited": [{"cve": "CVE-2026-0002", "dateAdded": "2026-11-12"}],
            "fix": {
                "versions": ["7.28.3"],
                "state": "fixed",
                "available": [{"version": "7.28.3", "date": "2026-11-14", "kind": "advisory"}],
            },
        },
        "relatedVulnerabilities": [
            {"id": "CVE-2026-0002", "namespace": "nvd:cpe", "severity": "Critical"}
        ],
        "artifact": {
            "name": "@babel/traverse",
            "version": "7.28.0",
            "type": "npm",
            "purl": "pkg:npm/%40babel/traverse@7.28.0",
        },
    }
    ignored = {
        **match,
        "vulnerability": {
            "id": "CVE-2026-9",
            "severity": "Negligible",
            "fix": {"state": "not-fixed"},
        },
        "relatedVulnerabilities": [],
        "appliedIgnoreRules": [{"vex-status": "not_affected", "vex-justification": "unused"}],
    }
    report = {
        "matches": [match],
        "ignoredMatches": [ignored],
        "distro": {"name": "debian", "version": "12"},
        "descriptor": {
            "name": "grype",
            "version": "0.116.0",
            "db": {"status": {"built": "2026-11-20T06:11:00Z"}},
        },
    }

    scan = read_scan(json.dumps(report).encode(), "grype.json")

    (finding,) = scan.findings.values()
    assert finding.vulnerability == "CVE-2026-0002"
    assert finding.package == PackageName("npm", "@babel", "traverse")
    assert (finding.severity, finding.nvd_severity) == (Severity.HIGH, Severity.CRITICAL)
    assert (finding.fix, str(finding.fix_since), finding.epss) == (
        Fix.AVAILABLE,
        "2026-11-14",
        0.91,
    )
    assert str(finding.exploited_since) == "2026-11-12"
    (suppression,) = scan.suppressed.values()
    assert (suppression.by, suppression.reason) == ("VEX not_affected", "unused")
    assert scan.knows_exploitation
    assert scan.database is not None


def test_grype_without_purl_or_target() -> None:
    report = {
        "matches": [
            {
                "vulnerability": {"id": "CVE-2026-1", "fixedInVersion": "2"},
                "artifact": {"name": "org.x:y", "type": "java-archive"},
            }
        ],
        "source": {"type": "directory", "target": "/src"},
    }

    scan = read_scan(json.dumps(report).encode(), "old.json")

    (finding,) = scan.findings.values()
    assert finding.package == PackageName("maven", "org.x", "y")
    assert scan.looked == {Looked.LIBRARY}


def test_cyclonedx_analysis_aliases_and_nameless_packages() -> None:
    entry = {
        "id": "SNYK-1",
        "references": [{"id": "CVE-2018-7489"}],
        "ratings": [{"severity": "high"}],
    }
    component = {
        "type": "library",
        "name": "parent",
        "purl": "pkg:maven/g/parent@1",
        "components": [
            {"type": "library", "name": "inner", "bom-ref": "i", "purl": "pkg:maven/g/inner@2"}
        ],
    }
    bom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.4",
        "components": [component],
        "vulnerabilities": [
            {**entry, "affects": [{"ref": "urn:cdx:3e671687/1#i"}]},
            {**entry, "affects": [{"ref": "i"}], "analysis": {"state": "not_affected"}},
            {"id": "CVE-2026-7", "affects": []},
            {
                "id": "CVE-2026-8",
                "analysis": {"state": "false_positive"},
                "affects": [{"ref": "i"}],
            },
        ],
    }

    scan = read_scan(json.dumps(bom).encode(), "bom.json")

    assert {(f.vulnerability, str(f.package)) for f in scan.findings.values()} == {
        ("CVE-2018-7489", "pkg:maven/g/inner"),
        ("CVE-2026-7", "pkg:(no package named)"),
    }
    assert [s.finding.vulnerability for s in scan.suppressed.values()] == ["CVE-2026-8"]


@pytest.mark.parametrize("version", ["1.2", "1.3", "1.4", "1.5", "1.6", "1.7"])
def test_every_version_of_cyclonedx(version: str) -> None:
    tool = {"vendor": "x", "name": "syft", "version": "1"}
    tools: object = [tool] if version < "1.5" else {"components": [{"type": "application", **tool}]}
    bom = {
        "bomFormat": "CycloneDX",
        "specVersion": version,
        "metadata": {
            "tools": tools,
            "component": {"type": "container", "name": "x", "version": "sha256:" + "a" * 64},
        },
        "components": [
            {
                "type": "library",
                "name": "a",
                "version": "1",
                "purl": "pkg:deb/debian/a@1?arch=amd64",
                "licenses": [{"license": {"id": "MIT"}}, {"expression": "A OR B"}],
            },
            {"type": "operating-system", "name": "debian", "version": "12"},
            {"type": "file", "name": "/etc/passwd"},
            {"type": "application", "name": "package-lock.json"},
            {"type": "library", "name": "nameless", "version": "3"},
        ],
    }

    found = read_sbom(json.dumps(bom).encode(), "bom.json")

    assert {str(name) for name in found.versions} == {"pkg:deb/debian/a", "pkg:nameless"}
    assert found.licences[PackageName("deb", "debian", "a")] == "(A OR B) AND MIT"
    assert (found.operating_system, found.tool) == ("debian 12", "syft 1")
    assert found.subjects == {"sha256:" + "a" * 64}


def spdx_3(version: str = "3.0.1") -> dict[str, object]:
    return {
        "@context": "https://spdx.org/rdf/3.0.1/spdx-context.jsonld",
        "@graph": [
            {"type": "CreationInfo", "@id": "_:c", "specVersion": version},
            {"type": "Tool", "spdxId": "t", "name": "syft"},
            {
                "type": "software_Package",
                "spdxId": "p1",
                "name": "a",
                "software_packageVersion": "1",
                "software_packageUrl": "pkg:npm/a@1",
            },
            {
                "type": "software_Package",
                "spdxId": "p2",
                "name": "b",
                "software_packageVersion": "2",
                "externalIdentifier": [
                    {"externalIdentifierType": "packageUrl", "identifier": "pkg:npm/%40s/b@2"}
                ],
            },
            {
                "type": "software_Package",
                "spdxId": "i",
                "name": "img",
                "software_primaryPurpose": "container",
            },
            {
                "type": "simplelicensing_LicenseExpression",
                "spdxId": "l",
                "simplelicensing_licenseExpression": "MIT",
            },
            {
                "type": "Relationship",
                "spdxId": "r",
                "from": "p1",
                "relationshipType": "hasDeclaredLicense",
                "to": ["l"],
            },
        ],
    }


def test_spdx_3() -> None:
    found = read_sbom(json.dumps(spdx_3()).encode(), "spdx3.json")

    assert {str(name): versions for name, versions in found.versions.items()} == {
        "pkg:npm/a": ("1",),
        "pkg:npm/@s/b": ("2",),
    }
    assert found.licences == {PackageName("npm", "", "a"): "MIT"}


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (spdx_3("4.0"), "SPDX 4.0"),
        ({"@graph": []}, "CreationInfo"),
        ({"spdxVersion": "SPDX-2.1", "SPDXID": "x", "packages": []}, "SPDX-2.1"),
        ({"spdxVersion": "SPDX-2.3", "SPDXID": "x"}, "without packages"),
        ({"bomFormat": "CycloneDX", "specVersion": "1.6"}, "without components"),
        ({"SchemaVersion": 2, "Results": [{"Target": "x"}]}, "lists no packages"),
        ({"artifacts": [], "descriptor": {}}, "a syft document"),
        ({"ClusterName": "x", "Resources": []}, "Trivy's report of a cluster"),
        ({"document": {}, "product_tree": {}}, "a CSAF document"),
    ],
)
def test_what_is_no_sbom_is_refused(document: object, words: str) -> None:
    with pytest.raises(UnreadableEvidenceError, match=r"sbom\.json") as refusal:
        read_sbom(json.dumps(document).encode(), "sbom.json")

    assert words in str(refusal.value)


def statement(predicate: object, kind: str = "https://cyclonedx.org/bom") -> dict[str, object]:
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "predicateType": kind,
        "subject": [{"name": "x", "digest": {"sha256": "b" * 64}}],
        "predicate": predicate,
    }


@pytest.mark.parametrize("wrapping", ["bare", "dsse", "bundle", "cosign text", "cosign value"])
def test_statements_are_unwrapped(wrapping: str) -> None:
    bom: object = json.loads(sample("cyclonedx/spec-valid-bom-1.6.json").read_bytes())
    if wrapping == "cosign text":
        bom = {"Data": json.dumps(bom), "Timestamp": "2022-01-01T00:00:00Z"}
    elif wrapping == "cosign value":
        bom = {"Data": bom}
    document: object = statement(bom)
    if wrapping in {"dsse", "bundle"}:
        payload = base64.b64encode(json.dumps(document).encode()).decode()
        document = {
            "payloadType": "application/vnd.in-toto+json",
            "payload": payload,
            "signatures": [],
        }
    if wrapping == "bundle":
        document = {
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "dsseEnvelope": document,
        }

    assert len(read_sbom(json.dumps(document).encode(), "att.json").versions) == 3


def test_a_vuln_predicate_holds_a_report() -> None:
    kind = "https://cosign.sigstore.dev/attestation/vuln/v1"
    good = statement({"scanner": {"uri": "pkg:x", "result": REPORT}, "metadata": {}}, kind)
    empty = statement(
        json.loads(sample("attestations/cosign-vuln-predicate.json").read_bytes()), kind
    )

    assert len(read_scan(json.dumps(good).encode(), "att.json").findings) == 1
    with pytest.raises(UnreadableEvidenceError, match="no scanner result"):
        read_scan(json.dumps(empty).encode(), "att.json")


def test_real_attestations() -> None:
    alpine = sample("attestations/cosign-dsse-alpine.cdx.att.json").read_bytes()
    centos = sample("attestations/centos-7-cyclonedx.intoto.jsonl").read_bytes()

    assert len(read_sbom(alpine, "alpine").versions) == 14
    assert len(read_sbom(centos, "centos").versions) == 2
    layout = sample("attestations/buildkit-oci-layout/blobs/sha256")
    read = [
        blob
        for blob in layout.iterdir()
        if b'"https://spdx.dev/Document"' in blob.read_bytes()[:200]
    ]
    for blob in read:
        read_sbom(blob.read_bytes(), blob.name)


def test_openvex_of_both_versions() -> None:
    old = read_vex(sample("vex/openvex-v0.0.1.json").read_bytes(), "old")
    new = read_vex(sample("vex/openvex-all-statuses.json").read_bytes(), "new")
    trivy = read_vex(sample("vex/trivy-own-oci.openvex.json").read_bytes(), "trivy")

    assert old[0].vulnerabilities == {"CVE-2023-12345"}
    assert old[0].products[0].name.startswith("pkg:apk/wolfi/git@")
    assert {s.status for s in new} == {"not_affected", "affected", "fixed", "under_investigation"}
    assert trivy[0].products[0].components


@pytest.mark.parametrize(
    ("status", "why", "words"),
    [
        ("not_affected", {}, "neither a justification nor an impact statement; give it one of"),
        ("not_affected", {"justification": None, "impact_statement": None}, "neither"),
        ("not_affected", {"justification": "", "impact_statement": " "}, "neither"),
        ("not_affected", {"justification": "trust me"}, "'trust me' is none of OpenVEX's"),
        ("not_affected", {"justification": "code_not_reachable"}, "vulnerable_code_not_present"),
        ("not_affected", {"justification": "component_not_present"}, ""),
        ("not_affected", {"justification": "inline_mitigations_already_exist"}, ""),
        ("not_affected", {"impact_statement": "the parser is not compiled in"}, ""),
        ("not_affected", {"justification": "other", "impact_statement": "not compiled in"}, ""),
        ("fixed", {}, ""),
        ("affected", {}, ""),
        ("under_investigation", {}, ""),
    ],
)
@pytest.mark.parametrize("version", ["v0.2.0", "v0.0.1"])
def test_openvex_has_to_say_why_something_is_not_affected(
    status: str, why: dict[str, object], words: str, version: str
) -> None:
    vulnerability: object = {"name": "CVE-2026-1"} if version == "v0.2.0" else "CVE-2026-1"
    entry = {"vulnerability": vulnerability, "products": ["pkg:npm/a"], "status": status, **why}
    document = {"@context": f"https://openvex.dev/ns/{version}", "statements": [entry]}

    (found,) = read_vex(json.dumps(document).encode(), "vex.json")

    assert words in found.flaw
    assert bool(found.flaw) is bool(words)


def test_cyclonedx_need_not_say_why() -> None:
    """Its specification recommends a justification and asks for none (bom-1.7, analysis)."""
    entry = {"id": "CVE-1", "affects": [{"ref": "x"}], "analysis": {"state": "not_affected"}}
    bom = {"bomFormat": "CycloneDX", "specVersion": "1.7", "vulnerabilities": [entry]}

    (found,) = read_vex(json.dumps(bom).encode(), "vex.json")

    assert (found.status, found.flaw) == ("not_affected", "")


def test_cyclonedx_states_as_openvex_does() -> None:
    (sampled,) = read_vex(sample("vex/cyclonedx-vex.json").read_bytes(), "vex")
    states = {
        "resolved": "fixed",
        "resolved_with_pedigree": "fixed",
        "exploitable": "affected",
        "in_triage": "under_investigation",
        "false_positive": "not_affected",
        "not_affected": "not_affected",
    }
    entries = [
        {
            "id": "CVE-2026-1",
            "affects": [{"ref": "urn:cdx:3e671687/1#pkg:npm/a@1"}],
            "analysis": {"state": state},
        }
        for state in states
    ]
    bom = {"bomFormat": "CycloneDX", "specVersion": "1.4", "vulnerabilities": entries}

    found = read_vex(json.dumps(bom).encode(), "vex.json")

    assert sampled.status == "not_affected"
    assert "CVE-2020-25649" in sampled.vulnerabilities
    assert [statement.status for statement in found] == list(states.values())
    assert found[0].products[0].name == "pkg:npm/a@1"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"@context": "https://example.com"}, "@context"),
        ({"statements": [{"vulnerability": {}, "status": "fixed"}]}, "names no vulnerability"),
        ({"statements": [{"vulnerability": "CVE-1", "status": "fine"}]}, "Invalid enum value"),
        ({"statements": None}, "Expected `array`"),
    ],
)
def test_what_is_no_vex_is_refused(change: dict[str, object], words: str) -> None:
    document = {"@context": "https://openvex.dev/ns/v0.2.0", "statements": [], **change}

    with pytest.raises(UnreadableEvidenceError, match=r"vex\.json") as refusal:
        read_vex(json.dumps(document).encode(), "vex.json")

    assert words in str(refusal.value)


def on(family: str, release: str) -> Scan:
    """A Trivy report that lists a package of a distribution."""
    package = {"Name": "openssl", "Version": "3.0.9-1"}
    result = {"Target": "x", "Class": "os-pkgs", "Type": family, "Packages": [package]}
    metadata = {"OS": {"Family": family, "Name": release}}
    report = {"SchemaVersion": 2, "Metadata": metadata, "Results": [result]}
    return read_scan(json.dumps(report).encode(), "trivy.json")


# trivy 0.74, pkg/detector/ospkg/detect.go: who has a driver that looks anything up.
@pytest.mark.parametrize(
    ("family", "release", "is_known"),
    [
        ("debian", "12.5", True),
        ("debian", "trixie/sid", False),
        ("debian", "", False),
        ("ubuntu", "24.04", True),
        ("alpine", "3.20.1", True),
        ("alpine", "edge", True),
        ("amazon", "2023.6 (Amazon Linux)", True),
        ("opensuse-leap", "15.6", True),
        ("opensuse-tumbleweed", "", True),
        ("opensuse", "13.2", False),
        ("wolfi", "", True),
        ("centos", "8", True),
        ("centos-stream", "9", False),
        ("coreos", "1", False),
        ("fedora", "41", False),
        ("activestate", "1", False),
        ("some-new-linux", "1", False),
    ],
)
def test_a_distribution_without_data_is_not_looked_at(
    family: str, release: str, *, is_known: bool
) -> None:
    scan = on(family, release)

    assert scan.covers(PackageClass.OS) is is_known
    assert (Looked.OS in scan.unlooked) is not is_known
    assert scan.end_of_life is (False if is_known else None), "nobody asked where it has no data"


@pytest.mark.parametrize(
    ("tool", "family", "is_known"),
    [
        ("trivy", "debian", True),
        ("trivy", "fedora", False),
        ("grype", "debian", True),
        ("grype", "fedora", False),
        ("another", "fedora", True),
    ],
)
def test_a_scan_in_cyclonedx_knows_what_its_scanner_knows(
    tool: str, family: str, *, is_known: bool
) -> None:
    purl = f"pkg:rpm/{family}/openssl@3"
    bom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "metadata": {"tools": {"components": [{"type": "application", "name": tool}]}},
        "components": [
            {"type": "operating-system", "name": family, "version": "41"},
            {"type": "library", "name": "openssl", "version": "3", "bom-ref": "o", "purl": purl},
        ],
        "vulnerabilities": [{"id": "CVE-2026-1", "affects": [{"ref": "o"}]}],
    }

    scan = read_scan(json.dumps(bom).encode(), "bom.json")

    assert scan.covers(PackageClass.OS) is is_known


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ({"only-fixed": True}, "--only-fixed"),
        ({"only-notfixed": True}, "--only-notfixed"),
        ({"exclude": ["/app/**"]}, "/app/**"),
        ({"only-fixed": False, "exclude": []}, ""),
    ],
)
def test_what_grype_was_told_to_leave_out_is_told(flag: dict[str, object], words: str) -> None:
    report = {"matches": [], "descriptor": {"name": "grype", "configuration": flag}}

    limits = read_scan(json.dumps(report).encode(), "grype.json").limits

    assert words in "".join(limits)
    assert bool(limits) is bool(words)


@given(
    st.lists(
        st.sampled_from([*"[]{}", '"x"', '"[{"', '"\\""', '""', "[[]]", "{{}}[]"]), max_size=40
    )
)
def test_depth_is_that_of_the_brackets_outside_strings(parts: list[str]) -> None:
    depth = deepest = 0
    for part in parts:
        for character in "" if part.startswith('"') else part:
            depth += 1 if character in "[{" else -1
            deepest = max(deepest, depth)
    document = "".join(parts).encode()

    for limit in range(deepest + 4):
        assert nests_deeper(document, limit) == (deepest > limit), (document, limit)


def component_with(properties: str) -> bytes:
    return (
        '{"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [{"type": "library",'
        f' "name": "ms", "purl": "pkg:npm/ms@1", "properties": {properties}}}]}}'
    ).encode()


@pytest.mark.parametrize(
    ("properties", "source", "is_development"),
    [
        ("null", "", False),
        ("[]", "", False),
        ('[{"name": "aquasecurity:trivy:SrcName", "value": "ms-src"}]', "ms-src", False),
        ('[{"name": "cdx:npm:package:development", "value": "true"}]', "", True),
        ('[{"name": "cdx:npm:package:development", "value": "false"}]', "", False),
        ('[{"name": "syft:path", "value": "a:development/aquasecurity:trivy:"}]', "", False),
        ('[{"value": "aquasecurity:trivy:"}, {"name": null}]', "", False),
    ],
)
def test_properties_are_read_where_they_say_what_is_asked(
    properties: str, source: str, is_development: object
) -> None:
    name = PackageName("npm", "", "ms")

    found = read_sbom(component_with(properties), "x")

    assert found.versions == {name: ("1",)}
    assert found.sources.get(name, "") == source
    assert (name in found.development) is is_development


def test_properties_that_are_none_are_refused() -> None:
    with pytest.raises(UnreadableEvidenceError, match="properties of a component"):
        read_sbom(component_with('[{"name": "aquasecurity:trivy:SrcName", "value": 5}]'), "x")


@pytest.mark.parametrize(
    "name", ["trivy/alpine-310.json", "grype/ghsa.json", "cyclonedx/trivy-npm-1.7.cdx.json"]
)
def test_findings_are_of_the_image_that_was_scanned(name: str) -> None:
    found = read_scan(sample(name).read_bytes(), name)

    places = {(key.image, key.platform) for key in (*found.findings, *found.suppressed)}

    assert places == {(found.repository, found.platform)}


def scanned_cyclonedx(*refs: str) -> Scan:
    """A report about one vulnerability in all of these, of an image with two packages."""
    purls = ["pkg:npm/electron@25.8.0", "pkg:deb/debian/libwebp7@1.2.4"]
    bom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "components": [{"type": "library", "name": "x", "purl": purl} for purl in purls],
        "vulnerabilities": [{"id": "CVE-2023-4863", "affects": [{"ref": ref} for ref in refs]}],
    }
    return read_scan(json.dumps(bom).encode(), "bom.json")


@pytest.mark.parametrize(
    ("refs", "packages"),
    [
        (("pkg:cargo/libwebp-sys", "pkg:npm/electron", "pkg:npm/electron"), {"electron"}),
        (("pkg:npm/electron@25.8.0",), {"electron"}),
        (("pkg:npm/electron", "pkg:deb/debian/libwebp7"), {"electron", "libwebp7"}),
        (("pkg:cargo/libwebp-sys",), {"libwebp-sys"}),
        (("pkg:npm/electron@24.0.0",), {"electron"}),
        (("90a6e1b2-random",), {"90a6e1b2-random"}),
    ],
)
def test_an_advisory_that_names_all_its_packages_is_about_those_that_are_there(
    refs: tuple[str, ...], packages: set[str]
) -> None:
    """google/osv-scanner 1564; aquasecurity/trivy 7337: a reference that leads nowhere counts."""
    found = scanned_cyclonedx(*refs).findings

    assert {key.package.name for key in found} == packages
