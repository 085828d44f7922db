"""What readers must not lose, merge or take for a word: inputs that an enemy of the rules tried."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bot.domain.licences import denied_by
from bot.domain.packages import PackageName
from bot.formats.reports import read_sbom, read_scan

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
