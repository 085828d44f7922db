"""Where every application is in every environment: facts gathered, then one pure function."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bot.domain.environments import Application, Environment
from bot.domain.errors import IntegrityError, LockkeeperError
from bot.domain.history import PullRequest
from bot.domain.jobs import Job, JobKind, JobState
from bot.domain.memory import Hold
from bot.domain.standing import OpenPromotion, Standing, StandingFacts, standing
from bot.formats.manifest_file import Spot
from bot.formats.pull_request_body import marked_promotion
from bot.usecases.desk import View
from bot.usecases.review_request import head_branch


@dataclass(frozen=True, slots=True)
class PlaceStatus:
    """One image of an application at one place of an environment."""

    environment: str
    application: str
    spot: Spot
    published: str
    """The digest that the environment ref shows; empty: none."""
    standing: Standing


def places_of(view: View, jobs: Mapping[str, JobState]) -> Iterator[PlaceStatus]:
    """Every place of one manifests repository, in the order of its pipeline file."""
    opened = _open_promotions(view)
    for environment in view.pipeline.environments.values():
        tip = view.history.heads().get(environment.ref, "")
        shown = {s.place: s.written for s in view.spots(tip, environment)} if tip else {}
        for application in view.pipeline.applications.values():
            images = {image.name for image in application.images}
            for spot in view.spots(view.head, environment):
                if spot.place.image not in images:
                    continue
                found = shown.get(spot.place)
                facts = StandingFacts(
                    environment=environment.name,
                    application=application.name,
                    wished=str(spot.written) if spot.written.digest else "",
                    shown=str(found) if found and found.digest else "",
                    hold=_hold(view, environment, application),
                    pull_request=_promotion(view, environment, application, opened),
                    propose=jobs.get(_key(view, JobKind.PROPOSE, environment, application)),
                    deliver=jobs.get(_key(view, JobKind.DELIVER, environment, application)),
                    publish=jobs.get(Job(JobKind.PUBLISH, view.id, environment.name).key),
                )
                yield PlaceStatus(
                    environment.name,
                    application.name,
                    spot,
                    str(found.digest) if found and found.digest else "",
                    standing(facts),
                )


def _key(view: View, kind: JobKind, environment: Environment, application: Application) -> str:
    return Job(kind, view.id, environment.name, application.name).key


def _hold(view: View, environment: Environment, application: Application) -> Hold | None:
    for hold in view.ports.memory.holds(view.scope(environment.name)):
        if hold.scope.application in {"", application.name}:
            return hold
    return None


def _open_promotions(view: View) -> Mapping[str, PullRequest]:
    """Open pull requests by their head branch; none where GitHub does not list them now."""
    try:
        found = view.ports.github.pull_requests(view.repository, state="open")
    except LockkeeperError:
        return {}
    return {one.head_branch: one for one in found if one.head_is_local}


def _promotion(
    view: View,
    environment: Environment,
    application: Application,
    opened: Mapping[str, PullRequest],
) -> OpenPromotion | None:
    found = opened.get(head_branch(environment, application))
    if found is None:
        return None
    scope = view.scope(environment.name, application.name)
    heads = [h for h in view.ports.memory.written_heads(scope) if h.commit == found.head]
    verdict = _verdict(view, found.body)
    return OpenPromotion(
        number=found.number,
        url=f"{view.web_url}/pull/{found.number}",
        since=heads[-1].at if heads else None,
        approvals=environment.approvals,
        merges_itself=environment.merges_itself,
        verdict=verdict,
        blocks=verdict == "fail",
    )


def _verdict(view: View, body: str) -> str:
    """The newest verdict on this promotion; empty where there is none that can be read."""
    marked = marked_promotion(body)
    if marked is None or view.ports.evaluations is None:
        return ""
    try:
        found = view.ports.evaluations.evaluation(marked[0])
    except IntegrityError:
        return ""
    return found.verdict if found else ""
