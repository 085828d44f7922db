"""What the demo's CI builds, and what it says about it: SBOM, report, provenance, signature.

Everything is signed with CI's key and hangs on the image, as ``cosign attest`` leaves it. The
vulnerabilities are real ones; which package has which is written down here, and where Trivy is
at hand it comes to the same by itself.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from bot.domain.oci import Digest, DigestReference, ImageRepository
from bot.ports.keys import Signer
from bot.signatures.sign import ensure_signed
from tests.world.attaching import (
    CYCLONEDX,
    PROVENANCE,
    VULN,
    attach,
    key_bundle,
    provenance,
    statement,
    vulnerabilities,
)
from tests.world.clients import client
from tests.world.images import PLATFORMS, BuiltImage, digest_of
from tests.world.scanners import CANARY, Advisory, packaged_image

REPOSITORY: Final = "acme/payments"
ADVISORIES: Final = (
    *CANARY,
    Advisory("CVE-2024-29041", "express", "4.19.2", "npm", 2),
)
"""What Trivy's database for the demo knows."""
_VULNERABLE: Final = {
    ("openssl", "3.0.11-1~deb12u1"): ADVISORIES[0],
    ("lodash", "4.17.4"): ADVISORIES[2],
    ("express", "4.18.2"): ADVISORIES[5],
}
_WORDS: Final = ("UNKNOWN", "LOW", "MEDIUM", "HIGH", "CRITICAL")
_DISCLOSED: Final = {
    "CVE-2023-5363": "2023-10-25",
    "CVE-2019-10744": "2019-07-26",
    "CVE-2024-29041": "2024-03-25",
}
_DATABASE: Final = datetime.now(UTC) - timedelta(hours=3)
"""One for every report: then each difference comes from the image."""
_TOOL: Final = {"name": "demo-ci", "version": "1.0"}
_MEBIBYTE: Final = 2**20


@dataclass(frozen=True)
class Build:
    """One commit's image."""

    version: str
    message: str
    """Of the commit."""
    base: str
    debian: Mapping[str, tuple[str, str]]
    """Package -> version, licence."""
    npm: Mapping[str, tuple[str, str]]
    days: int
    """How long ago CI built it."""
    size: int
    """Bytes of the application."""

    def image(self, commit: str) -> BuiltImage:
        """The image, the same for the same commit."""
        dice = random.Random(self.message)  # noqa: S311 - reproducible content, no secret
        built = datetime.now(UTC) - timedelta(days=self.days, minutes=5)
        packages = {
            f"app/node_modules/{name}/package.json": (
                f'{{"name":"{name}","version":"{version}","license":"{licence}"}}'
            )
            for name, (version, licence) in self.npm.items()
        }
        return packaged_image(
            {name: version for name, (version, _) in self.debian.items()},
            {},
            PLATFORMS,
            {
                "org.opencontainers.image.revision": commit,
                "org.opencontainers.image.base.name": f"docker.io/library/{self.base}",
                "org.opencontainers.image.base.digest": digest_of(
                    f"{self.base} {self.debian}".encode()
                ),
            },
            changed={**packages, "app/bundle.bin": dice.randbytes(self.size)},
            created=built.strftime("%Y-%m-%dT%H:%M:%SZ"),
        )

    def _packages(self) -> tuple[tuple[str, Mapping[str, tuple[str, str]]], ...]:
        return (("pkg:deb/debian", self.debian), ("pkg:npm", self.npm))

    # --- what CI says about it ---

    def sbom(self, platform_digest: str) -> dict[str, Any]:
        """CycloneDX of one platform."""
        return {
            "bomFormat": "CycloneDX",
            "specVersion": "1.5",
            "metadata": {
                "tools": [_TOOL],
                "component": {
                    "type": "container",
                    "name": REPOSITORY,
                    "version": platform_digest,
                },
            },
            "components": [
                {"type": "operating-system", "name": "debian", "version": "12"},
                *(
                    {
                        "type": "library",
                        "name": name,
                        "version": version,
                        "purl": f"{kind}/{name}@{version}",
                        "licenses": [{"license": {"id": licence}}],
                    }
                    for kind, packages in self._packages()
                    for name, (version, licence) in packages.items()
                ),
            ],
        }

    def report(self, platform: str, config: str) -> dict[str, Any]:
        """A vulnerability report of one platform, in Trivy's format."""
        classes = (("os-pkgs", "debian"), ("lang-pkgs", "node-pkg"))
        results = [
            {
                "Target": kind,
                "Class": package_class,
                "Type": kind,
                "Packages": [
                    {
                        "Name": name,
                        "Version": version,
                        "Licenses": [licence] if licence else [],
                        "Identifier": {"PURL": f"{purl}/{name}@{version}"},
                    }
                    for name, (version, licence) in packages.items()
                ],
                "Vulnerabilities": [
                    _finding(name, version, f"{purl}/{name}@{version}")
                    for name, (version, _) in packages.items()
                    if (name, version) in _VULNERABLE
                ],
            }
            for (package_class, kind), (purl, packages) in zip(
                classes, self._packages(), strict=True
            )
        ]
        system, _, architecture = platform.partition("/")
        return {
            "SchemaVersion": 2,
            "Trivy": {"Version": "(written by demo-ci)"},
            "ArtifactName": REPOSITORY,
            "ArtifactType": "container_image",
            "Metadata": {
                "OS": {"Family": "debian", "Name": "12", "EOSL": False},
                "ImageID": config,
                "ImageConfig": {"os": system, "architecture": architecture},
            },
            "Results": results,
        }


def _finding(name: str, version: str, purl: str) -> dict[str, Any]:
    known = _VULNERABLE[name, version]
    return {
        "VulnerabilityID": known.vulnerability,
        "PkgName": name,
        "PkgIdentifier": {"PURL": purl},
        "InstalledVersion": version,
        "FixedVersion": known.fixed,
        "Severity": _WORDS[known.severity],
        "PublishedDate": f"{_DISCLOSED[known.vulnerability]}T00:00:00Z",
    }


def push(build: Build, image: BuiltImage, host: str, commit: str, signer: Signer) -> None:
    """Push the image to CI's registry, everything about it, and then its tag."""
    image.push(host, REPOSITORY)
    repository = ImageRepository(host, REPOSITORY)
    now = datetime.now(UTC)
    finished = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    database = _DATABASE.strftime("%Y-%m-%dT%H:%M:%SZ")
    for platform in image.children:
        about, config = image.child(platform), image.config(platform)
        report = vulnerabilities(build.report(platform, config), finished, database)
        for kind, predicate in ((CYCLONEDX, build.sbom(about)), (VULN, report)):
            _attest(repository.at(Digest(about)), signer, kind, predicate)
    whole = repository.at(Digest(image.digest))
    _attest(whole, signer, PROVENANCE, provenance(commit, REPOSITORY))
    platforms = [Digest(digest) for digest in image.child_digests]
    ensure_signed(client(host), signer, whole, None, {}, platforms)
    image.tag(host, REPOSITORY, f"sha-{commit[:7]}")


def _attest(
    reference: DigestReference, signer: Signer, kind: str, predicate: Mapping[str, Any]
) -> None:
    payload = statement(str(reference.digest), kind, predicate)
    attach(reference, key_bundle(signer, payload))


# --- the three builds ---

_SYSTEM: Final = {
    "base-files": ("12.4+deb12u2", "GPL-2.0-or-later"),
    "ca-certificates": ("20230311", "GPL-2.0-or-later"),
    "libc6": ("2.36-9+deb12u3", "LGPL-2.1-or-later"),
    "openssl": ("3.0.11-1~deb12u1", "Apache-2.0"),
    "zlib1g": ("1:1.2.13.dfsg-1", "Zlib"),
}
_RENEWED: Final = {
    **_SYSTEM,
    "libc6": ("2.36-9+deb12u4", "LGPL-2.1-or-later"),
    "openssl": ("3.0.11-1~deb12u2", "Apache-2.0"),
}
_LIBRARIES: Final = {
    "body-parser": ("1.20.2", "MIT"),
    "express": ("4.18.2", "MIT"),
    "pg": ("8.11.3", "MIT"),
    "ua-parser-js": ("1.0.37", "MIT"),
}

FIRST: Final = Build(
    "v1.2.0",
    "Round VAT for mixed baskets",
    "node:20.8-bookworm-slim",
    _SYSTEM,
    _LIBRARIES,
    days=14,
    size=3 * _MEBIBYTE,
)
BLOCKED: Final = Build(
    "v1.3.0",
    "Offer the wallet of the device",
    "node:20.9-bookworm-slim",
    _RENEWED,
    {
        **_LIBRARIES,
        "lodash": ("4.17.4", "MIT"),
        "ua-parser-js": ("2.0.0", "AGPL-3.0-or-later"),
    },
    days=0,
    size=3 * _MEBIBYTE + 200_000,
)
MENDED: Final = Build(
    "v1.3.0",
    "Renew lodash, keep ua-parser-js 1",
    BLOCKED.base,
    _RENEWED,
    {**_LIBRARIES, "lodash": ("4.17.21", "MIT"), "ua-parser-js": ("1.0.39", "MIT")},
    days=0,
    size=BLOCKED.size,
)
