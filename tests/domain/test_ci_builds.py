"""What CI has to build, as the pipeline file says it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bot.domain.ci_builds import CiBuild, NoBuildError, ci_build
from bot.formats.pipeline_file import read_pipeline

PIPELINE = """\
version: 1
environments:
  dev:
    on: { branches: [develop] }
    image_repository: registry.dev.example.com/acme/{image}
    manifests: [envs/dev/**]
  stage:
    on: { branches: ["release/*", "hotfix/*"] }
    from: dev
    image_repository: registry.stage.example.com/acme/{image}
    manifests: [envs/stage/**]
  prod:
    on: { branches: [main] }
    from: stage
    image_repository: registry.prod.example.com/acme/{image}
    manifests: [envs/prod/**]
defaults: { source: "acme/{application}" }
applications:
  payments: { images: [payments-api, payments-worker] }
"""


def build(pipeline: str = PIPELINE, environment: str = "") -> CiBuild:
    read = read_pipeline(pipeline, file="lockkeeper.yaml")
    return ci_build(read, read.applications["payments"], environment)


def test_every_image_goes_to_the_environment_that_ci_pushes_to() -> None:
    found = build()

    assert (found.environment, found.source) == ("dev", "acme/payments")
    assert [(one.name, one.repository, one.host) for one in found.images] == [
        (name, f"registry.dev.example.com/acme/{name}", "registry.dev.example.com")
        for name in ("payments-api", "payments-worker")
    ]
    assert {one.tag for one in found.images} == {("sha-", 7)}


def test_fixes_on_release_branches_are_built_and_what_was_promoted_is_not_built_again() -> None:
    assert build().branches == ("develop", "release/*", "hotfix/*")


def test_where_all_environments_share_a_build_registry_ci_pushes_there() -> None:
    shared = PIPELINE.replace("from: dev", "from: registry.build.example.com/acme/{image}")

    found = build(shared, "stage")

    assert found.images[0].repository == "registry.build.example.com/acme/payments-api"
    assert found.branches == ("release/*", "hotfix/*", "main")


def test_two_places_are_never_taken_for_one() -> None:
    two = PIPELINE.replace("    from: dev\n", "")

    with pytest.raises(
        NoBuildError, match="pushes to 2 places; say --environment with one of: dev, "
    ):
        build(two)
    assert build(two, "stage").images[0].host == "registry.stage.example.com"


def test_an_environment_that_takes_its_images_from_another_is_refused_by_name() -> None:
    with pytest.raises(NoBuildError, match="does not push for prod; name one of: dev"):
        build(environment="prod")


@pytest.mark.parametrize(
    ("template", "parts"),
    [
        ("sha-{short_sha}", ("sha-", 7)),
        ("c-{commit}", ("c-", 0)),
        ("x-{image}-{commit:12}-y", ("x-", "payments-api", "-", 12, "-y")),
        ("b.{application}.{short_sha}", ("b.", "payments", ".", 7)),
    ],
)
def test_a_tag_is_what_ci_knows_with_the_commit(
    template: str, parts: tuple[str | int, ...]
) -> None:
    tagged = PIPELINE.replace("defaults: {", f'defaults: {{ image_tag: "{template}",')

    assert build(tagged).images[0].tag == parts


def test_branches_that_not_every_ci_reads_alike_are_refused() -> None:
    with pytest.raises(NoBuildError, match="by hand"):
        build(PIPELINE.replace("[develop]", '["release-?"]'))


def test_an_environment_that_no_branch_feeds_is_not_built_for() -> None:
    read = read_pipeline(PIPELINE, file="lockkeeper.yaml")
    lonely = {name: replace(one, branches=()) for name, one in read.environments.items()}

    with pytest.raises(NoBuildError, match="no branch feeds dev"):
        ci_build(replace(read, environments=lonely), read.applications["payments"])


def test_tags_that_feed_an_environment_are_built_as_branches_are() -> None:
    tagged = PIPELINE.replace('["release/*", "hotfix/*"]', "[], tags: [v*]")

    found = build(tagged)

    assert (found.branches, found.tags) == (("develop",), ("v*",))


def test_only_commits_that_touch_what_it_is_built_of_are_built() -> None:
    monorepo = PIPELINE.replace(
        "payments: { images: [payments-api, payments-worker] }",
        "payments: { paths: [services/pay/**], images: { payments-api: {}, payments-migrate: "
        '{ image_tag: "migrate-{short_sha}", paths: [services/pay/db/**] } } }',
    )

    assert build(monorepo).paths == ("services/pay/**", "services/pay/db/**")
    assert build().paths == ()


def test_what_an_application_has_otherwise_is_its_own() -> None:
    own = PIPELINE.replace(
        "payments: { images",
        "payments: { environments: { dev: { on: { branches: [trunk] } }, prod: {} }, images",
    )

    assert build(own).branches == ("trunk", "main")
