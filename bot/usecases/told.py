"""Telling people where they look: checks on commits, one comment, the deployment timeline.

Every function makes a report and hands it to the outbox, which sends it: what GitHub refuses or
cannot take now never ends what is told about. They answer whether the report is over, sent or
given up; False: it waits.
"""

from __future__ import annotations

from bot.domain.assessment import Assessment
from bot.domain.environments import Application, Environment
from bot.domain.history import Check, CheckState, DeploymentReport, PullRequest
from bot.domain.policy import Result
from bot.domain.reports import (
    CheckReport,
    CommentReport,
    LabelReport,
    ReviewersReport,
    TimelineReport,
)
from bot.formats.check_output import verdict_changed
from bot.formats.markdown import plain
from bot.formats.pull_request_body import authored
from bot.usecases.desk import View

MANIFESTS_CHECK = "lockkeeper"
"""The check on every pull request of the manifests repository; made to be required."""
RULES_CHECK = "lockkeeper/rules"
"""The check on changes of the rules: what they lack to come into force."""
COMMENT_MARKER = "<!-- lockkeeper:promotion-report -->"


def tell_source(
    view: View,
    application: Application,
    environment: Environment,
    commits: list[str],
    state: CheckState,
    title: str,
    summary: str,
) -> bool:
    """Set the check ``lockkeeper: <application> -> <environment>`` on source commits."""
    name = f"lockkeeper: {application.name} -> {environment.name}"
    checks = [
        Check(name, commit, state, plain(title), summary) for commit in dict.fromkeys(commits)
    ]
    told = [view.ports.outbox.tell(CheckReport(application.source, check)) for check in checks]
    return all(told)


def tell_commit(
    view: View, commit: str, state: CheckState, title: str, summary: str, details: str = ""
) -> bool:
    """Set the check ``lockkeeper`` on a commit of the manifests repository."""
    check = Check(MANIFESTS_CHECK, commit, state, plain(title), summary, details)
    return view.ports.outbox.tell(CheckReport(view.repository, check))


def tell_rules(view: View, commit: str, state: CheckState, title: str, summary: str) -> bool:
    """Set the check ``lockkeeper/rules``: whether a change of the rules comes into force."""
    check = Check(RULES_CHECK, commit, state, plain(title), summary)
    return view.ports.outbox.tell(CheckReport(view.repository, check))


def tell_merge(
    view: View,
    environment: Environment,
    commit: str,
    state: CheckState,
    title: str,
    summary: str,
    *,
    application: Application | None = None,
) -> bool:
    """Set the check of an environment on a commit of the default branch: how far it came.

    ``lockkeeper: <application> -> <environment>`` is its delivery, ``lockkeeper: <environment>``
    its publication. They stand beside the check that judges the commit's rules (`tell_commit`):
    what waits never hides what was refused.
    """
    subject = f"{application.name} -> {environment.name}" if application else environment.name
    check = Check(f"{MANIFESTS_CHECK}: {subject}", commit, state, plain(title), summary)
    return view.ports.outbox.tell(CheckReport(view.repository, check))


def tell_deployment(
    view: View,
    application: Application,
    environment: Environment,
    commit: str,
    state: str,
    description: str,
) -> bool:
    """Put a line on the source commit's timeline."""
    several = len(view.pipeline.applications_of(application.source)) > 1
    name = f"lockkeeper/{environment.name}" + (f"/{application.name}" if several else "")
    report = DeploymentReport(name, commit, state, authored(description))
    return view.ports.outbox.tell(TimelineReport(application.source, report))


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
        view.ports.outbox.tell(CommentReport(view.repository, number, marker, body))


def tell_pull_request(view: View, number: int, body: str) -> bool:
    """Keep the one comment on a promotion pull request."""
    text = f"{COMMENT_MARKER}\n{body}"
    return view.ports.outbox.tell(CommentReport(view.repository, number, COMMENT_MARKER, text))


def ask_reviewers(view: View, pull_request: PullRequest, teams: tuple[str, ...]) -> bool:
    """Ask teams for a review, once."""
    return view.ports.outbox.tell(ReviewersReport(view.repository, pull_request.number, teams))


def tell_labels(view: View, pull_request: PullRequest, labels: tuple[str, ...]) -> bool:
    """Put labels on a pull request."""
    return view.ports.outbox.tell(LabelReport(view.repository, pull_request.number, labels))
