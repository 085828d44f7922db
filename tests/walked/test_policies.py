"""The policies that docs/policy.md hands out let a good image through, with nothing left open.

The one for Trivy alone is the policy of the town in `tests.walked.worlds`: walked to prod there.
"""

from __future__ import annotations

from pathlib import Path

from bot.adapters.signing import load_signing_key
from tests.demo import builds
from tests.journeys import walk
from tests.walked.pages import ROOT, files
from tests.world.keys import generate_key_pair
from tests.world.stage import PIPELINE, raised


def test_the_policy_for_evidence_of_ci_passes_without_a_scanner(tmp_path: Path) -> None:
    ci = generate_key_pair(cost=32768)
    signer = load_signing_key(ci.private, "ci.key")
    policy = files(ROOT / "docs" / "policy.md")["policy-ci.yaml"]
    given = {"policy.yaml": policy, "ci.pub": ci.public.decode()}
    pipeline = f"policy: policy.yaml\n{PIPELINE}"
    with raised(tmp_path, pipeline=pipeline, manifests_files=given) as stage:
        commit = stage.commit("develop")
        image = builds.MENDED.image(commit)
        builds.push(builds.MENDED, image, stage.hosts["dev"], commit, signer)
        stage.github.complete_checks(stage.source, commit)
        stage.wait_published("dev", image.digest)

        said = walk.check(stage, walk.propose_stage(stage, commit).head, "success")

    assert "not evaluated" not in said.lower()
