"""SLSA provenance 0.2 and 1: from which commit, where and by what an image was built.

Sources: slsa.dev/spec/v1.0/provenance and v0.2, actions/attest-build-provenance, BuildKit's
docs/attestations/slsa-provenance.md. What is stated is a claim: who vouches for it is asked
before.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from bot.formats.json_document import decoded
from bot.formats.lax_document import Lax, Text

PROVENANCE: Final = "https://slsa.dev/provenance"
_COMMIT: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_URI: Final = re.compile(
    r"(?:git\+)?(?:https?://|ssh://)?(?:[A-Za-z0-9_-]+@)?"
    r"[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+(?::[0-9]+)?[/:]"
    r"([A-Za-z0-9-]+/[A-Za-z0-9._-]+?)(?:\.git)?(?:[@#].*)?"
)
# As GitHub Actions names a run: in SLSA 1 the invocation, in BuildKit's statements the builder.
_RUN: Final = re.compile(
    r"https://[^/]+/[^/]+/[^/]+/actions/runs/([0-9]{1,19})(?:/attempts/[0-9]+)?"
)
_BUILDKIT: Final = "https://mobyproject.org/buildkit@v1#metadata"


class _Material(Lax):
    uri: Text = None
    digest: dict[str, str] | None = None


class _Builder(Lax):
    id: Text = None


class _Version(Lax):
    """BuildKit's word on the checkout that it built from: ``vcs``."""

    revision: Text = None
    source: Text = None


class _BuildKit(Lax):
    vcs: _Version | None = None


class _Metadata(Lax):
    moby: _BuildKit | None = msgspec.field(default=None, name=_BUILDKIT)
    buildkit_metadata: _BuildKit | None = None
    invocationId: Text = None  # noqa: N815 - SLSA's name


class _Definition(Lax):
    resolvedDependencies: list[_Material] | None = None  # noqa: N815 - SLSA's name


class _Run(Lax):
    builder: _Builder | None = None
    metadata: _Metadata | None = None


class _One(Lax):
    buildDefinition: _Definition  # noqa: N815 - SLSA's name
    runDetails: _Run  # noqa: N815 - SLSA's name


class _Invocation(Lax):
    configSource: _Material | None = None  # noqa: N815 - SLSA's name


class _Old(Lax):
    builder: _Builder | None = None
    invocation: _Invocation | None = None
    materials: list[_Material] | None = None
    metadata: _Metadata | None = None


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where an image comes from, as somebody states."""

    builder: str
    """The URI of what built it; empty where it does not say."""
    repository: str
    """``owner/name`` of the source; empty where it does not say."""
    commit: str
    """The full commit id; empty where it does not say."""
    run: str = ""
    """The number of the run of GitHub Actions that built it; empty where it does not say."""


def read_provenance(predicate: bytes, file: str) -> Provenance:
    """The predicate of a provenance statement.

    Raises:
        UnreadableEvidenceError: It is none of SLSA's versions; the defect.
    """
    keys = decoded(predicate, dict[str, Any], file, "SLSA provenance")
    if "buildDefinition" in keys:
        one = decoded(predicate, _One, file, "SLSA provenance 1")
        builder, metadata = one.runDetails.builder, one.runDetails.metadata
        materials = one.buildDefinition.resolvedDependencies or []
    else:
        old = decoded(predicate, _Old, file, "SLSA provenance 0.2")
        builder, metadata = old.builder, old.metadata
        config = old.invocation.configSource if old.invocation else None
        materials = [*([config] if config else []), *(old.materials or [])]
    repository, commit = next(_sources(materials, metadata), ("", ""))
    who = (builder.id if builder else None) or ""
    return Provenance(who, repository, commit, _run(who, metadata))


def _run(builder: str, metadata: _Metadata | None) -> str:
    named = ((metadata.invocationId if metadata else None) or "", builder)
    return next((found[1] for one in named if (found := _RUN.fullmatch(one))), "")


def _sources(materials: list[_Material], metadata: _Metadata | None) -> Iterator[tuple[str, str]]:
    """Repository and commit of everything that comes from git, the nearest first."""
    buildkit = (metadata.moby or metadata.buildkit_metadata) if metadata else None
    if buildkit and buildkit.vcs and _COMMIT.fullmatch(buildkit.vcs.revision or ""):
        yield _repository(buildkit.vcs.source or ""), buildkit.vcs.revision or ""
    for material in materials:
        digest = material.digest or {}
        commit = digest.get("gitCommit") or digest.get("sha1") or ""
        if _COMMIT.fullmatch(commit):
            yield _repository(material.uri or ""), commit


def _repository(uri: str) -> str:
    found = _URI.fullmatch(uri)
    return found[1] if found else ""
