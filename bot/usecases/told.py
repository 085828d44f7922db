"""Telling people where they look: checks on commits, one comment, the deployment timeline."""

from __future__ import annotations

from bot.domain.assessment import Assessment
from bot.domain.environments import Application, Environment, GitHubRepository
from bot.domain.errors import NotFoundError, RejectedError
from bot.domain.history import Check, CheckState, DeploymentReport
from bot.domain.policy import Result
from bot.formats.check_output import verdict_changed
from bot.formats.markdown import plain
from bot.formats.pull_request_body import authored
from bot.usecases.desk import View

MANIFESTS_CHECK = "lockkeeper"
"""The check on every pull request of the manifests repository; made to be required."""
COMMENT_MARKER = "<!-- lockkeeper:promotion-report -->"


def tell_source(
    view: View,
    application: Application,
    environment: Environment,
    commits: list[str],
    state: CheckState,
    title: str,
    summary: str,
) -> None:
    """Set the check ``lockkeeper: <application> -> <environment>`` on source commits."""
    name = f"lockkeeper: {application.name} -> {environment.name}"
    for commit in dict.fromkeys(commits):
        check = Check(name, commit, state, plain(title), summary)
        _unless_gone(view, application.source, check)


def _unless_gone(view: View, repository: GitHubRepository, check: Check) -> None:
    """A commit that a force push took away has nobody who reads its check."""
    try:
        view.ports.github.set_check(repository, check)
    except NotFoundError:
        return


def tell_commit(
    view: View, commit: str, state: CheckState, title: str, summary: str, details: str = ""
) -> None:
    """Set the check ``lockkeeper`` on a commit of the manifests repository."""
    check = Check(MANIFESTS_CHECK, commit, state, plain(title), summary, details)
    view.ports.github.set_check(view.repository, check)


def tell_merge(
    view: View,
    environment: Environment,
    commit: str,
    state: CheckState,
    title: str,
    summary: str,
    *,
    application: Application | None = None,
) -> None:
    """Set the check of an environment on a commit of the default branch: how far it came.

    ``lockkeeper: <application> -> <environment>`` is its delivery, ``lockkeeper: <environment>``
    its publication. They stand beside the check that judges the commit's rules (`tell_commit`):
    what waits never hides what was refused.
    """
    subject = f"{application.name} -> {environment.name}" if application else environment.name
    check = Check(f"{MANIFESTS_CHECK}: {subject}", commit, state, plain(title), summary)
    _unless_gone(view, view.repository, check)


def tell_deployment(
    view: View,
    application: Application,
    environment: Environment,
    commit: str,
    state: str,
    description: str,
) -> None:
    """Put a line on the source commit's timeline; a refusal never fails a promotion."""
    several = len(view.pipeline.applications_of(application.source)) > 1
    name = f"lockkeeper/{environment.name}" + (f"/{application.name}" if several else "")
    report = DeploymentReport(name, commit, state, authored(description))
    try:
        view.ports.github.report_deployment(application.source, report)
    except RejectedError:
        return


def tell_verdict(
    view: View, number: int, assessment: Assessment, before: Result, report_url: str
) -> None:
    """Comment that the verdict of an open promotion is another one: edits notify nobody.

    One comment per answer, written when it is first given.
    """
    now = assessment.verdict.result
    if now is not before:
        marker = f"<!-- lockkeeper:verdict {now} -->"
        body = f"{marker}\n{verdict_changed(assessment, before, report_url)}"
        view.ports.github.set_comment(view.repository, number, marker, body)


def tell_pull_request(view: View, number: int, body: str) -> None:
    """Keep the one comment on a promotion pull request."""
    view.ports.github.set_comment(
        view.repository, number, COMMENT_MARKER, f"{COMMENT_MARKER}\n{body}"
    )
