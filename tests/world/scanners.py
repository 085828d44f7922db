"""Scanners' databases from nothing, and an executable that misbehaves like a hostile scanner."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import struct
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from tests.world.images import CREATED, MANIFEST, BuiltImage, descriptor, digest_of, image_of

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
    cves: tuple[str, ...] = ()
    """What it is about, where it is an advisory that says so."""


CANARY: Final = (
    Advisory("CVE-2023-5363", "openssl", "3.0.11-1~deb12u2"),
    Advisory("CVE-2023-38545", "curl", "7.88.1-10+deb12u4", severity=4),
    Advisory("CVE-2019-10744", "lodash", "4.17.12", "npm", 4),
    Advisory("CVE-2019-10906", "jinja2", "2.10.1", "pip"),
    Advisory(
        "CVE-2021-44228", "org.apache.logging.log4j:log4j-core", "2.15.0", "maven", severity=4
    ),
)
"""What every database needs, or Lockkeeper's own canary is not found."""


# --- where another user can reach them -------------------------------------------------------


@contextlib.contextmanager
def open_folder() -> Iterator[Path]:
    """A folder that a scanner of another user reaches; pytest's own is closed to others."""
    with tempfile.TemporaryDirectory(prefix="lockkeeper-test-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def placed(program: Path, folder: Path) -> Path:
    """The program where another user reaches it."""
    target = folder / program.name
    try:
        os.link(program, target)
    except OSError:
        shutil.copy2(program, target)
    return target


def interpreter() -> Path:
    """A Python that another user can start; the test is skipped where there is none."""
    for candidate in (Path(sys.executable).resolve(), Path("/usr/bin/python3").resolve()):
        folders = candidate.parents
        if candidate.exists() and all(folder.stat().st_mode & 0o001 for folder in folders):
            return candidate
    pytest.skip("there is no Python that another user can start")


def write_program(path: Path, code: str) -> Path:
    """An executable of Python code."""
    path.write_text(f"#!{interpreter()} -I\n{code}")
    path.chmod(0o755)
    return path


def write_fake_trivy(
    folder: Path, advisories: Sequence[Advisory] = CANARY, built: datetime = BUILT
) -> tuple[Path, Path]:
    """An executable that answers like Trivy, and its database; see `misbehave`."""
    database = write_trivy_database(folder / "database", [], built)
    write_fake_advisories(database, advisories)
    code = Path(__file__).with_name("fake_trivy.py").read_text()
    return write_program(folder / "trivy", code), database


def write_fake_advisories(database: Path, advisories: Sequence[Advisory]) -> None:
    """Change what the fake scanner knows."""
    words = ("UNKNOWN", "LOW", "MEDIUM", "HIGH", "CRITICAL")
    kinds = {"npm": "npm", "pip": "pypi", "maven": "maven"}
    rows = [
        {
            "vulnerability": one.vulnerability,
            "purl": f"pkg:{kinds.get(one.ecosystem, 'deb/debian')}/{one.package.replace(':', '/')}",
            "fixed": one.fixed,
            "severity": words[one.severity],
        }
        for one in advisories
    ]
    (database / "advisories.json").write_text(json.dumps(rows))


def misbehave(database: Path, behaviour: str) -> None:
    """Let the fake scanner do something else from now on: `tests.world.fake_trivy.BEHAVIOURS`."""
    (database / "behaviour").write_text(behaviour)


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
    debian: Mapping[str, str],
    npm: Mapping[str, str],
    platforms: Sequence[str] = ("linux/amd64",),
    labels: Mapping[str, str] | None = None,
    *,
    changed: Mapping[str, str | bytes | None] | None = None,
    created: str = CREATED,
) -> BuiltImage:
    """An image of Debian 12 that has these packages installed: name to version.

    ``changed`` are files that it has besides, or, with None, has not.
    """
    status = "\n".join(
        f"Package: {name}\nStatus: install ok installed\nPriority: optional\nSection: libs\n"
        f"Maintainer: Nobody <nobody@example.com>\nArchitecture: amd64\nVersion: {version}\n"
        f"Description: {name}\n"
        for name, version in debian.items()
    )
    files: dict[str, str | bytes] = {
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
    changes = {**files, **(changed or {})}
    kept = {path: content for path, content in changes.items() if content is not None}
    return image_of(kept, platforms, labels, created=created)


# --- grype's database ------------------------------------------------------------------------

# Tables as gorm makes them of grype/db/v6/models.go; without indexes, which only speed it up.
_GRYPE_TABLES: Final = """
CREATE TABLE blobs (id integer PRIMARY KEY, value text NOT NULL);
CREATE TABLE db_metadata (build_timestamp datetime NOT NULL, model integer NOT NULL,
  revision integer NOT NULL, addition integer NOT NULL);
CREATE TABLE providers (id text PRIMARY KEY, version text, processor text, date_captured datetime,
  input_digest text);
CREATE TABLE vulnerability_handles (id integer PRIMARY KEY, name text NOT NULL,
  status text NOT NULL, published_date datetime, modified_date datetime, withdrawn_date datetime,
  provider_id text NOT NULL, blob_id integer);
CREATE TABLE vulnerability_aliases (name text, alias text NOT NULL, PRIMARY KEY (name, alias));
CREATE TABLE affected_package_handles (id integer PRIMARY KEY, vulnerability_id integer NOT NULL,
  operating_system_id integer, package_id integer, blob_id integer);
CREATE TABLE unaffected_package_handles (id integer PRIMARY KEY, vulnerability_id integer NOT NULL,
  operating_system_id integer, package_id integer, blob_id integer);
CREATE TABLE operating_systems (id integer PRIMARY KEY, name text COLLATE NOCASE, release_id text
  COLLATE NOCASE, major_version text, minor_version text, label_version text, codename text,
  channel text, eol_date datetime, eoas_date datetime);
CREATE TABLE operating_system_specifier_overrides (alias text, version text, version_pattern text,
  codename text, channel text, replacement text, replacement_major_version text,
  replacement_minor_version text, replacement_label_version text, replacement_channel text,
  rolling numeric, applicable_client_db_schemas text);
CREATE TABLE packages (id integer PRIMARY KEY, ecosystem text COLLATE NOCASE,
  name text COLLATE NOCASE);
CREATE TABLE package_specifier_overrides (ecosystem text PRIMARY KEY, replacement_ecosystem text);
CREATE TABLE architecture_aliases (alias text PRIMARY KEY, canonical text NOT NULL);
CREATE TABLE affected_cpe_handles (id integer PRIMARY KEY, vulnerability_id integer NOT NULL,
  cpe_id integer, blob_id integer);
CREATE TABLE unaffected_cpe_handles (id integer PRIMARY KEY, vulnerability_id integer NOT NULL,
  cpe_id integer, blob_id integer);
CREATE TABLE cpes (id integer PRIMARY KEY, part text NOT NULL, vendor text, product text NOT NULL,
  edition text, language text, software_edition text, target_hardware text, target_software text,
  other text);
CREATE TABLE package_cpes (package_id integer, cpe_id integer, PRIMARY KEY (package_id, cpe_id));
CREATE TABLE known_exploited_vulnerability_handles (id integer PRIMARY KEY, cve text NOT NULL,
  blob_id integer);
CREATE TABLE epss_metadata (date datetime NOT NULL);
CREATE TABLE epss_handles (id integer PRIMARY KEY, cve text NOT NULL, epss real NOT NULL,
  percentile real NOT NULL);
CREATE TABLE cwe_handles (id integer PRIMARY KEY, cve text NOT NULL, cwe text NOT NULL,
  source text, type text);
"""
# By Trivy's name: the package type of syft, and the format of its versions.
_GRYPE_ECOSYSTEMS: Final = {
    "npm": ("npm", "semver"),
    "pip": ("python", "python"),
    "go": ("go-module", "go"),
    "maven": ("java-archive", "maven"),
}


def write_grype_database(
    directory: Path, advisories: Sequence[Advisory], built: datetime = BUILT
) -> Path:
    """A folder as ``GRYPE_DB_CACHE_DIR`` names it."""
    folder = directory / "6"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "vulnerability.db"
    file.unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(file)) as database:
        database.executescript(_GRYPE_TABLES)
        stamp = built.strftime("%Y-%m-%d %H:%M:%S+00:00")
        database.execute("INSERT INTO db_metadata VALUES (?, 6, 1, 9)", (stamp,))
        database.execute(
            "INSERT INTO operating_systems (id, name, release_id, major_version, minor_version,"
            " label_version, codename, channel) VALUES (1, 'debian', 'debian', '12', '', '',"
            " 'bookworm', '')"
        )
        database.execute("INSERT INTO epss_metadata VALUES (?)", (stamp,))
        for provider in ("debian", "github"):
            database.execute(
                "INSERT INTO providers VALUES (?, '1', 'vunnel', ?, 'xxh64:0')", (provider, stamp)
            )
        for number, one in enumerate(advisories, 1):
            _put_grype_advisory(database, number, one)
        database.commit()
    found = {"digest": f"xxh64:{_xxh64(file.read_bytes()):016x}", "client_version": "v6.1.9"}
    (folder / "import.json").write_text(json.dumps(found))
    return directory


def _put_grype_advisory(database: sqlite3.Connection, number: int, one: Advisory) -> None:
    kind, versions = _GRYPE_ECOSYSTEMS.get(one.ecosystem, ("deb", "dpkg"))
    provider, system = ("debian", 1) if kind == "deb" else ("github", None)
    words = ("unknown", "low", "medium", "high", "critical")
    vulnerability = {
        "id": one.vulnerability,
        "severities": [{"scheme": "CHMLN", "value": words[one.severity], "rank": 1}],
    }
    affected = {
        "cves": list(one.cves) or [one.vulnerability],
        "ranges": [
            {
                "version": {"type": versions, "constraint": f"<{one.fixed}"},
                "fix": {
                    "version": one.fixed,
                    "state": "fixed",
                    "detail": {"available": {"date": "2024-01-03", "kind": "advisory"}},
                },
            }
        ],
    }
    blobs = [(2 * number, json.dumps(vulnerability)), (2 * number + 1, json.dumps(affected))]
    database.executemany("INSERT INTO blobs VALUES (?, ?)", blobs)
    database.execute(
        "INSERT INTO vulnerability_handles (id, name, status, published_date, modified_date,"
        " provider_id, blob_id) VALUES (?, ?, 'active', ?, ?, ?, ?)",
        (
            *(number, one.vulnerability, "2024-01-02 00:00:00+00:00", "2024-01-02 00:00:00+00:00"),
            *(provider, 2 * number),
        ),
    )
    database.execute("INSERT INTO packages VALUES (?, ?, ?)", (number, kind, one.package))
    database.execute(
        "INSERT INTO affected_package_handles VALUES (?, ?, ?, ?, ?)",
        (number, number, system, number, 2 * number + 1),
    )


def _xxh64(content: bytes) -> int:
    """XXH64 with seed 0: xxHash, doc/xxhash_spec.md."""
    primes = (
        *(0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9),
        *(0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5),
    )
    one, two, three, four, five = primes
    mask = 2**64 - 1

    def rotated(value: int, by: int) -> int:
        return (value << by | value >> (64 - by)) & mask

    def rounded(lane: int, word: int) -> int:
        return rotated((lane + word * two) & mask, 31) * one & mask

    at, size = 0, len(content)
    if size >= 32:
        lanes = [(one + two) & mask, two, 0, -one & mask]
        while at <= size - 32:
            words = struct.unpack_from("<4Q", content, at)
            lanes = [rounded(lane, word) for lane, word in zip(lanes, words, strict=True)]
            at += 32
        found = sum(rotated(lane, by) for lane, by in zip(lanes, (1, 7, 12, 18), strict=True))
        found &= mask
        for lane in lanes:
            found = ((found ^ rounded(0, lane)) * one + four) & mask
    else:
        found = five
    found = (found + size) & mask
    while at <= size - 8:
        word = struct.unpack_from("<Q", content, at)[0]
        found = (rotated(found ^ rounded(0, word), 27) * one + four) & mask
        at += 8
    if at <= size - 4:
        word = struct.unpack_from("<I", content, at)[0]
        found = (rotated(found ^ (word * one & mask), 23) * two + three) & mask
        at += 4
    for byte in content[at:]:
        found = rotated(found ^ (byte * five & mask), 11) * one & mask
    found = (found ^ found >> 33) * two & mask
    found = (found ^ found >> 29) * three & mask
    return found ^ found >> 32


def layout_of(image: BuiltImage, platform: str, directory: Path) -> None:
    """What a registry's client would save: one platform as an OCI layout."""
    manifest = image.children[platform]
    document = json.loads(manifest)
    digests = [document["config"]["digest"], *(layer["digest"] for layer in document["layers"])]
    folder = directory / "blobs" / "sha256"
    folder.mkdir(parents=True)
    for content in (manifest, *(image.blobs[digest] for digest in digests)):
        (folder / digest_of(content).partition(":")[2]).write_bytes(content)
    (directory / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    entry = descriptor(MANIFEST, manifest)
    (directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
