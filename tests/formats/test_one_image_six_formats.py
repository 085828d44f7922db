"""One image, written by three tools in six formats: whichever two are read, nothing differs.

Each writer here spells package URLs and versions as its tool does (Trivy 0.74, syft 1.51, grype
0.116); the first test holds the spelling of Trivy against what the real one wrote.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings, strategies as st

from bot.domain.delta import contents, delta
from bot.domain.evidence import Scan
from bot.domain.packages import Inventory
from bot.formats.reports import read_sbom, read_scan
from tests.cli.test_evidence_cases import _there


@dataclass(frozen=True)
class Thing:
    """A package of an image, and perhaps what is wrong with it."""

    kind: str
    namespace: str
    name: str
    version: str
    epoch: str = ""
    vulnerability: str = ""
    fixed: str = ""

    @property
    def is_system(self) -> bool:
        return self.kind in {"deb", "rpm", "apk"}

    @property
    def whole(self) -> str:
        return f"{self.epoch}:{self.version}" if self.epoch else self.version

    @property
    def called(self) -> str:
        """As its ecosystem writes it."""
        separator = ":" if self.kind == "maven" else "/"
        is_spelled = self.namespace and not self.is_system
        return f"{self.namespace}{separator}{self.name}" if is_spelled else self.name


SYSTEMS = {"deb": ("debian", "12"), "rpm": ("redhat", "8.5"), "apk": ("alpine", "3.20.1")}
TRIVY_TYPES = {"npm": "node-pkg", "pypi": "python-pkg", "golang": "gobinary", "maven": "jar"}
SYFT_TYPES = {"pypi": "python", "golang": "go-module", "maven": "java-archive"}


def trivy_purl(one: Thing) -> str:
    """Epochs stand in a qualifier; Go's modules lose their case (pkg/purl/purl.go)."""
    name = f"{one.namespace}/{one.name}" if one.namespace else one.name
    name = name.lower() if one.kind == "golang" else name
    qualifiers = f"?arch=amd64&distro={'-'.join(SYSTEMS[one.kind])}" if one.is_system else ""
    qualifiers += f"&epoch={one.epoch}" if one.epoch else ""
    return f"pkg:{one.kind}/{quote(name)}@{quote(one.version, safe='')}{qualifiers}"


def syft_purl(one: Thing) -> str:
    """Debian's epoch stands in the version, rpm's in a qualifier (syft pkg/cataloger)."""
    name = f"{one.namespace}/{one.name}" if one.namespace else one.name
    version = one.whole if one.kind == "deb" else one.version
    qualifiers = f"?arch=amd64&distro={'-'.join(SYSTEMS[one.kind])}" if one.is_system else ""
    qualifiers += f"&epoch={one.epoch}" if one.epoch and one.kind == "rpm" else ""
    qualifiers += f"&upstream={one.name}-src" if one.kind == "deb" else ""
    return f"pkg:{one.kind}/{quote(name)}@{quote(version, safe='')}{qualifiers}"


def system_of(things: Sequence[Thing]) -> tuple[str, str] | None:
    return next((SYSTEMS[one.kind] for one in things if one.is_system), None)


def trivy_json(things: Sequence[Thing]) -> bytes:
    results: list[dict[str, Any]] = []
    system = system_of(things)
    for kind, group in itertools.groupby(things, key=lambda one: one.kind):
        members = list(group)
        packages, found = [], []
        for one in members:
            version, _, release = one.version.partition("-")
            split = {"Version": version, "Release": release} if one.kind in {"deb", "rpm"} else {}
            packages.append(
                {
                    "Name": one.called,
                    "Version": one.version,
                    **split,
                    **({"Epoch": int(one.epoch)} if one.epoch else {}),
                    "Identifier": {"PURL": trivy_purl(one)},
                }
            )
            if one.vulnerability:
                found.append(
                    {
                        "VulnerabilityID": one.vulnerability,
                        "PkgName": one.called,
                        "InstalledVersion": one.whole,
                        "FixedVersion": one.fixed,
                        "Severity": "HIGH",
                        "PkgIdentifier": {"PURL": trivy_purl(one)},
                    }
                )
        is_system = members[0].is_system
        results.append(
            {
                "Target": kind,
                "Class": "os-pkgs" if is_system else "lang-pkgs",
                "Type": SYSTEMS[kind][0] if is_system else TRIVY_TYPES[kind],
                "Packages": packages,
                "Vulnerabilities": found,
            }
        )
    metadata = {"OS": {"Family": system[0], "Name": system[1]}} if system else {}
    return json.dumps(
        {
            "SchemaVersion": 2,
            "Trivy": {"Version": "0.74.0"},
            "Metadata": metadata,
            "Results": results,
        }
    ).encode()


def cyclonedx(tool: str, purl: Callable[[Thing], str]) -> Callable[[Sequence[Thing]], bytes]:
    def write(things: Sequence[Thing]) -> bytes:
        system = system_of(things)
        components: list[dict[str, Any]] = [
            {
                "type": "library",
                "bom-ref": f"{n}",
                **({"group": one.namespace} if one.kind in {"npm", "maven"} else {}),
                "name": one.name if one.kind in {"npm", "maven"} else one.called,
                "version": one.whole,
                "purl": purl(one),
            }
            for n, one in enumerate(things)
        ]
        if system:
            components.append({"type": "operating-system", "name": system[0], "version": system[1]})
        vulnerabilities = [
            {
                "id": one.vulnerability,
                "ratings": [{"severity": "high"}],
                "recommendation": f"Upgrade {one.called} to version {one.fixed}",
                "affects": [{"ref": f"{n}"}],
            }
            for n, one in enumerate(things)
            if one.vulnerability
        ]
        return json.dumps(
            {
                "bomFormat": "CycloneDX",
                "specVersion": "1.6",
                "metadata": {"tools": {"components": [{"type": "application", "name": tool}]}},
                "components": components,
                **({"vulnerabilities": vulnerabilities} if tool == "trivy" else {}),
            }
        ).encode()

    return write


def spdx(purl: Callable[[Thing], str]) -> Callable[[Sequence[Thing]], bytes]:
    def write(things: Sequence[Thing]) -> bytes:
        packages = [
            {
                "SPDXID": f"SPDXRef-Package-{n}",
                "name": one.called,
                "versionInfo": one.whole,
                "externalRefs": [{"referenceType": "purl", "referenceLocator": purl(one)}],
            }
            for n, one in enumerate(things)
        ]
        document = {"spdxVersion": "SPDX-2.3", "SPDXID": "SPDXRef-DOCUMENT", "packages": packages}
        return json.dumps(document).encode()

    return write


def grype_json(things: Sequence[Thing]) -> bytes:
    system = system_of(things)
    matches = [
        {
            "vulnerability": {
                "id": one.vulnerability,
                "severity": "High",
                "fix": {"versions": [one.fixed], "state": "fixed"},
            },
            "artifact": {
                "name": one.called if one.kind != "maven" else one.name,
                # Without an epoch rpm says 0 (syft, rpm version of the metadata).
                "version": f"0:{one.version}" if one.kind == "rpm" and not one.epoch else one.whole,
                "type": SYFT_TYPES.get(one.kind, one.kind),
                "purl": syft_purl(one),
            },
        }
        for one in things
        if one.vulnerability
    ]
    distro = {"name": system[0], "version": system[1]} if system else {}
    return json.dumps({"matches": matches, "distro": distro, "source": {"type": "image"}}).encode()


SCANS = {
    "Trivy JSON": trivy_json,
    "Trivy CycloneDX": cyclonedx("trivy", trivy_purl),
    "grype JSON": grype_json,
}
SBOMS = {
    "Trivy JSON": trivy_json,
    "Trivy CycloneDX": cyclonedx("trivy", trivy_purl),
    "Trivy SPDX": spdx(trivy_purl),
    "syft CycloneDX": cyclonedx("syft", syft_purl),
    "syft SPDX": spdx(syft_purl),
}
LIBRARIES = [
    Thing("golang", "github.com/BurntSushi", "toml", "1.3.2", "", "CVE-2026-0003", "1.4.0"),
    Thing(
        "maven",
        "org.apache.tomcat.embed",
        "tomcat-embed-core",
        "9.0.98",
        "",
        "CVE-2026-4",
        "9.0.99",
    ),
    Thing("npm", "@babel", "traverse", "7.28.0", "", "CVE-2026-0005", "7.28.3"),
    Thing("pypi", "", "jinja2", "2.10", "", "CVE-2026-0006", "2.10.1"),
]
DISTRIBUTIONS = [
    [
        Thing("deb", "debian", "zlib1g", "1.2.13.dfsg-1", "1", "CVE-2026-0001", "1:1.2.14"),
        Thing("deb", "debian", "openssl", "3.0.9-1", "", "CVE-2026-0002", "3.0.11-1~deb12u2"),
        Thing("deb", "debian", "libstdc++6", "12.2.0-14", ""),
    ],
    [
        Thing(
            "rpm", "redhat", "openssl-libs", "1.1.1k-6.el8_5", "1", "CVE-2026-7", "1:1.1.1k-7.el8"
        ),
        Thing("rpm", "redhat", "bash", "4.4.20-2.el8", "", "CVE-2026-8", "4.4.20-3.el8"),
    ],
    [Thing("apk", "alpine", "busybox", "1.36.1-r5", "", "CVE-2026-9", "1.36.1-r6")],
    [],
]
IMAGES = st.builds(
    lambda system, libraries: sorted(
        [*system, *libraries], key=lambda one: (not one.is_system, one.kind, one.name)
    ),
    st.sampled_from(DISTRIBUTIONS),
    st.lists(st.sampled_from(LIBRARIES), unique=True),
).filter(bool)


def scanned(name: str, things: Sequence[Thing]) -> Scan:
    return replace(read_scan(SCANS[name](things), name), inventory=None)


def listed(name: str, things: Sequence[Thing]) -> Inventory:
    return read_sbom(SBOMS[name](things), name)


@settings(max_examples=40)
@given(IMAGES)
@pytest.mark.parametrize("pair", list(itertools.permutations(SBOMS, 2)), ids=" to ".join)
def test_no_package_changes_between_two_formats(pair: tuple[str, str], things: list[Thing]) -> None:
    found = contents(listed(pair[0], things), listed(pair[1], things))

    assert found.changes == ()
    assert len(found.new.versions) == len(things)


@settings(max_examples=40)
@given(IMAGES)
@pytest.mark.parametrize("pair", list(itertools.permutations(SCANS, 2)), ids=" to ".join)
def test_no_finding_changes_between_two_formats(pair: tuple[str, str], things: list[Thing]) -> None:
    new, old = scanned(pair[0], things), scanned(pair[1], things)

    found = delta(new, old)

    assert not (found.introduced)
    assert not (found.fixed)
    assert not (found.raised)
    assert len(found.unchanged) == sum(bool(one.vulnerability) for one in things)
    versions = [
        {f.package: (f.versions, f.fixed_in) for f in s.findings.values()} for s in (new, old)
    ]
    assert versions[0] == versions[1]


@settings(max_examples=40)
@given(IMAGES)
@pytest.mark.parametrize("name", SBOMS)
def test_an_sbom_explains_nothing_away(name: str, things: list[Thing]) -> None:
    """A finding that vanished from the same packages was not fixed, whoever listed them."""
    report = scanned("grype JSON", things)
    silent = replace(report, findings={})

    found = delta(silent, report, inventories=(listed(name, things), listed("Trivy JSON", things)))

    assert found.fixed == ()


def test_the_real_trivy_writes_the_same_image_in_three_formats() -> None:
    folder = _there("70-trivy-real")
    names = ["deb.trivy.json", "deb.trivy.cdx.json", "deb.trivy.spdx.json"]
    sboms = [read_sbom((folder / name).read_bytes(), name) for name in names]

    assert all(contents(one, other).changes == () for one, other in itertools.pairwise(sboms))
    assert sboms[0].subjects & sboms[1].subjects & sboms[2].subjects
    scans = [read_scan((folder / name).read_bytes(), name) for name in names[:2]]
    found = delta(*scans)
    assert not (found.introduced)
    assert not (found.fixed)
    assert not (found.raised)
