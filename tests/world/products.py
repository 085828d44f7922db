"""Registries as the products answer, each with its known quirks together.

They are doubles: made from what people reported about each, not from the products. The sources are
in the words of each maker function; what a product does beyond that is not in them.

    with product("ecr") as made:
        made.registry.host ...            # what references name
        made.auths                        # its log-in
        made.hosts                        # everything that a grant has to name
"""

from __future__ import annotations

import contextlib
import gzip
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qs, urlsplit

from tests.world.registry import Fault, Handler, Registry, answer, error

USER, PASSWORD = "robot", "secret"  # a double's
_ALWAYS: Final = 10**6
_READS, _ANY = ("GET", "HEAD"), ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_LOGIN: Final = {"username": USER, "password": PASSWORD}
_NAME: Final = re.compile(r"^/v2/(.+?)/(?:blobs|manifests|referrers|tags)/")


@dataclass(frozen=True)
class Product:
    """One of them, listening."""

    name: str
    registry: Registry
    storage: Registry | None = None
    """Where its blobs lie, if that is elsewhere."""
    lists_bundles: bool = True
    """It takes bundles, so both layouts of a signature can stand."""
    repositories: set[str] = field(default_factory=set)
    """Made by somebody beforehand."""

    @property
    def auths(self) -> Mapping[str, Mapping[str, str]]:
        return {self.registry.host: _LOGIN} if self.registry.users else {}

    @property
    def hosts(self) -> tuple[str, ...]:
        return (self.registry.host, *((self.storage.host,) if self.storage else ()))


Maker = Callable[[ExitStack], Product]


def _server(stack: ExitStack, **options: object) -> Registry:
    return stack.enter_context(Registry(**options))  # type: ignore[arg-type] # passed on as they are


def _always(registry: Registry, methods: tuple[str, ...], pattern: str, fault: Fault) -> None:
    """Answer like this, to whoever has logged in."""
    for method in methods:
        registry.on(method, pattern, _if(Handler.is_logged_in, fault), times=_ALWAYS)


def _challenged(handler: Handler) -> bool:
    handler.challenge()
    return True


def _if(condition: Callable[[Handler], bool], fault: Fault) -> Fault:
    """Misbehave only then."""
    return lambda handler: condition(handler) and fault(handler)


def _repository_of(handler: Handler) -> str:
    found = _NAME.match(handler.path)
    return found[1] if found else ""


def _is_new(handler: Handler) -> bool:
    known = handler.world.repositories.get(_repository_of(handler))
    return known is None or not (known.manifests or known.blobs)


def _with_storage(stack: ExitStack, registry: Registry) -> Registry:
    """Reads of blobs lead to another host, whose addresses are signed for GET alone."""
    storage = _server(stack)
    storage.repositories = registry.repositories
    # S3 and Azure refuse two ways of authenticating; a signature for GET is none for HEAD.
    _always(storage, _ANY, "", _if(lambda h: "Authorization" in h.headers, answer(400)))
    _always(storage, ("HEAD",), "", answer(403))

    def elsewhere(handler: Handler) -> bool:
        handler.reply(307, b"", {"Location": f"{storage.url}{handler.path}?X-Amz-Signature=0f"})
        return True

    def has_it(handler: Handler) -> bool:
        digest = urlsplit(handler.path).path.rpartition("/")[2]
        return digest in handler.world.repository(_repository_of(handler)).blobs

    _always(registry, _READS, "/blobs/sha256", _if(has_it, elsewhere))
    return storage


def ecr(stack: ExitStack) -> Product:
    """Amazon ECR.

    No repository by push; tags are immutable, and the same digest again is refused, too
    (containers-roadmap#2380); no bundles (#2783); no mount; blobs from S3.
    """
    registry = _server(
        stack, login="basic", users={USER: PASSWORD}, mounts=False, immutable_tags=True
    )
    made = Product("ecr", registry, _with_storage(stack, registry), lists_bundles=False)
    is_unmade = _if(
        lambda handler: _repository_of(handler) not in made.repositories,
        error(404, "NAME_UNKNOWN"),
    )
    _always(registry, ("POST",), "/blobs/uploads/", is_unmade)

    def is_set(handler: Handler) -> bool:
        tag = urlsplit(handler.path).path.rpartition("/")[2]
        return tag in handler.world.repository(_repository_of(handler)).tags

    taken = error(400, "TAG_INVALID")
    _always(registry, ("PUT",), "/manifests/(?!sha256:)", _if(is_set, taken))

    def is_bundle(handler: Handler) -> bool:
        return b"sigstore.bundle" in handler.peek()

    _always(registry, ("PUT",), "/manifests/sha256:", _if(is_bundle, error(405, "UNSUPPORTED")))
    return made


def harbor(stack: ExitStack) -> Product:
    """Harbor.

    Tokens per project; a mount from where one may not read is refused hard (oras#1892); lengths of
    HEAD and GET differ; a rule keeps tags and says 412.
    """
    registry = _server(stack, login="bearer", users={USER: PASSWORD}, immutable_tags=True)
    _always(registry, ("POST",), "mount=.*from=(?!prod)", error(403, "DENIED"))

    def taken(handler: Handler) -> bool:
        tag = urlsplit(handler.path).path.rpartition("/")[2]
        return tag in handler.world.repository(_repository_of(handler)).tags

    body = {"errors": [{"code": "PRECONDITION", "message": "configured as immutable"}]}
    refuse = answer(412, json.dumps(body).encode(), {"Content-Type": "application/json"})
    _always(registry, ("PUT",), "/manifests/(?!sha256:)", _if(taken, refuse))
    return Product("harbor", registry)


def quay(stack: ExitStack) -> Product:
    """Quay.

    No right to read what is not there yet: 401 for a token that may only pull; a mount without a
    known source fails; no referrers API in older ones; what was written is seen late.
    """
    registry = _server(
        stack, login="bearer", users={USER: PASSWORD}, mounts=False, referrers_api=False
    )

    def may_only_read(handler: Handler) -> bool:
        token = handler.headers.get("Authorization", "").removeprefix("Bearer ")
        rights = handler.world.tokens.get(token)
        return rights is not None and not any(right.endswith(":push") for right in rights)

    _always(
        registry,
        _READS,
        "^/v2/.",
        _if(lambda handler: _is_new(handler) and may_only_read(handler), _challenged),
    )
    _always(registry, ("POST",), "mount=", error(400, "BLOB_UPLOAD_INVALID"))
    registry.on("GET", "/manifests/v1$", _late(2), times=_ALWAYS)
    return Product("quay", registry)


def _late(looks: int) -> Fault:
    """A tag that was set is missing in the first looks after that."""
    left: dict[str, int] = {}

    def act(handler: Handler) -> bool:
        if "v1" not in handler.world.repository(_repository_of(handler)).tags:
            return False
        count = left.setdefault(handler.path, looks)
        left[handler.path] = count - 1
        return count > 0 and error(404, "MANIFEST_UNKNOWN")(handler)

    return act


def artifactory(stack: ExitStack) -> Product:
    """Artifactory: 403 for what is missing, no HEAD on blobs, no referrers API, no mount."""
    registry = _server(
        stack, login="basic", users={USER: PASSWORD}, mounts=False, referrers_api=False
    )

    def is_missing(handler: Handler) -> bool:
        name = urlsplit(handler.path).path.rpartition("/")[2]
        here = handler.world.repository(_repository_of(handler))
        return name not in {*here.blobs, *here.manifests, *here.tags}

    _always(registry, _READS, "/(?:blobs|manifests)/", _if(is_missing, error(403, "DENIED")))
    _always(registry, ("HEAD",), "/blobs/", answer(405))
    _always(registry, ("GET",), "/referrers/", answer(403))
    return Product("artifactory", registry)


def ghcr(stack: ExitStack) -> Product:
    """GHCR: no referrers API, blobs from elsewhere, no life told of tokens, big PATCHes refused."""
    registry = _server(
        stack, login="bearer", users={USER: PASSWORD}, mounts=False, referrers_api=False
    )
    registry.token_life = 0
    made = Product("ghcr", registry, _with_storage(stack, registry))
    _always(registry, ("GET",), "/referrers/", answer(404, b"404 page not found"))
    return made


def nexus(stack: ExitStack) -> Product:
    """Nexus.

    Basic under a name of its own spelling; HEAD tells no length; a web page for referrers;
    packed answers though asked not to; redirects of uploads; HEAD of manifests does not work.
    """
    registry = _server(
        stack, login="basic", users={USER: PASSWORD}, mounts=False, referrers_api=False
    )
    page = answer(200, b"<html>Not found</html>", {"Content-Type": "text/html"})
    _always(registry, ("GET",), "/referrers/", page)
    _always(registry, ("HEAD",), "/manifests/", error(404, "MANIFEST_UNKNOWN"))
    _always(registry, ("HEAD",), "/blobs/", _without_length())
    _always(registry, ("GET",), "/manifests/", _packed())
    moved = _if(lambda h: "moved" not in parse_qs(urlsplit(h.path).query), _redirected())
    _always(registry, ("POST", "PUT"), "/blobs/uploads/", moved)
    return Product("nexus", registry)


def _without_length() -> Fault:
    def act(handler: Handler) -> bool:
        digest = urlsplit(handler.path).path.rpartition("/")[2]
        if digest not in handler.world.repository(_repository_of(handler)).blobs:
            return False
        handler.reply(200, b"")
        return True

    return act


def _packed() -> Fault:
    def act(handler: Handler) -> bool:
        here = handler.world.repository(_repository_of(handler))
        name = urlsplit(handler.path).path.rpartition("/")[2]
        found = here.manifests.get(here.tags.get(name, name))
        if found is None:
            return False
        headers = {"Content-Type": found[0], "Content-Encoding": "gzip"}
        handler.reply(200, gzip.compress(found[1]), headers)
        return True

    return act


def _redirected() -> Fault:
    def act(handler: Handler) -> bool:
        handler.drain()
        joint = "&" if "?" in handler.path else "?"
        handler.reply(307, b"", {"Location": f"{handler.path}{joint}moved=1"})
        return True

    return act


PRODUCTS: Final[Mapping[str, Maker]] = {
    "ecr": ecr,
    "harbor": harbor,
    "quay": quay,
    "artifactory": artifactory,
    "ghcr": ghcr,
    "nexus": nexus,
}


@contextlib.contextmanager
def product(name: str) -> Iterator[Product]:
    """One of `PRODUCTS`, listening until the end of the block."""
    with ExitStack() as stack:
        yield PRODUCTS[name](stack)
