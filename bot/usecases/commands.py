"""The operator's verbs, carried out by the running bot for whoever left a command row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bot.domain.environments import Application, Environment
from bot.domain.errors import NotFoundError, RejectedError
from bot.domain.jobs import Done, Job, JobKind, JobState, Outcome
from bot.domain.memory import Adoption, Command, Hold, PublicationRecord
from bot.domain.oci import Digest
from bot.formats.places import Spot
from bot.ports import Commands
from bot.usecases.desk import Ports, View, is_held, look
from bot.usecases.reconcile import manifests_ids
from bot.usecases.reseal import reseal as reseal_environment

Answer = Mapping[str, object]


class UnknownCommandError(RejectedError):
    """A command row holds a verb that does not exist."""

    def __init__(self, verb: str) -> None:
        """Name the verb and those that exist."""
        super().__init__(f"unknown command {verb[:40]!r}; known: {', '.join(sorted(VERBS))}")
        self.verb = verb


@dataclass(frozen=True, slots=True)
class Request:
    """One command, and who gave it."""

    ports: Ports
    arguments: Sequence[str]
    actor: str
    retry: Callable[[str], bool]
    """Makes a waiting or failed job run now; False if there is none of that key."""

    def argument(self, position: int, meaning: str) -> str:
        """A required argument."""
        try:
            return self.arguments[position]
        except IndexError as error:
            raise NotFoundError(meaning, "the command") from error

    def view_with(self, environment: str) -> View:
        """The one manifests repository that has this environment."""
        for manifests in manifests_ids(self.ports):
            view = look(self.ports, manifests)
            if environment in view.pipeline.environments:
                return view
        raise NotFoundError(f"environment {environment}", "any pipeline file")


def command(
    ports: Ports,
    commands: Commands,
    row: int,
    retry: Callable[[str], bool],
    render: Callable[[Answer], str],
) -> Outcome:
    """Carry out one command row and answer it; a refusal is an answer too."""
    found = commands.get(row)
    if found is None or found.answer is not None:
        return Done("nothing to do")
    try:
        said = _carry_out(ports, found, retry)
    except RejectedError as error:
        commands.answer(row, render({"error": str(error)}), failed=True)
        return Done(f"refused {found.verb} by {found.actor}: {error}")
    commands.answer(row, render(said), failed=False)
    return Done(f"{found.verb} by {found.actor}")


def _carry_out(ports: Ports, found: Command, retry: Callable[[str], bool]) -> Answer:
    verb = VERBS.get(found.verb)
    if verb is None:
        raise UnknownCommandError(found.verb)
    return verb(Request(ports, found.arguments, found.actor, retry))


def adopt(request: Request) -> Answer:
    """Take over, unsealed, what an environment runs: its ref if it exists, else its files."""
    view = request.view_with(request.argument(0, "an environment"))
    environment = view.environment(request.arguments[0])
    scope, ports = view.scope(environment.name), request.ports
    tip = view.history.heads().get(environment.ref, "")
    digests = sorted({Digest(s.written.digest) for s in _pinned(view, environment, tip)})
    now = ports.clock.now()
    for digest in digests:
        ports.memory.record_adoption(Adoption(scope, digest, request.actor, now))
    if tip:
        # Without a source the next publication is judged whole, as a first one is.
        ports.memory.record_publication(PublicationRecord(scope, environment.ref, tip, "", "", now))
    ports.memory.release_hold(scope)
    ports.audit.append(
        "adopted",
        scope,
        {"actor": request.actor, "ref": environment.ref, "tip": tip, "digests": " ".join(digests)},
    )
    ports.jobs.put(Job(JobKind.PUBLISH, view.id, environment.name))
    return {"environment": environment.name, "ref": environment.ref, "adopted": list(digests)}


def _pinned(view: View, environment: Environment, tip: str) -> list[Spot]:
    return [s for s in view.spots(tip or view.head, environment) if s.written.digest]


def hold(request: Request) -> Answer:
    """Stop an environment, or one application in it."""
    view = request.view_with(request.argument(0, "an environment"))
    application = request.arguments[1] if len(request.arguments) > 1 else ""
    if application:
        view.application(application)
    reason = " ".join(request.arguments[2:]).strip() or "by command"
    scope = view.scope(request.arguments[0], application)
    request.ports.memory.record_hold(
        Hold(scope, reason[:200], request.actor, request.ports.clock.now())
    )
    facts = {"actor": request.actor, "reason": reason[:200]}
    request.ports.audit.append("held", scope, facts)
    return {"environment": scope.environment, "application": application, "held": True}


def unhold(request: Request) -> Answer:
    """Let an environment (or one application in it) go on; a foreign tip is accepted with it."""
    view = request.view_with(request.argument(0, "an environment"))
    application = request.arguments[1] if len(request.arguments) > 1 else ""
    scope, ports = view.scope(request.arguments[0], application), request.ports
    released = ports.memory.release_hold(scope)
    if released and not application:
        _accept_tip(view, view.environment(request.arguments[0]))
    ports.audit.append("released", scope, {"actor": request.actor})
    ports.jobs.put(Job(JobKind.RECONCILE, view.id))
    return {"environment": scope.environment, "application": application, "held": False}


def _accept_tip(view: View, environment: Environment) -> None:
    """What made the environment stop is taken as it is: the foreign tip, the rewritten branch."""
    memory, scope = view.ports.memory, view.scope(environment.name)
    records = memory.publications(scope)
    tip = view.history.heads().get(environment.ref, "")
    if not records or not tip:
        return
    contained = (
        view.history.is_ancestor(records[-1].source, view.head) if (records[-1].source) else False
    )
    source = records[-1].source if contained else ""
    if tip != records[-1].commit or source != records[-1].source:
        now = view.ports.clock.now()
        memory.record_publication(
            PublicationRecord(scope, environment.ref, tip, records[-1].commit, source, now)
        )
        # Under a publication's identity: what a person accepted is not reported as ours.
        facts = {"ref": environment.ref, "commit": tip}
        view.ports.audit.append("accepted", scope, facts, once=f"published:{view.id}:{tip}")


def reseal(request: Request) -> Answer:
    """Sign again, with the first key, what is published in an environment."""
    view = request.view_with(request.argument(0, "an environment"))
    environment = view.environment(request.arguments[0])
    done = reseal_environment(view, environment)
    scope, written = view.scope(environment.name), str(done.written)
    request.ports.audit.append("resealed", scope, {"actor": request.actor, "written": written})
    return {
        "environment": environment.name,
        "digests": [str(reference) for reference in done.digests],
        "written": done.written,
        "left": list(done.left),
        "may_leave": list(done.may_leave),
        "warnings": list(done.warnings),
    }


def retry(request: Request) -> Answer:
    """Run a waiting or failed job now."""
    key = request.argument(0, "the id of a job, as `status` shows it")
    if not request.retry(key):
        raise NotFoundError(f"job {key}", "the queue; `lockkeeper status` lists the jobs")
    return {"job": key, "state": "queued"}


def status(request: Request) -> Answer:
    """What each application is in each environment, and which jobs are not over."""
    places: list[dict[str, object]] = []
    for manifests in manifests_ids(request.ports):
        view = look(request.ports, manifests)
        for environment in view.pipeline.environments.values():
            for application in view.pipeline.applications.values():
                places += _standing(view, environment, application)
    jobs = [_job(state) for state in request.ports.jobs.states()]
    return {"places": places, "jobs": jobs}


def _standing(
    view: View, environment: Environment, application: Application
) -> list[dict[str, object]]:
    tip = view.history.heads().get(environment.ref, "")
    shown = {s.place: s.written for s in view.spots(tip, environment)} if tip else {}
    images = {image.name for image in application.images}
    standing: list[dict[str, object]] = []
    for spot in view.spots(view.head, environment):
        if spot.image.application == application.name and spot.image.name in images:
            published = shown.get(spot.place)
            standing.append(
                {
                    "manifests": str(view.repository),
                    "environment": environment.name,
                    "application": application.name,
                    "image": spot.place.image,
                    "wished": spot.written.digest or None,
                    "published": (published.digest or None) if published else None,
                    "state": _state(
                        view,
                        environment,
                        application,
                        spot,
                        is_shown=published == spot.written,
                    ),
                }
            )
    return standing


def _state(
    view: View, environment: Environment, application: Application, spot: Spot, *, is_shown: bool
) -> str:
    """The first state of DESIGN's list that holds, as far as the manifests repository tells."""
    held = is_held(view, environment.name, application.name)
    if held:
        return held
    if not spot.written.digest:
        return "nothing promoted yet"
    return "published" if is_shown else "delivering"


def _job(state: JobState) -> dict[str, object]:
    return {
        "key": state.key,
        "state": state.state,
        "attempts": state.attempts,
        "due": state.due.isoformat() if state.due else None,
        "summary": state.summary,
    }


VERBS: Mapping[str, Callable[[Request], Answer]] = {
    "adopt": adopt,
    "hold": hold,
    "reseal": reseal,
    "retry": retry,
    "status": status,
    "unhold": unhold,
}
