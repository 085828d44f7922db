"""The process environment, read once.

`VARIABLES` is the whole list: a variable that starts with ``LOCKKEEPER_`` and is not in it is an
error, because a misspelt one would silently be the default. Secrets come from files
(``..._FILE``); the plain variables exist for development and are removed from the process
environment once they are read, so that no child process inherits them.
"""

from __future__ import annotations

import difflib
import os
import re
import sqlite3
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from bot.domain.errors import ConfigurationError

_PREFIX: Final = "LOCKKEEPER_"
_FILE: Final = "_FILE"
_SHORTEST_KEY: Final = 32


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable of the environment."""

    name: str
    meaning: str
    default: str
    """As a person would say it; empty: the variable is required where it is used."""
    secret: bool = False
    """Secrets are also read from the file that ``<name>_FILE`` names, which is preferred."""


VARIABLES: Final = (
    Variable("LOCKKEEPER_APP_ID", "The GitHub App's id, a number.", ""),
    Variable("LOCKKEEPER_PRIVATE_KEY", "The GitHub App's private key, PEM.", "", secret=True),
    Variable(
        "LOCKKEEPER_RECORD_KEY",
        "What proves that rows are the bot's, 32 characters or more; several, separated by commas "
        "or newlines, while one is rotated.",
        "made of the App's private key, which then cannot change without `lockkeeper resume`",
        secret=True,
    ),
    Variable(
        "LOCKKEEPER_WEBHOOK_SECRET",
        "The webhook secret; several, separated by commas or newlines, while one is rotated.",
        "",
        secret=True,
    ),
    Variable(
        "LOCKKEEPER_MANIFESTS",
        "The manifests repositories, owner/name, separated by commas, spaces or newlines.",
        "",
    ),
    Variable("LOCKKEEPER_GITHUB_URL", "Where GitHub is.", "https://github.com"),
    Variable(
        "LOCKKEEPER_GITHUB_API_URL",
        "Where GitHub's API is.",
        "https://api.github.com, or the GitHub URL with /api/v3",
    ),
    Variable(
        "LOCKKEEPER_DATABASE_URL",
        "sqlite:///FILE, or postgresql://HOST/NAME for several replicas.",
        "sqlite: lockkeeper.db in the data folder",
        secret=True,
    ),
    Variable(
        "LOCKKEEPER_DATA_DIR",
        "The folder for the SQLite file and the git mirrors.",
        "/var/lib/lockkeeper",
    ),
    Variable(
        "LOCKKEEPER_GRANTS_DIR",
        "The folder with what each environment may use: registries, keys, sources.",
        "/etc/lockkeeper/grants",
    ),
    Variable("LOCKKEEPER_LISTEN", "HOST:PORT of /webhook, and nothing else.", "0.0.0.0:8080"),
    Variable(
        "LOCKKEEPER_BOARD_LISTEN",
        "HOST:PORT of health and the board; it asks nobody who they are.",
        "127.0.0.1:8081",
    ),
    Variable(
        "LOCKKEEPER_BOARD_URL",
        "Where people reach the board, for links in pull requests and checks.",
        "no links",
    ),
    Variable(
        "LOCKKEEPER_METRICS_TOKEN",
        "What Prometheus sends to read /metrics from elsewhere, 16 characters or more.",
        "none: /metrics answers to loopback alone",
        secret=True,
    ),
    Variable(
        "LOCKKEEPER_KEV_CATALOGUE",
        "A file with CISA's catalogue of known exploited vulnerabilities, JSON.",
        "none; rules with kev are not evaluated",
    ),
    Variable(
        "LOCKKEEPER_EPSS_SCORES",
        "A file with FIRST's EPSS scores, CSV (also gzip) or JSON.",
        "none; rules with epss are not evaluated",
    ),
    Variable(
        "LOCKKEEPER_TRUSTED_ROOT",
        "A trusted_root.json of the sigstore instance whose certificates are believed.",
        "the public instance's, as the extra `keyless` brings it",
    ),
    Variable(
        "LOCKKEEPER_RECONCILE_SECONDS",
        "How often everything is looked at without a webhook.",
        "300",
    ),
    Variable(
        "LOCKKEEPER_WAIT_LIMIT_SECONDS",
        "How long a commit's image is awaited before the check says that it is missing.",
        "3600",
    ),
    Variable(
        "LOCKKEEPER_PUBLISH_INTERVAL_SECONDS",
        "The shortest time between two publications on one environment ref.",
        "20",
    ),
    Variable(
        "LOCKKEEPER_PROPOSE_INTERVAL_SECONDS",
        "The shortest time between two sets in one promotion's pull request.",
        "30",
    ),
    Variable(
        "LOCKKEEPER_OPEN_PULL_REQUESTS",
        "How many promotions may be open at once in a manifests repository.",
        "100",
    ),
    Variable(
        "LOCKKEEPER_SCANNER",
        "The program that looks for vulnerabilities: the path of trivy or grype, or trivy:PATH.",
        "none: what a policy asks about vulnerabilities is not evaluated",
    ),
    Variable("LOCKKEEPER_SCANNER_DATABASE", "The folder with the scanner's database.", ""),
    Variable("LOCKKEEPER_SCANNER_SERVER", "The URL of a Trivy server, in place of a database.", ""),
    Variable(
        "LOCKKEEPER_SCANNER_TOKEN",
        "What the Trivy server asks for; the scanner never sees it.",
        "none",
        secret=True,
    ),
    Variable(
        "LOCKKEEPER_SCANNER_CANARY",
        "A CycloneDX file with vulnerabilities that the scanner must find before it is believed.",
        "five well-known ones",
    ),
    Variable(
        "LOCKKEEPER_SCANNER_DIR",
        "The folder for images that are scanned; they are removed afterwards.",
        "the system's folder for temporary files",
    ),
    Variable(
        "LOCKKEEPER_SCANNER_CONFINEMENT",
        "`partial` believes a scanner that is not wholly kept apart, where nothing is signed.",
        "whole",
    ),
    Variable("LOCKKEEPER_SCANNER_SECONDS", "How long one run of the scanner may take.", "600"),
    Variable("LOCKKEEPER_SCANNER_MEMORY_MIB", "Memory of one run of the scanner, in MiB.", "4096"),
    Variable(
        "LOCKKEEPER_SCANNER_DATABASE_DAYS",
        "A database of the scanner that is older is not believed.",
        "7",
    ),
    Variable(
        "LOCKKEEPER_KUSTOMIZE",
        "The kustomize that renders what is to be published.",
        "none: kustomizations are not rendered",
    ),
    Variable(
        "LOCKKEEPER_HELM",
        "The Helm that renders charts of the manifests repository.",
        "none: charts are not rendered",
    ),
    Variable("LOCKKEEPER_RENDER_SECONDS", "How long rendering one root may take.", "60"),
    Variable("LOCKKEEPER_RENDER_MEMORY_MIB", "Memory of rendering one root, in MiB.", "1024"),
    Variable("LOCKKEEPER_TEST_CLOCK", "Tests only: a file with seconds to add to the clock.", ""),
    Variable("LOCKKEEPER_TEST_KILL", "Tests only: a file that names where to die.", ""),
    Variable("LOCKKEEPER_REQUIRE_TOOLS", "Tests only: a missing tool fails, it skips nothing.", ""),
)

_REPOSITORY: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,38}/(?!\.\.?$)[A-Za-z0-9._-]{1,100}")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a listener listens."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Settings:
    """What the operator set; every field is valid or absent."""

    app_id: int | None
    private_key: str | None = field(repr=False)
    record_keys: tuple[str, ...] = field(repr=False)
    """Empty: the App's private key makes one."""
    webhook_secrets: tuple[str, ...] = field(repr=False)
    manifests: tuple[str, ...]
    github_url: str
    github_api_url: str
    database_url: str = field(repr=False)
    data_dir: Path
    grants_dir: Path
    listen: Address
    board_listen: Address
    board_url: str
    """Empty: nobody said."""
    metrics_token: str | None = field(repr=False)
    """None: metrics are for this machine alone."""
    kev_catalogue: Path | None
    epss_scores: Path | None
    trusted_root: Path | None
    reconcile_seconds: int
    wait_limit_seconds: int
    publish_interval_seconds: int
    propose_interval_seconds: int
    open_pull_requests: int
    scanner: str | None
    scanner_database: Path | None
    scanner_server: str | None
    scanner_token: str | None = field(repr=False)
    scanner_canary: Path | None
    scanner_dir: Path | None
    scanner_seconds: int
    scanner_memory_mib: int
    scanner_database_days: int
    scanner_may_be_partial: bool
    """The operator wrote down that a scanner counts which is not wholly kept apart."""
    kustomize: Path | None
    helm: Path | None
    render_seconds: int
    render_memory_mib: int
    test_clock: Path | None
    test_kill: Path | None

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Settings:
        """Read and check the settings.

        Raises:
            ConfigurationError: a variable is unknown or wrong, or its file cannot be read.
        """
        _refuse_unknown(environ)
        github = _secure_url(environ, "LOCKKEEPER_GITHUB_URL", "https://github.com")
        data_dir = Path(_text(environ, "LOCKKEEPER_DATA_DIR") or "/var/lib/lockkeeper").absolute()
        return cls(
            app_id=_app_id(environ),
            private_key=_secret(environ, "LOCKKEEPER_PRIVATE_KEY"),
            record_keys=_record_keys(environ),
            webhook_secrets=_webhook_secrets(environ),
            manifests=_manifests(environ),
            github_url=github,
            github_api_url=_secure_url(environ, "LOCKKEEPER_GITHUB_API_URL", _api(github)),
            database_url=_secret(environ, "LOCKKEEPER_DATABASE_URL")
            or f"sqlite:///{data_dir / 'lockkeeper.db'}",
            data_dir=data_dir,
            grants_dir=Path(_text(environ, "LOCKKEEPER_GRANTS_DIR") or "/etc/lockkeeper/grants"),
            listen=_address(environ, "LOCKKEEPER_LISTEN", "0.0.0.0:8080"),
            board_listen=_address(environ, "LOCKKEEPER_BOARD_LISTEN", "127.0.0.1:8081"),
            board_url=_board_url(environ),
            metrics_token=_metrics_token(environ),
            kev_catalogue=_path(environ, "LOCKKEEPER_KEV_CATALOGUE"),
            epss_scores=_path(environ, "LOCKKEEPER_EPSS_SCORES"),
            trusted_root=_path(environ, "LOCKKEEPER_TRUSTED_ROOT"),
            reconcile_seconds=_seconds(environ, "LOCKKEEPER_RECONCILE_SECONDS", 300),
            wait_limit_seconds=_seconds(environ, "LOCKKEEPER_WAIT_LIMIT_SECONDS", 3600),
            publish_interval_seconds=_seconds(environ, "LOCKKEEPER_PUBLISH_INTERVAL_SECONDS", 20),
            propose_interval_seconds=_seconds(environ, "LOCKKEEPER_PROPOSE_INTERVAL_SECONDS", 30),
            open_pull_requests=_number(
                environ, "LOCKKEEPER_OPEN_PULL_REQUESTS", 100, "pull requests"
            ),
            scanner=_text(environ, "LOCKKEEPER_SCANNER"),
            scanner_database=_path(environ, "LOCKKEEPER_SCANNER_DATABASE"),
            scanner_server=_scanner_server(environ),
            scanner_token=_secret(environ, "LOCKKEEPER_SCANNER_TOKEN"),
            scanner_canary=_path(environ, "LOCKKEEPER_SCANNER_CANARY"),
            scanner_dir=_path(environ, "LOCKKEEPER_SCANNER_DIR"),
            scanner_seconds=_number(environ, "LOCKKEEPER_SCANNER_SECONDS", 600, "seconds"),
            scanner_memory_mib=_number(environ, "LOCKKEEPER_SCANNER_MEMORY_MIB", 4096, "MiB"),
            scanner_may_be_partial=_may_be_partial(environ),
            scanner_database_days=_number(environ, "LOCKKEEPER_SCANNER_DATABASE_DAYS", 7, "days"),
            kustomize=_path(environ, "LOCKKEEPER_KUSTOMIZE"),
            helm=_path(environ, "LOCKKEEPER_HELM"),
            render_seconds=_number(environ, "LOCKKEEPER_RENDER_SECONDS", 60, "seconds"),
            render_memory_mib=_number(environ, "LOCKKEEPER_RENDER_MEMORY_MIB", 1024, "MiB"),
            test_clock=_path(environ, "LOCKKEEPER_TEST_CLOCK"),
            test_kill=_path(environ, "LOCKKEEPER_TEST_KILL"),
        )

    @classmethod
    def from_process(cls) -> Settings:
        """Read this process's environment, then remove the secrets from it.

        Raises:
            ConfigurationError: as `read`, or this interpreter cannot be used.
        """
        settings = cls.read(os.environ)
        for variable in VARIABLES:
            if variable.secret:
                os.environ.pop(variable.name, None)
        reason = unusable_runtime(
            sys.version_info[:2],
            sqlite3.sqlite_version_info,
            sys.flags.optimize,
            settings.database_url,
        )
        if reason:
            raise ConfigurationError("python", None, reason)
        return settings

    def required_app_id(self) -> int:
        """The App's id.

        Raises:
            ConfigurationError: it is not set.
        """
        if self.app_id is None:
            raise _missing("LOCKKEEPER_APP_ID", "set it to the number on the App's settings page")
        return self.app_id

    def required_private_key(self) -> str:
        """The App's private key.

        Raises:
            ConfigurationError: it is not set.
        """
        if self.private_key is None:
            remedy = "name the PEM file in LOCKKEEPER_PRIVATE_KEY_FILE"
            raise _missing("LOCKKEEPER_PRIVATE_KEY", remedy)
        return self.private_key

    def required_webhook_secrets(self) -> tuple[str, ...]:
        """The webhook secrets, at least one.

        Raises:
            ConfigurationError: none is set.
        """
        if not self.webhook_secrets:
            remedy = "name the file with it in LOCKKEEPER_WEBHOOK_SECRET_FILE"
            raise _missing("LOCKKEEPER_WEBHOOK_SECRET", remedy)
        return self.webhook_secrets

    def required_manifests(self) -> tuple[str, ...]:
        """The manifests repositories, at least one.

        Raises:
            ConfigurationError: none is set.
        """
        if not self.manifests:
            raise _missing("LOCKKEEPER_MANIFESTS", "set it to owner/name")
        return self.manifests


def unusable_runtime(
    version_info: tuple[int, int],
    sqlite_version_info: tuple[int, ...],
    optimize: int,
    database_url: str,
) -> str | None:
    """Why this interpreter must not run Lockkeeper; None if it may.

    The queue asks SQLite for the rows that a statement changed (RETURNING), which 3.35 brought.
    """
    if optimize:
        return "Python's -O removes checks that libraries rely on; start without -O"
    if version_info < (3, 11):
        return "Python 3.11 or newer is needed"
    if database_url.startswith("sqlite") and sqlite_version_info < (3, 35):
        found = ".".join(str(part) for part in sqlite_version_info)
        return f"SQLite {found} cannot keep the queue; use SQLite 3.35 or newer, or PostgreSQL"
    return None


def _error(name: str, fact: str, remedy: str) -> ConfigurationError:
    return ConfigurationError(name, None, fact, remedy)


def _missing(name: str, remedy: str) -> ConfigurationError:
    return _error(name, "is not set", remedy)


def callers_environment() -> dict[str, str]:
    """Every variable of a person at a terminal: for their files and helpers, as docker finds them.

    The bot's own settings are `Settings` alone.
    """
    return dict(os.environ)


def _refuse_unknown(environ: Mapping[str, str]) -> None:
    known = [variable.name for variable in VARIABLES]
    known += [variable.name + _FILE for variable in VARIABLES if variable.secret]
    for name in sorted(environ):
        if name.startswith(_PREFIX) and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            remedy = f"did you mean {near[0]}?" if near else "remove it"
            raise _error(name, "is not a setting of Lockkeeper", remedy)


def _text(environ: Mapping[str, str], name: str) -> str | None:
    """The value; None where it is not set, an error where it is set to nothing."""
    value = environ.get(name)
    if value is None:
        return None
    if not value.strip():
        raise _error(name, "is empty", "set a value or remove the variable")
    return value.strip()


def _may_be_partial(environ: Mapping[str, str]) -> bool:
    name = "LOCKKEEPER_SCANNER_CONFINEMENT"
    value = _text(environ, name) or "whole"
    if value not in {"whole", "partial"}:
        raise _error(name, f"is {value!r}", "write whole or partial")
    return value == "partial"


def _secret(environ: Mapping[str, str], name: str) -> str | None:
    file = _text(environ, name + _FILE)
    if file is None:
        return _text(environ, name)
    try:
        value = Path(file).read_text(encoding="utf-8").strip()
    except OSError as error:
        fact = f"{file} cannot be read ({error.strerror})"
        raise _error(name + _FILE, fact, "check the name and the permissions") from error
    except UnicodeDecodeError:
        # Without the cause: it holds the bytes that could not be decoded.
        raise _error(name + _FILE, f"{file} is not text", "write it as UTF-8") from None
    if not value:
        raise _error(name + _FILE, f"{file} is empty", "write the secret into it")
    return value


def _app_id(environ: Mapping[str, str]) -> int | None:
    value = _text(environ, "LOCKKEEPER_APP_ID")
    if value is None:
        return None
    if not re.fullmatch(r"[1-9][0-9]{0,17}", value):
        fact = f"is {value!r}, not a number"
        raise _error("LOCKKEEPER_APP_ID", fact, "take the number on the App's settings page")
    return int(value)


def _webhook_secrets(environ: Mapping[str, str]) -> tuple[str, ...]:
    value = _secret(environ, "LOCKKEEPER_WEBHOOK_SECRET") or ""
    return tuple(part.strip() for part in re.split(r"[,\n]", value) if part.strip())


def _record_keys(environ: Mapping[str, str]) -> tuple[str, ...]:
    value = _secret(environ, "LOCKKEEPER_RECORD_KEY") or ""
    found = tuple(part.strip() for part in re.split(r"[,\n]", value) if part.strip())
    if any(len(one) < _SHORTEST_KEY for one in found):
        fact = f"has a key of fewer than {_SHORTEST_KEY} characters"
        raise _error("LOCKKEEPER_RECORD_KEY", fact, "make one with openssl rand -hex 32")
    return found


def _manifests(environ: Mapping[str, str]) -> tuple[str, ...]:
    names = re.split(r"[\s,]+", _text(environ, "LOCKKEEPER_MANIFESTS") or "")
    found: dict[str, str] = {}
    for name in filter(None, names):
        if not _REPOSITORY.fullmatch(name):
            raise _error("LOCKKEEPER_MANIFESTS", f"has {name!r}", "write owner/name")
        # GitHub's names do not distinguish case.
        found.setdefault(name.lower(), name)
    return tuple(found.values())


def _url(environ: Mapping[str, str], name: str, default: str) -> str:
    value = _text(environ, name) or default
    parts = urlsplit(value)
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise _error(name, "is not an http(s) URL", f"for example {default}")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise _error(name, "has more than host and path", f"for example {default}")
    return value.rstrip("/")


def _secure_url(environ: Mapping[str, str], name: str, default: str) -> str:
    """A URL that tokens are sent to: encrypted, unless it never leaves this machine."""
    value = _url(environ, name, default)
    parts = urlsplit(value)
    if parts.scheme == "http" and not _is_this_machine(parts.hostname or ""):
        raise _error(name, "is not encrypted, and tokens go there", f"for example {default}")
    return value


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _board_url(environ: Mapping[str, str]) -> str:
    name = "LOCKKEEPER_BOARD_URL"
    return _url(environ, name, "https://lockkeeper.example.com") if name in environ else ""


def _metrics_token(environ: Mapping[str, str]) -> str | None:
    value = _secret(environ, "LOCKKEEPER_METRICS_TOKEN")
    if value is not None and not re.fullmatch(r"[!-~]{16,}", value):
        fact = "is shorter than 16 characters, or not one word of ASCII"
        raise _error("LOCKKEEPER_METRICS_TOKEN", fact, "make one with openssl rand -hex 32")
    return value


def _scanner_server(environ: Mapping[str, str]) -> str | None:
    name = "LOCKKEEPER_SCANNER_SERVER"
    return _url(environ, name, "https://trivy.example.com") if name in environ else None


def _api(github: str) -> str:
    return "https://api.github.com" if github == "https://github.com" else f"{github}/api/v3"


def _address(environ: Mapping[str, str], name: str, default: str) -> Address:
    value = _text(environ, name) or default
    found = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([^:\[\]\s/]+)):([0-9]{1,5})", value)
    if not found or int(found[3]) > 65535:  # noqa: PLR2004 - the largest TCP port
        raise _error(name, f"is {value!r}", f"write HOST:PORT, for example {default}")
    return Address(found[1] or found[2], int(found[3]))


def _seconds(environ: Mapping[str, str], name: str, default: int) -> int:
    return _number(environ, name, default, "seconds")


def _number(environ: Mapping[str, str], name: str, default: int, unit: str) -> int:
    value = _text(environ, name)
    if value is None:
        return default
    if not re.fullmatch(r"[1-9][0-9]{0,7}", value):
        raise _error(name, f"is {value!r}", f"write whole {unit} from 1, for example {default}")
    return int(value)


def _path(environ: Mapping[str, str], name: str) -> Path | None:
    value = _text(environ, name)
    return None if value is None else Path(value)


def process_environment() -> Mapping[str, str]:
    """What the process was started with: for the download that needs its proxy."""
    return dict(os.environ)
