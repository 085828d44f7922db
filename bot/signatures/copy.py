"""An image in another repository, whole: copied, read back, and mended once."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from bot.domain.errors import NotFoundError, UnavailableError
from bot.domain.images import AccessoryPolicy, CopyReport, ReadBack
from bot.domain.oci import DigestReference, ImageRepository

if TYPE_CHECKING:
    from bot.ports.registry import ImageRegistry, Progress


def ensure_copied(
    registry: ImageRegistry,
    source: DigestReference,
    target: ImageRepository,
    *,
    accessories: AccessoryPolicy | None = None,
    progress: Progress | None = None,
    tags: Sequence[str] = (),
) -> tuple[CopyReport, ReadBack]:
    """Make ``target`` hold the image, and prove it by a fresh read.

    A registry may have the image's root manifest and have lost what it names, or say of a blob
    that it has it and not have it; the copy believes that, the read does not. Then what is
    missing is sent, once.

    Args:
        registry: where both are.
        source: the image.
        target: where it has to be.
        accessories: what hangs on it and may go along; None: nothing.
        progress: is told about the bytes.
        tags: those that it gets next: what they name is looked at meanwhile.

    Raises:
        NotFoundError: the source lacks a part of the image, or the target loses what it took.
    """
    copy = partial(
        registry.copy, source, target, accessories=accessories, progress=progress, tags=tags
    )
    report = copy()
    with suppress(NotFoundError, UnavailableError):
        return report, registry.read_back(report.target, tags=tags)
    report = copy()
    return report, registry.read_back(report.target, tags=tags)
