"""The check on every pull request, merge group and push of the manifests repository.

It answers always, so that it can be required: a change without our digests succeeds at once, one
with them is judged like a promotion, and digests together with rules have to come apart.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from bot.domain.environments import Application, Environment, ImageId, Pipeline, Unmanaged
from bot.domain.errors import ConfigurationError, RejectedError
from bot.domain.gates import Action, Closed, Direction
from bot.domain.history import CheckState, PullRequest
from bot.domain.images import RegistryRefusesError
from bot.domain.jobs import Done, Job, JobKind, Outcome, RequeueAt
from bot.domain.oci import Digest
from bot.domain.policy import Result
from bot.domain.promotion import in_hand, promotion_id
from bot.domain.publication import FileState, LocationKey
from bot.facts.evidence import Evaluated, evaluate, report_url
from bot.facts.gates import closed, going_all, labelled, told
from bot.facts.glass import broken_for_digest
from bot.facts.granted import Refusal, check_environment, refusals
from bot.facts.loose_digests import loose_digests
from bot.facts.promotions_open import ROLLBACK_SUFFIX, note_superseded
from bot.facts.ref_snapshot import RefSnapshot
from bot.facts.resolution import is_in_source, is_published
from bot.facts.restored import stood_together
from bot.facts.rules import all_mistakes, rules_at
from bot.facts.rules_in_force import demanded, is_same, lacking_now, rule_set
from bot.facts.seals import adopted_too_late
from bot.facts.snapshot import Ports, View, as_configuration_error, look, pipeline_at
from bot.facts.updated_heads import before_updates
from bot.formats.check_output import check_output
from bot.formats.environment_files import EnvironmentFiles
from bot.formats.foreign_images import ForeignImage, foreign_in, is_allowed
from bot.formats.image_names import ImageField
from bot.formats.manifest_file import digests_in, image_of
from bot.formats.markdown import code, prose
from bot.formats.pipeline_file import PIPELINE_FILE
from bot.formats.places import HOLDING, Remark, RemarkKind
from bot.formats.pull_request_body import superseded
from bot.reporting.reports import tell_commit, tell_pull_request, tell_rules
from bot.reporting.rules_preview import preview_rules
from bot.reporting.verdicts import note_verdict

_QUEUED: Final = re.compile(r"gh-readonly-queue/.+/pr-([1-9][0-9]{0,17})-[0-9a-f]{40,64}")
"""GitHub's branch of a pull request that is in a merge queue."""
_NO_FILE: Final = FileState("")
_REMARKS: Final = 20
"""Remarks that are listed one by one."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the check says."""

    state: CheckState
    title: str
    summary: str
    details: str = ""
    until: datetime | None = None
    """When it says something else by itself, UTC."""


@dataclass(frozen=True, slots=True)
class Moved:
    """A place that a change moves."""

    environment: Environment
    place: LocationKey
    written: ImageField
    """What it says afterwards."""


def answer(ports: Ports, manifests: int, subject: str) -> Outcome:
    """Set the check on a pull request (its number) or on a commit (its full id)."""
    view = look(ports, manifests)
    if subject.isascii() and subject.isdigit() and len(subject) < 20:  # noqa: PLR2004 - a commit id has 40 digits
        return answer_pull_request(
            view, view.ports.github.pull_request(view.repository, int(subject))
        )
    return answer_commit(view, subject)


def answer_pull_request(view: View, pull_request: PullRequest) -> Outcome:
    """Judge the head of a pull request against the default branch."""
    number = pull_request.number
    if pull_request.base_branch != view.default_branch:
        return Done(f"pull request {number} asks for nothing")
    if pull_request.merge_commit and view.history.is_ancestor(pull_request.merge_commit, view.head):
        return _answer_merged_rules(view, pull_request.merge_commit)
    if not pull_request.is_open:
        return Done(f"pull request {number} asks for nothing")
    if not view.history.fetch_commit(pull_request.head):
        view.history.refresh()
        if not view.history.fetch_commit(pull_request.head):
            return Done(f"the head of pull request {number} cannot be read")
    orphan = _is_promotion(view, pull_request) and _names_nothing(view, pull_request)
    if orphan:
        return _close_orphan(view, pull_request)
    judgement = _judge_pull_request(view, pull_request)
    _tell(view, pull_request.head, judgement)
    _tell_rules_wanted(view, pull_request)
    for tip in (tip for queued, tip in _queued(view) if queued == number):
        view.ports.jobs.put(Job(JobKind.ANSWER, view.id, "", tip))  # a label counts there, too
    if not _is_promotion(view, pull_request):
        preview_rules(view, pull_request, _fork_point(view, pull_request.head))
    words = f"pull request {number}: {judgement.title}"
    return Done(words) if judgement.until is None else RequeueAt(words, judgement.until)


def answer_commit(view: View, commit: str) -> Outcome:
    """Judge a merge group's head, or a commit of the default branch, by the files it brings."""
    if not view.history.fetch_commit(commit):
        return Done(f"commit {commit[:7]} is gone")
    parents = view.history.commit(commit).parents
    if view.history.is_ancestor(commit, view.head):
        # Digests of a merge are judged when they are delivered; here only the rules are.
        if not parents or not _rule_files(view) & view.history.changes(parents[0], commit).keys():
            return Done("nothing to say")
        judgement = _judge_rules(view, commit)
        _answer_merged_rules(view, commit)
    else:
        by_hand = _labelled_in_queue(view, commit)
        judgement = _judge(view, _fork_point(view, commit), commit, by_hand=by_hand)
    _tell(view, commit, judgement)
    return Done(f"commit {commit[:7]}: {judgement.title}")


def _labelled_in_queue(view: View, commit: str) -> Closed | None:
    """The hold by hand of a pull request that a merge group brings: the queue asks for no other.

    GitHub makes a branch per pull request in the queue, each on top of those before it.
    """
    for number, tip in _queued(view):
        if not view.history.has(tip) or not view.history.is_ancestor(tip, commit):
            continue
        pull_request = view.ports.github.pull_request(view.repository, number)
        stop = labelled(pull_request) if pull_request.is_open else None
        if stop is not None:
            return stop
    return None


def _queued(view: View) -> Iterator[tuple[int, str]]:
    """The pull requests in the default branch's merge queue, each with its group's head."""
    for name, tip in view.history.heads().items():
        found = _QUEUED.match(name)
        if found is not None:
            yield int(found[1]), tip


def _answer_merged_rules(view: View, commit: str) -> Outcome:
    """Say whether the rules that a commit of the default branch brought are in force."""
    parents = view.history.commit(commit).parents
    if not parents or not _rule_files(view) & view.history.changes(parents[0], commit).keys():
        return Done(f"commit {commit[:7]} changes no rules")
    if view.pending is None:
        title, summary = "In force", "These rules hold from now on."
        tell_rules(view, commit, CheckState.SUCCESS, title, summary)
        return Done(f"commit {commit[:7]}: in force")
    lacking, stay = prose(view.pending.lacking, 600), code(view.pipeline.commit[:7])
    for one in dict.fromkeys([view.pending.commit, commit]):
        summary = (
            f"{code(view.pending.commit[:7])}: {lacking}\n\nThe rules of {stay} stay in force. "
            "They are not loosened by whoever may push: take the change back and merge it as a "
            "pull request with these approvals, or have the merged one approved."
        )
        tell_rules(view, one, CheckState.FAILURE, "Not in force", summary)
    return Done(f"commit {commit[:7]}: not in force")


def _tell_rules_wanted(view: View, pull_request: PullRequest) -> None:
    """Say on an open pull request which approvals its rules need."""
    base = _fork_point(view, pull_request.head)
    before = rule_set(view.history, view.pipeline.commit) if view.pipeline.commit else None
    changed = view.history.changes(base, pull_request.head).keys() if base else ()
    if before is None or not _rule_files(view) & set(changed):
        return
    demands = demanded(before, rule_set(view.history, pull_request.head))
    if demands and not is_same(view.history, base, view.pipeline.commit):
        title = "Not on top of the rules in force"
        words = (
            "Whoever approves has to see all that changes: update the branch, and take back what "
            "came to the default branch without approvals."
        )
        tell_rules(view, pull_request.head, CheckState.FAILURE, title, words)
        return
    environments, lacking = lacking_now(view.line, before, pull_request)
    names = ", ".join(code(one.name) for one in environments)
    touches = f"Rules of {names} change." if names else "No environment with approvals is touched."
    state = CheckState.FAILURE if lacking else CheckState.SUCCESS
    title = "Approvals are missing" if lacking else "May come into force"
    tell_rules(view, pull_request.head, state, title, f"{touches}\n\n{prose(lacking, 600)}")


def _tell(view: View, commit: str, said: Judgement) -> None:
    tell_commit(view, commit, said.state, said.title, said.summary, said.details)


def _judge_pull_request(view: View, pull_request: PullRequest) -> Judgement:
    base, by_hand = _fork_point(view, pull_request.head), labelled(pull_request)
    if _is_promotion(view, pull_request):
        foreign = _foreign_commit(view, pull_request)
        if foreign:
            return Judgement(CheckState.FAILURE, "Edited by somebody else", foreign)
        return _judge(view, base, pull_request.head, pull_request.number, by_hand)
    return _judge(view, base, pull_request.head, by_hand=by_hand)


def _is_promotion(view: View, pull_request: PullRequest) -> bool:
    """Whether the bot opened it, on a branch of its own."""
    is_ours = pull_request.author.login == view.ports.github.login()
    is_local = pull_request.head_is_local
    return is_ours and is_local and pull_request.head_branch.startswith("lockkeeper/")


def _names_nothing(view: View, pull_request: PullRequest) -> bool:
    """Whether a promotion's branch is of nothing that the pipeline in force names any more.

    Where no pipeline is in force, or the record is not whole, nobody knows that.
    """
    pipeline = view.pipeline
    if view.cut_off or not (pipeline.environments and pipeline.applications):
        return False
    lanes = {one.lane for one in pipeline.applications.values()}
    _, _, rest = pull_request.head_branch.removesuffix(ROLLBACK_SUFFIX).partition("/")
    environment, _, lane = rest.partition("/")
    return environment not in pipeline.environments or lane not in lanes


def _close_orphan(view: View, pull_request: PullRequest) -> Outcome:
    """Close it with the reason; marked first, so that nobody takes it for a person's rejection."""
    number, github = pull_request.number, view.ports.github
    link = f"[{code(PIPELINE_FILE)}]({view.web_url}/blob/{view.pipeline.commit}/{PIPELINE_FILE})"
    words = (
        f"**Closed.** {link} names no environment, application or group for "
        f"{code(pull_request.head_branch)} any more. What takes its place has a pull request of "
        "its own, and starts from what runs."
    )
    note_superseded(view, number, "")
    body = superseded(pull_request.body)
    github.edit_pull_request(view.repository, number, title=pull_request.title, body=body)
    tell_pull_request(view, number, words)
    github.close_pull_request(view.repository, number)
    return Done(f"pull request {number} is closed: {pull_request.head_branch} names nothing now")


def _foreign_commit(view: View, pull_request: PullRequest) -> str:
    """Why a promotion's head is not the bot's own; empty: it is."""
    memory = view.ports.memory
    if memory.heads_at(view.id, before_updates(view.history, view.head, pull_request.head)):
        return ""
    commits = view.history.first_parents(pull_request.head, limit=10)
    others = (one for one in commits if not memory.heads_at(view.id, one.id))
    author = next((one.author for one in others), "somebody")
    return (
        f"{code(pull_request.head[:7])} on this branch is not Lockkeeper's (author: "
        f"{prose(author)}), so Lockkeeper neither merges nor updates it. "
        f"{code('/update')} in a comment starts it afresh from the newest build; what was added "
        "here belongs into a pull request of its own."
    )


def _fork_point(view: View, commit: str) -> str:
    """The newest commit of the default branch that the change builds on."""
    for ancestor in view.history.first_parents(commit, limit=500):
        if view.history.is_ancestor(ancestor.id, view.head):
            return ancestor.id
    return ""


def _judge(
    view: View,
    base: str,
    commit: str,
    ours: int | None = None,
    by_hand: Closed | None = None,
) -> Judgement:
    changed = view.history.changes(base, commit)
    try:
        moved = _moved(view, base, commit)
    except RejectedError as error:
        return Judgement(
            CheckState.FAILURE, "A manifest file cannot be read", prose(str(error), 600)
        )
    if _rule_files(view) & changed.keys():
        if moved:
            rules = ", ".join(code(path) for path in sorted(_rule_files(view) & changed.keys()))
            return Judgement(
                CheckState.FAILURE,
                "Two pull requests, please",
                f"This changes {rules} together with digests. Rules are not "
                "loosened by the merge that they judge: merge the rules first.",
            )
        return _judge_rules(view, commit)
    unplaced = _unplaced(view, base, commit, changed)
    if unplaced.holding:
        title = "An image stands where it cannot be sealed"
        return Judgement(CheckState.FAILURE, title, _listed(unplaced.holding))
    foreign = _foreign(view, base, commit, changed)
    if foreign.holding:
        title = "An image that nobody manages"
        way = "Promote it, name its repository in `allow_images`, or take it out."
        return Judgement(CheckState.FAILURE, title, f"{_listed(foreign.holding)}\n\n{way}")
    said = Judgement(CheckState.SUCCESS, "No promoted digest changes", "Nothing to judge.")
    if moved:
        said = _judge_digests(view, moved, ours)
    change = _Change(view, base, commit, changed)
    said = _gated(said, (by_hand if moved else None) or _closed(change, moved))
    if unplaced.warnings:
        warnings = f"{said.summary}\n\n**Take note:**\n\n{_listed(unplaced.warnings)}"
        said = replace(said, summary=warnings)
    if foreign.warnings:
        listed = f"**Images that nobody manages:**\n\n{_listed(foreign.warnings)}"
        said = replace(said, summary=f"{said.summary}\n\n{listed}")
    return said


def _goes_back(view: View, moved: Sequence[Moved]) -> bool:
    """Whether every digest of it was published there before what runs now."""
    environments = {one.environment.name: one.environment for one in moved}
    return all(
        going_all(
            view,
            environment,
            [
                (image_of(one.place), Digest(one.written.digest))
                for one in moved
                if one.environment == environment and one.written.digest
            ],
        )
        is Direction.BACK
        for environment in environments.values()
    )


@dataclass(frozen=True, slots=True)
class _Change:
    """Everything that a pull request or a merge group changes."""

    view: View
    base: str
    commit: str
    changed: Collection[str]

    def whole(self, environment: Environment, images: Direction) -> Direction:
        """Where it goes: back only if what changes beside the images ran with them, too."""
        own = [one for one in self.changed if environment.owns(one)]
        states = RefSnapshot(self.view, environment, "", None)
        is_reshaped = any(
            (states.state(self.base, path) or _NO_FILE).skeleton
            != (states.state(self.commit, path) or _NO_FILE).skeleton
            for path in own
        )
        if is_reshaped and not stood_together(self.view, environment, self.commit, own):
            return Direction.FORWARD
        return images


def _closed(change: _Change, moved: Sequence[Moved]) -> Closed | None:
    """What stops it in its environments; the first that a person has to end, else the last.

    Configuration waits as images do, in the environments whose files it changes.
    """
    view = change.view
    found: list[Closed] = []
    with_images = {one.environment.name for one in moved}
    for environment in view.pipeline.environments.values():
        owned = any(environment.owns(path) for path in change.changed)
        if owned and environment.name not in with_images:
            stop = closed(view, environment, "", Action.MERGE)
            found += [stop] if stop is not None else []
    for environment in {one.environment.name: one.environment for one in moved}.values():
        here = [one for one in moved if one.environment == environment]
        for application in dict.fromkeys(one.place.application for one in here):
            images = [
                (image_of(one.place), Digest(one.written.digest))
                for one in here
                if one.place.application == application and one.written.digest
            ]
            where = view, environment, application, Action.MERGE
            going = change.whole(environment, going_all(view, environment, images))
            stop = closed(*where, going)
            found += [stop] if stop is not None else []
    lasting = [one for one in found if one.until is None]
    return next(iter(lasting), None) or max(found, key=_end, default=None)


def _end(found: Closed) -> datetime:
    return found.until or datetime.max.replace(tzinfo=UTC)


def _gated(said: Judgement, found: Closed | None) -> Judgement:
    """The judgement, with what stops the merge above it: a required check keeps it shut."""
    if found is None:
        return said
    title, words = told(found)
    summary = f"{words}\n\n{said.title}.\n\n{said.summary}"
    return Judgement(CheckState.FAILURE, title, summary, said.details, found.until)


@dataclass(frozen=True, slots=True)
class _Foreign:
    """Images of others that a change brings."""

    holding: tuple[ForeignImage, ...]
    warnings: tuple[ForeignImage, ...]


def _foreign(view: View, base: str, commit: str, changed: Collection[str]) -> _Foreign:
    """What the changed files name now, and did not before, and no `allow_images` lets pass."""
    found: dict[Unmanaged, dict[ForeignImage, None]] = {one: {} for one in Unmanaged}
    for environment in view.pipeline.environments.values():
        if environment.unmanaged is Unmanaged.IGNORE:
            continue
        for path in sorted(path for path in changed if environment.owns(path)):
            known = {one.text for one in _foreign_at(view, environment, base, path)}
            found[environment.unmanaged] |= {
                one: None
                for one in _foreign_at(view, environment, commit, path)
                if one.text not in known and not is_allowed(one, environment.allow_images)
            }
    return _Foreign(tuple(found[Unmanaged.HOLD]), tuple(found[Unmanaged.WARN]))


def _foreign_at(
    view: View, environment: Environment, commit: str, path: str
) -> Sequence[ForeignImage]:
    entry = view.history.paths(commit).get(path) if commit else None
    if entry is None or not entry.is_file:
        return ()
    return foreign_in(path, view.text(entry.blob), view.names(environment))


@dataclass(frozen=True, slots=True)
class _Unplaced:
    """What a change brings that speaks of our images and is no place."""

    holding: tuple[Remark, ...]
    """Its environment signs: the merge would be held."""
    warnings: tuple[Remark, ...]


def _unplaced(view: View, base: str, commit: str, changed: Collection[str]) -> _Unplaced:
    holding: dict[tuple[str, str], Remark] = {}
    warnings: dict[tuple[str, str], Remark] = {}
    for environment in view.pipeline.environments.values():
        before = view.files(base, environment) if base else EnvironmentFiles()
        after = view.files(commit, environment)
        loose = [
            one
            for path in sorted(changed)
            for one in loose_digests(view, environment, commit, path)
        ]
        if before is after and not loose:
            continue
        known = {(one.file, one.identity) for one in before.remarks}
        old = {(one.file, d) for one in loose for d in _digests_at(view, base, one.file)}
        for one in (*after.remarks, *loose):
            key = one.file, one.identity
            if key in known or (one in loose and (one.file, one.text) in old):
                continue
            if one.kind in HOLDING and environment.signs:
                holding[key] = one
            elif one.kind in HOLDING or one.kind is RemarkKind.MARKER:
                warnings[key] = one
    return _Unplaced(tuple(holding.values()), tuple(warnings.values()))


def _digests_at(view: View, commit: str, path: str) -> Collection[str]:
    entry = view.history.paths(commit).get(path) if commit else None
    return digests_in(path, view.text(entry.blob)) if entry and entry.is_file else ()


def _listed(remarks: Sequence[Remark | ForeignImage]) -> str:
    lines = [f"- {prose(str(one), 300)}" for one in remarks[:_REMARKS]]
    more = len(remarks) - _REMARKS
    return "\n".join([*lines, f"- and {more} more"] if more > 0 else lines)


def _rule_files(view: View) -> frozenset[str]:
    return view.rules.files | {PIPELINE_FILE}


def _judge_rules(view: View, commit: str) -> Judgement:
    try:
        pipeline = pipeline_at(view.repository, view.history, commit)
        rules_at(view.history, pipeline, commit)
    except RejectedError as error:
        return _broken(as_configuration_error(error), _others(view, commit, error))
    late = _adopted_too_late(view, pipeline)
    if late:
        return Judgement(CheckState.FAILURE, "`adopt` says nothing any more", late)
    grants, repository = view.ports.grants, view.repository
    now = {(one.member, one.fact) for one in refusals(grants, repository, view.pipeline)}
    found = list(refusals(grants, repository, pipeline))
    new = [one for one in found if (one.member, one.fact) not in now]
    names = ", ".join(code(name) for name in pipeline.environments)
    if new:
        return _refused(new)
    said = f"Environments: {names}.{_stopped(found)}"
    return Judgement(CheckState.SUCCESS, "The pipeline file is valid", said)


def _refused(found: Sequence[Refusal]) -> Judgement:
    """What this change asks for and the operator's grants do not bear."""
    more = f", and {len(found) - 1} more" if len(found) > 1 else ""
    kept = "Merged as it is, what is named here does nothing; everything else goes on."
    return Judgement(CheckState.FAILURE, f"{found[0].fact}{more}", f"{_errors(found)}\n\n{kept}")


def _stopped(found: Sequence[Refusal]) -> str:
    """What is stopped by the operator's grants already, whatever becomes of this change."""
    if not found:
        return ""
    return f"\n\n**Stopped now, and not by this change:**\n\n{_errors(found)}"


def _errors(found: Sequence[Refusal]) -> str:
    lines = [f"- {prose(str(one.error), 300)}" for one in found[:_REMARKS]]
    more = len(found) - _REMARKS
    return "\n".join([*lines, f"- and {more} more"] if more > 0 else lines)


def _adopted_too_late(view: View, pipeline: Pipeline) -> str:
    """What the key `adopt` names without any effect; empty: nothing."""
    late = {
        environment.name: digests
        for environment in pipeline.environments.values()
        if (digests := adopted_too_late(view, environment))
    }
    return "\n".join(
        f"- {code(name)} has its publications: {', '.join(map(code, digests))} under `adopt` is "
        "not taken over. Take the key out; what has to run is promoted."
        for name, digests in late.items()
    )


def _others(view: View, commit: str, error: RejectedError) -> Sequence[ConfigurationError]:
    """What else is wrong with the files, beside the first mistake."""
    try:
        found = all_mistakes(view.history, commit)
    except RejectedError:
        return []
    return [one for one in found if str(one) != str(error)]


def _broken(error: ConfigurationError, others: Sequence[ConfigurationError] = ()) -> Judgement:
    place = error.file if error.line is None else f"{error.file}:{error.line}"
    lines = [f"- {prose(str(one), 300)}" for one in others[:_REMARKS]]
    lines += [f"- and {len(others) - _REMARKS} more"] if len(others) > _REMARKS else []
    listed = "\n".join(["\n\n**Also wrong:**\n", *lines]) if lines else ""
    remedy = f"\n\n**What to do:** {prose(error.remedy, 400)}" if error.remedy else ""
    kept = "\n\nThe newest valid version on the default branch stays in force."
    return Judgement(
        CheckState.FAILURE,
        f"{place}: {error.fact}",
        f"{code(place)}: {prose(error.fact, 600)}{remedy}{listed}{kept}",
    )


def _moved(view: View, base: str, commit: str) -> list[Moved]:
    """Places whose repository, tag or digest is new in ``commit``."""
    moved: list[Moved] = []
    for environment in view.pipeline.environments.values():
        before = view.files(base, environment) if base else EnvironmentFiles()
        after = view.files(commit, environment)
        if before is after:
            continue  # nothing that goes into this environment changes
        moved += [
            Moved(environment, location.place, location.written)
            for location in after.locations
            if (known := before.by_place.get(location.place)) is None
            or known.written != location.written
        ]
    return moved


def _judge_digests(view: View, moved: Sequence[Moved], ours: int | None) -> Judgement:
    stopped = _stopped_environments(view, moved)
    wrong = [*stopped.values()]
    wrong += [
        reason
        for one in moved
        if one.environment.name not in stopped and (reason := _what_is_wrong(view, one))
    ]
    listed = "\n".join(f"- {line}" for line in _lines(moved))
    if wrong:
        reasons = "\n".join(f"- {reason}" for reason in wrong)
        return Judgement(
            CheckState.FAILURE, "These digests cannot be delivered", f"{reasons}\n\n{listed}"
        )
    author = "Digests changed by hand" if ours is None else "Lockkeeper's own edit"
    if _goes_back(view, moved):
        author += ". **Goes back to what was published here before:** a rollback"
    return _judge_evidence(view, moved, f"{author}.\n\n{listed}", ours)


def _stopped_environments(view: View, moved: Sequence[Moved]) -> Mapping[str, str]:
    """Environments in which nothing can be done as the operator's grants are -> why."""
    found: dict[str, str] = {}
    for environment in {one.environment.name: one.environment for one in moved}.values():
        try:
            check_environment(view.ports.grants, view.repository, view.pipeline, environment)
        except RejectedError as error:
            found[environment.name] = prose(str(error), 300)
    return found


def _judge_evidence(view: View, moved: Sequence[Moved], facts: str, ours: int | None) -> Judgement:
    """What the policies of all environments that are touched say; the worst answer counts."""
    promotions = list(_promotions(view, moved))
    judged = [
        evaluate(view, environment, application, images, view.rules)
        for environment, application, images in promotions
    ]
    for job in dict.fromkeys(job for one in judged for job in one.jobs):
        view.ports.jobs.put(job)
    if ours is not None:
        for one, (environment, application, images) in zip(judged, promotions, strict=True):
            promotion_of = _id(view, environment, application, images)
            in_hand(promotion_of)
            note_verdict(view, promotion_of, application, one, ours)
    if not judged:
        return Judgement(CheckState.SUCCESS, "Nothing of ours changes", facts)
    worst, promotion = min(
        zip(judged, promotions, strict=True), key=lambda pair: _seriousness(pair[0])
    )
    page = "" if ours is None else report_url(view, _id(view, *promotion))
    said = check_output(worst.assessment, page)
    names = ", ".join(sorted({one.environment.name for one in moved}))
    title = f"Promotion to {names}: {said.title}"
    summary = f"{facts}\n\n{said.summary}"
    if not worst.assessment.verdict.blocks:
        return Judgement(CheckState.SUCCESS, title, summary, said.text)
    blocking = [
        one
        for judged_one, one in zip(judged, promotions, strict=True)
        if judged_one.assessment.verdict.blocks
    ]
    if all(_is_let_pass(view, *one) for one in blocking):
        note = "Two persons broke the glass: what the policy says does not stop it."
        return Judgement(CheckState.SUCCESS, title, f"{note}\n\n{summary}", said.text)
    if all(_ran_here(view, *one) for one in blocking):
        note = "All of this was published here before: what is found of it is a warning."
        return Judgement(CheckState.SUCCESS, title, f"{note}\n\n{summary}", said.text)
    if worst.waits:
        title = f"Promotion to {names}: being scanned"
        return Judgement(CheckState.IN_PROGRESS, title, summary, said.text)
    return Judgement(CheckState.FAILURE, title, summary, said.text)


def _is_let_pass(
    view: View, environment: Environment, application: Application, images: Mapping[str, Digest]
) -> bool:
    """Whether two persons let all of these pass."""
    return all(
        broken_for_digest(view, environment, ImageId(application.name, name), digest) is not None
        for name, digest in images.items()
    )


def _ran_here(
    view: View, environment: Environment, application: Application, images: Mapping[str, Digest]
) -> bool:
    """Whether the environment showed all of these before, so that they may come back."""
    return all(
        is_published(view, environment, ImageId(application.name, name), digest)
        for name, digest in images.items()
    )


def _id(
    view: View, environment: Environment, application: Application, images: Mapping[str, Digest]
) -> str:
    return promotion_id(view.id, environment.name, application.name, images)


def _seriousness(evaluated: Evaluated) -> tuple[bool, int]:
    """The most serious is the smallest."""
    decided = evaluated.assessment.verdict
    order = (Result.FAIL, Result.NOT_EVALUATED, Result.WARN, Result.PASS)
    return not decided.blocks, order.index(decided.result)


def _promotions(
    view: View, moved: Sequence[Moved]
) -> Iterator[tuple[Environment, Application, dict[str, Digest]]]:
    """What the change promotes: per environment and application, image -> digest."""
    for environment in dict.fromkeys(one.environment.name for one in moved):
        here = [one for one in moved if one.environment.name == environment]
        for application in view.pipeline.applications.values():
            names = {image.name for image in application.images}
            images = {
                one.place.image: reference.digest
                for one in here
                if one.place.application == application.name and one.place.image in names
                for reference in [one.written.reference()]
                if reference is not None and reference.digest is not None
            }
            if images:
                own = view.pipeline.environment_of(environment, application)
                yield own or here[0].environment, application, images


def _lines(moved: Sequence[Moved]) -> Iterator[str]:
    for one in moved:
        yield f"{code(one.place.path)}: {code(one.place.image)} {code(str(one.written))}"


def _what_is_wrong(view: View, one: Moved) -> str:
    """Why a digest that somebody wants could not be delivered as things are; empty: it could."""
    environment, place, written = one.environment, one.place, one.written
    application = view.pipeline.applications.get(place.application)
    if application is None:
        return ""
    own = view.pipeline.environment_of(environment.name, application)
    if own is None:
        return (
            f"{code(application.name)} goes past {environment.name}: its `environments` in "
            f"{code(PIPELINE_FILE)} leaves it out, so nobody delivers it there"
        )
    environment = own
    why = view.rules.revoked.get(Digest(written.digest)) if written.digest else None
    if why is not None:
        return f"{code(place.image)} {code(written.digest)} is revoked: {prose(why)}"
    expected = environment.repository_of(application, place.image)
    if written.canonical != str(expected.canonical):
        return (
            f"{code(written.repository)} is not {environment.name}'s: write {code(str(expected))}"
        )
    if not written.digest:
        now = _tag_now(view, environment, written)
        return f"{code(place.image)} in {code(place.path)} names no digest{now}"
    reference = written.reference()
    if reference is None or reference.digest is None:
        return f"{code(str(written))} is not an image reference"
    try:
        if is_deliverable(view, environment, application, place.image, reference.digest):
            return ""
    except RegistryRefusesError as error:
        return f"whether it can be delivered is not known: {code(str(error))}"
    source = " and ".join(environment.below) or "the registry that CI pushes to"
    return f"{code(reference.digest)} is not in {source}, where {environment.name} takes it from"


def is_deliverable(
    view: View, environment: Environment, application: Application, image: str, digest: Digest
) -> bool:
    """Whether the digest is in ``from``, or stands sealed here already.

    Raises:
        RegistryRefusesError: the registry refuses to say.
    """
    scope = view.scope(environment.name, application.name)
    if any(seal.image == image for seal in view.ports.memory.seals(scope, digest)):
        return True
    return is_in_source(view, environment, application, image, digest)


def _tag_now(view: View, environment: Environment, written: ImageField) -> str:
    """Which digest the tag has now: what the person probably wants to write."""
    reference = written.reference()
    if reference is None or reference.tag is None:
        return ""
    try:
        digest = view.registry(environment).resolve(reference.repository.tagged(reference.tag))
    except RegistryRefusesError:
        return ""  # it only helps; that the digest counts is not asked of the tag
    return f"; its tag has {code(digest)} now" if digest else ""
