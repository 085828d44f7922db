"""The verbs that a running bot carries out: a real database, and somebody who answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bot.adapters.clock import SystemClock, pause
from bot.adapters.store import (
    MIGRATIONS,
    AuditStore,
    CommandStore,
    MemoryStore,
    migrate,
    open_database,
)
from bot.cli.main import lockkeeper
from bot.domain.memory import Hold, Scope
from tests.world.rows import PROOFS
from tests.world.stage import PIPELINE

VERBS = [
    ("status",),
    ("hold", "prod"),
    ("unhold", "prod"),
    ("adopt", "prod"),
    ("accept", "prod", "0" * 40),
    ("reseal", "prod"),
    ("resume",),
    ("retry", "deliver:1:prod:api"),
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOCKKEEPER_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.delenv("LOCKKEEPER_DATABASE_URL", raising=False)
    return tmp_path / "data"


@pytest.fixture
def commands(folder: Path) -> Iterator[CommandStore]:
    folder.mkdir()
    database = open_database(f"sqlite:///{folder / 'lockkeeper.db'}")
    migrate(database, "store", MIGRATIONS)
    yield CommandStore(database, SystemClock(), PROOFS)
    database.dispose()


def run(*arguments: str) -> Result:
    return CliRunner().invoke(lockkeeper, arguments)


def answered(commands: CommandStore, answer: Mapping[str, object], *arguments: str) -> Result:
    """Run a verb while somebody answers it."""

    def bot() -> None:
        while not (waiting := commands.open()):
            pause(0.01)
        commands.answer(waiting[0].id, json.dumps(answer), failed="error" in answer)

    thread = threading.Thread(target=bot)
    thread.start()
    try:
        return run(*arguments)
    finally:
        thread.join()


# --- the database is the bot's ---


@pytest.mark.parametrize("verb", [*VERBS, ("audit", "export")])
def test_only_serve_makes_a_database(folder: Path, verb: tuple[str, ...]) -> None:
    result = run(*verb)

    assert result.exit_code == 1
    assert (
        f"the SQLite file {folder / 'lockkeeper.db'} is no database of Lockkeeper" in result.output
    )
    assert "LOCKKEEPER_DATA_DIR" in result.output
    assert not folder.exists()


def test_a_refusal_is_json_where_json_was_asked_for(folder: Path) -> None:
    result = run("status", "--json")

    assert json.loads(result.stdout)["error"]["kind"] == "NoDatabaseError"
    assert not folder.exists()


def test_an_audit_without_entries_says_so(commands: CommandStore, folder: Path) -> None:
    assert run("audit", "export").stderr == (
        f"no audit entries in the SQLite file {folder / 'lockkeeper.db'}\n"
    )
    AuditStore(commands.database, SystemClock()).append("held", Scope(1, "prod"), {})
    assert json.loads(run("audit", "export").stdout)["kind"] == "held"
    result = run("audit", "export", "--after", "1")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "no audit entries after entry 1" in result.stderr


# --- nobody answers ---


def test_a_command_that_nobody_begins_is_withdrawn(commands: CommandStore, folder: Path) -> None:
    result = run("hold", "prod", "--wait", "0")

    assert result.exit_code == 1
    assert "The command is withdrawn and will not be carried out" in result.stderr
    assert f"in the SQLite file {folder / 'lockkeeper.db'} within 0 s" in result.stderr
    assert commands.open() == []
    assert not commands.begin(1), "a bot that starts now does not hold prod"


def test_a_command_that_a_bot_has_begun_stays(commands: CommandStore) -> None:
    def bot() -> None:
        while not (waiting := commands.open()):
            pause(0.01)
        commands.begin(waiting[0].id)

    thread = threading.Thread(target=bot)
    thread.start()
    result = run("hold", "prod", "--wait", "1")
    thread.join()

    assert "A bot has begun it: the command stays" in result.stderr
    assert [command.verb for command in commands.open()] == ["hold"]


def test_nobody_waits_for_a_command_that_is_only_left(commands: CommandStore) -> None:
    result = run("hold", "prod", "payments", "--manifests", "acme/deploy", "--no-wait")

    assert result.exit_code == 0
    assert "left as command 1 in the SQLite file" in result.output
    [left] = commands.open()
    assert left.arguments == ("acme/deploy:prod", "payments", "")


# --- answers ---

TARGET = {"manifests": "acme/deploy", "environment": "prod", "problems": {}}
STATUS = {
    "places": [
        {
            "manifests": "acme/deploy",
            "environment": "prod",
            "application": "payments",
            "image": "payments",
            "wished": "sha256:" + "1" * 64,
            "published": "sha256:" + "2" * 64,
            "state": "proposed",
            "waits_for": "1 approval of acme/sre and a merge",
            "since": "2026-11-28T08:00:00Z",
            "revoked": None,
            "sentence": "payments in prod: proposed; waits for 1 approval of acme/sre and a merge",
            "link": "https://github.example/acme/deploy/pull/7",
        }
    ],
    "problems": {"acme/other": "GitHub answered 502"},
    "jobs": [
        {
            "key": "deliver:1:prod:api",
            "state": "waiting",
            "attempts": 2,
            "due": "2026-11-28T09:00:00Z",
            "since": "2026-11-28T08:00:00Z",
            "summary": "the registry is away",
        }
    ],
    "findings": [{"line": "warning: clock: 3 s off; set it"}],
}


@pytest.mark.parametrize(
    ("verb", "answer", "words"),
    [
        (
            ("hold", "prod", "payments"),
            {**TARGET, "application": "payments", "held": True},
            (
                "acme/deploy: payments in prod is held; `lockkeeper unhold prod payments` "
                "lets it go on\n"
            ),
        ),
        (
            ("unhold", "prod"),
            {**TARGET, "application": "", "held": False, "was_held": False},
            "acme/deploy: environment prod was not held; nothing has changed\n",
        ),
        (
            ("unhold", "prod"),
            {
                **TARGET,
                "problems": {"acme/other": "GitHub answered 502"},
                "application": "",
                "held": False,
                "was_held": True,
            },
            (
                "acme/deploy: environment prod goes on\n"
                "acme/other cannot be read: GitHub answered 502\n"
            ),
        ),
        (
            ("accept", "prod", "c" * 40),
            {**TARGET, "commit": "c" * 40, "accepted": True},
            "acme/deploy: the rules of ccccccc are in force\n",
        ),
        (
            ("adopt", "prod"),
            {**TARGET, "ref": "env/prod", "adopted": ["sha256:1"]},
            "acme/deploy: env/prod: 1 digest taken over unsealed\n  sha256:1\n",
        ),
        (
            ("reseal", "prod"),
            {
                **TARGET,
                "digests": ["r/a@sha256:1", "r/b@sha256:2"],
                "written": 1,
                "left": ["r/b@sha256:2"],
                "may_leave": [],
                "warnings": [],
            },
            (
                "acme/deploy: prod: 2 published digests, 1 written\n"
                "  r/a@sha256:1\n  r/b@sha256:2\n"
                "not resealed: r/b@sha256:2\n"
            ),
        ),
        (
            ("retry", "a:1:b"),
            {"job": "a:1:b", "state": "queued"},
            "a:1:b runs again\n",
        ),
        (
            ("hold", "nowhere"),
            {"error": {"kind": "UnknownNameError", "text": "environment nowhere does not exist"}},
            "error: environment nowhere does not exist\n",
        ),
        (
            ("status",),
            STATUS,
            (
                "acme/deploy\n"
                "ENVIRONMENT  APPLICATION  IMAGE     PUBLISHED            STATE\n"
                "prod         payments     payments  sha256:222222222222  proposed\n"
                "  payments in prod: proposed; waits for 1 approval of acme/sre and a merge\n"
                "  https://github.example/acme/deploy/pull/7\n"
                "\n"
                "acme/other cannot be read: GitHub answered 502\n"
                "\n"
                "JOB                 STATE    TRIES  SINCE                 DUE\n"
                "deliver:1:prod:api  waiting  2      2026-11-28T08:00:00Z  2026-11-28T09:00:00Z\n"
                "  the registry is away\n"
                "\n"
                "warning: clock: 3 s off; set it\n"
            ),
        ),
        (
            ("status",),
            {"places": [], "problems": {}, "jobs": [], "findings": []},
            "nothing is promoted anywhere yet\n",
        ),
    ],
)
def test_answers_are_sentences_and_tables(
    commands: CommandStore, verb: tuple[str, ...], answer: Mapping[str, object], words: str
) -> None:
    result = answered(commands, answer, *verb)

    assert result.stdout == words
    assert result.exit_code == int("error" in answer)
    assert json.loads(answered(commands, answer, *verb, "--json").stdout) == answer


# --- wrong usage ---


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (("statsu",), "no such command: statsu; did you mean 'status'?"),
        (("image", "verfy"), "no such command: verfy; did you mean 'verify'?"),
        (("audit", "x"), "no such command: x; there are: export"),
        (("hold",), "Missing argument 'ENVIRONMENT'"),
        (("status", "--wat"), "--wat"),
        (("status", "--wait", "-1"), "Invalid value for '--wait'"),
    ],
)
def test_wrong_usage_names_the_nearest_right_one(typed: tuple[str, ...], words: str) -> None:
    result = run(*typed)
    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr

    as_json = run(*typed, "--json")
    assert as_json.exit_code == 2
    assert words in json.loads(as_json.stdout)["error"]["text"]
    assert words in as_json.stderr


def test_json_that_is_asked_for_wrongly_is_asked_for() -> None:
    assert "does not take a value" in run("status", "--json=yes").stdout


# --- completion ---


def offered(typed: str) -> set[str]:
    words = typed.split(" ")
    environment = {
        "_LOCKKEEPER_COMPLETE": "bash_complete",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(len(words) - 1),
    }
    result = CliRunner(env=environment).invoke(lockkeeper, prog_name="lockkeeper")
    return {line.partition(",")[2] for line in result.stdout.splitlines() if line}


def test_a_shell_offers_the_names_of_the_pipeline_file_here(folder: Path) -> None:
    (folder.parent / "lockkeeper.yaml").write_text(
        PIPELINE.format(dev="d.example", stage="s.example", prod="p.example")
    )

    assert offered("lockkeeper hold ") == {"dev", "stage", "prod"}
    assert offered("lockkeeper hold prod p") == {"payments"}
    assert {"status", "hold"} <= offered("lockkeeper ")
    assert not folder.exists()


def test_a_shell_offers_what_the_record_names_else(commands: CommandStore) -> None:
    memory = MemoryStore(commands.database, PROOFS)
    memory.record_hold(Hold(Scope(1, "prod"), "r", "ada", SystemClock().now()))

    assert offered("lockkeeper unhold ") == {"prod"}


def test_a_shell_that_finds_nothing_offers_nothing(folder: Path) -> None:
    assert offered("lockkeeper hold ") == set()
    (folder.parent / "lockkeeper.yaml").write_bytes(b"\xff: [")
    assert offered("lockkeeper hold ") == set()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_its_completion(shell: str) -> None:
    result = CliRunner(env={"_LOCKKEEPER_COMPLETE": f"{shell}_source"}).invoke(
        lockkeeper, prog_name="lockkeeper"
    )

    assert "_LOCKKEEPER_COMPLETE" in result.stdout
