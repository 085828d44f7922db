"""Where every application is in every environment: facts gathered, then one pure function."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from bot.domain.authority import Unauthorised, authority
from bot.domain.environments import Application, Environment, GitHubRepository
from bot.domain.errors import IntegrityError, LockkeeperError
from bot.domain.gates import Action, Direction
from bot.domain.history import PullRequest
from bot.domain.jobs import Job, JobKind, JobState
from bot.domain.memory import WrittenHead
from bot.domain.oci import Digest
from bot.domain.promotion import promotion_id
from bot.domain.standing import OpenPromotion, Standing, StandingFacts, standing
from bot.facts.attribution import opened as open_attribution
from bot.facts.gates import closed, labelled
from bot.facts.members import in_time
from bot.facts.own_heads import approved_heads, own_head
from bot.facts.promotions_open import head_branch, rollback_branch
from bot.facts.snapshot import Ports, View, look_at
from bot.formats.image_names import ImageField
from bot.formats.places import ImageLocation
from bot.formats.pull_request_body import marked_promotion

_APPROVALS: Final = 10
"""Open promotions of which it is asked, in a look at all of them, what their approvals lack."""
STATUS_SECONDS: Final = 4.0
"""A person waits for it, and what is wrong is told whether GitHub answers or not."""


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


Asked = tuple[str, str]
"""An environment and an application."""


def places_of(
    view: View, jobs: Mapping[str, JobState], only: Asked | None = None
) -> Iterator[PlaceStatus]:
    """Every place of one manifests repository, in the order of its pipeline file.

    ``only`` those of one application in one environment. Who approved what is asked of GitHub
    one by one, so it is left out where very many promotions are open.
    """
    listed = _open_promotions(view)
    is_many = only is None and len(listed) > _APPROVALS and not isinstance(listed, str)
    for environment in view.pipeline.environments.values():
        if only is not None and only[0] != environment.name:
            continue
        tip = view.history.heads().get(environment.ref, "")
        shown = {s.place: s.written for s in view.locations(tip, environment)} if tip else {}
        locations = view.locations(view.head, environment)
        for application in view.pipeline.applications.values():
            here = [
                location for location in locations if location.place.application == application.name
            ]
            if not here or only not in {None, (environment.name, application.name)}:
                continue
            common = _common(view, environment, application, listed, jobs, is_many=is_many)
            for location in here:
                yield _place(location, shown.get(location.place), common, view.rules.revoked)


def sentences_of(
    ports: Ports, environment: str, application: str
) -> tuple[Sequence[str], Mapping[str, str]]:
    """Where an application stands in an environment, wherever there is one of that name.

    And manifests repository -> why it cannot be asked.
    """
    jobs = {state.key: state for state in ports.jobs.states()}

    def look(one: GitHubRepository) -> list[str]:
        places = places_of(look_at(ports, one), jobs, only=(environment, application))
        return [place.sentence for place in places]

    found, problems = in_time(ports.looks(STATUS_SECONDS), ports.manifests, look)
    lines = dict.fromkeys(line for lines in found for line in lines)
    return list(lines), {str(one): why for one, why in problems.items()}


def open_standing(
    view: View,
    environment: Environment,
    application: Application,
    found: PullRequest,
    *,
    is_new: bool = False,
) -> Standing:
    """What an open promotion waits for, in the words of every other place.

    One that ``is_new`` nobody has approved yet.
    """
    it = _promotion(view, environment, application, found, is_new=is_new)
    return standing(StandingFacts(environment.name, application.name, pull_request=it))


def _place(
    location: ImageLocation,
    shown: ImageField | None,
    common: StandingFacts,
    revoked: Mapping[Digest, str],
) -> PlaceStatus:
    facts = replace(
        common,
        wished=str(location.written) if location.written.digest else "",
        shown=str(shown) if shown and shown.digest else "",
        revoked=revoked.get(Digest(shown.digest), "") if shown and shown.digest else "",
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
    listed: Mapping[str, PullRequest] | str,
    jobs: Mapping[str, JobState],
    *,
    is_many: bool,
) -> StandingFacts:
    """What is the same at every place of an application in an environment."""

    def job(kind: JobKind, name: str) -> JobState | None:
        return jobs.get(Job(kind, view.id, environment.name, name).key)

    branches = rollback_branch(environment, application), head_branch(environment, application)
    known = {} if isinstance(listed, str) else listed
    found = next((known[branch] for branch in branches if branch in known), None)
    is_back = found is not None and found.head_branch == branches[0]
    going = Direction.BACK if is_back else Direction.FORWARD
    opened = _promotion(view, environment, application, found, is_new=is_many) if found else None
    return StandingFacts(
        environment=environment.name,
        application=application.name,
        closed=closed(view, environment, application.name, Action.MERGE, going)
        or (labelled(found) if found else None),
        pull_request=opened,
        unseen=listed if isinstance(listed, str) else "",
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
    view: View,
    environment: Environment,
    application: Application,
    found: PullRequest,
    *,
    is_new: bool = False,
) -> OpenPromotion:
    head = own_head(view, environment, application, found.head)
    verdict = _verdict(view, _promotion_in(view, environment, application, found, head))
    own = view.pipeline.environment_of(environment.name, application) or environment
    lacks = None if is_new else _lacks(view, environment, application, found)
    return OpenPromotion(
        number=found.number,
        url=f"{view.web_url}/pull/{found.number}",
        since=head.at if head else None,
        approvals=environment.approvals,
        merges_itself=own.merges_itself,
        verdict=verdict,
        blocks=verdict == "fail",
        is_draft=found.is_draft,
        is_edited=head is None,
        is_approved=lacks == "",
        lacking=lacks or "",
    )


def _promotion_in(
    view: View,
    environment: Environment,
    application: Application,
    found: PullRequest,
    head: WrittenHead | None,
) -> str:
    """The id of an application's promotion in a pull request; empty: nobody knows.

    The body names the whole, which is another one where a group shares the pull request.
    """
    if not application.group:
        marked = marked_promotion(found.body)
        return marked[0] if marked else ""
    memory, name = view.ports.memory, application.name
    record = memory.resolution(view.id, name, head.source) if head is not None else None
    if record is None:
        return ""
    return promotion_id(view.id, environment.name, name, dict(record.digests))


def _lacks(
    view: View, environment: Environment, application: Application, found: PullRequest
) -> str | None:
    """What the approvals of an open promotion lack; empty: nothing; None: nobody has approved.

    Judged as its delivery will be, but for who asked, which is known then.
    """
    if not environment.needs_authority or not environment.approvals.count:
        return None
    github, repository = view.ports.github, view.repository
    try:
        given = github.reviews(repository, found.number)
        if not any(one.state == "APPROVED" for one in given):
            return None
        known = open_attribution(view.line, found, environment.approvals.teams)
        equal = approved_heads(view, environment, application, found, known.reviews)
        judged = authority(replace(known, equal_heads=equal), [environment.approvals], needed=True)
    except LockkeeperError as error:
        return f"GitHub, to say who approved: {error}"
    return f"{judged.reason}: {judged.remedy}" if isinstance(judged, Unauthorised) else ""


def _verdict(view: View, promotion: str) -> str:
    """The newest verdict on this promotion; empty where there is none that can be read."""
    if not promotion or view.ports.evaluations is None:
        return ""
    try:
        found = view.ports.evaluations.evaluation(promotion)
    except IntegrityError:
        return "not_evaluated"  # what cannot be read has decided nothing
    return found.verdict if found else ""
