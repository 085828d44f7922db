"""Copying an image by digest from one repository to another.

Safe to repeat and to interrupt: blobs first, then manifests, children before the index that
lists them, every object looked for before it is sent; no tag is touched. What was finished stays
and is found by the next run.
"""

from __future__ import annotations

from bot.adapters.registry.accessories import AccessoryCopy, CopiedAccessories
from bot.adapters.registry.moving import Mover, Side
from bot.domain.images import AccessoryPolicy, CopyReport, ImageTree, LeftBehind
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
) -> CopyReport:
    """Make the target hold the image, then what may hang on it."""
    tree = source.manifests.tree(reference, workers)
    mover = Mover(source, target, workers=workers, progress=progress)
    if progress:
        progress.expect(sum(blob.size for blob in tree.blobs))
    mover.move_blobs(tree.blobs)
    _put_manifests(mover, tree)
    along = CopiedAccessories()
    if policy is not None:
        # Apart from the image's mover: the report counts the bytes of the image alone.
        carrier = Mover(source, target, workers=workers, progress=None)
        along = AccessoryCopy(carrier, policy).run(tree)
    return CopyReport(
        source=reference,
        target=target.repository.at(reference.digest),
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
    mover.ensure_manifests(tuple(leaves.values()))
    mover.ensure_manifest(tree.root)


def _withheld(tree: ImageTree) -> tuple[LeftBehind, ...]:
    reason = "a non-distributable layer (image-spec 1.1, layer.md)"
    return tuple(LeftBehind(str(layer.digest), reason) for layer in tree.withheld)
