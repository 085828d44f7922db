"""Whether the record goes on from what the world shows: else the bot holds until a person says go.

A database that was restored, emptied or cut short must not decide what is published. Two things
outside of a single row tell: an environment ref shows a publication of ours that no record knows,
or the rules that were in force at our last publication are in no record.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bot.domain.environments import ManifestsRepository
from bot.domain.memory import RulesAccepted
from bot.ports.git import GitHistory
from bot.ports.github import GitHub
from bot.ports.grants import Grants
from bot.ports.record import Memory

_REFS: Final = "env/"
"""Where every environment ref is, by the rules of the pipeline file."""
WAY_OUT: Final = "`lockkeeper resume` goes on from what the refs show"


def cut_off(
    github: GitHub,
    grants: Grants,
    memory: Memory,
    repository: ManifestsRepository,
    number: int,
    history: GitHistory,
    accepted: Sequence[RulesAccepted],
) -> str:
    """Why nothing may be decided from this record; empty: it may.

    ``accepted`` are the rules that it says were let in.
    """
    tips = {ref: tip for ref, tip in history.heads().items() if ref.startswith(_REFS)}
    known = memory.published(number, tips)
    for ref, tip in sorted(tips.items()):
        if ref in known:
            continue
        if _is_ours(github, grants, repository, history, tip):
            return (
                f"{ref} shows publication {tip[:7]} of ours, which this database does not know: it "
                f"was restored, emptied or changed. {WAY_OUT}"
            )
    last = memory.last_publication(number)
    if last is None or not last.rules:
        return ""
    if last.rules in {one.commit for one in accepted}:
        return ""
    return (
        f"the rules of {last.rules[:7]}, in force at the last publication, are not in this "
        f"database: it was changed. {WAY_OUT}"
    )


def _is_ours(
    github: GitHub,
    grants: Grants,
    repository: ManifestsRepository,
    history: GitHistory,
    commit: str,
) -> bool:
    """Whether a commit is a publication of ours that no record knows.

    By the signature of a publication key, or by GitHub's for this App: nobody else gets them. The
    text of a commit proves nothing.
    """
    signed = history.signature(commit) if history.has(commit) else None
    keys = grants.commit_keys(repository) if signed is not None else ()
    if signed is not None and any(key.verifies(*signed) for key in keys):
        return True
    signed_by = github.people_of(repository, commit).signed_by
    return signed_by is not None and signed_by.login == github.login()
