"""What an image is called in files: every spelling of ours, and nobody else's.

An image of ours is known by its image repository in any environment, in one canonical spelling;
by its bare name only where one application alone has an image of that name.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final

from bot.domain.environments import At, Environment, ImageId, Pipeline, matches
from bot.domain.errors import RejectedError
from bot.domain.oci import Digest, ImageReference, ImageRepository, canonical_host

_PLACEHOLDER: Final = re.compile(r"\{\{|\$\{|\$\(")
# A host with a dot, a port or capitals, and a path; or a path alone, which means Docker Hub.
_TOKEN: Final = re.compile(r"[A-Za-z0-9._-]+(?::[0-9]{1,5})?(?:/[a-z0-9._-]+)+")
_TAGGED: Final = re.compile(r"[a-z0-9._/-]+(?::[A-Za-z0-9_][A-Za-z0-9._-]*|@sha[0-9]+:[0-9a-f]+)+")
_VERSION: Final = re.compile(
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@sha(?:256|512):[0-9a-fA-F]{32,128})?"
)
_DIGEST: Final = re.compile(r"sha(?:256:[0-9a-f]{64}|512:[0-9a-f]{128})")


def has_placeholder(text: str) -> bool:
    """Whether another tool fills something in: Helm, Flux, an environment variable."""
    return _PLACEHOLDER.search(text) is not None


def canonical_repository(text: str) -> str:
    """The one spelling of an image repository as a file writes it; empty if it cannot be one.

    A name without a host is Docker Hub's, as container runtimes have it.
    """
    head, slash, rest = text.partition("/")
    is_host = slash and ("." in head or ":" in head or head == "localhost" or head != head.lower())
    host, path = (head, rest) if is_host else ("docker.io", text)
    try:
        return str(ImageRepository(canonical_host(host), path).canonical)
    except RejectedError:
        return ""


@dataclass(frozen=True, slots=True)
class Written:
    """An image reference as a file writes it: any part may be missing."""

    repository: str
    tag: str = ""
    digest: str = ""

    def __str__(self) -> str:
        return (
            self.repository
            + (f":{self.tag}" if self.tag else "")
            + (f"@{self.digest}" if self.digest else "")
        )

    @classmethod
    def parse(cls, text: str) -> Written:
        """Split ``repository[:tag][@digest]`` without judging the parts."""
        name, _, digest = text.partition("@")
        head, colon, tag = name.rpartition(":")
        return cls(head, tag, digest) if colon and "/" not in tag else cls(name, "", digest)

    @property
    def canonical(self) -> str:
        """The repository in its one spelling; empty if it is none."""
        return canonical_repository(self.repository)

    def reference(self) -> ImageReference | None:
        """The same as a valid reference to the canonical repository; None where it is not one."""
        try:
            return ImageReference.parse(str(Written(self.canonical, self.tag, self.digest)))
        except RejectedError:
            return None


def fault(text: str) -> str:
    """Why a text must not be edited as an image reference; empty: it may."""
    if has_placeholder(text):
        return "another tool fills it in"
    if text.endswith((":", "@")) or ":@" in text:
        return "a part is missing behind the colon"
    written = Written.parse(text)
    if written.reference() is None and not _DIGEST.fullmatch(written.digest):
        return "not an image reference"
    return ""


@dataclass(frozen=True)
class Names:
    """Which names in the files mean which image."""

    repositories: Mapping[str, ImageId]
    """Canonical ``host/path`` (of any environment) -> image."""
    short: Mapping[str, tuple[ImageId, ...]] = field(default_factory=dict)
    """A bare name -> the images that have it: what a kustomization may call one."""
    tag_match: Mapping[ImageId, str] = field(default_factory=dict)
    at: tuple[At, ...] = ()
    environment: str = ""
    """Whose files are read; decides only what ``{environment}`` in ``at`` means."""
    home: Mapping[ImageId, str] = field(default_factory=dict)
    """Image -> its repository in that environment, for places that name none."""
    digests: frozenset[str] = frozenset()
    """Digests that are known to be of ours: a mention, under whatever name they stand."""

    def image(self, repository: str) -> ImageId | None:
        """The image that a repository means, however it is spelled."""
        return self.repositories.get(canonical_repository(repository))

    def at_file(self, path: str) -> list[At]:
        """The named places of a file."""
        values = {"environment": self.environment}
        return [one for one in self.at if matches(one.file.render(values) or "", path)]

    def only(self, images: Collection[ImageId]) -> Names:
        """The names of these images alone; what a bare name may mean is still known."""
        return replace(
            self,
            repositories={n: one for n, one in self.repositories.items() if one in images},
            short={n: ids for n, ids in self.short.items() if any(i in images for i in ids)},
            at=tuple(one for one in self.at if one.image in images),
        )

    @cached_property
    def _hosts(self) -> tuple[bytes, ...]:
        found = {name.partition("/")[0] for name in self.repositories}
        hosts = {host.removesuffix(":443").encode() for host in found - {"docker.io"}}
        return tuple(sorted(hosts))

    @cached_property
    def _paths(self) -> frozenset[bytes]:
        paths = {name.partition("/")[2] for name in self.repositories}
        official = {path.removeprefix("library/") for path in paths}
        return frozenset(path.encode() for path in (*paths, *official, *self.short))

    @cached_property
    def _stems(self) -> tuple[bytes, ...]:
        """Something short that every path of ours begins with, where there are few of them."""
        stems = {path.rpartition(b"/")[0] + b"/" for path in self._paths if b"/" in path}
        return tuple(sorted(stems)) if len(stems) <= 32 else ()  # noqa: PLR2004 - a loop's length

    def occur_in(self, content: bytes) -> bool:
        """A cheap look before parsing: False only where nothing of ours can stand."""
        lower = content.lower()
        if any(host in lower for host in self._hosts) or _is_encoded(content):
            return True
        if self._stems:
            if any(stem in lower for stem in self._stems):
                return True
        elif any(token in self._paths for token in _BYTES_TOKEN.findall(lower)):
            return True
        words = _WORDS.findall(lower) if b"images" in lower or b"imagetag" in lower else ()
        return any(word in self._paths for word in words) or self._has_bare(lower)

    def _has_bare(self, lower: bytes) -> bool:
        """Docker Hub's official images need no slash."""
        bare = [n for n in self.repositories if n.startswith("docker.io/library/")]
        return any(name.rpartition("/")[2].encode() in lower for name in bare) or (
            bool(self.digests) and any(d.decode() in self.digests for d in _DIGESTS.findall(lower))
        )

    def mentions(self, text: str, key: str = "") -> Iterator[tuple[int, str, ImageId | None]]:
        """Where a text speaks of us: position, name with version or digest, whose it is."""
        for token in _TOKEN.finditer(text):
            yield from self._in_token(token, text, key)
        if self.digests:
            for digest in _DIGEST.finditer(text):
                if digest[0] in self.digests:
                    yield digest.start(), digest[0], None

    def _in_token(
        self, token: re.Match[str], text: str, key: str
    ) -> Iterator[tuple[int, str, ImageId | None]]:
        """A name of ours may stand behind another host: a mirror, a URL, a path."""
        name, start = token[0].rstrip("._-/"), token.start()
        while "/" in name:
            head = name.partition("/")[0]
            has_host = "." in head or ":" in head or head != head.lower() or head == "localhost"
            if has_host or (start == token.start() and _is_short_reference(text, key)):
                image = self.repositories.get(canonical_repository(_without_tag(name)))
                if image is not None:
                    yield start, name + _behind(text, start + len(name)), image
                    return
            skipped = len(head) + 1
            name, start = name[skipped:], start + skipped


def _behind(text: str, end: int) -> str:
    """The tag and the digest that stand behind a name."""
    found = _VERSION.match(text, end)
    return found[0] if found else ""


def _without_tag(name: str) -> str:
    return Written.parse(name).repository


def _is_short_reference(text: str, key: str) -> bool:
    """Whether a name without a host is an image's: it has a tag, or its key says so."""
    lower = key.lower()
    return _TAGGED.fullmatch(text) is not None or "image" in lower or "repository" in lower


_BYTES_TOKEN: Final = re.compile(rb"[a-z0-9._-]+(?:/[a-z0-9._-]+)+")
_WORDS: Final = re.compile(rb"[a-z0-9][a-z0-9._/-]*")
_DIGESTS: Final = re.compile(rb"sha256:[0-9a-f]{64}")
_SUSPICIOUS: Final = (b"\\", b"!!", b"!<", b"!binary", b"\x00")


def _is_encoded(content: bytes) -> bool:
    """Whether a name may stand there in other characters: escapes, tags, UTF-16."""
    return any(sign in content for sign in _SUSPICIOUS)


def names_of(
    pipeline: Pipeline,
    environment: Environment | None = None,
    digests: frozenset[str] = frozenset(),
) -> Names:
    """How the pipeline's images are called in files.

    Args:
        pipeline: the rules.
        environment: whose files are read.
        digests: of images that were resolved for anything of ours.
    """
    repositories: dict[str, ImageId] = {}
    short: dict[str, tuple[ImageId, ...]] = {}
    tag_match: dict[ImageId, str] = {}
    at: list[At] = []
    for application in pipeline.applications.values():
        at += application.at
        for image in application.images:
            own = ImageId(application.name, image.name)
            short[image.name] = (*short.get(image.name, ()), own)
            if image.tag_match:
                tag_match[own] = image.tag_match
            for one in pipeline.environments.values():
                repositories[str(one.repository_of(application, image.name).canonical)] = own
    if environment is None:
        return Names(repositories, short, tag_match, tuple(at), digests=digests)
    home = {
        ImageId(application.name, image.name): str(
            environment.repository_of(application, image.name)
        )
        for application in pipeline.applications.values()
        for image in application.images
    }
    return Names(repositories, short, tag_match, tuple(at), environment.name, home, digests)


def pin(repository: ImageRepository, tag: str, digest: Digest) -> Written:
    """What a place should say for this image."""
    return Written(str(repository), tag, digest)
