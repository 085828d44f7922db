"""What a process of one role has, and what it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from bot.adapters.engine import MIGRATIONS
from bot.adapters.engine.rows import JobRows
from bot.adapters.store import migrate, open_database
from bot.assembly import assemble, assemble_web, hiding
from bot.cli.main import lockkeeper
from bot.domain.errors import ConfigurationError
from bot.domain.jobs import DELIVERING, EVERYTHING, Job, JobKind, Share
from bot.domain.memory import Scope, SeenHead
from bot.formats.markdown import plain, prose, text
from bot.settings import Settings

pytest_plugins = ["tests.world.postgres"]

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
PROD = frozenset({"prod"})
JOBS = [
    Job(kind, 7, environment, "payments")
    for kind in (JobKind.PROPOSE, JobKind.DELIVER, JobKind.PUBLISH)
    for environment in ("stage", "prod")
]


@pytest.fixture(params=["sqlite", "postgresql"])
def rows(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[JobRows]:
    url = f"sqlite:///{tmp_path / 'jobs.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")
    database = open_database(url)
    migrate(database, "engine", MIGRATIONS)
    yield JobRows(database, "one")
    database.dispose()


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (EVERYTHING, {f"{job.kind} {job.environment}" for job in JOBS}),
        (Share(DELIVERING, PROD, only=True), {"deliver prod", "publish prod"}),
        (
            Share(environments=PROD),
            {"propose stage", "propose prod", "deliver stage", "publish stage"},
        ),
        (Share(DELIVERING, frozenset({"none"}), only=True), set()),
    ],
)
def test_a_process_claims_its_share(rows: JobRows, share: Share, expected: set[str]) -> None:
    for job in JOBS:
        rows.put(job, NOW)

    runs = rows.claim(share.kinds, 100, share)

    assert {f"{run.job.kind} {run.job.environment}" for run in runs} == expected


@pytest.mark.parametrize("name", ["", " ", "none", "prod/../stage"])
def test_what_no_environment_is_called_is_claimed_by_who_does_the_rest(
    rows: JobRows, name: str
) -> None:
    rows.put(Job(JobKind.DELIVER, 7, name, "payments"), NOW)

    assert rows.claim(DELIVERING, 100, Share(DELIVERING, PROD, only=True)) == []
    assert len(rows.claim(DELIVERING, 100, Share(environments=PROD))) == 1


@pytest.mark.parametrize(
    ("share", "prod", "stage"),
    [
        (EVERYTHING, True, True),
        (Share(DELIVERING, PROD, only=True), True, False),
        (Share(environments=PROD), False, True),
        (Share(kinds=()), False, False),
    ],
)
def test_only_who_delivers_there_needs_private_keys(
    share: Share,
    prod: bool,  # noqa: FBT001 - a table
    stage: bool,  # noqa: FBT001 - a table
) -> None:
    assert (share.delivers("prod"), share.delivers("stage")) == (prod, stage)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--environments", "prod"),
        ("--role", "web", "--environments", "prod"),
        ("--role", "web", "--except-environments", "prod"),
        ("--role", "worker", "--environments", "prod", "--except-environments", "stage"),
    ],
)
def test_environments_are_for_a_worker(arguments: tuple[str, ...]) -> None:
    result = CliRunner().invoke(lockkeeper, ["serve", *arguments])

    assert result.exit_code == 2
    assert "for --role worker" in result.output


# --- the process that strangers reach ---


def settings(folder: Path, **more: str) -> Settings:
    """What the web role is given: no private key, and a grants folder that is not there."""
    return Settings.read(
        {
            "LOCKKEEPER_APP_ID": "4242",
            "LOCKKEEPER_WEBHOOK_SECRET": "secret",
            "LOCKKEEPER_MANIFESTS": "acme/deploy",
            "LOCKKEEPER_DATA_DIR": str(folder / "data"),
            "LOCKKEEPER_GRANTS_DIR": str(folder / "nothing"),
            **more,
        }
    )


def test_the_web_role_is_put_together_without_the_apps_key_and_grants(tmp_path: Path) -> None:
    web = assemble_web(settings(tmp_path))

    web.memory.record_seen([SeenHead("acme/payments", "main", "a" * 40, followed=True)])
    known = {
        name: web.knows("push", name)
        for name in ("acme/deploy", "Acme/Deploy", "ACME/payments", "evil/payments", "", "x")
    }
    web.database.dispose()

    assert known == {
        "acme/deploy": True,
        "Acme/Deploy": True,
        "ACME/payments": True,
        "evil/payments": False,
        "": False,
        "x": False,
    }


def test_a_worker_needs_the_apps_key(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="LOCKKEEPER_PRIVATE_KEY"):
        assemble(settings(tmp_path))


def test_what_the_web_role_writes_proves_nothing(tmp_path: Path) -> None:
    web = assemble_web(settings(tmp_path))
    with web.database.begin() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO lk_adoption (manifests, environment, application, digest, actor, at)"
                " VALUES (7, 'prod', '', 'sha256:e', 'web', '2026-11-20T12:00:00+00:00')"
            )
        )

    assert web.memory.proofs.keys == ()
    assert web.memory.adoptions(Scope(7, "prod")) == []
    web.database.dispose()


def test_a_short_record_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="fewer than 32"):
        settings(tmp_path, LOCKKEEPER_RECORD_KEY="short")


# --- what strangers are told ---


@pytest.mark.parametrize("render", [plain, prose, text])
def test_no_folder_of_the_operator_is_told(
    tmp_path: Path, render: Callable[[str, int], str]
) -> None:
    folder = tmp_path / "et_c*x" / "grants"
    own = settings(tmp_path, LOCKKEEPER_GRANTS_DIR=str(folder))

    said = hiding(own)(render(f"{folder}/acme/deploy/prod/signing.key cannot be read", 500))

    assert "et" not in said.partition("LOCKKEEPER")[0]
    assert "grants" not in said
    assert "GRANTS" in said
    assert hiding(own)(str(own.data_dir / "mirrors")) == "LOCKKEEPER_DATA_DIR/mirrors"
