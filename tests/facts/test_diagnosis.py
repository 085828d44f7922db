"""Wrong set-ups, each asked through the real ports: what is named, and the way out."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bot.adapters.looks import LooksTogether
from bot.assembly import doctor_of
from bot.domain.doctor.app import WANTED_EVENTS, WANTED_PERMISSIONS
from bot.domain.doctor.diagnosis import Diagnosis
from bot.domain.doctor.findings import About, Finding, Severity
from bot.facts.diagnosis import FIRST_ROUND_SECONDS, SECOND_ROUND_SECONDS, SOURCES
from bot.settings import Settings
from tests.world.github.records import App, Installation
from tests.world.github.webhooks import Delivery
from tests.world.keys import generate_key_pair
from tests.world.local_bot import PIPELINE, LocalBot, running_local_bot
from tests.world.registry import Registry

pytestmark = pytest.mark.slow

REMEDY = {Severity.FAILURE, Severity.WARNING}


@pytest.fixture(scope="module")
def registry() -> Iterator[Registry]:
    with Registry() as running:
        yield running


@pytest.fixture
def local(tmp_path: Path, registry: Registry) -> Iterator[LocalBot]:
    """A set-up in which nothing is wrong."""
    signed = PIPELINE.replace("policy: policy.yaml\n", "")
    files = {"lockkeeper.yaml": signed.replace("registry.example.com", registry.host)}
    with running_local_bot(tmp_path, files, host=registry.host) as up:
        app, installation = _app(up), _installation(up)
        app.permissions = dict(WANTED_PERMISSIONS)
        installation.permissions = dict(WANTED_PERMISSIONS)
        app.events = tuple(sorted(WANTED_EVENTS))
        app.webhook_url, app.webhook_active = "http://127.0.0.1:9/webhook?token=hidden", False
        _delivered(up, 202)
        up.world.protect(up.manifests, "main", checks=("lockkeeper",), check_source=app.id)
        up.world.restrict(up.manifests, "env/*", bypass=[app])
        grant = tmp_path / "grants" / "prod" / "registry.json"
        grant.chmod(0o600)
        yield up


def _app(local: LocalBot) -> App:
    return next(app for app in local.world.state.apps.values() if app.slug == "lockkeeper")


def _installation(local: LocalBot) -> Installation:
    return next(iter(local.world.state.installations.values()))


def _delivered(local: LocalBot, status: int, words: str = "OK") -> None:
    local.world.webhooks.log.append(
        Delivery(
            id=len(local.world.webhooks.log) + 1,
            guid="00000000-0000-0000-0000-000000000000",
            app=_app(local),
            event="push",
            action=None,
            installation_id=None,
            repository_id=None,
            body=b"{}",
            delivered_at=datetime.now(UTC),
            status=words,
            status_code=status,
        )
    )


def diagnosis(local: LocalBot, **variables: str) -> Diagnosis:
    return doctor_of(Settings.read({**local.settings, **variables}))()


def found(seen: Diagnosis, about: About) -> Finding:
    """The worst finding of that kind."""
    return next(one for one in seen.findings if one.about is about)


def push(local: LocalBot, files: Mapping[str, str | bytes | None]) -> None:
    """Dana goes past the rules of the default branch."""
    rules = local.manifests.rules.pop("main")
    local.push(files)
    local.manifests.rules["main"] = rules


def is_ready(seen: Diagnosis) -> bool:
    return not seen.reasons_not_ready(is_first=True)


def test_where_nothing_is_wrong_nothing_is_said(local: LocalBot) -> None:
    seen = diagnosis(local)

    assert [one.line for one in seen.remarkable] == []
    assert is_ready(seen)


def test_a_misspelt_repository_is_named_with_the_one_that_was_meant(local: LocalBot) -> None:
    seen = diagnosis(local, LOCKKEEPER_MANIFESTS="acme/deplyo")

    one = found(seen, About.VISIBLE)
    assert (one.severity, one.subject) == (Severity.FAILURE, "acme/deplyo")
    assert "did you mean acme/deploy" in one.remedy
    assert not is_ready(seen)


def test_one_wrong_repository_of_two_is_named_and_the_other_works(
    local: LocalBot, tmp_path: Path
) -> None:
    grants = tmp_path / "two" / "acme"
    grants.mkdir(parents=True)
    (tmp_path / "grants").rename(grants / "deploy")

    seen = diagnosis(
        local,
        LOCKKEEPER_MANIFESTS="acme/nothing-like-it, acme/deploy",
        LOCKKEEPER_GRANTS_DIR=str(tmp_path / "two"),
    )

    named = {one.subject for one in seen.findings if one.severity is Severity.FAILURE}
    assert named == {"acme/nothing-like-it"}
    assert is_ready(seen)


@pytest.mark.parametrize("path", ["/api/v4", "/nowhere", ""])
def test_an_address_that_is_not_the_api_s_is_named(local: LocalBot, path: str) -> None:
    seen = diagnosis(local, LOCKKEEPER_GITHUB_API_URL=f"{local.world.url}{path}")

    one = found(seen, About.API)
    assert one.severity is Severity.FAILURE
    assert "404" in one.fact
    assert "LOCKKEEPER_GITHUB_API_URL" in one.remedy
    assert not is_ready(seen)


def test_a_github_that_does_not_answer_is_unknown_and_not_ready_at_first(local: LocalBot) -> None:
    seen = diagnosis(local, LOCKKEEPER_GITHUB_API_URL="http://127.0.0.1:9/api/v3")

    assert found(seen, About.API).severity is Severity.UNKNOWN
    assert not is_ready(seen)
    assert seen.reasons_not_ready(is_first=False) == ()


def test_a_missing_grants_folder_is_named(local: LocalBot, tmp_path: Path) -> None:
    seen = diagnosis(local, LOCKKEEPER_GRANTS_DIR=str(tmp_path / "grnats"))

    one = found(seen, About.GRANTS)
    assert (one.severity, one.subject) == (Severity.FAILURE, str(tmp_path / "grnats"))
    assert "LOCKKEEPER_GRANTS_DIR" in one.remedy
    assert not is_ready(seen)


def test_an_environment_without_a_grant_is_named(local: LocalBot, tmp_path: Path) -> None:
    (tmp_path / "grants" / "prod").rename(tmp_path / "grants" / "production")

    seen = diagnosis(local)

    assert "environment 'prod'" in found(seen, About.PIPELINE).fact
    assert not is_ready(seen)


def test_a_repository_without_a_pipeline_file_is_named(local: LocalBot) -> None:
    push(local, {"lockkeeper.yaml": None})

    seen = diagnosis(local)

    one = found(seen, About.PIPELINE)
    assert (one.severity, one.subject) == (Severity.FAILURE, "acme/deploy")
    assert "no lockkeeper.yaml" in one.fact
    assert not is_ready(seen)


def test_a_broken_pipeline_file_is_named_and_the_older_one_works_on(local: LocalBot) -> None:
    push(local, {"lockkeeper.yaml": "version: 1\nenviroments: {}\n"})

    seen = diagnosis(local)

    assert "lockkeeper.yaml:2" in found(seen, About.PIPELINE).fact
    assert is_ready(seen)


def test_a_wrong_app_id_is_named(local: LocalBot) -> None:
    seen = diagnosis(local, LOCKKEEPER_APP_ID="4711")

    one = found(seen, About.APP_ID)
    assert one.severity is Severity.FAILURE
    assert "4711" in one.fact
    assert not is_ready(seen)


def test_another_app_s_key_is_named(local: LocalBot, tmp_path: Path) -> None:
    other = local.world.create_app("", "s", {}, [], slug="other")
    (tmp_path / "other.pem").write_text(other.private_key)

    seen = diagnosis(local, LOCKKEEPER_PRIVATE_KEY_FILE=str(tmp_path / "other.pem"))

    one = found(seen, About.APP_KEY)
    assert one.severity is Severity.FAILURE
    assert "not this App's" in one.fact
    assert not is_ready(seen)


@pytest.mark.parametrize("half", ["nothing", "public"])
def test_a_key_that_cannot_sign_is_named(local: LocalBot, tmp_path: Path, half: str) -> None:
    pem = _app(local).public_key if half == "public" else "-----BEGIN NOTHING-----\n"
    (tmp_path / "none.pem").write_text(pem)

    seen = diagnosis(local, LOCKKEEPER_PRIVATE_KEY_FILE=str(tmp_path / "none.pem"))

    one = found(seen, About.APP_KEY)
    assert one.severity is Severity.FAILURE
    assert "PEM" in one.fact
    assert not is_ready(seen)


@pytest.mark.parametrize("seconds", [-1200, 1200])
def test_a_clock_that_is_wrong_is_named(local: LocalBot, tmp_path: Path, seconds: int) -> None:
    (tmp_path / "clock").write_text(str(seconds))

    seen = diagnosis(local, LOCKKEEPER_TEST_CLOCK=str(tmp_path / "clock"))

    one = found(seen, About.CLOCK)
    assert one.severity is Severity.FAILURE
    assert "1200 s" in one.fact or "1199 s" in one.fact or "1201 s" in one.fact
    assert not is_ready(seen)


def test_an_app_that_is_not_installed_is_named(local: LocalBot) -> None:
    local.world.uninstall(_installation(local))

    seen = diagnosis(local)

    assert found(seen, About.VISIBLE).severity is Severity.FAILURE
    assert not is_ready(seen)


def test_a_suspended_installation_is_named(local: LocalBot) -> None:
    local.world.suspend(_installation(local))

    seen = diagnosis(local)

    assert "suspended" in found(seen, About.INSTALLED).fact
    assert not is_ready(seen)


@pytest.mark.parametrize(
    ("name", "works"), [("checks", False), ("contents", False), ("members", True)]
)
def test_a_permission_that_was_not_accepted_is_named(
    local: LocalBot, name: str, works: bool
) -> None:  # noqa: FBT001 - a case
    del _installation(local).permissions[name]

    seen = diagnosis(local)

    one = found(seen, About.PERMISSIONS)
    assert (one.subject, name in one.fact) == ("acme/deploy", True)
    assert is_ready(seen) is works


def test_an_event_that_the_app_does_not_ask_for_is_named(local: LocalBot) -> None:
    _app(local).events = tuple(WANTED_EVENTS - {"check_suite"})

    one = found(diagnosis(local), About.EVENTS)

    assert (one.severity, "check_suite" in one.fact) == (Severity.WARNING, True)


def test_webhooks_that_were_answered_401_are_named_without_the_address_s_query(
    local: LocalBot,
) -> None:
    _delivered(local, 401, "Invalid HTTP Response: 401")

    seen = diagnosis(local)

    one = found(seen, About.DELIVERIES)
    assert one.severity is Severity.FAILURE
    assert "LOCKKEEPER_WEBHOOK_SECRET" in one.remedy
    assert "hidden" not in one.line
    assert is_ready(seen)


def test_webhooks_that_reach_nobody_are_named(local: LocalBot) -> None:
    _delivered(local, 502, "failed to connect to host")

    one = found(diagnosis(local), About.DELIVERIES)

    assert one.severity is Severity.FAILURE
    assert "failed to connect" in one.fact
    assert "LOCKKEEPER_LISTEN" in one.remedy


def test_an_environment_ref_that_the_app_may_not_move_is_named(local: LocalBot) -> None:
    local.world.restrict(local.manifests, "env/*")

    one = found(diagnosis(local), About.REF_PROTECTED)

    assert (one.severity, one.subject) == (Severity.FAILURE, "acme/deploy env/prod")
    assert "bypass" in one.remedy


def test_an_environment_ref_that_anybody_may_move_is_named(local: LocalBot) -> None:
    del local.manifests.rules["env/*"]

    assert found(diagnosis(local), About.REF_PROTECTED).severity is Severity.WARNING


def test_rules_that_a_plan_does_not_have_are_no_riddle(local: LocalBot) -> None:
    local.world.fail("GET", "*/rules/branches/*", 403, times=9, message="Upgrade to GitHub Pro")

    seen = diagnosis(local)

    for about in (About.CHECK_REQUIRED, About.REF_PROTECTED):
        one = found(seen, about)
        assert one.severity is Severity.UNKNOWN
        assert "Upgrade to GitHub Pro" in one.fact
        assert "plan" in one.remedy
    assert is_ready(seen)


def test_rules_that_github_cannot_tell_now_are_unknown(local: LocalBot) -> None:
    local.world.fail("GET", "*/rules/branches/*", 502, times=9)

    assert found(diagnosis(local), About.REF_PROTECTED).severity is Severity.UNKNOWN


def test_a_check_that_is_required_from_another_app_is_named(local: LocalBot) -> None:
    local.world.protect(local.manifests, "main", checks=("lockkeeper",), check_source=15368)

    one = found(diagnosis(local), About.CHECK_REQUIRED)

    assert one.severity is Severity.FAILURE
    assert "15368" in one.fact


@pytest.mark.parametrize("checks", [("lockkeeper",), ("build",), ()])
def test_a_check_that_is_required_from_anybody_or_from_nobody_is_named(
    local: LocalBot, checks: tuple[str, ...]
) -> None:
    local.world.protect(local.manifests, "main", checks=checks)

    assert found(diagnosis(local), About.CHECK_REQUIRED).severity is Severity.WARNING


def test_a_tag_that_is_called_like_an_environment_ref_is_named(local: LocalBot) -> None:
    head = local.manifests.head("main") or ""
    local.manifests.git.write_ref("refs/tags/env/prod-1", head, None)
    assert found(diagnosis(local), About.TAGS).severity is Severity.OK

    local.manifests.git.write_ref("refs/tags/env/prod", head, None)

    one = found(diagnosis(local), About.TAGS)
    assert (one.severity, one.subject) == (Severity.FAILURE, "acme/deploy env/prod")


def with_environment(local: LocalBot, line: str) -> None:
    file = local.manifests.git.text("show", "main:lockkeeper.yaml")
    push(local, {"lockkeeper.yaml": file.replace("    on: {", f"    {line}\n    on: {{", 1)})


def test_merge_auto_under_a_merge_queue_is_named(local: LocalBot) -> None:
    with_environment(local, "merge: auto")
    assert found(diagnosis(local), About.AUTO_MERGE).severity is Severity.OK
    local.world.protect(local.manifests, "main", checks=("lockkeeper",), merge_queue=True)

    one = found(diagnosis(local), About.AUTO_MERGE)

    assert (one.severity, one.subject) == (Severity.FAILURE, "acme/deploy prod")


def test_merge_auto_that_waits_for_approvals_is_named(local: LocalBot) -> None:
    with_environment(local, "merge: auto")
    local.world.protect(local.manifests, "main", approvals=1)

    one = found(diagnosis(local), About.AUTO_MERGE)

    assert one.severity is Severity.WARNING
    assert "1 approvals" in one.fact


def test_merge_auto_without_a_way_to_merge_is_named(local: LocalBot) -> None:
    with_environment(local, "merge: auto")
    local.manifests.merge_methods = set()

    assert found(diagnosis(local), About.AUTO_MERGE).severity is Severity.FAILURE


def test_approvals_that_whoever_pushed_last_may_give_are_named(local: LocalBot) -> None:
    with_environment(local, "approvals: {count: 1}")
    local.world.protect(local.manifests, "main", approvals=1)
    assert found(diagnosis(local), About.LAST_PUSH).severity is Severity.WARNING

    local.world.protect(local.manifests, "main", approvals=1, last_push=True)

    assert found(diagnosis(local), About.LAST_PUSH).severity is Severity.OK


def test_a_missing_signing_key_is_named(local: LocalBot) -> None:
    with_environment(local, "sign: true")

    seen = diagnosis(local)

    assert "a key to sign with" in found(seen, About.PIPELINE).fact
    assert not is_ready(seen)


def test_a_key_with_a_wrong_password_is_named(local: LocalBot, tmp_path: Path) -> None:
    keys = generate_key_pair(b"right", cost=32768)
    (tmp_path / "grants" / "prod" / "signing.key").write_bytes(keys.private)
    (tmp_path / "grants" / "prod" / "signing.password").write_bytes(b"not-this")

    seen = diagnosis(local)

    assert "password" in found(seen, About.PIPELINE).line
    assert "stopped: environment prod" in found(seen, About.PIPELINE).line
    assert found(seen, About.PIPELINE).severity is Severity.FAILURE
    assert "not-this" not in found(seen, About.PIPELINE).line


def test_a_secret_that_everybody_can_read_is_named(local: LocalBot, tmp_path: Path) -> None:
    (tmp_path / "grants" / "prod" / "registry.json").chmod(0o644)

    assert "chmod" in found(diagnosis(local), About.SECRETS).fact


def test_a_registry_that_refuses_the_credentials_is_named(tmp_path: Path) -> None:
    with Registry(login="basic", users={"robot": "right"}) as guarded:
        files = {
            "lockkeeper.yaml": PIPELINE.replace("policy: policy.yaml\n", "").replace(
                "registry.example.com", guarded.host
            )
        }
        with running_local_bot(tmp_path, files, host=guarded.host) as local:
            one = found(diagnosis(local), About.PULL)

    assert one.severity is Severity.FAILURE
    assert "refuses access" in one.fact
    assert "credentials" in one.fact


def test_a_registry_that_nobody_can_reach_is_named(tmp_path: Path) -> None:
    files = {
        "lockkeeper.yaml": PIPELINE.replace("policy: policy.yaml\n", "").replace(
            "registry.example.com", "127.0.0.1:9"
        )
    }
    with running_local_bot(tmp_path, files, host="127.0.0.1:9") as local:
        one = found(diagnosis(local), About.PULL)

    assert one.severity is Severity.UNKNOWN
    assert "127.0.0.1:9" in one.line


def test_a_data_folder_that_cannot_be_written_is_named(local: LocalBot, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")

    seen = diagnosis(local, LOCKKEEPER_DATA_DIR=str(tmp_path / "file" / "data"))

    one = found(seen, About.DATA_FOLDER)
    assert (one.severity, one.subject) == (Severity.FAILURE, str(tmp_path / "file" / "data"))
    assert not is_ready(seen)


def test_a_database_of_a_newer_lockkeeper_is_named_and_left_alone(
    local: LocalBot, tmp_path: Path
) -> None:
    file = tmp_path / "data" / "lockkeeper.db"
    with sqlite3.connect(file) as database:
        database.execute("UPDATE lk_schema SET version = 99 WHERE part = 'store'")
    database.close()

    seen = diagnosis(local)

    assert "version 99 of store" in found(seen, About.DATABASE).fact
    assert not is_ready(seen)


def test_a_database_that_does_not_exist_is_not_made(local: LocalBot, tmp_path: Path) -> None:
    seen = diagnosis(local, LOCKKEEPER_DATA_DIR=str(tmp_path / "fresh"))

    assert found(seen, About.DATABASE).severity is Severity.WARNING
    assert not (tmp_path / "fresh").exists()


def test_a_file_that_is_no_database_is_named(local: LocalBot, tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("this is no database, and long enough to be read as one" * 9)

    seen = diagnosis(local, LOCKKEEPER_DATABASE_URL=f"sqlite:///{tmp_path / 'text.db'}")

    assert found(seen, About.DATABASE).severity is Severity.FAILURE
    assert not is_ready(seen)


def test_a_git_that_cannot_read_is_named(local: LocalBot) -> None:
    seen = diagnosis(
        local,
        LOCKKEEPER_GITHUB_URL="http://127.0.0.1:9",
        LOCKKEEPER_GITHUB_API_URL=local.world.api_url,
    )

    one = found(seen, About.FETCH)
    assert one.severity is Severity.UNKNOWN
    assert "LOCKKEEPER_GITHUB_URL" in one.remedy
    assert not is_ready(seen)


def test_an_archived_repository_is_named(local: LocalBot) -> None:
    local.manifests.archived = True

    seen = diagnosis(local)

    assert "archived" in found(seen, About.VISIBLE).fact
    assert not is_ready(seen)


def test_a_renamed_repository_is_named(local: LocalBot) -> None:
    local.world.rename(local.manifests, "deployments")

    seen = diagnosis(local)

    assert "acme/deploy" in found(seen, About.VISIBLE).line
    assert found(seen, About.VISIBLE).severity in {Severity.FAILURE, Severity.UNKNOWN}
    assert not is_ready(seen)


def _uncover(local: LocalBot) -> None:
    local.world.remove_from_installation(_installation(local), local.source)


def _misspell(local: LocalBot) -> None:
    file = local.manifests.git.text("show", "main:lockkeeper.yaml")
    push(local, {"lockkeeper.yaml": file.replace("acme/{application}", "acme/paiments")})


@pytest.mark.parametrize("wrong", [_uncover, _misspell])
def test_a_source_that_the_app_does_not_see_is_named_and_stops_nothing(
    local: LocalBot, wrong: Callable[[LocalBot], None]
) -> None:
    wrong(local)

    seen = diagnosis(local)

    one = found(seen, About.SOURCE)
    assert one.severity is Severity.FAILURE
    assert "payments" in one.fact
    assert "install the App" in one.remedy
    assert is_ready(seen)


def test_an_archived_source_is_named(local: LocalBot) -> None:
    local.source.archived = True

    one = found(diagnosis(local), About.SOURCE)

    assert (one.severity, one.subject) == (Severity.WARNING, "acme/payments")
    assert "archived" in one.fact
    assert "unarchive" in one.remedy


def test_a_renamed_source_is_named_with_its_new_name(local: LocalBot) -> None:
    local.world.rename(local.source, "billing")

    one = found(diagnosis(local), About.SOURCE)

    assert one.severity in {Severity.WARNING, Severity.FAILURE}
    assert "acme/payments" in one.line


def test_sources_beyond_those_that_are_asked_are_said_not_to_be_tried(local: LocalBot) -> None:
    file = local.manifests.git.text("show", "main:lockkeeper.yaml")
    many = ", ".join(f"a{number}: {{}}" for number in range(SOURCES + 1))
    push(local, {"lockkeeper.yaml": file.replace("payments: {}", many)})

    seen = [one for one in diagnosis(local).findings if one.about is About.SOURCE]

    assert len(seen) == SOURCES + 1
    (rest,) = [one for one in seen if one.severity is Severity.NOT_TRIED]
    assert (rest.subject, rest.fact) == ("acme/deploy", "1 more source is not asked about")


def test_every_failure_and_warning_says_what_to_do(local: LocalBot) -> None:
    local.world.protect(local.manifests, "main", merge_queue=True)
    local.world.restrict(local.manifests, "env/*")
    _delivered(local, 404)

    seen = diagnosis(local)

    assert len(seen.remarkable) >= 3
    assert [one.line for one in seen.findings if one.severity in REMEDY and not one.remedy] == []


def test_nothing_is_written_anywhere(local: LocalBot, tmp_path: Path) -> None:
    before = sorted(path for path in tmp_path.rglob("*") if "github" not in path.parts)

    diagnosis(local)

    assert sorted(p for p in tmp_path.rglob("*") if "github" not in p.parts) == before
    written = [(verb, path) for verb, path, _ in local.world.requests if verb != "GET"]
    assert {path.rsplit("/", 1)[-1] for _, path in written} <= {"access_tokens"}


def test_a_github_that_hangs_does_not_hold_the_diagnosis(local: LocalBot) -> None:
    release = threading.Event()
    doctor = doctor_of(Settings.read(local.settings))

    class Hanging:
        def __getattr__(self, name: str) -> Callable[..., object]:
            return lambda *_: release.wait(30)

    hurried = replace(
        doctor,
        set_up=Hanging(),  # type: ignore[arg-type]  # every method of it hangs
        looks=lambda _seconds: LooksTogether(0.2),
    )
    began = time.monotonic()

    seen = hurried()

    assert time.monotonic() - began < 5
    release.set()
    assert "no answer within" in found(seen, About.API).fact
    assert found(seen, About.DATABASE).severity is Severity.OK


def test_both_rounds_end_within_ten_seconds() -> None:
    allowed = timedelta(seconds=10 - 2).total_seconds()  # two for the process itself

    assert allowed >= FIRST_ROUND_SECONDS + SECOND_ROUND_SECONDS
