from __future__ import annotations

import re

import jsonschema_rs
import pytest
from hypothesis import given, strategies as st

from bot.domain.environments import GitHubRepository, Pipeline, SourceRepository
from bot.domain.errors import ConfigurationError, LimitExceededError
from bot.formats.pipeline_file import mistakes, read_pipeline, schema
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


def frozen(window: str) -> str:
    return WHOLE.replace("    from: stage\n", f"    from: stage\n    freeze:\n      - {window}\n")


def test_freeze_windows_have_time_zones_and_a_calendar() -> None:
    text = frozen('{ from: "fri 16:00", until: "mon 08:00", time_zone: Europe/Berlin, reason: x }')

    [one] = read_pipeline(text).environments["prod"].freeze
    assert (str(one), one.reason) == ("fri 16:00 to mon 08:00 Europe/Berlin", "x")


@pytest.mark.parametrize(
    ("window", "words"),
    [
        ('{ from: "16:00", until: "08:00", time_zone: Europe/Berln }', "did you mean 'Europe/Berl"),
        ('{ from: "16:00", until: "08:00", time_zone: Nowhere }', "write one like"),
        ('{ from: "16:00", until: "mon 08:00", time_zone: UTC }', "`until` one of a weekday"),
        ('{ from: "26:00", until: "08:00", time_zone: UTC }', "not a time: '26:00'"),
        ('{ from: "fry 16:00", until: "mon 08:00", time_zone: UTC }', "not a weekday"),
        ('{ from: "16:00", until: "08:00" }', "time_zone"),
        ('{ from: "16:00", to: "08:00", time_zone: UTC }', "to"),
    ],
)
def test_a_window_that_nobody_understands_is_refused_with_its_line(window: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(words)) as refused:
        read_pipeline(frozen(window))
    assert refused.value.line == 19


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
        ("from: dev", "from: devv", 11, "'devv' does not exist"),
        ("[envs/stage/**]", "[envs/**]", 13, "can match the same file"),
        ("sign: true", "sign: true\n    merge: auto", 22, "together with `sign`"),
        ("{ branches: [main] }", '{ branches: ["**"] }', 16, "every branch"),
        ("{ branches: [main] }", '{ tags: ["*"] }', 16, "every git tag"),
        ("{ branches: [develop] }", "{ tag: [v1] }", 5, "did you mean 'tags'"),
        ("  payments: {", "  pay_ments: {", 26, "not a name"),
        ("acme/shop", "acme", 28, "not a GitHub repository"),
        ("prod.example.com/acme/{image}", "prod.example.com/acme/{imag}", 15, "imag"),
        ("prod.example.com/acme/{image}", "prod.example.com/acme/all", 18, "share"),
        ('"release-{timestamp}"', '"release-{timestam}"', 20, "did you mean 'timestamp'"),
        ('"release-{timestamp}"', '"{branch}"', 20, "signature tag"),
        ("registry.stage", "registry.prod", 20, "same tag in one repository"),
        ("[acme/release-managers]", "[managers]", 22, "not a team"),
        ("    from: dev", "    from: dev\n    after: [devv]", 12, "'devv' does not exist"),
        (
            "    from: dev",
            "    from: dev\n    after: [prod]",
            12,
            "`from` and `after` form a circle",
        ),
        ("    from: dev", "    after: [stage]", 11, "`after` forms a circle: stage -> stage"),
        ("    on: { branches: [main] }\n", "", 15, "nothing asks for promotions to 'prod'"),
        ("on: { branches: [main] }", "on: { branches: [] }", 15, "nothing asks for promotions to"),
        (
            "source: acme/shop",
            "environments: { prod: { on: { branches: [] } } }",
            28,
            "nothing asks for promotions of 'checkout' to 'prod'",
        ),
        ('"migrate-{short_sha}"', '"migrate"', 29, "same for every commit"),
        ("sign: true", "publish: { ref: main }", 21, "not a ref under env/"),
        ("sign: true", "publish: { ref: env/dev }", 21, "publish to one ref"),
        ("sign: true", "publish: { ref: env/dev/x }", 21, "git cannot hold both"),
        ("source: acme/shop", "environments: {}", 28, "in no environment at all"),
        ("source: acme/shop", "environments: { stag: }", 28, "did you mean 'stage'"),
        ("source: acme/shop", "environments: { dev: { sign: true } }", 28, "unknown key 'sign'"),
        ("source: acme/shop", "environments: { prod: { merge: auto } }", 28, "`merge: auto` tog"),
        ("source: acme/shop", "environments: { prod: { after: [prod] } }", 28, "forms a circle"),
        ("source: acme/shop", 'environments: { prod: { on: { tags: ["*"] } } }', 28, "every git"),
        ("from: stage", "from: stage\n    order: fifo", 18, "order"),
        ("source: acme/shop", "group: payments", 28, "not in it, is called as the group"),
        ("source: acme/shop", "group: The Shop", 28, "not a name of a group"),
        ("source: acme/shop", 'paths: ["../x"]', 28, "not a path or glob in the source"),
        ("checkout-api: {}", 'checkout-api: { paths: ["/x"] }', 29, "not a path or glob"),
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


WRONG = """\
version: 2
polcy: policy.yaml
environments:
  dev:
    on: { branches: [develop] }
    image_repository: registry.dev.example.com/acme/{imag}
    manifests: [envs/**]
    merge: always
    approvals: { count: -1, teams: [managers, acme/sre] }
  stage:
    on: { branches: ["release/*"] }
    from: devv
    image_repository: registry.stage.example.com/acme/{image}
    manifests: [envs/stage/**]
    image_tags: ["{image_tag}", { tga: "{version}" }]
    publish: { ref: main }
  prod:
    on: { branches: [main] }
    from: stage
    manifests: [envs/prod/**]
  proof:
    on: { branches: [main] }
    from: stag
    image_repository: registry.proof.example.com/acme/{image}
    manifests: [envs/proof/**]
    signs: true
applications:
  pay_ments: { source: acme }
  checkout: { images: 7 }
"""


def test_every_mistake_of_a_file_is_said_at_once() -> None:
    found = [(one.line, one.fact, one.remedy) for one in mistakes(WRONG)]

    assert [(line, fact.partition(":")[0]) for line, fact, _ in found] == [
        (1, "version"),
        (2, "unknown key 'polcy' in the file"),
        (4, "'registry.dev.example.com/acme/{imag}' uses {imag}"),
        (8, "environments.dev.merge"),
        (9, "not a team"),
        (9, "count is negative"),
        (12, "environment 'devv' does not exist"),
        (15, "unknown key 'tga' in environments.stage.image_tags.1"),
        (16, "not a ref under env/"),
        (17, "environments.prod"),
        (23, "environment 'stag' does not exist"),
        (26, "unknown key 'signs' in environments.proof"),
        (28, "not a name of an application"),
        (28, "source is not a GitHub repository (owner/name)"),
        (29, "applications.checkout.images"),
        (29, "application 'checkout' names no source repository"),
    ], found


def test_what_only_follows_from_another_mistake_is_not_said() -> None:
    broken = WHOLE.replace("  dev: &dev\n", "  dev: &dev\n    mrege: auto\n").replace(
        "    manifests: [envs/dev/**]\n", ""
    )

    facts = [one.fact for one in mistakes(broken)]

    assert len(facts) == 2, facts
    assert "mrege" in facts[0] + facts[1]
    assert "missing required field `manifests`" in facts[0] + facts[1]


@pytest.mark.parametrize("section", ["environments", "applications"])
@pytest.mark.parametrize("instead", ["null", "[]", "7", "x"])
def test_a_section_that_is_no_mapping_is_one_mistake(section: str, instead: str) -> None:
    whole = WHOLE.partition(f"{section}:\n")
    rest = whole[2].partition("\ndefaults:" if section == "environments" else "\0")
    text = f"{whole[0]}{section}: {instead}\n{rest[1].strip()}{rest[2]}"

    [found] = mistakes(text)

    assert section in found.fact


LINES = WHOLE.splitlines()


@given(
    st.lists(
        st.tuples(st.integers(0, len(LINES) - 1), st.sampled_from(["", "x", "{", "7", "[]"])),
        max_size=4,
    )
)
def test_a_file_is_read_exactly_where_it_has_no_mistake(changes: list[tuple[int, str]]) -> None:
    lines = list(LINES)
    for number, instead in changes:
        key, colon, _ = lines[number].partition(":")
        lines[number] = f"{key}{colon} {instead}"
    text = "\n".join(lines)

    try:
        found = mistakes(text)
    except ConfigurationError:
        with pytest.raises(ConfigurationError):
            read_pipeline(text)
        return
    if not found:
        read_pipeline(text)
        return
    with pytest.raises(ConfigurationError) as first:
        read_pipeline(text)
    assert str(first.value) == str(found[0])
    assert not any("unread" in str(one) for one in found), found


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


WATCHING = """\
version: 1
environments:
  dev:
    on: { branches: [main] }
    image_repository: registry.example.com/acme/{image}
    manifests: [envs/dev/**]
defaults:
  source: acme/{application}
  watch: [migrations/**]
  issues: ["PAY-{number}", { key: "OPS-{number}", link: "https://ops.example.com/{number}" }]
applications:
  payments: {}
  quiet: { watch: [], issues: [] }
"""


def test_watched_paths_and_issue_keys_come_from_the_defaults() -> None:
    pipeline = read_pipeline(WATCHING)

    payments, quiet = pipeline.applications["payments"], pipeline.applications["quiet"]
    assert payments.watched == ("migrations/**",)
    assert [(one.key, one.link) for one in payments.issues] == [
        ("PAY-{number}", ""),
        ("OPS-{number}", "https://ops.example.com/{number}"),
    ]
    assert (quiet.watched, quiet.issues) == ((), ())


@pytest.mark.parametrize(
    ("right", "wrong", "fact"),
    [
        ("[migrations/**]", "[../other/**]", "not a path or glob in the source repository"),
        ("[migrations/**]", "[/etc/passwd]", "not a path or glob in the source repository"),
        ('"PAY-{number}"', '"PAY-[0-9]+"', "is not made of letters, digits"),
        ("https://ops.example.com/{number}", "ops/{number}", "is no http(s) address"),
        ("key: ", "keys: ", "unknown key"),
    ],
)
def test_a_mistake_in_them_has_its_line(right: str, wrong: str, fact: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(fact)) as caught:
        read_pipeline(WATCHING.replace(right, wrong))

    assert caught.value.line in {10, 11, 12, 13, 14}, caught.value


@pytest.mark.parametrize("path", ["p\\0", "p\\u0000.yaml", "a\\nb", "p\\u202e.yaml", "p\\e[0m"])
def test_a_path_is_what_people_can_read(path: str) -> None:
    """NUL ends a name for git: it would end every look with an error that nobody foresaw."""
    with pytest.raises(ConfigurationError, match="not a path in this repository"):
        read_pipeline(f'policy: "{path}"\n{WHOLE}', commit="0" * 40)


TRAVELLING = """\
version: 1
environments:
  stage:
    on: { branches: [release] }
    image_repository: registry.example.com/stage/{image}
    manifests: [envs/stage/**]
  prod:
    on: { branches: [main] }
    from: stage
    image_repository: registry.example.com/prod/{image}
    manifests: [envs/prod/**]
applications:
  payments: { source: acme/payments, promote: ["envs/*/{application}/*.yaml"] }
"""


def test_files_that_travel_are_named_by_globs() -> None:
    payments = read_pipeline(TRAVELLING).applications["payments"]

    assert payments.promote == ("envs/*/payments/*.yaml",)


@pytest.mark.parametrize(
    ("right", "wrong", "fact"),
    [
        ("envs/*/{application}/*.yaml", "../envs/**", "not a path or glob in this repository"),
        ("envs/*/{application}/*.yaml", "lockkeeper.yaml", "matches no file of an environment"),
        ("[envs/prod/**]", "[clusters/eu/prod/**]", "no two environments have `manifests` that"),
        ("    from: stage\n", "", "no two environments have `manifests` that pair"),
        ("envs/*/{application}/*.yaml", "envs/" + "x" * 300, "longer than 256 characters"),
    ],
)
def test_files_that_could_not_travel_are_refused(right: str, wrong: str, fact: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(fact)):
        read_pipeline(TRAVELLING.replace(right, wrong))


def shared(environments: int, *tags: str) -> str:
    """Environments that write their tags into one repository."""
    listed = ", ".join(f'"{tag}"' for tag in tags)
    entries = "".join(
        f"  e{n}: {{ on: {{ branches: [b{n}] }}, image_repository: 'r.example/acme/{{image}}', "
        f"manifests: [e{n}/**], image_tags: [{listed}] }}\n"
        for n in range(environments)
    )
    return f"version: 1\nenvironments:\n{entries}applications: {{ a: {{ source: acme/a }} }}\n"


def test_tags_that_name_their_environment_never_meet() -> None:
    """It is the way out that the finding names."""
    good = shared(4, "{environment}-{timestamp}", "x-{environment}-{version}")
    assert len(read_pipeline(good).environments) == 4

    with pytest.raises(ConfigurationError, match="can become the same tag"):
        read_pipeline(good.replace("{environment}-", ""))


def test_more_tags_than_can_be_compared_are_refused() -> None:
    """Fifty in two environments took minutes: a test that hangs is one that fails."""
    tags = [f"{{version}}-{{branch}}-{n}-{{timestamp}}-{'x' * 60}" for n in range(60)]

    found = mistakes(shared(40, *tags))
    assert any("too many tags to compare" in one.fact for one in found)


FOLLOWING = WHOLE.replace(
    "    on: { branches: [main] }\n    from: stage", "    after: [stage, dev]"
)


def test_an_environment_may_follow_others() -> None:
    prod = read_pipeline(FOLLOWING).environments["prod"]

    assert prod.follows
    assert (prod.after, prod.source_environment) == (("stage", "dev"), "stage")
    assert prod.below == ("stage", "dev")


def test_from_and_branches_may_stand_beside_after() -> None:
    text = WHOLE.replace("    from: stage", "    from: stage\n    after: [dev]")
    prod = read_pipeline(text).environments["prod"]

    assert not prod.follows
    assert prod.below == ("stage", "dev")


def test_an_environment_may_follow_none_but_others_of_the_file() -> None:
    text = FOLLOWING.replace("    from: dev", "    from: prod")

    with pytest.raises(ConfigurationError, match="circle: stage -> prod -> stage"):
        read_pipeline(text)


edges = st.lists(
    st.tuples(st.sampled_from("abcd"), st.sampled_from(["from", "after"]), st.sampled_from("abcd")),
    max_size=6,
)


@given(edges)
def test_every_circle_is_refused_and_nothing_else_is(
    given_edges: list[tuple[str, str, str]],
) -> None:
    below: dict[str, dict[str, list[str]]] = {name: {"from": [], "after": []} for name in "abcd"}
    for name, key, other in given_edges:
        if key == "after" or not below[name]["from"]:
            below[name][key].append(other)
    lines = ["version: 1", "environments:"]
    for name, keys in below.items():
        lines += [f"  {name}:", f"    on: {{ branches: [{name}] }}", f"    manifests: [{name}/**]"]
        lines.append(f"    image_repository: {name}.example.com/{{application}}/{{image}}")
        lines += [f"    from: {one}" for one in keys["from"]]
        lines += [f"    after: [{', '.join(keys['after'])}]"] if keys["after"] else []
    lines += ["applications:", "  x: { source: acme/x }"]

    graph = {name: {*keys["from"], *keys["after"]} for name, keys in below.items()}
    ends = {name for name, others in graph.items() if not others}
    while more := {name for name, others in graph.items() if others <= ends} - ends:
        ends |= more
    found = mistakes("\n".join(lines))

    assert bool(found) == (ends != set("abcd"))
    assert all("circle" in one.fact for one in found)


OWN = """\
version: 1
environments:
  dev:
    on: { branches: [develop] }
    image_repository: dev.example.com/{environment}/{image}
    manifests: [envs/dev/**]
  stage:
    on: { branches: ["release/*"] }
    from: dev
    image_repository: stage.example.com/acme/{image}
    manifests: [envs/stage/**]
  uat:
    after: [stage]
    image_repository: uat.example.com/acme/{image}
    manifests: [envs/uat/**]
  prod:
    on: { branches: [main] }
    from: uat
    image_repository: prod.example.com/acme/{image}
    manifests: [envs/prod/**]
defaults: { source: "acme/{application}", paths: ["services/{application}/**"] }
applications:
  whole: {}
  own: { environments: { dev: , prod: { on: { branches: [master] }, image_tags: ["v"] } } }
  late: { environments: { uat: , prod: } }
"""


def test_what_an_application_has_otherwise() -> None:
    pipeline = read_pipeline(OWN)
    whole, own, late = (pipeline.applications[name] for name in ("whole", "own", "late"))

    assert whole.paths == ("services/whole/**",)
    assert pipeline.environment_of("prod", whole) is pipeline.environments["prod"]
    assert pipeline.environment_of("stage", own) is None
    assert pipeline.environment_of("nowhere", own) is None
    prod = pipeline.environment_of("prod", own)
    assert prod is not None
    assert (prod.branches, prod.source_environment) == (("master",), "dev")
    assert [str(tag.template) for tag in prod.image_tags] == ["v"]

    uat = pipeline.environment_of("uat", late)  # fed as stage would be, from where CI pushes
    assert uat is not None
    assert (uat.after, uat.branches, uat.source_environment) == ((), ("release/*",), None)
    assert str(uat.built_in(late, "late")) == "dev.example.com/dev/late"
    prod = pipeline.environment_of("prod", late)
    assert prod is not None
    assert (prod.branches, prod.source_environment) == (("main",), "uat")


@given(st.sets(st.sampled_from(["dev", "stage", "uat", "prod"]), min_size=1))
def test_nothing_is_taken_from_an_environment_that_is_gone_past(names: set[str]) -> None:
    text = OWN.replace(
        "  whole: {}",
        f"  whole: {{ environments: {{ {', '.join(f'{n}: ' for n in sorted(names))} }} }}",
    )
    pipeline = read_pipeline(text)
    whole = pipeline.applications["whole"]

    for name in pipeline.environments:
        found = pipeline.environment_of(name, whole)
        assert (found is not None) == (name in names)
        if found is not None:
            assert set(found.below) <= names
            assert found.branches or found.tags or found.after
            is_lowest = name == "dev"
            assert is_lowest or found.source_environment or found.source_pattern


def test_a_queue_is_of_single_applications_and_of_own_branches() -> None:
    queue = WHOLE.replace("from: stage", "from: stage\n    order: queue")
    grouped = queue.replace("source: acme/shop", "source: acme/shop\n    group: shop")
    past = grouped.replace("group: shop", "group: shop\n    environments: { dev: , stage: }")
    following = FOLLOWING.replace("after:", "order: queue\n    after:")

    assert read_pipeline(queue).environments["prod"].turns == "queue"
    assert read_pipeline(past).environments["prod"].turns == "queue"
    for text, words in ((grouped, "together with a group: 'shop'"), (following, "publications")):
        with pytest.raises(ConfigurationError, match=words):
            read_pipeline(text)
