"""Telling people where they look: checks on commits, one comment, the deployment timeline.

Every function makes a report and hands it to the outbox, which sends it: what GitHub refuses or
cannot take now never ends what is told about.
"""

from __future__ import annotations

from bot.domain.assessment import Assessment
from bot.domain.environments import Application, Environment, ManifestsRepository
from bot.domain.history import Check, CheckState, DeploymentReport, PullRequest
from bot.domain.policy import Shown
from bot.domain.reports import (
    CheckReport,
    CommentReport,
    LabelReport,
    ReactionReport,
    ReviewersReport,
    TimelineReport,
)
from bot.facts.snapshot import Ports, View
from bot.formats.check_output import verdict_changed
from bot.formats.markdown import plain
from bot.formats.pull_request_body import authored

MANIFESTS_CHECK = "lockkeeper"
"""The check on every pull request of the manifests repository; made to be required."""
RULES_CHECK = "lockkeeper/rules"
"""The check on changes of the rules: what they lack to come into force."""
COMMENT_MARKER = "<!-- lockkeeper:promotion-report -->"
PREVIEW_MARKER = "<!-- lockkeeper:rules-preview -->"
NOTHING_MOVES = "This pull request changes no rules any more, and moves nothing that they match."


def tell_source(
    view: View,
    application: Application,
    environment: Environment,
    commits: list[str],
    state: CheckState,
    title: str,
    summary: str,
) -> None:
    """Set the check ``lockkeeper: <application> -> <environment>`` on source commits.

    Where the bot serves several manifests repositories, the name says which one: they may share
    sources, and names of environments.
    """
    name = source_check(view.ports, view.repository, application.name, environment.name)
    checks = [
        Check(name, commit, state, plain(title), summary) for commit in dict.fromkeys(commits)
    ]
    for check in checks:
        view.ports.outbox.tell(CheckReport(application.source, check))


def source_check(
    ports: Ports, manifests: ManifestsRepository, application: str, environment: str
) -> str:
    """How the check of an application in an environment is called on its source commits."""
    subject = f"{application} -> {environment}" if application else environment
    place = f" ({manifests})" if len(ports.manifests) > 1 else ""
    return f"{MANIFESTS_CHECK}: {subject}{place}"


def tell_commit(
    view: View, commit: str, state: CheckState, title: str, summary: str, details: str = ""
) -> None:
    """Set the check ``lockkeeper`` on a commit of the manifests repository."""
    check = Check(MANIFESTS_CHECK, commit, state, plain(title), summary, details)
    view.ports.outbox.tell(CheckReport(view.repository, check))


def tell_rules(view: View, commit: str, state: CheckState, title: str, summary: str) -> None:
    """Set the check ``lockkeeper/rules``: whether a change of the rules comes into force."""
    check = Check(RULES_CHECK, commit, state, plain(title), summary)
    view.ports.outbox.tell(CheckReport(view.repository, check))


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
    view.ports.outbox.tell(CheckReport(view.repository, check))


def tell_revoked(view: View, environment: Environment, title: str, summary: str) -> None:
    """Set the check ``lockkeeper: <environment> revoked`` on the default branch's head."""
    name = f"{MANIFESTS_CHECK}: {environment.name} revoked"
    check = Check(name, view.head, CheckState.FAILURE, plain(title), summary)
    view.ports.outbox.tell(CheckReport(view.repository, check))


def tell_deployment(
    view: View,
    application: Application,
    environment: Environment,
    commit: str,
    state: str,
    description: str,
) -> None:
    """Put a line on the source commit's timeline."""
    several = len(view.pipeline.applications_of(application.source)) > 1
    place = f"{view.repository}/" if len(view.ports.manifests) > 1 else ""
    name = f"lockkeeper/{place}{environment.name}" + (f"/{application.name}" if several else "")
    report = DeploymentReport(name, commit, state, authored(description))
    view.ports.outbox.tell(TimelineReport(application.source, report))


def tell_verdict(
    view: View, number: int, assessment: Assessment, before: Shown, report_url: str
) -> None:
    """Comment that the verdict of an open promotion is another one: edits notify nobody.

    One comment per answer, written when it is first given.
    """
    now = assessment.verdict.shown
    if now is not before:
        marker = f"<!-- lockkeeper:verdict {now} -->"
        body = f"{marker}\n{verdict_changed(assessment, before, report_url)}"
        view.ports.outbox.tell(CommentReport(view.repository, number, marker, body))


def tell_pull_request(view: View, number: int, body: str) -> None:
    """Keep the one comment on a promotion pull request."""
    text = f"{COMMENT_MARKER}\n{body}"
    view.ports.outbox.tell(CommentReport(view.repository, number, COMMENT_MARKER, text))


def tell_receipt(view: View, comment: int, *, is_done: bool) -> None:
    """React to a command: it was carried out, or refused (and an answer says why)."""
    content = "+1" if is_done else "confused"
    view.ports.outbox.tell(ReactionReport(view.repository, comment, content))


def tell_answer(view: View, number: int, comment: int, body: str) -> None:
    """Answer a command on its pull request; one answer for each comment."""
    marker = f"<!-- lockkeeper:answer {comment} -->"
    report = CommentReport(view.repository, number, marker, f"{marker}\n{body}")
    view.ports.outbox.tell(report)


def tell_preview(view: View, number: int, body: str, *, begins: bool) -> None:
    """Keep the comment on what a pull request's rules match.

    Where it does not stand already it is written only if it ``begins`` something; without a body
    it says that nothing moves any more.
    """
    text = f"{PREVIEW_MARKER}\n{body or NOTHING_MOVES}"
    report = CommentReport(view.repository, number, PREVIEW_MARKER, text, begins=begins)
    view.ports.outbox.tell(report)


def ask_reviewers(view: View, pull_request: PullRequest, teams: tuple[str, ...]) -> None:
    """Ask teams for a review, once."""
    view.ports.outbox.tell(ReviewersReport(view.repository, pull_request.number, teams))


def tell_labels(view: View, pull_request: PullRequest, labels: tuple[str, ...]) -> None:
    """Put labels on a pull request."""
    view.ports.outbox.tell(LabelReport(view.repository, pull_request.number, labels))
