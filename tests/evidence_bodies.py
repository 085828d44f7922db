"""Promotions whose bodies are kept or looked at."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from bot.domain.assessment import Assessment, Build, Evidence, assess
from bot.domain.environments import Approvals
from bot.domain.evidence import (
    Exploitation,
    Finding,
    FindingKey,
    Fix,
    KnownExploited,
    Looked,
    Scan,
    Severity,
    Suppression,
    merged_scans,
)
from bot.domain.history import (
    Asker,
    Contribution,
    GitCommit,
    SourcePullRequest,
    WatchedChange,
)
from bot.domain.image_configuration import ImageConfiguration
from bot.domain.images import BaseImage
from bot.domain.issues import IssueKey
from bot.domain.oci import Digest
from bot.domain.packages import Inventory, Package, PackageName, inventory
from bot.domain.policy import (
    Clock,
    EndOfLifeRule,
    EnvironmentPolicy,
    Grace,
    LicenceRule,
    Reason,
    Required,
    Result,
    RiskException,
    Scope,
    VulnerabilityRule,
)
from bot.formats.pull_request_body import BodyFacts, ImageFacts

AT = datetime(2026, 11, 20, 10, 4, tzinfo=UTC)
DATABASE = datetime(2026, 11, 20, 6, 11, tzinfo=UTC)
PLATFORMS = ("linux/amd64", "linux/arm64")
RULES = (
    VulnerabilityRule(id="known-exploited", denies=True, scope=Scope.INTRODUCED, is_exploited=True),
    VulnerabilityRule(
        id="critical",
        denies=True,
        scope=Scope.INTRODUCED,
        at_least=Severity.CRITICAL,
        has_fix=True,
    ),
    VulnerabilityRule(
        id="high",
        denies=True,
        scope=Scope.INTRODUCED,
        at_least=Severity.HIGH,
        has_fix=True,
        grace=Grace(Clock.FIX_AVAILABLE, timedelta(days=14)),
    ),
    EndOfLifeRule(id="eol-os", denies=False, scope=Scope.PRESENT),
    LicenceRule(
        id="licences", denies=True, scope=Scope.INTRODUCED, denied=("AGPL-3.0-only", "SSPL-1.0")
    ),
)
POLICY = EnvironmentPolicy(
    "stage",
    RULES,
    max_database_age=timedelta(hours=24),
    required=Required(sbom=True, signature=True, provenance=True),
)


def deb(name: str) -> PackageName:
    return PackageName("deb", "debian", name)


def found(
    vulnerability: str,
    package: PackageName,
    severity: Severity,
    version: str,
    fixed_in: str = "",
    *,
    disclosed: date | None = None,
    fix_since: date | None = None,
) -> Finding:
    return Finding(
        FindingKey(vulnerability, package),
        severity,
        versions=(version,),
        fixed_in=(fixed_in,) if fixed_in else (),
        fix=Fix.AVAILABLE if fixed_in else Fix.NONE,
        aliases=frozenset({vulnerability}),
        disclosed=disclosed,
        fix_since=fix_since,
    )


def many(count: int, severity: Severity, first: int, *, fixable: int = 0) -> list[Finding]:
    return [
        found(
            f"CVE-2025-{first + n}",
            deb(f"lib{severity.word}{n}"),
            severity,
            "1.0-1",
            "1.0-2" if n < fixable else "",
        )
        for n in range(count)
    ]


def scanned(findings: list[Finding], listed: Inventory | None = None) -> Scan:
    return Scan(
        scanner="Trivy",
        version="0.74.0",
        findings={one.key: one for one in findings},
        looked=frozenset({Looked.OS, Looked.LIBRARY}),
        database=DATABASE,
        finished=datetime(2026, 11, 20, 10, 2, tzinfo=UTC),
        operating_system="debian 12",
        end_of_life=False,
        platforms=PLATFORMS[:1],
        inventory=listed,
    )


STAYED = [
    found(
        "CVE-2026-30012",
        deb("libc6"),
        Severity.HIGH,
        "2.36-9",
        "2.36-9+deb12u13",
        disclosed=date(2026, 11, 10),
    ),
    *many(1, Severity.HIGH, 1000),
    *many(16, Severity.MEDIUM, 2000, fixable=8),
    *many(44, Severity.LOW, 3000, fixable=3),
]
GONE = [
    found("CVE-2026-11871", deb("zlib1g"), Severity.CRITICAL, "1:1.2.13.dfsg-1", "1:1.3"),
    found("CVE-2026-14402", deb("libexpat1"), Severity.HIGH, "2.5.0-1+deb12u1", "2.5.0-1+deb12u2"),
    found("CVE-2026-14403", deb("libexpat1"), Severity.HIGH, "2.5.0-1+deb12u1", "2.5.0-1+deb12u2"),
    found("CVE-2026-16021", PackageName("pypi", "", "werkzeug"), Severity.HIGH, "3.0.3", "3.0.6"),
]
CAME = [
    found(
        "CVE-2026-31337",
        deb("libssl3"),
        Severity.CRITICAL,
        "3.0.17-1~deb12u2",
        "3.0.17-1~deb12u3",
        fix_since=date(2026, 11, 12),
    ),
    found(
        "GHSA-7q5r-r9c2-x8mj",
        PackageName("npm", "@babel", "traverse"),
        Severity.HIGH,
        "7.28.0",
        "7.28.3",
        fix_since=date(2026, 11, 14),
    ),
    found("CVE-2026-20417", deb("libxml2"), Severity.MEDIUM, "2.9.14+dfsg-1.3~deb12u4"),
    found(
        "CVE-2026-20980",
        PackageName("pypi", "", "requests"),
        Severity.MEDIUM,
        "2.32.4",
        "2.33.0",
    ),
]
EXPAT = found("CVE-2024-45490", deb("libexpat1"), Severity.MEDIUM, "2.5.0-1+deb12u2")
PERL = found("CVE-2026-9010", deb("perl-base"), Severity.MEDIUM, "5.36.0-7")
EXPLOITATION = Exploitation(
    kev={"CVE-2026-31337": KnownExploited(date(2026, 11, 12))},
    kev_date=date(2026, 11, 20),
    epss={"CVE-2026-31337": 0.91, "CVE-2026-20417": 0.0004, "CVE-2026-20980": 0.006},
    epss_date=date(2026, 11, 18),
)


def sbom(changes: dict[PackageName, tuple[str, str]]) -> Inventory:
    """Packages that stay, the packages of the findings, and some more."""
    packages = [Package(deb(f"same{n}"), "1.0-1", "GPL-2.0-only") for n in range(100)]
    packages += [Package(PackageName("npm", "", f"same{n}"), "1.0.0", "MIT") for n in range(20)]
    packages += [Package(one.package, one.versions[0], "MIT") for one in STAYED]
    packages += [Package(name, version, licence) for name, (version, licence) in changes.items()]
    return inventory(packages, operating_system="debian 12", tool="syft 1.51.0")


RUNNING = {
    deb("zlib1g"): ("1:1.2.13.dfsg-1", "Zlib"),
    deb("libexpat1"): ("2.5.0-1+deb12u1", "MIT"),
    deb("libssl3"): ("3.0.15-1~deb12u1", "Apache-2.0"),
    deb("perl-base"): ("5.36.0-7", "Artistic-2.0"),
    PackageName("pypi", "", "fairlock"): ("1.9.0", "MIT"),
    PackageName("pypi", "", "flask"): ("3.0.3", "BSD-3-Clause"),
    PackageName("pypi", "", "werkzeug"): ("3.0.3", "BSD-3-Clause"),
}
OLD_SBOM = sbom(RUNNING)
NEW_SBOM = sbom(
    {
        deb("zlib1g"): ("1:1.3", "Zlib"),
        deb("libexpat1"): ("2.5.0-1+deb12u2", "MIT"),
        deb("libssl3"): ("3.0.17-1~deb12u2", "Apache-2.0"),
        deb("perl-base"): ("5.36.0-7", "Artistic-2.0"),
        PackageName("npm", "@babel", "traverse"): ("7.28.0", "MIT"),
        PackageName("pypi", "", "fairlock"): ("2.0.0", "BUSL-1.1"),
        PackageName("pypi", "", "flask"): ("3.1.2", "BSD-3-Clause"),
        PackageName("pypi", "", "orjson"): ("3.11.4", "MPL-2.0 AND (Apache-2.0 OR MIT)"),
    }
)
VERIFIED = Reason(Result.PASS, "key of the build, source acme/checkout at 9f3c2e1 matches")
COMMITS = [
    GitCommit(f"{n:x}".ljust(40, "0"), "t" * 40, (), AT, subject, author)
    for n, (subject, author) in enumerate(
        [
            ("Fix rounding of VAT for mixed baskets (#812)", "Rita"),
            ("Replace lock implementation with fairlock 2 (#809)", "Sam"),
            ("hotfix: retry on 409", "Mo"),
        ],
        start=0xC0FFEE1,
    )
]
CONTRIBUTIONS = {
    commit.id: Contribution(commit.id, author, pull_request)
    for commit, author, pull_request in zip(
        COMMITS,
        ("rita", "sam", "mo"),
        (
            SourcePullRequest(
                812, "Fix rounding of VAT for mixed baskets", merged=True, author="rita"
            ),
            SourcePullRequest(
                809, "Replace lock implementation with fairlock 2", merged=True, author="sam"
            ),
            None,
        ),
        strict=True,
    )
}
NOW_RUNS = ImageConfiguration(
    "1000",
    ("/app/serve",),
    ports=frozenset({"8080/tcp"}),
    variables=frozenset({"PATH", "PORT"}),
)
NEW_RUNS = replace(NOW_RUNS, variables=frozenset({"PATH", "PORT", "LOCK_TIMEOUT"}))
BUILD = Build(
    "checkout",
    "https://github.com/acme/checkout/.github/workflows/release.yml@refs/heads/release/1.42",
    "acme/checkout",
    "19283746501",
    "key of the build",
)
FACTS = BodyFacts(
    promotion="01jd3q9z8k8v0s5t2w6y4n7b1c",
    application="checkout",
    environment="stage",
    ref="env/stage",
    source_repository="acme/checkout",
    web_url="https://github.com",
    branch="release/1.42",
    commit="9f3c2e1" + "0" * 33,
    now_commit="41b7d02" + "0" * 33,
    known_by="label",
    images=[
        ImageFacts(
            "checkout",
            Digest("sha256:4be0a97d" + "0" * 52 + "91ad"),
            Digest("sha256:8d1f03be" + "0" * 52 + "c402"),
            PLATFORMS,
            PLATFORMS,
            90_177_536,
            88_185_241,
            datetime(2026, 11, 19, 16, 40, tzinfo=UTC),
            datetime(2026, 11, 3, 9, 12, tzinfo=UTC),
            (BaseImage("docker.io/library/python:3.13-slim", "sha256:77c0" + "0" * 56 + "2e41"),),
            (BaseImage("docker.io/library/python:3.13-slim", "sha256:1a09" + "0" * 56 + "b7f3"),),
            dict.fromkeys(PLATFORMS, NEW_RUNS),
            dict.fromkeys(PLATFORMS, NOW_RUNS),
        )
    ],
    source_repositories=["registry.dev.example.com/acme/checkout"],
    target_repositories=["registry.stage.example.com/acme/checkout"],
    commits=COMMITS,
    leaving=[],
    signs=True,
    approvals=Approvals(1, ("acme/release-managers",)),
    merges_itself=False,
    contributions=CONTRIBUTIONS,
    asker=Asker("release/1.42", "9f3c2e1" + "0" * 33, "rita", "Rita", 812),
    issues=[
        IssueKey("SHOP-4711", "https://issues.example.com/browse/SHOP-4711"),
        IssueKey("SHOP-4720", "https://issues.example.com/browse/SHOP-4720"),
    ],
    watching=["migrations/**"],
    watched=[WatchedChange("migrations/0042_add_lock_owner.sql", "added")],
    before="dev",
    report_url="https://lockkeeper.example/promotions/01jd3q9z8k8v0s5t2w6y4n7b1c",
)


def blocked() -> Assessment:
    """A known exploited vulnerability comes with this build."""
    new = scanned([*STAYED, *CAME, PERL])
    by_vex = Suppression(EXPAT, "VEX not_affected by acme/checkout", "code not in execute path")
    accepted = RiskException(
        vulnerability="CVE-2026-9010",
        package=deb("perl-base"),
        version="",
        environments=("stage",),
        reason="no untrusted input",
        ticket="SEC-812",
        expires=date(2026, 12, 1),
        file="policy/exceptions.yaml",
        line=14,
    )
    evidence = Evidence(
        replace(new, suppressed={EXPAT.key: by_vex}),
        scanned([*STAYED, *GONE, PERL]),
        NEW_SBOM,
        OLD_SBOM,
        exploitation=EXPLOITATION,
        exceptions=(accepted,),
        last_promotion=date(2026, 11, 3),
        signature=VERIFIED,
        provenance=VERIFIED,
        builds=(BUILD,),
        soaked=timedelta(days=3, hours=4),
    )
    return assess("stage", evidence, POLICY, AT)


def clean() -> Assessment:
    """Nothing is introduced, something is fixed."""
    evidence = Evidence(
        scanned(STAYED),
        scanned([*STAYED, *GONE]),
        OLD_SBOM,
        OLD_SBOM,
        exploitation=EXPLOITATION,
        last_promotion=date(2026, 11, 11),
        signature=VERIFIED,
        provenance=VERIFIED,
        builds=(BUILD,),
        soaked=timedelta(days=3, hours=4),
    )
    fixed = RUNNING | {
        deb("zlib1g"): ("1:1.3", "Zlib"),
        deb("libexpat1"): ("2.5.0-1+deb12u2", "MIT"),
        PackageName("pypi", "", "werkzeug"): ("3.0.6", "BSD-3-Clause"),
    }
    return assess("stage", replace(evidence, new_inventory=sbom(fixed)), POLICY, AT)


def degraded() -> Assessment:
    """One platform was not scanned, and one package has very many findings."""
    kernel = [
        found(f"CVE-2026-4{n:04d}", deb("linux-libc-dev"), Severity.HIGH, "6.1.140-1")
        for n in range(98)
    ]
    other = [
        found(f"CVE-2026-5{n:04d}", deb(f"binutils{n % 25}"), Severity.HIGH, "2.40-2")
        for n in range(60)
    ]
    platform = ("linux/amd64",)
    evidence = Evidence(
        replace(scanned([*STAYED, *kernel, *other]), platforms=platform),
        replace(scanned([*STAYED, *GONE]), platforms=platform),
        exploitation=replace(EXPLOITATION, kev=None),
        missing=(
            "linux/arm64 was not scanned: timed out after 300 s",
            "the build attached no SBOM for linux/arm64",
        ),
    )
    return assess("stage", evidence, POLICY, AT)


KEPT = {"blocked": blocked, "clean": clean, "degraded": degraded}


def facts(name: str) -> BodyFacts:
    """The promotion with the evidence of that name."""
    return replace(FACTS, assessment=KEPT[name]())


def first() -> BodyFacts:
    """Nothing runs there yet."""
    evidence = Evidence(scanned([*STAYED, *CAME]), None, NEW_SBOM, exploitation=EXPLOITATION)
    image = replace(FACTS.images[0], now=None, now_platforms=(), now_size=None, now_bases=())
    return replace(
        FACTS,
        assessment=assess("stage", evidence, POLICY, AT),
        images=[image],
        now_commit=None,
        commits=None,
        contributions=None,
    )


def crowded() -> BodyFacts:
    """Blocked by 31 findings among 1,500; some are rated anew, and one is negligible."""
    blocks = [
        found(f"CVE-2027-{n:05d}", deb(f"bad{n % 9}"), Severity.CRITICAL, "1.0-1", f"1.0-{n + 2}")
        for n in range(31)
    ]
    harmless = [
        found(
            f"CVE-2028-{n:05d}",
            deb(f"good{n % 200}"),
            (Severity.MEDIUM, Severity.LOW, Severity.NEGLIGIBLE)[n % 3],
            "1.0-1",
        )
        for n in range(1469)
    ]
    before = [one._replace(severity=Severity.LOW) for one in harmless[:1400]]
    evidence = Evidence(
        scanned([*harmless, *blocks]),
        scanned([*before, *many(1200, Severity.MEDIUM, 9000)]),
        NEW_SBOM,
        OLD_SBOM,
        exploitation=EXPLOITATION,
        last_promotion=date(2026, 11, 3),
        builds=(BUILD,),
    )
    return replace(FACTS, assessment=assess("stage", evidence, POLICY, AT))


def three_images() -> BodyFacts:
    """What one image has already is new in another."""
    names = ("checkout", "checkout-worker", "checkout-scheduler")
    place = "registry.stage.example.com/acme/payments/platform"

    def of(findings: dict[str, list[Finding]]) -> Scan:
        return merged_scans(
            [
                replace(
                    scanned([*STAYED, *findings.get(name, [])], OLD_SBOM),
                    image=f"{place}/{name}:1.42.0",
                    platforms=(platform,),
                )
                for name in names
                for platform in PLATFORMS
            ]
        )

    evidence = Evidence(
        of({"checkout": CAME, "checkout-worker": CAME[:2]}),
        of({"checkout": CAME[:1]}),
        exploitation=EXPLOITATION,
        last_promotion=date(2026, 11, 3),
        builds=tuple(replace(BUILD, image=f"{place}/{name}") for name in names),
    )
    return replace(
        FACTS,
        assessment=assess("stage", evidence, POLICY, AT),
        images=[replace(FACTS.images[0], name=name) for name in names],
        source_repositories=[f"registry.dev.example.com/acme/{name}" for name in names],
        target_repositories=[f"{place}/{name}" for name in names],
    )


def foreign(word: str) -> BodyFacts:
    """A promotion in which everything that others write is this word, and long."""
    long = " ".join([word * 3] * 6)
    package = PackageName("npm", f"@{word}", word * 9)
    findings = [
        found(f"X-{word}-{n}", package, Severity.CRITICAL, f"{n}.{word}", f"{n + 1}.{word * 9}")
        for n in range(3)
    ]
    other = [
        found(f"Y-{word}-{n}", deb(f"{word * 4}{n}"), Severity.MEDIUM, "1.0-1", word * 4)
        for n in range(12)
    ]
    before = [one._replace(versions=(f"0.{word}",)) for one in other[4:]]
    by_vex = Suppression(other[0], f"VEX not_affected by {long}", long, date(2026, 12, 1))
    new = scanned([*findings, *other[1:]])
    old = scanned([*before, *many(2, Severity.HIGH, 100)])
    listed = [Package(package, "1", word * 4), Package(PackageName("npm", "", word), "2", "MIT")]
    evidence = Evidence(
        replace(new, suppressed={other[0].key: by_vex}, image=f"r.example/{word * 20}:{word}"),
        replace(old, image=f"r.example/{word * 20}:{word}"),
        inventory(listed, tool=long),
        inventory([Package(package, f"0-{word * 9}", "MIT")], tool=long),
        exploitation=EXPLOITATION,
        missing=(long,),
        notes=(long,),
        signature=Reason(Result.FAIL, word * 60),
        provenance=Reason(Result.FAIL, long),
        builds=(replace(BUILD, builder=word * 40, repository=word * 20, run=word * 9, by=long),),
    )
    commits = [
        replace(commit, subject=subject, author=word * 12)
        for commit, subject in zip(COMMITS, (long, word * 60, f"x{word}"), strict=True)
    ]
    contributions = {
        commit.id: Contribution(commit.id, word * 12, pull_request)
        for commit, pull_request in zip(
            commits,
            (SourcePullRequest(812, word * 60, merged=True, author=word * 12), None, None),
            strict=True,
        )
    }
    base = BaseImage(f"r.example/{word * 20}:{word}", "sha256:" + "2" * 64)
    runs = ImageConfiguration(word * 9, (word * 60,), variables=frozenset({word * 20}))
    image = replace(
        FACTS.images[0],
        name=word * 9,
        new_bases=(base,),
        new_runs=dict.fromkeys(PLATFORMS, runs),
    )
    return replace(
        FACTS,
        assessment=assess("stage", evidence, POLICY, AT),
        application=word * 9,
        branch=f"release/{word * 20}",
        images=[image, replace(image, name=f"{word}-2")],
        commits=commits,
        contributions=contributions,
        leaving=commits[:1],
        newer=long,
        asker=Asker(word * 20, "9f3c2e1" + "0" * 33, "", long, 812),
        issues=[IssueKey(word * 9, "")],
        watching=[f"{word * 20}/**"],
        watched=[WatchedChange(f"{word * 20}/{word * 20}", "added")],
        source_repositories=[f"r.example/{word * 20}"],
        target_repositories=[f"r.example/{word * 30}"],
    )


def shown() -> dict[str, BodyFacts]:
    """Each situation that a reviewer meets, for looking at: on a screen and on a phone."""
    return {
        "first": first(),
        "clean": facts("clean"),
        "blocked": facts("blocked"),
        "blocked-31-of-1500": crowded(),
        "not-decided": facts("degraded"),
        "three-images": three_images(),
        "hostile": foreign("<b>|@x`#1"),
        "hostile-long": foreign("Donaudampfschiff"),
        "right-to-left": foreign("\u05e9\u05dc\u05d5\u05dd"),
    }
