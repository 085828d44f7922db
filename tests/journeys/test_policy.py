"""What a policy says of real images, scanned by a real Trivy with a database of our own."""

from __future__ import annotations

import base64
import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests

from bot.formats.pull_request_body import marked_promotion
from tests.journeys import walk
from tests.journeys.conftest import Raise
from tests.world.images import BuiltImage
from tests.world.keys import generate_key_pair
from tests.world.scanners import (
    CANARY,
    Advisory,
    misbehave,
    open_folder,
    packaged_image,
    placed,
    write_fake_trivy,
    write_trivy_database,
)
from tests.world.stage import PIPELINE, Stage
from tests.world.tools import run, tool

POLICY = """\
version: 1
environments:
  stage:
    scan: { max_database_age: 3d }
    exceptions: exceptions.yaml
    rules:
      - { id: critical, deny: introduced, severity: ">= critical", fix: available }
      - { id: high, warn: introduced, severity: ">= high" }
"""
CLEAN = {"lodash": "4.17.21"}


Renew = Callable[..., Path]


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as found:
        yield found


@pytest.fixture
def renew(folder: Path) -> Renew:
    """(Re)write the scanner's database; each time as if it were newer."""
    builds = iter(range(100))

    def write(*advisories: Advisory) -> Path:
        built = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=24)
        later = built + timedelta(minutes=next(builds))
        return write_trivy_database(folder / "trivy-db", [*CANARY, *advisories], later)

    return write


@contextmanager
def policed(
    raise_stage: Raise, program: Path, database: Path, *, seconds: int = 60
) -> Iterator[Stage]:
    """A stage with a policy, judged by this scanner."""
    variables = {
        "LOCKKEEPER_SCANNER": str(program),
        "LOCKKEEPER_SCANNER_DATABASE": str(database),
        "LOCKKEEPER_SCANNER_SECONDS": str(seconds),
    }
    files = {"policy.yaml": POLICY, "exceptions.yaml": ""}
    pipeline = f"policy: policy.yaml\n{PIPELINE}"
    with raise_stage(variables=variables, pipeline=pipeline, manifests_files=files) as up:
        up.patience = 90  # real scanners, and the pauses after those that go wrong
        yield up


@pytest.fixture
def stage(raise_stage: Raise, renew: Renew, folder: Path) -> Iterator[Stage]:
    """With a real Trivy."""
    with policed(raise_stage, placed(tool("trivy"), folder), renew()) as up:
        yield up


def build(stage: Stage, branch: str, npm: dict[str, str]) -> tuple[str, BuiltImage]:
    """A commit whose image has these packages, until it is published in dev."""
    commit = stage.commit("develop")
    labels = {"org.opencontainers.image.revision": commit}
    debian = {"openssl": "3.0.9-1", "base-files": "12.4"}
    image = packaged_image(debian, npm, ("linux/amd64", "linux/arm64"), labels)
    stage.push_image(image, commit)
    stage.wait_published("dev", image.digest)
    stage.dana.push(stage.source, branch, parent=commit)
    return commit, image


def promotion_page(stage: Stage, body: str) -> str:
    """What the board shows of the promotion that a body is marked with."""
    marked = marked_promotion(body)
    assert marked
    return requests.get(f"http://{stage.bot.board}/promotions/{marked[0]}", timeout=10).text


def to_stage(stage: Stage) -> BuiltImage:
    """A build without critical findings, until it is published in stage."""
    _, image = build(stage, "release/v1.0.0", CLEAN)
    pull = walk.promotion(stage, "stage", image)
    walk.check(stage, pull.head, "success")
    stage.dana.merge(pull)
    stage.wait_published("stage", image.digest)
    return image


def test_what_is_introduced_blocks_until_a_build_without_it_comes(stage: Stage) -> None:
    running = to_stage(stage)
    commit, worse = build(stage, "release/v1.0.1", {"lodash": "4.17.4"})

    pull = walk.promotion(stage, "stage", worse)
    said = walk.check(stage, pull.head, "failure")
    developer = walk.source_check(stage, commit, "stage", "Blocked")

    assert "CVE-2019-10744" in said
    assert "CVE-2019-10744" in developer
    body = pull.body or ""
    assert "blocked for" in body
    assert "CVE-2019-10744" in body
    assert "CVE-2023-5363" in body, "what runs there already is shown, and does not block"
    assert "CVE-2019-10744" in promotion_page(stage, body)
    stage.dana.merge(pull)  # nothing at GitHub stops her here
    refused = walk.check(stage, pull.merge_commit or "", "failure", "payments -> stage")
    assert "does not pass" in refused
    assert "CVE-2019-10744" in refused
    walk.settled(stage)
    assert stage.published("stage") == running.digest
    assert stage.resolve("stage", worse.digest) is None, "nothing of it was copied"

    stage.dana.push(stage.manifests, "loosen", {"policy.yaml": POLICY.replace("deny:", "warn:")})
    stage.dana.merge(stage.dana.open_pull_request(stage.manifests, "loosen"))
    stage.eventually(
        lambda: (
            "the policy as it was before the merge"
            in walk.check(stage, pull.merge_commit or "", "failure", "payments -> stage")
            or None
        ),
        "rules that are loosened later do not let it pass",
    )
    assert stage.published("stage") == running.digest

    _, better = build(stage, "release/v1.0.2", {**CLEAN, "express": "4.0.0"})
    mended = walk.promotion(stage, "stage", better)
    walk.check(stage, mended.head, "success")
    stage.dana.merge(mended)
    stage.wait_published("stage", better.digest)


def test_the_bot_does_not_merge_what_the_policy_blocks(stage: Stage) -> None:
    policy = POLICY.replace("  stage:", "  dev:")
    stage.dana.push(stage.manifests, "rules", {"policy.yaml": policy})
    stage.dana.merge(stage.dana.open_pull_request(stage.manifests, "rules"))
    _, good = build(stage, "feature/x", CLEAN)
    commit = stage.commit("develop")
    labels = {"org.opencontainers.image.revision": commit}
    bad = packaged_image({"base-files": "12.4"}, {"lodash": "4.17.4"}, labels=labels)

    stage.push_image(bad, commit)

    walk.source_check(stage, commit, "dev", "Blocked")
    walk.settled(stage)
    pull = stage.open_promotion("dev")
    assert pull is not None
    assert stage.published("dev") == good.digest


def test_new_data_is_heard_while_a_pull_request_is_open(stage: Stage, renew: Renew) -> None:
    to_stage(stage)
    _, image = build(stage, "release/v1.1.0", {**CLEAN, "express": "4.0.0"})
    pull = walk.promotion(stage, "stage", image)
    walk.check(stage, pull.head, "success")

    renew(Advisory("CVE-2026-40001", "express", "4.20.0", "npm", 4))

    said = walk.check(stage, pull.head, "failure")
    assert "CVE-2026-40001" in said
    stage.eventually(lambda: "CVE-2026-40001" in (pull.body or "") or None, "the body says so too")
    commented = stage.eventually(lambda: pull.comments, "people hear of it")
    assert "changed" in commented[0].body


def test_an_exception_counts_from_the_next_merge_on(stage: Stage) -> None:
    to_stage(stage)
    _, image = build(stage, "release/v1.1.0", {"lodash": "4.17.4"})
    pull = walk.promotion(stage, "stage", image)
    walk.check(stage, pull.head, "failure")
    until = (datetime.now(UTC) + timedelta(days=20)).date()
    exception = (
        "- vulnerability: CVE-2019-10744\n  package: pkg:npm/lodash\n"
        f"  reason: no untrusted input\n  expires: {until}\n"
    )

    stage.dana.push(stage.manifests, "except", {"exceptions.yaml": exception})
    rules = stage.dana.open_pull_request(stage.manifests, "except")
    assert "valid" in walk.check(stage, rules.head, "success")
    stage.dana.merge(rules)

    walk.check(stage, pull.head, "success")
    stage.dana.merge(pull)
    stage.wait_published("stage", image.digest)


def test_a_policy_that_is_wrong_is_refused_and_stops_nothing(stage: Stage) -> None:
    broken = POLICY.replace("severity:", "severty:")
    stage.dana.push(stage.manifests, "rules", {"policy.yaml": broken})
    pull = stage.dana.open_pull_request(stage.manifests, "rules")

    said = walk.check(stage, pull.head, "failure")

    assert "policy.yaml:7" in said
    assert "severity" in said
    stage.dana.merge(pull)
    to_stage(stage)


def test_digests_and_policy_in_one_pull_request_come_apart(stage: Stage) -> None:
    _, image = build(stage, "feature/x", CLEAN)
    overlay = walk.pinned(stage, "stage", image.digest)
    stage.dana.push(
        stage.manifests, "both", {walk.overlay("stage"): overlay, "exceptions.yaml": "[]\n"}
    )
    pull = stage.dana.open_pull_request(stage.manifests, "both")

    said = walk.check(stage, pull.head, "failure")

    assert "Two pull requests, please" in said
    assert "exceptions.yaml" in said


@pytest.mark.parametrize("behaviour", ["null", "hang", "flood", "crash", "liar"])
def test_a_scanner_that_goes_wrong_is_not_taken_for_clean(
    raise_stage: Raise, folder: Path, behaviour: str
) -> None:
    program, database = write_fake_trivy(folder, built=datetime.now(UTC) - timedelta(days=1))
    misbehave(database, behaviour)
    # What hangs is waited for again and again.
    with policed(raise_stage, program, database, seconds=3) as stage:
        _, image = build(stage, "release/v1.0.0", CLEAN)
        pull = walk.promotion(stage, "stage", image)

        said = stage.eventually(
            lambda: pull.body if "trivy" in (pull.body or "").lower() else None,
            "a clear sentence",
        )

        assert "not decided for" in said
        walk.check(stage, pull.head, "failure")
        stage.dana.merge(pull)
        stage.github.webhooks.wait_until_delivered(30)
        walk.wait(2)
        assert stage.published("stage") is None
        assert stage.resolve("stage", image.digest) is None


def test_what_must_be_signed_waits_for_its_signature(stage: Stage, tmp_path: Path) -> None:
    keys = generate_key_pair(b"", cost=32768)
    (tmp_path / "ci.key").write_bytes(keys.private)
    policy = f"{POLICY}    require: {{ signature: {{ key: ci.pub }} }}\n"
    stage.dana.push(
        stage.manifests, "rules", {"policy.yaml": policy, "ci.pub": keys.public.decode()}
    )
    stage.dana.merge(stage.dana.open_pull_request(stage.manifests, "rules"))
    commit, image = build(stage, "release/v1.0.0", CLEAN)
    pull = walk.promotion(stage, "stage", image)
    assert "Signature" in walk.check(stage, pull.head, "failure")

    run(
        *("cosign3", "sign", "--key", str(tmp_path / "ci.key"), "--allow-http-registry"),
        *("--use-signing-config=false", "--tlog-upload=false", "--yes"),
        f"{stage.hosts['dev']}/acme/payments@{image.digest}",
        environment={"COSIGN_PASSWORD": ""},
    )
    stage.github.complete_checks(stage.source, commit)

    walk.check(stage, pull.head, "success")
    stage.dana.merge(pull)
    stage.wait_published("stage", image.digest)


def test_a_death_while_the_scanner_works_loses_nothing(raise_stage: Raise, folder: Path) -> None:
    program, database = write_fake_trivy(folder, built=datetime.now(UTC) - timedelta(days=1))
    misbehave(database, "hang")
    with policed(raise_stage, program, database, seconds=5) as stage:
        _, image = build(stage, "release/v1.0.0", {"express": "4.0.0"})
        pull = walk.promotion(stage, "stage", image)
        walk.wait(1)  # it scans
        stage.bot.stop(signal.SIGKILL)
        misbehave(database, "honest")
        stage.bot.start()

        walk.check(stage, pull.head, "success")
        stage.dana.merge(pull)
        stage.wait_published("stage", image.digest)


def test_contents_that_are_wanted_are_those_that_syft_lists(stage: Stage, tmp_path: Path) -> None:
    policy = f"{POLICY}    require: {{ sbom: every-platform }}\n"
    stage.dana.push(stage.manifests, "rules", {"policy.yaml": policy})
    stage.dana.merge(stage.dana.open_pull_request(stage.manifests, "rules"))
    commit, image = build(stage, "release/v1.0.0", CLEAN)
    pull = walk.promotion(stage, "stage", image)
    assert "no SBOM describes" in walk.check(stage, pull.head, "failure")

    for number, child in enumerate(image.child_digests):
        reference = f"{stage.hosts['dev']}/acme/payments@{child}"
        document = run(
            *("syft", "scan", f"registry:{reference}", "--output", "cyclonedx-json", "--quiet"),
            environment={
                "SYFT_REGISTRY_INSECURE_USE_HTTP": "true",
                "SYFT_CHECK_FOR_APP_UPDATE": "false",
                "HOME": str(tmp_path),
            },
        )
        file = tmp_path / f"{number}.cdx.json"
        file.write_text(document)
        kind = "application/vnd.cyclonedx+json"
        run(
            *("oras", "attach", "--plain-http", "--disable-path-validation"),
            *("--artifact-type", kind, reference, f"{file}:{kind}"),
        )
    stage.github.complete_checks(stage.source, commit)

    walk.check(stage, pull.head, "success")
    stage.dana.merge(pull)
    stage.wait_published("stage", image.digest)


PROD = """\
  prod:
    attest: { vuln: true }
    rules:
      - { id: critical, deny: introduced, severity: ">= critical", fix: available }
"""


def test_prod_carries_what_it_was_judged_by(stage: Stage, tmp_path: Path) -> None:
    stage.dana.push(stage.manifests, "rules", {"policy.yaml": POLICY + PROD})
    rules = stage.dana.open_pull_request(stage.manifests, "rules")
    stage.rita.approve(rules)
    stage.dana.merge(rules)
    image = to_stage(stage)
    walk.release(stage, "v1.0.0")
    pull = walk.promotion(stage, "prod", image)
    walk.check(stage, pull.head, "success")
    stage.rita.approve(pull)
    unsigned = tmp_path / "unsigned.vex.json"
    unsigned.write_text('{"@context": "https://openvex.dev/ns/v0.2.0"}')
    kind = "application/vnd.openvex+json"
    run(
        *("oras", "attach", "--plain-http", "--disable-path-validation", "--artifact-type", kind),
        *(f"{stage.hosts['stage']}/acme/payments@{image.digest}", f"{unsigned}:{kind}"),
    )
    stage.dana.merge(pull)
    stage.wait_published("prod", image.digest)
    sealed = walk.check(stage, pull.merge_commit or "", "success", "payments -> prod")
    assert "stays behind: it is unsigned" in sealed

    key = tmp_path / "attest.pub"
    key.write_bytes(stage.attestation_key)
    name = f"{stage.hosts['prod']}/acme/payments"
    looked = (
        *("--key", str(key), "--insecure-ignore-tlog=true", "--allow-http-registry"),
        *("--output", "json"),
    )
    verdict = run(
        *("cosign3", "verify-attestation", *looked),
        *("--type", "https://in-toto.io/attestation/svr/v0.2", f"{name}@{image.digest}"),
    )
    assert "LOCKKEEPER_PROD_POLICY" in _payload(verdict)
    for child in image.child_digests:
        scan = run("cosign3", "verify-attestation", *looked, "--type", "vuln", f"{name}@{child}")
        assert "CVE-2023-5363" in _payload(scan)
    assert walk.is_signed(stage, "prod", image.digest)


def _payload(verified: str) -> str:
    """The statements that cosign has verified."""
    found = [json.loads(line) for line in verified.splitlines() if line.startswith("{")]
    return "".join(base64.b64decode(one["payload"]).decode() for one in found)
