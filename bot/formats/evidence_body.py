"""The parts of a body that evidence fills: verdict, policy, supply chain.

Finished Markdown is never cut. What is left out is counted, and what has no data says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from bot.domain.assessment import INCOMPLETE, Assessment
from bot.domain.delta import Delta
from bot.domain.evidence import Finding
from bot.domain.packages import PackageName
from bot.domain.policy import Check, Reason, Result
from bot.domain.remedy import remedy
from bot.formats.body_budget import Detail, fitting, listed
from bot.formats.configuration_section import configuration, judged
from bot.formats.contents_section import contents
from bot.formats.evidence_cells import (
    NBSP,
    NOT_EVALUATED,
    minute,
    of_severities,
    package_name,
    platforms_of,
    scanner,
)
from bot.formats.markdown import code, details, items, moved, text
from bot.formats.vulnerability_section import blocking, vulnerabilities

_FAILING: Final = 30
_RESULTS: Final = {
    Result.PASS: f"✅{NBSP}Pass",
    Result.WARN: f"⚠️{NBSP}Warn",
    Result.FAIL: f"❌{NBSP}**Fail**",
    Result.NOT_EVALUATED: f"❓{NBSP}**Not evaluated**",
}


def verdict(assessment: Assessment) -> str:
    """The first lines: the answer, its reason in one sentence, the way out."""
    lines = _verdict_lines(assessment)
    return "\n".join(f"> {line}" for line in lines)


def verdict_prose(assessment: Assessment) -> str:
    """The same answer for places that know no alerts."""
    return "\n\n".join(line for line in _verdict_lines(assessment)[1:] if line)


def _verdict_lines(assessment: Assessment) -> list[str]:
    name, decided = code(assessment.environment), assessment.verdict
    if not decided.has_policy:
        scanned = "" if assessment.delta else " The image was not scanned."
        return [
            "[!NOTE]",
            f"**Policy: not evaluated for {name}.** No policy is configured, so nothing gates "
            f"this promotion.{scanned} {_summary(assessment.delta)}".rstrip(),
        ]
    of_all = f"{len(decided.checks)} checks"
    if decided.result is Result.FAIL:
        failing = _with(decided.checks, Result.FAIL)
        why = _first(failing)
        return [
            "[!CAUTION]",
            (
                f"**Policy: blocked for {name}.** {_so_many(failing, of_all, 'fails', 'fail')}"
                f"{_so_many_findings(failing)}: {why}"
            ),
            f"**To unblock:** {_way_out(failing)}",
        ]
    if decided.result is Result.NOT_EVALUATED:
        open_ = _with(decided.checks, Result.NOT_EVALUATED)
        first = next((check for check in open_ if check.detail != INCOMPLETE), open_[0])
        cause = _cause(first)
        said = "treats that as blocking" if decided.blocks else "lets that pass"
        number = _so_many(open_, of_all, "could", "could")
        return [
            "[!WARNING]",
            (
                f"**Policy: not decided for {name}.** {text(cause, 200)} "
                f"(*{text(first.title, 120)}*). {name} {said}; {number} not be evaluated."
            ),
            f"**To decide:** {_decider(first, cause)}",
        ]
    if decided.result is Result.WARN:
        warning = _with(decided.checks, Result.WARN)
        why = f"{_so_many(warning, of_all, 'warns', 'warn')}: {_first(warning)}"
        return [
            "[!WARNING]",
            f"**Policy: passes for {name} with warnings.** {why}",
            _summary(assessment.delta),
        ]
    return [
        "[!TIP]",
        f"**Policy: all {of_all} pass for {name}.** {_summary(assessment.delta)}".rstrip(),
    ]


def _so_many_findings(failing: Sequence[Check]) -> str:
    """How many vulnerabilities block, in each package once."""
    found = {
        (reason.finding.vulnerability, reason.finding.package)
        for check in failing
        for reason in check.reasons
        if reason.finding is not None and reason.result is Result.FAIL
    }
    if not found:
        return ""
    return f" over {len(found)} {'vulnerabilities' if len(found) > 1 else 'vulnerability'}"


# By our own phrases, the most exact first: an image may well be called "scanner".
_DECIDERS: Final = (
    (
        "it is being scanned",
        "nobody has to do anything; it is judged again once the scanner has answered.",
    ),
    (
        "cannot be read from any registry here",
        "whoever runs Lockkeeper or the registry: it has to be there, with a grant that reads it.",
    ),
    (
        "runs with ",
        "whoever keeps the manifests: let the environment name one digest of the image.",
    ),
    (
        "cannot be scanned whole",
        "whoever builds the image: build each platform once, in one index, and promote that build.",
    ),
    (
        "no report that counts is attested",
        "whoever builds the image: attest a report by a root of the policy.",
    ),
    (
        "an attested report says that it was made",
        "whoever attests the reports: set that machine's clock, and attest again.",
    ),
    (
        "is about another image",
        "whoever builds the image or scans it: scan this digest, and give that report.",
    ),
)


def _cause(check: Check) -> str:
    """The first thing that is not known: the others come of it, or come up once it is."""
    unknown = [one.text for one in check.reasons if one.result is Result.NOT_EVALUATED]
    return unknown[0] if unknown else check.detail


def _decider(check: Check, said: str) -> str:
    """Who can do something about what is not known, and what."""
    if check.id == "scan":
        known = next((who for phrase, who in _DECIDERS if phrase in said), "")
        if known:
            return known
    if any(word in said for word in ("scanner", "not scanned")) or check.id == "database-age":
        return "whoever runs Lockkeeper: look at the scanner and its database."
    if "KEV" in said or "EPSS" in said:
        return "whoever runs Lockkeeper: give it a complete and fresh file of that feed."
    if check.id in {"sbom", "signature", "provenance"}:
        return "whoever builds the image: attach what is missing, and promote that build."
    if check.id in {"scan", "report-age"}:
        return (
            "whoever builds the image or scans it: see what the report lacks; what is right as it "
            "is, a merged exception `lost` accepts."
        )
    return (
        f"whoever keeps the policy: give {code(check.id)} its data, or say `when_not_evaluated: "
        "warn` there."
    )


def _so_many(checks: Sequence[Check], of_all: str, one: str, several: str) -> str:
    return f"{len(checks)} of {of_all} {one if len(checks) == 1 else several}"


def _with(checks: Iterable[Check], result: Result) -> list[Check]:
    return [check for check in checks if check.result is result]


def _first(checks: Sequence[Check]) -> str:
    """The first check in words, and how many more there are."""
    first = f"*{text(checks[0].title, 120)}* ({text(checks[0].detail, 160)})"
    more = len(checks) - 1
    return f"{first}, and {more} more below." if more else f"{first}."


def _way_out(failing: Sequence[Check]) -> str:
    broken = [r.finding for c in failing for r in c.reasons if r.result is Result.FAIL]
    by_package: dict[PackageName, list[Finding]] = {}
    for finding in broken:
        if finding is not None:
            by_package.setdefault(finding.package, []).append(finding)
    updates = [
        f"update {package_name(package)} to {code(found.version, 60)}"
        for package, findings in by_package.items()
        if (found := remedy(findings)).version
    ]
    ways = updates[:3]
    if len(updates) > len(ways):
        ways.append(f"{len(updates) - len(ways)} more packages")
    update = ", ".join(ways) + ", and promote that build; or " if ways else ""
    if not by_package:
        return "promote a build without it."
    way = f"{update}merge an exception with an expiry date for what is accepted."
    others = [check for check in failing if not _is_about_findings(check)]
    if not others:
        return way
    named = ", ".join(f"*{text(check.title, 120)}*" for check in others[:3])
    more = f" and {len(others) - 3} more" if len(others) > 3 else ""  # noqa: PLR2004 - as above
    return f"{way} That does not mend {named}{more}: it takes a build without it."


def _is_about_findings(check: Check) -> bool:
    return any(r.finding is not None for r in check.reasons if r.result is Result.FAIL)


def _summary(delta: Delta | None) -> str:
    if delta is None:
        return ""
    if not delta.has_baseline:
        found = of_severities(delta.introduced) or "no vulnerability"
        return f"There is no baseline, so everything counts as introduced: {found}."
    introduced = of_severities(delta.introduced)
    start = f"{introduced} introduced" if introduced else "No vulnerability is introduced"
    raised = f", {len(delta.raised)} rated worse than before" if delta.raised else ""
    return f"{start}{raised}, {len(delta.fixed)} fixed."


def policy(assessment: Assessment, detail: Detail) -> str:
    """What fails, warns or could not be evaluated; what passes is folded."""
    heading = "### Policy"
    if not assessment.verdict.has_policy:
        return f"{heading}\n\n{NOT_EVALUATED} No policy is configured."
    checks = assessment.verdict.checks
    order = (Result.FAIL, Result.NOT_EVALUATED, Result.WARN)
    open_ = [check for result in order for check in _with(checks, result)]
    passing = _with(checks, Result.PASS)
    parts = [heading]
    if open_:
        # What fails is named whatever is cut: nothing that does not block goes before it.
        failing = min(len(_with(checks, Result.FAIL)), _FAILING)
        parts.append(_check_list(open_, max(detail.checks, failing)))
    if passing:
        plural = f"{len(passing)} checks pass" if len(passing) > 1 else "1 check passes"
        parts.append(details(plural, _check_list(passing, detail.checks)))
    return "\n\n".join(parts)


def _check_list(checks: Sequence[Check], shown: int) -> str:
    rows = [
        [_RESULTS[check.result], f"**{text(check.title, 120)}**: {text(check.detail, 300)}"]
        for check in checks[:shown]
    ]
    return listed(rows, len(checks))


def review(assessment: Assessment, images: Sequence[tuple[str, str, str]]) -> str:
    """A whole body for two images without a promotion: what ``lockkeeper review`` prints.

    ``images`` has a row per fact: its name, what runs now, what is new.
    """
    facts = [
        [f"**{text(name, 40)}**: {moved(text(now, 120), text(new, 120))}"]
        for name, now, new in images
    ]
    header = f"### In {code(assessment.environment)} now → this image"
    identity = f"{header}\n\n{items(facts)}"
    evidence = supply_chain_section(supply_chain(assessment))
    foot = f"<sub>Evaluated {minute(assessment.at)} by Lockkeeper.</sub>"
    return fitting(
        lambda detail: [
            verdict(assessment),
            blocking(assessment, detail),
            identity,
            configuration(judged(assessment)),
            policy(assessment, detail),
            vulnerabilities(assessment, detail),
            contents(assessment, detail),
            evidence,
            foot,
        ]
    )


def _built_by(assessment: Assessment, source: str, web_url: str) -> list[list[str]]:
    """The run that built each image, and what ran it; a link only into the known repository."""
    builds = assessment.evidence.builds
    if not builds:
        judges = assessment.evidence.judges_seals
        return [["Built by", "not known: the image carries no provenance"]] if judges else []
    rows: dict[tuple[str, str], None] = {}
    for one in builds:
        run = f"run {code(one.run, 40)}" if one.run else "a run that it does not name"
        if one.run.isascii() and one.run.isdigit() and source and one.repository == source:
            run = f"[run {one.run}]({web_url}/{source}/actions/runs/{one.run})"
        where = f" of {code(one.repository, 100)}" if one.repository else ""
        builder = code(one.builder, 120) if one.builder else "a builder that it does not name"
        whose = f"vouched for by {text(one.by, 120)}" if one.by else "⚠️ nobody vouches for that"
        name = f"Built by ({code(one.image, 80)})" if len(builds) > 1 else "Built by"
        rows[name, f"{run}{where}, {builder}; {whose}"] = None
    return [list(row) for row in rows]


def supply_chain_section(rows: Sequence[Sequence[str]]) -> str:
    """The same as a list: long names break on a phone, where a table would be cut."""
    return "### Supply chain\n\n" + "\n".join(f"- **{name}**: {said}" for name, said in rows)


def supply_chain(assessment: Assessment, source: str = "", web_url: str = "") -> list[list[str]]:
    """Rows: who built it, signature, provenance, SBOM, scan.

    Args:
        assessment: what was judged.
        source: ``owner/name`` of the source repository; empty: nobody knows.
        web_url: where people read GitHub.
    """
    evidence = assessment.evidence
    new, sbom = evidence.new, assessment.contents.new if assessment.contents else None
    none = "not evaluated"
    scan = none
    if new is not None:
        finished = f", finished {minute(new.finished)}" if new.finished else ""
        whose = f", attested by {text(new.attested_by, 120)}" if new.attested_by else ""
        scan = f"{scanner(new)}{finished}{platforms_of(new)}{whose}"
    by = f", {text(sbom.tool, 60)}" if sbom and sbom.tool else ""
    packages = f"{len(sbom.versions)} packages{by}" if sbom else none
    rows = [
        *_built_by(assessment, source, web_url),
        ["Signature", _said(evidence.signature)],
        ["Provenance", _said(evidence.provenance)],
        ["SBOM", packages],
        ["Scan", scan],
    ]
    rows += [["Missing", text(missing, 200)] for missing in evidence.missing[:10]]
    return rows + [["Does not count", text(note, 200)] for note in evidence.notes[:5]]


def _said(reason: Reason | None) -> str:
    if reason is None:
        return "not evaluated"
    return f"{_RESULTS[reason.result]}: {text(reason.text, 200)}"
