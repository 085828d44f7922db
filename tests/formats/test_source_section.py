from __future__ import annotations

from dataclasses import replace

from bot.domain.history import Contribution, SourcePullRequest, WatchedChange
from bot.domain.issues import IssueKey
from bot.formats.source_section import SourceChanges, source_section
from tests.evidence_bodies import COMMITS, CONTRIBUTIONS
from tests.github_rendering import added_by_github, rendered

CHANGES = SourceChanges("stage", "acme/checkout", "https://github.com", COMMITS, [], is_first=False)


def section(shown: int = 50, **changes: object) -> str:
    known = replace(CHANGES, contributions=CONTRIBUTIONS)
    return source_section(replace(known, **changes), shown)  # type: ignore[arg-type]  # any field


def test_pull_requests_and_what_came_without_one() -> None:
    found = section()

    assert "**3 commits in 2 pull requests** by 3 authors since the version now in `stage`" in found
    assert (
        "⚠️ **1 commit without a merged pull request** (skipped review): [`c0ffee3`]"
        "(https://github.com/acme/checkout/commit/"
    ) in found
    link = "[pull request 812](https://redirect.github.com/acme/checkout/pull/812)"
    assert f"- {link} · Fix rounding of VAT for mixed baskets · `rita` · 1 commit\n" in found


def test_what_skipped_review_is_not_folded() -> None:
    before = section().partition("⚠️ **1 commit")[0]

    assert before.count("<details>") == before.count("</details>")


def test_several_commits_of_one_pull_request_are_one_row() -> None:
    one = SourcePullRequest(812, "Fix rounding", merged=True, author="rita")
    same = {commit.id: Contribution(commit.id, "rita", one) for commit in COMMITS}

    found = section(contributions=same)

    assert "**3 commits in 1 pull request** by 1 author" in found
    assert " · Fix rounding · `rita` · 3 commits\n" in found
    assert "skipped review" not in found


def test_an_open_pull_request_is_no_review() -> None:
    waits = SourcePullRequest(813, "Not yet", merged=False, author="mo")
    found = section(
        contributions={**CONTRIBUTIONS, COMMITS[0].id: Contribution(COMMITS[0].id, None, waits)}
    )

    assert "**2 commits without a merged pull request**" in found
    assert "- ⚠️\u00a0pull request 813, not merged · [" in found


def test_what_github_does_not_know_is_not_called_unreviewed() -> None:
    found = section(contributions={})

    assert "skipped review" not in found
    assert "3 commits: GitHub does not say how they came." in found


def test_without_contributions_the_commits_stand_there() -> None:
    found = section(contributions=None)

    assert "**3 commits** since the version now in `stage`" in found
    assert "<summary>Commits</summary>" in found


def test_on_another_server_nothing_is_mentioned() -> None:
    found = section(web_url="https://github.acme.example")

    assert "/pull/" not in found
    assert "- pull request 812 · " in found


def test_rows_that_have_no_room_are_counted_and_what_has_no_review_stays() -> None:
    assert "…and 2 more." in section(1)
    assert "hotfix: retry on 409" in section(1)
    bare = section(0)
    assert "They are not listed here" in bare
    assert "**1 commit without a merged pull request**" in bare
    assert "<details>" not in bare


def test_nothing_to_compare_with() -> None:
    assert "nothing to compare" in section(commits=None, is_first=True)
    assert "nobody knows which commit runs there" in section(commits=None)


def test_nothing_is_mentioned_or_linked_by_github() -> None:
    for prose in rendered(section()).prose:
        assert not added_by_github(prose), prose


def test_watched_files_are_named_and_not_folded() -> None:
    files = [WatchedChange(f"migrations/{n:04d}.sql", "added") for n in range(12)]
    found = section(watching=["migrations/**"], watched=files)

    before = found.partition("<details>")[0]
    assert "⚠️ **12 files under `migrations/**` change:**" in before
    assert "- `migrations/0009.sql` added\n- and 2 more" in before


def test_no_watched_file_and_not_known_are_two_things() -> None:
    assert "No file under `migrations/**` changes." in section(watching=["migrations/**"])
    unknown = section(watching=["migrations/**"], watched=None)
    assert "⚠️ Whether files under `migrations/**` change is not known." in unknown
    cut = section(commits=None, watching=["migrations/**"], watched=None)
    assert "Whether files under `migrations/**` change is not known." in cut
    assert "migrations" not in section()


def test_issues_are_links_that_leave_no_mention() -> None:
    keys = [
        IssueKey("PAY-1", "https://issues.example.com/browse/PAY-1"),
        IssueKey("#4", "https://github.com/acme/payments/issues/4"),
        IssueKey("OPS-2"),
    ]

    assert (
        "**Issues:** [`PAY-1`](https://issues.example.com/browse/PAY-1), "
        "[`#4`](https://redirect.github.com/acme/payments/issues/4), `OPS-2`"
    ) in section(issues=keys)
    many = [IssueKey(f"OPS-{n}") for n in range(50)]
    assert "`OPS-29` and 20 more" in section(issues=many)


def test_more_commits_than_are_read_are_not_called_so_many() -> None:
    assert "**More than 3 commits, the newest in 2 pull requests** by" in section(is_cut=True)
    assert "**More than 3 commits, the newest** since" in section(is_cut=True, contributions=None)
