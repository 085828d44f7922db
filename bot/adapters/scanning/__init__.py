"""Scanners of images, and what renders manifests, kept away from everything else.

Without a scanner every rule on vulnerabilities is *not evaluated*, without kustomize and Helm what
they would put together is *not rendered*; nothing is taken for clean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path

from bot.adapters.scanning.grype import Grype
from bot.adapters.scanning.hardening import harden
from bot.adapters.scanning.renderer import ConfinedRenderer
from bot.adapters.scanning.renewal import Renewed, renew, source_of
from bot.adapters.scanning.sandbox import Confinement, Limits, Sandbox
from bot.adapters.scanning.scanner import DEFAULT_CANARY, Canary, ConfinedScanner
from bot.adapters.scanning.tools import Tool
from bot.adapters.scanning.trivy import Trivy
from bot.adapters.scanning.trivy_server import Gate, TrivyServer
from bot.domain.errors import ConfigurationError
from bot.domain.rendering import RenderTool
from bot.ports.clock import Clock

__all__ = [
    "ConfinedRenderer",
    "ConfinedScanner",
    "Confinement",
    "harden",
    "renderer_of",
    "renewal_of",
    "scanner_of",
]

_KINDS = ("trivy", "grype")
_SETTING = "LOCKKEEPER_SCANNER"


def scanner_of(
    program: str | None,
    *,
    clock: Clock,
    database: Path | None = None,
    server: str | None = None,
    token: str | None = None,
    canary: Path | None = None,
    directory: Path | None = None,
    seconds: int = 600,
    memory_mib: int = 4096,
    database_days: int = 7,
) -> ConfinedScanner | None:
    """The scanner that the operator has set; None: none.

    Args:
        program: the path of trivy or grype; ``trivy:PATH`` where the name does not say which.
        clock: for the age of the database.
        database: its folder, as ``trivy --cache-dir`` or ``GRYPE_DB_CACHE_DIR`` name it.
        server: the URL of a Trivy server that has the database instead.
        token: what that server asks for; the scanner never sees it.
        canary: a CycloneDX file with vulnerabilities that must be found; ours without.
        directory: where layouts and temporary files go; the system's folder for those without.
        seconds: by the clock on the wall, for one run.
        memory_mib: for one run.
        database_days: a database beyond this age is not believed.

    Raises:
        ConfigurationError: the settings contradict each other, or the canary is none.
    """
    if program is None:
        if database or server:
            raise ConfigurationError(_SETTING, None, "is not set", "name the scanner's program")
        return None
    kind, path = _kind_of(program)
    limits = Limits(seconds=seconds, memory=memory_mib * 2**20)
    return ConfinedScanner(
        _tool_of(kind, database, server, token),
        Sandbox(path, limits=limits, directory=directory),
        canary=Canary.read(canary or DEFAULT_CANARY),
        clock=clock,
        oldest=timedelta(days=database_days),
    )


def renderer_of(
    *,
    kustomize: Path | None = None,
    helm: Path | None = None,
    directory: Path | None = None,
    seconds: int = 60,
    memory_mib: int = 1024,
) -> ConfinedRenderer | None:
    """What renders manifests, as far as the operator has set it; None: nothing.

    Args:
        kustomize: its executable.
        helm: its executable.
        directory: where files are laid out; the system's folder for temporary files without.
        seconds: by the clock on the wall, for one root.
        memory_mib: for one root.
    """
    named = {RenderTool.KUSTOMIZE: kustomize, RenderTool.HELM: helm}
    tools = {tool: path.absolute() for tool, path in named.items() if path is not None}
    if not tools:
        return None
    return ConfinedRenderer(tools, seconds=seconds, memory_mib=memory_mib, directory=directory)


def renewal_of(
    program: str,
    database: Path,
    *,
    clock: Clock,
    environment: Mapping[str, str],
    mirrors: Sequence[str] = (),
    java: bool = False,
    canary: Path | None = None,
) -> Renewed:
    """Renew a scanner's database while it is in use; see `bot.adapters.scanning.renewal`.

    Raises:
        ConfigurationError: the program is no known scanner.
        UnavailableError: there is none to be had, or none that counts; the old one stays.
    """
    kind, path = _kind_of(program)

    def scanner_with(folder: Path) -> ConfinedScanner:
        found = scanner_of(program, clock=clock, database=folder, canary=canary)
        if found is None:
            raise ConfigurationError(_SETTING, None, "is not set", "name the scanner's program")
        return found

    is_kept = (database / "java-db").is_dir()
    source = source_of(path, is_grype=kind == "grype", mirrors=mirrors, java=java or is_kept)
    return renew(source, database, scanner_with, environment)


def _kind_of(program: str) -> tuple[str, Path]:
    prefix, colon, rest = program.partition(":")
    if colon and prefix in _KINDS:
        return prefix, Path(rest).absolute()
    path = Path(program).absolute()
    found = next((kind for kind in _KINDS if kind in path.name), None)
    if found is None:
        remedy = "write trivy:PATH or grype:PATH"
        raise ConfigurationError(_SETTING, None, f"{path.name} is no known scanner", remedy)
    return found, path


def _tool_of(kind: str, database: Path | None, server: str | None, token: str | None) -> Tool:
    if (database is None) == (server is None):
        fact = "needs a database or a server" + (", not both" if database else "")
        remedy = "set LOCKKEEPER_SCANNER_DATABASE or LOCKKEEPER_SCANNER_SERVER"
        raise ConfigurationError(_SETTING, None, fact, remedy)
    if database is not None:
        return Trivy(database.absolute()) if kind == "trivy" else Grype(database.absolute())
    if kind != "trivy" or server is None:
        remedy = "set LOCKKEEPER_SCANNER_DATABASE"
        raise ConfigurationError(_SETTING, None, f"{kind} knows no server", remedy)
    return TrivyServer(Gate(server, token))
