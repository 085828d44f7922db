"""Names of container images, as the OCI distribution specification spells them.

>>> ImageReference.parse("registry.example.com/acme/api@sha256:" + "0" * 64).digest
Digest('sha256:0000000000000000000000000000000000000000000000000000000000000000')

A tag may move and a digest cannot, so they are different types: what asks for a
``DigestReference`` does not accept a ``TagReference``.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final, Self

from bot.domain.errors import RejectedError

_COMPONENT: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
# distribution-spec 1.1, "Pulling manifests": the grammars of <name> and <reference>.
_PATH: Final = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG: Final = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_HOST: Final = re.compile(
    r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*"
    r"|\[[0-9a-fA-F:.]+\])(?::[0-9]{1,5})?"
)
# image-spec 1.1, descriptor.md, "Digests"; sha512 is read, never written.
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_NAME_LIMIT: Final = 255  # distribution-spec 1.1: host and name together

OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
OCI_EMPTY: Final = "application/vnd.oci.empty.v1+json"
DOCKER_INDEX: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG: Final = "application/vnd.docker.container.image.v1+json"
INDEX_TYPES: Final = frozenset({OCI_INDEX, DOCKER_INDEX})
MANIFEST_TYPES: Final = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})


class InvalidNameError(RejectedError):
    """A text that should name an image, a tag, a digest or a platform does not."""

    def __init__(self, kind: str, text: str) -> None:
        """Say which kind of name was expected and what came."""
        super().__init__(f"not {kind}: {text[:300]!r}")
        self.kind, self.text = kind, text


class Digest(str):
    """``sha256:`` and 64 hex digits: the identity of bytes."""

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        """Accept only the canonical spelling; raise InvalidNameError otherwise."""
        if not _DIGEST.fullmatch(text):
            raise InvalidNameError("a digest", text)
        return super().__new__(cls, text)

    def __repr__(self) -> str:
        return f"Digest({str(self)!r})"

    @classmethod
    def of(cls, content: bytes) -> Self:
        """The sha256 digest of these bytes."""
        return cls("sha256:" + hashlib.sha256(content).hexdigest())

    @property
    def algorithm(self) -> str:
        """``sha256`` or ``sha512``, as hashlib names it."""
        return self.partition(":")[0]

    @property
    def hex(self) -> str:
        """The hex digits behind the colon."""
        return self.partition(":")[2]

    @property
    def short(self) -> str:
        """``sha256:`` and the first 12 digits: for people, never for machines."""
        return self[:19]


# Docker Hub's images, API and token service have three names (distribution/reference,
# normalize.go; containers/image, docker_client.go): a grant of one is a grant of all.
_DOCKER_HUB: Final = frozenset(
    {"index.docker.io", "registry-1.docker.io", "auth.docker.io", "registry.hub.docker.com"}
)
# Ports are numbers (distribution's grammar: `:[0-9]+`): those who dial read 0443 as 443.
_ZEROS: Final = re.compile(r":0+(?=[0-9])")


def canonical_host(host: str) -> str:
    """The spelling of ``host[:port]`` that is compared.

    Lower case, without a trailing dot, zeros before the port and the default port of HTTPS.
    """
    name = _ZEROS.sub(":", host.lower()).removesuffix(":443").removesuffix(".")
    return "docker.io" if name in _DOCKER_HUB else name


@dataclass(frozen=True, slots=True, order=True)
class ImageRepository:
    """A repository of a registry: ``host[:port]`` and path."""

    host: str
    path: str

    def __post_init__(self) -> None:
        if not _HOST.fullmatch(self.host):
            raise InvalidNameError("a registry host", self.host)
        if not _PATH.fullmatch(self.path) or len(self.host) + 1 + len(self.path) > _NAME_LIMIT:
            raise InvalidNameError("an image repository", f"{self.host}/{self.path}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``host/path``; a host is required (no default registry is assumed)."""
        host, slash, path = text.partition("/")
        if not slash or not ("." in host or ":" in host or host == "localhost"):
            kind = "an image repository with its registry host (as in docker.io/library/nginx)"
            raise InvalidNameError(kind, text)
        return cls(host, path)

    def __str__(self) -> str:
        return f"{self.host}/{self.path}"

    @property
    def canonical(self) -> ImageRepository:
        """The one spelling of the repository, which names are compared by."""
        host = canonical_host(self.host)
        official = host == "docker.io" and "/" not in self.path
        if host == self.host and not official:
            return self
        return ImageRepository(host, f"library/{self.path}" if official else self.path)

    def at(self, digest: Digest) -> DigestReference:
        """This repository's image of that digest."""
        return DigestReference(self, digest)

    def tagged(self, tag: str) -> TagReference:
        """This repository's image that the tag names at the moment."""
        return TagReference(self, tag)


@dataclass(frozen=True, slots=True, order=True)
class TagReference:
    """``repository:tag``: what a name points to now. Never signed, never deployed."""

    repository: ImageRepository
    tag: str

    def __post_init__(self) -> None:
        if not _TAG.fullmatch(self.tag):
            raise InvalidNameError("a tag", self.tag)

    def __str__(self) -> str:
        return f"{self.repository}:{self.tag}"


@dataclass(frozen=True, slots=True, order=True)
class DigestReference:
    """``repository@digest``: exactly these bytes, in this place."""

    repository: ImageRepository
    digest: Digest

    def __str__(self) -> str:
        return f"{self.repository}@{self.digest}"


@dataclass(frozen=True, slots=True)
class ImageReference:
    """What a person or a file wrote: a repository with a tag, a digest, both or neither."""

    repository: ImageRepository
    tag: str | None = None
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``host/path[:tag][@digest]``; raise InvalidNameError for anything else."""
        name, at, digest = text.partition("@")
        head, colon, tag = name.rpartition(":")
        if not colon or "/" in tag:
            head, tag = name, ""
        if (colon and name.endswith(":")) or (at and not digest):
            raise InvalidNameError("an image reference", text)
        repository = ImageRepository.parse(head)
        if tag:
            TagReference(repository, tag)
        return cls(repository, tag or None, Digest(digest) if at else None)

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.repository}{tag}{digest}"


@dataclass(frozen=True, slots=True, order=True)
class Platform:
    """What an image runs on: ``os[(version)]/architecture[/variant]``.

    The version tells two builds of Windows in one index apart (image-spec 1.1, image-index.md).
    """

    os: str
    architecture: str
    variant: str = ""
    os_version: str = ""

    def __str__(self) -> str:
        system = f"{self.os}({self.os_version})" if self.os_version else self.os
        return "/".join(part for part in (system, self.architecture, self.variant) if part)
