"""One platform's image as an OCI layout on disk: image-spec 1.1, image-layout.md.

Nothing is read before the descriptors' sum is known to fit the limit and the disk. A blob gets its
name once its last byte is verified, and the index is written last: a broken run leaves a directory
without ``index.json``, which no reader takes for a layout. Readable by everyone below the
directory, whatever the umask: a scanner runs as another user.
"""

from __future__ import annotations

import json
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from bot.adapters.registry.blobs import Blobs
from bot.adapters.registry.manifests import Manifests
from bot.adapters.registry.streams import HashingBody, StoppedError
from bot.domain.errors import LimitExceededError, UnavailableError
from bot.domain.images import (
    IMAGE_LIMIT,
    Descriptor,
    ImageIndex,
    ImageManifest,
    UnsupportedImageError,
)
from bot.domain.oci import Digest, DigestReference, ImageRepository

DISK_RESERVE: Final = 2**30  # bytes that stay free: SQLite may live on the same disk
_VERSION: Final = b'{"imageLayoutVersion":"1.0.0"}'
_REMEDY_INDEX: Final = "name one platform's manifest by its digest"
_REMEDY_ARTIFACT: Final = "only container images are scanned"
_REMEDY_WITHHELD: Final = "layers outside the registry cannot be scanned"


def save_layout(
    manifests: Manifests,
    blobs: Blobs,
    reference: DigestReference,
    directory: Path,
    *,
    workers: int,
    limit: int = IMAGE_LIMIT,
) -> None:
    """Write the image of one platform's manifest into ``directory``, every byte verified.

    Raises:
        NotFoundError: the manifest or a blob is not there.
        UnsupportedImageError: an index, an artifact, or an image with layers from elsewhere.
        LimitExceededError: the descriptors promise more than ``limit`` bytes.
        UnavailableError: the disk is too full for it, or cannot be written.
        DigestMismatchError: the registry serves other bytes.
    """
    manifest = _platform_manifest(manifests, reference)
    contents = {blob.digest: blob for blob in manifest.blobs}
    _check_size(manifest, contents, reference, directory, limit)
    try:
        for digest in (reference.digest, *contents):
            _folder(_path(directory, digest).parent)
        _write(_path(directory, reference.digest), manifest.content)
        _Fetch(blobs, reference.repository, directory).run(list(contents.values()), workers)
        _write(directory / "oci-layout", _VERSION)
        _write(directory / "index.json", _index(manifest, reference.digest))
    except OSError as error:
        raise UnavailableError(f"{directory} cannot be written: {error.strerror}") from error


def _platform_manifest(manifests: Manifests, reference: DigestReference) -> ImageManifest:
    found = manifests.need(reference)
    if isinstance(found, ImageIndex):
        raise UnsupportedImageError(str(reference), "an index, not one platform", _REMEDY_INDEX)
    if not found.is_runnable:
        raise UnsupportedImageError(str(reference), f"a {found.kind} artifact", _REMEDY_ARTIFACT)
    withheld = [blob for blob in found.layers if not blob.is_distributable]
    if withheld:
        fact = f"layer {withheld[0].digest} is not distributed with it"
        raise UnsupportedImageError(str(reference), fact, _REMEDY_WITHHELD)
    return found


def _check_size(
    manifest: ImageManifest,
    contents: dict[Digest, Descriptor],
    reference: DigestReference,
    directory: Path,
    limit: int,
) -> None:
    size = len(manifest.content) + sum(blob.size for blob in contents.values())
    if size > limit:
        raise LimitExceededError(f"image {reference}", f"{limit} bytes", f"{size} bytes")
    free = shutil.disk_usage(directory).free
    if size + DISK_RESERVE > free:
        raise UnavailableError(
            f"image {reference} has {size} bytes and {free} are free for its scan, of which"
            f" {DISK_RESERVE} stay free; make room on that disk"
        )


class _Fetch:
    """Several blobs at once; the first failure stops the others in the middle of their bytes."""

    def __init__(self, blobs: Blobs, repository: ImageRepository, directory: Path) -> None:
        self._blobs, self._repository, self._directory = blobs, repository, directory
        self._stop = threading.Event()

    def run(self, wanted: list[Descriptor], workers: int) -> None:
        """Fetch all, or raise what went wrong first."""
        with ThreadPoolExecutor(workers) as pool:
            futures = [pool.submit(self._fetch, blob) for blob in wanted]
        errors = filter(None, (future.exception() for future in futures))
        # Those that were stopped only say so; the one that failed by itself comes first.
        for error in sorted(errors, key=lambda one: isinstance(one, StoppedError)):
            raise error

    def _fetch(self, blob: Descriptor) -> None:
        try:
            self._fetch_one(blob)
        except BaseException:
            self._stop.set()
            raise

    def _fetch_one(self, blob: Descriptor) -> None:
        if self._stop.is_set():
            raise StoppedError(blob.digest)
        path = _path(self._directory, blob.digest)
        partial = path.with_name(f"{path.name}.partial")
        reader = self._blobs.open(self._repository, blob)
        try:
            body = HashingBody(reader, blob, lambda _size: None, self._stop)
            with partial.open("xb") as file:
                for chunk in iter(body.read, b""):
                    file.write(chunk)
        finally:
            reader.close()
        partial.chmod(0o644)
        partial.rename(path)


def _index(manifest: ImageManifest, digest: Digest) -> bytes:
    descriptor = {
        "mediaType": manifest.media_type,
        "digest": digest,
        "size": len(manifest.content),
    }
    index = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [descriptor],
    }
    return json.dumps(index).encode()


def _path(directory: Path, digest: Digest) -> Path:
    return directory / "blobs" / digest.algorithm / digest.hex


def _folder(path: Path) -> None:
    for folder in (path.parent, path):
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    path.chmod(0o644)
