"""The repositories that applications are built from: whether the App sees their branches.

A source that the App does not see asks for no promotion, and nothing else would say so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bot.domain.doctor.findings import About, Finding, Look, Severity, Unknown
from bot.domain.doctor.members import RepositoryState


@dataclass(frozen=True, slots=True)
class SourceState:
    """One source repository, and the applications that come from it."""

    name: str
    applications: Sequence[str]
    repository: Look[RepositoryState]


@dataclass(frozen=True, slots=True)
class Sources:
    """The sources of one manifests repository; ``rest`` more were not asked about."""

    manifests: str
    asked: Sequence[SourceState]
    rest: int


def source_findings(sources: Sources) -> Iterator[Finding]:
    """Each source by itself."""
    for source in sources.asked:
        yield _source(source)
    if sources.rest:
        verb = "source is" if sources.rest == 1 else "sources are"
        fact = f"{sources.rest} more {verb} not asked about"
        yield Finding(About.SOURCE, sources.manifests, Severity.NOT_TRIED, fact)


def _source(source: SourceState) -> Finding:
    name, look, wanted = source.name, source.repository, ", ".join(source.applications)
    if isinstance(look, Unknown):
        fact = f"{look.reason}; nothing is proposed for {wanted}"
        remedy = f"install the App on it, or correct `source` of {wanted} in lockkeeper.yaml"
        return Finding(About.SOURCE, name, look.severity, fact, remedy if look.is_refusal else "")
    if look.value.is_archived:
        fact = f"is archived: no branch of it moves, so nothing is proposed for {wanted}"
        remedy = f"unarchive it, or take {wanted} out of lockkeeper.yaml"
        return Finding(About.SOURCE, name, Severity.WARNING, fact, remedy)
    if look.value.full_name.lower() != name.lower():
        fact = f"is called {look.value.full_name} now"
        remedy = f"write {look.value.full_name} as `source` of {wanted} in lockkeeper.yaml"
        return Finding(About.SOURCE, name, Severity.WARNING, fact, remedy)
    return Finding(About.SOURCE, name, Severity.OK, f"GitHub shows it to the App, for {wanted}")
