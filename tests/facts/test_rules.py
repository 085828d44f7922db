"""What stands beside the pipeline file, wholly or not at all."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bot.domain.environments import Pipeline
from bot.domain.errors import ConfigurationError
from bot.facts.rules import Rules, rules_of
from bot.formats.pipeline_file import read_pipeline
from tests.world.stage import ENVIRONMENTS, PIPELINE

HOSTS = {name: f"registry.{name}.example.com" for name in ENVIRONMENTS}
POLICY = """\
version: 1
environments:
  prod:
    exceptions: exceptions.yaml
    vex: { documents: [payments.vex.json] }
    require: { signature: { key: ci.pub } }
    rules: [{ id: critical, deny: introduced, severity: ">= critical" }]
  stage: { rules: [{ id: critical, deny: introduced, severity: ">= critical" }] }
"""
EXCEPTION = """\
- vulnerability: CVE-2026-1
  package: pkg:npm/lodash
  reason: no untrusted input
  expires: 2026-12-01
"""
VEX = """{
  "@context": "https://openvex.dev/ns/v0.2.0", "@id": "x", "author": "acme", "version": 1,
  "timestamp": "2026-11-20T00:00:00Z",
  "statements": [{
    "vulnerability": {"name": "CVE-2026-1"}, "products": [{"@id": "pkg:npm/lodash"}],
    "status": "not_affected", "justification": "vulnerable_code_not_present"
  }]
}"""
FILES = {
    "rules/policy.yaml": POLICY,
    "rules/exceptions.yaml": "[]\n",
    "rules/payments.vex.json": VEX,
    "rules/ci.pub": "a public key",
}


def pipeline() -> Pipeline:
    text = f"policy: rules/policy.yaml\n{PIPELINE.format(**HOSTS)}"
    return read_pipeline(text, commit="c" * 40)


def rules(**changed: str | None) -> Rules:
    """Of `FILES`, of which some are changed (by their name's first word) or not there."""
    files = {
        path: changed.get(path.rpartition("/")[2].partition(".")[0], text)
        for path, text in FILES.items()
    }

    def content(path: str) -> bytes | None:
        text = files.get(path)
        return None if text is None else text.encode("latin-1")

    return rules_of(pipeline(), content, "c" * 40)


def test_everything_that_the_policy_names_is_read() -> None:
    found = rules(exceptions=EXCEPTION)

    assert set(found.policies) == {"prod", "stage"}
    assert [one.vulnerability for one in found.exceptions["prod"]] == ["CVE-2026-1"]
    assert [one.status for one in found.vex["prod"]] == ["not_affected"]
    assert found.key_files == {"ci.pub": b"a public key"}
    assert found.files == set(FILES)
    assert found.policy("dev") is None


@pytest.mark.parametrize("name", ["policy", "exceptions", "payments", "ci"])
def test_a_file_that_is_not_there_is_named(name: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"rules/{name}\..* no file beside it"):
        rules(**{name: None})


def test_text_that_is_none_and_vex_that_is_none_are_named() -> None:
    with pytest.raises(ConfigurationError, match=r"rules/exceptions\.yaml: not UTF-8"):
        rules(exceptions="\xff")
    with pytest.raises(ConfigurationError, match=r"rules/payments\.vex\.json"):
        rules(payments="{}")


@pytest.mark.parametrize(
    "changed",
    [
        {"policy": POLICY.replace("deny:", "warn:")},
        {"exceptions": EXCEPTION},
        {"payments": VEX.replace("CVE-2026-1", "CVE-2026-2")},
        {"ci": "another key"},
    ],
    ids=["policy", "exceptions", "vex", "key"],
)
def test_versions_that_judge_differently_are_told_apart(changed: dict[str, str]) -> None:
    """Else a merge would be judged by today's rules alone."""
    before = rules()

    assert before.say_the_same(replace(before, commit="d" * 40), "prod")
    assert not before.say_the_same(rules(**changed), "prod")


def test_what_changes_for_another_environment_does_not_matter() -> None:
    assert rules().say_the_same(rules(exceptions=EXCEPTION), "stage")
