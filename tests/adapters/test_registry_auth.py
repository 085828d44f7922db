"""Logging in: who gets which credentials, how often, and who does not."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, urlsplit

import pytest

from bot.domain.errors import NotGrantedError, RejectedError
from bot.domain.oci import Digest, ImageRepository
from tests.world import registry as world
from tests.world.clients import HandClock, client
from tests.world.images import build_image
from tests.world.registry import Registry

IMAGE = build_image()
DIGEST = Digest(IMAGE.digest)
USERS = {"ci": "pass:word"}
LOGIN = {"username": "ci", "password": "pass:word"}


@pytest.fixture
def bearer() -> Iterator[Registry]:
    with Registry() as registry:
        IMAGE.push(registry.host, "dev/api", "v1")
        registry.login, registry.users = "bearer", USERS
        registry.seen.clear()
        yield registry


def dev(registry: Registry) -> ImageRepository:
    return ImageRepository(registry.host, "dev/api")


def scopes(registry: Registry) -> list[list[str]]:
    return [
        parse_qs(urlsplit(seen.path).query)["scope"] for seen in registry.requests("GET", "^/token")
    ]


def test_basic_credentials_are_sent_after_the_challenge() -> None:
    with Registry(login="basic", users=USERS) as registry:
        registry.repository("dev/api")
        found = client(auths={registry.host: LOGIN}).resolve(dev(registry).tagged("v1"))

        sent = [seen.headers.get("Authorization") for seen in registry.seen]
        assert found is None
        assert sent == [None, "Basic " + base64.b64encode(b"ci:pass:word").decode()]


def test_a_token_is_fetched_once_and_used_for_everything(bearer: Registry) -> None:
    registry = client(auths={bearer.host: LOGIN})

    registry.read_back(dev(bearer).at(DIGEST))
    registry.resolve(dev(bearer).tagged("v1"))

    assert scopes(bearer) == [["repository:dev/api:pull"]]


def test_without_credentials_a_token_is_anonymous(bearer: Registry) -> None:
    bearer.users = {}

    assert client(bearer.host).resolve(dev(bearer).tagged("v1")) == DIGEST
    assert "Authorization" not in bearer.requests("GET", "^/token")[0].headers


def test_a_copy_asks_for_push_on_the_target_and_pull_on_the_source(bearer: Registry) -> None:
    bearer.mounts = False
    registry = client(auths={bearer.host: LOGIN})

    registry.copy(dev(bearer).at(DIGEST), ImageRepository(bearer.host, "prod/api"))

    asked = scopes(bearer)
    assert ["repository:dev/api:pull"] in asked
    assert ["repository:prod/api:pull,push"] in asked


def test_a_mount_asks_for_both_push_first(bearer: Registry) -> None:
    registry = client(auths={bearer.host: LOGIN})

    report = registry.copy(dev(bearer).at(DIGEST), ImageRepository(bearer.host, "prod/api"))

    assert report.mounted == IMAGE.size
    assert ["repository:prod/api:pull,push", "repository:dev/api:pull"] in scopes(bearer)


def test_a_token_service_that_refuses_two_scopes_means_an_upload(bearer: Registry) -> None:
    both = "scope=.*scope="
    bearer.on("GET", f"^/token.*{both}", world.error(403, "DENIED"), times=99)
    registry = client(auths={bearer.host: LOGIN})

    report = registry.copy(dev(bearer).at(DIGEST), ImageRepository(bearer.host, "prod/api"))

    assert (report.mounted, report.moved) == (0, IMAGE.size)


def test_a_token_that_the_registry_forgot_is_replaced_once(bearer: Registry) -> None:
    registry = client(auths={bearer.host: LOGIN})
    registry.resolve(dev(bearer).tagged("v1"))
    bearer.tokens.clear()

    assert registry.resolve(dev(bearer).tagged("v1")) == DIGEST
    assert len(scopes(bearer)) == 2


def test_a_second_refusal_of_a_new_token_is_final(bearer: Registry) -> None:
    refuse = world.error(
        401, "UNAUTHORIZED", {"WWW-Authenticate": f'Bearer realm="{bearer.url}/token"'}
    )
    bearer.on("GET", "/manifests/", refuse, times=99)

    with pytest.raises(
        RejectedError, match=r"refuses access to .*dev/api:v1 \(401\).*registry\.json"
    ):
        client(auths={bearer.host: LOGIN}).resolve(dev(bearer).tagged("v1"))

    assert len(bearer.requests("GET", "/manifests/")) == 3


def test_an_old_token_that_is_called_denied_is_replaced(bearer: Registry) -> None:
    registry = client(auths={bearer.host: LOGIN})
    registry.resolve(dev(bearer).tagged("v1"))
    bearer.on("GET", "/manifests/", world.error(400, "DENIED"))

    assert registry.resolve(dev(bearer).tagged("v1")) == DIGEST


def test_a_token_is_renewed_before_it_expires(bearer: Registry) -> None:
    clock = HandClock()
    registry = client(auths={bearer.host: LOGIN}, clock=clock)
    registry.resolve(dev(bearer).tagged("v1"))

    clock.move(239)
    registry.resolve(dev(bearer).tagged("v1"))
    assert len(scopes(bearer)) == 1

    clock.move(2)
    registry.resolve(dev(bearer).tagged("v1"))
    assert len(scopes(bearer)) == 2


def test_many_threads_fetch_one_token(bearer: Registry) -> None:
    registry = client(auths={bearer.host: LOGIN})
    registry.exists(dev(bearer).at(DIGEST))
    bearer.tokens.clear()
    bearer.seen.clear()
    registry = client(auths={bearer.host: LOGIN})
    registry.resolve(ImageRepository(bearer.host, "other").tagged("x"))  # learns the challenge

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: registry.exists(dev(bearer).at(DIGEST)), range(16)))

    assert scopes(bearer).count(["repository:dev/api:pull"]) == 1


def test_an_identity_token_is_exchanged(bearer: Registry) -> None:
    bearer.refresh_tokens.add("refresh-me")
    registry = client(auths={bearer.host: {"identitytoken": "refresh-me"}})

    assert registry.resolve(dev(bearer).tagged("v1")) == DIGEST
    assert len(bearer.requests("POST", "^/token")) == 1
    assert "refresh-me" not in "".join(seen.path for seen in bearer.seen)


def test_credentials_are_those_of_the_longest_prefix(bearer: Registry) -> None:
    bearer.users = {"team": "t"}
    auths = {bearer.host: LOGIN, f"{bearer.host}/dev": {"username": "team", "password": "t"}}

    assert client(auths=auths).resolve(dev(bearer).tagged("v1")) == DIGEST
    with pytest.raises(RejectedError):
        client(auths=auths).resolve(ImageRepository(bearer.host, "other/api").tagged("v1"))


@pytest.mark.parametrize(
    "token",
    [b"", b"[]", b'{"token": ""}', b'{"token": "a\\r\\nb"}', b"{" * 50_000, b'{"token": 3}'],
    ids=["empty", "list", "no-token", "header-injection", "nested", "number"],
)
def test_a_token_service_that_answers_rubbish_is_reported(bearer: Registry, token: bytes) -> None:
    bearer.on("GET", "^/token", world.answer(200, token), times=9)

    with pytest.raises(RejectedError, match="no token"):
        client(auths={bearer.host: LOGIN}).resolve(dev(bearer).tagged("v1"))


def test_wrong_credentials_are_reported_without_them(bearer: Registry) -> None:
    with pytest.raises(RejectedError) as caught:
        client(auths={bearer.host: {"username": "ci", "password": "hunter2"}}).resolve(
            dev(bearer).tagged("v1")
        )

    assert "a token for" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_scope_of_another_repository_is_not_asked_for(bearer: Registry) -> None:
    other = f'Bearer realm="{bearer.url}/token",scope="repository:secret/thing:pull,push"'
    bearer.on("GET", "/manifests/", world.error(401, "UNAUTHORIZED", {"WWW-Authenticate": other}))

    client(auths={bearer.host: LOGIN}).resolve(dev(bearer).tagged("v1"))

    assert "secret" not in str(scopes(bearer))


# --- credentials stay where they belong


def test_a_realm_that_is_not_granted_is_never_contacted(bearer: Registry) -> None:
    with Registry() as evil:
        bearer.realm = f"{evil.url}/token"

        with pytest.raises(NotGrantedError, match=re.escape(evil.host)):
            client(auths={bearer.host: LOGIN}).resolve(dev(bearer).tagged("v1"))

        assert evil.connections == 0


@pytest.mark.parametrize("realm", ["http://[::1/token", "token", "ftp://x", "http://x:y/"])
def test_a_realm_that_is_no_address_is_refused(bearer: Registry, realm: str) -> None:
    bearer.realm = realm

    with pytest.raises(RejectedError):
        client(auths={bearer.host: LOGIN}).resolve(dev(bearer).tagged("v1"))


def test_a_realm_on_a_granted_host_without_credentials_is_the_token_service(
    bearer: Registry,
) -> None:
    with Registry(users=USERS) as service:
        bearer.realm = f"{service.url}/token"
        service.tokens = bearer.tokens

        found = client(auths={bearer.host: LOGIN, service.host: {}}).resolve(
            dev(bearer).tagged("v1")
        )

        assert found == DIGEST


def test_a_registry_cannot_send_its_credentials_to_another_registry(bearer: Registry) -> None:
    with Registry(login="basic", users={"other": "o"}) as other:
        bearer.realm = f"{other.url}/token"
        auths = {bearer.host: LOGIN, other.host: {"username": "other", "password": "o"}}

        with pytest.raises(RejectedError, match="credentials of its own"):
            client(auths=auths).resolve(dev(bearer).tagged("v1"))

        assert other.connections == 0


def test_a_redirected_blob_is_fetched_without_authorization(bearer: Registry) -> None:
    with Registry() as storage:
        for digest, content in IMAGE.blobs.items():
            storage.repository("files").blobs[digest] = content
            place = f"{storage.url}/v2/files/blobs/{digest}?X-Amz-Signature=s3cret"
            bearer.on("GET", digest, world.answer(307, b"", {"Location": place}), times=9)
        registry = client(storage.host, auths={bearer.host: LOGIN})

        registry.describe(dev(bearer).at(DIGEST))

        assert storage.requests("GET")
        assert all("Authorization" not in seen.headers for seen in storage.seen)
        assert all("Cookie" not in seen.headers for seen in storage.seen)


def test_an_upload_location_elsewhere_gets_no_authorization(bearer: Registry) -> None:
    with Registry() as storage, Registry() as source:
        IMAGE.push(source.host, "dev/api")
        storage.uploads["s"] = bytearray()
        place = {"Location": f"{storage.url}/v2/files/blobs/uploads/s"}
        registry = client(storage.host, source.host, auths={bearer.host: LOGIN})
        registry.resolve(dev(bearer).tagged("v1"))
        bearer.on("POST", "/uploads/", world.answer(202, b"", place))

        registry.copy(
            ImageRepository(source.host, "dev/api").at(DIGEST),
            ImageRepository(bearer.host, "new/api"),
        )

        assert storage.requests("PUT")
        assert all("Authorization" not in seen.headers for seen in storage.seen)
