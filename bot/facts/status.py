"""Where every application is in every environment: facts gathered, then one pure function."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from bot.domain.environments import Application, Environment
from bot.domain.errors import IntegrityError, LockkeeperError
from bot.domain.gates import Action
from bot.domain.history import PullRequest
from bot.domain.jobs import Job, JobKind, JobState
from bot.domain.memory import WrittenHead
from bot.domain.promotion import promotion_id
from bot.domain.standing import OpenPromotion, Standing, StandingFacts, standing
from bot.facts.gates import closed
from bot.facts.promotions_open import head_branch
from bot.facts.snapshot import View
from bot.formats.image_names import ImageField
from bot.formats.places import ImageLocation
from bot.formats.pull_request_body import marked_promotion


@dataclass(frozen=True, slots=True)
class PlaceStatus:
    """One image of an application at one place of an environment."""

    environment: str
    application: str
    location: ImageLocation
    published: str
    """The digest that the environment ref shows; empty: none."""
    standing: Standing
    verdict: str = ""
    """Of the policy on its open promotion; empty: none is open, or nobody asked."""

    @property
    def sentence(self) -> str:
        """The one sentence that people read everywhere."""
        image = self.location.place.image
        name = self.application if image == self.application else f"{self.application}/{image}"
        return f"{name} in {self.environment}: {self.standing.sentence}"


def places_of(view: View, jobs: Mapping[str, JobState]) -> Iterator[PlaceStatus]:
    """Every place of one manifests repository, in the order of its pipeline file."""
    opened = _open_promotions(view)
    for environment in view.pipeline.environments.values():
        tip = view.history.heads().get(environment.ref, "")
        shown = {s.place: s.written for s in view.locations(tip, environment)} if tip else {}
        locations = view.locations(view.head, environment)
        for application in view.pipeline.applications.values():
            here = [
                location for location in locations if location.place.application == application.name
            ]
            if not here:
                continue
            common = _common(view, environment, application, opened, jobs)
            for location in here:
                yield _place(location, shown.get(location.place), common)


def _place(location: ImageLocation, shown: ImageField | None, common: StandingFacts) -> PlaceStatus:
    facts = replace(
        common,
        wished=str(location.written) if location.written.digest else "",
        shown=str(shown) if shown and shown.digest else "",
    )
    published = str(shown.digest) if shown and shown.digest else ""
    verdict = facts.pull_request.verdict if facts.pull_request else ""
    return PlaceStatus(
        facts.environment, facts.application, location, published, standing(facts), verdict
    )


def _common(
    view: View,
    environment: Environment,
    application: Application,
    opened: Mapping[str, PullRequest] | str,
    jobs: Mapping[str, JobState],
) -> StandingFacts:
    """What is the same at every place of an application in an environment."""

    def job(kind: JobKind, name: str) -> JobState | None:
        return jobs.get(Job(kind, view.id, environment.name, name).key)

    found = None if isinstance(opened, str) else opened.get(head_branch(environment, application))
    return StandingFacts(
        environment=environment.name,
        application=application.name,
        closed=closed(view, environment, application.name, Action.MERGE),
        pull_request=_promotion(view, environment, application, found) if found else None,
        unseen=opened if isinstance(opened, str) else "",
        propose=job(JobKind.PROPOSE, application.lane),
        deliver=job(JobKind.DELIVER, application.name),
        publish=job(JobKind.PUBLISH, ""),
    )


def _open_promotions(view: View) -> Mapping[str, PullRequest] | str:
    """Open pull requests by their head branch, or why GitHub does not list them now."""
    try:
        found = view.ports.github.pull_requests(view.repository, state="open")
    except LockkeeperError as error:
        return str(error)
    return {one.head_branch: one for one in found if one.head_is_local}


def _promotion(
    view: View, environment: Environment, application: Application, found: PullRequest
) -> OpenPromotion:
    scope = view.scope(environment.name, application.name)
    heads = [one for one in view.ports.memory.heads_at(view.id, found.head) if one.scope == scope]
    head = heads[-1] if heads else None
    verdict = _verdict(view, _promotion_in(view, environment, application, found, heads))
    own = view.pipeline.environment_of(environment.name, application) or environment
    return OpenPromotion(
        number=found.number,
        url=f"{view.web_url}/pull/{found.number}",
        since=head.at if head else None,
        approvals=environment.approvals,
        merges_itself=own.merges_itself,
        verdict=verdict,
        blocks=verdict == "fail",
    )


def _promotion_in(
    view: View,
    environment: Environment,
    application: Application,
    found: PullRequest,
    heads: Sequence[WrittenHead],
) -> str:
    """The id of an application's promotion in a pull request; empty: nobody knows.

    The body names the whole, which is another one where a group shares the pull request.
    """
    if not application.group:
        marked = marked_promotion(found.body)
        return marked[0] if marked else ""
    for head in heads:
        record = view.ports.memory.resolution(view.id, application.name, head.source)
        if record is not None:
            digests = dict(record.digests)
            return promotion_id(view.id, environment.name, application.name, digests)
    return ""


def _verdict(view: View, promotion: str) -> str:
    """The newest verdict on this promotion; empty where there is none that can be read."""
    if not promotion or view.ports.evaluations is None:
        return ""
    try:
        found = view.ports.evaluations.evaluation(promotion)
    except IntegrityError:
        return "not_evaluated"  # what cannot be read has decided nothing
    return found.verdict if found else ""
