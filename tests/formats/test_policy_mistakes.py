"""Every mistake of a policy and of its exceptions at once, each where it stands."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings, strategies as st

from bot.domain.errors import ConfigurationError
from bot.formats.policy_file import (
    exception_mistakes,
    policy_mistakes,
    read_exceptions,
    read_policy,
)

POLICY = """\
version: 1
defaults:
  rules:
    - { id: a, deny: introduced, severity: ">= hihg" }  # not a severity
    - { id: b, deny: introduced, severty: high }  # unknown key
environments:
  stage:
    unknown_severity: hgh  # not a severity
    scan: { max_feed_age: 7x }  # not a length of time
    rules:
      - { id: c, deny: introduced, fix: maybe, epss: 3 }  # maybe, and not a probability
      - { id: c, deny: introduced, licence: [] }  # no licence, and stands twice
      - { deny: introduced }  # missing
      - { id: ok, deny: introduced, kev: true }
      - { id: "!", deny: introduced, kev: true }  # not a rule id
      - { id: e, deny: introduced, packages: ["x y", "pkg:npm/lodash", "pkg:n pm/a@1"] }  # two
    exceptions: { file: ../x.yaml, teams: [a, b/c, d] }  # a path, two teams
    require: { signature: [ { key: a, issuer: b }, { issuer: "http://x" } ] }  # both, no issuer
  prod:
    wat: 1  # unknown key
"""
LINES = [4, 5, 8, 9, 11, 11, 12, 12, 13, 15, 16, 16, 17, 17, 17, 18, 18, 20]
EXCEPTIONS = """\
- { vulnerability: CVE-1, reason: x, expires: soon, package: lodash }
- { vulnerability: CVE-1, package: pkg:npm/lodash, reason: "", expires: 2026-01-01 }
- { reson: a }
- { licence: A, secret: b, reason: c, expires: 2026-01-01 }
- { licence: A, reason: c, expires: 2026-01-01 }
"""
GOOD = {
    'severity: ">= hihg"': 'severity: ">= high"',
    "severty: high": 'severity: ">= high"',
    "unknown_severity: hgh": "unknown_severity: high",
    "7x": "7d",
    "fix: maybe, epss: 3": "fix: available, epss: 0.3",
    "id: c, deny: introduced, licence: []": "id: d, deny: introduced, licence: [MIT]",
    "- { deny: introduced }": "- { id: f, deny: introduced, kev: true }",
    'id: "!"': "id: g",
    '"x y", ': "",
    ', "pkg:n pm/a@1"': "",
    "../x.yaml": "x.yaml",
    "teams: [a, b/c, d]": "teams: [b/c]",
    "{ key: a, issuer: b }": "{ key: a }",
    "http://x": "https://x",
    "wat: 1": "when_not_evaluated: warn",
}


def lines(text: str) -> list[int | None]:
    return [one.line for one in policy_mistakes(text, file="policy.yaml")]


def test_every_mistake_of_a_policy_is_said_where_it_stands() -> None:
    assert lines(POLICY) == LINES


def test_every_mistake_of_the_exceptions_is_said() -> None:
    found = exception_mistakes(EXCEPTIONS, file="x.yaml")

    assert [one.line for one in found] == [1, 2, 3, 4]
    assert exception_mistakes("", file="x.yaml") == ()
    with pytest.raises(ConfigurationError) as first:
        read_exceptions(EXCEPTIONS, file="x.yaml")
    assert str(first.value) in [str(one) for one in found]


@given(st.sets(st.sampled_from(sorted(GOOD))))
@settings(max_examples=40)
def test_a_mistake_is_said_whatever_else_is_wrong(mended: set[str]) -> None:
    """What is mended is not said any more, and the rest stays said."""
    text = POLICY
    for wrong in mended:
        assert wrong in text
        text = text.replace(wrong, GOOD[wrong])

    found = policy_mistakes(text, file="policy.yaml")

    left = {line for wrong in GOOD.keys() - mended for line in lines_of(wrong)}
    said = {one.line for one in found}
    assert left <= said <= left | {12}, "line 12 repeats the id of line 11"
    if mended != GOOD.keys():
        with pytest.raises(ConfigurationError) as first:
            read_policy(text, file="policy.yaml")
        assert str(first.value) in [str(one) for one in found]


def lines_of(wrong: str) -> set[int]:
    return {n for n, line in enumerate(POLICY.splitlines(), start=1) if wrong in line}


def test_a_policy_without_mistakes_has_none() -> None:
    text = POLICY
    for wrong, right in GOOD.items():
        text = text.replace(wrong, right)

    assert policy_mistakes(text, file="policy.yaml") == []
    assert set(read_policy(text, file="policy.yaml")) == {"stage", "prod"}


def test_mistakes_end_at_a_hundred() -> None:
    rule = '      - {{ id: r{}, deny: introduced, severity: "x" }}\n'
    rules = "".join(rule.format(n) for n in range(150))
    text = f"version: 1\nenvironments:\n  stage:\n    rules:\n{rules}"

    assert lines(text) == list(range(5, 105))


@pytest.mark.parametrize("text", ["[]", "version: 2\n", "a", "version: 1\nenvironments: []\n"])
def test_what_is_no_policy_at_all_is_said_once(text: str) -> None:
    (found,) = policy_mistakes(text, file="policy.yaml")[:1]

    assert re.match(r"policy\.yaml:\d+: ", str(found))
