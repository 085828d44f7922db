"""kustomize and Helm in the scanner's sandbox: the port `bot.ports.rendering.Renderer`.

A root's files, and nothing else, are laid out in a room; the tool reads them there, without
network, git or plugins, and its output is bounded. Manifests are text from outside: Helm's
templates loop, kustomize starts Helm. Safe to repeat and to use from several threads; a run
leaves nothing behind.
"""

from __future__ import annotations

import errno
import hashlib
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from bot.adapters.scanning.rooms import Room
from bot.adapters.scanning.sandbox import Done, Limits, Sandbox
from bot.adapters.scanning.tools import stamp_of
from bot.domain.errors import UnavailableError
from bot.domain.rendering import NotRenderedError, RenderRoot, RenderTool

OUTPUT: Final = 8 * 2**20  # bytes of the objects of one root
DISK: Final = 256 * 2**20  # bytes of temporary files
_AT_ONCE: Final = 2  # runs
_LINK: Final = "120000"  # git's mode of a symbolic link
_COMMA: Final = re.compile(r"(?<!\\),")
_SETTINGS: Final = {
    RenderTool.KUSTOMIZE: "LOCKKEEPER_KUSTOMIZE",
    RenderTool.HELM: "LOCKKEEPER_HELM",
}


# What a repository's names bring about; anything else is this machine's.
_ODD: Final = frozenset(
    {errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL}
)


class _OddTreeError(ValueError):
    """Files that cannot lie beside each other on a disk."""


class ConfinedRenderer:
    """The tools that the operator has set, kept away from everything else."""

    def __init__(
        self,
        tools: Mapping[RenderTool, Path],
        *,
        seconds: int = 60,
        memory_mib: int = 1024,
        directory: Path | None = None,
    ) -> None:
        """Run nothing yet.

        Args:
            tools: those that are set -> their executables.
            seconds: by the clock on the wall, for one root.
            memory_mib: for one root, with everything that is started for it.
            directory: where files are laid out; the system's folder for temporary files without.
        """
        limits = Limits(seconds=seconds, memory=memory_mib * 2**20, output=OUTPUT, disk=DISK)
        self._sandboxes = {
            tool: Sandbox(
                path,
                limits=limits,
                directory=directory,
                called=str(tool),
                setting=_SETTINGS[tool],
            )
            for tool, path in tools.items()
        }
        self._turns = threading.BoundedSemaphore(_AT_ONCE)
        self._known: dict[Path, tuple[object, str]] = {}
        self._guard = threading.Lock()

    def generation(self) -> str:
        """The hash of each tool: the same wherever the same programs are."""
        return " ".join(f"{tool} {self._hash(box)}" for tool, box in self._sandboxes.items())

    def gaps(self) -> Sequence[str]:
        """What does not keep them apart here."""
        found: dict[str, None] = {}
        for sandbox in self._sandboxes.values():
            found |= dict.fromkeys(sandbox.confinement().missing)
        return tuple(found)

    def render(self, root: RenderRoot, files: Mapping[str, tuple[str, bytes]]) -> str:
        """The objects that come of a root."""
        if root.obstacle:
            raise NotRenderedError(root.name, root.obstacle)
        needed = [root.renderer, *([RenderTool.HELM] if root.has_charts else [])]
        for tool in needed:
            if tool not in self._sandboxes:
                reason = f"no {tool} is set ({_SETTINGS[tool]})"
                raise NotRenderedError(root.name, reason)
        sandbox = self._sandboxes[root.renderer]
        children = [self._sandboxes[tool].executable for tool in needed[1:]]
        with self._turns, sandbox.room() as room:
            tree = room.give_folder("tree")
            try:
                _lay_out(tree, {**files, **_overlay(root)})
            except _OddTreeError as error:
                raise NotRenderedError(root.name, str(error)) from error
            arguments = _arguments(root, room, tree, children)
            done = sandbox.run(room, arguments, children=children)
            if done.status:
                raise NotRenderedError(root.name, _reason(done, room, root.renderer))
        return done.output.decode("utf-8", "surrogateescape")

    def _hash(self, sandbox: Sandbox) -> str:
        path = sandbox.executable
        with self._guard:
            stamp = stamp_of(path)
            known = self._known.get(path)
            if known is None or known[0] != stamp:
                try:
                    with path.open("rb") as file:
                        known = stamp, hashlib.file_digest(file, "sha256").hexdigest()[:16]
                except OSError as error:
                    raise UnavailableError(f"{path} cannot be read: {error.strerror}") from error
                self._known[path] = known
            return known[1]


def _overlay(root: RenderRoot) -> Mapping[str, tuple[str, bytes]]:
    if not root.overlay:
        return {}
    return {root.kustomization: ("100644", root.overlay.encode())}


def _kustomize(
    root: RenderRoot, _room: Room, tree: Path, children: Sequence[Path]
) -> Iterator[str]:
    # Flux loads from anywhere in the repository; here nothing but the root's files is there.
    yield from ("build", "--load-restrictor=LoadRestrictionsNone")
    if children:
        yield from ("--enable-helm", f"--helm-command={children[0]}")
    yield from ("--", str(tree / root.folder))


def _helm(root: RenderRoot, room: Room, tree: Path, _children: Sequence[Path]) -> Iterator[str]:
    yield from ("template", "--include-crds", f"--namespace={root.namespace}")
    for number, values in enumerate(root.values):
        if values.file:
            yield f"--values={tree / values.file}"
        else:
            yield f"--values={room.give(f'values-{number}', values.text.encode())}"
    for one in root.parameters:
        value = _COMMA.sub(r"\\,", one.value)
        yield f"--set{'-string' if one.is_text else ''}={one.name}={value}"
    yield from ("--", root.release, str(tree / root.folder))


def _arguments(root: RenderRoot, room: Room, tree: Path, children: Sequence[Path]) -> list[str]:
    made = _kustomize if root.renderer is RenderTool.KUSTOMIZE else _helm
    return list(made(root, room, tree, children))


def _lay_out(tree: Path, files: Mapping[str, tuple[str, bytes]]) -> None:
    """Write the files; a path or a link that would lead out of the tree is refused.

    Links come last, so that nothing is written through one: several together lead anywhere, though
    each by itself stays. What reads through them is shut in.
    """
    for name in sorted(files, key=lambda name: (files[name][0] == _LINK, name)):
        mode, content = files[name]
        path = tree / name
        if not _stays(tree, path.parent / path.name):
            raise _OddTreeError(f"{name[:200]!r} is no path in a tree")
        try:
            if mode == _LINK:
                _link(tree, path, content.decode("utf-8", "surrogateescape"))
            else:
                _make_folders(tree, path.parent)
                with path.open("xb") as file:
                    file.write(content)
                path.chmod(0o644)
        except OSError as error:
            words = f"{name[:200]!r} cannot be laid out: {error.strerror}"
            kind = _OddTreeError if error.errno in _ODD else UnavailableError
            raise kind(words) from error
        except ValueError as error:
            raise _OddTreeError(f"{name[:200]!r} cannot be laid out: {error}") from error


def _link(tree: Path, path: Path, target: str) -> None:
    if path.parent.resolve() != tree.resolve() / path.parent.relative_to(tree):
        raise ValueError("it lies behind a link")
    _make_folders(tree, path.parent)
    if _stays(tree, path.parent / target):
        path.symlink_to(target)


def _make_folders(tree: Path, folder: Path) -> None:
    missing = []
    while folder != tree and not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for one in reversed(missing):
        one.mkdir()
        one.chmod(0o755)


def _stays(tree: Path, path: Path) -> bool:
    """Whether a path lies in the tree, by its words alone."""
    steps: list[str] = []
    try:
        parts = path.relative_to(tree).parts
    except ValueError:
        return False
    for step in parts:
        if step == "..":
            if not steps:
                return False
            steps.pop()
        else:
            steps.append(step)
    return True


def _reason(done: Done, room: Room, tool: RenderTool) -> str:
    """What the tool said, without the names of folders that are another each time."""
    said = done.said.replace(f"{room.given / 'tree'}/", "").replace(str(room.given / "tree"), ".")
    said = re.sub(re.escape(str(room.path)) + r"\S*?/", "", said)
    said = re.sub(r"^\S*given/tree/?", "", said)  # cut off in the middle of the folder's name
    return f"{tool} says: {said}" if said else f"{tool} ended with status {done.status}"
