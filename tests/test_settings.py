from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bot.domain.errors import ConfigurationError
from bot.settings import VARIABLES, Address, Settings, unusable_runtime

KEY = "-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----"


def test_defaults_need_no_variable() -> None:
    settings = Settings.read({"PATH": "/usr/bin"})

    assert settings.github_url == "https://github.com"
    assert settings.github_api_url == "https://api.github.com"
    assert settings.database_url == "sqlite:////var/lib/lockkeeper/lockkeeper.db"
    assert settings.listen == Address("0.0.0.0", 8080)  # noqa: S104 - the documented default
    assert settings.board_listen == Address("127.0.0.1", 8081)
    assert (settings.app_id, settings.private_key, settings.webhook_secrets) == (None, None, ())
    assert settings.reconcile_seconds == 300


def test_everything_can_be_set(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text(KEY + "\n")
    settings = Settings.read(
        {
            "LOCKKEEPER_APP_ID": "42",
            "LOCKKEEPER_PRIVATE_KEY_FILE": str(tmp_path / "key.pem"),
            "LOCKKEEPER_PRIVATE_KEY": "the file wins",
            "LOCKKEEPER_WEBHOOK_SECRET": "new, old\nolder",
            "LOCKKEEPER_MANIFESTS": "acme/manifests, Acme/Manifests acme/.github",
            "LOCKKEEPER_GITHUB_URL": "https://github.example.com/",
            "LOCKKEEPER_DATA_DIR": "/data",
            "LOCKKEEPER_LISTEN": "[::1]:80",
            "LOCKKEEPER_PUBLISH_INTERVAL_SECONDS": "5",
            "LOCKKEEPER_PROPOSE_INTERVAL_SECONDS": "7",
            "LOCKKEEPER_OPEN_PULL_REQUESTS": "40",
        }
    )

    assert settings.required_app_id() == 42
    assert settings.required_private_key() == KEY
    assert settings.required_webhook_secrets() == ("new", "old", "older")
    assert settings.required_manifests() == ("acme/manifests", "acme/.github")
    assert settings.github_api_url == "https://github.example.com/api/v3"
    assert settings.database_url == "sqlite:////data/lockkeeper.db"
    assert str(settings.listen) == "[::1]:80"
    assert settings.publish_interval_seconds == 5
    assert (settings.propose_interval_seconds, settings.open_pull_requests) == (7, 40)


def test_a_scanner_is_set(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("hunter2\n")

    settings = Settings.read(
        {
            "LOCKKEEPER_SCANNER": "trivy:/opt/scanner",
            "LOCKKEEPER_SCANNER_SERVER": "https://trivy.example.com/",
            "LOCKKEEPER_SCANNER_TOKEN_FILE": str(tmp_path / "token"),
            "LOCKKEEPER_SCANNER_DIR": "/scans",
            "LOCKKEEPER_SCANNER_SECONDS": "60",
        }
    )

    assert settings.scanner == "trivy:/opt/scanner"
    assert settings.scanner_server == "https://trivy.example.com"
    assert settings.scanner_token == "hunter2"  # noqa: S105 - of this test
    assert settings.scanner_dir == Path("/scans")
    assert settings.scanner_database is None
    assert (settings.scanner_seconds, settings.scanner_memory_mib) == (60, 4096)
    assert "hunter2" not in repr(settings)


def test_secrets_are_not_shown() -> None:
    settings = Settings.read(
        {
            "LOCKKEEPER_PRIVATE_KEY": KEY,
            "LOCKKEEPER_WEBHOOK_SECRET": "hunter2",
            "LOCKKEEPER_DATABASE_URL": "postgresql://u:hunter2@db/x",
        }
    )

    assert "hunter2" not in repr(settings)
    assert "abc" not in repr(settings)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LOCKKEEPER_APP_ID", "my-app"),
        ("LOCKKEEPER_APP_ID", " "),
        ("LOCKKEEPER_MANIFESTS", "manifests"),
        ("LOCKKEEPER_MANIFESTS", "acme/../x"),
        ("LOCKKEEPER_GITHUB_URL", "github.com"),
        ("LOCKKEEPER_GITHUB_URL", "http://github.example.com"),
        ("LOCKKEEPER_GITHUB_API_URL", "http://api.github.example.com"),
        ("LOCKKEEPER_GITHUB_URL", "http://127.0.0.1.example.com"),
        ("LOCKKEEPER_GITHUB_URL", "https://user@github.com"),
        ("LOCKKEEPER_LISTEN", "8080"),
        ("LOCKKEEPER_LISTEN", "host:99999"),
        ("LOCKKEEPER_RECONCILE_SECONDS", "0"),
        ("LOCKKEEPER_RECONCILE_SECONDS", "5m"),
        ("LOCKKEEPER_WEBHOOK_SECRET", ""),
        ("LOCKKEEPER_SCANNER_SERVER", "trivy:4954"),
        ("LOCKKEEPER_SCANNER_MEMORY_MIB", "4G"),
        ("LOCKKEEPER_SCANNER_DATABASE_DAYS", "0"),
    ],
)
def test_an_error_names_the_variable_and_a_remedy(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        Settings.read({name: value})

    assert refused.value.file == name
    assert refused.value.remedy


def test_a_misspelt_variable_is_an_error_with_the_nearest_name() -> None:
    with pytest.raises(ConfigurationError, match="did you mean LOCKKEEPER_WEBHOOK_SECRET_FILE"):
        Settings.read({"LOCKKEEPER_WEBHOOK_SECRETS_FILE": "x"})


@pytest.mark.parametrize("content", [None, b"", b"\n", b"\xff\xfe"])
def test_a_secret_file_must_hold_a_secret(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(ConfigurationError) as refused:
        Settings.read({"LOCKKEEPER_WEBHOOK_SECRET_FILE": str(file)})

    assert refused.value.file == "LOCKKEEPER_WEBHOOK_SECRET_FILE"


@pytest.mark.parametrize(
    "required",
    [
        Settings.required_app_id,
        Settings.required_private_key,
        Settings.required_webhook_secrets,
        Settings.required_manifests,
    ],
)
def test_what_is_required_is_asked_for_by_name(required: object) -> None:
    assert callable(required)
    with pytest.raises(ConfigurationError, match=r"LOCKKEEPER_.* is not set"):
        required(Settings.read({}))


def test_secrets_leave_the_environment_of_the_process(tmp_path: Path) -> None:
    script = (
        "import os; from bot.settings import Settings; s = Settings.from_process();"
        " assert s.webhook_secrets == ('hunter2',); assert s.private_key == 'k';"
        " print(sorted(n for n in os.environ if n.startswith('LOCKKEEPER_')))"
    )
    given = {
        **os.environ,
        "LOCKKEEPER_WEBHOOK_SECRET": "hunter2",
        "LOCKKEEPER_PRIVATE_KEY": "k",
        "LOCKKEEPER_DATA_DIR": str(tmp_path),
    }
    given.pop("LOCKKEEPER_REQUIRE_TOOLS", None)

    ran = subprocess.run(
        [sys.executable, "-c", script], env=given, capture_output=True, text=True, check=True
    )

    assert ran.stdout.strip() == "['LOCKKEEPER_DATA_DIR']"


@pytest.mark.parametrize(
    ("python", "sqlite", "optimize", "url", "part"),
    [
        ((3, 11), (3, 40, 1), 0, "sqlite:///x", None),
        ((3, 13), (3, 46, 1), 0, "sqlite:///x", None),
        ((3, 12), (3, 40, 1), 0, "sqlite:///x", None),
        ((3, 12), (3, 34, 1), 0, "postgresql://x", None),
        ((3, 11), (3, 34, 1), 0, "sqlite:///x", "SQLite 3.34.1"),
        ((3, 10), (3, 46, 0), 0, "postgresql://x", "3.11"),
        ((3, 11), (3, 40, 1), 1, "sqlite:///x", "-O"),
    ],
)
def test_interpreters_that_cannot_run_lockkeeper_are_told_why(
    python: tuple[int, int], sqlite: tuple[int, ...], optimize: int, url: str, part: str | None
) -> None:
    reason = unusable_runtime(python, sqlite, optimize, url)

    assert reason is None if part is None else part in (reason or "")


def test_every_variable_is_described_once() -> None:
    names = [variable.name for variable in VARIABLES]

    assert len(names) == len(set(names))
    assert all(variable.meaning for variable in VARIABLES)
