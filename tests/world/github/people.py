"""People: what a person does on the web or with git, in one word each.

Everything goes through the same code as the API, so rules hold and webhooks fly.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.world.github.behaviour import checks, conversation, merging, pulls, refs
from tests.world.github.errors import forbidden
from tests.world.github.gitstore import FileChanges
from tests.world.github.records import (
    Account,
    Actor,
    CheckRun,
    Comment,
    PullRequest,
    Repository,
    Review,
)
from tests.world.github.state import State

RepositoryName = str | Repository


@dataclass(frozen=True, slots=True)
class User:
    """A person with an account; ``token`` opens the API and git over HTTP."""

    state: State
    account: Account

    @property
    def login(self) -> str:
        """The account's name."""
        return self.account.login

    @property
    def id(self) -> int:
        """The account's number."""
        return self.account.id

    @property
    def token(self) -> str:
        """A personal access token."""
        return self.account.token

    @property
    def _actor(self) -> Actor:
        return Actor(self.account)

    def _writable(self, repository: RepositoryName) -> Repository:
        found = repository if isinstance(repository, Repository) else self._named(repository)
        if not found.allows(self.account, "write"):
            raise forbidden(f"{self.login} may not write to {found.full_name}")
        return found

    def _named(self, full_name: str) -> Repository:
        return self.state.repository(full_name)

    # --- git --------------------------------------------------------------------------------

    def commit(
        self,
        repository: RepositoryName,
        files: FileChanges,
        *,
        message: str = "Change files",
        parents: tuple[str, ...] = (),
    ) -> str:
        """Write a commit with ``files`` changed from its first parent; no ref moves."""
        found = self._writable(repository)
        base = found.git.commit(parents[0]).tree if parents else None
        tree = found.git.with_files(base, files)
        signature = self.account.signature(self.state.clock())
        return found.git.write_commit(tree, parents, message, signature)

    def push(
        self,
        repository: RepositoryName,
        branch: str,
        files: FileChanges | None = None,
        *,
        message: str = "Change files",
        parent: str | None = None,
        force: bool = False,
    ) -> str:
        """Push to ``branch`` and return its new tip.

        With ``files`` a commit is made on top of ``parent``: by default the branch's tip, for a
        new branch that of the default branch. Without files the branch is put on ``parent``.
        """
        with self.state.lock:
            found = self._writable(repository)
            tip = found.head(branch)
            start = parent or tip or found.head(found.default_branch)
            commit = start
            if files or commit is None:
                parents = (start,) if start else ()
                commit = self.commit(found, files or {}, message=message, parents=parents)
            self._put(found, f"refs/heads/{branch}", commit, force=force)
            return commit

    def tag(
        self,
        repository: RepositoryName,
        name: str,
        commit: str,
        *,
        annotated: bool = False,
        force: bool = False,
    ) -> None:
        """Push a tag, lightweight or ``annotated``; one that is there moves by ``force`` alone."""
        with self.state.lock:
            found, ref = self._writable(repository), f"refs/tags/{name}"
            target = commit
            if annotated:
                signature = self.account.signature(self.state.clock())
                target = found.git.write_tag(commit, name, signature)
            if found.git.ref(ref) is None:
                refs.write_new(self.state, self._actor, found, ref, target)
            elif force:
                refs.move_tag(self.state, self._actor, found, ref, target)
            else:
                raise AssertionError(f"rejected: tag {name} already exists")

    def delete_tag(self, repository: RepositoryName, name: str) -> None:
        """Delete a tag."""
        with self.state.lock:
            found = self._writable(repository)
            refs.delete(self.state, self._actor, found, f"refs/tags/{name}")

    def _put(self, found: Repository, name: str, commit: str, *, force: bool) -> None:
        if found.git.ref(name) is None:
            refs.write_new(self.state, self._actor, found, name, commit)
        else:
            refs.update(self.state, self._actor, found, name, commit, force=force)

    def delete_branch(self, repository: RepositoryName, branch: str) -> None:
        """Delete a branch."""
        with self.state.lock:
            found = self._writable(repository)
            refs.delete(self.state, self._actor, found, f"refs/heads/{branch}")

    # --- pull requests ----------------------------------------------------------------------

    def open_pull_request(
        self,
        repository: RepositoryName,
        head: str,
        base: str | None = None,
        *,
        title: str = "",
        body: str | None = None,
        draft: bool = False,
    ) -> PullRequest:
        """Open a pull request from ``head`` into ``base``, by default the default branch.

        ``owner:branch`` names the branch of a fork.
        """
        with self.state.lock:
            found = repository if isinstance(repository, Repository) else self._named(repository)
            return pulls.open_pull(
                self.state,
                self._actor,
                found,
                title=title or f"Merge {head}",
                head=head,
                base=base or found.default_branch,
                body=body,
                draft=draft,
            )

    def review(
        self, pull: PullRequest, event: str, body: str = "", commit: str | None = None
    ) -> Review:
        """Submit a review: APPROVE, REQUEST_CHANGES or COMMENT."""
        with self.state.lock:
            return pulls.submit_review(self.state, self._actor, pull, event, body, commit)

    def approve(self, pull: PullRequest) -> Review:
        """Approve the head."""
        return self.review(pull, "APPROVE")

    def edit(self, pull: PullRequest, *, title: str | None = None, body: str | None = None) -> None:
        """Change title or body."""
        with self.state.lock:
            pulls.edit(self.state, self._actor, pull, title=title, body=body)

    def merge(self, pull: PullRequest, method: str = "merge", *, message: str | None = None) -> str:
        """Press the merge button; returns the new commit."""
        with self.state.lock:
            self._writable(pull.repository)
            return merging.merge_checked(
                self.state, self._actor, pull, method=method, message=message
            )

    def close(self, pull: PullRequest) -> None:
        """Close without merging."""
        with self.state.lock:
            pulls.close(self.state, self._actor, pull)

    def reopen(self, pull: PullRequest) -> None:
        """Open again."""
        with self.state.lock:
            pulls.reopen(self.state, self._actor, pull)

    def comment(self, pull: PullRequest, body: str) -> Comment:
        """Write a comment."""
        with self.state.lock:
            return conversation.comment(self.state, self._actor, pull, body)

    def edit_comment(self, comment: Comment, body: str) -> None:
        """Rewrite a comment."""
        with self.state.lock:
            conversation.edit(self.state, self._actor, comment, body)

    def label(self, pull: PullRequest, *names: str) -> None:
        """Put labels on a pull request."""
        with self.state.lock:
            conversation.add_labels(self.state, self._actor, pull, list(names))

    # --- checks -----------------------------------------------------------------------------

    def press(self, run: CheckRun, identifier: str) -> None:
        """Press a button of a check run."""
        with self.state.lock:
            home = self._home(run)
            checks.press(self.state, home, self._actor, run, identifier)

    def rerun(self, run: CheckRun) -> None:
        """Press "Re-run" on a check run."""
        with self.state.lock:
            checks.ask_again(self.state, self._home(run), self._actor, run)

    def _home(self, run: CheckRun) -> Repository:
        return next(r for r in self.state.repositories.values() if run.id in r.check_runs)
