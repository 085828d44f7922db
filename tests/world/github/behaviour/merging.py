"""Merging: by hand, by itself, through the queue, or by a push that brought the head along."""

from __future__ import annotations

from tests.world.github.behaviour import mergeability, pulls, refs
from tests.world.github.behaviour.events import publish
from tests.world.github.errors import conflict, not_allowed
from tests.world.github.gitstore import WEB_FLOW, Signature
from tests.world.github.records import (
    Actor,
    AutoMerge,
    PullRequest,
    QueueEntry,
    Repository,
)
from tests.world.github.state import State
from tests.world.github.views import repositories
from tests.world.github.views.commits import simple_commit

NOT_MERGEABLE = "Pull Request is not mergeable"


def merge_checked(
    state: State,
    actor: Actor,
    pull: PullRequest,
    *,
    method: str = "merge",
    title: str | None = None,
    message: str | None = None,
    expected_head: str | None = None,
) -> str:
    """Merge if everything allows it, and return the new commit (docs: Merge a pull request).

    405 for what cannot be merged (quipper/monorepo-deploy-actions#499, Reviewable/Reviewable#561),
    409 when the head is not ``expected_head`` (text: dlang/dlang-bot#77).
    """
    if pull.state != "open":
        raise not_allowed(NOT_MERGEABLE)
    if pull.draft:
        raise not_allowed("Pull Request is still a draft")
    if method not in pull.repository.merge_methods:
        name = {"merge": "Merge commits", "squash": "Squash merges", "rebase": "Rebase merges"}
        raise not_allowed(f"{name[method]} are not allowed on this repository.")
    if expected_head is not None and expected_head != pull.head:
        raise conflict("Head branch was modified. Review and try the merge again.")
    rules = pull.repository.rules_of(pull.base_ref)
    if rules is not None and rules.merge_queue:
        raise not_allowed(
            "Repository rule violations found\n\nChanges must be made through the merge queue\n\n"
        )
    blockers = mergeability.blockers(pull)
    if blockers:
        raise not_allowed("Repository rule violations found\n\n" + "\n\n".join(blockers) + "\n\n")
    return merge(state, actor, pull, method, title, message)


def merge(
    state: State,
    actor: Actor,
    pull: PullRequest,
    method: str,
    title: str | None,
    message: str | None,
) -> str:
    """Merge and tell about it."""
    repository = pull.repository
    before = repository.head(pull.base_ref)
    if before is None or mergeability.test_merge(state, pull) is None:
        raise not_allowed(NOT_MERGEABLE)
    brought = tuple(mergeability.commits_of(pull))
    base = mergeability.merge_base_of(pull)
    make = {"merge": _merge_commit, "squash": _squash_commit, "rebase": _rebased_commits}[method]
    commit = make(state, actor, pull, before, title, message)
    _record(state, actor, pull, commit, brought, base)
    refs.advance(state, actor, repository, pull.base_ref, before, commit)
    pulls.tell(state, actor, pull, "closed")
    own = pull.head_repository is repository
    if repository.delete_branch_on_merge and own and repository.head(pull.head_ref):
        refs.delete(state, actor, repository, f"refs/heads/{pull.head_ref}")
    return commit


def _record(
    state: State,
    actor: Actor,
    pull: PullRequest,
    commit: str,
    brought: tuple[str, ...],
    base: str,
) -> None:
    now = state.clock()
    pull.final_commits, pull.final_base = brought, base
    pull.state, pull.closed_at, pull.closed_by = "closed", now, actor.account
    pull.merged_at, pull.merged_by, pull.merge_commit = now, actor.account, commit
    pull.updated_at, pull.auto_merge = now, None
    pull.repository.queue = [e for e in pull.repository.queue if e.pull is not pull]


def _merge_commit(
    state: State, actor: Actor, pull: PullRequest, before: str, title: str | None, text: str | None
) -> str:
    repository = pull.repository
    head = f"{pull.head_repository.owner.login}/{pull.head_ref}"
    message = _message(
        title or f"Merge pull request #{pull.number} from {head}",
        pull.title if text is None else text,
    )
    tree = _must_merge(repository, before, pull.head)
    return _commit(state, repository, tree, (before, pull.head), message, actor)


def _squash_commit(
    state: State, actor: Actor, pull: PullRequest, before: str, title: str | None, text: str | None
) -> str:
    repository = pull.repository
    brought = [repository.git.commit(c) for c in mergeability.commits_of(pull)]
    default = "" if len(brought) == 1 else "\n\n".join(f"* {c.message}" for c in brought)
    message = _message(title or f"{pull.title} (#{pull.number})", default if text is None else text)
    tree = _must_merge(repository, before, pull.head)
    return _commit(state, repository, tree, (before,), message, actor, author=Actor(pull.author))


def _rebased_commits(
    state: State, actor: Actor, pull: PullRequest, before: str, _title: object, _text: object
) -> str:
    """New commits always, with the merging person as committer (docs: About merge methods)."""
    git = pull.repository.git
    tip = before
    for commit_id in mergeability.commits_of(pull):
        commit = git.commit(commit_id)
        if len(commit.parents) > 1:
            raise not_allowed("This branch can't be rebased")
        tree = git.picked_tree(commit_id, tip)
        if tree is None:
            raise not_allowed("This branch can't be rebased due to conflicts")
        committer = actor.account.signature(state.clock())
        tip = git.write_commit(tree, (tip,), commit.message, commit.author, committer)
    return tip


def _message(title: str, body: str) -> str:
    return f"{title}\n\n{body}" if body else title


def _must_merge(repository: Repository, before: str, head: str) -> str:
    tree = repository.git.merged_tree(before, head)
    if tree is None:
        raise not_allowed(NOT_MERGEABLE)
    return tree


def _commit(
    state: State,
    repository: Repository,
    tree: str,
    parents: tuple[str, ...],
    message: str,
    actor: Actor,
    author: Actor | None = None,
) -> str:
    now = state.clock()
    commit = repository.git.write_commit(
        tree,
        parents,
        message,
        (author or actor).account.signature(now),
        Signature(*WEB_FLOW, now),
    )
    repository.verified.add(commit)
    return commit


def follow_push(
    state: State, actor: Actor, repository: Repository, branch: str, tip: str | None
) -> None:
    """Call a pull request merged whose head a push has brought into its base.

    docs: About pull request merges, "Indirect merges".
    """
    if tip is None:
        return
    for pull in list(repository.open_pulls()):
        if pull.base_ref == branch and repository.git.is_ancestor(pull.head, tip):
            base = repository.git.merge_base(pull.base, pull.head) or pull.base
            brought = repository.git.history(pull.head, f"^{pull.base}", "--reverse")
            _record(state, actor, pull, tip, tuple(brought), base)
            pulls.tell(state, actor, pull, "closed")


# --- by itself --------------------------------------------------------------------------------


def enable_auto_merge(state: State, pull: PullRequest, wish: AutoMerge) -> None:
    """Remember that somebody wants it merged when the rules allow it."""
    pull.auto_merge, pull.updated_at = wish, state.clock()
    pulls.tell(state, Actor(wish.by), pull, "auto_merge_enabled")


def look_again(state: State, repository: Repository, commit: str) -> None:
    """Merge what was only waiting for a check or an approval on ``commit``."""
    _advance_queue(state, repository, commit)
    for pull in list(repository.open_pulls()):
        wish = pull.auto_merge
        if pull.head == commit and wish and not mergeability.blockers(pull):
            merge(state, Actor(wish.by), pull, wish.method, wish.title, wish.message)


# --- through the queue ------------------------------------------------------------------------


def enqueue(state: State, actor: Actor, pull: PullRequest) -> QueueEntry:
    """Put a pull request into the merge queue and ask for checks on its group.

    docs: Managing a merge queue. The group's commit stands on a branch of its own, and
    ``merge_group`` with ``checks_requested`` asks every App whose check is required.
    """
    repository = pull.repository
    tip = repository.head(pull.base_ref) or pull.base
    base = repository.queue[-1].head if repository.queue else tip
    head = _merge_commit(state, actor, pull, base, None, None)
    entry = QueueEntry(state.new_id(), pull, actor.account, base, head, state.clock())
    repository.queue.append(entry)
    refs.create(state, actor, repository, _group_ref(entry), head)
    pulls.tell(state, actor, pull, "enqueued")
    _tell_group(state, actor, entry, "checks_requested")
    return entry


def _group_ref(entry: QueueEntry) -> str:
    branch = f"gh-readonly-queue/{entry.pull.base_ref}/pr-{entry.pull.number}-{entry.base}"
    return f"refs/heads/{branch}"


def _tell_group(state: State, actor: Actor, entry: QueueEntry, action: str) -> None:
    repository = entry.pull.repository
    fields = {
        "action": action,
        "merge_group": {
            "head_sha": entry.head,
            "head_ref": _group_ref(entry),
            "base_sha": entry.base,
            "base_ref": f"refs/heads/{entry.pull.base_ref}",
            "head_commit": simple_commit(repository, entry.head),
        },
        "repository": repositories.full(state, repository),
    }
    if action == "destroyed":
        fields["reason"] = "merged"
    publish(state, repository, actor.account, "merge_group", fields)


def _advance_queue(state: State, repository: Repository, commit: str) -> None:
    """Merge from the front while the groups' required checks are good."""
    while repository.queue:
        entry = repository.queue[0]
        pull = entry.pull
        checks = repository.rules[pull.base_ref].checks
        if entry.head != commit or not all(
            mergeability.passed(pull, name, entry.head) for name in checks
        ):
            return
        actor = Actor(entry.by)
        before = repository.head(pull.base_ref) or pull.base
        brought = tuple(mergeability.commits_of(pull))
        base = mergeability.merge_base_of(pull)
        _record(state, actor, pull, entry.head, brought, base)
        refs.advance(state, actor, repository, pull.base_ref, before, entry.head)
        pulls.tell(state, actor, pull, "closed")
        _tell_group(state, actor, entry, "destroyed")
        refs.delete(state, actor, repository, _group_ref(entry))
