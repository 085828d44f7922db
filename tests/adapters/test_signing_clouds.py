"""Keys in three clouds, played by doubles that speak their protocols to the clouds' own clients."""

from __future__ import annotations

import contextlib
import json
import traceback
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from bot.adapters.signing import RemoteKey, SigningKey, load_key
from bot.adapters.signing.cloud import canonical_uri
from bot.domain.errors import ConfigurationError, IntegrityError, LockkeeperError, UnavailableError
from tests.world.false_internet import Certificate, certificate, proxy_to
from tests.world.key_services import Aws, Azure, Google, KeyService

SECRET = "planted-secret-of-the-cloud"  # noqa: S105 - of this test alone
URIS = {
    "aws": "awskms:///alias/prod",
    "azure": "azurekms://acme.vault.azure.net/prod",
    "google": f"gcpkms://{Google.name.replace('cryptoKeyVersions', 'versions')}",
}


def opened(uri: str, public: bytes = b"") -> SigningKey | RemoteKey:
    return load_key(uri.encode(), "signing.uri", b"", public)


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    service = Aws(SECRET)
    with service.running() as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        yield service


@pytest.fixture
def azure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Azure]:
    made = certificate(tmp_path, "acme.vault.azure.net")
    service, identity = Azure(SECRET), Azure(SECRET)
    with service.running(made.context), identity.running() as url, proxy_to(service.port) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(made.authority))
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{url}/identity")
        monkeypatch.setenv("IDENTITY_HEADER", "x")
        yield service


@pytest.fixture(scope="module")
def googles_certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """One for all: gRPC reads its roots once in a process."""
    return certificate(tmp_path_factory.mktemp("google"), "cloudkms.googleapis.com")


@pytest.fixture
def google(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, googles_certificate: Certificate
) -> Iterator[Google]:
    made = googles_certificate
    service = Google(SECRET)
    with service.serving(made) as port, proxy_to(port) as proxy:
        monkeypatch.setenv("https_proxy", proxy)
        monkeypatch.setenv("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", str(made.authority))
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(_account(tmp_path)))
        yield service


def _account(directory: Path) -> Path:
    key = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    account = {
        "type": "service_account",
        "project_id": "acme",
        "private_key_id": "1",
        "private_key": key.decode(),
        "client_email": "lock@acme.iam.gserviceaccount.com",
        "client_id": "1",
        "token_uri": "https://oauth2.googleapis.com/token",
    }
    (directory / "account.json").write_text(json.dumps(account))
    return directory / "account.json"


@pytest.fixture(params=["aws", "azure", "google"])
def cloud(request: pytest.FixtureRequest) -> tuple[KeyService, str]:
    service = request.getfixturevalue(request.param)
    assert isinstance(service, KeyService)
    return service, URIS[request.param]


def test_a_key_in_a_cloud_signs(cloud: tuple[KeyService, str]) -> None:
    service, uri = cloud

    key = opened(uri)

    assert key.public_key_pem.decode() == service.pem()
    assert key.verifies(b"message", key.sign(b"message"))
    assert key.verifies(b"again", key.sign(b"again"))


def test_another_key_than_the_known_one_signs_nothing(cloud: tuple[KeyService, str]) -> None:
    service, uri = cloud
    known = service.pem().encode()
    service.rotate()

    with pytest.raises(IntegrityError, match="signs with another key"):
        opened(uri, known).sign(b"m")


@pytest.mark.parametrize(("status", "kind"), [(403, ConfigurationError), (503, UnavailableError)])
def test_a_refusal_is_final_or_not_and_never_quoted(
    cloud: tuple[KeyService, str], status: int, kind: type[LockkeeperError]
) -> None:
    service, uri = cloud
    key = opened(uri, service.pem().encode())
    service.refuses_with = status

    with pytest.raises(kind, match=r"^signing\.uri: the service says") as caught:
        key.sign(b"m")

    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_a_key_that_does_not_exist_is_wrong_configuration(aws: Aws, google: Google) -> None:
    del aws, google
    for uri in ("awskms:///alias/nobody", URIS["google"].replace("prod", "nobody")):
        with pytest.raises(ConfigurationError) as caught:
            opened(uri)

        assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_no_credentials_are_wrong_configuration(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # it remembers credentials
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")

    with pytest.raises(ConfigurationError, match="NoCredentialsError"):
        opened("awskms:///alias/prod")


@pytest.mark.parametrize(
    ("uri", "canonical"),
    [
        ("awskms:///alias/prod", "awskms:alias/prod"),
        ("awskms:1234abcd-12ab", "awskms:1234abcd-12ab"),
        ("awskms:///arn:aws:kms:eu-west-1:111122223333:key/12", None),
        (
            "gcpkms://projects/p/locations/l/keyRings/r/cryptoKeys/k/versions/3",
            "gcpkms:projects/p/locations/l/keyRings/r/cryptoKeys/k/cryptoKeyVersions/3",
        ),
        (
            "gcpkms:projects/p/locations/l/keyRings/r/cryptoKeys/k/cryptoKeyVersions/3",
            "gcpkms:projects/p/locations/l/keyRings/r/cryptoKeys/k/cryptoKeyVersions/3",
        ),
        ("azurekms://v.vault.azure.net/k", "azurekms://v.vault.azure.net/keys/k"),
        ("azurekms://v/k/9f", "azurekms://v.vault.azure.net/keys/k/9f"),
        ("azurekms://v.vault.azure.net/keys/k/9f", "azurekms://v.vault.azure.net/keys/k/9f"),
    ],
)
def test_cosigns_spelling_and_securesystemslibs_mean_the_same(
    uri: str, canonical: str | None
) -> None:
    expected = canonical or uri.replace("awskms:///", "awskms:")

    assert canonical_uri(uri, "f") == expected
    with contextlib.suppress(ConfigurationError):
        assert canonical_uri(expected, "f") == expected


@pytest.mark.parametrize(
    "uri",
    [
        "awskms:",
        "awskms://kms.example.com/alias/prod",
        "awskms:///a?b",
        "gcpkms://projects/p/locations/l/keyRings/r/cryptoKeys/k",
        "gcpkms://projects/p",
        "azurekms://vault.azure.net",
        "azurekms://v/k/9f/x",
    ],
)
def test_what_names_no_key_is_refused(uri: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^f: names"):
        canonical_uri(uri, "f")
