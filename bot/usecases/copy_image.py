"""An image in another repository, whole: copied, read back, and mended once."""

from __future__ import annotations

from bot.domain.errors import NotFoundError
from bot.domain.images import AccessoryPolicy, CopyReport, ReadBack
from bot.domain.oci import DigestReference, ImageRepository
from bot.ports import ImageRegistry, Progress


def ensure_copied(
    registry: ImageRegistry,
    source: DigestReference,
    target: ImageRepository,
    *,
    accessories: AccessoryPolicy | None = None,
    progress: Progress | None = None,
) -> tuple[CopyReport, ReadBack]:
    """Make ``target`` hold the image, and prove it by a fresh read.

    A registry may have the image's root manifest and have lost what it names; the copy believes
    the root, the read does not. Then what is missing is copied, once.

    Raises:
        NotFoundError: the source lacks a part of the image, or the target loses what it took.
    """
    report = registry.copy(source, target, accessories=accessories, progress=progress)
    try:
        return report, registry.read_back(report.target)
    except NotFoundError:
        if not report.unchanged:
            raise
    report = registry.copy(source, target, accessories=accessories, progress=progress)
    return report, registry.read_back(report.target)
