"""Scanners' databases from nothing, and an executable that misbehaves like a hostile scanner."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from tests.world.images import BuiltImage, image_of

BUILT: Final = datetime(2026, 11, 20, 6, 0, tzinfo=UTC)
_PAGE: Final = 4096
_META, _LEAF, _FREELIST = 0x04, 0x02, 0x10

Buckets = Mapping[str, "Buckets | bytes"]


@dataclass(frozen=True)
class Advisory:
    """What a database says about a package."""

    vulnerability: str
    package: str
    fixed: str
    ecosystem: str = "debian 12"
    """``debian 12``, ``npm``, ``pip`` ..."""
    severity: int = 3
    """1 low to 4 critical."""


# --- bbolt, the format of Trivy's database ---------------------------------------------------


def bolt(buckets: Buckets) -> bytes:
    """A file of bbolt (go.etcd.io/bbolt, page.go, bucket.go): each bucket is one long leaf."""
    pages: list[bytes] = []  # from page 3 on

    def leaf(entries: Buckets) -> int:
        """Write the pages of a bucket; the number of its first one."""
        cells = []
        for key in sorted(entries, key=str.encode):
            value = entries[key]
            if isinstance(value, bytes):
                cells.append((0, key.encode(), value))
            else:
                cells.append((1, key.encode(), struct.pack("<QQ", leaf(value), 0)))
        number = 3 + len(pages)
        content = _leaf_page(number, cells)
        pages.extend(content[at : at + _PAGE] for at in range(0, len(content), _PAGE))
        return number

    root = leaf(buckets)
    high = 3 + len(pages)
    freelist = struct.pack("<QHHI", 2, _FREELIST, 0, 0).ljust(_PAGE, b"\0")
    return b"".join([_meta(0, root, high), _meta(1, root, high), freelist, *pages])


def _leaf_page(number: int, cells: Sequence[tuple[int, bytes, bytes]]) -> bytes:
    heads, bodies = b"", b""
    for index, (flags, key, value) in enumerate(cells):
        position = 16 * (len(cells) - index) + len(bodies)
        heads += struct.pack("<IIII", flags, position, len(key), len(value))
        bodies += key + value
    size = 16 + len(heads) + len(bodies)
    overflow = (size - 1) // _PAGE
    header = struct.pack("<QHHI", number, _LEAF, len(cells), overflow)
    return (header + heads + bodies).ljust((overflow + 1) * _PAGE, b"\0")


def _meta(number: int, root: int, high: int) -> bytes:
    meta = struct.pack("<IIIIQQQQQ", 0xED0CDAED, 2, _PAGE, 0, root, 0, 2, high, number)
    page = struct.pack("<QHHI", number, _META, 0, 0) + meta + struct.pack("<Q", _fnv(meta))
    return page.ljust(_PAGE, b"\0")


def _fnv(content: bytes) -> int:
    found = 0xCBF29CE484222325
    for byte in content:
        found = (found ^ byte) * 0x100000001B3 % 2**64
    return found


# --- Trivy's database ------------------------------------------------------------------------

_GHSA: Final = {
    "npm": "GitHub Security Advisory Npm",
    "pip": "GitHub Security Advisory Pip",
    "go": "GitHub Security Advisory Go",
    "maven": "GitHub Security Advisory Maven",
}


def write_trivy_database(
    directory: Path, advisories: Sequence[Advisory], built: datetime = BUILT
) -> Path:
    """A folder as ``trivy --cache-dir`` takes it."""
    sources: dict[str, bytes] = {}
    buckets: dict[str, dict[str, dict[str, bytes]]] = {}
    details: dict[str, bytes] = {}
    for one in advisories:
        bucket = f"{one.ecosystem}::{_GHSA[one.ecosystem]}" if one.ecosystem in _GHSA else ""
        vendor = "ghsa" if bucket else one.ecosystem.partition(" ")[0]
        sources[bucket or one.ecosystem] = _json({"ID": vendor, "Name": vendor, "URL": "-"})
        value: dict[str, Any] = (
            {"VulnerableVersions": [f"<{one.fixed}"], "PatchedVersions": [one.fixed]}
            if bucket
            else {"FixedVersion": one.fixed}
        )
        packages = buckets.setdefault(bucket or one.ecosystem, {})
        packages.setdefault(one.package, {})[one.vulnerability] = _json(value)
        details[one.vulnerability] = _json(
            {
                "Title": f"{one.package} is vulnerable",
                "Severity": ("UNKNOWN", "LOW", "MEDIUM", "HIGH", "CRITICAL")[one.severity],
                "VendorSeverity": {vendor: one.severity, "nvd": one.severity},
                "PublishedDate": "2024-01-02T03:04:05Z",
            }
        )
    folder = directory / "db"
    folder.mkdir(parents=True, exist_ok=True)
    content = bolt({"data-source": sources, "vulnerability": details, **buckets})
    (folder / "trivy.db").write_bytes(content)
    metadata = {
        "Version": 2,
        "NextUpdate": _stamp(built + timedelta(hours=6)),
        "UpdatedAt": _stamp(built),
        "DownloadedAt": _stamp(built),
    }
    (folder / "metadata.json").write_text(json.dumps(metadata))
    return directory


def _json(document: object) -> bytes:
    return json.dumps(document).encode()


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


# --- images with packages in them ------------------------------------------------------------


def packaged_image(
    debian: Mapping[str, str], npm: Mapping[str, str], platforms: Sequence[str] = ("linux/amd64",)
) -> BuiltImage:
    """An image of Debian 12 that has these packages installed: name to version."""
    status = "\n".join(
        f"Package: {name}\nStatus: install ok installed\nPriority: optional\nSection: libs\n"
        f"Maintainer: Nobody <nobody@example.com>\nArchitecture: amd64\nVersion: {version}\n"
        f"Description: {name}\n"
        for name, version in debian.items()
    )
    files = {
        "etc/os-release": 'ID=debian\nVERSION_ID="12"\nNAME="Debian GNU/Linux"\n',
        "etc/debian_version": "12.2\n",
        "var/lib/dpkg/status": status,
        **{f"var/lib/dpkg/info/{name}.list": f"/usr/share/{name}\n" for name in debian},
        **{
            f"app/node_modules/{name}/package.json": json.dumps(
                {"name": name, "version": version, "license": "MIT"}
            )
            for name, version in npm.items()
        },
    }
    return image_of(files, platforms)
