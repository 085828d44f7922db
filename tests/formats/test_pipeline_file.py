from __future__ import annotations

import jsonschema_rs
import pytest

from bot.domain.environments import GitHubRepository, Pipeline, SourceRepository
from bot.domain.errors import ConfigurationError, LimitExceededError
from bot.formats.pipeline_file import read_pipeline, schema
from bot.formats.yaml_tree import compose_all, plain

WHOLE = """\
version: 1
x-note: kept for people
environments:
  dev: &dev
    on: { branches: [develop] }
    image_repository: registry.dev.example.com/acme/{image}
    manifests: [envs/dev/**]
    merge: auto
  stage:
    on: { branches: ["release/*", "hotfix/*"] }
    from: dev
    image_repository: registry.stage.example.com/acme/{image}
    manifests: [envs/stage/**]
    image_tags: ["{image_tag}", { tag: "{version}", move: true }]
  prod:
    on: { branches: [main] }
    from: stage
    image_repository: registry.prod.example.com/acme/{image}
    manifests: [envs/prod/**]
    image_tags: ["{image_tag}", "{version}", "release-{timestamp}"]
    sign: true
    approvals: { count: 1, teams: [acme/release-managers] }
defaults:
  source: acme/{application}
applications:
  payments: { images: [payments-api, payments-worker] }
  checkout:
    source: acme/shop
    images: { checkout-api: {}, checkout-migrate: { image_tag: "migrate-{short_sha}" } }
"""


def test_the_whole_file() -> None:
    pipeline = read_pipeline(WHOLE)

    prod = pipeline.environments["prod"]
    assert (prod.signs, prod.approvals.count, prod.ref) == (True, 1, "env/prod")
    assert prod.source_environment == "stage"
    assert pipeline.environments["dev"].is_entry
    checkout = pipeline.applications["checkout"]
    assert checkout.source == SourceRepository(GitHubRepository("acme", "shop"))
    assert [str(image.tag) for image in checkout.images] == [
        "sha-{short_sha}",
        "migrate-{short_sha}",
    ]
    assert str(prod.repository_of(checkout, "checkout-api")) == (
        "registry.prod.example.com/acme/checkout-api"
    )


def test_a_bom_and_a_build_registry_pattern() -> None:
    text = WHOLE.replace("from: dev", "from: build.example.com/ci/{image}")

    pipeline = read_pipeline("\ufeff" + text)

    built = pipeline.environments["stage"].built_in(
        pipeline.applications["payments"], "payments-api"
    )
    assert str(built) == "build.example.com/ci/payments-api"


def test_signing_asks_for_one_approval_unless_told() -> None:
    without = WHOLE.replace("    approvals: { count: 1, teams: [acme/release-managers] }\n", "")
    none = WHOLE.replace("{ count: 1, teams: [acme/release-managers] }", "{ count: 0 }")

    assert read_pipeline(without).environments["prod"].approvals.count == 1
    assert read_pipeline(none).environments["prod"].approvals.count == 0


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("    merge: auto", "    merg: auto", 8, "unknown key 'merg'.*did you mean 'merge'"),
        ("{ branches: [develop] }", "{ branch: [develop] }", 5, "did you mean 'branches'"),
        ("merge: auto", "merge: always", 8, "environments.dev.merge: .*always"),
        ("version: 1", "version: 2", 1, "version"),
        ("from: stage", "from: stagging", 17, "did you mean 'stage'"),
        ("from: dev", "from: prod", 11, "circle: stage -> prod -> stage"),
        ("[envs/stage/**]", "[envs/**]", 13, "can match the same file"),
        ("sign: true", "sign: true\n    merge: auto", 22, "together with `sign`"),
        ("{ branches: [main] }", '{ branches: ["**"] }', 16, "every branch"),
        ("  payments: {", "  pay_ments: {", 26, "not a name"),
        ("acme/shop", "acme", 28, "not a GitHub repository"),
        ("prod.example.com/acme/{image}", "prod.example.com/acme/{imag}", 15, "imag"),
        ("prod.example.com/acme/{image}", "prod.example.com/acme/all", 18, "share"),
        ('"release-{timestamp}"', '"release-{timestam}"', 20, "did you mean 'timestamp'"),
        ('"release-{timestamp}"', '"{branch}"', 20, "signature tag"),
        ("registry.stage", "registry.prod", 20, "same tag in one repository"),
        ("[acme/release-managers]", "[managers]", 22, "not a team"),
        ("    from: dev", "    from: dev\n    after: [dev]", 12, "unknown key 'after'"),
        ('"migrate-{short_sha}"', '"migrate"', 29, "same for every commit"),
        ("sign: true", "publish: { ref: main }", 21, "not a ref under env/"),
        ("sign: true", "publish: { ref: env/dev }", 21, "publish to one ref"),
        ("sign: true", "publish: { ref: env/dev/x }", 21, "git cannot hold both"),
        ("version: 1", "version: 1\nversion: 1", 2, "stands twice"),
        ("  dev: &dev", "  dev: &dev\n  - x", 6, "not YAML"),
        ("  source: acme/{application}\n", "  x-source: acme\n", 26, "names no source repository"),
    ],
)
def test_errors_name_file_line_and_remedy(old: str, new: str, line: int, words: str) -> None:
    text = WHOLE.replace(old, new, 1)
    assert text != WHOLE

    with pytest.raises(ConfigurationError, match=words) as caught:
        read_pipeline(text)

    assert caught.value.file == "lockkeeper.yaml"
    assert caught.value.line == line, str(caught.value)


@pytest.mark.parametrize("bomb", ["[" * 2000, "- " * 2000, "a: 1\n" * 300_000])
def test_bombs_are_refused_by_a_named_limit(bomb: str) -> None:
    with pytest.raises(LimitExceededError, match="limit is"):
        read_pipeline(bomb)


def test_an_alias_bomb_and_a_loop_are_refused() -> None:
    lines = ["a0: &a0 [x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]

    with pytest.raises(LimitExceededError, match="values"):
        read_pipeline("\n".join(lines))
    with pytest.raises(ConfigurationError, match="contains itself"):
        read_pipeline("a: &a [*a]")


def test_the_schema_accepts_the_file_and_refuses_an_unknown_key() -> None:
    validator = jsonschema_rs.validator_for(schema())
    value = plain(compose_all(WHOLE, "f")[0], "f").value
    assert isinstance(value, dict)

    assert validator.is_valid(value)
    assert not validator.is_valid({**value, "environment": {}})


def test_reading_is_a_pipeline() -> None:
    assert isinstance(read_pipeline(WHOLE, commit="c" * 40), Pipeline)
    assert read_pipeline(WHOLE, commit="c" * 40).commit == "c" * 40
