"""What GitHub's background job knows about a pull request: commits, test merge, what blocks it."""

from __future__ import annotations

from tests.world.github.gitstore import EMPTY_TREE
from tests.world.github.records import PullRequest, Review
from tests.world.github.state import State
from tests.world.github.views.pulls import Mergeability

GOOD = {"success", "neutral", "skipped"}
"""Conclusions that satisfy a required check (docs: Troubleshooting required status checks)."""


def merge_base_of(pull: PullRequest) -> str:
    """Return where the head left the base; after the merge, as it was before it."""
    if pull.merged:
        return pull.final_base
    tip = pull.repository.head(pull.base_ref) or pull.base
    return pull.repository.git.merge_base(tip, pull.head) or EMPTY_TREE


def commits_of(pull: PullRequest) -> list[str]:
    """Return the commits of the head that the base lacks, oldest first."""
    if pull.merged:
        return list(pull.final_commits)
    tip = pull.repository.head(pull.base_ref) or pull.base
    return pull.repository.git.history(pull.head, f"^{tip}", "--reverse", "--topo-order")


def test_merge(state: State, pull: PullRequest) -> str | None:
    """Return the test merge commit, ``refs/pull/N/merge``; None where head and base conflict."""
    repository = pull.repository
    base = repository.head(pull.base_ref) or pull.base
    if pull.test_merge is None or pull.test_merge[:2] != (base, pull.head):
        tree = repository.git.merged_tree(base, pull.head)
        commit = None
        if tree is not None:
            by = pull.author.signature(state.clock())
            message = f"Merge {pull.head} into {base}"
            commit = repository.git.write_commit(tree, (base, pull.head), message, by)
            name = f"refs/pull/{pull.number}/merge"
            repository.git.write_ref(name, commit, repository.git.ref(name))
        pull.test_merge = (base, pull.head, commit)
    return pull.test_merge[2]


def look(state: State, pull: PullRequest) -> Mergeability:
    """Return what a look at the pull request shows now (docs: Get a pull request).

    ``merge_commit_sha`` is the test merge before the merge, the real one after it.
    """
    if pull.state == "closed":
        return Mergeability(None, "unknown", pull.merge_commit)
    if pull.unknown_mergeability > 0:
        return Mergeability(None, "unknown", None)
    commit = test_merge(state, pull)
    if commit is None:
        return Mergeability(mergeable=False, state="dirty", test_merge=None)
    verdict = "blocked" if blockers(pull) else "clean"
    verdict = "draft" if pull.draft else verdict
    return Mergeability(mergeable=True, state=verdict, test_merge=commit)


def blockers(pull: PullRequest) -> list[str]:
    """Return what the rules of the base branch still ask for, in GitHub's words."""
    rules = pull.repository.rules_of(pull.base_ref)
    if rules is None:
        return []
    found = []
    missing = rules.approvals - approvals(pull)
    if missing > 0:
        number = "an" if rules.approvals == 1 else str(rules.approvals)
        noun = "review is" if rules.approvals == 1 else "reviews are"
        found.append(f"At least {number} approving {noun} required by reviewers with write access.")
    if rules.up_to_date and merge_base_of(pull) != pull.repository.head(pull.base_ref):
        # The words of the page; what the API says is believed, not documented.
        found.append("This branch is out-of-date with the base branch.")
    unmet = [name for name in rules.checks if not passed(pull, name, pull.head)]
    if len(unmet) == 1:
        found.append(f'Required status check "{unmet[0]}" is expected.')
    elif unmet:
        found.append(f"{len(unmet)} of {len(rules.checks)} required status checks are expected.")
    return found


def approvals(pull: PullRequest) -> int:
    """Count the people with write access whose last word is an approval."""
    latest: dict[str, Review] = {}
    for review in pull.reviews:
        if review.state != "COMMENTED":
            latest[review.author.login] = review
    return sum(
        1
        for review in latest.values()
        if review.state == "APPROVED" and pull.repository.allows(review.author, "write")
    )


def passed(pull: PullRequest, name: str, commit: str) -> bool:
    """Tell whether the newest run of a required check on a commit is good."""
    runs = [r for r in pull.repository.check_runs.values() if (r.name, r.commit) == (name, commit)]
    return bool(runs) and runs[-1].status == "completed" and runs[-1].conclusion in GOOD
