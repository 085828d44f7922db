"""Copying an image by digest from one repository to another.

Safe to repeat and to interrupt: blobs first, then manifests, children before the index that
lists them; no tag is touched. What was finished stays and is found by the next run.

A target that has the image's root manifest is believed to have the rest: whoever put it there put
it last, and reading back is a step of its own (`Registry.read_back`). Where that has found
something missing, the next copy looks for everything.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

from bot.adapters.registry.accessories import AccessoryCopy, CopiedAccessories, Prefetched
from bot.adapters.registry.looks import Unanswered
from bot.adapters.registry.moving import FAR_WORKERS, Belief, Mover, Side
from bot.domain.errors import IntegrityError, NotFoundError, UnavailableError
from bot.domain.images import (
    AccessoryPolicy,
    AnyManifest,
    CopyReport,
    ImageIndex,
    ImageTree,
    LeftBehind,
)
from bot.domain.oci import DigestReference

if TYPE_CHECKING:
    from bot.ports.registry import Progress

_SOON: Final = 0.01  # seconds in which a registry next door has answered
_BLOBS: Final = 7  # of a platform, guessed to open connections for


def copy_image(
    source: Side,
    target: Side,
    reference: DigestReference,
    policy: AccessoryPolicy | None,
    *,
    workers: int | None,
    progress: Progress | None,
    thorough: bool,
) -> CopyReport:
    """Make the target hold the image, then what may hang on it.

    Args:
        source: where the image is.
        target: where it has to be.
        reference: the image, in the source.
        policy: what hangs on it and may go along; None: nothing.
        workers: blobs on their way at once; None: as many as the distance asks for.
        progress: is told about the bytes of the image.
        thorough: look for every blob, even if the target has the image's root manifest, or says
            that it has taken a blob over.
    """
    mover = Mover(source, target, workers=workers, progress=progress)
    with _asides() as asides:
        early = _prefetched_by_memory(mover, reference, policy, asides)
        root, tree = _looked(mover, reference, asides, thorough=thorough)
        if root is not None:
            return _unchanged(mover, reference, policy, root, asides, early)
        tree = tree or _tree(mover, reference)
        # To read back, everything is asked for at once.
        if not mover.is_near:
            _warm(mover, len(tree.blobs) + len(tuple(tree.walk())) + 1, asides)
        # Asked for beside the bytes; written behind the manifests that it hangs on.
        hanging = early or (Prefetched.begun(source, tree, asides) if policy else None)
        if progress:
            progress.expect(sum(blob.size for blob in tree.blobs))
        mover.move_blobs(tree.blobs, Belief.SEEN if thorough else Belief.ASKED)
        _put_manifests(mover, tree)
        along = _along(mover, tree, policy, hanging)
    return CopyReport(
        source=reference,
        target=target.repository.at(reference.digest),
        manifests=tuple(dict.fromkeys(manifest.digest for manifest in tree.walk())),
        moved=mover.moved,
        mounted=mover.mounted,
        present=mover.present,
        accessories=along.manifests,
        left_behind=(*_withheld(tree, mover), *along.left_behind),
    )


def _prefetched_by_memory(
    mover: Mover,
    reference: DigestReference,
    policy: AccessoryPolicy | None,
    asides: ThreadPoolExecutor,
) -> Prefetched | None:
    """What hangs on an image that was written a moment ago, asked for before the target is."""
    if policy is None or mover.is_near:
        return None
    target = mover.target
    tree = target.manifests.known_tree(target.repository.at(reference.digest))
    return Prefetched.begun(mover.source, tree, asides) if tree else None


def _looked(
    mover: Mover, reference: DigestReference, asides: ThreadPoolExecutor, *, thorough: bool
) -> tuple[AnyManifest | None, ImageTree | None]:
    """The root as the target has it, if it does; and the source's tree, if it was read beside.

    Next door the target is asked first: mostly it has the image. From afar both are asked at once,
    and where a target next door turns out to be slow as well.
    """
    target = mover.target
    if thorough:
        return None, None
    root = asides.submit(_there, target, reference)
    if mover.is_near and wait([root], _SOON).done:
        return root.result(), None
    _warm(mover, _BLOBS, asides)
    reading = asides.submit(_tree, mover, reference, asides)
    there = root.result()
    return (there, None) if there is not None else (None, reading.result())


@contextmanager
def _asides() -> Iterator[ThreadPoolExecutor]:
    """Threads for what is asked beside; what is still on its way at the end is not waited for."""
    pool = ThreadPoolExecutor(2 * FAR_WORKERS)  # starts no more than it needs
    try:
        yield pool
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _tree(
    mover: Mover, reference: DigestReference, asides: ThreadPoolExecutor | None = None
) -> ImageTree:
    """The image as the source has it now: what was deleted there is not copied from memory.

    From afar a root that was read a moment ago, as to resolve its tag, says already what is below
    it; that it is still there is asked beside.
    """
    known = mover.source.manifests.kept(reference) if asides is not None else None
    if asides is None or known is None:
        return _below(mover, _fresh(mover, reference), reference, asides)
    still = asides.submit(_fresh, mover, reference)
    try:
        return _below(mover, known, reference, asides)
    finally:
        still.result()


def _fresh(mover: Mover, reference: DigestReference) -> AnyManifest:
    root = mover.source.manifests.fresh(reference)
    if root is None:
        raise NotFoundError(f"image {reference.digest}", str(reference.repository))
    return root


def _below(
    mover: Mover, root: AnyManifest, reference: DigestReference, asides: ThreadPoolExecutor | None
) -> ImageTree:
    if asides is not None and isinstance(root, ImageIndex):
        _warm(mover, _BLOBS * len(root.manifests), asides)
    return mover.source.manifests.tree(
        reference, mover.workers, partial(_known_or_read, mover, root)
    )


def _known_or_read(mover: Mover, root: AnyManifest, reference: DigestReference) -> AnyManifest:
    return root if reference.digest == root.digest else mover.source.manifests.need(reference)


def _there(target: Side, reference: DigestReference) -> AnyManifest | None:
    """What the target has under the digest; that it does not say means that it is sent."""
    try:
        found = target.manifests.look(target.repository.at(reference.digest))
    except (UnavailableError, IntegrityError):
        return None
    return None if isinstance(found, Unanswered) else found


def _warm(mover: Mover, blobs: int, asides: ThreadPoolExecutor) -> None:
    """Open connections before there are questions for them."""
    count = min(blobs, 2 * mover.workers)
    for side in (mover.source, mover.target):
        asides.submit(side.transport.warm, side.repository, count)


def _put_manifests(mover: Mover, tree: ImageTree) -> None:
    """Children first: a registry may refuse an index whose manifests it lacks."""
    for child in tree.children:
        if child.children:
            _put_manifests(mover, child)
    leaves = {child.root.digest: child.root for child in tree.children if not child.children}
    mover.put_all(tuple(leaves.values()))
    mover.put(tree.root)


def _unchanged(
    mover: Mover,
    reference: DigestReference,
    policy: AccessoryPolicy | None,
    root: AnyManifest,
    asides: ThreadPoolExecutor,
    early: Prefetched | None,
) -> CopyReport:
    """The target has the image; what may hang on it is looked for in any case."""
    there = mover.target.repository.at(reference.digest)
    listed = root.manifests if isinstance(root, ImageIndex) else ()
    tree: ImageTree | None = None
    if policy is not None or any(child.is_index for child in listed):
        tree = mover.target.manifests.tree(there, mover.workers)
    hanging = early or (Prefetched.begun(mover.source, tree, asides) if tree and policy else None)
    along = _along(mover, tree, policy, hanging) if tree else CopiedAccessories()
    manifests = [one.digest for one in tree.walk()] if tree else [one.digest for one in listed]
    return CopyReport(
        source=reference,
        target=there,
        manifests=tuple(dict.fromkeys((*manifests, reference.digest))),
        moved=0,
        mounted=0,
        present=0,
        unchanged=True,
        accessories=along.manifests,
        left_behind=along.left_behind,
    )


def _along(
    mover: Mover, tree: ImageTree, policy: AccessoryPolicy | None, hanging: Prefetched | None
) -> CopiedAccessories:
    if policy is None or hanging is None:
        return CopiedAccessories()
    # Apart from the image's mover: the report counts the bytes of the image alone.
    carrier = Mover(mover.source, mover.target, workers=None, progress=None)
    return AccessoryCopy(carrier, policy, hanging).run(tree)


def _withheld(tree: ImageTree, mover: Mover) -> tuple[LeftBehind, ...]:
    """Layers that did not travel; one that another manifest lists as its own did."""
    went = {blob.digest for blob in tree.blobs} | mover.sent
    stayed = dict.fromkeys(layer.digest for layer in tree.withheld if layer.digest not in went)
    reason = (
        "a non-distributable layer (image-spec 1.1, layer.md) was not copied; whoever pulls the"
        " image fetches it from the addresses in its manifest"
    )
    return tuple(LeftBehind(str(digest), reason) for digest in stayed)
