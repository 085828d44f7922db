"""The policies that docs/policy.md hands out let a good image through, with nothing left open.

The one for Trivy alone is the policy of the town in `tests.walked.worlds`: walked to prod there.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from tests.journeys import walk
from tests.walked.pages import ROOT, blocks, files
from tests.walked.walking import Walk
from tests.walked.worlds import trivy_offline
from tests.world.keys import generate_key_pair
from tests.world.scanners import CANARY, packaged_image, write_trivy_database
from tests.world.stage import PIPELINE, raised
from tests.world.tools import run

PAGE = ROOT / "docs" / "policy.md"
DEBIAN = {"openssl": "3.0.11-1~deb12u2", "base-files": "12.4"}


def test_the_policy_for_evidence_of_ci_passes_without_a_scanner(tmp_path: Path) -> None:
    """With what CI says by the commands of the page, and nothing else."""
    ci, given = generate_key_pair(cost=32768), files(PAGE)
    manifests = {"policy.yaml": given["policy-ci.yaml"], "ci.pub": ci.public.decode()}
    (said,) = (block for block in blocks(PAGE) if "slsaprovenance1" in block.text)
    pipeline = f"policy: policy.yaml\n{PIPELINE}"
    database = write_trivy_database(tmp_path / "db", CANARY, datetime.now(UTC))
    with raised(tmp_path / "stage", pipeline=pipeline, manifests_files=manifests) as stage:
        commit = stage.commit("develop")
        labels = {"org.opencontainers.image.revision": commit}
        index = packaged_image(DEBIAN, {}, ("linux/amd64",), labels)
        index.push(stage.hosts["dev"], "acme/payments")
        digest = index.child("linux/amd64")
        reference = f"{stage.hosts['dev']}/acme/payments@{digest}"
        names = {
            "registry.dev.example.com/acme/payments@sha256:<digest>": reference,
            "<40 hex digits>": commit,
        }
        reader = Walk(tmp_path, names, trivy_offline(database))
        (tmp_path / "ci.key").write_bytes(ci.private)
        for name in ("no-services.json", "provenance.json"):
            (tmp_path / name).write_text(reader.translated(given[name]))

        reader.type(said)
        run("crane", "tag", "--insecure", reference, f"sha-{commit[:7]}")
        stage.github.complete_checks(stage.source, commit)
        stage.wait_published("dev", digest)
        pull = walk.propose_stage(stage, commit)
        words = walk.check(stage, pull.head, "success")

    assert "not evaluated" not in words.lower()
