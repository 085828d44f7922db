"""What an image is called in files: every spelling of ours, and nobody else's.

An image of ours is known by its image repository in any environment, in one canonical spelling;
by its bare name only where one application alone has an image of that name.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from bot.domain.environments import At, Environment, ImageId, Pipeline, matches
from bot.domain.errors import RejectedError
from bot.domain.oci import Digest, ImageReference, ImageRepository, canonical_host
from bot.formats.traces import Traces, as_words

_PLACEHOLDER: Final = re.compile(r"\{\{|\$\{|\$\(")
# A host with a dot, a port or capitals, and a path; or a path alone, which means Docker Hub.
_NAME: Final = r"[A-Za-z0-9._-]++(?::[0-9]{1,20})?(?:/[a-z0-9._-]++)+"
_TOKEN: Final = re.compile(_NAME)
_FIRST: Final = re.compile(rf"(?<![A-Za-z0-9._-]){_NAME}")
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
class ImageField:
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
    def parse(cls, text: str) -> ImageField:
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
            return ImageReference.parse(str(ImageField(self.canonical, self.tag, self.digest)))
        except RejectedError:
            return None


@dataclass(frozen=True, slots=True)
class WrittenVersion:
    """What a scalar says that holds the version alone."""

    tag: str = ""
    digest: str = ""
    is_digest: bool = False
    """It is a digest and nothing else: what reads it puts an ``@`` before it."""
    fault: str = ""
    """Why it must not be edited; empty: it may."""

    @classmethod
    def parse(cls, text: str) -> WrittenVersion:
        """Split ``tag[@digest]``, or take a digest for what it is."""
        if _DIGEST.fullmatch(text):
            return cls("", text, is_digest=True)
        if text.startswith((":", "@")):
            return cls(fault=f"it begins with {text[0]!r}: nothing shows how it is joined")
        tag, _, digest = text.partition("@")
        return cls(tag, digest)


def fault(text: str) -> str:
    """Why a text must not be edited as an image reference; empty: it may."""
    if has_placeholder(text):
        return "another tool fills it in"
    if text.endswith((":", "@")) or ":@" in text:
        return "a part is missing behind the colon"
    written = ImageField.parse(text)
    if written.reference() is None and not _DIGEST.fullmatch(written.digest):
        return "not an image reference"
    return ""


class _Globs:
    """Named places by what their glob has fixed: a file is held against few of thousands."""

    def __init__(self, globs: Sequence[tuple[str, At]]) -> None:
        steps = [list(_fixed_steps(glob)) for glob, _ in globs]
        common = Counter(step for found in steps for step in found)
        self._globs = globs
        self._by_step: dict[tuple[int, str], list[int]] = {}
        self._rest: list[int] = []
        for index, found in enumerate(steps):
            rarest = min(found, key=lambda step: (common[step], step), default=None)
            (self._rest if rarest is None else self._by_step.setdefault(rarest, [])).append(index)

    def near(self, path: str) -> list[tuple[str, At]]:
        """Those that may match a path, in their order; every one that matches is among them."""
        if not self._globs:
            return []
        parts = path.split("/")
        found = list(self._rest)
        for index, part in enumerate(parts):
            for step in ((index, part), (index - len(parts), part)):
                found += self._by_step.get(step, ())
        return [self._globs[index] for index in sorted(found)]


def _fixed_steps(glob: str) -> Iterator[tuple[int, str]]:
    """Steps without a star, by their place from the beginning or, below 0, from the end."""
    parts = glob.split("/")
    open_ended = [index for index, part in enumerate(parts) if "**" in part]
    for index, part in enumerate(parts):
        if _is_glob(part):
            continue
        if all(index < one for one in open_ended):
            yield index, part
        if all(index > one for one in open_ended):
            yield index - len(parts), part


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

    def may_begin(self, registry: str) -> bool:
        """Whether a text that stands before a repository may be the beginning of one of ours."""
        return self._beginning(registry) in self._beginnings

    @cached_property
    def _beginnings(self) -> frozenset[str]:
        """Everything before a slash in the repositories."""
        return frozenset(
            one[:at] for one in self.repositories for at, sign in enumerate(one) if sign == "/"
        )

    @staticmethod
    def _beginning(registry: str) -> str:
        return canonical_repository(f"{registry.rstrip('/')}/x").rpartition("/")[0]

    def at_file(self, path: str) -> list[At]:
        """The named places of a file."""
        globs = self._at_globs.near(path)
        return [*self._at_paths.get(path, ()), *(a for g, a in globs if matches(g, path))]

    @cached_property
    def identity(self) -> str:
        """Equal for names that mean the same, and for no others."""
        said = repr(
            (
                sorted(self.repositories.items()),
                sorted(self.short.items()),
                sorted(self.tag_match.items()),
                self.at,
                self.environment,
                sorted(self.home.items()),
                sorted(self.digests),
            )
        )
        return hashlib.sha256(said.encode()).hexdigest()

    @cached_property
    def _at_paths(self) -> Mapping[str, Sequence[At]]:
        """Named places whose file is named in full."""
        found: dict[str, list[At]] = {}
        for file, one in self._at_files:
            if not _is_glob(file):
                found.setdefault(file, []).append(one)
        return found

    @cached_property
    def _at_globs(self) -> _Globs:
        return _Globs([(file, one) for file, one in self._at_files if _is_glob(file)])

    @cached_property
    def _at_files(self) -> Sequence[tuple[str, At]]:
        values = {"environment": self.environment}
        return [(one.file.render(values) or "", one) for one in self.at]

    @cached_property
    def _words(self) -> _Words:
        """What stands wherever one of ours stands, as traces are compared."""
        hosts, steps, hub = set[str](), set[str](), set[str]()
        for name in self.repositories:
            host, _, path = name.partition("/")
            (hub if host == "docker.io" else steps).add(path.rpartition("/")[2])
            hosts.add(host.partition(":")[0])
        return _Words(
            hosts=as_words(hosts - {"docker.io"}),
            steps=as_words(steps),
            hub=as_words(hub),
            bare=as_words(_last_word(name) for name in self.short),
            digests=as_words(self.digests),
            # A host that is a number (``[::1]``) is no word, nor is a name without letters.
            are_known=not any(host.startswith("[") for host in hosts)
            and all(map(_last_word, self.short)),
        )

    def meet(self, traces: Traces) -> bool:
        """Whether something of ours may stand in a file; False only where nothing can."""
        own = self._words
        if traces.is_opaque or not own.are_known:
            return True
        if traces.have_any(own.hosts) and traces.have_any(own.steps):
            return True
        return (
            traces.have_any(own.hub)
            or (traces.has_entries and traces.have_any(own.bare))
            or traces.have_any(own.digests)
        )

    def mentions(self, text: str, key: str = "") -> Iterator[tuple[int, str, ImageId | None]]:
        """Where a text speaks of us: position, name with version or digest, whose it is."""
        if "/" in text:  # else it has no token, and most texts have none
            is_short = _is_short_reference(text, key)
            for token in _tokens(text):
                yield from self._in_token(token, text, is_short=is_short)
        if self.digests:
            for digest in _DIGEST.finditer(text):
                if digest[0] in self.digests:
                    yield digest.start(), digest[0], None

    @cached_property
    def _deepest(self) -> int:
        """Slashes of the longest name of ours."""
        return max((name.count("/") for name in self.repositories), default=0)

    def _in_token(
        self, token: re.Match[str], text: str, *, is_short: bool
    ) -> Iterator[tuple[int, str, ImageId | None]]:
        """A name of ours may stand behind another host: a mirror, a URL, a path."""
        whole = token[0].rstrip("._-/")
        name = "/".join(whole.rsplit("/", self._deepest + 1)[-self._deepest - 1 :])
        start = token.start() + len(whole) - len(name)
        while "/" in name:
            head = name.partition("/")[0]
            has_host = "." in head or ":" in head or head != head.lower() or head == "localhost"
            if has_host or (is_short and start == token.start()):
                image = self.repositories.get(canonical_repository(_without_tag(name)))
                if image is not None:
                    yield start, name + _behind(text, start + len(name)), image
                    return
            skipped = len(head) + 1
            name, start = name[skipped:], start + skipped


def _tokens(text: str) -> Iterator[re.Match[str]]:
    """Everything that looks like a name, leftmost first, in linear time.

    Where no name begins at the first of a run of characters none begins within it, unless it is
    right behind another name.
    """
    found = _FIRST.search(text)
    while found is not None:
        yield found
        end = found.end()
        found = _TOKEN.match(text, end) or _FIRST.search(text, end)


def _behind(text: str, end: int) -> str:
    """The tag and the digest that stand behind a name."""
    found = _VERSION.match(text, end)
    return found[0] if found else ""


def _without_tag(name: str) -> str:
    return ImageField.parse(name).repository


def _is_short_reference(text: str, key: str) -> bool:
    """Whether a name without a host is an image's: it has a tag, or its key says so."""
    lower = key.lower()
    return _TAGGED.fullmatch(text) is not None or "image" in lower or "repository" in lower


def _is_glob(text: str) -> bool:
    return "*" in text or "?" in text


def _last_word(name: str) -> str:
    """The last word of a name, as a file that has it in any place has it."""
    found = _WORD.findall(name)
    return found[-1].lower().strip("._-") if found else ""


_WORD: Final = re.compile(r"[A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class _Words:
    """Words of names, hashed as traces are."""

    hosts: frozenset[bytes]
    steps: frozenset[bytes]
    """Last steps of paths."""
    hub: frozenset[bytes]
    """Last steps of Docker Hub's, which need no host."""
    bare: frozenset[bytes]
    digests: frozenset[bytes]
    are_known: bool
    """They tell something: else every file has to be read."""


def names_of(
    pipeline: Pipeline,
    environment: Environment | None = None,
    digests: frozenset[str] = frozenset(),
    *,
    only: Collection[ImageId] | None = None,
) -> Names:
    """How the pipeline's images are called in files.

    Args:
        pipeline: the rules.
        environment: whose files are read.
        digests: of images that were resolved for anything of ours.
        only: these images; what a bare name of theirs may mean is still known. None: all.
    """
    repositories: dict[str, ImageId] = {}
    home: dict[ImageId, str] = {}
    short: dict[str, tuple[ImageId, ...]] = {}
    tag_match: dict[ImageId, str] = {}
    at: list[At] = []
    for application in pipeline.applications.values():
        at += [one for one in application.at if only is None or one.image in only]
        for image in application.images:
            own = ImageId(application.name, image.name)
            short[image.name] = (*short.get(image.name, ()), own)
            if only is not None and own not in only:
                continue
            if image.tag_match:
                tag_match[own] = image.tag_match
            for one in pipeline.environments.values():
                repositories[str(one.repository_of(application, image.name).canonical)] = own
            if environment is not None:
                home[own] = str(environment.repository_of(application, image.name))
    if only is not None:
        short = {name: ids for name, ids in short.items() if any(one in only for one in ids)}
    name = "" if environment is None else environment.name
    return Names(repositories, short, tag_match, tuple(at), name, home, digests)


def pin(repository: ImageRepository, tag: str, digest: Digest) -> ImageField:
    """What a place should say for this image."""
    return ImageField(str(repository), tag, digest)
