"""A body from two reports and two SBOMs of 5 MB; reading CycloneDX beside cyclonedx-python-lib.

Each measurement is a process of its own, so that its peak of memory is its own; times are those of
the processor, so that a busy machine does not change them much. The peer lives in
a virtual environment in the temporary folder, made once; without it its column says so.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from bot.cli.groups import settle
from bot.domain.assessment import Evidence, assess
from bot.formats.evidence_body import review
from bot.formats.policy_file import read_policy
from bot.formats.reports import read_sbom, read_scan
from tests.bench.figures import Figure

FINDINGS: Final = 1_500
SBOM_BYTES: Final = 5_000_000
ROUNDS: Final = 5
ALLOWED_MS: Final = 150.0
ALLOWED_MB: Final = 150.0
PEER: Final = "cyclonedx-python-lib"
_PEER_PIN: Final = "cyclonedx-python-lib[json-validation]==11.12.0"
_PEER_HOME: Final = Path(tempfile.gettempdir(), "lockkeeper-bench-cyclonedx")
_PEER_CODE: Final = """
import json, sys, time
from cyclonedx.model.bom import Bom
data = open(sys.argv[1], "rb").read()
start = time.process_time()
Bom.from_json(json.loads(data))
print((time.process_time() - start) * 1000)
"""
_POLICY: Final = """\
version: 1
environments:
  stage:
    rules:
      - { id: critical, deny: introduced, severity: critical, fix: available }
      - { id: backlog, warn: present, severity: ">= medium" }
      - { id: licences, deny: introduced, licence: [SSPL-1.0] }
"""
_SEVERITIES: Final = ("CRITICAL", "HIGH", "MEDIUM", "LOW", "UNKNOWN")


def measure(folder: Path) -> list[Figure]:
    """Write the inputs, measure the body, then reading against the peer."""
    _write_inputs(folder)
    runs = [_own("whole", folder) for _ in range(ROUNDS)]
    milliseconds = statistics.median(run["milliseconds"] for run in runs)
    megabytes = max(run["megabytes"] for run in runs)
    size = (folder / "new.cdx.json").stat().st_size / 1e6
    name = f"body: {FINDINGS} findings, two SBOMs of {size:.1f} MB"
    return [
        _within(name, milliseconds, "ms", ALLOWED_MS),
        _within(f"{name}, peak", megabytes, "MB", ALLOWED_MB),
        _reading(folder),
    ]


def _within(name: str, value: float, unit: str, allowed: float) -> Figure:
    return Figure(name, value, unit, "allowed", allowed, value / allowed, 1.0)


def _reading(folder: Path) -> Figure:
    """One SBOM, alternating with the peer."""
    name = "read one SBOM"
    python = _peer()
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(ROUNDS):
        ours.append(_own("read", folder)["milliseconds"])
        if python is not None:
            command = [str(python), "-c", _PEER_CODE, str(folder / "new.cdx.json")]
            run = subprocess.run(command, check=True, capture_output=True, text=True)
            theirs.append(float(run.stdout))
    value = statistics.median(ours)
    if not theirs:
        return Figure(name, value, "ms", f"{PEER}: peer missing")
    ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    return Figure(name, value, "ms", PEER, statistics.median(theirs), ratio, 0.1)


def _peer() -> Path | None:
    """The interpreter that has the peer; None if it cannot be installed."""
    python = _PEER_HOME / "bin" / "python"
    try:
        if not python.exists():
            venv.create(_PEER_HOME, with_pip=True)
        install = [str(python), "-m", "pip", "install", "--quiet", _PEER_PIN]
        subprocess.run(install, check=True, capture_output=True, timeout=300)
    except (subprocess.SubprocessError, OSError):
        return None
    return python


def _own(what: str, folder: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.bench.body", what, str(folder)]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(run.stdout)
    return found


def _write_inputs(folder: Path) -> None:
    for name, shift in (("old", 0), ("new", FINDINGS // 10)):
        (folder / f"{name}.json").write_text(json.dumps(_report(shift)))
        (folder / f"{name}.cdx.json").write_text(json.dumps(_sbom(shift)))


def _report(shift: int) -> dict[str, Any]:
    entries = [
        {
            "VulnerabilityID": f"CVE-2025-{n + 1000}",
            "PkgName": f"library-{n % 400}",
            "PkgIdentifier": {"PURL": f"pkg:deb/debian/library-{n % 400}@1.0-{n % 400}?arch=amd64"},
            "InstalledVersion": f"1.0-{n % 400}",
            "FixedVersion": f"1.1-{n % 400}" if n % 3 else "",
            "Severity": _SEVERITIES[n % 5],
            "Title": "Improper handling of something that was not checked",
            "Description": "A flaw was found. " * 30,
            "References": [f"https://example.com/advisories/{n}/{m}" for m in range(10)],
            "PublishedDate": "2025-02-01T10:00:00Z",
        }
        for n in range(shift, shift + FINDINGS)
    ]
    result = {"Target": "x", "Class": "os-pkgs", "Type": "debian", "Vulnerabilities": entries}
    system = {"OS": {"Family": "debian", "Name": "12"}}
    return {"SchemaVersion": 2, "ArtifactName": "x", "Metadata": system, "Results": [result]}


def _sbom(shift: int) -> dict[str, Any]:
    """As syft writes them: every package with a licence, identifiers and properties."""
    components: list[dict[str, Any]] = []
    written = 0
    while written < SBOM_BYTES:
        n = len(components) + shift
        version = f"1.0-{n + (shift and n % 7 == 0)}"
        purl = f"pkg:deb/debian/library-{n}@{version}?arch=amd64&distro=debian-12"
        component = {
            "bom-ref": f"{purl}&package-id={n:016x}",
            "type": "library",
            "publisher": "Maintainers <maintainers@example.com>",
            "name": f"library-{n}",
            "version": version,
            "licenses": [{"license": {"id": ("MIT", "Apache-2.0", "GPL-2.0-only")[n % 3]}}],
            "cpe": f"cpe:2.3:a:library-{n}:library-{n}:{version}:*:*:*:*:*:*:*",
            "purl": purl,
            "properties": [
                {"name": f"syft:location:{m}:path", "value": f"/usr/share/doc/library-{n}/{m}"}
                for m in range(8)
            ],
        }
        components.append(component)
        written += len(json.dumps(component)) + 2
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": "urn:uuid:3e671687-395b-41f5-a30f-a58921a69b79",
        "version": 1,
        "components": components,
    }


def _whole(folder: Path) -> None:
    """What ``lockkeeper review`` does, from bytes to body."""
    policy = read_policy(_POLICY, file="policy.yaml")["stage"]
    evidence = Evidence(
        read_scan((folder / "new.json").read_bytes(), "new.json"),
        read_scan((folder / "old.json").read_bytes(), "old.json"),
        read_sbom((folder / "new.cdx.json").read_bytes(), "new.cdx.json"),
        read_sbom((folder / "old.cdx.json").read_bytes(), "old.cdx.json"),
    )
    review(assess("stage", evidence, policy, datetime(2026, 11, 20, tzinfo=UTC)), [])


def _once(what: str, folder: Path) -> None:
    data = (folder / "new.cdx.json").read_bytes()
    settle()  # as the command does when it has imported what it needs
    start = time.process_time()
    if what == "whole":
        _whole(folder)
    else:
        read_sbom(data, "new.cdx.json")
    milliseconds = (time.process_time() - start) * 1000
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    sys.stdout.write(json.dumps({"milliseconds": milliseconds, "megabytes": megabytes}))


if __name__ == "__main__":
    _once(sys.argv[1], Path(sys.argv[2]))
