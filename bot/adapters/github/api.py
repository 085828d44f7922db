"""The port `bot.ports.github.GitHub` on GitHub's REST and GraphQL APIs.

Contract. Every method may be repeated: writers look first and change only what is different. What
this process wrote is not looked at again, as long as it is the only one that writes (`is_alone`).
Methods may run concurrently for different subjects; for one subject the engine's lanes keep them
serial. A write that fails in the middle leaves at most an unused commit.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any, Final

import github

from bot.adapters.github import permissions, records
from bot.adapters.github.calls import (
    GRAPHQL,
    WINDOW,
    Answer,
    Calls,
    GitHubRefusedError,
    StaleTokenError,
    quoted,
)
from bot.adapters.github.tokens import Tokens
from bot.adapters.github.told import ImageField, Memo, digest_of
from bot.domain.environments import GitHubRepository
from bot.domain.errors import IntegrityError, NotFoundError, RejectedError, UnavailableError
from bot.domain.history import (
    Actor,
    Check,
    CheckState,
    Comment,
    ContributedCommit,
    Contribution,
    DeploymentReport,
    FileWrite,
    GitHubFacts,
    MergeRefusal,
    PullRequest,
    Push,
    Review,
)
from bot.domain.oci import Digest
from bot.domain.verbs import Channel, verbs_of
from bot.formats.pull_request_body import without_time
from bot.ports.keys import CommitKey

_CONTRIBUTIONS: Final = """\
query ($owner: String!, $name: String!DECLARED) {
  repository(owner: $owner, name: $name) {
ASKED
  }
}
fragment change on Commit {
  oid
  author { user { login } }
  associatedPullRequests(first: 10) { nodes { number title merged headRefName author { login } } }
}"""
_ENQUEUE: Final = """\
mutation ($id: ID!, $head: GitObjectID!) {
  enqueuePullRequest(input: {pullRequestId: $id, expectedHeadOid: $head}) {
    mergeQueueEntry { position }
  }
}"""
_ACTIVITIES: Final = 100  # of one page, the newest
_BATCH: Final = 50  # commits of one query; GitHub allows 500,000 nodes, the time is what limits
_STRIPES: Final = 64
_FACTS_LIFE: Final = timedelta(minutes=1)
_MERGE_METHODS: Final = {
    "squash": "allow_squash_merge",
    "merge": "allow_merge_commit",
    "rebase": "allow_rebase_merge",
}
"""Way to merge -> the repository's setting, which GitHub tells those who may push."""
# The same status (405) is used for a way that is not allowed and for what waits for a review.
_WORDS: Final = 400
"""Characters of a refusal that are passed on."""
_QUEUE: Final = re.compile(r"merge queue", re.IGNORECASE)
_OTHER_WAY: Final = re.compile(r"(?:commits|merges) are not allowed|merge method", re.IGNORECASE)


@dataclass(frozen=True)
class GitHubApi:
    """GitHub, as far as Lockkeeper needs it."""

    calls: Calls
    tokens: Tokens
    hide: Callable[[str], str] = str
    """What people read on GitHub, without what only the operator should know."""
    is_alone: bool = False
    """No other process writes as this App: what was told need not be read again."""
    _comments: Memo[ImageField] = field(default_factory=Memo)
    """(repository, pull request, marker) -> our comment, where a flood of others may bury it."""
    _opened: Memo[bool] = field(default_factory=Memo)
    """(repository, pull request): opened here, so each comment of ours on it is in `_comments`."""
    _runs: Memo[dict[str, ImageField]] = field(default_factory=Memo)
    """(repository, commit) -> our check runs on it, by name."""
    _deployments: Memo[ImageField] = field(default_factory=Memo)
    """(repository, environment, commit) -> our deployment, and the newest state that it has."""
    _cache: dict[str, str] = field(default_factory=dict)
    _writers: tuple[threading.Lock, ...] = field(
        default_factory=lambda: tuple(threading.Lock() for _ in range(_STRIPES)), repr=False
    )
    """Whoever looks and then writes once (checks, comments, deployments) does it alone: two lanes
    may have something to say in one place."""
    _facts: dict[GitHubRepository, tuple[datetime, GitHubFacts]] = field(default_factory=dict)

    def login(self) -> str:
        """The account that our commits, comments and checks come from."""
        if "login" not in self._cache:
            app = self.calls.send(self.tokens.app(), "GET", "/app").data
            self._cache["login"] = f"{app['slug']}[bot]"
        return self._cache["login"]

    def facts(self, repository: GitHubRepository) -> GitHubFacts:
        """Id and default branch, at most a minute old: every look begins with them."""
        now = self.calls.clock.now()
        known = self._facts.get(repository)
        if known is None or now - known[0] > _FACTS_LIFE:
            data = self._get(repository, permissions.READ_REPOSITORY, "")
            methods = tuple(m for m, key in _MERGE_METHODS.items() if data.get(key) is not False)
            found = GitHubFacts(int(data["id"]), data["default_branch"], data["full_name"], methods)
            known = self._facts[repository] = (now, found)
        return known[1]

    def pull_request(self, repository: GitHubRepository, number: int) -> PullRequest:
        """One pull request as it is now."""
        return records.pull_request(
            self._get(repository, permissions.READ_PULL_REQUESTS, f"/pulls/{number}")
        )

    def pull_requests(
        self, repository: GitHubRepository, *, state: str, head: str = ""
    ) -> Sequence[PullRequest]:
        """Pull requests, newest first; with ``head`` those from a branch of this repository.

        GitHub's filter names an owner, who may have forks of that branch's name.
        """
        query = {"state": state, "sort": "created", "direction": "desc"}
        if head:
            query["head"] = f"{repository.owner}:{head}"
        found = self._pages(
            repository, permissions.READ_PULL_REQUESTS, "/pulls", query, whole=False
        )
        listed = [records.pull_request(item) for item in found]
        return [one for one in listed if one.head_is_local] if head else listed

    def pull_requests_of(self, repository: GitHubRepository, commit: str) -> Sequence[PullRequest]:
        """Pull requests that GitHub connects with a commit."""
        path = f"/commits/{quoted(commit)}/pulls"
        try:
            found = self._pages(
                repository, permissions.READ_COMMIT_PULL_REQUESTS, path, whole=False
            )
        except GitHubRefusedError as error:
            # 422 "No commit found": the API may lag behind the webhook.
            raise UnavailableError(f"GitHub does not know {commit[:7]} yet") from error
        return [records.pull_request(item) for item in found]

    def reviews(self, repository: GitHubRepository, number: int) -> Sequence[Review]:
        """The newest submitted reviews, oldest first.

        Any reader may write reviews without end; what somebody said last stands at the end.
        """
        path = f"/repos/{quoted(str(repository))}/pulls/{number}/reviews"
        with self._token(repository, permissions.READ_PULL_REQUESTS) as token:
            found = self.calls.newest_pages(token, path)
        return [records.review(item) for item in found]

    def contributed(self, repository: GitHubRepository, number: int) -> Sequence[ContributedCommit]:
        """The commits of a pull request."""
        path = f"/pulls/{number}/commits"
        found = self._pages(repository, permissions.READ_PULL_REQUESTS, path)
        return [records.contributed(item) for item in found]

    def contributions(
        self, repository: GitHubRepository, commits: Sequence[str]
    ) -> Sequence[Contribution]:
        """Authors and pull requests of many commits, so many in one request."""
        batches = [commits[i : i + _BATCH] for i in range(0, len(commits), _BATCH)]
        return [one for batch in batches for one in self._contributions(repository, batch)]

    def _contributions(
        self, repository: GitHubRepository, commits: Sequence[str]
    ) -> Iterator[Contribution]:
        names = {f"c{number}": commit for number, commit in enumerate(commits)}
        declared = "".join(f", ${name}: GitObjectID!" for name in names)
        asked = "\n".join(f"{name}: object(oid: ${name}) {{ ...change }}" for name in names)
        data = self._graphql(
            repository,
            permissions.READ_COMMIT_PULL_REQUESTS,
            "contributions",
            _CONTRIBUTIONS.replace("DECLARED", declared).replace("ASKED", asked),
            {"owner": repository.owner, "name": repository.name, **names},
        )
        for name in names:
            found = (data.get("repository") or {}).get(name)
            if found:
                yield records.contribution(found)

    def people_of(self, repository: GitHubRepository, commit: str) -> ContributedCommit:
        """A commit with the accounts behind it."""
        data = self._get(repository, permissions.READ_CONTENTS, f"/commits/{quoted(commit)}")
        return records.contributed(data)

    def pushes(self, repository: GitHubRepository, ref: str) -> Sequence[Push] | None:
        """Who moved a whole ref, newest first; None: GitHub does not tell, or more than it tells.

        Of tags its documentation says nothing: what is not in the list is not known.
        """
        found = self._activities(repository, ref)
        if found is None:
            return None  # an older GitHub Enterprise Server
        return [one for item in found if (one := records.push(item)) is not None]

    def deletions(self, repository: GitHubRepository, branch: str) -> Sequence[datetime]:
        """When a branch was deleted, newest first."""
        found = self._activities(repository, f"refs/heads/{branch}") or ()
        return [at for item in found if (at := records.deletion(item)) is not None]

    def _activities(self, repository: GitHubRepository, ref: str) -> list[Any] | None:
        answer = self._call(
            repository,
            permissions.READ_CONTENTS,
            "GET",
            "/activity",
            query={"ref": ref, "per_page": str(_ACTIVITIES)},
            allow=(403, 404, 422),
        )
        is_told = answer.status == HTTPStatus.OK and isinstance(answer.data, list)
        return list(answer.data) if is_told else None

    def in_team(self, repository: GitHubRepository, team: str, login: str) -> bool | None:
        """Whether the account is an active member of the team; None: no such team is shown.

        GitHub says 404 to both, so after it the team itself is asked for.
        """
        organization, _, slug = team.partition("/")
        path = f"/orgs/{quoted(organization)}/teams/{quoted(slug)}"
        with self._token(repository, permissions.READ_MEMBERS) as token:
            member = f"{path}/memberships/{quoted(login)}"
            answer = self.calls.send(token, "GET", member, allow=(404,))
            if answer.status == HTTPStatus.NOT_FOUND:
                seen = self.calls.send(token, "GET", path, allow=(404,))
                return False if seen.status == HTTPStatus.OK else None
        return answer.status == HTTPStatus.OK and answer.data.get("state") == "active"

    def can_write(self, repository: GitHubRepository, who: Actor) -> bool | None:
        """Whether the account, which still has this name, may write to the repository.

        None: GitHub knows no such account, or does not let the App ask.
        """
        answer = self._call(
            repository,
            permissions.READ_REPOSITORY,
            "GET",
            f"/collaborators/{quoted(who.login)}/permission",
            allow=(404,),
        )
        if answer.status == HTTPStatus.NOT_FOUND:
            return None
        return (
            answer.data.get("permission") in {"admin", "write"}
            and (answer.data.get("user") or {}).get("id") == who.id
        )

    def comment(self, repository: GitHubRepository, number: int) -> Comment | None:
        """One comment as it is now; None: it was deleted, or never was."""
        path = f"/issues/comments/{number}"
        needed = permissions.READ_PULL_REQUESTS
        answer = self._call(repository, needed, "GET", path, allow=(404,))
        return records.comment(answer.data) if answer.status == HTTPStatus.OK else None

    def attestations(self, repository: GitHubRepository, digest: Digest) -> Sequence[bytes]:
        """The newest 30 sigstore bundles about a digest; ``null`` where one is not sent along."""
        answer = self._call(
            repository,
            permissions.READ_ATTESTATIONS,
            "GET",
            f"/attestations/{quoted(digest)}",
            allow=(404,),
        )
        found = answer.data.get("attestations") if answer.status == HTTPStatus.OK else None
        return [json.dumps(one.get("bundle")).encode() for one in found or []]

    # --- commits and branches ---

    def write_commit(
        self,
        repository: GitHubRepository,
        base: str,
        base_tree: str,
        files: Sequence[FileWrite],
        message: str,
    ) -> str:
        """A verified commit: git data written by the App in its own name is signed by GitHub."""
        tree = self._tree(repository, base_tree, files)
        commit = self._commit(repository, tree, [base], message)
        self._runs.put((repository, commit), {})
        return commit

    def _graphql(
        self,
        repository: GitHubRepository,
        needed: Mapping[str, str],
        name: str,
        document: str,
        variables: Mapping[str, Any],
    ) -> Any:  # noqa: ANN401 - shaped by the document
        body = {"query": document, "variables": dict(variables)}
        with self._token(repository, needed) as token:
            answer = self.calls.send(token, "POST", GRAPHQL, body=body)
        errors = answer.data.get("errors")
        if errors:
            if any(error.get("type") == "RATE_LIMITED" for error in errors):
                self.calls.silence(repository.owner, 60)
                raise UnavailableError("GitHub's rate limit stops GraphQL", retry_after=60)
            text = str(errors[0].get("message", ""))[:200]
            raise GitHubRefusedError(f"GraphQL {name}", answer.status, text)
        return answer.data["data"]

    def _tree(self, repository: GitHubRepository, base: str, files: Sequence[FileWrite]) -> str:
        # GitHub takes a tree's id here and no commit's (documentation, "Create a tree").
        body = {"base_tree": base, "tree": [self._entry(repository, file) for file in files]}
        answer = self._call(repository, permissions.WRITE_CONTENTS, "POST", "/git/trees", body=body)
        return str(answer.data["sha"])

    def _entry(self, repository: GitHubRepository, file: FileWrite) -> dict[str, object]:
        entry: dict[str, object] = {"path": file.path, "mode": file.mode, "type": "blob"}
        if file.content is None:
            return entry | {"sha": None}
        try:
            return entry | {"content": file.content.decode()}
        except UnicodeDecodeError:
            blob = {"content": base64.b64encode(file.content).decode(), "encoding": "base64"}
            answer = self._call(
                repository, permissions.WRITE_CONTENTS, "POST", "/git/blobs", body=blob
            )
            return entry | {"sha": answer.data["sha"]}

    def _commit(
        self, repository: GitHubRepository, tree: str, parents: Sequence[str], message: str
    ) -> str:
        # No author and no committer: GitHub signs only what it may attribute to the App itself
        # (documentation, "Signature verification for bots").
        body = {"message": message, "tree": tree, "parents": list(parents)}
        answer = self._call(
            repository, permissions.WRITE_CONTENTS, "POST", "/git/commits", body=body
        )
        return str(answer.data["sha"])

    def _branch_head(self, repository: GitHubRepository, branch: str) -> str | None:
        answer = self._call(
            repository,
            permissions.READ_CONTENTS,
            "GET",
            f"/git/ref/heads/{quoted(branch)}",
            allow=(404,),
        )
        return str(answer.data["object"]["sha"]) if answer.status == HTTPStatus.OK else None

    def set_branch(
        self, repository: GitHubRepository, branch: str, commit: str, *, is_there: bool
    ) -> None:
        """Make the branch name the commit, whatever it named; looks only if `is_there` is wrong."""
        try:
            self._write_ref(repository, branch, commit, is_there=is_there)
        except (GitHubRefusedError, NotFoundError):
            head = self._branch_head(repository, branch)
            if (head is not None) == is_there:
                raise
            if head != commit:
                self._write_ref(repository, branch, commit, is_there=not is_there)

    def _write_ref(
        self, repository: GitHubRepository, branch: str, commit: str, *, is_there: bool
    ) -> None:
        if is_there:
            self._update_ref(repository, branch, commit, force=True)
        else:
            self._create_ref(repository, branch, commit)

    def _create_ref(self, repository: GitHubRepository, branch: str, commit: str) -> None:
        body = {"ref": f"refs/heads/{branch}", "sha": commit}
        self._call(repository, permissions.WRITE_CONTENTS, "POST", "/git/refs", body=body)

    def _update_ref(
        self, repository: GitHubRepository, branch: str, commit: str, *, force: bool
    ) -> None:
        self._call(
            repository,
            permissions.WRITE_CONTENTS,
            "PATCH",
            f"/git/refs/heads/{quoted(branch)}",
            body={"sha": commit, "force": force},
        )

    # --- pull requests ---

    def open_pull_request(
        self, repository: GitHubRepository, *, head: str, base: str, title: str, body: str
    ) -> PullRequest:
        """Open it, or find the open one of this head."""
        wanted = {"head": head, "base": base, "title": title, "body": self.hide(body)}
        try:
            answer = self._call(
                repository, permissions.WRITE_PULL_REQUESTS, "POST", "/pulls", body=wanted
            )
        except GitHubRefusedError:
            for found in self.pull_requests(repository, state="open", head=head):
                if found.base_branch == base:
                    return found
            raise
        opened = records.pull_request(answer.data)
        self._opened.put((repository, opened.number), known=True)
        return opened

    def edit_pull_request(
        self, repository: GitHubRepository, number: int, *, title: str, body: str
    ) -> None:
        """Bring title and body to what they should say."""
        self._patch_pull_request(repository, number, {"title": title, "body": self.hide(body)})

    def close_pull_request(self, repository: GitHubRepository, number: int) -> None:
        """Close without merging."""
        self._patch_pull_request(repository, number, {"state": "closed"})

    def _patch_pull_request(
        self, repository: GitHubRepository, number: int, body: Mapping[str, str]
    ) -> None:
        self._call(
            repository,
            permissions.WRITE_PULL_REQUESTS,
            "PATCH",
            f"/pulls/{number}",
            body=dict(body),
        )

    def merge_pull_request(
        self, repository: GitHubRepository, number: int, *, head: str, base: str, title: str
    ) -> str | MergeRefusal:
        """Merge exactly this head in a way that the repository allows; the merge commit."""
        data = self._get(repository, permissions.READ_PULL_REQUESTS, f"/pulls/{number}")
        current = records.pull_request(data)
        if current.base_branch != base:
            return MergeRefusal(f"it goes to {current.base_branch} now and not to {base}")
        if current.merged:
            return current.merge_commit or MergeRefusal("GitHub does not name the merge yet")
        words = "the repository allows no way to merge"
        for method in self.facts(repository).merge_methods:
            answer = self._call(
                repository,
                permissions.MERGE,
                "PUT",
                f"/pulls/{number}/merge",
                body={"sha": head, "merge_method": method, "commit_title": title},
                allow=(405, 409),
            )
            if answer.status == HTTPStatus.OK:
                return str(answer.data["sha"])
            words = str(answer.data.get("message", ""))[:_WORDS] or f"HTTP {answer.status}"
            if _QUEUE.search(words):
                return self._enqueue(repository, str(data.get("node_id", "")), head)
            if not _OTHER_WAY.search(words):
                break
        return MergeRefusal(words)

    def _enqueue(self, repository: GitHubRepository, node: str, head: str) -> MergeRefusal:
        """Put exactly this head into the merge queue, past which nothing is merged."""
        try:
            self._graphql(
                repository, permissions.MERGE, "enqueue", _ENQUEUE, {"id": node, "head": head}
            )
        except GitHubRefusedError as error:
            is_there = "already" in error.message.lower()
            return MergeRefusal(error.message[:_WORDS], is_queued=is_there)
        return MergeRefusal("it is in the merge queue", is_queued=True)

    def add_labels(self, repository: GitHubRepository, number: int, labels: Sequence[str]) -> None:
        """Add labels; those that are there stay."""
        self._call(
            repository,
            permissions.WRITE_PULL_REQUESTS,
            "POST",
            f"/issues/{number}/labels",
            body={"labels": list(labels)},
        )

    def set_label(
        self, repository: GitHubRepository, number: int, label: str, *, is_there: bool
    ) -> None:
        """Put one label on a pull request, or take it off."""
        if is_there:
            self.add_labels(repository, number, [label])
            return
        path = f"/issues/{number}/labels/{quoted(label)}"
        self._call(repository, permissions.WRITE_PULL_REQUESTS, "DELETE", path, allow=(404,))

    def react(self, repository: GitHubRepository, comment: int, content: str) -> None:
        """React to a comment of a pull request."""
        self._call(
            repository,
            permissions.WRITE_PULL_REQUESTS,
            "POST",
            f"/issues/comments/{comment}/reactions",
            body={"content": content},
        )

    def request_reviewers(
        self, repository: GitHubRepository, number: int, teams: Sequence[str]
    ) -> None:
        """Ask teams for a review."""
        self._call(
            repository,
            permissions.WRITE_PULL_REQUESTS,
            "POST",
            f"/pulls/{number}/requested_reviewers",
            body={"team_reviewers": [team.partition("/")[2] for team in teams]},
        )

    def set_comment(
        self,
        repository: GitHubRepository,
        number: int,
        marker: str,
        body: str,
        *,
        begins: bool = True,
    ) -> None:
        """One comment of ours per marker; a marker in somebody else's comment is nothing."""
        with self._alone(repository, number, marker):
            self._set_comment(repository, number, marker, self.hide(body), begins=begins)

    def _set_comment(
        self, repository: GitHubRepository, number: int, marker: str, body: str, *, begins: bool
    ) -> None:
        place, said = (repository, number, marker), digest_of(body)
        with self._comments.doubted(place), self._opened.doubted(place[:2]):
            found = self._own_comment(repository, number, marker)
            if found is not None and found.said == said:
                return
            if found is not None and self._edit_comment(repository, found.id, body):
                self._comments.put(place, ImageField(found.id, said))
            elif begins:
                path = f"/issues/{number}/comments"
                answer = self._call(
                    repository,
                    permissions.WRITE_PULL_REQUESTS,
                    "POST",
                    path,
                    body={"body": body},
                )
                self._comments.put(place, ImageField(int(answer.data["id"]), said))

    def _own_comment(
        self, repository: GitHubRepository, number: int, marker: str
    ) -> ImageField | None:
        """Our comment as it stands, as far as anybody knows."""
        known = self._comments.get((repository, number, marker))
        if self.is_alone and (known is not None or self._opened.get((repository, number))):
            return known
        found = self._comment(repository, number, marker)
        if found is not None:
            return ImageField(found.id, digest_of(found.body))
        return None if known is None else replace(known, said=b"")

    def _edit_comment(self, repository: GitHubRepository, number: int, body: str) -> bool:
        """Whether the comment is there to be edited."""
        path = f"/issues/comments/{number}"
        answer = self._call(
            repository,
            permissions.WRITE_PULL_REQUESTS,
            "PATCH",
            path,
            body={"body": body},
            allow=(404,),
        )
        return answer.status == HTTPStatus.OK

    def _comment(
        self, repository: GitHubRepository, number: int, marker: str
    ) -> records.CommentRecord | None:
        """Our comment, if it is among the oldest or the newest 2,000 of the conversation.

        Whoever floods it may bury ours between them; then it is written once more, and this process
        knows where it stands.
        """
        needed, login = permissions.WRITE_PULL_REQUESTS, self.login()
        path = f"/issues/{number}/comments"
        listed = self._pages(repository, needed, path, whole=False)
        if len(listed) >= WINDOW:
            with self._token(repository, needed) as token:
                address = f"/repos/{quoted(str(repository))}{path}"
                listed += self.calls.newest_pages(token, address)
        comments = (records.read(item, records.CommentRecord) for item in listed)
        return next(
            (
                one
                for one in comments
                if records.actor(one.user).login == login and marker in one.body
            ),
            None,
        )

    # --- checks and deployments ---

    def set_check(self, repository: GitHubRepository, check: Check) -> None:
        """One check run of ours per name and commit."""
        with self._alone(repository, check.commit):  # what is known of a commit is known together
            self._set_check(repository, check)

    def _alone(self, *place: object) -> threading.Lock:
        return self._writers[hash(place) % _STRIPES]

    def _set_check(self, repository: GitHubRepository, check: Check) -> None:
        check = replace(check, summary=self.hide(check.summary), text=self.hide(check.text))
        place, said = (repository, check.commit), _said(_as_run(check))
        with self._runs.doubted(place):
            known = self._own_runs(repository, check)
            found = known.get(check.name)
            if found is not None and found.said == said:
                return
            body = _check_body(check)
            if found is not None:
                path = f"/check-runs/{found.id}"
                self._call(repository, permissions.WRITE_CHECKS, "PATCH", path, body=body)
                known[check.name] = ImageField(found.id, said)
                return
            body["head_sha"] = check.commit
            answer = self._call(
                repository, permissions.WRITE_CHECKS, "POST", "/check-runs", body=body
            )
            known[check.name] = ImageField(int(answer.data["id"]), said)

    def _own_runs(self, repository: GitHubRepository, check: Check) -> dict[str, ImageField]:
        """Our check runs on a commit by name, all of them; or where others write, this one."""
        known = self._runs.get((repository, check.commit)) if self.is_alone else None
        if known is not None:
            return known
        query = {"filter": "latest", "app_id": self.tokens.app_id, "per_page": "100"}
        query |= {} if self.is_alone else {"check_name": check.name}
        path = f"/repos/{quoted(str(repository))}/commits/{quoted(check.commit)}/check-runs"
        found: dict[str, ImageField] = {}
        with self._token(repository, permissions.WRITE_CHECKS) as token:
            for item in self.calls.pages(token, path, query, within="check_runs"):
                run = records.read(item, records.CheckRunRecord)
                if run.app is not None and str(run.app.id) == self.tokens.app_id:
                    found.setdefault(run.name, ImageField(run.id, _said(run)))
        self._runs.put((repository, check.commit), found)
        return found

    def report_deployment(self, repository: GitHubRepository, report: DeploymentReport) -> None:
        """One deployment of ours per (environment, commit) and its newest state."""
        with self._alone(repository, report.commit, report.environment):
            self._report_deployment(repository, report)

    def _report_deployment(self, repository: GitHubRepository, report: DeploymentReport) -> None:
        place = repository, report.environment, report.commit
        state, description = _status(report)
        said = digest_of(state, description)
        with self._deployments.doubted(place):
            found = self._own_deployment(repository, report)
            if found.said != said:
                body = {"state": state, "description": description, "auto_inactive": False}
                path = f"/deployments/{found.id}/statuses"
                self._call(repository, permissions.WRITE_DEPLOYMENTS, "POST", path, body=body)
            self._deployments.put(place, ImageField(found.id, said))

    def _own_deployment(self, repository: GitHubRepository, report: DeploymentReport) -> ImageField:
        """The deployment, made where there is none, and what its newest state says."""
        known = self._deployments.get((repository, report.environment, report.commit))
        if self.is_alone and known is not None:
            return known
        query = {"sha": report.commit, "environment": report.environment}
        found = self._pages(repository, permissions.WRITE_DEPLOYMENTS, "/deployments", query)
        deployments = [records.read(item, records.DeploymentRecord) for item in found]
        ours = [d.id for d in deployments if records.actor(d.creator).login == self.login()]
        if not ours:
            return ImageField(self._create_deployment(repository, report), b"")
        path = f"/deployments/{ours[0]}/statuses"
        statuses = self._pages(repository, permissions.WRITE_DEPLOYMENTS, path, whole=False)
        newest = [records.read(item, records.DeploymentStatusRecord) for item in statuses[:1]]
        said = digest_of(newest[0].state, newest[0].description) if newest else b""
        return ImageField(ours[0], said)

    def _create_deployment(self, repository: GitHubRepository, report: DeploymentReport) -> int:
        # The defaults would merge branches and wait for checks (documentation, "Create a
        # deployment"): this is a line in a timeline and nothing else.
        answer = self._call(
            repository,
            permissions.WRITE_DEPLOYMENTS,
            "POST",
            "/deployments",
            body={
                "ref": report.commit,
                "environment": report.environment,
                "task": "lockkeeper",
                "auto_merge": False,
                "required_contexts": [],
                "description": report.description[:140],
                "payload": dict(report.payload),
            },
        )
        return int(answer.data["id"])

    # --- publications ---

    def write_publication(
        self,
        repository: GitHubRepository,
        *,
        base_tree: str,
        files: Sequence[FileWrite],
        without: str,
        tree: str,
        parent: str,
        message: str,
        key: CommitKey | None = None,
    ) -> str:
        """A verified commit of exactly ``tree``; what GitHub computes must be that id."""
        written = self._tree(repository, base_tree, files) if files else base_tree
        if without and written != tree:
            written = self._tree_without(repository, written, without)
        if written != tree:
            raise IntegrityError(f"GitHub made tree {written}, expected {tree}")
        parents = [parent] if parent else []
        if key is not None:
            return self._signed_commit(repository, tree, parents, message, key)
        return self._commit(repository, tree, parents, message)

    def _signed_commit(
        self,
        repository: GitHubRepository,
        tree: str,
        parents: Sequence[str],
        message: str,
        key: CommitKey,
    ) -> str:
        """A commit by the key's own name: what is signed are the bytes that git stores."""
        now = self.calls.clock.now().replace(microsecond=0)
        person = f"{key.name} <{key.email}> {int(now.timestamp())} +0000"
        lines = [f"tree {tree}", *(f"parent {one}" for one in parents)]
        header = "\n".join([*lines, f"author {person}", f"committer {person}"])
        signature = key.sign(f"{header}\n\n{message}".encode())
        who = {"name": key.name, "email": key.email, "date": now.strftime("%Y-%m-%dT%H:%M:%SZ")}
        body = {
            "message": message,
            "tree": tree,
            "parents": list(parents),
            "author": who,
            "committer": who,
            "signature": signature,
        }
        answer = self._call(
            repository, permissions.WRITE_CONTENTS, "POST", "/git/commits", body=body
        )
        return str(answer.data["sha"])

    def _tree_without(self, repository: GitHubRepository, tree: str, folder: str) -> str:
        listed = self._get(repository, permissions.READ_CONTENTS, f"/git/trees/{tree}")["tree"]
        entries = [
            {name: entry[name] for name in ("path", "mode", "type", "sha")}
            for entry in listed
            if entry["path"] != folder
        ]
        answer = self._call(
            repository,
            permissions.WRITE_CONTENTS,
            "POST",
            "/git/trees",
            body={"tree": entries},
        )
        return str(answer.data["sha"])

    def set_environment_ref(
        self, repository: GitHubRepository, ref: str, commit: str, *, create: bool
    ) -> None:
        """Fast-forward (or create) an environment ref; never by force."""
        try:
            if create:
                self._create_ref(repository, ref, commit)
            else:
                self._update_ref(repository, ref, commit, force=False)
        except (GitHubRefusedError, NotFoundError) as error:
            head = self._branch_head(repository, ref)
            if head == commit:
                return
            if create != (head is None):
                fact = f"{ref} changed while its publication was made; looking again"
                raise UnavailableError(fact) from error
            if isinstance(error, NotFoundError):
                raise
            raise RefNotMovedError(ref, error.message) from error

    # --- plumbing ---

    def _call(
        self,
        repository: GitHubRepository,
        needed: Mapping[str, str],
        verb: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        allow: tuple[int, ...] = (),
    ) -> Answer:
        with self._token(repository, needed) as token:
            return self.calls.send(
                token,
                verb,
                f"/repos/{quoted(str(repository))}{path}",
                query=query,
                body=body,
                allow=allow,
            )

    @contextmanager
    def _token(
        self, repository: GitHubRepository, needed: Mapping[str, str]
    ) -> Iterator[github.Auth.Auth]:
        """A token for requests, asked for anew next time if GitHub no longer takes it."""
        try:
            yield self.tokens.of(repository, needed)
        except StaleTokenError:
            self.tokens.forget(repository)
            raise

    def _get(self, repository: GitHubRepository, needed: Mapping[str, str], path: str) -> Any:  # noqa: ANN401 - JSON
        return self._call(repository, needed, "GET", path).data

    def _pages(
        self,
        repository: GitHubRepository,
        needed: Mapping[str, str],
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        whole: bool = True,
    ) -> list[Any]:
        with self._token(repository, needed) as token:
            address = f"/repos/{quoted(str(repository))}{path}"
            return list(self.calls.pages(token, address, query, whole=whole))


class RefNotMovedError(RejectedError):
    """GitHub does not let the environment ref move."""

    def __init__(self, ref: str, message: str) -> None:
        """Name the ref and the rule."""
        super().__init__(
            f"{ref} cannot be moved: {message}; let the App bypass the rule that protects it"
        )
        self.ref, self.message = ref, message


def _check_body(check: Check) -> dict[str, object]:
    body: dict[str, object] = {
        "name": check.name,
        "output": {
            "title": check.title[:255],
            "summary": check.summary[:65535],
            "text": check.text[:65535],
        },
    }
    if check.state is CheckState.IN_PROGRESS:
        return body | {"status": "in_progress"}
    actions = [
        {"label": verb.name.capitalize(), "description": verb.effect, "identifier": verb.name}
        for verb in verbs_of(Channel.BUTTON)
    ]
    return body | {"status": "completed", "conclusion": str(check.state), "actions": actions}


def _as_run(check: Check) -> records.CheckRunRecord:
    """How the check stands at GitHub once it is written."""
    output = records.CheckOutput(check.title[:255], check.summary[:65535], check.text[:65535])
    if check.state is CheckState.IN_PROGRESS:
        return records.CheckRunRecord(0, check.name, "in_progress", output)
    return records.CheckRunRecord(0, check.name, "completed", output, str(check.state))


def _said(run: records.CheckRunRecord) -> bytes:
    """What people read; when it was evaluated does not count."""
    state = run.conclusion if run.status == "completed" else run.status
    output = run.output
    summary = without_time(output.summary or "")
    return digest_of(str(state), output.title or "", output.text or "", summary)


def _status(report: DeploymentReport) -> tuple[str, str]:
    return report.state, report.description[:140]
