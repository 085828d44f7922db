"""One manifests repository by itself: seen, installed, readable, with a pipeline file.

Source: GitHub REST API documentation, "Apps", "Repositories".
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bot.domain.doctor.app import WANTED_EVENTS, AppAnswer, lacking, listed, stops_by
from bot.domain.doctor.branches import (
    BranchRules,
    EnvironmentPlan,
    RefState,
    default_branch_findings,
    ref_findings,
)
from bot.domain.doctor.findings import (
    About,
    Finding,
    Known,
    Look,
    Severity,
    Unknown,
)


@dataclass(frozen=True, slots=True)
class Installation:
    """The App on the account of a repository."""

    id: int
    permissions: Mapping[str, str]
    events: frozenset[str]
    is_suspended: bool


@dataclass(frozen=True, slots=True)
class RepositoryState:
    """A repository as GitHub shows it to the App."""

    full_name: str
    default_branch: str
    is_archived: bool
    merge_methods: frozenset[str] | None = None
    """``merge``, ``squash``, ``rebase``; None where GitHub does not tell."""


@dataclass(frozen=True, slots=True)
class Ungranted:
    """One cause in the operator's grants, and what of a pipeline file it stops."""

    stopped: Sequence[str]
    """For people: ``environment prod``, ``application payments``."""
    problem: str
    remedy: str
    stops_all: bool
    """No environment is left that works."""


@dataclass(frozen=True, slots=True)
class PipelineState:
    """The pipeline file on the default branch."""

    found: bool
    problem: str = ""
    """Why it is not in force; empty: it is."""
    remedy: str = ""
    environments: Sequence[EnvironmentPlan] = ()
    ungranted: Sequence[Ungranted] = ()
    """What of it the operator's grants do not bear."""


@dataclass(frozen=True, slots=True)
class Member:
    """Everything that was asked about one manifests repository."""

    name: str
    installation: Look[Installation | None]
    """None: GitHub shows the App no such repository."""
    repository: Look[RepositoryState]
    fetch: Look[None]
    pipeline: Look[PipelineState]
    default_rules: Look[BranchRules]
    refs: Sequence[RefState] = ()
    visible: Look[Sequence[str]] = Known(())  # noqa: RUF009 - frozen, shared by all
    """What the App does see, for a name that may be misspelt."""


# --- one manifests repository ---


def member_findings(member: Member, app: AppAnswer) -> Iterator[Finding]:
    """One manifests repository by itself."""
    if isinstance(member.installation, Unknown):
        reason = member.installation.reason
        yield Finding(
            About.VISIBLE, member.name, member.installation.severity, reason, stops=member.name
        )
        return
    installation = member.installation.value
    if installation is None:
        yield _not_visible(member)
        return
    yield from _installed(member.name, installation, app)
    if installation.is_suspended:
        return
    yield from _repository(member)
    yield from _pipeline(member)
    yield from _rules(member, app.id)


def _not_visible(member: Member) -> Finding:
    seen = list(member.visible.value) if isinstance(member.visible, Known) else []
    near = difflib.get_close_matches(member.name.lower(), [one.lower() for one in seen], n=1)
    guess = next((one for one in seen if near and one.lower() == near[0]), "")
    remedy = (
        f"did you mean {guess} in LOCKKEEPER_MANIFESTS?"
        if guess
        else "correct LOCKKEEPER_MANIFESTS, or install the App on it"
    )
    if not guess and seen:
        remedy += f" (it is installed on {', '.join(seen[:5])})"
    fact = "GitHub shows the App no such repository: it is misspelt, or the App is not installed"
    return Finding(About.VISIBLE, member.name, Severity.FAILURE, fact, remedy, member.name)


def _installed(name: str, installation: Installation, app: AppAnswer) -> Iterator[Finding]:
    """What the App itself lacks is its own finding; here is only what was not accepted."""
    if installation.is_suspended:
        yield Finding(
            About.INSTALLED,
            name,
            Severity.FAILURE,
            "the installation of the App is suspended",
            "an owner unsuspends it in the account's settings, GitHub Apps",
            name,
        )
        return
    yield Finding(About.INSTALLED, name, Severity.OK, f"installation {installation.id}")
    own = lacking(app.permissions)
    missed = {n: level for n, level in lacking(installation.permissions).items() if n not in own}
    if missed:
        stops = stops_by(missed, name)
        yield Finding(
            About.PERMISSIONS,
            name,
            Severity.FAILURE if stops else Severity.WARNING,
            f"the installation lacks {listed(missed)}",
            "an owner accepts the App's new permissions on the installation's page",
            stops,
        )
    missing = sorted((WANTED_EVENTS & app.events) - installation.events)
    if missing:
        yield Finding(
            About.EVENTS,
            name,
            Severity.WARNING,
            f"the installation is not told of {', '.join(missing)}",
            "an owner accepts the App's new permissions and events on the installation's page",
        )


def _repository(member: Member) -> Iterator[Finding]:
    name, look = member.name, member.repository
    if isinstance(look, Unknown):
        yield Finding(About.VISIBLE, name, Severity.UNKNOWN, look.reason, stops=name)
    else:
        yield _seen(name, look.value)
        yield Finding(
            About.BRANCH, name, Severity.OK, f"default branch {look.value.default_branch}"
        )
    if isinstance(member.fetch, Unknown):
        remedy = "check LOCKKEEPER_GITHUB_URL, and whether git can reach it from here"
        look = member.fetch
        yield Finding(About.FETCH, name, look.severity, look.reason, remedy, name)
    else:
        yield Finding(About.FETCH, name, Severity.OK, "git can read it")


def _seen(name: str, state: RepositoryState) -> Finding:
    if state.is_archived:
        remedy = "unarchive it, or name another one in LOCKKEEPER_MANIFESTS"
        fact = "is archived, so nothing can be written"
        return Finding(About.VISIBLE, name, Severity.FAILURE, fact, remedy, name)
    if state.full_name.lower() != name.lower():
        remedy = f"write {state.full_name} in LOCKKEEPER_MANIFESTS"
        fact = f"is called {state.full_name} now"
        return Finding(About.VISIBLE, name, Severity.FAILURE, fact, remedy, name)
    return Finding(About.VISIBLE, name, Severity.OK, "GitHub shows it to the App")


def _pipeline(member: Member) -> Iterator[Finding]:
    name, look = member.name, member.pipeline
    if isinstance(look, Unknown):
        yield Finding(About.PIPELINE, name, Severity.UNKNOWN, look.reason)
    elif not look.value.found:
        yield Finding(
            About.PIPELINE,
            name,
            Severity.FAILURE,
            "the default branch has no lockkeeper.yaml, so nothing is promoted",
            "merge one (docs/getting-started.md); `lockkeeper config check FILE` tries it before",
            name,
        )
    elif look.value.problem:
        kept = "the newest valid version stays in force"
        fact = f"{look.value.problem} ({kept})"
        yield Finding(About.PIPELINE, name, Severity.FAILURE, fact, look.value.remedy)
    elif look.value.ungranted:
        yield from (_ungranted(name, one) for one in look.value.ungranted)
    else:
        names = ", ".join(one.name for one in look.value.environments) or "none"
        yield Finding(About.PIPELINE, name, Severity.OK, f"valid; environments: {names}")


def _ungranted(name: str, one: Ungranted) -> Finding:
    fact = f"{one.problem} (stopped: {', '.join(one.stopped)})"
    stops = name if one.stops_all else ""
    return Finding(About.PIPELINE, name, Severity.FAILURE, fact, one.remedy, stops)


def _rules(member: Member, app_id: int) -> Iterator[Finding]:
    pipeline = member.pipeline.value if isinstance(member.pipeline, Known) else None
    repository = member.repository.value if isinstance(member.repository, Known) else None
    yield from default_branch_findings(
        member.name,
        member.default_rules,
        pipeline.environments if pipeline else (),
        repository.merge_methods if repository else None,
        app_id,
    )
    for ref in member.refs:
        yield from ref_findings(member.name, ref)
