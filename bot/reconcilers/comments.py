"""Commands in comments: heard once, from a person, about a promotion, and always answered.

A webhook says only "look at comment 123". Author, body, age and edits are read from the API, and
who may give the verb is asked there, too. The comment's id is the key under which it is carried
out: another delivery of the same comment, or of the same body under a new delivery id, does
nothing. What was begun and cut short is taken up again, because every effect is an "ensure".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from bot.domain.broken_glass import SECOND_WITHIN
from bot.domain.environments import Environment
from bot.domain.errors import LockkeeperError, NotFoundError, RejectedError
from bot.domain.hearing import CommentFacts, Hearing, hear
from bot.domain.history import Comment, PullRequest
from bot.domain.jobs import Done, Job, JobKind, Outcome, RequeueAt
from bot.domain.memory import Hold
from bot.domain.pipeline_rules import UnknownNameError
from bot.domain.reports import LabelReport
from bot.domain.verbs import VERBS, Channel, Person, Verb, arguments_of, duration, verbs_of
from bot.facts.entitled import check_entitled
from bot.facts.gates import has_hold_label, labelled
from bot.facts.glass import break_glass
from bot.facts.promotions_open import BRANCHES, Promotion, promotions_in, superseded_key
from bot.facts.snapshot import Ports, View, look
from bot.facts.status import places_of
from bot.formats.markdown import code, prose
from bot.formats.slash_command import SlashCommand, further_commands, read_command
from bot.reconcilers.asked import ask_for_promotion, ask_for_update, ask_to_go_back
from bot.reconcilers.holding import Released, freeze, hold, unfreeze
from bot.reconcilers.letting_go import let_go
from bot.reporting.reports import tell_answer, tell_receipt

_NAMES: Final = frozenset(verb.name for verb in verbs_of(Channel.COMMENT))
_ONE_OF_MANY: Final = (
    "this pull request is of several applications, and one commit cannot be promoted for all of "
    "them; `lockkeeper promote APPLICATION ENVIRONMENT COMMIT` takes one by itself"
)
_OF_AN_ENVIRONMENT: Final = frozenset({"freeze", "unfreeze"})
"""Verbs that mean the environment; others mean every application of the pull request."""
GLASS_LABEL: Final = "lockkeeper/break-glass"
_SHOWN_WITHIN: Final = timedelta(minutes=2)
"""A comment that GitHub does not show by then was deleted, or never was."""
_AGAIN: Final = timedelta(seconds=15)
_CUT_SHORT: Final = (
    "it was edited after I had begun it, and what it said is not known any more; `/explain` says "
    "what holds now, and what is missing is given again in a new comment"
)
_REFUSALS: Final = 3
"""Answers in words to one person's refused commands on one pull request in a day.

More of them get a reaction alone: what an App may write in an hour is everybody's.
"""
_OF_WRITERS: Final = 10
"""The same, of whoever may write there."""
_LONGEST: Final = 19
"""Digits of a comment's id, and one more."""


def comment(ports: Ports, manifests: int, subject: str, retry: Callable[[str], bool]) -> Outcome:
    """Carry out the command of one comment, if it is one."""
    if not (subject.isascii() and subject.isdigit() and len(subject) < _LONGEST):
        return Done("no comment")
    view = look(ports, manifests)
    once = f"comment:{view.id}:{int(subject)}"
    if ports.audit.has(f"{once}:answered"):
        return Done("answered before")
    found = ports.github.comment(view.repository, int(subject))
    if found is None:
        return _awaited(view, subject)
    begun = ports.audit.has(once)
    hearing = hear(CommentFacts(found, ports.clock.now(), begun))
    if hearing is Hearing.EDITED and begun:
        return _Listener(view, found, once, retry).stop(_CUT_SHORT)
    if hearing not in {Hearing.HEARD, Hearing.LATE}:
        return Done(f"no command: {hearing.value}")
    return _Listener(view, found, once, retry).listen(is_late=hearing is Hearing.LATE)


def _awaited(view: View, subject: str) -> Outcome:
    """A comment may not be shown yet: a webhook is often faster than what GitHub's API answers."""
    now = view.ports.clock.now()
    key = Job(JobKind.COMMENT, view.id, "", subject).key
    since = next((one.since for one in view.ports.jobs.states() if one.key == key), None)
    if since is not None and now - since > _SHOWN_WITHIN:
        return Done("the comment is gone")
    return RequeueAt("GitHub does not show the comment yet", now + _AGAIN)


@dataclass(frozen=True, slots=True)
class Given:
    """A command as somebody gave it."""

    view: View
    promotion: Promotion
    """The one whose pull request they wrote on."""
    environment: Environment
    """The one that is meant."""
    who: Person
    arguments: Mapping[str, str]
    retry: Callable[[str], bool]
    """Makes a waiting or failed job run now; False if there is none of that key."""
    comment: int

    @property
    def key(self) -> str:
        """Names the command for ever."""
        return f"comment:{self.comment}"

    @property
    def application(self) -> str:
        """The one that is meant."""
        return self.promotion.application.name


@dataclass(frozen=True, slots=True)
class _Listener:
    """One comment of a person that is young enough."""

    view: View
    comment: Comment
    once: str
    retry: Callable[[str], bool]

    def listen(self, *, is_late: bool) -> Outcome:
        command, mistake = _read(self.comment.body)
        if command is None and mistake is None:
            return Done("no command")
        pull_request = self.view.ports.github.pull_request(
            self.view.repository, self.comment.pull_request
        )
        promotions = promotions_in(self.view, pull_request)
        if not promotions and self._was_ours(pull_request):
            words = f"the rules in force name nothing for {pull_request.head_branch} any more"
            return self._refuse(command.verb if command else "", words)
        if not promotions:
            return Done(f"pull request {pull_request.number} is no promotion")
        if command is None:
            return self._refuse("", str(mistake))
        if is_late:
            words = f"{Hearing.LATE.value}, before I saw it, so nothing was done; give it again"
            return self._refuse(command.verb, words)
        if command.verb == "promote" and len(promotions) > 1:
            # Each would take the one pull request of the group for itself.
            return self._refuse(command.verb, _ONE_OF_MANY)
        try:
            given = self._given(promotions[0], command)
            of_all = promotions[:1] if command.verb in _OF_AN_ENVIRONMENT else promotions
            each = [VERBS_IN_COMMENTS[command.verb](replace(given, promotion=o)) for o in of_all]
        except RejectedError as error:
            return self._refuse(command.verb, str(error))
        more = [f"further down, {code(f'/{verb}')} was not read" for verb in self._further()]
        hint = [f"{'; '.join(more)}: one command in a comment"] if more else []
        return self._answer(command, "\n".join(dict.fromkeys(filter(None, [*each, *hint]))))

    def stop(self, words: str) -> Outcome:
        """Refuse what was begun, if it is about a promotion."""
        pull_request = self.view.ports.github.pull_request(
            self.view.repository, self.comment.pull_request
        )
        if not promotions_in(self.view, pull_request):
            return Done(f"pull request {pull_request.number} is no promotion")
        return self._refuse("", words)

    def _further(self) -> Sequence[str]:
        return further_commands(self.comment.body, _NAMES)

    def _was_ours(self, pull_request: PullRequest) -> bool:
        """Whether the bot opened it for what nobody names any more."""
        is_ours = pull_request.author.login == self.view.ports.github.login()
        return (
            is_ours
            and pull_request.head_is_local
            and pull_request.head_branch.startswith(f"{BRANCHES}/")
        )

    def _given(self, promotion: Promotion, command: SlashCommand) -> Given:
        """The command, once it is known that whoever gave it may."""
        verb, author = VERBS[command.verb], self.comment.author
        arguments = arguments_of(verb, command.rest)
        environment = _environment(self.view, promotion, arguments)
        check_entitled(self.view, environment, verb, author)
        self._record(verb, environment, promotion)
        who = Person(author.login, author.id)
        return Given(self.view, promotion, environment, who, arguments, self.retry, self.comment.id)

    def _record(self, verb: Verb, environment: Environment, promotion: Promotion) -> None:
        scope = self.view.scope(environment.name, promotion.application.name)
        facts = {
            "verb": verb.name,
            "actor": self.comment.author.login,
            "account": str(self.comment.author.id),
            "comment": str(self.comment.id),
            "pull_request": str(promotion.pull_request.number),
            "line": self.comment.body.split("\n", 1)[0][:300],
        }
        self.view.ports.audit.append("commanded", scope, facts, once=self.once)

    def _answer(self, command: SlashCommand, said: str) -> Outcome:
        tell_receipt(self.view, self.comment.id, is_done=True)
        if said:
            self._say(command.verb, said)
        return self._over(f"{command.verb} by {self.comment.author.login}", "carried out")

    def _refuse(self, verb: str, words: str) -> Outcome:
        tell_receipt(self.view, self.comment.id, is_done=False)
        if self._may_be_answered():
            self._say(verb, prose(words, 600))
        return self._over(f"refused {verb} by {self.comment.author.login}: {words}", "refused")

    def _may_be_answered(self) -> bool:
        """Whether a refusal is told in words: the first ones of a day are."""
        view, author = self.view, self.comment.author
        day = f"{view.ports.clock.now():%Y-%m-%d}"
        refused = f"refused:{view.id}:{self.comment.pull_request}:{author.id}:{day}"
        most = _REFUSALS
        if view.ports.audit.has(f"{refused}:{most}"):
            with suppress(LockkeeperError):  # who cannot be asked about is a stranger
                may_write = view.ports.github.can_write(view.repository, author)
                most = _OF_WRITERS if may_write else _REFUSALS
        for number in range(1, most + 1):
            once = f"{refused}:{number}"
            if not view.ports.audit.has(once):
                facts = {"actor": author.login, "comment": str(self.comment.id)}
                view.ports.audit.append("refused", view.scope(), facts, once=once)
                return True
        return False

    def _say(self, verb: str, words: str) -> None:
        heading = f"{code(f'/{verb}')}: " if verb else ""
        body = f"{heading}{words}"
        tell_answer(self.view, self.comment.pull_request, self.comment.id, body)

    def _over(self, words: str, outcome: str) -> Outcome:
        facts = {"comment": str(self.comment.id), "outcome": outcome}
        once = f"{self.once}:answered"
        self.view.ports.audit.append("answered", self.view.scope(), facts, once=once)
        return Done(words)


def _read(body: str) -> tuple[SlashCommand | None, RejectedError | None]:
    """The command, or why what was nearly one is none."""
    try:
        return read_command(body, _NAMES), None
    except RejectedError as error:
        return None, error


def _environment(view: View, promotion: Promotion, arguments: Mapping[str, str]) -> Environment:
    """The environment that a command names, else that of the pull request."""
    name = arguments.get("ENVIRONMENT", promotion.environment.name)
    if name not in view.pipeline.environments:
        raise UnknownNameError("environment", name, view.pipeline.environments)
    return view.pipeline.environments[name]


# --- what each verb does; the answer is Markdown, empty where the reaction says it all ---


def _explain(given: Given) -> str:
    jobs = {state.key: state for state in given.view.ports.jobs.states()}
    meant = given.environment.name, given.application
    places = list(places_of(given.view, jobs, only=meant))
    if not places:
        raise NotFoundError(
            f"any place of {given.application}", f"{given.environment.name}'s files"
        )
    said = [*_of_this(given), *(one.sentence for one in places)]
    return "\n" + "\n".join(dict.fromkeys(f"- {prose(line, 600)}" for line in said))


def _of_this(given: Given) -> list[str]:
    """What became of the pull request itself, where it is over and nothing else tells."""
    pull_request, view = given.promotion.pull_request, given.view
    environment = given.environment.name
    if pull_request.is_open or pull_request.merged:
        return []
    number = pull_request.number
    if view.ports.audit.has(superseded_key(view, number)):
        return [f"pull request {number} was closed by me: the default branch has what it asked for"]
    alone = not given.promotion.application.group
    way = f"reopen it, or `/promote {environment}` here" if alone else "reopen it"
    return [f"pull request {number} was closed; its digests are not proposed again: {way}"]


def _recheck(given: Given) -> str:
    number = str(given.promotion.pull_request.number)
    given.view.ports.jobs.put(Job(JobKind.ANSWER, given.view.id, "", number))
    for job in _jobs(given):
        given.view.ports.jobs.put(job)
    return ""


def _retry(given: Given) -> str:
    again = [job.key for job in _jobs(given) if given.retry(job.key)]
    if not again:
        return "nothing waits or has failed here; `/explain` says where it stands"
    return "runs again: " + ", ".join(code(key) for key in again)


def _jobs(given: Given) -> list[Job]:
    view, environment = given.view, given.environment.name
    return [
        Job(JobKind.PROPOSE, view.id, environment, given.promotion.application.lane),
        Job(JobKind.DELIVER, view.id, environment, given.application),
        Job(JobKind.PUBLISH, view.id, environment),
    ]


def _hold(given: Given) -> str:
    hold(
        given.view,
        given.environment,
        given.application,
        given.who,
        given.arguments.get("REASON", ""),
    )
    return ""


def _unhold(given: Given) -> str:
    done = let_go(given.view, given.environment, given.application, given.who)
    by_label = _label_left(given)
    said = _released(done, "" if by_label else "nothing was held")
    return "; ".join(filter(None, [said, by_label]))


def _label_left(given: Given) -> str:
    """What a label still holds, that somebody put on the pull request by hand."""
    view, pull_request = given.view, given.promotion.pull_request
    if not has_hold_label(pull_request):
        return ""
    stop = labelled(view.ports.github.pull_request(view.repository, pull_request.number))
    return f"still held: {prose(stop.why)}; {prose(stop.way_out)}" if stop else ""


def _freeze(given: Given) -> str:
    long = duration(VERBS["freeze"], given.arguments["DURATION"])
    made = freeze(given.view, given.environment, given.who, long, given.arguments["REASON"])
    until = f"{made.until:%Y-%m-%d %H:%M} UTC"
    return f"nothing new comes into {code(given.environment.name)} until {until}"


def _unfreeze(given: Given) -> str:
    nothing = (
        f"{given.environment.name} was not frozen by anybody; windows of the pipeline file end by "
        "themselves"
    )
    return _released(unfreeze(given.view, given.environment, given.who), nothing)


def _update(given: Given) -> str:
    ask_for_update(given.view, given.environment, given.promotion.application, given.who, given.key)
    return "the newest build is looked for; approvals of what stood here do not count for it"


def _promote(given: Given) -> str:
    commit = given.arguments.get("COMMIT") or _commit_of(given)
    asked = ask_for_promotion(
        given.view,
        given.environment,
        given.promotion.application,
        given.who,
        commit,
        given.key,
    )
    return f"{code(asked.commit[:7])} is on its way to {code(given.environment.name)}"


def _commit_of(given: Given) -> str:
    """The source commit of the pull request on which it was said."""
    promotion, view = given.promotion, given.view
    scope = view.scope(promotion.environment.name, promotion.application.name)
    heads = view.ports.memory.heads_at(view.id, promotion.pull_request.head)
    found = next((one.source for one in heads if one.scope == scope), "")
    if not found:
        raise NotFoundError("a commit of ours", "this pull request's head; name one: `/promote`")
    return found


def _rollback(given: Given) -> str:
    found = ask_to_go_back(
        given.view,
        given.environment,
        given.promotion.application,
        given.who,
        int(given.arguments.get("N", "1")),
        given.key,
    )
    images = ", ".join(code(digest.short) for digest in found.images.values())
    return (
        f"going back to {code(found.commit[:7])} ({images}) by a pull request of its own; nothing "
        f"newer comes until {code('/unhold')}"
    )


def _break_glass(given: Given) -> str:
    view, environment = given.view, given.environment
    found = break_glass(
        view,
        environment,
        given.application,
        given.who,
        _commit_of(given),
        given.arguments["REASON"],
        given.key,
    )
    if found is None:
        teams = " or ".join(environment.approvals.teams) or "who may write"
        hour = int(SECOND_WITHIN.total_seconds() // 3600)
        return (
            f"a second person ({prose(teams)}) says {code('/break-glass REASON')} here within "
            f"{hour} h; until then nothing has changed"
        )
    number = given.promotion.pull_request.number
    view.ports.jobs.put(Job(JobKind.ANSWER, view.id, "", str(number)))
    view.ports.outbox.tell(LabelReport(view.repository, number, (GLASS_LABEL,)))
    return (
        f"**the glass is broken** by {prose(' and '.join(found.by))} until "
        f"{found.until:%Y-%m-%d %H:%M} UTC, because: {prose(found.reason)}. For "
        f"{code(found.commit[:7])} in {code(environment.name)} the policy, freezes and the number "
        "of approvals do not count; holds, the record, where it comes from, its seal and "
        "revocations do. Write down afterwards what happened, and what has to change: the audit "
        f"has it as {code('glass broken')}."
    )


def _released(done: Released, nothing: str) -> str:
    """What was ended, and what still stops it with who ends that."""
    words = [] if done.ended or not nothing else [prose(nothing, 300)]
    words += [f"still {_words(one)}" for one in done.left]
    return "; ".join(words)


def _words(one: Hold) -> str:
    verb = "frozen" if one.until else "held"
    until = f" until {one.until:%Y-%m-%d %H:%M} UTC" if one.until else ""
    where = one.scope.application or one.scope.environment
    return f"{verb} by {prose(one.actor)} ({prose(where)}){until}: {prose(one.reason)}"


VERBS_IN_COMMENTS: Final[Mapping[str, Callable[[Given], str]]] = {
    "break-glass": _break_glass,
    "explain": _explain,
    "freeze": _freeze,
    "hold": _hold,
    "promote": _promote,
    "recheck": _recheck,
    "retry": _retry,
    "rollback": _rollback,
    "unfreeze": _unfreeze,
    "unhold": _unhold,
    "update": _update,
}
