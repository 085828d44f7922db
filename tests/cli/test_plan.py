from __future__ import annotations

import json
import os
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from bot.cli.main import lockkeeper
from bot.cli.plan import _for_people
from tests.world.stage import BASE, ENVIRONMENTS, OVERLAY, PIPELINE

HOSTS = {name: f"registry.{name}.example.com" for name in ENVIRONMENTS}
DIGEST = "sha256:" + "2" * 64


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "lockkeeper.yaml").write_text(PIPELINE.format(**HOSTS))
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "deployment.yaml").write_text(BASE)
    for name in ENVIRONMENTS:
        folder = tmp_path / "envs" / name
        folder.mkdir(parents=True)
        overlay = OVERLAY.format(environment=name, host=HOSTS[name])
        (folder / "kustomization.yaml").write_text(overlay)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(lockkeeper, arguments)


def plan(checkout: Path, *more: str, image: str = f"payments={DIGEST}") -> Result:
    file = str(checkout / "lockkeeper.yaml")
    given = ("--config", file, "--checkout", str(checkout), "--environment", "prod")
    return run("plan", *given, "--image", image, *more)


def test_a_diff_and_nothing_written(checkout: Path) -> None:
    before = (checkout / "envs/prod/kustomization.yaml").read_bytes()

    result = plan(checkout)

    assert result.exit_code == 0, result.output
    assert f"+    digest: {DIGEST}" in result.output
    assert sum(line.startswith(("+", "-")) for line in result.output.splitlines()) == 3
    assert (checkout / "envs/prod/kustomization.yaml").read_bytes() == before


def test_json_names_every_scalar(checkout: Path) -> None:
    result = plan(checkout, "--json")

    assert json.loads(result.output) == {
        "state": "changed",
        "states": {"payments/payments": "changed"},
        "changes": [
            {
                "file": "envs/prod/kustomization.yaml",
                "document": 1,
                "line": 8,
                "path": "/images/0/digest",
                "old": None,
                "new": DIGEST,
                "kind": "kustomization",
            }
        ],
        "skipped": [],
        "warnings": [],
        "unmanaged": [],
    }


def test_written_once_there_is_nothing_more_to_change(checkout: Path) -> None:
    assert plan(checkout, "--write").exit_code == 0

    result = plan(checkout)

    assert (result.exit_code, result.output) == (0, "nothing would change\n")


def test_a_link_is_never_followed(checkout: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.yaml"
    target = checkout / "envs/prod/kustomization.yaml"
    target.rename(outside)
    target.symlink_to(outside)
    before = outside.read_bytes()

    assert plan(checkout, "--write").exit_code == 0
    assert outside.read_bytes() == before


def test_terminal_escapes_of_a_file_are_not_printed_on_a_terminal() -> None:
    shown = _for_people("+a \x9b31m\r\n-b\n")

    assert "\x9b" not in shown
    assert "\r" not in shown
    assert click.unstyle(shown) == "+a \N{REPLACEMENT CHARACTER}31m\n-b\n"


@pytest.mark.parametrize(
    ("image", "code", "words"),
    [
        ("payments", 2, "NAME=[TAG@]sha256"),
        (f"payments=a b@{DIGEST}", 2, "not a tag"),
        ("payments=latest", 2, "not a digest"),
        (f"paymentz={DIGEST}", 1, "image paymentz does not exist"),
    ],
)
def test_wrong_images_are_named(checkout: Path, image: str, code: int, words: str) -> None:
    result = plan(checkout, image=image)

    assert result.exit_code == code
    assert words in result.output


def test_an_unreadable_file_is_that_files_state_and_stops_nothing_else(checkout: Path) -> None:
    path = checkout / "envs/prod/broken.yaml"
    path.write_text(f"image: {HOSTS['prod']}/acme/payments:v1\n\tx: y\n")

    result = plan(checkout, "--json")

    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert document["state"] == "changed"
    assert [(s["file"], s["line"], s["kind"]) for s in document["skipped"]] == [
        ("envs/prod/broken.yaml", 2, "unreadable")
    ]


def test_nothing_is_written_where_one_place_is_refused(checkout: Path) -> None:
    folder = checkout / "envs/prod"
    (folder / "a.yaml").write_text(f"image: {HOSTS['prod']}/acme/payments:{{{{ tag }}}}\n")
    before = (folder / "kustomization.yaml").read_bytes()

    result = plan(checkout, "--write")

    assert result.exit_code == 2
    assert "envs/prod/a.yaml:1" in result.output
    assert "another tool fills it in; nothing was written" in result.output
    assert (folder / "kustomization.yaml").read_bytes() == before


def test_the_commit_tells_the_tag(checkout: Path) -> None:
    values = checkout / "envs/prod/values.yaml"
    values.write_text(f"image:\n  repository: {HOSTS['prod']}/acme/payments\n")

    untold = plan(checkout)
    told = plan(checkout, "--commit", "1a2b3c4" + "0" * 33, "--write")

    assert untold.exit_code == 2
    assert "say which tag" in untold.output
    assert told.exit_code == 0, told.output
    assert values.read_text().endswith(f"payments\n  tag: sha-1a2b3c4@{DIGEST}\n")


def test_what_a_link_and_a_base_outside_hold_is_told(checkout: Path) -> None:
    ours = f"kind: Pod\nimage: {HOSTS['prod']}/acme/payments:v1\n"
    (checkout / "shared").mkdir()
    (checkout / "shared/side.yaml").write_text(ours)
    (checkout / "shared/linked.yaml").write_text(ours)
    (checkout / "envs/prod/link.yaml").symlink_to("../../shared/linked.yaml")
    overlay = checkout / "envs/prod/kustomization.yaml"
    text = overlay.read_text().replace("- ../../base", "- ../../base\n  - ../../shared/side.yaml")
    overlay.write_text(text)

    document = json.loads(plan(checkout, "--json").stdout)

    assert [(s["kind"], s["file"]) for s in document["skipped"]] == [
        ("mention", "envs/prod/link.yaml"),
        ("mention", "shared/side.yaml"),
    ]


def test_one_name_in_two_applications_is_never_guessed(checkout: Path) -> None:
    file = checkout / "lockkeeper.yaml"
    text = file.read_text().replace("/{image}", "/{application}/{image}")
    text += "  checkout: { source: acme/checkout, images: [payments] }\n"
    file.write_text(text)

    result = plan(checkout)
    own = plan(checkout, "--json", image=f"checkout/payments={DIGEST}")

    assert "several have that name" in result.output
    assert own.exit_code in {0, 2}
    assert json.loads(own.stdout)["changes"] == []


def test_config_check(checkout: Path) -> None:
    file = checkout / "lockkeeper.yaml"

    assert "3 environments, 1 applications" in run("config", "check", str(file)).output
    file.write_text(file.read_text().replace("merge: auto", "merg: auto"))
    broken = run("config", "check", str(file))
    assert broken.exit_code == 2
    assert f"{file}:7: unknown key 'merg'" in broken.output
    assert "did you mean 'merge'?" in broken.output


def test_config_schema_is_json() -> None:
    schema = json.loads(run("config", "schema").output)

    assert set(schema["$defs"]) >= {"Environment", "Application"}


def test_verbs_need_no_environment_of_the_app() -> None:
    result = CliRunner(env={k: "" for k in os.environ if k.startswith("LOCKKEEPER")}).invoke(
        lockkeeper, ["--help"]
    )

    assert result.exit_code == 0
    assert "serve" in result.output


def test_the_policy_beside_the_file_is_checked_with_it(checkout: Path) -> None:
    file = checkout / "lockkeeper.yaml"
    file.write_text(f"policy: rules/policy.yaml\n{file.read_text()}")
    (checkout / "rules").mkdir()
    policy = checkout / "rules" / "policy.yaml"

    missing = run("config", "check", str(file)).output
    policy.write_text("version: 1\nenvironments: { stag: {} }\n")
    unknown = run("config", "check", str(file)).output
    policy.write_text("version: 1\nenvironments:\n  stage: { exceptions: exceptions.yaml }\n")
    (checkout / "rules" / "exceptions.yaml").write_text("- { vulnerability: CVE-2026-1 }\n")
    incomplete = run("config", "check", str(file)).output
    (checkout / "rules" / "exceptions.yaml").write_text("")
    good = run("config", "check", str(file))

    assert "rules/policy.yaml: lockkeeper.yaml names it" in missing
    assert "no environment 'stag'" in unknown
    assert "did you mean" in unknown
    assert "rules/exceptions.yaml:1" in incomplete
    assert "1 policies" in good.output
    assert good.exit_code == 0


def test_config_check_says_every_mistake_of_a_file_at_once(tmp_path: Path) -> None:
    file = tmp_path / "lockkeeper.yaml"
    text = PIPELINE.format(**HOSTS).replace("version: 1", "version: 2\npolcy: policy.yaml", 1)
    file.write_text(text.replace("source:", "sourc:", 1))

    result = run("config", "check", str(file))
    lines = result.stderr.splitlines()
    assert result.exit_code == 2
    assert [line.split(": ")[2] for line in lines[:2]] == [
        "version",
        "unknown key 'polcy' in the file; did you mean 'policy'?",
    ]
    assert any("'sourc'" in line and "did you mean 'source'" in line for line in lines)

    as_json = json.loads(run("config", "check", str(file), "--json").stdout)
    assert as_json["error"]["kind"] == "ConfigurationError"
    assert [one["line"] for one in as_json["errors"]][:2] == [1, 2]
    assert len(as_json["errors"]) == len(lines)


def test_config_check_says_every_mistake_of_the_policy_and_then_of_its_exceptions(
    tmp_path: Path,
) -> None:
    (tmp_path / "lockkeeper.yaml").write_text(PIPELINE.format(**HOSTS) + "policy: policy.yaml\n")
    policy, exceptions = tmp_path / "policy.yaml", tmp_path / "exceptions.yaml"
    start = "version: 1\nenvironments:\n  stage: { exceptions: exceptions.yaml"
    policy.write_text(f"{start}, wat: 1 }}\n  prod: 1\n")
    exceptions.write_text("- { reson: a }\n- { licence: A, reason: c, expires: soon }\n")

    def check() -> list[tuple[str, int]]:
        result = run("config", "check", str(tmp_path / "lockkeeper.yaml"), "--json")
        assert result.exit_code == 2
        return [(one["file"], one["line"]) for one in json.loads(result.stdout)["errors"]]

    assert check() == [("policy.yaml", 3), ("policy.yaml", 4)]

    policy.write_text(f"{start} }}\n")
    assert check() == [("exceptions.yaml", 1), ("exceptions.yaml", 2)]


@pytest.mark.parametrize("name", ["lockkeeper.yaml", "policy.yaml"])
def test_a_file_that_is_too_large_to_be_read_is_wrong_like_any_other(
    checkout: Path, name: str
) -> None:
    file = checkout / "lockkeeper.yaml"
    file.write_text(f"policy: policy.yaml\n{file.read_text()}")
    (checkout / name).write_text("[" * 1000)

    told = run("config", "check", str(file))
    asked = run("config", "check", str(file), "--json")

    assert (told.exit_code, asked.exit_code) == (2, 2)
    assert "the limit is" in told.stderr
    assert "the limit is" in json.loads(asked.stdout)["error"]["text"]


def test_images_of_others_are_listed_by_plan_and_check(tmp_path: Path) -> None:
    config = tmp_path / "lockkeeper.yaml"
    config.write_text(
        "version: 1\nenvironments:\n  prod:\n    on: {branches: [main]}\n"
        "    image_repository: registry.example.com/acme/{image}\n"
        "    manifests: [envs/prod/**]\n    allow_images: [nginx]\n"
        "applications: {api: {source: acme/api}}\n"
    )
    folder = tmp_path / "envs" / "prod"
    folder.mkdir(parents=True)
    (folder / "pod.yaml").write_text(
        "kind: Pod\nspec:\n  containers:\n"
        "  - {name: a, image: 'registry.example.com/acme/api:v1'}\n"
        "  - {name: b, image: 'quay.io/x/proxy:v1'}\n  - {name: c, image: nginx}\n"
    )
    (folder / "redis.yaml").write_text("kind: Pod\nimage: redis:7\n")
    listed = [{"file": "envs/prod/pod.yaml", "line": 5, "image": "quay.io/x/proxy:v1"}]
    more = [*listed, {"file": "envs/prod/redis.yaml", "line": 2, "image": "redis:7"}]

    digest = "v2@sha256:" + "1" * 64
    where = ["--config", str(config), "--checkout", str(tmp_path)]
    plan = ["plan", *where, "--environment", "prod", "--image", f"api={digest}", "--json"]
    planned = CliRunner().invoke(lockkeeper, plan)
    check = ["config", "check", str(config), "--checkout", str(tmp_path), "--json"]
    checked = CliRunner().invoke(lockkeeper, check)

    assert json.loads(planned.stdout)["unmanaged"] == listed
    assert json.loads(checked.stdout)["unmanaged"] == {"prod": more}

    config.write_text(
        config.read_text().replace("allow_images", "unmanaged: hold\n    allow_images")
    )
    held = CliRunner().invoke(lockkeeper, check)

    assert held.exit_code == 2
    assert "envs/prod/redis.yaml:2: redis:7 is no image of ours (prod)" in held.stderr
