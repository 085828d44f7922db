"""What is known of images on a real registry, and what follows from what is not known."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bot.adapters.signing import load_signing_key
from bot.domain.errors import UnavailableError
from bot.domain.oci import Digest, ImageRepository
from bot.domain.policy import Result
from bot.facts.evidence import Evaluated, evaluate
from bot.facts.snapshot import View
from bot.ports.scanning import Examination, MatchReport, Reports, ScannerFacts
from tests.world.attaching import (
    CYCLONEDX,
    VULN,
    attach,
    cyclonedx,
    key_bundle,
    statement,
    vulnerabilities,
)
from tests.world.images import BuiltImage, build_image
from tests.world.keys import generate_key_pair
from tests.world.local_bot import LocalBot, running_local_bot
from tests.world.registry import Registry

AT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
FACTS = ScannerFacts("Trivy", "0.74.0", AT)
POLICY = """\
version: 1
environments:
  prod:
    rules: [{ id: critical, deny: introduced, severity: ">= critical" }]
"""
OVERLAY = "kind: Kustomization\nimages:\n  - name: payments\n    newName: {host}/acme/payments\n"
POD = """\
apiVersion: v1
kind: Pod
metadata: {{ name: payments }}
spec: {{ containers: [{{ name: payments, image: "{image}" }}] }}
"""
NEW, OTHER = build_image(seed=1), build_image(seed=2)


@dataclass
class StatedScanner:
    """Answers about itself what a test states; nobody lets it look at anything."""

    missing: Sequence[str] = ()
    reason: str = ""

    def facts(self) -> ScannerFacts:
        if self.reason:
            raise UnavailableError(self.reason)
        return FACTS

    def gaps(self) -> Sequence[str]:
        return self.missing

    def examine(self, save: Callable[[Path], None]) -> Examination:
        raise NotImplementedError

    def match(self, sbom: bytes) -> bytes:
        raise NotImplementedError


@dataclass
class LocationKey:
    local: LocalBot
    registry: Registry
    scanner: StatedScanner | None = field(default_factory=StatedScanner)
    signs: bool = False
    partial: bool = False

    @property
    def reports(self) -> Reports:
        found = self.local.ports.reports
        assert found
        return found

    def view(self) -> View:
        view = self.local.look()
        ports = replace(view.ports, scanner=self.scanner, scanner_may_be_partial=self.partial)
        return replace(view, ports=ports)

    def evaluated(self, image: BuiltImage = NEW) -> Evaluated:
        view = self.view()
        environment = replace(view.environment("prod"), signs=self.signs)
        application = view.application("payments")
        digests = {"payments": Digest(image.digest)}
        return evaluate(view, environment, application, digests, view.rules)

    def scanned(self, image: BuiltImage, *severities: str, about: BuiltImage | None = None) -> None:
        """Keep what a scanner would have said of every platform."""
        for platform, child in image.children.items():
            config = json.loads((about or image).children[platform])["config"]["digest"]
            report = _report(config, severities)
            digest = Digest(image.child(platform))
            assert child
            self.reports.record_examination("Trivy", digest, Examination(b"{}", report))
            self.reports.record_match(digest, FACTS.generation, MatchReport(AT, report))

    def publish(self, *digests: str) -> None:
        """Let the environment ref show these digests, each in a file of its own."""
        host = self.registry.host
        files: dict[str, str | bytes | None] = {
            f"envs/prod/{number}.yaml": POD.format(image=f"{host}/acme/payments@{digest}")
            for number, digest in enumerate(digests)
        }
        manifests = self.local.manifests
        self.local.dana.push(manifests, "env/prod", files, parent=manifests.head("main"))


def _report(config: str, severities: Sequence[str]) -> bytes:
    vulnerabilities = [
        {
            "VulnerabilityID": f"CVE-2026-100{number}",
            "PkgName": "zlib",
            "InstalledVersion": "1",
            "Severity": severity,
            "PkgIdentifier": {"PURL": "pkg:deb/debian/zlib@1"},
        }
        for number, severity in enumerate(severities)
    ]
    packages = [{"Name": "zlib", "Version": "1", "Identifier": {"PURL": "pkg:deb/debian/zlib@1"}}]
    results = [
        {
            "Target": "debian",
            "Class": "os-pkgs",
            "Type": "debian",
            "Packages": packages,
            "Vulnerabilities": vulnerabilities,
        },
        {"Target": "app", "Class": "lang-pkgs", "Type": "node-pkg", "Packages": []},
    ]
    document: Mapping[str, object] = {
        "SchemaVersion": 2,
        "Trivy": {"Version": "0.74.0"},
        "ArtifactType": "container_image",
        "Metadata": {"OS": {"Family": "debian", "Name": "12"}, "ImageID": config},
        "Results": results,
    }
    return json.dumps(document).encode()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[LocationKey]:
    with Registry() as registry:
        overlay = OVERLAY.format(host=registry.host)
        files = {"policy.yaml": POLICY, "envs/prod/kustomization.yaml": overlay}
        with running_local_bot(tmp_path, files, host=registry.host) as local:
            for image in (NEW, OTHER):
                image.push(registry.host, "acme/payments", image.digest[7:20])
            yield LocationKey(local, registry)


def test_without_a_scanner_nothing_is_evaluated(place: LocationKey) -> None:
    place.scanner = None

    found = place.evaluated()

    assert found.assessment.verdict.result is Result.NOT_EVALUATED
    assert "No scanner is configured" in found.assessment.evidence.missing
    assert not found.waits


KEYS = generate_key_pair(cost=32768)
CI = load_signing_key(KEYS.private, "ci.key")
BY_REPORT = POLICY.replace(
    "    rules:", "    scan: { attested: { key: ci.pub }, max_report_age: 24h }\n    rules:"
)


def attest(place: LocationKey, image: BuiltImage, *severities: str, at: str = "") -> None:
    """CI's report and SBOM of every platform."""
    made = at or datetime.now(UTC).isoformat()
    repository = ImageRepository(place.registry.host, "acme/payments")
    for platform, child in image.children.items():
        report = json.loads(_report(json.loads(child)["config"]["digest"], severities))
        for result in report["Results"]:
            del result["Packages"]
        about = image.child(platform)
        for kind, predicate in (
            (VULN, vulnerabilities(report, made)),
            (CYCLONEDX, cyclonedx("left-pad", *severities)),
        ):
            payload = statement(about, kind, predicate)
            attach(repository.at(Digest(about)), key_bundle(CI, payload))


def take_reports(place: LocationKey) -> None:
    place.scanner = None
    files: dict[str, str | bytes | None] = {
        "policy.yaml": BY_REPORT,
        "ci.pub": KEYS.public.decode(),
    }
    place.local.dana.push(place.local.manifests, "main", files)


def test_without_a_scanner_attested_reports_are_held_against_each_other(place: LocationKey) -> None:
    take_reports(place)
    place.publish(OTHER.digest)
    attest(place, OTHER, "HIGH")
    attest(place, NEW, "HIGH", "CRITICAL")

    found = place.evaluated().assessment

    assert found.verdict.result is Result.FAIL
    assert found.evidence.missing == ()
    assert found.delta is not None
    places = [("payments", platform) for platform in NEW.children]
    for came, which in (
        (found.delta.introduced, "CVE-2026-1001"),
        (found.delta.unchanged, "CVE-2026-1000"),
    ):
        assert {one.vulnerability for one in came} == {which}
        assert sorted((one.key.image, one.key.platform) for one in came) == sorted(places)
    assert found.contents is not None
    assert [change.package.name for change in found.contents.changes] == ["CRITICAL"]
    assert found.contents.old is not None


@pytest.mark.parametrize(
    ("at", "words"),
    [
        ("2026-01-18T10:00:00Z", " days old"),
        ("2099-11-18T10:00:00Z", "says that it was made on 2099-11-18"),
    ],
)
def test_an_attested_report_of_another_time_clears_nothing(
    place: LocationKey, at: str, words: str
) -> None:
    take_reports(place)
    attest(place, NEW, at=at)

    found = place.evaluated().assessment

    assert found.verdict.result is Result.NOT_EVALUATED
    assert found.verdict.blocks
    assert any(words in check.detail for check in found.verdict.checks)


def test_what_runs_without_a_report_is_compared_with_nothing(place: LocationKey) -> None:
    take_reports(place)
    place.publish(OTHER.digest)
    attest(place, NEW)

    found = place.evaluated().assessment

    assert found.verdict.result is Result.NOT_EVALUATED
    assert any("no report that counts" in text for text in found.evidence.missing)


def test_a_scanner_s_word_goes_before_attested_reports(place: LocationKey) -> None:
    take_reports(place)
    attest(place, NEW)
    place.scanner = StatedScanner()
    place.scanned(NEW, "CRITICAL")

    assert place.evaluated().assessment.verdict.result is Result.FAIL


def test_a_scanner_that_cannot_answer_says_why(place: LocationKey) -> None:
    place.scanner = StatedScanner(reason="Trivy's database is of 2020")

    found = place.evaluated()

    assert found.assessment.verdict.blocks
    assert "Trivy's database is of 2020" in found.assessment.evidence.missing
    assert not found.jobs


@pytest.mark.parametrize("signs", [False, True])
@pytest.mark.parametrize("partial", [False, True])
def test_the_scanner_has_to_be_kept_apart(
    place: LocationKey, *, signs: bool, partial: bool
) -> None:
    """In every environment; where nothing is signed the operator may say otherwise."""
    place.scanned(NEW)
    place.scanner = StatedScanner(missing=["the kernel has no Landlock"])
    place.signs, place.partial = signs, partial

    found = place.evaluated().assessment

    if partial and not signs:
        assert found.verdict.result is Result.PASS
        return
    assert found.verdict.blocks
    assert "the kernel has no Landlock" in found.evidence.missing[0]


def test_what_nobody_has_scanned_is_asked_for_once(place: LocationKey) -> None:
    found = place.evaluated()

    assert found.waits
    (job,) = found.jobs
    assert job.subject == f"payments/payments@{NEW.digest}"


def test_a_failure_is_told_and_not_asked_for_again(place: LocationKey) -> None:
    place.scanned(NEW)
    child = Digest(NEW.child("linux/amd64"))
    place.reports.record_match(child, FACTS.generation, MatchReport(AT, failure="it hung"))

    found = place.evaluated()

    assert found.assessment.verdict.result is Result.NOT_EVALUATED
    assert any("it hung" in text for text in found.assessment.evidence.missing)
    assert (found.jobs, found.waits) == ((), False)


def test_a_report_about_another_image_is_none(place: LocationKey) -> None:
    place.scanned(NEW, about=OTHER)

    found = place.evaluated().assessment

    assert found.verdict.result is Result.NOT_EVALUATED
    assert any("another image" in text for text in found.evidence.missing)


def test_answers_of_older_data_do_not_count(place: LocationKey) -> None:
    place.scanned(NEW)
    child = Digest(NEW.child("linux/amd64"))
    place.reports.record_match(child, "Trivy 0.74.0 yesterday", MatchReport(AT, b"{}"))

    assert place.evaluated().waits


def test_an_image_is_held_against_what_is_published(place: LocationKey) -> None:
    place.scanned(NEW, "CRITICAL")
    assert place.evaluated().assessment.verdict.result is Result.FAIL
    place.scanned(OTHER, "CRITICAL")
    place.publish(OTHER.digest)

    found = place.evaluated().assessment

    assert found.verdict.result is Result.PASS
    assert found.delta is not None
    assert [(f.vulnerability, f.platform) for f in found.delta.unchanged] == [
        ("CVE-2026-1000", "linux/amd64"),
        ("CVE-2026-1000", "linux/arm64"),
    ]


def test_nothing_is_held_against_two_digests(place: LocationKey) -> None:
    place.scanned(NEW)
    place.publish(OTHER.digest, NEW.digest)

    found = place.evaluated().assessment

    assert found.verdict.result is Result.NOT_EVALUATED
    assert any("2 digests" in text for text in found.evidence.missing)


def test_what_runs_and_is_gone_is_not_a_first_promotion(place: LocationKey) -> None:
    place.scanned(NEW)
    place.publish("sha256:" + "9" * 64)

    found = place.evaluated().assessment

    assert found.verdict.result is Result.NOT_EVALUATED
    assert any("cannot be read" in text for text in found.evidence.missing)
