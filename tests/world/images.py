"""Images from nothing, pushed with plain requests: an oracle that shares no code of ours."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import random
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import requests

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
PLATFORMS = ("linux/amd64", "linux/arm64")
CREATED = "2026-01-02T03:04:05Z"


@dataclass(frozen=True)
class BuiltImage:
    """An image for several platforms, in memory."""

    index: bytes
    children: Mapping[str, bytes]
    """Platform -> manifest."""
    blobs: Mapping[str, bytes]
    """Digest -> content."""

    @property
    def digest(self) -> str:
        return digest_of(self.index)

    def child(self, platform: str) -> str:
        return digest_of(self.children[platform])

    @property
    def child_digests(self) -> list[str]:
        return [digest_of(child) for child in self.children.values()]

    @property
    def size(self) -> int:
        return sum(len(blob) for blob in self.blobs.values())

    def config(self, platform: str) -> str:
        """The digest of a platform's configuration."""
        found: str = json.loads(self.children[platform])["config"]["digest"]
        return found

    def tag(self, host: str, repository: str, tag: str) -> None:
        """Give it a tag, where it is already."""
        with requests.Session() as session:
            session.trust_env = False
            push_manifest(session, f"http://{host}/v2/{repository}", tag, self.index, INDEX)

    def push(self, host: str, repository: str, tag: str | None = None) -> str:
        """Put the image into a registry; returns ``host/repository@digest``."""
        base = f"http://{host}/v2/{repository}"
        with requests.Session() as session:
            session.trust_env = False
            for digest, content in self.blobs.items():
                push_blob(session, base, digest, content)
            for child in self.children.values():
                push_manifest(session, base, digest_of(child), child, MANIFEST)
            push_manifest(session, base, tag or self.digest, self.index, INDEX)
        return f"{host}/{repository}@{self.digest}"


def build_image(
    platforms: Sequence[str] = PLATFORMS,
    layers: int = 2,
    labels: Mapping[str, str] | None = None,
    *,
    layer_size: int = 4096,
    seed: int = 1,
    runs: Mapping[str, object] | None = None,
) -> BuiltImage:
    """An image whose layers are archives of one file of so many random bytes.

    The same arguments give the same bytes.
    """
    dice = random.Random(seed)  # noqa: S311 - reproducible content, no secret
    blobs: dict[str, bytes] = {}
    children: dict[str, bytes] = {}
    for platform in platforms:
        archives = [_archive(dice, layer_size, platform, number) for number in range(layers)]
        contents = [_layer(archive) for archive in archives]
        config = _config(platform, archives, labels or {}, runs=runs)
        blobs |= {digest_of(content): content for content in (config, *contents)}
        children[platform] = _manifest(config, contents)
    return BuiltImage(_index(children), children, blobs)


def image_of(
    files: Mapping[str, str | bytes],
    platforms: Sequence[str],
    labels: Mapping[str, str] | None = None,
    *,
    created: str = CREATED,
) -> BuiltImage:
    """An image of one layer with these files, by their paths without a leading slash."""
    archive = _archived(
        {path: one if isinstance(one, bytes) else one.encode() for path, one in files.items()}
    )
    layer = _layer(archive)
    blobs, children = {digest_of(layer): layer}, {}
    for platform in platforms:
        config = _config(platform, [archive], labels or {}, created)
        blobs[digest_of(config)] = config
        children[platform] = _manifest(config, [layer])
    return BuiltImage(_index(children), children, blobs)


def digest_of(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def descriptor(media_type: str, content: bytes, **more: object) -> dict[str, object]:
    return {
        "mediaType": media_type,
        "digest": digest_of(content),
        "size": len(content),
        **more,
    }


def encoded(document: Mapping[str, Any]) -> bytes:
    """JSON as a person would lay it out: whoever writes it anew changes the digest."""
    return json.dumps(document, indent=3).encode() + b"\n"


def push_blob(session: requests.Session, base: str, digest: str, content: bytes) -> None:
    started = session.post(f"{base}/blobs/uploads/", data=b"", timeout=30)
    assert started.status_code == 202, started.text
    location = requests.compat.urljoin(started.url, started.headers["Location"])
    joint = "&" if "?" in location else "?"
    done = session.put(
        f"{location}{joint}digest={digest}",
        data=content,
        headers={"Content-Type": "application/octet-stream"},
        timeout=60,
    )
    assert done.status_code == 201, done.text


def push_manifest(
    session: requests.Session, base: str, reference: str, content: bytes, media_type: str
) -> None:
    done = session.put(
        f"{base}/manifests/{reference}",
        data=content,
        headers={"Content-Type": media_type},
        timeout=30,
    )
    assert done.status_code == 201, done.text


def _manifest(config: bytes, layers: Sequence[bytes]) -> bytes:
    return encoded(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(CONFIG, config),
            "layers": [descriptor(LAYER, content) for content in layers],
        }
    )


def _index(children: Mapping[str, bytes]) -> bytes:
    entries = []
    for platform, child in children.items():
        system, _, architecture = platform.partition("/")
        entry = descriptor(MANIFEST, child)
        entry["platform"] = {"os": system, "architecture": architecture}
        entries.append(entry)
    return encoded({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})


def _config(
    platform: str,
    archives: Sequence[bytes],
    labels: Mapping[str, str],
    created: str = CREATED,
    *,
    runs: Mapping[str, object] | None = None,
) -> bytes:
    system, _, architecture = platform.partition("/")
    return encoded(
        {
            "architecture": architecture,
            "os": system,
            "created": created,
            "config": {"Labels": dict(labels), **(runs or {})},
            "rootfs": {"type": "layers", "diff_ids": [digest_of(one) for one in archives]},
        }
    )


def _archive(dice: random.Random, size: int, platform: str, number: int) -> bytes:
    content = f"{platform} {number} {dice.random()}\n".encode() + dice.randbytes(size)
    return _archived({f"app/{number}": content})


def _archived(files: Mapping[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path, content in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def _layer(archive: bytes) -> bytes:
    """Random bytes do not shrink, so large ones are only wrapped."""
    return gzip.compress(archive, 0 if len(archive) > 2**20 else 6, mtime=0)
