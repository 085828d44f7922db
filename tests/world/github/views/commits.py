"""Commits, branches, refs, trees, blobs and comparisons as JSON."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import quote

from tests.world.github.clock import stamp
from tests.world.github.gitstore import Commit, FileDifference, Signature, TreeEntry
from tests.world.github.records import Repository, node_id
from tests.world.github.state import State
from tests.world.github.views.accounts import user_or_none
from tests.world.github.views.repositories import api_url, html_url

Json = dict[str, Any]

COMPARED_COMMITS = 250
COMPARED_FILES = 300
"""Limits of a comparison's first page (docs: Compare two commits)."""


def git_user(signature: Signature) -> Json:
    """Return a signature of a commit."""
    return {"name": signature.name, "email": signature.email, "date": stamp(signature.date)}


def verification(repository: Repository, commit: Commit) -> Json:
    """Return whether GitHub calls a commit verified: here, the ones that it made itself."""
    if commit.id not in repository.verified:
        return {
            "verified": False,
            "reason": "unsigned",
            "signature": None,
            "payload": None,
            "verified_at": None,
        }
    return {
        "verified": True,
        "reason": "valid",
        "signature": "-----BEGIN PGP SIGNATURE-----\n\nlocal\n-----END PGP SIGNATURE-----",
        "payload": commit.text,
        "verified_at": stamp(commit.committer.date),
    }


def commit(state: State, repository: Repository, commit_id: str) -> Json:
    """Return a commit as the repository's commit list has it (schema ``commit``)."""
    found = repository.git.commit(commit_id)
    url, page = api_url(state, repository), html_url(state, repository)
    return {
        "sha": found.id,
        "node_id": node_id("C", int(found.id[:10], 16)),
        "url": f"{url}/commits/{found.id}",
        "html_url": f"{page}/commit/{found.id}",
        "comments_url": f"{url}/commits/{found.id}/comments",
        "commit": {
            "url": f"{url}/git/commits/{found.id}",
            "author": git_user(found.author),
            "committer": git_user(found.committer),
            "message": found.message,
            "comment_count": 0,
            "tree": {"sha": found.tree, "url": f"{url}/git/trees/{found.tree}"},
            "verification": verification(repository, found),
        },
        "author": user_or_none(state, state.account_of_email(found.author.email)),
        "committer": user_or_none(state, state.account_of_email(found.committer.email)),
        "parents": [
            {"sha": p, "url": f"{url}/commits/{p}", "html_url": f"{page}/commit/{p}"}
            for p in found.parents
        ],
    }


def commit_with_files(state: State, repository: Repository, commit_id: str) -> Json:
    """Return a commit with its statistics and changed files."""
    found = repository.git.commit(commit_id)
    before = found.parents[0] if found.parents else "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
    changes = repository.git.difference(before, found.id)
    additions = sum(c.additions for c in changes)
    deletions = sum(c.deletions for c in changes)
    return commit(state, repository, commit_id) | {
        "stats": {"additions": additions, "deletions": deletions, "total": additions + deletions},
        "files": files(state, repository, changes, commit_id),
    }


def files(
    state: State, repository: Repository, changes: list[FileDifference], commit_id: str
) -> list[Json]:
    """Return changed files (schema ``diff-entry``)."""
    url, page = api_url(state, repository), html_url(state, repository)
    shown = []
    for change in changes:
        path = quote(change.path)
        entry: Json = {
            "sha": change.blob,
            "filename": change.path,
            "status": change.status,
            "additions": change.additions,
            "deletions": change.deletions,
            "changes": change.additions + change.deletions,
            "blob_url": f"{page}/blob/{commit_id}/{path}",
            "raw_url": f"{page}/raw/{commit_id}/{path}",
            "contents_url": f"{url}/contents/{path}?ref={commit_id}",
        }
        shown.append(entry if change.patch is None else entry | {"patch": change.patch})
    return shown


def comparison(state: State, repository: Repository, base: str, head: str, merge_base: str) -> Json:
    """Return ``base...head`` (schema ``commit-comparison``): files from the merge base."""
    git = repository.git
    ahead = git.history(head, f"^{base}")
    behind = git.history(base, f"^{head}")
    spec = f"{base}...{head}"
    page = f"{html_url(state, repository)}/compare/{spec}"
    status = {(True, True): "diverged", (True, False): "ahead", (False, True): "behind"}
    return {
        "url": f"{api_url(state, repository)}/compare/{spec}",
        "html_url": page,
        "permalink_url": page,
        "diff_url": page + ".diff",
        "patch_url": page + ".patch",
        "base_commit": commit(state, repository, base),
        "merge_base_commit": commit(state, repository, merge_base),
        "status": status.get((bool(ahead), bool(behind)), "identical"),
        "ahead_by": len(ahead),
        "behind_by": len(behind),
        "total_commits": len(ahead),
        "files": files(state, repository, git.difference(merge_base, head)[:COMPARED_FILES], head),
        "commits": [commit(state, repository, c) for c in reversed(ahead)],
    }


def git_commit(state: State, repository: Repository, commit_id: str) -> Json:
    """Return a commit object (schema ``git-commit``)."""
    found = repository.git.commit(commit_id)
    url, page = api_url(state, repository), html_url(state, repository)
    return {
        "sha": found.id,
        "node_id": node_id("C", int(found.id[:10], 16)),
        "url": f"{url}/git/commits/{found.id}",
        "html_url": f"{page}/commit/{found.id}",
        "author": git_user(found.author),
        "committer": git_user(found.committer),
        "message": found.message,
        "tree": {"sha": found.tree, "url": f"{url}/git/trees/{found.tree}"},
        "parents": [
            {"sha": p, "url": f"{url}/git/commits/{p}", "html_url": f"{page}/commit/{p}"}
            for p in found.parents
        ],
        "verification": verification(repository, found),
    }


def ref(state: State, repository: Repository, name: str, target: str) -> Json:
    """Return a ref (schema ``git-ref``); ``name`` is the full one."""
    url = api_url(state, repository)
    return {
        "ref": name,
        "node_id": "REF_" + base64.urlsafe_b64encode(name.encode()).decode(),
        "url": f"{url}/git/{quote(name)}",
        "object": {"type": "commit", "sha": target, "url": f"{url}/git/commits/{target}"},
    }


def short_branch(state: State, repository: Repository, name: str, target: str) -> Json:
    """Return a branch of the branch list."""
    url = api_url(state, repository)
    return {
        "name": name,
        "commit": {"sha": target, "url": f"{url}/commits/{target}"},
        "protected": repository.rules_of(name) is not None,
    }


def branch(state: State, repository: Repository, name: str, target: str) -> Json:
    """Return a branch alone (schema ``branch-with-protection``)."""
    url = f"{api_url(state, repository)}/branches/{quote(name)}"
    return {
        "name": name,
        "commit": commit(state, repository, target),
        "_links": {"self": url, "html": f"{html_url(state, repository)}/tree/{quote(name)}"},
        "protected": repository.rules_of(name) is not None,
        "protection": {"enabled": repository.rules_of(name) is not None},
        "protection_url": f"{url}/protection",
    }


def tree(state: State, repository: Repository, tree_id: str, listing: list[TreeEntry]) -> Json:
    """Return a tree (schema ``git-tree``)."""
    url = api_url(state, repository)
    kinds = {"tree": "trees", "blob": "blobs", "commit": "commits"}
    entries = []
    for entry in listing:
        shown: Json = {
            "path": entry.path,
            "mode": entry.mode,
            "type": entry.type,
            "sha": entry.id,
            "url": f"{url}/git/{kinds[entry.type]}/{entry.id}",
        }
        entries.append(shown if entry.size is None else shown | {"size": entry.size})
    return {
        "sha": tree_id,
        "url": f"{url}/git/trees/{tree_id}",
        "truncated": False,
        "tree": entries,
    }


def blob(state: State, repository: Repository, blob_id: str, content: bytes) -> Json:
    """Return a blob (schema ``blob``)."""
    return {
        "sha": blob_id,
        "node_id": node_id("B", int(blob_id[:10], 16)),
        "size": len(content),
        "url": f"{api_url(state, repository)}/git/blobs/{blob_id}",
        "content": base64.encodebytes(content).decode(),
        "encoding": "base64",
    }


def content(state: State, repository: Repository, entry: TreeEntry, path: str, at: str) -> Json:
    """Return one entry of ``contents`` without the content itself."""
    url, page = api_url(state, repository), html_url(state, repository)
    kind = {"tree": "dir", "commit": "submodule"}.get(entry.type, "file")
    kind = "symlink" if entry.mode == "120000" else kind
    place = f"{quote(at)}/{quote(path)}"
    own = f"{url}/contents/{quote(path)}?ref={quote(at)}"
    git = f"{url}/git/{'trees' if entry.type == 'tree' else 'blobs'}/{entry.id}"
    shown = f"{page}/{'tree' if entry.type == 'tree' else 'blob'}/{place}"
    return {
        "type": kind,
        "name": path.rpartition("/")[2],
        "path": path,
        "sha": entry.id,
        "size": entry.size or 0,
        "url": own,
        "git_url": git,
        "html_url": shown,
        "download_url": f"{page}/raw/{place}" if kind == "file" else None,
        "_links": {"self": own, "git": git, "html": shown},
    }


def pushed_commit(state: State, repository: Repository, commit_id: str) -> Json:
    """Return a commit as a push webhook lists it."""
    found = repository.git.commit(commit_id)
    changes = []
    if len(found.parents) == 1:
        changes = repository.git.difference(found.parents[0], found.id)
    return {
        "id": found.id,
        "tree_id": found.tree,
        "distinct": True,
        "message": found.message,
        "timestamp": stamp(found.committer.date),
        "url": f"{html_url(state, repository)}/commit/{found.id}",
        "author": _pusher(state, found.author),
        "committer": _pusher(state, found.committer),
        "added": [c.path for c in changes if c.status == "added"],
        "removed": [c.path for c in changes if c.status == "removed"],
        "modified": [c.path for c in changes if c.status == "modified"],
    }


def _pusher(state: State, signature: Signature) -> Json:
    known = state.account_of_email(signature.email)
    person: Json = {
        "name": signature.name,
        "email": signature.email,
        "date": stamp(signature.date),
    }
    return person | {"username": known.login} if known else person


def simple_commit(repository: Repository, commit_id: str) -> Json:
    """Return a commit as check suites and merge groups carry it (schema ``simple-commit``)."""
    found = repository.git.commit(commit_id)
    return {
        "id": found.id,
        "tree_id": found.tree,
        "message": found.message,
        "timestamp": stamp(found.committer.date),
        "author": {"name": found.author.name, "email": found.author.email},
        "committer": {"name": found.committer.name, "email": found.committer.email},
    }
