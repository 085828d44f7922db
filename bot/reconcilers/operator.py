"""The operator's verbs, carried out by the running bot for whoever left a command row."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from bot.domain.doctor.findings import Finding
from bot.domain.environments import Application, Environment, GitHubRepository
from bot.domain.errors import NotFoundError, RejectedError
from bot.domain.history import CheckState
from bot.domain.jobs import Done, Job, JobKind, JobState, Outcome
from bot.domain.memory import (
    NO_COMMIT,
    Adoption,
    Command,
    KnownSource,
    PublicationRecord,
    Scope,
    mention_digest,
)
from bot.domain.oci import Digest
from bot.domain.pipeline_rules import UnknownNameError
from bot.domain.verbs import VERBS as VERBS_OF_ALL, Person, duration
from bot.facts.gates import holds_of
from bot.facts.going_back import shown_at
from bot.facts.members import for_each, in_time
from bot.facts.renderings import render
from bot.facts.resolution import record_of, resolve_again
from bot.facts.rules_in_force import rule_set
from bot.facts.snapshot import Ports, View, gate_of, look_at
from bot.facts.status import STATUS_SECONDS, PlaceStatus, places_of
from bot.formats.image_names import ImageField
from bot.formats.manifest_file import unsealable
from bot.formats.markdown import prose
from bot.formats.places import ImageLocation
from bot.ports.record import Commands
from bot.reconcilers.asked import ask_for_promotion, ask_to_go_back
from bot.reconcilers.holding import (
    Released,
    end_own,
    freeze as freeze_environment,
    hold as stop,
    unfreeze as end_freeze,
)
from bot.reconcilers.letting_go import let_go
from bot.reconcilers.publication.publish import rules_in_record
from bot.reconcilers.reseal import reseal as reseal_environment
from bot.reporting.reports import tell_merge

Answer = Mapping[str, object]
_OLDEST: Final = timedelta(minutes=15)
"""A row that is older is not carried out: whoever left it has gone, or somebody copied it."""
_FURTHEST: Final = 50
"""Versions that a rollback goes back at most."""
_COMMIT: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


class UnknownCommandError(RejectedError):
    """A command row holds a verb that does not exist."""

    def __init__(self, verb: str) -> None:
        """Name the verb and those that exist."""
        super().__init__(f"unknown command {verb[:40]!r}; known: {', '.join(sorted(VERBS))}")
        self.verb = verb


class UnprovenCommandError(RejectedError):
    """A command that lets something in was left by nobody knows whom."""

    def __init__(self, verb: str) -> None:
        """Say what proves it, and where to run the command."""
        super().__init__(
            f"{verb} was left without the bot's keys, so anybody who writes to the database could "
            "have left it; run it with the LOCKKEEPER_PRIVATE_KEY_FILE (or LOCKKEEPER_RECORD_KEY) "
            "of the bot that works"
        )


class StaleCommandError(RejectedError):
    """A command that lets something in is old, or was carried out before."""

    def __init__(self, verb: str) -> None:
        """Say how old one may be."""
        minutes = int(_OLDEST.total_seconds() // 60)
        super().__init__(
            f"{verb} was left more than {minutes} minutes ago or carried out before; give it again"
        )


@dataclass(frozen=True, slots=True)
class Request:
    """One command, and who gave it."""

    ports: Ports
    arguments: Sequence[str]
    actor: str
    retry: Callable[[str], bool]
    """Makes a waiting or failed job run now; False if there is none of that key."""
    own: str = ""
    """The key of the job that carries this command out."""

    @property
    def who(self) -> Person:
        """Who gave it, by the machine's word: nobody knows which account of GitHub they have."""
        return Person(self.actor)

    def argument(self, position: int, meaning: str) -> str:
        """A required argument."""
        try:
            return self.arguments[position]
        except IndexError as error:
            raise NotFoundError(meaning, "the command") from error

    def target(self) -> Target:
        """The one environment that the first argument names: NAME, or OWNER/NAME:ENVIRONMENT.

        Raises:
            AmbiguousEnvironmentError: Several repositories have it.
            UnknownNameError: None of those that can be read has it; those that cannot are named.
        """
        manifests, _, name = self.argument(0, "an environment").rpartition(":")
        asked = [
            one
            for one in self.ports.manifests
            if not manifests or str(one).lower() == manifests.lower()
        ]
        if not asked:
            raise UnknownNameError(
                "manifests repository", manifests, map(str, self.ports.manifests)
            )
        members = for_each(asked, lambda one: look_at(self.ports, one))
        views = [one for one in members.found if name in one.pipeline.environments]
        if len(views) > 1:
            raise AmbiguousEnvironmentError(name, [one.repository for one in views])
        if not views:
            known = [one for view in members.found for one in view.pipeline.environments]
            raise UnknownNameError("environment", name, known, members.words)
        unread = {str(one): str(error) for one, error in members.problems.items()}
        return Target(views[0], views[0].environment(name), unread)

    def promoted(self, view: View) -> Application:
        """The application that the second argument has to name."""
        self.argument(1, "an application")
        return view.application(self.application(view))

    def application(self, view: View, others: Collection[str] = ()) -> str:
        """The application that the second argument names; empty: all of the environment.

        ``others`` are names that mean something, too.
        """
        name = self.arguments[1] if len(self.arguments) > 1 else ""
        if name and name not in {*view.pipeline.applications, *others}:
            raise UnknownNameError("application", name, view.pipeline.applications)
        return name


@dataclass(frozen=True, slots=True)
class Target:
    """The environment that a command is about."""

    view: View
    environment: Environment
    unread: Mapping[str, str]
    """Manifests repositories that could not be asked whether they have it, too -> why."""

    @property
    def identity(self) -> Answer:
        """What every answer about it names, so that nobody wonders which one was meant."""
        return {
            "manifests": str(self.view.repository),
            "environment": self.environment.name,
            "problems": dict(self.unread),
        }


class AmbiguousEnvironmentError(RejectedError):
    """An environment's name alone does not say which manifests repository is meant."""

    def __init__(self, name: str, manifests: Sequence[GitHubRepository]) -> None:
        """Name where it is, and the way out."""
        places = " and in ".join(map(str, manifests))
        way = " or ".join(f"--manifests {one}" for one in manifests)
        super().__init__(f"environment {name} is in {places}; add {way}")
        self.name, self.manifests = name, tuple(manifests)


def command(
    ports: Ports,
    commands: Commands,
    row: int,
    retry: Callable[[str], bool],
    render: Callable[[Answer], str],
) -> Outcome:
    """Carry out one command row and answer it; a refusal is an answer too."""
    found = commands.get(row)
    if found is None or not commands.begin(row):
        return Done("nothing to do")
    try:
        said = _carry_out(ports, found, retry)
    except RejectedError as error:
        commands.answer(
            row, render({"error": {"kind": type(error).__name__, "text": str(error)}}), failed=True
        )
        return Done(f"refused {found.verb} by {found.actor}: {error}")
    commands.answer(row, render(said), failed=False)
    return Done(f"{found.verb} by {found.actor}")


def _carry_out(ports: Ports, found: Command, retry: Callable[[str], bool]) -> Answer:
    verb = VERBS.get(found.verb)
    if verb is None:
        raise UnknownCommandError(found.verb)
    if VERBS_OF_ALL[found.verb].needs_proof:
        _check_who(ports, found)
    own = Job(JobKind.COMMAND, subject=str(found.id)).key
    return verb(Request(ports, found.arguments, found.actor, retry, own))


def _check_who(ports: Ports, found: Command) -> None:
    """A verb that lets something in needs the proof that whoever left it has the bot's keys, once.

    The database holds rows of anybody who can write to it.
    """
    if not found.proof:
        raise UnprovenCommandError(found.verb)
    age = ports.clock.now() - found.at
    once = f"command:{found.proof}"
    if abs(age) > _OLDEST or ports.audit.has(once):
        raise StaleCommandError(found.verb)
    facts = {"verb": found.verb, "actor": found.actor, "arguments": " ".join(found.arguments)[:300]}
    ports.audit.append("commanded", Scope(0), facts, once=once)


def adopt(request: Request) -> Answer:
    """Take over, unsealed, what an environment runs: by its ref, else by our record of it.

    Only where neither is there, so before the first publication, by its files. What the default
    branch merely wishes for is never taken over by this.
    """
    target = request.target()
    digests = _take_over(target.view, target.environment, request.actor)
    return {**target.identity, "ref": target.environment.ref, "adopted": list(digests)}


def _take_over(view: View, environment: Environment, actor: str) -> Sequence[Digest]:
    """Adopt what an environment shows; the digests."""
    scope, ports = view.scope(environment.name), view.ports
    shows = _shows(view, environment)
    pinned = _pinned(view, environment, shows)
    own = {Digest(s.written.digest) for s in pinned}
    digests = sorted(own | _rendered(view, environment, shows))
    _check_not_revoked(view, environment, digests)
    now = ports.clock.now()
    mentions = _mentions(view, environment, shows)
    for digest in (*digests, *mentions):
        ports.memory.record_adoption(Adoption(scope, digest, actor, now))
    tip = view.history.heads().get(environment.ref, "")
    if tip or ports.memory.last_publication(view.id, environment.name) is not None:
        # Without a source the next publication is judged whole, as a first one is.
        record = PublicationRecord(scope, environment.ref, tip or NO_COMMIT, "", "", now)
        ports.memory.record_publication(replace(record, rules=rules_in_record(view)))
    end_own(view, environment)
    ports.audit.append(
        "adopted",
        scope,
        {
            "actor": actor,
            "ref": environment.ref,
            "tip": tip,
            "from": shows,
            "digests": " ".join(digests),
            "mentions": str(len(mentions)),
        },
    )
    title, words = "Taken over", f"{actor} took over what {shows[:7]} shows, unsealed"
    tell_merge(view, environment, view.head, CheckState.NEUTRAL, title, prose(words))
    ports.jobs.put(Job(JobKind.PUBLISH, view.id, environment.name))
    for location in pinned if view.cut_off else ():
        application = view.pipeline.applications.get(location.place.application)
        if application is not None:
            image = location.place.image, Digest(location.written.digest)
            resolve_again(view, environment, application, image)
    return digests


def _check_not_revoked(view: View, environment: Environment, digests: Sequence[Digest]) -> None:
    revoked = [one for one in digests if one in view.rules.revoked]
    if revoked:
        why = "; ".join(f"{one.short}: {view.rules.revoked[one]}" for one in revoked)
        raise RevokedError(environment.name, why)


class RevokedError(RejectedError):
    """What somebody wants to take over is revoked."""

    def __init__(self, environment: str, why: str) -> None:
        """Name what is revoked."""
        super().__init__(
            f"{environment} runs what is revoked, which is never taken over ({why}); write another "
            "digest there first"
        )
        self.environment = environment


def resume(request: Request) -> Answer:
    """Go on, after a database was restored, emptied or changed, from what the refs show.

    Where no rules are in the record the commit has to be named whose rules those are: what stands
    on the default branch meanwhile is only a wish.
    """
    name = request.arguments[0] if request.arguments else ""
    asked = [one for one in request.ports.manifests if str(one).lower() == name.lower() or not name]
    if not asked:
        raise UnknownNameError("manifests repository", name, map(str, request.ports.manifests))
    commit = request.arguments[1] if len(request.arguments) > 1 else ""
    members = for_each(asked, lambda one: _resume(request, look_at(request.ports, one), commit))
    return {
        "resumed": [one for found in members.found for one in found],
        "problems": {str(name): str(error) for name, error in members.problems.items()},
    }


def _resume(request: Request, view: View, commit: str) -> list[dict[str, object]]:
    """Take over each ref of one manifests repository that stopped it."""
    if not view.cut_off:
        return []
    accepted = view.ports.memory.accepted_rules(view.id)
    if commit:
        if not _has_rules(view, commit):
            raise NotFoundError(f"valid rules at {commit[:40]}", f"{view.default_branch} (full id)")
        gate_of(view).let_in(commit, f"{request.actor} by command")
    elif not accepted:
        raise NotFoundError(
            "any rules that were let in",
            f"the database; name the commit of {view.default_branch} that you have read: "
            f"`lockkeeper resume --manifests {view.repository} --rules COMMIT`",
        )
    tips = view.history.heads()
    there = [one for one in view.pipeline.environments.values() if one.ref in tips]
    for environment in there:
        _take_over(view, environment, request.actor)
    facts = {"actor": request.actor, "rules": commit, "why": view.cut_off}
    view.ports.audit.append("resumed", view.scope(), facts)
    view.ports.jobs.put(Job(JobKind.RECONCILE, view.id))
    names = [one.name for one in there]
    return [{"manifests": str(view.repository), "environments": names, "rules": commit}]


def trust_source(request: Request) -> Answer:
    """Let the name of a source mean the repository that has it now."""
    source = GitHubRepository.parse(request.argument(0, "a source repository"))
    members = for_each(request.ports.manifests, lambda one: look_at(request.ports, one))
    views = [
        view
        for view in members.found
        if any(_is_one(one.source, source) for one in view.pipeline.applications.values())
    ]
    if not views:
        known = [
            str(one.source) for view in members.found for one in view.pipeline.applications.values()
        ]
        raise UnknownNameError("source repository", str(source), known, members.words)
    number, now = request.ports.github.facts(source).id, request.ports.clock.now()
    for view in views:
        request.ports.memory.record_source(KnownSource(view.scope(), str(source), number, now))
        facts = {"source": str(source), "id": str(number), "actor": request.actor}
        request.ports.audit.append("source known", view.scope(), facts)
        request.ports.jobs.put(Job(JobKind.RECONCILE, view.id))
    return {"source": str(source), "id": number, "manifests": [str(v.repository) for v in views]}


def _is_one(one: GitHubRepository, other: GitHubRepository) -> bool:
    return str(one).lower() == str(other).lower()


def accept(request: Request) -> Answer:
    """Put the rules of one commit into force, by the operator's word in place of approvals.

    The commit is named, so that nothing slips in between reading it and saying so.
    """
    target = request.target()
    view, commit = target.view, request.argument(1, "the commit whose rules come into force")
    accepted = request.ports.memory.accepted_rules(view.id)
    if not _has_rules(view, commit):
        raise NotFoundError(f"valid rules at {commit[:40]}", f"{view.default_branch} (a full id)")
    if any(view.history.is_ancestor(commit, one.commit) for one in accepted):
        raise NotFoundError(f"a change of the rules at {commit[:7]}", "what is not in force yet")
    gate_of(view).let_in(commit, f"{request.actor} by command")
    request.ports.jobs.put(Job(JobKind.ANSWER, view.id, "", commit))
    request.ports.jobs.put(Job(JobKind.RECONCILE, view.id))
    return {**target.identity, "commit": commit, "accepted": True}


def _has_rules(view: View, commit: str) -> bool:
    """Whether the default branch holds this commit (a full id), with rules that can be read."""
    is_there = bool(_COMMIT.fullmatch(commit)) and view.history.is_ancestor(commit, view.head)
    return is_there and rule_set(view.history, commit) is not None


def _shows(view: View, environment: Environment) -> str:
    """The commit that shows what runs: the ref's, else our record's, else the files'."""
    tip = view.history.heads().get(environment.ref, "")
    memory = view.ports.memory
    if tip or memory.last_publication(view.id, environment.name) is None:
        return tip or view.head
    records = memory.latest_publications(view.scope(environment.name))
    published = (one.commit for one in records if one.commit != NO_COMMIT)
    found = next((commit for commit in published if view.history.fetch_commit(commit)), "")
    if not found:
        raise NotFoundError(
            f"any publication of {environment.name}",
            f"{environment.ref}, GitHub or this machine: nothing shows what ran. Restore the "
            "database's backup, or promote to a new `publish.ref`",
        )
    return found


def _pinned(view: View, environment: Environment, commit: str) -> list[ImageLocation]:
    return [s for s in view.locations(commit, environment) if s.written.digest]


def _rendered(view: View, environment: Environment, commit: str) -> set[Digest]:
    """The digests of ours that only a rendering shows there."""
    written = (ImageField.parse(one.written) for _, one in render(view, environment, commit).ours)
    references = (one.reference() for one in written)
    return {one.digest for one in references if one is not None and one.digest is not None}


def _mentions(view: View, environment: Environment, commit: str) -> list[Digest]:
    """What speaks of images there and is no place, where that would hold a merge."""
    if not environment.signs:
        return []
    files = view.files(commit, environment)
    return [
        mention_digest(path, identity)
        for path in files.readings
        for identity in unsealable(files.remarks_of(path))
    ]


def hold(request: Request) -> Answer:
    """Stop an environment, or one application in it."""
    target = request.target()
    view, environment = target.view, target.environment
    application = request.application(view)
    reason = " ".join(request.arguments[2:]).strip() or "by command"
    stop(view, environment, application, request.who, reason)
    return {**target.identity, "application": application, "held": True}


def unhold(request: Request) -> Answer:
    """Let an environment (or one application in it) go on; a foreign tip is accepted with it."""
    target = request.target()
    view, environment = target.view, target.environment
    held = {one.scope.application for one in holds_of(view, environment.name)}
    application = request.application(view, held - {""})
    done = let_go(view, environment, application, request.who)
    return {**target.identity, "application": application, **_released(done)}


def freeze(request: Request) -> Answer:
    """Let nothing new into an environment for a while."""
    target = request.target()
    long = duration(VERBS_OF_ALL["freeze"], request.argument(1, "how long, as 8h"))
    reason = " ".join(request.arguments[2:]).strip()
    if not reason:
        raise NotFoundError("a reason", "the command")
    made = freeze_environment(target.view, target.environment, request.who, long, reason)
    return {**target.identity, "until": moment(made.until), "reason": made.reason}


def unfreeze(request: Request) -> Answer:
    """End a freeze that somebody gave."""
    target = request.target()
    done = end_freeze(target.view, target.environment, request.who)
    return {**target.identity, "application": "", **_released(done)}


def promote(request: Request) -> Answer:
    """Open the pull request of a commit; without one, of what the environment below shows."""
    target = request.target()
    view, environment = target.view, target.environment
    application = request.promoted(view)
    named = request.arguments[2] if len(request.arguments) > 2 else ""  # noqa: PLR2004 - the third
    commit = named or _below(view, environment, application)
    asked = ask_for_promotion(view, environment, application, request.who, commit, request.own)
    return {**target.identity, "application": application.name, "commit": asked.commit}


def _below(view: View, environment: Environment, application: Application) -> str:
    """The commit that is published where the environment takes its images from."""
    name = environment.source_environment
    tip = view.history.heads().get(view.environment(name).ref, "") if name else ""
    if not name or not tip:
        raise NotFoundError("a commit", "the command; this environment takes from no other")
    below = view.environment(name)
    images = shown_at(view, below, application, tip)
    for image in images.items():
        found = record_of(view, below, application, tip, image)
        if found is not None and dict(found.digests) == images:
            return found.commit
    raise NotFoundError(f"the commit of what {name} shows", "the record; name a commit")


def rollback(request: Request) -> Answer:
    """Open the pull request that goes back to what ran before."""
    target = request.target()
    view, environment = target.view, target.environment
    application = request.promoted(view)
    text = request.arguments[2] if len(request.arguments) > 2 else "1"  # noqa: PLR2004 - the third
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= _FURTHEST):
        raise NotFoundError(f"version number {text[:10]}", f"1 to {_FURTHEST}")
    found = ask_to_go_back(view, environment, application, request.who, int(text), request.own)
    digests = {name: str(digest) for name, digest in found.images.items()}
    return {
        **target.identity,
        "application": application.name,
        "commit": found.commit,
        "images": digests,
    }


def _released(done: Released) -> Answer:
    left = [
        {
            "by": one.actor,
            "reason": one.reason,
            "application": one.scope.application,
            "until": moment(one.until),
        }
        for one in done.left
    ]
    return {"held": bool(left), "was_held": bool(done.ended), "left": left}


def reseal(request: Request) -> Answer:
    """Sign again, with the first key, what is published in an environment."""
    target = request.target()
    view, environment = target.view, target.environment
    if not request.ports.grants.delivers(environment.name):
        raise NotFoundError(
            f"the private keys of {environment.name}",
            "the process that carries out commands; let one with them run `reseal`: "
            "`serve` without --except-environments",
        )
    done = reseal_environment(view, view.granted_environment(environment.name))
    scope, written = view.scope(environment.name), str(done.written)
    request.ports.audit.append("resealed", scope, {"actor": request.actor, "written": written})
    return {
        **target.identity,
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
    """What each application is in each environment, what it waits for, and what is wrong.

    A manifests repository that cannot be looked at, or not within `STATUS_SECONDS`, is named with
    the reason; the others go on.
    """
    states = request.ports.jobs.states()
    jobs = {state.key: state for state in states}
    found, problems = in_time(
        request.ports.looks(STATUS_SECONDS),
        request.ports.manifests,
        lambda one: _places(look_at(request.ports, one), jobs),
    )
    return {
        "places": [place for places in found for place in places],
        "problems": {str(name): reason for name, reason in problems.items()},
        "jobs": [_job(state) for state in states if state.key != request.own],
        "findings": [_finding(one) for one in request.ports.findings()],
    }


def _places(view: View, jobs: Mapping[str, JobState]) -> list[dict[str, object]]:
    return [_place(view, one) for one in places_of(view, jobs)]


def _place(view: View, one: PlaceStatus) -> dict[str, object]:
    return {
        "manifests": str(view.repository),
        "environment": one.environment,
        "application": one.application,
        "image": one.location.place.image,
        "wished": one.location.written.digest or None,
        "published": one.published or None,
        "state": one.standing.state,
        "waits_for": one.standing.waits_for or None,
        "who": one.standing.who or None,
        "revoked": one.standing.revoked or None,
        "sentence": one.sentence,
        "since": moment(one.standing.since),
        "until": moment(one.standing.until),
        "link": one.standing.link or None,
    }


def _finding(finding: Finding) -> dict[str, object]:
    return {
        "id": str(finding.about),
        "subject": finding.subject,
        "severity": str(finding.severity),
        "fact": finding.fact,
        "remedy": finding.remedy,
        "line": finding.line,
    }


def _job(state: JobState) -> dict[str, object]:
    return {
        "key": state.key,
        "state": state.state,
        "attempts": state.attempts,
        "since": moment(state.since),
        "due": moment(state.due),
        "summary": state.summary,
    }


def moment(at: datetime | None) -> str | None:
    """ISO 8601 in UTC, to the second."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if at else None


VERBS: Mapping[str, Callable[[Request], Answer]] = {
    "accept": accept,
    "adopt": adopt,
    "freeze": freeze,
    "hold": hold,
    "promote": promote,
    "reseal": reseal,
    "resume": resume,
    "retry": retry,
    "rollback": rollback,
    "status": status,
    "trust-source": trust_source,
    "unfreeze": unfreeze,
    "unhold": unhold,
}
"""What each verb of the one table does that comes by command line."""
