"""Copying an image by digest from one repository to another.

Safe to repeat and to interrupt: blobs first, then manifests, children before the index that
lists them; no tag is touched. What was finished stays and is found by the next run.

A target that has the image's root manifest is believed to have the rest: whoever put it there put
it last, and reading back is a step of its own (`Registry.read_back`). Where that has found
something missing, the next copy looks for everything.
"""

from __future__ import annotations

from bot.adapters.registry.accessories import AccessoryCopy, CopiedAccessories
from bot.adapters.registry.moving import Mover, Side
from bot.domain.images import (
    AccessoryPolicy,
    AnyManifest,
    CopyReport,
    ImageIndex,
    ImageTree,
    LeftBehind,
)
from bot.domain.oci import DigestReference
from bot.ports import Progress


def copy_image(
    source: Side,
    target: Side,
    reference: DigestReference,
    policy: AccessoryPolicy | None,
    *,
    workers: int,
    progress: Progress | None,
    thorough: bool,
) -> CopyReport:
    """Make the target hold the image, then what may hang on it.

    Args:
        source: where the image is.
        target: where it has to be.
        reference: the image, in the source.
        policy: what hangs on it and may go along; None: nothing.
        workers: blobs on their way at once.
        progress: is told about the bytes of the image.
        thorough: look for every blob, even if the target has the image's root manifest.
    """
    there = target.repository.at(reference.digest)
    root = None if thorough else target.manifests.get(there)
    if root is not None:
        return _unchanged(source, target, reference, policy, root, workers)
    tree = source.manifests.tree(reference, workers)
    mover = Mover(source, target, workers=workers, progress=progress)
    if progress:
        progress.expect(sum(blob.size for blob in tree.blobs))
    mover.move_blobs(tree.blobs)
    _put_manifests(mover, tree)
    along = _along(source, target, tree, policy, workers)
    return CopyReport(
        source=reference,
        target=there,
        manifests=tuple(dict.fromkeys(manifest.digest for manifest in tree.walk())),
        moved=mover.moved,
        mounted=mover.mounted,
        present=mover.present,
        accessories=along.manifests,
        left_behind=(*_withheld(tree), *along.left_behind),
    )


def _put_manifests(mover: Mover, tree: ImageTree) -> None:
    """Children first: a registry may refuse an index whose manifests it lacks."""
    for child in tree.children:
        if child.children:
            _put_manifests(mover, child)
    leaves = {child.root.digest: child.root for child in tree.children if not child.children}
    mover.put_all(tuple(leaves.values()))
    mover.put(tree.root)


def _unchanged(
    source: Side,
    target: Side,
    reference: DigestReference,
    policy: AccessoryPolicy | None,
    root: AnyManifest,
    workers: int,
) -> CopyReport:
    """The target has the image; what may hang on it is looked for in any case."""
    there = target.repository.at(reference.digest)
    listed = root.manifests if isinstance(root, ImageIndex) else ()
    tree: ImageTree | None = None
    if policy is not None or any(child.is_index for child in listed):
        tree = target.manifests.tree(there, workers)
    along = _along(source, target, tree, policy, workers) if tree else CopiedAccessories()
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
    source: Side, target: Side, tree: ImageTree, policy: AccessoryPolicy | None, workers: int
) -> CopiedAccessories:
    if policy is None:
        return CopiedAccessories()
    # Apart from the image's mover: the report counts the bytes of the image alone.
    carrier = Mover(source, target, workers=workers, progress=None)
    return AccessoryCopy(carrier, policy).run(tree)


def _withheld(tree: ImageTree) -> tuple[LeftBehind, ...]:
    reason = "a non-distributable layer (image-spec 1.1, layer.md)"
    return tuple(LeftBehind(str(layer.digest), reason) for layer in tree.withheld)
