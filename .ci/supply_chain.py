# ruff: noqa: INP001 - a command, not a package
"""What we ship of others: its bill of materials, and known advisories. Nothing is asked online.

    python .ci/supply_chain.py sbom > build/lockkeeper.cdx.json
    python .ci/supply_chain.py advisories FOLDER [--days 30]

FOLDER holds OSV records, one JSON file each (as OSV's export of PyPI does), and the file `taken`
with the moment when they were all there were. Ends with 1 where an advisory applies, with 2 where
nobody can say: there is no snapshot, or it is too old.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from packaging.version import InvalidVersion, Version

ROOT = Path(__file__).parents[1]
_PINNED = re.compile(
    r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;\\]+)(.*(?:\n\s+--hash=.*)*)", re.MULTILINE
)


def locked() -> Iterator[tuple[str, str, list[str]]]:
    """Name, version and SHA-256 digests of everything that runs."""
    for name, version, rest in _PINNED.findall((ROOT / "requirements.lock").read_text()):
        yield name.lower(), version, re.findall(r"--hash=sha256:([0-9a-f]{64})", rest)


def sbom() -> Mapping[str, object]:
    """A CycloneDX document of the lock; it holds no time, so equal locks have equal ones."""
    components = [
        {
            "type": "library",
            "bom-ref": f"pkg:pypi/{name}@{version}",
            "name": name,
            "version": version,
            "purl": f"pkg:pypi/{name}@{version}",
            "hashes": [{"alg": "SHA-256", "content": one} for one in hashes],
        }
        for name, version, hashes in locked()
    ]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "application", "name": "lockkeeper"}},
        "components": components,
    }


def applying(record: Mapping[str, Any], versions: Mapping[str, str]) -> Iterator[str]:
    """Packages of ours that an OSV record is about; what cannot be compared applies."""
    if record.get("withdrawn"):
        return
    for affected in record.get("affected", ()):
        package = affected.get("package", {})
        name = re.sub(r"[-_.]+", "-", str(package.get("name", ""))).lower()
        own = versions.get(name)
        if package.get("ecosystem") != "PyPI" or own is None:
            continue
        ranges = [one for one in affected.get("ranges", ()) if one.get("type") == "ECOSYSTEM"]
        if own in affected.get("versions", ()) or any(_is_in(own, one) for one in ranges):
            yield name


def _is_in(own: str, found: Mapping[str, Any]) -> bool:
    """OSV's evaluation: events in order, the last that is not beyond the version decides."""
    inside = False
    try:
        here = Version(own)
        for event in found.get("events", ()):
            kind, at = next(iter(event.items()))
            bound = Version("0") if at == "0" else Version(at)
            if kind == "introduced" and here >= bound:
                inside = True
            elif (kind == "fixed" and here >= bound) or (kind == "last_affected" and here > bound):
                inside = False
    except (InvalidVersion, StopIteration):
        return True
    return inside


def advisories(folder: Path, days: int) -> int:
    """Print what applies; the exit code."""
    try:
        taken = datetime.fromisoformat((folder / "taken").read_text().strip())
        records = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    except (OSError, ValueError) as error:
        print(f"no snapshot of advisories: {error}", file=sys.stderr)  # noqa: T201 - a command
        return 2
    age = (datetime.now(UTC) - taken).days  # noqa: TID251 - a command has no port
    if age > days:
        fact = f"the snapshot is {age} days old, more than {days}: take a new one"
        print(fact, file=sys.stderr)  # noqa: T201 - a command
        return 2
    versions = {re.sub(r"[-_.]+", "-", name): version for name, version, _ in locked()}
    found = [
        f"{name} {versions[name]}: {record.get('id')} ({', '.join(record.get('aliases', ()))})"
        for record in records
        for name in applying(record, versions)
    ]
    said = f"no known advisory about {len(versions)} packages in {len(records)} records"
    print("\n".join(found) or f"{said}, {age} days old")  # noqa: T201 - a command
    return 1 if found else 0


def main() -> int:
    """Run one of the commands."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("sbom")
    asked = commands.add_parser("advisories")
    asked.add_argument("folder", type=Path)
    asked.add_argument("--days", type=int, default=30)
    given = parser.parse_args()
    if given.command == "sbom":
        print(json.dumps(sbom(), indent=1))  # noqa: T201 - a command
        return 0
    return advisories(given.folder, given.days)


if __name__ == "__main__":
    sys.exit(main())
