from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from bot.cli.main import lockkeeper
from tests.formats.test_reports import SCANS
from tests.samples import sample

POLICY = """\
version: 1
environments:
  stage:
    rules:
      - { id: critical, deny: introduced, severity: critical, fix: available }
      - { id: medium, warn: present, severity: ">= medium" }
  lenient:
    when_not_evaluated: warn
    rules: [{ id: exploited, deny: introduced, kev: true }]
  careful:
    exceptions: exceptions.yaml
    rules: [{ id: critical, deny: introduced, severity: critical }]
"""
SEVERITIES = ("critical", "high", "medium", "low", "negligible", "unknown")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "policy.yaml").write_text(POLICY)
    return tmp_path


def review(*arguments: object, environment: str = "stage") -> Result:
    given = ["review", "--environment", environment, *map(str, arguments)]
    return CliRunner().invoke(lockkeeper, given, catch_exceptions=False)


def as_json(*arguments: object, environment: str = "stage") -> tuple[int, Any]:
    result = review(*arguments, "--json", environment=environment)
    return result.exit_code, json.loads(result.stdout)


def report(folder: Path, name: str, *severities: str, **more: object) -> Path:
    """A Trivy report with one finding of each severity, each in a package of its own."""
    entries = [
        {
            "VulnerabilityID": f"CVE-2026-{n:04d}",
            "PkgName": f"lib{severity.lower()}{n}",
            "InstalledVersion": "1",
            "FixedVersion": "2",
            "Severity": severity,
        }
        for n, severity in enumerate(severities)
    ]
    packages = [{"Name": "libc6", "Version": "1"}]
    result = {
        "Target": "x",
        "Class": "os-pkgs",
        "Type": "debian",
        "Packages": packages,
        "Vulnerabilities": entries,
    }
    document = {
        "SchemaVersion": 2,
        "ArtifactName": "shop:1",
        "Metadata": {"OS": {"Family": "debian", "Name": "12"}},
        "Results": [result],
        **more,
    }
    file = folder / name
    file.write_text(json.dumps(document))
    return file


def counts(**found: int) -> dict[str, int]:
    return {severity: found.get(severity, 0) for severity in SEVERITIES}


def test_a_blocked_image(folder: Path) -> None:
    old, new = report(folder, "old.json"), report(folder, "new.json", "CRITICAL", "LOW")

    result = review("--policy", folder / "policy.yaml", "--new-scan", new, "--old-scan", old)

    assert result.exit_code == 3
    assert result.stdout.startswith("> [!CAUTION]\n> **Policy: blocked for `stage`.**")
    assert result.stderr == ""


def test_json_has_the_promised_shape(folder: Path) -> None:
    old = report(folder, "old.json", "HIGH", "LOW")
    new = report(folder, "new.json", "HIGH", "MEDIUM", "CRITICAL")

    code, found = as_json(
        *("--policy", folder / "policy.yaml", "--new-scan", new, "--old-scan", old)
    )

    assert list(found)[:5] == ["verdict", "checks", "counts", "packages", "baseline"]
    assert [row["severity"] for row in found["findings"]["introduced"]] == ["critical", "medium"]
    assert (code, found["verdict"]) == (3, "fail")
    assert found["counts"] == {
        "introduced": counts(critical=1, medium=1),
        "raised": counts(),
        "fixed": counts(low=1),
        "unchanged": counts(high=1),
        "suppressed": counts(),
    }
    names = ("added", "removed", "updated", "downgraded", "licence_changes")
    assert found["packages"] == dict.fromkeys(names, 0)
    assert found["baseline"] == {"scanner": "Trivy", "image": "shop:1"}
    assert [(c["id"], c["result"]) for c in found["checks"]] == [
        *(("scan", "pass"), ("critical", "fail"), ("medium", "warn"))
    ]


@pytest.mark.parametrize(
    ("environment", "severities", "expected"),
    [
        ("stage", [], (0, "pass")),
        ("stage", ["LOW"], (0, "pass")),
        ("stage", ["MEDIUM"], (0, "warn")),
        ("stage", ["CRITICAL"], (3, "fail")),
        ("stage", ["UNKNOWN"], (3, "not_evaluated")),
        ("lenient", [], (0, "pass")),
        ("lenient", ["LOW"], (0, "not_evaluated")),
    ],
)
def test_the_verdict_is_the_exit_code(
    folder: Path, environment: str, severities: list[str], expected: tuple[int, str]
) -> None:
    new = report(folder, "new.json", *severities)

    code, found = as_json(
        *("--policy", folder / "policy.yaml", "--new-scan", new), environment=environment
    )

    assert (code, found["verdict"]) == expected
    assert found["baseline"] is None


def test_without_a_policy_nothing_blocks(folder: Path) -> None:
    new = report(folder, "new.json", "CRITICAL")

    code, found = as_json("--new-scan", new)

    assert (code, found["verdict"], found["checks"]) == (0, "not_evaluated", [])
    assert found["counts"]["introduced"]["critical"] == 1


@pytest.mark.parametrize("results", [None, []])
def test_a_report_of_nothing_is_never_a_pass(folder: Path, results: object) -> None:
    new = report(folder, "new.json", Results=results, Metadata={})

    code, found = as_json("--policy", folder / "policy.yaml", "--new-scan", new)

    assert (code, found["verdict"]) == (3, "not_evaluated")


@pytest.mark.parametrize("name", SCANS)
def test_every_readable_sample_against_itself(name: str) -> None:
    file = sample(name)

    code, found = as_json("--new-scan", file, "--old-scan", file)

    assert code == 0
    assert found["counts"]["introduced"] == found["counts"]["fixed"] == counts()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("null", "the JSON value null"),
        ("", "empty"),
        ("[]", "an empty list"),
        ('{"runs": []}', "a SARIF log"),
        ('{"SchemaVersion": 2, "Results": [', "not JSON: truncated"),
        ('{"bomFormat": "CycloneDX", "specVersion": "1.6", "components": []}', "vulnerabilities"),
    ],
)
@pytest.mark.parametrize("option", ["--new-scan", "--old-scan", "--new-sbom", "--old-sbom"])
def test_an_unreadable_input_is_named(folder: Path, content: str, words: str, option: str) -> None:
    bad = folder / "bad.json"
    bad.write_text(content)
    good = report(folder, "good.json")
    if "sbom" in option and "vulnerabilities" in words:
        content, words = "{}", "no known format"
        bad.write_text(content)

    result = review("--new-scan", good, option, bad)

    assert result.exit_code == 1
    assert f"{bad}: " in result.stderr
    assert words in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("option", ["--kev", "--epss", "--vex"])
def test_an_unreadable_feed_is_named(folder: Path, option: str) -> None:
    bad = folder / "feed"
    bad.write_text("null")

    result = review("--new-scan", report(folder, "new.json"), option, bad)

    assert result.exit_code == 1
    assert str(bad) in result.stderr


def test_errors_are_json_where_json_is_asked_for(folder: Path) -> None:
    bad = folder / "bad.json"
    bad.write_text("null")

    code, found = as_json("--new-scan", bad)

    assert code == 1
    assert found["error"]["kind"] == "UnreadableEvidenceError"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "--new-scan"),
        (["--new-scan", "nowhere.json"], "does not exist"),
        (["--at", "noon"], "noon"),
    ],
)
def test_wrong_usage(arguments: list[str], words: str) -> None:
    result = review(*arguments)

    assert result.exit_code == 2
    assert words in result.stderr


@pytest.mark.parametrize(
    ("environment", "text", "words"),
    [
        ("stag", POLICY, "did you mean 'stage'"),
        ("stage", POLICY.replace("severity:", "sevrity:", 1), "policy.yaml:5: unknown key"),
        ("careful", POLICY, "exceptions.yaml does not exist"),
        ("stage", "\x00", "not YAML"),
    ],
)
def test_a_wrong_policy(folder: Path, environment: str, text: str, words: str) -> None:
    (folder / "policy.yaml").write_text(text)

    result = review(
        *("--policy", folder / "policy.yaml", "--new-scan", report(folder, "new.json")),
        environment=environment,
    )

    assert result.exit_code == 2
    assert words in result.stderr


def exception(expires: str) -> str:
    return (
        "- vulnerability: CVE-2026-0000\n  package: pkg:deb/debian/libcritical0\n"
        f"  reason: not reachable\n  ticket: SEC-1\n  expires: {expires}\n"
    )


@pytest.mark.parametrize(
    ("at", "code", "verdict"), [("2026-12-01", 0, "pass"), ("2026-12-02", 3, "fail")]
)
def test_an_exception_ends(folder: Path, at: str, code: int, verdict: str) -> None:
    (folder / "exceptions.yaml").write_text(exception("2026-12-01"))
    new = report(folder, "new.json", "CRITICAL")

    found = as_json(
        *("--policy", folder / "policy.yaml", "--new-scan", new, "--at", at),
        environment="careful",
    )

    assert (found[0], found[1]["verdict"]) == (code, verdict)
    assert found[1]["counts"]["suppressed"]["critical"] == (1 if code == 0 else 0)


def test_feeds_and_vex(folder: Path) -> None:
    new = report(folder, "new.json", "LOW", "CRITICAL")
    (folder / "kev.json").write_text(
        json.dumps({"vulnerabilities": [{"cveID": "CVE-2026-0000", "dateAdded": "2026-11-12"}]})
    )
    (folder / "epss.csv").write_text("cve,epss,percentile\nCVE-2026-0000,0.91,0.99\n")
    statement = {
        "vulnerability": {"name": "CVE-2026-0001"},
        "products": [{"@id": "pkg:deb/debian/libcritical1"}],
        "status": "not_affected",
        "justification": "component_not_present",
    }
    vex = {"@context": "https://openvex.dev/ns/v0.2.0", "statements": [statement]}
    (folder / "vex.json").write_text(json.dumps(vex))

    result = review(
        *("--policy", folder / "policy.yaml", "--new-scan", new, "--kev", folder / "kev.json"),
        *("--epss", folder / "epss.csv", "--vex", folder / "vex.json"),
        environment="lenient",
    )

    assert result.exit_code == 3
    assert "**KEV** since 2026-11-12, EPSS 91" in result.stdout
    assert "<b>1 suppressed</b>" in result.stdout


def sbom(folder: Path, name: str, *purls: str, licence: str = "MIT") -> Path:
    components = [
        {
            "type": "library",
            "name": purl,
            "purl": purl,
            "version": purl.rpartition("@")[2],
            "licenses": [{"license": {"id": licence}}],
        }
        for purl in purls
    ]
    document = {"bomFormat": "CycloneDX", "specVersion": "1.6", "components": components}
    file = folder / name
    file.write_text(json.dumps(document))
    return file


def test_packages_are_counted(folder: Path) -> None:
    new = report(folder, "new.json")
    before = sbom(folder, "old.cdx", *(f"pkg:npm/{name}" for name in ("a@1.0.0", "b@2.0.0", "c@1")))
    after = sbom(
        folder, "new.cdx", "pkg:npm/a@2.0.0", "pkg:npm/b@1.0.0", "pkg:npm/d@1", licence="ISC"
    )

    _, found = as_json("--new-scan", new, "--new-sbom", after, "--old-sbom", before)

    assert found["packages"] == {
        "added": 1,
        "removed": 1,
        "updated": 1,
        "downgraded": 1,
        "licence_changes": 2,
    }


def test_platforms_are_given_as_several_reports(folder: Path) -> None:
    one, other = report(folder, "amd64.json", "LOW"), report(folder, "arm64.json", "HIGH", "LOW")

    _, found = as_json("--new-scan", one, "--new-scan", other)

    assert sum(found["counts"]["introduced"].values()) == 3
