"""/repos/.../git: refs, commits, trees, blobs."""

from __future__ import annotations

import base64
import binascii
from typing import Any
from urllib.parse import unquote

from tests.world.github.behaviour import refs
from tests.world.github.clock import stamp
from tests.world.github.errors import ApiError, conflict, not_found, unprocessable
from tests.world.github.gitstore import WEB_FLOW, GitError, Signature
from tests.world.github.permissions import refuse_workflows
from tests.world.github.records import Repository
from tests.world.github.rest.endpoint import Answer, Call, Endpoints
from tests.world.github.rest.times import moment
from tests.world.github.views import commits as views

Json = dict[str, Any]
ENDPOINTS = Endpoints()

SIGNED = {"author", "committer", "signature"}
"""Keys of a commit with which its author answers for it, instead of GitHub."""

MODES = {"100644", "100755", "040000", "160000", "120000"}


def _full_name(call: Call) -> str:
    return "refs/" + unquote(call.path["ref"])


def _shown(call: Call, name: str) -> Json:
    target = call.repository.git.ref(name)
    if target is None:
        raise not_found()
    return views.ref(call.state, call.repository, name, target)


@ENDPOINTS.add("GET", "/repos/{owner}/{repo}/git/ref/{ref}", "contents:read")
def get_ref(call: Call) -> Answer:
    """Return one ref, named in full without ``refs/``."""
    return Answer(body=_shown(call, _full_name(call)))


@ENDPOINTS.add("GET", "/repos/{owner}/{repo}/git/matching-refs/{ref}", "contents:read")
def list_matching_refs(call: Call) -> Answer:
    """List refs that start with the given text."""
    found = list(call.repository.git.refs(_full_name(call)).items())
    return Answer(body=[views.ref(call.state, call.repository, *one) for one in found])


@ENDPOINTS.add("POST", "/repos/{owner}/{repo}/git/refs", "contents:write")
def create_ref(call: Call) -> Answer:
    """Create a ref."""
    name, commit = call.field("ref"), call.field("sha")
    if call.repository.git.type_of(commit) == "commit":
        refuse_workflows(call.principal, call.repository, commit)
    refs.create(call.state, call.actor, call.repository, name, commit)
    return Answer(201, _shown(call, name))


@ENDPOINTS.add("PATCH", "/repos/{owner}/{repo}/git/refs/{ref}", "contents:write")
def update_ref(call: Call) -> Answer:
    """Move a ref."""
    name, commit = _full_name(call), call.field("sha")
    if call.repository.git.type_of(commit) == "commit":
        refuse_workflows(call.principal, call.repository, commit)
    force = bool(call.body.get("force", False))
    refs.update(call.state, call.actor, call.repository, name, commit, force=force)
    return Answer(body=_shown(call, name))


@ENDPOINTS.add("DELETE", "/repos/{owner}/{repo}/git/refs/{ref}", "contents:write")
def delete_ref(call: Call) -> Answer:
    """Delete a ref."""
    refs.delete(call.state, call.actor, call.repository, _full_name(call))
    return Answer(204)


@ENDPOINTS.add("GET", "/repos/{owner}/{repo}/git/commits/{commit_sha}", "contents:read")
def get_commit(call: Call) -> Answer:
    """Return a commit object."""
    commit = call.path["commit_sha"]
    if call.repository.git.type_of(commit) != "commit":
        raise not_found()
    return Answer(body=views.git_commit(call.state, call.repository, commit))


@ENDPOINTS.add("POST", "/repos/{owner}/{repo}/git/commits", "contents:write")
def create_commit(call: Call) -> Answer:
    """Create a commit object on no branch.

    Made by a bot without author, committer and signature it is verified (docs: About commit
    signature verification, "Signature verification for bots"); that GitHub is then its committer,
    as with all that it signs, is believed.
    """
    repository, git, body = call.repository, call.repository.git, call.body or {}
    if git.type_of(call.field("tree")) != "tree":
        raise unprocessable("Tree SHA does not exist")
    parents = tuple(body.get("parents", []))
    if any(git.type_of(parent) != "commit" for parent in parents):
        raise unprocessable("Parent SHA does not exist or is not a commit object")
    signs = call.principal.token is not None and not SIGNED & set(body)
    author = _signature(call, body.get("author"))
    committer = _signature(call, body["committer"]) if "committer" in body else author
    if signs:
        committer = Signature(*WEB_FLOW, author.date)
    commit = git.write_commit(
        body["tree"], parents, call.field("message"), author, committer, body.get("signature", "")
    )
    if signs:
        repository.verified.add(commit)
    return Answer(201, views.git_commit(call.state, repository, commit))


def _signature(call: Call, given: Json | None) -> Signature:
    now = call.state.clock()
    if given is None:
        return call.actor.account.signature(now)
    return Signature(given["name"], given["email"], moment(given.get("date", stamp(now))))


@ENDPOINTS.add("GET", "/repos/{owner}/{repo}/git/trees/{tree_sha}", "contents:read")
def get_tree(call: Call) -> Answer:
    """Return a tree; the presence of ``recursive``, whatever its value, makes it recursive."""
    git, name = call.repository.git, unquote(call.path["tree_sha"])
    tree = name if git.type_of(name) == "tree" else git.resolve(name)
    if tree is None:
        raise not_found()
    root = git.entry(tree, "")
    if root is None:
        raise not_found()
    listing = git.entries(root.id, recursive="recursive" in call.query)
    return Answer(body=views.tree(call.state, call.repository, root.id, listing))


@ENDPOINTS.add("POST", "/repos/{owner}/{repo}/git/trees", "contents:write")
def create_tree(call: Call) -> Answer:
    """Create a tree: ``base_tree`` plus entries; ``sha`` null deletes (docs: Create a tree).

    ``base_tree`` is "the SHA1 of an existing Git tree object" (docs: ibid.): a commit's id is none.
    409 in an empty repository: github/rest-api-description#637.
    """
    git = call.repository.git
    if not git.refs():
        raise conflict("Git Repository is empty.")
    base = (call.body or {}).get("base_tree")
    if base is not None and git.type_of(base) != "tree":
        raise unprocessable("base_tree is not a valid tree oid")
    edits = {entry["path"]: _edit(call.repository, entry) for entry in call.field("tree")}
    try:
        tree = git.edit_tree(base, edits)
    except KeyError as error:
        # Deleting what is not there is an error (docs: ibid.); text: osunyorg/admin#3732.
        raise unprocessable("GitRPC::BadObjectState") from error
    return Answer(201, views.tree(call.state, call.repository, tree, git.entries(tree)))


def _edit(repository: Repository, entry: Json) -> tuple[str, str] | None:
    mode = entry.get("mode", "100644")
    if mode not in MODES:
        raise unprocessable(f"tree.mode {mode} is not one of {', '.join(sorted(MODES))}")
    if "content" in entry and "sha" in entry:
        raise unprocessable("Must supply either tree.sha or tree.content, not both")
    if "content" in entry:
        return mode, repository.git.write_blob(entry["content"])
    if entry.get("sha") is None:
        return None
    if mode != "160000" and repository.git.type_of(entry["sha"]) is None:
        raise unprocessable(f"tree.sha {entry['sha']} is not a valid blob")
    return mode, entry["sha"]


@ENDPOINTS.add("GET", "/repos/{owner}/{repo}/git/blobs/{file_sha}", "contents:read")
def get_blob(call: Call) -> Answer:
    """Return a blob in base64."""
    blob = call.path["file_sha"]
    try:
        content = call.repository.git.blob(blob)
    except GitError as error:
        raise not_found() from error
    return Answer(body=views.blob(call.state, call.repository, blob, content))


@ENDPOINTS.add("POST", "/repos/{owner}/{repo}/git/blobs", "contents:write")
def create_blob(call: Call) -> Answer:
    """Store a blob given as UTF-8 or base64."""
    text: str = call.field("content")
    try:
        base64ed = call.body.get("encoding", "utf-8") == "base64"
        content = base64.b64decode(text, validate=True) if base64ed else text.encode()
    except binascii.Error as error:
        raise ApiError(422, "Unable to decode content") from error
    blob = call.repository.git.write_blob(content)
    url = views.blob(call.state, call.repository, blob, content)["url"]
    return Answer(201, {"sha": blob, "url": url})
