"""Whether the record goes on from what the world shows: else the bot holds until a person says go.

A database that was restored, emptied or cut short must not decide what is published. Two things
outside of a single row tell: an environment ref shows a publication of ours that no record knows,
or the rules that were in force at our last publication are in no record.
"""

from __future__ import annotations

from typing import Final

from bot.domain.environments import ManifestsRepository
from bot.ports import GitHistory, GitHub, Memory

_REFS: Final = "env/"
"""Where every environment ref is, by the rules of the pipeline file."""
WAY_OUT: Final = "`lockkeeper resume` goes on from what the refs show"


def cut_off(
    github: GitHub,
    memory: Memory,
    repository: ManifestsRepository,
    number: int,
    history: GitHistory,
) -> str:
    """Why nothing may be decided from this record; empty: it may."""
    for ref, tip in sorted(history.heads().items()):
        if not ref.startswith(_REFS) or memory.is_published(number, ref, tip):
            continue
        if is_signed_by_us(github, repository, tip):
            return (
                f"{ref} shows publication {tip[:7]} of ours, which this database does not know: it "
                f"was restored, emptied or changed. {WAY_OUT}"
            )
    last = memory.last_publication(number)
    if last is None or not last.rules:
        return ""
    if last.rules in {one.commit for one in memory.accepted_rules(number)}:
        return ""
    return (
        f"the rules of {last.rules[:7]}, in force at the last publication, are not in this "
        f"database: it was changed. {WAY_OUT}"
    )


def is_signed_by_us(github: GitHub, repository: ManifestsRepository, commit: str) -> bool:
    """Whether GitHub signed a commit for this App, which nobody else gets; its text proves nothing.

    So a publication is known as ours that no record knows.
    """
    signed_by = github.people_of(repository, commit).signed_by
    return signed_by is not None and signed_by.login == github.login()
