"""The grants folder: what the operator allows each environment of a manifests repository.

    <owner>/<repository>/sources                      owner/name globs, one per line
    <owner>/<repository>/<environment>/registry.json
                                       signing.key    .key, .pem or .uri; the first one signs
                                       signing.password
                                       signing.pub    its public half: a service is then asked for
                                                      signatures only
                                       signing.1.pub  older and verification-only keys: numbered
                                       attest.key     the same for attestations
                                       publication.asc, publication.password
                                                      an OpenPGP key that signs publications
                                       floor.json     what the pipeline file may not go below

With exactly one manifests repository the first two levels may be left out. Only reads, at every
call, so that a rotated key or password counts without a restart; safe in many threads. What a
file says never gets into an error or a representation.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from bot.domain.doctor.environments import GrantsFolder, GrantState
from bot.domain.doctor.findings import Known, Unknown
from bot.domain.errors import (
    ConfigurationError,
    LimitExceededError,
    LockkeeperError,
    NotGrantedError,
)
from bot.domain.grants import KeyRole

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_KEY_FILE: Final = re.compile(
    r"(?P<role>signing|attest)(?:\.(?P<number>[0-9]{1,4}))?\.(?P<kind>key|pem|uri|pub|password)"
)
_LIMIT_BYTES: Final = 1024 * 1024
_REGISTRY: Final = "registry.json"
_SOURCES: Final = "sources"
_PUBLICATION: Final = "publication.asc"
_FLOOR: Final = "floor.json"


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A key as it lies in the folder: a cosign key file, PEM, or a file with a KMS URI."""

    path: str
    content: bytes = field(repr=False)
    password: bytes = field(repr=False)
    """Empty where there is no password file beside it: a password, a PIN or a token."""
    public: bytes = b""
    """The public half beside it, if there is one."""

    @property
    def only_verifies(self) -> bool:
        """It is the public half alone."""
        return self.path.endswith(".pub")


@dataclass(frozen=True, slots=True)
class Grants:
    """The grants folder of this installation."""

    root: Path
    manifests: Sequence[str]
    """The manifests repositories, ``owner/name``."""

    def of(self, manifests: str) -> ManifestsGrant:
        """The grant of one manifests repository, ``owner/name``; without a folder it is empty.

        Raises:
            NotGrantedError: the repository is not one of ``LOCKKEEPER_MANIFESTS``.
            ConfigurationError: both layouts at once, or the flat one for several repositories.
        """
        if manifests.lower() not in (known.lower() for known in self.manifests):
            raise NotGrantedError(f"manifests repository {manifests}", "LOCKKEEPER_MANIFESTS")
        if self._is_flat():
            return ManifestsGrant(manifests, self.root)
        owner, _, name = manifests.partition("/")
        folder = _child(self.root, owner)
        return ManifestsGrant(manifests, _child(folder, name) if folder else None)

    def state(self) -> GrantsFolder:
        """The folder as it is; what cannot be read in one member is that member's."""
        return GrantsFolder(
            str(self.root),
            _is_folder(self.root),
            tuple(self._state(name) for name in self.manifests),
        )

    def _state(self, name: str) -> GrantState:
        try:
            grant = self.of(name)
            return GrantState(name, Known(grant.environments()), grant.findings())
        except LockkeeperError as error:
            return GrantState(name, Unknown(str(error), is_refusal=True))

    def _is_flat(self) -> bool:
        flat = _grants_something(self.root)
        nested = [one for owner in _folders(self.root) for one in _granted_below(owner)]
        if flat and nested:
            place = nested[0].relative_to(self.root)
            fact = f"has grants at the top and in {place}"
            raise ConfigurationError(str(self.root), None, fact, "use one of the two layouts")
        if flat and len(self.manifests) != 1:
            fact = f"has no level for the {len(self.manifests)} manifests repositories"
            remedy = "move the environments into <owner>/<repository>/"
            raise ConfigurationError(str(self.root), None, fact, remedy)
        return flat


@dataclass(frozen=True, slots=True)
class ManifestsGrant:
    """What one manifests repository's environments may use."""

    manifests: str
    folder: Path | None
    """None: nothing is granted."""

    def environments(self) -> tuple[str, ...]:
        """The environments that have a folder, sorted."""
        return tuple(found.name for found in _folders(self.folder)) if self.folder else ()

    def registry_json(self, environment: str) -> tuple[str, bytes] | None:
        """Path and content of the environment's ``registry.json``, if there is one.

        Raises:
            ConfigurationError: it cannot be read.
            LimitExceededError: it is too large.
        """
        folder = self._environment(environment)
        path = folder / _REGISTRY if folder else None
        return (str(path), _content(path)) if path and _mode(path) else None

    def floor_json(self, environment: str) -> tuple[str, bytes] | None:
        """The same of the environment's ``floor.json``."""
        folder = self._environment(environment)
        path = folder / _FLOOR if folder else None
        return (str(path), _content(path)) if path and _mode(path) else None

    def commit_key(self, environment: str) -> tuple[str, bytes, str] | None:
        """Path, content and password of ``publication.asc``, which signs publications."""
        folder = self._environment(environment)
        path = folder / _PUBLICATION if folder else None
        if path is None or not _mode(path):
            return None
        secret = path.with_suffix(".password")
        password = _content(secret).decode("utf-8", "replace").strip() if _mode(secret) else ""
        return str(path), _content(path), password

    def keys(self, environment: str, role: KeyRole) -> list[KeyFile]:
        """The keys of one role here; the first that has a private half signs, all verify.

        Raises:
            ConfigurationError: a file cannot be read, or two claim to be the first.
            LimitExceededError: a file is too large.
        """
        return self._keys(environment, role.value)

    def allows_source(self, source: str) -> bool:
        """Whether applications may come from this source repository, ``owner/name``.

        Raises:
            ConfigurationError: the list cannot be read or has a line that is not owner/name.
        """
        owner, slash, name = source.lower().partition("/")
        return bool(slash) and any(
            fnmatchcase(owner, owner_glob) and fnmatchcase(name, name_glob)
            for owner_glob, name_glob in self._sources()
        )

    def findings(self) -> list[str]:
        """What an operator should change: secrets that every user of the machine can read."""
        return [
            f"{path}: every user of this machine can read it; chmod o-r"
            for environment in self.environments()
            for path in _files(self._environment(environment))
            if not path.name.endswith(".pub") and _mode(path) & stat.S_IROTH
        ]

    def _environment(self, name: str) -> Path | None:
        # An exact name, never a path: `..` and slashes would reach another grant.
        if not _NAME.fullmatch(name):
            raise NotGrantedError(f"environment {name[:100]!r}", self.manifests)
        folder = self.folder / name if self.folder else None
        return folder if folder and _is_folder(folder) else None

    def _keys(self, environment: str, role: str) -> list[KeyFile]:
        folder = self._environment(environment)
        found: dict[tuple[int, bool], Path] = {}
        for path in _files(folder):
            match = _KEY_FILE.fullmatch(path.name)
            if path.name.startswith(f"{role}.") and not match:
                remedy = f"name it {role}.key, .pem, .uri, .pub or .password, older {role}.1.key"
                raise ConfigurationError(str(path), None, "is no key file", remedy)
            if not match or match["role"] != role or match["kind"] == "password":
                continue
            # A public half beside its own private key is no key of its own.
            place = (int(match["number"] or 0), match["kind"] == "pub")
            if place in found:
                fact = f"claims the place of {found[place].name}"
                remedy = f"give the older one a number, {role}.1.{match['kind']}"
                raise ConfigurationError(str(path), None, fact, remedy)
            found[place] = path
        private = {number for number, public in found if not public}
        return [
            _key(found[number, public], None if public else found.get((number, True)))
            for number, public in sorted(found)
            if not public or number not in private
        ]

    def _sources(self) -> Iterator[tuple[str, str]]:
        path = self.folder / _SOURCES if self.folder else None
        if path is None or not _mode(path):
            return
        text = _content(path).decode("utf-8", "replace")
        for number, line in enumerate(text.splitlines(), start=1):
            pattern = line.partition("#")[0].strip().lower()
            if not pattern:
                continue
            owner, slash, name = pattern.partition("/")
            if not (owner and slash and name) or "/" in name:
                fact = "is not an owner/name glob"
                raise ConfigurationError(str(path), number, fact, "for example acme/*")
            yield owner, name


def _granted_below(owner: Path) -> list[Path]:
    """Repositories of an owner that are granted something; whoever cannot be read says so."""
    try:
        return [one for one in _folders(owner) if _is_granted(one)]
    except ConfigurationError:
        return []


def _is_granted(repository: Path) -> bool:
    try:
        return _grants_something(repository)
    except ConfigurationError:
        return True


def _grants_something(folder: Path) -> bool:
    """Whether environments lie directly in this folder, or its list of sources."""
    return _is_file(folder / _SOURCES) or any(
        path.name == _REGISTRY or _KEY_FILE.fullmatch(path.name)
        for environment in _folders(folder)
        for path in _files(environment)
    )


def _child(folder: Path, name: str) -> Path | None:
    """The folder of this name; GitHub's names do not distinguish case."""
    found = [path for path in _folders(folder) if path.name.lower() == name.lower()]
    if len(found) > 1:
        fact = f"and {found[1].name} are the same name on GitHub"
        raise ConfigurationError(str(found[0]), None, fact, "keep one of them")
    return found[0] if found else None


def _folders(folder: Path) -> list[Path]:
    return [path for path in _entries(folder) if _is_folder(path)]


def _files(folder: Path | None) -> list[Path]:
    return [path for path in _entries(folder) if _is_file(path)] if folder else []


def _is_folder(path: Path) -> bool:
    return stat.S_ISDIR(_mode(path))


def _is_file(path: Path) -> bool:
    return stat.S_ISREG(_mode(path))


def _mode(path: Path) -> int:
    """What is there, as `stat` has it; 0: nothing. What may not be looked at is not nothing."""
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return 0
    except OSError as error:
        raise _unreadable(path, error) from error


def _entries(folder: Path) -> list[Path]:
    """What is in a folder, sorted, without Kubernetes' hidden ``..data``."""
    try:
        return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise _unreadable(folder, error) from error


def _key(path: Path, public: Path | None) -> KeyFile:
    password = path.with_suffix(".password")
    secret = _content(password).rstrip(b"\r\n") if _mode(password) else b""
    return KeyFile(str(path), _content(path), secret, _content(public) if public else b"")


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_LIMIT_BYTES + 1)
    except OSError as error:
        raise _unreadable(path, error) from error
    if len(content) > _LIMIT_BYTES:
        raise LimitExceededError(str(path), f"{_LIMIT_BYTES} bytes")
    if not content.strip():
        raise ConfigurationError(str(path), None, "is empty", "fill or remove it")
    return content


def _unreadable(path: Path, error: OSError) -> ConfigurationError:
    fact = f"cannot be read ({error.strerror})"
    # In a container the user has a number and often no name.
    remedy = f"the bot is user {os.geteuid()}: let it read this, and nobody else"
    return ConfigurationError(str(path), None, fact, remedy)
