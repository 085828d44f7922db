from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given, settings, strategies as st

from bot.domain.assessment import Assessment, Evidence, assess
from bot.domain.evidence import Finding, FindingKey, Severity, Suppression
from bot.domain.packages import Package, PackageName, inventory
from bot.formats import assessment_document
from bot.formats.assessment_document import (
    DOCUMENT_LIMIT,
    DamagedAssessmentError,
    indented,
    read_assessment,
    render_assessment,
)
from tests.evidence_bodies import AT, CAME, GONE, KEPT, POLICY, STAYED, found, scanned

SOME = st.lists(
    st.sampled_from([*CAME, *GONE, *STAYED]), max_size=30, unique_by=lambda f: f.package
)


@pytest.mark.parametrize("name", KEPT)
def test_indenting_changes_no_word(name: str) -> None:
    whole = render_assessment(KEPT[name]())

    assert json.loads(indented(whole)) == json.loads(whole)
    assert len(indented(whole).splitlines()) > 100


@settings(max_examples=60)
@given(SOME, SOME)
def test_every_finding_stands_in_the_list_that_counts_it(
    new: list[Finding], old: list[Finding]
) -> None:
    judged = assess("stage", Evidence(scanned(new), scanned(old)), POLICY, AT)

    document = read_assessment(render_assessment(judged))

    assert document.findings is not None
    for name in ("introduced", "raised", "fixed", "unchanged", "suppressed"):
        rows = getattr(document.findings, name)
        severities = [getattr(row, "finding", row).severity for row in rows]
        assert {word: n for word, n in document.counts[name].items() if n} == {
            word: severities.count(word) for word in severities
        }
    assert document.left_out == {}
    assert document.verdict == judged.verdict.result


def test_what_the_reviewer_reads_is_there() -> None:
    document = read_assessment(render_assessment(KEPT["blocked"]()))

    assert document.findings is not None
    exploited = document.findings.introduced[0]
    assert (exploited.vulnerability, exploited.is_exploited) == ("CVE-2026-31337", True)
    assert exploited.exploited_since == date(2026, 11, 12)
    assert [f.vulnerability for f in document.findings.unchanged if f.newly_disclosed] == [
        "CVE-2026-30012"
    ]
    assert {one.by for one in document.findings.suppressed} == {
        "VEX not_affected by acme/checkout",
        "exception SEC-812",
    }
    assert document.findings.fixed[0].now == ["1:1.3"]
    assert document.licence_changes is not None
    assert [(c.package.name, c.after) for c in document.licence_changes] == [
        ("fairlock", "BUSL-1.1")
    ]
    assert document.scan is not None
    assert (document.scan.scanner, document.scan.database) == ("Trivy", document.old_scan.database)  # type: ignore[union-attr]  # the blocked one has both
    assert (document.at, document.blocks) == (AT, True)


def test_who_built_it_and_how_long_it_stood_before() -> None:
    document = read_assessment(render_assessment(KEPT["blocked"]()))

    (build,) = document.builds
    assert (build.image, build.repository, build.run) == (
        "checkout",
        "acme/checkout",
        "19283746501",
    )
    assert build.builder.endswith("release.yml@refs/heads/release/1.42")
    assert build.vouched_by == "key of the build"
    assert document.stood_before == 3 * 24 * 3600 + 4 * 3600
    assert document.running_since == date(2026, 11, 3)


def test_what_is_not_known_of_the_past_is_null_and_never_zero() -> None:
    unknown = read_assessment(
        render_assessment(assess("stage", Evidence(scanned([]), notes=("unsigned",)), POLICY, AT))
    )
    just_now = replace(Evidence(scanned([])), soaked=timedelta(0))
    known = read_assessment(render_assessment(assess("stage", just_now, POLICY, AT)))

    assert (unknown.builds, unknown.stood_before, unknown.running_since) == ([], None, None)
    assert unknown.notes == ["unsigned"]
    assert known.stood_before == 0


def test_a_document_of_an_older_version_is_read() -> None:
    kept = json.loads(render_assessment(KEPT["blocked"]()))
    for name in ("builds", "stood_before", "running_since", "notes"):
        del kept[name]

    document = read_assessment(json.dumps(kept).encode())

    assert (document.builds, document.stood_before) == ([], None)


def test_whose_report_it_is_is_kept() -> None:
    judged = assess(
        "stage", Evidence(replace(scanned(CAME), attested_by="the key ci.pub")), None, AT
    )
    document = read_assessment(render_assessment(judged))

    assert document.scan is not None
    assert document.scan.attested_by == "the key ci.pub"


def test_nothing_scanned_is_no_empty_list() -> None:
    document = read_assessment(
        render_assessment(assess("stage", Evidence(None, missing=("no scanner",)), POLICY, AT))
    )

    assert (document.findings, document.package_changes, document.scan) == (None, None, None)
    assert (document.verdict, document.counts) == ("not_evaluated", {})
    assert document.missing == ["no scanner"]


@given(st.text(), st.text(), st.text())
def test_any_text_can_be_written_and_read(one: str, two: str, three: str) -> None:
    finding = found(one, PackageName(two, three, one), Severity.HIGH, two, three)
    scan = replace(
        scanned([finding]),
        scanner=one,
        suppressed={
            FindingKey(three, finding.package): Suppression(
                found(three, finding.package, Severity.LOW, one), two, three
            )
        },
    )
    listed = inventory([Package(finding.package, one, two)], tool=three)
    evidence = Evidence(scan, None, listed, inventory([]), missing=(one, two))

    text = render_assessment(assess(one, evidence, POLICY, AT)).decode()

    document = read_assessment(text.encode())
    assert document.findings is not None
    assert all(c.isprintable() for c in json.dumps(json.loads(text), ensure_ascii=False))


def crowd(size: int, word: str) -> Assessment:
    findings = [
        found(f"X-{n}-{word}", PackageName(word, word, f"{n}{word}"), Severity.HIGH, word)._replace(
            fixed_in=tuple(f"{word}{n}" for n in range(30)),
            paths=(word,) * 50,
        )
        for n in range(size)
    ]
    packages = [Package(f.package, word, word) for f in findings]
    return assess(
        "stage", Evidence(scanned(findings), None, inventory(packages), inventory([])), POLICY, AT
    )


@pytest.mark.slow
def test_the_document_is_bounded_and_counts_what_it_leaves_out() -> None:
    rendered = render_assessment(crowd(21_000, "w" * 300))

    document = read_assessment(rendered)
    assert len(rendered) <= DOCUMENT_LIMIT
    assert document.findings is not None
    shown = len(document.findings.introduced)
    assert shown + document.left_out["introduced"] == 21_000
    assert document.counts["introduced"]["high"] == 21_000


def test_the_poorest_document_fits_whatever_is_in_it() -> None:
    poorest = crowd(assessment_document._ROWS[-1], "\\" * 5000)  # noqa: SLF001 - the last level

    assert len(render_assessment(poorest)) <= DOCUMENT_LIMIT


@pytest.mark.parametrize("content", [b"", b"null", b"{}", b"[" * 100_000, b"\xff"])
def test_a_damaged_document_is_said_to_be_damaged(content: bytes) -> None:
    with pytest.raises(DamagedAssessmentError, match="cannot be read"):
        read_assessment(content)
