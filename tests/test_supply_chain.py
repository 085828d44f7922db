"""What we ship of others: licences that we allow, a bill of materials, known advisories.

The lock names what runs; the installed packages say what they are. No registry is asked.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from email.message import Message
from importlib import metadata
from pathlib import Path
from typing import Final, cast

import pytest

ROOT: Final = Path(__file__).parents[1]
TOOL: Final = ROOT / ".ci" / "supply_chain.py"
ALLOWED: Final = frozenset(
    {
        *("MIT", "MIT-0", "BSD", "BSD-2-Clause", "BSD-3-Clause", "ISC", "0BSD", "Unlicense"),
        *("Apache-2.0", "PSF-2.0", "Python-2.0", "MPL-2.0", "CNRI-Python", "Zlib", "ZPL-2.1"),
    }
)
"""Licences that ask for a notice at most, or (MPL) for changes of their own files."""
EXCEPTIONS: Final = {
    "psycopg": "LGPL-3.0: the extra postgresql, used as it is and not changed (ADR 21)",
    "psycopg-binary": "LGPL-3.0: the same",
    "pygithub": "LGPL-3.0: used as it is and not changed; the user's choice",
    "sigstore-models": "its metadata says nothing, its file LICENSE is MIT",
}
_WORDS: Final = {
    "MIT License": "MIT",
    "MIT": "MIT",
    "BSD License": "BSD",
    "BSD": "BSD",
    "Apache Software License": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Zope Public License": "ZPL-2.1",
    "Python Software Foundation License": "PSF-2.0",
    "ISC License (ISCL)": "ISC",
    "The Unlicense (Unlicense)": "Unlicense",
}


def locked(name: str = "requirements.lock") -> dict[str, str]:
    text = (ROOT / name).read_text()
    found = re.findall(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;\\]+)", text, re.MULTILINE)
    return {package.lower(): version for package, version in found}


def licences(package: str) -> set[str]:
    """What an installed package says: its expression, else its classifiers, else its own word."""
    said = cast("Message", metadata.metadata(package))
    expression = str(said.get("License-Expression") or "")
    if expression:
        return _parts(expression)
    own = [
        one.rpartition(" :: ")[2]
        for one in said.get_all("Classifier") or ()
        if one.startswith("License ::")
    ]
    words = [one for one in own if one != "OSI Approved"]
    if not words:
        return _parts(str(said.get("License") or "").strip().partition("\n")[0])
    return {_WORDS.get(one, one) for one in words}


def _parts(expression: str) -> set[str]:
    """Every licence of an expression: each has to be allowed."""
    found = re.split(r"\s+(?:AND|OR|WITH)\s+|[()]", expression)
    return {_WORDS.get(one, one) for one in found if one.strip()} or {""}


def installed(package: str) -> bool:
    try:
        metadata.distribution(package)
    except metadata.PackageNotFoundError:
        return False
    return True


@pytest.mark.parametrize("package", sorted(locked()))
def test_what_we_ship_has_a_licence_that_we_allow(package: str) -> None:
    if not installed(package):
        pytest.skip(f"{package} is for another platform")
    found = licences(package)

    assert found <= ALLOWED or package in EXCEPTIONS, found


def test_every_exception_is_needed() -> None:
    every = {**locked(), **locked("requirements-dev.lock")}

    assert set(EXCEPTIONS) <= set(every)


# --- the bill of materials, and advisories from a snapshot ---


def tool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(TOOL), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_our_bill_of_materials_names_all_that_is_locked() -> None:
    done = tool("sbom")
    document = json.loads(done.stdout)

    assert document["bomFormat"] == "CycloneDX"
    named = {one["name"]: one["version"] for one in document["components"]}
    assert named == locked()
    assert all(one["purl"].startswith("pkg:pypi/") for one in document["components"])
    assert all(one["hashes"] for one in document["components"])


def advisory(
    package: str, *events: dict[str, str], versions: tuple[str, ...] = ()
) -> Mapping[str, object]:
    return {
        "id": f"PYSEC-2026-{package}",
        "aliases": ["CVE-2026-1"],
        "modified": "2026-11-20T00:00:00Z",
        "affected": [
            {
                "package": {"ecosystem": "PyPI", "name": package},
                "ranges": [{"type": "ECOSYSTEM", "events": list(events)}],
                "versions": list(versions),
            }
        ],
    }


def snapshot(folder: Path, *advisories: Mapping[str, object], days: int = 0) -> Path:
    """A folder of OSV records, as OSV's export of PyPI is one."""
    folder.mkdir()
    for number, one in enumerate(advisories):
        (folder / f"{number}.json").write_text(json.dumps(one))
    at = datetime.now(UTC).timestamp() - days * 86400
    (folder / "taken").write_text(datetime.fromtimestamp(at, UTC).isoformat())
    return folder


def test_a_known_advisory_is_named_with_the_version_that_is_locked(tmp_path: Path) -> None:
    version = locked()["click"]
    taken = snapshot(tmp_path / "osv", advisory("Click", {"introduced": "0"}))

    done = tool("advisories", str(taken))

    assert done.returncode == 1
    assert f"click {version}: PYSEC-2026-Click (CVE-2026-1)" in done.stdout


@pytest.mark.parametrize(
    "one",
    [
        advisory("click", {"introduced": "0"}, {"fixed": "0.0.1"}),
        advisory("click", {"introduced": "9999"}),
        advisory("click", {"introduced": "0"}, {"last_affected": "0.0.1"}),
        advisory("another", {"introduced": "0"}),
        {**advisory("click", {"introduced": "0"}), "withdrawn": "2026-11-20T00:00:00Z"},
    ],
    ids=["fixed", "later", "last affected", "another package", "withdrawn"],
)
def test_what_does_not_concern_us_is_silent(tmp_path: Path, one: Mapping[str, object]) -> None:
    done = tool("advisories", str(snapshot(tmp_path / "osv", one)))

    assert (done.returncode, "no known advisory" in done.stdout) == (0, True), done.stdout


def test_a_version_by_name_and_one_that_nobody_can_compare_count(tmp_path: Path) -> None:
    named = advisory("click", {"introduced": "9999"}, versions=(locked()["click"],))
    odd = advisory("flask", {"introduced": "not-a-version"})

    done = tool("advisories", str(snapshot(tmp_path / "osv", named, odd)))

    assert done.returncode == 1
    assert "click" in done.stdout
    assert "flask" in done.stdout, "unknown is not no"


def test_an_old_snapshot_or_none_is_no_answer(tmp_path: Path) -> None:
    old = tool("advisories", str(snapshot(tmp_path / "old", days=40)))
    none = tool("advisories", str(tmp_path / "none"))

    assert old.returncode == 2
    assert "40 days old" in old.stderr
    assert none.returncode == 2
