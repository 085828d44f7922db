from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given, strategies as st

from bot.domain.delta import Change, Delta, contents, counts, delta
from bot.domain.evidence import Finding, Looked, Scan, Severity, merged_scans
from bot.domain.packages import Inventory
from bot.formats.reports import read_sbom, read_scan
from tests.domain.evidence import BOTH, finding, listing, package, scan
from tests.formats.test_reports import SBOMS, SCANS
from tests.samples import sample

A, B, C = (finding(f"CVE-2026-000{n}", name) for n, name in enumerate("abc"))


def names(findings: tuple[Finding, ...]) -> list[str]:
    return [one.package.name for one in findings]


def fixed(found: Delta) -> list[str]:
    return [one.finding.package.name for one in found.fixed]


FINDINGS = st.builds(
    finding,
    st.sampled_from([f"CVE-2026-{n:04d}" for n in range(6)]),
    st.sampled_from(list("abcd")),
    st.sampled_from(list(Severity)),
    versions=st.sampled_from([("1",), ("2",), ("1", "2"), ()]),
)
SCANS_OF = st.builds(
    lambda findings, suppressed: scan(
        *findings, suppressed=[s for s in suppressed if s.key not in {f.key for f in findings}]
    ),
    st.lists(FINDINGS, max_size=8),
    st.lists(FINDINGS, max_size=3),
)


@given(SCANS_OF)
def test_a_scan_against_itself_changes_nothing(one: Scan) -> None:
    found = delta(one, one)

    assert not found.introduced
    assert not found.fixed
    assert len(found.unchanged) == len(one.findings)


@pytest.mark.parametrize("name", SCANS)
def test_a_real_report_against_itself_changes_nothing(name: str) -> None:
    report = read_scan(sample(name).read_bytes(), name)

    found = delta(report, report)

    assert not found.introduced
    assert not found.fixed
    assert not found.lost
    assert len(found.unchanged) == len(report.findings)


@given(SCANS_OF, SCANS_OF)
def test_every_finding_is_counted_once(new: Scan, old: Scan) -> None:
    found = delta(new, old)
    groups = [
        {f.key for f in found.introduced},
        {f.finding.key for f in found.fixed},
        {f.key for f in found.unchanged},
        {s.finding.key for s in found.suppressed},
    ]

    assert sum(map(len, groups)) == len(set().union(*groups))
    assert {f.key for f in found.present} >= set(new.findings)
    for severity, count in counts(found.present).items():
        assert count == sum(one.severity is severity for one in found.present)


@given(st.lists(FINDINGS, max_size=8), st.randoms())
def test_the_order_does_not_depend_on_the_report(findings: list[Finding], random: object) -> None:
    shuffled = sorted(findings, key=lambda _: random.random())  # type: ignore[attr-defined]  # Random
    keys = [f.key for f in findings]
    if len(set(keys)) == len(keys):
        assert delta(scan(*findings), None) == delta(scan(*shuffled), None)


def test_without_a_baseline_everything_is_introduced() -> None:
    found = delta(scan(A, B), None)

    assert names(found.introduced) == ["a", "b"]
    assert not found.has_baseline


def test_three_classes_without_an_inventory() -> None:
    newer = finding("CVE-2026-0009", "a", versions=("2",))

    found = delta(scan(B, C, newer), scan(A, B))

    assert (names(found.introduced), fixed(found), names(found.unchanged)) == (
        ["c", "a"],
        ["a"],
        ["b"],
    )


def test_what_merely_vanished_is_not_fixed() -> None:
    found = delta(scan(), scan(A))

    assert (fixed(found), names(found.unchanged)) == ([], ["a"])
    assert found.unexplained == {A.key}


def test_a_list_of_the_scanner_itself_shows_what_left() -> None:
    listed = replace(listing({"x": "1"}), tool="Trivy")

    assert fixed(delta(scan(listed=listed), scan(A))) == ["a"]
    assert fixed(delta(scan(listed=replace(listed, tool="syft")), scan(A))) == []


@pytest.mark.parametrize(
    ("was", "now", "is_one"),
    [
        ("libssl3", "libssl3t64", True),
        ("libssl1.1", "libssl3", True),
        ("libicu72", "libicu76", True),
        ("openssh-client", "openssh-server", False),
        ("vim-tiny", "vim-nox", False),
    ],
)
def test_one_source_makes_no_rename(was: str, now: str, is_one: bool) -> None:  # noqa: FBT001 - drawn
    before = finding(name=was)._replace(source="s")
    after = finding(name=now)._replace(source="s")

    found = delta(scan(after), scan(before))

    assert names(found.unchanged) == ([now] if is_one else [was])
    assert names(found.introduced) == ([] if is_one else [now])


@pytest.mark.parametrize(
    ("new", "old", "is_one"),
    [
        ("reg.example/a/api:2", "reg.example/a/api:1", True),
        ("reg.example/api:1", "other.example/x/api:1", True),
        ("reg.example/api:1", "reg.example/worker:1", False),
        ("new.tar", "reg.example/api:1", True),
        ("/images/new.tar", "./old.tar", True),
        ("", "reg.example/api:1", True),
    ],
)
def test_another_image_is_no_baseline(new: str, old: str, is_one: bool) -> None:  # noqa: FBT001 - drawn
    found = delta(scan(A, image=new), scan(A, image=old))

    assert names(found.introduced) == ([] if is_one else ["a"])
    assert bool(found.unlooked) is not is_one


def test_images_of_names_without_a_registry_are_others_where_they_have_digests() -> None:
    new, old = scan(A, image="acme/api:1"), scan(A, image="acme/worker:1")
    assert not delta(new, old).introduced

    new, old = (replace(one, digests=frozenset({one.image})) for one in (new, old))
    assert names(delta(new, old).introduced) == ["a"]


def test_a_suppressed_finding_counts_only_there() -> None:
    found = delta(scan(B, suppressed=[A]), scan(A, B))

    assert not found.fixed
    assert [s.finding.package.name for s in found.suppressed] == ["a"]
    assert names(found.unchanged) == ["b"]


def test_what_lost_its_suppression_was_there_before() -> None:
    found = delta(scan(A), scan(suppressed=[A]))

    assert not found.introduced
    assert names(found.unchanged) == ["a"]
    assert found.allowed_before == {A.key: "VEX not_affected"}


def inventories(new: dict[str, str], old: dict[str, str]) -> tuple[Inventory, Inventory]:
    return listing(new), listing(old)


@pytest.mark.parametrize(
    ("new", "expected", "now"),
    [
        ({"a": "2", "x": "1", "y": "1"}, ["a"], ("2",)),
        ({"x": "1", "y": "1"}, ["a"], ()),
        ({"a": "1", "x": "1", "y": "1"}, [], None),
    ],
)
def test_fixed_means_left_or_changed(
    new: dict[str, str],
    expected: list[str],
    now: tuple[str, ...] | None,
) -> None:
    old = {"a": "1", "x": "1", "y": "1"}

    found = delta(scan(), scan(A), inventories=inventories(new, old))

    assert fixed(found) == expected
    assert len(found.unchanged) == len(found.unexplained) == 1 - len(expected)
    assert [one.now for one in found.fixed] == [now][: len(expected)]


# Images that blind a scanner: package database deleted, os-release deleted, most of it gone though
# the layers that brought it are still there.
BLINDING = [
    (scan(looked=frozenset({Looked.LIBRARY}), system="debian 12"), {}, "does not cover"),
    (scan(system=""), {"a": "1", "x": "1"}, "not recognised any more"),
    (scan(layers=frozenset({"sha256:base"})), {"a": "1"}, "2 of 3 operating system packages"),
]


@pytest.mark.parametrize(("blind", "packages", "words"), BLINDING)
def test_a_blinded_scanner_fixes_nothing(blind: Scan, packages: dict[str, str], words: str) -> None:
    old = {"a": "1", "x": "1", "y": "1"}

    listed = replace(listing(old), layers=dict.fromkeys(listing(old).versions, "sha256:base"))

    found = delta(blind, scan(A), inventories=(listing(packages), listed))

    assert not found.fixed
    assert names(found.unchanged) == ["a"]
    assert any(words in lost.why for lost in found.lost)


@pytest.mark.parametrize("layers", [frozenset[str](), frozenset({"sha256:other"})])
def test_a_slimmer_image_lost_nothing(layers: frozenset[str]) -> None:
    old = replace(listing({"a": "1", "x": "1", "y": "1"}), layers={A.package: "sha256:base"})

    found = delta(scan(layers=layers), scan(A), inventories=(listing({"x": "1"}), old))

    assert fixed(found) == ["a"]
    assert found.lost == ()


def test_losing_the_libraries_leaves_the_system_alone() -> None:
    library = finding("CVE-2026-0009", "left-pad", kind="npm")
    old = scan(A, library, looked=BOTH)
    listed = replace(listing({"x": "1"}), tool="Trivy")
    new = scan(looked=frozenset({Looked.OS}), listed=listed)

    found = delta(new, old)

    assert fixed(found) == ["a"]
    assert names(found.unchanged) == ["left-pad"]


def test_the_same_image_fixes_nothing() -> None:
    report, filtered = (
        read_scan(sample(f"trivy/{name}.json").read_bytes(), name)
        for name in ("ubuntu-1804", "ubuntu-1804-ignore-unfixed")
    )

    found = delta(filtered, report)

    assert not found.fixed
    assert len(found.unchanged) == len(report.findings)
    assert len(found.unexplained) == 1


def test_a_package_that_is_still_reported_was_not_fixed() -> None:
    other = finding("CVE-2026-0007", "a", versions=("1",))

    found = delta(scan(other), scan(A, other))

    assert not found.fixed
    assert len(found.unexplained) == 1


def test_newly_disclosed_is_in_both_images() -> None:
    young = finding("CVE-2026-0005", "young", disclosed=date(2026, 11, 10))
    old = finding("CVE-2020-0001", "old", disclosed=date(2020, 1, 1))

    found = delta(scan(young, old), scan(young, old), last_promotion=date(2026, 11, 1))

    assert found.newly_disclosed == frozenset({young.key})
    assert delta(scan(young), scan(young)).newly_disclosed is None


def test_platforms_are_summed_and_kept_apart() -> None:
    worse = finding("CVE-2026-0000", "a", Severity.CRITICAL, versions=("2",), fixed_in=())
    one = scan(A, platforms=("linux/amd64",), version="1")
    other = scan(worse, suppressed=[B], looked=frozenset({Looked.OS}), platforms=("linux/arm64",))

    both = merged_scans([one, other])

    assert {(key.platform, f.severity) for key, f in both.findings.items()} == {
        ("linux/amd64", A.severity),
        ("linux/arm64", Severity.CRITICAL),
    }
    assert both.looked == {Looked.OS}
    assert both.platforms == ("linux/amd64", "linux/arm64")
    assert [key.platform for key in both.suppressed] == ["linux/arm64"]


def test_contents() -> None:
    old = listing({"up": "1", "down": "2", "gone": "1", "same": "1", "odd": "1"}, licence="MIT")
    new = listing({"up": "2", "down": "1", "new": "1", "same": "1", "odd": "x:y"}, licence="ISC")

    found = contents(new, old)

    assert {change.package.name: change.change for change in found.changes} == {
        "up": Change.UPDATED,
        "down": Change.DOWNGRADED,
        "gone": Change.REMOVED,
        "new": Change.ADDED,
        "odd": Change.CHANGED,
    }
    assert [change.package.name for change in found.licences] == ["down", "odd", "same", "up"]


@pytest.mark.parametrize("name", SBOMS)
def test_an_sbom_against_itself_changes_nothing(name: str) -> None:
    sbom = read_sbom(sample(name).read_bytes(), name)

    found = contents(sbom, sbom)

    assert not found.changes
    assert not found.licences


def test_without_an_old_inventory_nothing_is_called_added() -> None:
    assert contents(listing({"a": "1"}), None).changes == ()


def test_several_versions_go_the_same_way_or_nobody_knows() -> None:
    name = package("ms", "npm")
    mixed = contents(
        Inventory({name: ("1.0.0", "3.0.0")}, {}), Inventory({name: ("1.0.0", "2.0.0")}, {})
    )
    more = contents(Inventory({name: ("1.0.0", "2.0.0")}, {}), Inventory({name: ("1.0.0",)}, {}))

    assert [change.change for change in mixed.changes] == [Change.UPDATED]
    assert [change.change for change in more.changes] == [Change.CHANGED]
