"""Every folder of cases/evidence through `review`: what EVIDENCE.md says is right.

A folder without an answer here fails, so that none is overlooked.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from bot.cli.main import lockkeeper

CASES = Path(__file__).parents[3] / "shared" / "cases" / "evidence"
POLICY_PAGE = Path(__file__).parents[2] / "docs" / "policy.md"
PASSES, BLOCKS, REFUSED, WRONG_POLICY = 0, 3, 1, 2
# Folders without a cmd.txt hold parts; their command lines are here.
COMMANDS = {
    "70-trivy-real": "--policy p.yaml --new-scan blinded.trivy.json --old-scan deb.trivy.json",
    "71-grype-real-multi-cve": "--policy mp.yaml --new-scan multi.grype.json --kev mkev.json",
    "83-20000": "--policy p.yaml --new-scan {many}",
}


@dataclass(frozen=True)
class Reviewed:
    """What one command line said."""

    code: int
    document: dict[str, Any]
    body: str
    said: str

    def counts(self, kind: str) -> int:
        """Findings of a kind, all severities."""
        return sum(self.document["counts"][kind].values())

    def check(self, name: str) -> dict[str, Any]:
        """One check of the verdict."""
        return next(check for check in self.document["checks"] if check["id"] == name)

    def listed(self, kind: str) -> list[dict[str, Any]]:
        """The findings of a kind."""
        found: list[dict[str, Any]] = self.document["findings"][kind]
        return found

    def result(self, name: str) -> str:
        """A check's answer."""
        return str(self.check(name)["result"])


Asked = Callable[[Reviewed], object]


@dataclass(frozen=True)
class Right:
    """The answer of one folder: the exit code, and what else has to hold."""

    code: int
    asked: tuple[Asked, ...] = field(default=())


def right(code: int, *asked: Asked) -> Right:
    """An answer."""
    return Right(code, asked)


def vulnerabilities(rows: Iterable[dict[str, Any]]) -> list[str]:
    """Their ids."""
    return sorted(str(row.get("finding", row)["vulnerability"]) for row in rows)


def says(text: str) -> Asked:
    """Somewhere in what people read."""
    return lambda seen: text in seen.said or text in seen.body


def says_not(text: str) -> Asked:
    """Nowhere in what people read."""
    return lambda seen: text not in seen.said and text not in seen.body


def counted(kind: str, number: int) -> Asked:
    """So many findings of a kind."""
    return lambda seen: seen.counts(kind) == number


def answered(name: str, result: str) -> Asked:
    """A check's answer."""
    return lambda seen: seen.result(name) == result


NOT_HELD = (counted("suppressed", 0), answered("critical", "fail"), says("match nothing"))
UNCOVERED = (answered("scan", "not_evaluated"), answered("critical", "not_evaluated"))

ANSWERS = {
    "01-severity-raised": right(
        BLOCKS,
        counted("raised", 1),
        counted("introduced", 0),
        answered("critical", "fail"),
        lambda seen: seen.listed("raised")[0]["was"] == "low",
        # Critical: none now, one after; low: one now, none after.
        lambda seen: re.search(r"Critical \| 0 → 1 \| \+1 rated anew \|", seen.body),
        lambda seen: re.search(r"Low \| 1 → 0 \| −1 rated anew \|", seen.body),  # noqa: RUF001 - the sign that is written
    ),
    "02-severity-from-nvd": right(
        BLOCKS,
        lambda seen: seen.document["counts"]["introduced"]["critical"] == 1,
        lambda seen: seen.listed("introduced")[0]["severity"] == "critical",
    ),
    "03-way-out-fix": right(BLOCKS, says("`9.0.99`"), says_not("to `10.1.35`"), says_not("to `11")),
    "04-way-out-two": right(BLOCKS, says("to `4.17.21`"), says_not("to `4.17.12`")),
    "04b-way-out-two": right(BLOCKS, says("to `4.17.21`"), says_not("to `4.17.12`")),
    "05-epoch-vanished": right(
        PASSES, counted("fixed", 0), counted("unchanged", 1), says_not("is fixed")
    ),
    "06-epoch-direction": right(
        BLOCKS,  # no operating system package is listed by the scan: not evaluated
        lambda seen: seen.document["packages"]["updated"] == 2,
        lambda seen: seen.document["packages"]["downgraded"] == 0,
    ),
    "07-slimmer-base": right(PASSES, lambda seen: seen.document["lost"] == []),
    "09-renamed": right(PASSES, counted("introduced", 0), counted("unchanged", 1)),
    "10-pkg-types-library": right(BLOCKS, *UNCOVERED),
    "12-licence": right(PASSES, answered("licences", "pass")),
    "12b": right(PASSES, answered("licences", "pass")),
    "13-licence-unknown": right(BLOCKS, answered("licences", "not_evaluated"), says("licence")),
    "14-scope-excluded": right(PASSES, answered("licences", "pass")),
    "15-concluded": right(PASSES, answered("licences", "pass")),
    "16-metadata-nested": right(BLOCKS, answered("licences", "fail")),
    "17-licence-class": right(PASSES, answered("licences", "pass")),
    "17b-licence-except-os": right(
        BLOCKS, answered("licences", "fail"), says_not("bash is under"), says("p is under")
    ),
    "20-advisory-many-cves-exception": right(
        BLOCKS,
        answered("kev", "fail"),
        answered("critical", "fail"),
        lambda seen: vulnerabilities(seen.listed("suppressed")) == ["CVE-2024-0001"],
        lambda seen: vulnerabilities(seen.listed("introduced")) == ["CVE-2024-0002"],
    ),
    "20b-advisory-many-cves-vex": right(
        BLOCKS,
        answered("kev", "fail"),
        lambda seen: vulnerabilities(seen.listed("suppressed")) == ["CVE-2024-0001"],
    ),
    "21-vex-other-repository": right(BLOCKS, *NOT_HELD),
    "21b-vex-other-tag": right(BLOCKS, *NOT_HELD),
    "21c-vex-other-arch": right(BLOCKS, *NOT_HELD),
    # By the digest of this very image.
    "21e-vex-digest-id": right(PASSES, counted("suppressed", 1)),
    "21j-golang-case": right(BLOCKS, *NOT_HELD),
    "22-expired-exception-grandfathered": right(
        BLOCKS, answered("critical", "fail"), says("expired 19 days ago")
    ),
    "23-epss-page": right(REFUSED, says("250000")),
    "23c-kev-old": right(BLOCKS, answered("kev", "not_evaluated"), says("2021-11-03")),
    "24-sbom-of-other-image": right(REFUSED, says("another image")),
    "25-multi-image": right(
        BLOCKS,
        counted("introduced", 1),
        counted("unchanged", 1),
        lambda seen: seen.listed("introduced")[0]["image"] == "r/worker",
        says("r/worker"),
    ),
    "26-ignored-before": right(PASSES, counted("introduced", 0), counted("unchanged", 1)),
    "26b-ignored-now": right(PASSES, counted("suppressed", 1), counted("fixed", 0)),
    # Two tools: nobody compares them; by the distributor it is low, and nothing rises.
    "30-cdx-highest-rating": right(
        PASSES,
        answered("critical", "pass"),
        counted("introduced", 0),
        counted("raised", 0),
        lambda seen: seen.listed("unchanged")[0]["severity"] == "low",
    ),
    "30b-cdx-fix-unknown": right(
        PASSES, lambda seen: seen.listed("introduced")[0]["fixed_in"] == ["2.37"]
    ),
    "30d-cdx-unaffected": right(PASSES, counted("introduced", 0)),
    "30e-cdx-rejected": right(PASSES, counted("introduced", 0)),
    "30f-cdx-analysis-resolved-in-triage": right(
        PASSES, counted("suppressed", 1), says("code_not_reachable")
    ),
    "31-ghsa-then-cve": right(PASSES, counted("unchanged", 1), counted("introduced", 0)),
    "31b-ghsa-to-cve-no-alias": right(PASSES, counted("unchanged", 1), counted("introduced", 0)),
    "31d-grype-both-ids": right(BLOCKS, counted("introduced", 1)),
    "40-unknown-severity": right(
        BLOCKS, answered("critical", "not_evaluated"), says("unknown_severity")
    ),
    "41-exception-applications": right(BLOCKS, counted("suppressed", 0), says("--application")),
    "41-exception-images": right(PASSES, counted("suppressed", 1)),
    "41-exception-owner": right(PASSES, counted("suppressed", 1), says("alice")),
    "41-exception-path": right(BLOCKS, *NOT_HELD),
    "42-anchors": right(BLOCKS, answered("kev", "not_evaluated")),
    "42b-anchors-alias-only": right(BLOCKS, answered("kev", "not_evaluated")),
    "42c-extension-key": right(BLOCKS, answered("kev", "not_evaluated")),
    "43-older-than-7d": right(PASSES, answered("crit7", "warn"), says("2026-11-24")),
    "43b-older-than-7d-grype": right(BLOCKS, answered("crit7", "fail"), says("since when")),
    "45-prune-dev-deps": right(PASSES, lambda seen: seen.document["lost"] == []),
    "46-rule-allow": right(BLOCKS, answered("a", "not_evaluated"), says("licence")),
    "46-rule-apps": right(BLOCKS, answered("a", "not_evaluated"), says("--application")),
    "46-rule-base": right(BLOCKS, answered("a", "not_evaluated"), says("base image")),
    "46-rule-count": right(PASSES, answered("a", "pass"), says("1 of at most 10")),
    "46-rule-cvss": right(BLOCKS, answered("a", "not_evaluated"), says("CVSS")),
    "46-rule-epss>": right(BLOCKS, answered("a", "not_evaluated"), says("EPSS")),
    "46-rule-id": right(PASSES, answered("a", "pass")),
    "46-rule-nofix": right(PASSES, answered("a", "pass")),
    "46-rule-older": right(PASSES, answered("a", "pass")),
    "46-rule-path": right(PASSES, answered("a", "pass")),
    "46-rule-ransom": right(BLOCKS, answered("a", "not_evaluated"), says("KEV")),
    "46-rule-secret-sev": right(BLOCKS, answered("a", "not_evaluated"), says("secrets")),
    "46-rule-sev-eq": right(WRONG_POLICY, says(">= high")),
    "46-rule-status": right(PASSES, answered("a", "pass")),
    "46-rule-user": right(BLOCKS, answered("a", "not_evaluated"), says("user")),
    "47-packages-only-no-vulns": right(BLOCKS, answered("no-log4j", "fail"), says("log4j-core")),
    "60-eol": right(BLOCKS, answered("eol", "fail")),
    "60b-eol-both": right(PASSES, answered("eol", "pass")),
    "61-huge-epoch": right(PASSES),
    "61b-huge-digits": right(BLOCKS, answered("scan", "not_evaluated")),
    "61c-deep": right(REFUSED),
    # A reference to two things names neither: the finding is there, its package is not known.
    "62-dup-bomref": right(BLOCKS, counted("introduced", 1)),
    "63-xml": right(REFUSED),
    "63b-nan": right(REFUSED),
    "63c-utf16": right(PASSES),
    "63d-latin1": right(REFUSED),
    "64-github-sbom-export": right(REFUSED),
    "65-null-results": right(BLOCKS, *UNCOVERED),
    "66-trivy-fs-report": right(BLOCKS, *UNCOVERED),
    "66b-trivy-config-report": right(BLOCKS, *UNCOVERED),
    "67-multiarch": right(
        BLOCKS,
        counted("introduced", 1),
        counted("unchanged", 1),
        lambda seen: seen.listed("introduced")[0]["platforms"] == ["linux/arm64"],
        says("linux/arm64"),
    ),
    "68-fedora": right(BLOCKS, *UNCOVERED, says("fedora")),
    "69-grype-nothing": right(BLOCKS, *UNCOVERED),
    "70-trivy-real": right(
        BLOCKS,
        answered("scan", "not_evaluated"),
        # Its package database is gone: openssl stays; lodash really is newer.
        lambda seen: vulnerabilities(seen.listed("fixed")) == ["CVE-2019-10744"],
        lambda seen: (
            vulnerabilities(seen.listed("unchanged")) == ["CVE-2023-45853", "CVE-2023-5363"]
        ),
    ),
    "71-grype-real-multi-cve": right(
        BLOCKS,
        answered("kev", "fail"),
        answered("critical", "fail"),
        lambda seen: "CVE-2024-0001" in vulnerabilities(seen.listed("suppressed")),
        lambda seen: "CVE-2024-0002" in vulnerabilities(seen.listed("introduced")),
    ),
    "80-vex-later-wins": right(BLOCKS, counted("suppressed", 0)),
    # The later word is no statement: it says "not affected" without saying why.
    "80b-vex-earlier-affected": right(
        BLOCKS,
        counted("suppressed", 0),
        answered("vex", "warn"),
        says("neither a justification nor an impact statement"),
    ),
    "80d-vex-subcomponent-other-version": right(BLOCKS, *NOT_HELD),
    "80e-vex-other-digest": right(BLOCKS, *NOT_HELD),
    "80f-vex-under-investigation": right(BLOCKS, counted("suppressed", 0)),
    "80g-vex-one-of-two-versions": right(
        BLOCKS,
        counted("suppressed", 0),
        lambda seen: "CVE-2023-41626" in vulnerabilities(seen.listed("introduced")),
    ),
    "81-truncated": right(REFUSED, says("truncated")),
    "82-nested": right(BLOCKS, answered("l", "fail")),
    "83-20000": right(BLOCKS, answered("critical", "fail"), says("20000")),
}
# The rules that docs/policy.md prints, over what each scanner can really give.
DOCUMENTED = ("11-docs-policy-clean-grype", "11-docs-policy-clean-trivy")


def _folders() -> list[str]:
    if not CASES.is_dir():
        return sorted([*ANSWERS, *DOCUMENTED])
    return sorted(folder.name for folder in CASES.iterdir() if folder.is_dir())


def _there(name: str) -> Path:
    folder = CASES / name
    if not folder.is_dir():
        required = os.environ.get("LOCKKEEPER_REQUIRE_TOOLS")
        (pytest.fail if required else pytest.skip)(f"case {name} is missing")
    return folder


def reviewed(arguments: list[str], folder: Path) -> Reviewed:
    """The same command line for people and as JSON; both have to give the same exit code."""
    at = [str(folder / a) if (folder / a).is_file() else a for a in arguments]
    people, machines = _run(at), _run([*at, "--json"])
    assert people.exit_code == machines.exit_code
    is_judged = people.exit_code in {PASSES, BLOCKS}
    document = json.loads(machines.stdout) if is_judged else {}
    body = people.stdout if is_judged else ""
    return Reviewed(people.exit_code, document, body, machines.stdout + people.stderr)


def _run(arguments: list[str]) -> Result:
    return CliRunner().invoke(lockkeeper, ["review", *arguments], catch_exceptions=False)


def _many(folder: Path) -> Path:
    """20,000 critical findings in 2,000 packages."""
    entries = [
        {
            "VulnerabilityID": f"CVE-2026-{n:05d}",
            "PkgName": f"p{n % 2000}",
            "InstalledVersion": "1",
            "FixedVersion": "2",
            "Severity": "CRITICAL",
        }
        for n in range(20_000)
    ]
    result = {"Target": "x", "Class": "os-pkgs", "Type": "debian", "Vulnerabilities": entries}
    system = {"OS": {"Family": "debian", "Name": "12"}}
    file = folder / "many.json"
    file.write_text(json.dumps({"SchemaVersion": 2, "Metadata": system, "Results": [result]}))
    return file


def _arguments(name: str, folder: Path, scratch: Path) -> list[str]:
    command = COMMANDS.get(name)
    if command is None:
        return shlex.split((folder / "cmd.txt").read_text())[2:]
    return [
        *("--environment", "x", "--at", "2026-11-29"),
        *shlex.split(command.replace("{many}", str(_many(scratch)) if "{many}" in command else "")),
    ]


def _timed(name: str) -> object:
    """Twenty thousand findings take their time."""
    return pytest.param(name, marks=pytest.mark.slow) if name == "83-20000" else name


@pytest.mark.parametrize("name", [_timed(one) for one in _folders() if one not in DOCUMENTED])
def test_case(name: str, tmp_path: Path) -> None:
    folder = _there(name)
    if name == "71-grype-real-multi-cve":  # its exceptions stand beside the policy
        assert (folder / "mexc.yaml").is_file()

    seen = reviewed(_arguments(name, folder, tmp_path), folder)

    wanted = ANSWERS[name]
    assert seen.code == wanted.code, (seen.document.get("checks"), seen.said[-2000:])
    for number, ask in enumerate(wanted.asked):
        assert ask(seen), (number, seen.document.get("checks"), seen.body, seen.said[:4000])


def documented_policy(environment: str) -> str:
    """The policy file that docs/policy.md prints, with its first environment renamed."""
    page = POLICY_PAGE.read_text()
    section = page.partition("## The policy file")[2]
    block = section.partition("```yaml\n")[2].partition("```")[0]
    assert "environments:" in block
    return re.sub(r"(?m)^  stage:", f"  {environment}:", block, count=1)


@pytest.mark.parametrize("name", DOCUMENTED)
def test_the_documented_policy_passes_on_a_clean_image(name: str, tmp_path: Path) -> None:
    folder = _there(name)
    for file in folder.rglob("*"):
        if file.is_file():
            copy = tmp_path / file.relative_to(folder)
            copy.parent.mkdir(exist_ok=True, parents=True)
            copy.write_bytes(file.read_bytes())
    (tmp_path / "policy.yaml").write_text(documented_policy("x"))
    (tmp_path / "policy" / "payments.vex.json").write_text(
        '{"@context": "https://openvex.dev/ns/v0.2.0", "author": "x", "statements": []}'
    )

    seen = reviewed(_arguments(name, folder, tmp_path), tmp_path)

    assert seen.code == PASSES, seen.document.get("checks")
    assert "fail" not in {check["result"] for check in seen.document["checks"]}
