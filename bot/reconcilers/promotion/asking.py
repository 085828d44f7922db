"""Which branch heads and git tags ask for a promotion: those that came while somebody looked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bot.domain.history import CheckState
from bot.domain.memory import SeenHead
from bot.domain.source_refs import SourceRef
from bot.formats.markdown import code
from bot.reconcilers.promotion.subject import Subject, Trigger
from bot.reporting.reports import tell_source

BASELINE: Final = SourceRef("").key
"""No branch's name: stands for "every head of this repository was seen once"."""
TAGS_BASELINE: Final = SourceRef("", is_tag=True).key
"""The same of its tags, which are looked at once an environment asks for them."""
_SHOWN: Final = 10
"""Late or moved tags that get a check each at one look; the audit has the others too."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """The refs of one kind in a source repository, and what is remembered of them."""

    now: Mapping[SourceRef, str]
    """Those that stand, and what they name."""
    before: Mapping[str, SeenHead]

    def followed(self) -> Iterator[tuple[SourceRef, str]]:
        """Those that came or moved since they were first seen, in the order of their names.

        An old tag that moved, too: it asks for nothing, and that is said. Once it is back where
        it stood it is an old tag again.
        """
        for ref, commit in sorted(self.now.items()):
            seen = self.before.get(ref.key)
            if seen is not None and (seen.followed or _has_moved(ref, seen, commit)):
                yield ref, commit


def _has_moved(ref: SourceRef, seen: SeenHead, commit: str) -> bool:
    """Whether a tag names another commit than the one that it was seen at first."""
    return ref.is_tag and seen.commit not in {"", commit}


def asking_branches(subject: Subject) -> list[Trigger]:
    """Heads that moved since they were first seen; those that stood before ask for nothing."""
    heads = {SourceRef(name): commit for name, commit in subject.history.heads().items()}
    return [
        Trigger(ref, subject.history.commit(commit))
        for ref, commit in _see(subject, heads, BASELINE).followed()
        if subject.environment.fed_by(ref)
    ]


def asking_tags(subject: Subject) -> list[Trigger]:
    """Tags that came since the first look and may go forward, the newest version first.

    A version before the one that runs is late. A tag that moved names two things, so it asks for
    nothing. Both are told once, and recorded: there are ever more of them.
    """
    if not subject.environment.tags:
        return []
    tags = {SourceRef(n, is_tag=True): commit for n, commit in subject.history.tags().items()}
    seen = _see(subject, tags, TAGS_BASELINE)
    running = subject.running_ref()
    asking: list[Trigger] = []
    late: list[tuple[SourceRef, str]] = []
    moved: list[tuple[SourceRef, str, str]] = []
    for ref, commit in seen.followed():
        if not subject.environment.fed_by(ref):
            continue
        before = seen.before[ref.key]
        if _has_moved(ref, before, commit):
            moved.append((ref, before.commit, commit))
        elif ref.is_older_than(running):
            late.append((ref, commit))
        else:
            asking.append(Trigger(ref, subject.history.commit(commit)))
    _tell_late(subject, late, running)
    _tell_moved(subject, moved)
    asking.sort(key=lambda one: (one.ref.rank, one.commit.committed_at, one.ref), reverse=True)
    return asking


def _see(subject: Subject, refs: Mapping[SourceRef, str], baseline: str) -> _Seen:
    """Remember what stands now; a tag keeps the commit that it named first."""
    memory, source = subject.view.ports.memory, str(subject.application.source)
    before = memory.seen_heads(source)
    is_known = baseline in before
    updates = [] if is_known else [SeenHead(source, baseline, "", followed=False)]
    for ref, commit in refs.items():
        known = before.get(ref.key)
        if known is None:
            updates.append(SeenHead(source, ref.key, commit, followed=is_known))
        elif known.commit != commit and not (ref.is_tag and known.commit):
            updates.append(SeenHead(source, ref.key, commit, followed=True))
    if updates:
        memory.record_seen(updates)
        before = memory.seen_heads(source)  # somebody else may have seen a push meanwhile
    return _Seen(refs, before)


# --- tags that ask for nothing ---


def _tell_late(subject: Subject, tags: Sequence[tuple[SourceRef, str]], running: SourceRef) -> None:
    """Say of each tag once that what runs is newer; one that was promoted here has its story."""
    scope = subject.view.scope(subject.environment.name, subject.application.name)
    written = subject.view.ports.memory.written_heads(scope) if tags else ()
    told = {commit for head in written for commit in (head.trigger, head.source)}
    words = f"{code(str(running))} runs there, which is newer; going back is a rollback."
    late = [_Passed(ref, commit, words) for ref, commit in tags if commit not in told]
    _tell_once(subject, "Superseded", late)


def _tell_moved(subject: Subject, tags: Sequence[tuple[SourceRef, str, str]]) -> None:
    words = (
        "{ref} named {first} when it was first seen, and names {now} now. A tag that moves is not "
        "promoted, for nobody can tell which of the two was meant: push a tag of another name."
    )
    moved = [
        _Passed(
            ref,
            commit,
            words.format(ref=code(str(ref)), first=code(first[:7]), now=code(commit[:7])),
        )
        for ref, first, commit in tags
    ]
    _tell_once(subject, "Not promoted", moved)


def tell_unwritten(subject: Subject, ref: SourceRef, commit: str) -> None:
    """Say of a tag once that its image runs already, so that nothing writes an image tag for it."""
    running = subject.running_ref()
    if not ref.is_tag or ref == running:
        return
    brought = f", brought by {code(str(running))}" if running.name else ""
    words = (
        f"What {code(str(ref))} names runs there already{brought}. There is nothing to propose, "
        f"and no image tag is written for {code(ref.name)}: where one is needed, put the git tag "
        "on a commit of its own that CI builds, or tag the digest in the registry by hand."
    )
    _tell_once(subject, "Already there", [_Passed(ref, commit, words)], CheckState.SUCCESS)


@dataclass(frozen=True, slots=True)
class _Passed:
    """A tag that asks for nothing."""

    ref: SourceRef
    commit: str
    words: str
    """Why, as Markdown of ours."""


def _tell_once(
    subject: Subject,
    title: str,
    tags: Sequence[_Passed],
    state: CheckState = CheckState.NEUTRAL,
) -> None:
    """Say it of each tag once, and record it.

    Of many at once (an old repository's are pushed) only the newest get a check each.
    """
    view, environment, application = subject.view, subject.environment, subject.application
    scope = view.scope(environment.name, application.name)
    shown = 0
    for one in sorted(tags, key=lambda tag: (tag.ref.rank, tag.ref), reverse=True):
        about = f"{view.id}:{environment.name}:{application.name}:{one.ref.key}:{one.commit}"
        once = f"tag:{about}:{title}"
        if view.ports.audit.has(once):
            continue
        if shown < _SHOWN:
            shown += 1
            tell_source(view, application, environment, [one.commit], state, title, one.words)
        facts = {"ref": one.ref.full, "commit": one.commit, "reason": title}
        view.ports.audit.append("passed over", scope, facts, once=once)
