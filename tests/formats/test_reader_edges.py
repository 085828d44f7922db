"""What readers must not lose, merge or take for a word: inputs that an enemy of the rules tried."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bot.domain.evidence import Fix
from bot.domain.licences import denied_by
from bot.domain.packages import PackageName
from bot.domain.vex import vex_answer
from bot.formats.reports import read_sbom, read_scan, read_vex

LODASH = PackageName("npm", "", "lodash")


def _trivy(packages: list[dict[str, Any]], found: list[dict[str, Any]], kind: str = "npm") -> bytes:
    result = {
        "Target": "package-lock.json",
        "Class": "os-pkgs" if kind == "debian" else "lang-pkgs",
        "Type": kind,
        "Packages": packages,
        "Vulnerabilities": found,
    }
    return json.dumps({"SchemaVersion": 2, "Results": [result]}).encode()


def _lodash(version: str, **more: object) -> dict[str, Any]:
    return {"Name": "lodash", "Version": version, **more}


def _found(version: str, **more: object) -> dict[str, Any]:
    return {
        "VulnerabilityID": "CVE-2020-8203",
        "PkgName": "lodash",
        "InstalledVersion": version,
        "Severity": "CRITICAL",
        **more,
    }


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize(
    ("dev", "prod", "found", "expected"),
    [
        (_lodash("3.10.1", Dev=True), _lodash("4.17.15"), _found("4.17.15"), False),
        (_lodash("3.10.1", Dev=True), _lodash("4.17.15"), _found("3.10.1"), True),
        (_lodash("4.17.15", Dev=True), _lodash("4.17.15"), _found("4.17.15"), False),
        (_lodash("4.17.15", Dev=True), _lodash("4.17.14"), _found("v4.17.15"), False),
        (
            _lodash("4.17.15", Dev=True, FilePath="a"),
            _lodash("4.17.15", FilePath="b"),
            _found("4.17.15", PkgPath="a"),
            True,
        ),
        (
            _lodash("4.17.15", Dev=True, FilePath="a"),
            _lodash("4.17.15", FilePath="b"),
            _found("4.17.15", PkgPath="b"),
            False,
        ),
    ],
)
def test_a_word_on_one_installation_is_none_on_another(
    dev: dict[str, Any],
    prod: dict[str, Any],
    found: dict[str, Any],
    expected: object,
    is_first: object,
) -> None:
    """A lock file holds a package to build with and, in another version, one that is shipped."""
    packages = [dev, prod] if is_first else [prod, dev]
    (finding,) = read_scan(_trivy(packages, [found]), "new.json").findings.values()

    assert finding.is_development is expected


def test_the_version_of_a_system_package_is_found_with_epoch_and_release() -> None:
    listed = {"Name": "vim", "Version": "9.0", "Release": "3", "Epoch": 2, "SrcName": "vim-source"}
    other = {"Name": "vim", "Version": "8.0", "Release": "1", "SrcName": "old-source"}
    found = {"VulnerabilityID": "CVE-2026-1", "PkgName": "vim", "InstalledVersion": "2:9.0-3"}
    (finding,) = read_scan(_trivy([other, listed], [found], "debian"), "x").findings.values()

    assert finding.source == "vim-source"


def _spdx(declared: str) -> bytes:
    return json.dumps(
        {
            "spdxVersion": "SPDX-2.3",
            "name": "x",
            "SPDXID": "SPDXRef-DOCUMENT",
            "packages": [
                {
                    "SPDXID": "SPDXRef-a",
                    "name": "lodash",
                    "versionInfo": "1",
                    "licenseDeclared": declared,
                }
            ],
            "hasExtractedLicensingInfos": [
                {"licenseId": "LicenseRef-1", "name": "MIT or Apache-2.0"}
            ],
        }
    ).encode()


def _cyclonedx(*licences: dict[str, Any]) -> bytes:
    component = {"type": "library", "name": "lodash", "version": "1", "licenses": licences}
    return json.dumps(
        {"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [component]}
    ).encode()


AGPL = {"license": {"id": "AGPL-3.0-only"}}


@pytest.mark.parametrize(
    "document",
    [
        _trivy([_lodash("1", Licenses=["AGPL-3.0-only", "MIT or Apache-2.0"])], []),
        _trivy([_lodash("1", Licenses=["MIT/Apache-2.0", "AGPL-3.0-only"])], []),
        _trivy([_lodash("1", Licenses=["AGPL-3.0-only"]), _lodash("2", Licenses=["MIT|ISC"])], []),
        _cyclonedx(AGPL, {"license": {"name": "MIT or Apache-2.0"}}),
        _cyclonedx(AGPL, {"license": {"name": "MIT/Apache-2.0"}}),
        _cyclonedx({"expression": "MIT or ISC"}, AGPL),
        _spdx("AGPL-3.0-only AND LicenseRef-1"),
        _spdx("LicenseRef-1 AND AGPL-3.0-only"),
    ],
)
def test_a_list_of_licences_holds_whole(document: bytes) -> None:
    listed = read_sbom(document, "new.json")
    (licence,) = listed.licences.values()

    assert denied_by(licence, ["AGPL-3.0-only"]) == "AGPL-3.0-only"


@pytest.mark.parametrize(
    ("declared", "expected"),
    [("LicenseRef-1", None), ("(LicenseRef-1)", None), ("MIT", "MIT")],
)
def test_a_licence_of_its_own_is_read_as_its_text(declared: str, expected: str | None) -> None:
    listed = read_sbom(_spdx(declared), "new.json")

    assert [denied_by(text, ["MIT"]) for text in listed.licences.values()] == [expected]


# --- CycloneDX VEX ---


def _analysis(state: str, affects: list[dict[str, Any]], **more: object) -> bytes:
    """A document of one analysis; the rest are its times, the vulnerability's, the document's."""

    def some(*keys: str) -> dict[str, object]:
        return {key: value for key, value in more.items() if key in keys}

    analysis = {"state": state, **some("firstIssued", "lastUpdated")}
    entry = {"id": "CVE-2020-8203", "analysis": analysis, "affects": affects}
    bom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "metadata": some("timestamp", "component"),
        "vulnerabilities": [entry | some("published", "updated")],
    }
    return json.dumps(bom).encode()


def _is_suppressed(*documents: bytes, version: str = "4.17.15") -> bool:
    scan = read_scan(
        json.dumps(
            {
                "SchemaVersion": 2,
                "ArtifactName": "reg.io/shop:1",
                "Metadata": {"RepoDigests": [f"reg.io/shop@{DIGEST}"]},
                **json.loads(_trivy([_lodash(version)], [_found(version)])),
            }
        ).encode(),
        "new.json",
    )
    statements = [one for document in documents for one in read_vex(document, "vex.json")]
    return bool(vex_answer(statements, scan, frozenset({"fixed", "not_affected"})).suppressed)


DIGEST = "sha256:" + "a" * 64
EXACT = [{"ref": "pkg:npm/lodash@4.17.15"}]
EARLY, LATE = "2026-01-01T00:00:00Z", "2026-10-01T00:00:00Z"


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize(
    ("not_affected", "exploitable"),
    [
        ({"firstIssued": EARLY, "published": EARLY}, {"firstIssued": EARLY, "lastUpdated": LATE}),
        ({"lastUpdated": EARLY, "updated": "2026-08-01T00:00:00Z"}, {"lastUpdated": LATE}),
        ({"timestamp": EARLY, "published": EARLY}, {"timestamp": LATE, "published": EARLY}),
        ({"timestamp": EARLY, "published": LATE}, {"timestamp": LATE, "published": EARLY}),
        ({"timestamp": LATE, "lastUpdated": EARLY}, {"timestamp": EARLY, "lastUpdated": LATE}),
        ({"timestamp": LATE}, {"timestamp": LATE}),
        ({"timestamp": LATE}, {}),
        ({}, {}),
    ],
)
def test_the_last_analysis_counts_by_its_own_time(
    not_affected: dict[str, Any], exploitable: dict[str, Any], is_first: object
) -> None:
    """That of the vulnerability is not its; where no time decides, what is open stays open."""
    documents = [
        _analysis("not_affected", EXACT, **not_affected),
        _analysis("exploitable", EXACT, **exploitable),
    ]

    assert not _is_suppressed(*(documents if is_first else documents[::-1]))
    assert _is_suppressed(documents[0])


def test_a_later_analysis_lifts_an_earlier_one() -> None:
    assert _is_suppressed(
        _analysis("not_affected", EXACT, lastUpdated=LATE),
        _analysis("exploitable", EXACT, lastUpdated=EARLY),
    )


@pytest.mark.parametrize(
    ("versions", "expected"),
    [
        ([], True),
        ([{"version": "4.17.15"}], True),
        ([{"version": "4.17.15", "status": "unaffected"}], True),
        ([{"version": "4.17.20", "status": "unaffected"}], False),
        ([{"range": "vers:npm/>=4.17.16", "status": "unaffected"}], False),
        ([{"range": "vers:npm/>=4.17.0|<5.0.0", "status": "unaffected"}], True),
        ([{"range": "vers:npm/>=4.17.16", "status": "affected"}], False),
        ([{"version": "4.17.15", "status": "affected"}], False),
        ([{"version": "4.17.15", "status": "unknown"}], False),
        ([{"range": "vers:npm/4.17 and newer"}], False),
        ([{"version": "4.17.20"}, {"version": "4.17.15"}], True),
    ],
)
def test_an_analysis_is_about_the_versions_that_it_names(
    versions: list[dict[str, str]], expected: object
) -> None:
    affects = [{"ref": "pkg:npm/lodash", "versions": versions}]

    assert _is_suppressed(_analysis("not_affected", affects)) is expected


@pytest.mark.parametrize(
    ("versions", "expected"),
    [
        ([{"version": "4.17.20"}], True),
        ([{"version": "4.17.15", "status": "unaffected"}], True),
        ([{"version": "4.17.15"}], False),
        ([{"range": "vers:npm/<4.17.19"}], False),
        ([{"range": "vers:npm/what"}], False),
    ],
)
def test_a_later_word_on_another_version_lifts_nothing(
    versions: list[dict[str, str]], expected: object
) -> None:
    later = [{"ref": "pkg:npm/lodash", "versions": versions}]

    assert (
        _is_suppressed(
            _analysis("not_affected", EXACT, lastUpdated=EARLY),
            _analysis("exploitable", later, lastUpdated=LATE),
        )
        is expected
    )


@pytest.mark.parametrize(
    ("root", "versions", "expected"),
    [
        ({"purl": f"pkg:oci/shop@{DIGEST}?repository_url=reg.io/shop"}, [], True),
        ({"purl": f"pkg:oci/shop@sha256:{'b' * 64}?repository_url=reg.io/shop"}, [], False),
        ({"name": "reg.io/shop:1", "version": DIGEST}, [], True),
        ({"name": "reg.io/shop:1", "version": "sha256:" + "b" * 64}, [], False),
        ({"name": "reg.io/other:1"}, [], False),
        ({"name": "reg.io/shop:1"}, [{"version": "1"}], True),
        ({"name": "reg.io/shop:1"}, [{"version": "2"}], False),
        ({"name": "reg.io/shop:1"}, [{"range": "vers:generic/<2"}], False),
    ],
)
def test_an_analysis_may_be_about_what_the_document_describes(
    root: dict[str, str], versions: list[dict[str, str]], expected: object
) -> None:
    component = {"type": "container", "bom-ref": "root", "name": "shop", **root}
    affects = [{"ref": "root", "versions": versions}]

    assert _is_suppressed(_analysis("not_affected", affects, component=component)) is expected


# --- CycloneDX scans ---


def _cyclonedx_scan(
    components: list[dict[str, Any]], versions: list[dict[str, str]], ref: str = "l"
) -> bytes:
    entry = {"id": "CVE-2020-8203", "affects": [{"ref": ref, "versions": versions}]}
    bom = {"bomFormat": "CycloneDX", "specVersion": "1.5", "components": components}
    return json.dumps(bom | {"vulnerabilities": [entry]}).encode()


def _component(version: str, ref: str = "l", *, dev: bool = False) -> dict[str, Any]:
    note = {"name": "cdx:npm:package:development", "value": "true"}
    return {
        "type": "library",
        "name": "lodash",
        "version": version,
        "bom-ref": ref,
        "purl": f"pkg:npm/lodash@{version}",
        "properties": [note] if dev else [],
    }


@pytest.mark.parametrize(
    ("versions", "is_found"),
    [
        ([{"range": "vers:npm/>=4.17.0|<5.0.0", "status": "unaffected"}], False),
        ([{"range": "vers:npm/>=4.17.16", "status": "unaffected"}], True),
        ([{"range": "vers:npm/<4.17.19"}, {"version": "4.17.15", "status": "unaffected"}], True),
        ([{"range": "vers:npm/<4.17.0"}, {"version": "4.17.15", "status": "unaffected"}], False),
        ([{"range": "vers:deb/>=1", "status": "unaffected"}], True),
        ([{"range": "vers:deb/>=1"}, {"version": "4.17.15", "status": "unaffected"}], True),
    ],
)
def test_a_range_says_which_versions_have_it(
    versions: list[dict[str, str]], is_found: object
) -> None:
    scan = read_scan(_cyclonedx_scan([_component("4.17.15")], versions), "new.json")

    assert bool(scan.findings) is is_found


@pytest.mark.parametrize(
    ("components", "expected"),
    [
        ([_component("4.17.15", dev=True)], True),
        ([_component("4.17.15")], False),
        ([_component("4.17.15", dev=True), _component("3.10.1", "m")], True),
        ([_component("4.17.15"), _component("3.10.1", "m", dev=True)], False),
        ([_component("4.17.15", dev=True), _component("4.17.15", "m")], False),
    ],
)
def test_cyclonedx_says_of_each_version_whether_it_is_shipped(
    components: list[dict[str, Any]], expected: object
) -> None:
    (finding,) = read_scan(_cyclonedx_scan(components, []), "new.json").findings.values()

    assert finding.is_development is expected


# --- grype ---


@pytest.mark.parametrize(
    ("fix", "expected"),
    [
        ({"state": "not-fixed"}, Fix.NONE),
        ({"state": "wont-fix"}, Fix.NONE),
        ({"state": "unknown"}, Fix.UNKNOWN),
        ({"state": ""}, Fix.UNKNOWN),
        ({"state": "a word of tomorrow"}, Fix.UNKNOWN),
        ({"state": "fixed"}, Fix.AVAILABLE),
        ({"state": "unknown", "versions": ["2"]}, Fix.AVAILABLE),
        ({}, Fix.UNKNOWN),
    ],
)
def test_grype_does_not_know_is_not_there_is_none(fix: dict[str, Any], expected: Fix) -> None:
    match = {
        "vulnerability": {"id": "CVE-2020-8203", "fix": fix},
        "artifact": {"name": "lodash", "version": "1", "type": "npm"},
    }
    report = json.dumps({"matches": [match]}).encode()
    (finding,) = read_scan(report, "new.json").findings.values()

    assert finding.fix is expected


@pytest.mark.parametrize(
    ("artifact", "tags", "expected"),
    [
        ("build/out.tar", ["reg.io/acme/shop:1"], "reg.io/acme/shop:1"),
        ("sha256:" + "b" * 64, ["reg.io/acme/shop:1"], "reg.io/acme/shop:1"),
        ("reg.io/acme/shop:2", ["reg.io/acme/shop:1"], "reg.io/acme/shop:2"),
        ("docker.io/library/nginx", ["nginx:latest"], "docker.io/library/nginx"),
        ("build/out.tar", [], "build/out.tar"),
        ("build/out.tar", None, "build/out.tar"),
    ],
)
def test_an_archive_is_called_by_the_tag_in_it(
    artifact: str, tags: list[str] | None, expected: str
) -> None:
    report = json.loads(_trivy([_lodash("1")], [_found("1")]))
    report |= {"ArtifactName": artifact, "Metadata": {"RepoTags": tags}}
    scan = read_scan(json.dumps(report).encode(), "new.json")
    (finding,) = scan.findings.values()

    assert scan.image == expected
    assert finding.image == scan.repository
