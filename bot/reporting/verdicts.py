"""The verdict of a promotion: kept where it is first said, and told when it becomes another one.

The check on the pull request and the promotion's own job judge at different times. Whichever is
first says the new verdict, and both note it here: what people were shown is what the next verdict
is compared with.
"""

from __future__ import annotations

from typing import Final

from bot.domain.environments import Application
from bot.domain.errors import IntegrityError
from bot.domain.policy import Shown
from bot.facts.evidence import Evaluated, report_url
from bot.facts.snapshot import View
from bot.formats.assessment_document import render_assessment
from bot.ports.record import StoredEvaluation
from bot.reporting.reports import tell_verdict

WAITS: Final = "waits"
"""Kept in place of a verdict while the first one is on its way."""


def note_verdict(
    view: View,
    promotion: str,
    application: Application,
    evaluated: Evaluated,
    number: int | None,
) -> None:
    """Keep the complete assessment for the promotion's page; comment when its verdict is new.

    What only waits for the scanner is no verdict. It is told before it is kept: a death between
    the two tells it once more, in the same comment.

    Args:
        view: The look at the manifests repository.
        promotion: The id of the promotion.
        application: What is promoted.
        evaluated: The judgement of now.
        number: The open pull request whose readers saw the verdict before; None: nobody did.
    """
    kept = view.ports.evaluations
    if kept is None:
        return
    try:
        before = kept.evaluation(promotion)
    except IntegrityError:
        before = None  # it is written anew
    if before is not None and evaluated.waits:
        return
    if number is not None and before is not None and before.verdict in set(Shown):
        page = report_url(view, promotion)
        tell_verdict(view, number, evaluated.assessment, Shown(before.verdict), page)
    kept.record(_stored(promotion, application, evaluated))


def _stored(promotion: str, application: Application, evaluated: Evaluated) -> StoredEvaluation:
    assessment = evaluated.assessment
    return StoredEvaluation(
        promotion,
        assessment.environment,
        application.name,
        assessment.at,
        WAITS if evaluated.waits else str(assessment.verdict.shown),
        render_assessment(assessment),
    )
