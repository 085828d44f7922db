"""The parts that evidence fills: kept bodies, the budget, and hostile strings in every part."""

from __future__ import annotations

import random
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from bot.domain.assessment import Assessment, Build, Evidence, assess
from bot.domain.evidence import (
    Finding,
    FindingKey,
    Fix,
    Scan,
    Severity,
    Suppression,
    merged_scans,
)
from bot.domain.history import Asker, Contribution, SourcePullRequest, WatchedChange
from bot.domain.image_configuration import ImageConfiguration
from bot.domain.images import BaseImage
from bot.domain.issues import IssueKey
from bot.domain.oci import Digest
from bot.domain.packages import Package, PackageName, inventory
from bot.domain.policy import EnvironmentPolicy, LicenceRule, Reason, Result, Scope
from bot.formats.assessment_document import indented, render_assessment
from bot.formats.body_budget import BUDGET, LIMIT
from bot.formats.check_output import check_output
from bot.formats.evidence_body import review
from bot.formats.markdown import plain
from bot.formats.pull_request_body import BodyFacts, ImageFacts, render
from tests.evidence_bodies import (
    AT,
    BUILD,
    CAME,
    COMMITS,
    DATABASE,
    FACTS,
    GONE,
    KEPT,
    POLICY,
    RULES,
    STAYED,
    deb,
    facts,
    found,
    scanned,
)
from tests.formats.test_escaping import fuzzed, real
from tests.github_rendering import added_by_github, rendered

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.mark.parametrize("name", KEPT)
def test_kept_bodies(name: str) -> None:
    """Written by ``python -m tests.golden.render``."""
    assert render(facts(name)) == (GOLDEN / f"evidence-{name}.md").read_text(encoding="utf-8")


def test_the_kept_bodies_say_what_they_are() -> None:
    blocked, clean, degraded = (render(facts(name)) for name in KEPT)

    assert "> [!CAUTION]\n> **Policy: blocked for `stage`.**" in blocked
    assert "> [!TIP]\n> **Policy: all 10 checks pass for `stage`.**" in clean
    assert "> [!WARNING]\n> **Policy: not decided for `stage`.**" in degraded
    assert "97 more in the same package" in degraded


def assessed(evidence: Evidence, policy: EnvironmentPolicy | None = POLICY) -> str:
    return render(replace(FACTS, assessment=assess("stage", evidence, policy, AT)))


@pytest.mark.parametrize("policy", [POLICY, None, replace(POLICY, blocks_unevaluated=False)])
def test_nothing_at_all_is_never_clean(policy: EnvironmentPolicy | None) -> None:
    body = assessed(Evidence(None), policy)

    assert "Not evaluated" in body
    assert "### Vulnerabilities\n\n**Not evaluated.**" in body
    assert "### Contents (SBOM)\n\n**Not evaluated.**" in body
    assert "clean" not in body.lower()
    assert "[!TIP]" not in body
    assert "No vulnerability is introduced" not in body


def test_a_scan_that_covers_nothing_says_so() -> None:
    blind = replace(scanned([]), looked=frozenset(), operating_system="")

    assert "covers neither operating system packages nor libraries" in assessed(Evidence(blind))


def test_without_a_baseline_nothing_is_compared() -> None:
    body = assessed(Evidence(scanned(CAME)), None)

    assert "everything counts as introduced: 1 Critical, 1 High, 2 Medium" in body
    assert "Critical | — → 1 | **+1 new** | 1 |" in body, "nobody counted what runs"


CHANGE = re.compile(r"([+-][0-9]+) ([a-z ]+)")
MINUS = "\u2212"


def matrix(body: str) -> dict[str, list[int]]:
    rows: dict[str, list[int]] = {}
    for line in body.splitlines():
        cells = [cell.strip() for cell in line.replace("*", "").strip("|").split("|")]
        found = re.fullmatch(r"([0-9]+) → ([0-9]+)", cells[1]) if len(cells) == 4 else None
        if found:
            changes = {
                word: int(number) for number, word in CHANGE.findall(cells[2].replace(MINUS, "-"))
            }
            told = [changes.pop(word, 0) for word in ("fixed", "new", "rated anew")]
            assert not changes
            rows[cells[0]] = [int(found[1]), *told, int(found[2]), int(cells[3])]
    return rows


SOME = st.lists(
    st.sampled_from([*CAME, *GONE, *STAYED]), max_size=30, unique_by=lambda f: f.package
)


@settings(max_examples=60)
@given(SOME, SOME)
def test_every_row_of_the_matrix_adds_up(new: list[Finding], old: list[Finding]) -> None:
    rows = matrix(assessed(Evidence(scanned(new), scanned(old)), None))

    assert len(rows) >= 5
    for now, fixed, introduced, rerated, after, fixable in rows.values():
        assert now + fixed + introduced + rerated == after
        assert fixable <= after
    total = rows.pop("Total")
    assert [sum(column) for column in zip(*rows.values(), strict=True)] == total
    assert total[4] >= len(new)  # what vanished without a reason still counts


def test_exploited_findings_come_first_and_never_fold() -> None:
    body = render(facts("blocked"))

    assert body.index("CVE-2026-31337](") < body.index("GHSA-7q5r-r9c2-x8mj](")
    assert "**KEV** since 2026-11-12, EPSS 91\u00a0%" in body


def test_the_way_out_names_what_no_update_mends() -> None:
    listed = inventory([Package(PackageName("npm", "", "ua"), "2.0.0", "AGPL-3.0-only")])
    body = assessed(Evidence(scanned(CAME), scanned([]), listed))

    (way,) = (line for line in body.splitlines() if "**To unblock:**" in line)
    assert "update `libssl3` to `3.0.17-1~deb12u3`" in way
    assert way.endswith(
        "That does not mend *No introduced package under a denied licence*: "
        "it takes a build without it."
    )
    assert "That does not mend" not in assessed(Evidence(scanned(CAME), scanned([])))


def test_a_report_of_somebody_else_is_shown_as_theirs() -> None:
    attested = replace(scanned(CAME), attested_by="the key ci.pub")

    row = "(linux/amd64), attested by the key ci.pub\n"
    assert row in assessed(Evidence(attested))
    assert "attested by" not in assessed(Evidence(scanned(CAME)))


def test_licence_changes_are_not_folded() -> None:
    body = render(facts("blocked"))
    line = "⚠️ **1 licence change**: `fairlock` (pypi) `MIT` → `BUSL-1.1`."

    assert line in body
    before = body[: body.index(line)]
    assert before.count("<details>") == before.count("</details>")


def crowd(size: int, word: str) -> BodyFacts:
    """Very many of everything, each with long text."""
    findings = [
        found(
            f"X-{word}-{n}", PackageName(word, word, f"{word}{n}"), Severity(n % 6), word
        )._replace(
            fixed_in=(word * 3, f"{n}"),
        )
        for n in range(size)
    ]
    suppressed = {
        f.key: Suppression(f, word * 9, word * 20, date(2026, 12, 1))
        for f in (
            f._replace(key=FindingKey(f"S{f.vulnerability}", f.package), aliases=frozenset())
            for f in findings
        )
    }
    packages = [Package(f.package, f"{n}{word}", word * 5) for n, f in enumerate(findings)]
    older = [Package(f.package, f"{n}-{word}", "MIT") for n, f in enumerate(findings)]
    rules = [
        LicenceRule(id=f"{n}", denies=True, scope=Scope.PRESENT, denied=(word,))
        for n in range(size)
    ]
    evidence = Evidence(
        replace(scanned(findings[::2]), suppressed=suppressed, scanner=word * 30),
        scanned(findings[1::2]),
        inventory(packages),
        inventory(older),
        missing=tuple(f"{word}{n}" for n in range(size)),
        signature=Reason(Result.FAIL, word * 99),
    )
    policy = replace(POLICY, rules=(*RULES, *rules[:200]))
    digest = Digest("sha256:" + "1" * 64)
    return replace(
        FACTS,
        assessment=assess("stage", evidence, policy, AT),
        commits=[replace(COMMITS[0], subject=word * 30) for _ in range(size)],
        leaving=COMMITS,
        images=[ImageFacts(f"image{n}", digest, digest) for n in range(min(size, 300))],
        newer=word * 50,
    )


@pytest.mark.parametrize("size", [0, 1, 40, 1500])
@pytest.mark.parametrize("word", ["plain", "<&|*_`@#$:>", "🟥", "\u0301a", "名前"])
def test_a_body_stays_within_its_budget_and_whole(size: int, word: str) -> None:
    body = render(crowd(size, word))

    assert len(body.encode()) <= BUDGET < LIMIT
    assert body.count("<details>") == body.count("</details>")
    assert "**Policy: " in body
    assert "### Vulnerabilities" in body
    assert "**When this merges**" in body
    if size == 1500:
        assert "more" in body


@pytest.mark.parametrize(
    ("breaking", "packages"),
    [(1, 1), (31, 31), (31, 4), (300, 60), (400, 400), (700, 700), (600, 100)],
)
def test_what_blocks_is_named_and_comes_first(breaking: int, packages: int) -> None:
    """Whatever else there is: 1,500 findings that nobody minds are cut before one that blocks."""
    blocks = [
        found(f"CVE-2027-{n:05d}", deb(f"bad{n % packages}"), Severity.CRITICAL, "1", f"{n + 2}")
        for n in range(breaking)
    ]
    harmless = [
        found(f"CVE-2028-{n:05d}", deb(f"good{n % 200}"), Severity.MEDIUM, "1") for n in range(1500)
    ]
    judged = assess("stage", Evidence(scanned([*harmless, *blocks]), scanned([])), POLICY, AT)

    body = render(replace(FACTS, assessment=judged))

    assert len(body.encode()) <= BUDGET
    assert all(one.vulnerability in body for one in blocks)
    last = max(body.index(one.vulnerability) for one in blocks)
    assert last < body.index("### Policy")
    assert body.count("- 🟥\u00a0Critical · `bad") == packages
    assert f"over {breaking} " in body.partition("###")[0]


def test_three_images_name_theirs() -> None:
    one = found("CVE-2027-1", deb("libc6"), Severity.CRITICAL, "1", "2")
    new = merged_scans(
        [replace(scanned([one]), image=f"r/{name}:1") for name in ("api", "worker", "jobs")]
    )
    old = merged_scans(
        [
            replace(scanned([one] if name == "api" else []), image=f"r/{name}:1")
            for name in ("api", "worker", "jobs")
        ]
    )
    judged = assess("stage", Evidence(new, old), POLICY, AT)

    blocking = render(replace(FACTS, assessment=judged)).partition("###")[2].partition("###")[0]

    assert "`r/worker`" in blocking
    assert "`r/jobs`" in blocking
    assert "`r/api`" not in blocking


@pytest.mark.parametrize(
    ("missing", "who"),
    [
        ("api (linux/amd64): it is being scanned", "nobody has to do anything"),
        ("No scanner is configured", "whoever runs Lockkeeper"),
        ("linux/arm64 was not scanned: timed out after 300 s", "whoever runs Lockkeeper"),
        ("the report on api is about another image", "whoever builds the image or scans it"),
        ("the report on scanner is about another image", "whoever builds the image or scans it"),
        ("scanner 1f cannot be read from any registry here", "whoever runs Lockkeeper or the reg"),
        ("scanner runs with 2 digests; none is compared", "whoever keeps the manifests"),
        (
            "api 1f cannot be scanned whole: linux/amd64 is there 2 times",
            "whoever builds the image:",
        ),
        (
            "api 1f: no scanner is configured, and no report that counts is attested",
            "whoever builds the image: attest a report",
        ),
        ("an attested report says that it was made on 2030-01-01", "whoever attests the reports"),
    ],
)
def test_what_is_not_decided_has_somebody_who_can(missing: str, who: str) -> None:
    judged = assess("stage", Evidence(scanned([]), missing=(missing,)), POLICY, AT)

    alert = render(replace(FACTS, assessment=judged)).partition("###")[0]

    assert f"**To decide:** {who}" in alert
    assert alert.count("**To decide:**") == 1


def test_what_is_not_decided_has_one_cause() -> None:
    missing = ("linux/arm64 was not scanned: timed out", "the build attached no SBOM")
    judged = assess("stage", Evidence(scanned([]), missing=missing), POLICY, AT)

    alert = render(replace(FACTS, assessment=judged)).partition("###")[0]

    assert "not decided for `stage`.** linux/arm64 was not scanned: timed out (*Scan" in alert
    assert missing[1] not in alert
    assert "could not be evaluated." in alert


def test_how_an_image_runs_is_told_where_it_changed() -> None:
    old = ImageConfiguration("1000", ("/app",), (), frozenset({"8080/tcp"}), frozenset({"PATH"}))
    new = replace(old, user="", variables=frozenset({"PATH", "LD_PRELOAD"}))
    evidence = Evidence(
        replace(scanned([]), configuration=new), replace(scanned([]), configuration=old)
    )
    # Where the registry did not say: by the scanner's reports.
    silent = replace(FACTS, images=[replace(FACTS.images[0], new_runs={}, now_runs={})])
    changed = render(replace(silent, assessment=assess("stage", evidence, POLICY, AT)))
    same = replace(evidence, new=evidence.old)

    assert "- ⚠️ **User**: `1000` → `root`" in changed
    assert "LD_PRELOAD" in changed
    assert "Entrypoint" not in changed
    assert "How it runs" not in render(
        replace(silent, assessment=assess("stage", same, POLICY, AT))
    )


def test_what_differs_on_one_platform_says_which() -> None:
    old, new = ImageConfiguration("1000"), ImageConfiguration("0")
    image = replace(
        FACTS.images[0],
        now_runs={"linux/amd64": old, "linux/arm64": old, "linux/s390x": old},
        new_runs={"linux/amd64": old, "linux/arm64": new, "linux/s390x": None},
    )

    body = render(replace(FACTS, images=[image]))

    assert "- ⚠️ **User** on linux/arm64: `1000` → `0`" in body
    assert "- Not known of checkout linux/s390x." in body
    assert "- **User, entrypoint, ports, variables**: ⚠️ changed, see below\n" in body


@pytest.mark.parametrize(
    ("now", "new", "said"),
    [
        ({"p": ImageConfiguration("1")}, {"p": ImageConfiguration("1")}, "as now"),
        ({"p": ImageConfiguration("1")}, {"p": None}, "not known"),
        ({}, {"p": ImageConfiguration("1")}, "not known"),
    ],
)
def test_how_it_runs_is_never_silently_the_same(
    now: dict[str, ImageConfiguration | None],
    new: dict[str, ImageConfiguration | None],
    said: str,
) -> None:
    image = replace(FACTS.images[0], now_runs=now, new_runs=new)

    assert f"ports, variables**: {said}\n" in render(replace(FACTS, images=[image]))


def test_every_fact_that_blocks_is_named_and_every_check_that_fails() -> None:
    denied = [Package(PackageName("npm", "", f"agpl{n}"), "1", "AGPL-3.0-only") for n in range(31)]
    listed = inventory(denied)
    harmless = [
        found(f"CVE-2028-{n:05d}", deb(f"good{n % 200}"), Severity.MEDIUM, "1") for n in range(1500)
    ]
    rules = [
        LicenceRule(id=f"r{n}", denies=True, scope=Scope.PRESENT, denied=("AGPL-3.0-only",))
        for n in range(7)
    ]
    policy = replace(POLICY, rules=tuple(rules))
    judged = assess("stage", Evidence(scanned(harmless), scanned([]), listed), policy, AT)

    body = render(replace(FACTS, assessment=judged))

    assert len(body.encode()) <= BUDGET
    assert all(body.count(f"agpl{n} is under AGPL-3.0-only") for n in range(31))
    assert body.rindex("- agpl30 is under") < body.index("### Policy")
    assert body.count("- ❌\u00a0**Fail** ·") == 7


def test_the_check_names_what_blocks_first() -> None:
    said = check_output(KEPT["blocked"]()).text

    assert said.startswith("### Blocking: 1 vulnerability in one package")
    assert "CVE-2026-31337" in said


def test_who_asked_and_what_a_rollback_takes() -> None:
    body = render(facts("blocked"))

    assert (
        "**Asked by** `rita`, who moved `release/1.42` to [`9f3c2e1`]"
        "(https://github.com/acme/checkout/commit/9f3c2e1000000000000000000000000000000000) with "
        "[pull request 812](https://redirect.github.com/acme/checkout/pull/812)"
    ) in body
    assert "This build has stood in `dev` for 3 d" in body
    assert (
        "The running version came on 2026-11-03 (17 days ago). Rollback ready: `/rollback` here "
        "goes back to it:" in body
    )
    assert "[`41b7d02`]" in body.partition("goes back to it: ")[2].partition("\n")[0]


def test_who_asked_where_github_knows_nobody() -> None:
    named = replace(FACTS, asker=Asker("main", "c" * 40, "", "Rita @acme"))
    unnamed = replace(FACTS, asker=Asker("main", "c" * 40))

    assert "**Asked by** Rita &#64;\u2060acme (by the commit's name), who" in render(named)
    assert "**Asked by** somebody whom nobody knows, who moved" in render(unnamed)


def test_what_is_not_known_of_the_past_is_said() -> None:
    evidence = Evidence(scanned([]), scanned([]))
    judged = assess("stage", evidence, POLICY, AT)
    unknown = render(replace(FACTS, assessment=judged, now_commit=None))
    image = replace(FACTS.images[0], now=None)
    first = render(replace(FACTS, assessment=judged, images=[image], now_commit=None, before=""))

    assert "How long this build stood in `dev` is not known." in unknown
    assert "Since when the running version runs is not known." in unknown
    assert "whose commit is not known." in unknown
    assert "there is nothing that a rollback could go back to" in first
    assert "stood in" not in first


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (
            BUILD,
            "- **Built by**: [run 19283746501](https://github.com/acme/checkout/actions/runs/1",
        ),
        (
            replace(BUILD, repository="acme/evil"),
            "- **Built by**: run `19283746501` of `acme/evil`, `h",
        ),
        (replace(BUILD, run=""), "- **Built by**: a run that it does not name of `acme/checkout`"),
        (replace(BUILD, by=""), "⚠️ nobody vouches for that\n"),
        (replace(BUILD, builder=""), "a builder that it does not name; vouched for by key of"),
    ],
)
def test_who_built_it_and_by_whose_word(build: Build, said: str) -> None:
    evidence = Evidence(scanned([]), scanned([]), builds=(build,))

    assert said in render(replace(FACTS, assessment=assess("stage", evidence, POLICY, AT)))


def test_without_provenance_nobody_knows_who_built_it() -> None:
    judged = assess("stage", Evidence(scanned([]), scanned([])), POLICY, AT)

    assert "- **Built by**: not known: the image carries no provenance\n" in render(
        replace(FACTS, assessment=judged)
    )


def test_what_is_left_out_is_counted() -> None:
    body = render(crowd(1500, "plain"))

    listed = len(re.findall(r"^- \S+\s\w+ · `X-plain", body, re.MULTILINE))
    fold = re.search(r"<b>(\d+) suppressed</b>", body)
    assert fold is not None
    assert int(fold[1]) == 1500
    assert listed < 100
    assert re.search(r"\d+ (more )?introduced findings are not listed here", body)


def test_the_same_facts_make_the_same_body() -> None:
    assert render(crowd(40, "x")) == render(crowd(40, "x"))


# Hostile strings in every part of a body: its shape stays that of a body with harmless ones.


UNKNOWN = replace(COMMITS[0], id="f" * 40)


def strewn(words: Iterator[str]) -> BodyFacts:
    """Every string of a body that comes from outside."""
    findings = [
        Finding(
            FindingKey(f"{next(words)}", PackageName(next(words), next(words), next(words))),
            Severity.HIGH,
            versions=(next(words),),
            fixed_in=(next(words), "nothing orders this"),
            fix=Fix.AVAILABLE,
            paths=(next(words),),
            source=next(words),
        )
        for _ in range(12)
    ]
    new: Scan = replace(
        scanned(findings[:4] + findings[4:8]),
        scanner=next(words),
        version=next(words),
        operating_system=next(words),
        platforms=(next(words), next(words)),
        image=next(words),
        limits=(next(words),),
        database=DATABASE,
        suppressed={f.key: Suppression(f, next(words), next(words)) for f in findings[8:10]},
        end_of_life=True,
    )
    old = scanned(findings[4:8] + findings[10:])
    names = [PackageName(next(words), next(words), next(words)) for _ in range(3)]
    tool = next(words)
    evidence = Evidence(
        new,
        old,
        inventory([Package(name, next(words), next(words)) for name in names[:2]], tool=tool),
        inventory([Package(name, next(words), next(words)) for name in names[1:]], tool=tool),
        missing=(next(words),),
        signature=Reason(Result.WARN, next(words)),
        provenance=Reason(Result.PASS, next(words)),
        builds=(
            Build(next(words), next(words), next(words), next(words), next(words)),
            Build(next(words), next(words), next(words), "", ""),
        ),
    )
    digest = Digest("sha256:" + "1" * 64)
    return replace(
        FACTS,
        application=next(words),
        environment=next(words),
        branch=next(words),
        known_by=next(words),
        ref=next(words),
        images=[
            ImageFacts(
                next(words),
                digest,
                digest,
                (next(words),),
                (next(words),),
                new_bases=(BaseImage(next(words), next(words)),),
                now_bases=(BaseImage(next(words), next(words)),),
                new_runs={
                    "p": ImageConfiguration(
                        next(words), (next(words),), (), frozenset({next(words)})
                    ),
                    next(words): None,
                },
                now_runs={"p": ImageConfiguration()},
            )
        ]
        * 2,
        source_repositories=[next(words)],
        target_repositories=[next(words)],
        commits=[
            replace(one, subject=next(words), author=next(words)) for one in (*COMMITS, UNKNOWN)
        ],
        contributions={
            COMMITS[0].id: Contribution(
                COMMITS[0].id,
                next(words),
                SourcePullRequest(7, next(words), merged=True, author=next(words)),
            ),
            COMMITS[1].id: Contribution(COMMITS[1].id, next(words), None),
            COMMITS[2].id: Contribution(
                COMMITS[2].id, None, SourcePullRequest(8, next(words), merged=False, author=None)
            ),
        },
        leaving=[replace(COMMITS[0], subject=next(words), author=next(words))],
        newer=next(words),
        asker=Asker(next(words), "c" * 40, next(words), next(words), 9),
        issues=[IssueKey(next(words)), IssueKey(next(words), "https://github.com/acme/x/issues/1")],
        watching=[next(words)],
        watched=[WatchedChange(next(words), "added")],
        before=next(words),
        assessment=assess(next(words), evidence, POLICY, AT),
    )


STREWN = 200


def harmless() -> Iterator[str]:
    number = 0
    while True:
        number += 1
        yield f"harmless{number}"


def shape(markdown: str) -> list[str]:
    """Tags; how many code spans a cell has depends on sorting, that of one row does not."""
    return rendered(markdown).skeleton


def controls(printed: str) -> set[str]:
    """Characters that a terminal obeys or that reorder what stands around them."""
    kinds = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
    ours = {"\n", "\u2060", "\u200e"}  # the last keeps what stands around it in its order
    return {c for c in printed if unicodedata.category(c) in kinds} - ours


@pytest.mark.parametrize("source", ["fuzzed", "real"])
def test_hostile_strings_tell_a_terminal_nothing(source: str) -> None:
    strings = list(fuzzed() if source == "fuzzed" else real())

    for start in range(0, len(strings) - STREWN, STREWN):
        some = strings[start : start + STREWN]
        judged = strewn(iter(some)).assessment
        assert judged is not None

        printed = review(judged, [(some[0], some[1], some[2])])

        assert not controls(printed)
        assert not controls(indented(render_assessment(judged)).decode())


@pytest.mark.parametrize("word", ["plain", "<&|*_`@#$:>", "\U0001f7e5"])
def test_many_pull_requests_stay_within_the_budget(word: str) -> None:
    commits = [replace(COMMITS[0], id=f"{n:040x}", subject=word * 99) for n in range(250)]
    contributions = {
        one.id: Contribution(
            one.id, word, SourcePullRequest(n, word * 99, merged=bool(n % 2), author=word)
        )
        for n, one in enumerate(commits)
    }

    body = render(replace(FACTS, commits=commits, contributions=contributions))

    assert len(body.encode()) <= BUDGET
    assert "**250 commits in 125 pull requests**" in body
    assert "**125 commits without a merged pull request**" in body


@pytest.mark.slow
@pytest.mark.parametrize("source", ["fuzzed", "real"])
def test_hostile_strings_change_no_body(source: str) -> None:
    # An identifier of a known form becomes a link, which is another shape.
    known = re.compile(r"CVE-[0-9-]+|GHSA(-[0-9a-z]{4}){3}")
    given = fuzzed() if source == "fuzzed" else real()
    strings = [v for v in given if plain(v) and not known.fullmatch(plain(v))]
    generator = random.Random(1)  # noqa: S311 - the same order in every run
    generator.shuffle(strings)
    expected = shape(render(strewn(harmless())))

    for start in range(0, len(strings) - STREWN, STREWN):
        body = render(strewn(iter(strings[start : start + STREWN])))

        page = rendered(body)
        assert page.skeleton == expected, body
        for prose in page.prose:
            assert not added_by_github(prose), prose
        for link in page.links:
            assert re.match(
                r"https://((redirect\.)?github\.com|nvd\.nist\.gov|lockkeeper\.example)/", link
            )


def test_review_without_a_promotion() -> None:
    judged: Assessment = KEPT["blocked"]()

    body = review(judged, [("Image", "r/shop:1", "r/shop:2 @octocat")])

    assert body.startswith("> [!CAUTION]")
    assert "- **Image**: r/shop" in body
    assert "@octocat" not in body
    assert "### Supply chain" in body
