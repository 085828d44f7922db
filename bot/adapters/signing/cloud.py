"""Keys in the key management services of AWS, Google and Azure, through securesystemslib.

    awskms:KEY-ID, awskms:alias/NAME, awskms:arn:...         cosign's: awskms:///...
    gcpkms:projects/P/locations/L/keyRings/R/cryptoKeys/K/cryptoKeyVersions/N
                                                             cosign's: gcpkms://.../versions/N
    azurekms://VAULT.vault.azure.net/keys/NAME/VERSION       cosign's: azurekms://.../NAME

Each service's own client finds its credentials as it always does (environment, metadata service,
workload identity); only a message's digest is sent. One lock per key, because not every client
promises to be safe in several threads.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from bot.domain.errors import ConfigurationError, UnavailableError

_GOOGLE: Final = re.compile(
    r"(projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+)"
    r"/(?:cryptoKeyVersions|versions)/([0-9]+)"
)
_AZURE: Final = re.compile(r"([A-Za-z0-9.-]+(?::[0-9]+)?)/(?:keys/)?([A-Za-z0-9-]+)(?:/(\w+))?")
_AWS: Final = re.compile(r"[A-Za-z0-9:/_-]{1,300}")
_SCHEME: Final = "ecdsa-sha2-nistp256"
_THROTTLED: Final = ("Throttling", "LimitExceeded", "KMSInternal", "DependencyTimeout")
# Errors without an HTTP status that nobody but a person can end.
_NO_LOGIN: Final = (
    "NoCredentialsError",
    "PartialCredentialsError",
    "NoRegionError",
    "DefaultCredentialsError",
    "CredentialUnavailableError",
    "ClientAuthenticationError",
    "UnsupportedAlgorithmError",
    "UnsupportedKeyType",
)


class CloudKey:
    """One key of one service."""

    def __init__(self, uri: str, file: str) -> None:
        """Contact nobody yet.

        Raises:
            ConfigurationError: the URI names no key of a service.
        """
        self._uri, self._file = canonical_uri(uri, file), file
        self._lock = threading.Lock()
        self._signer: Any = None
        self._public: Any = None

    def __repr__(self) -> str:
        return f"CloudKey({self._uri})"

    def public_key(self) -> bytes:
        """The public key in PEM, asked of the service."""
        with self._lock, self._translated():
            self._uri, self._public = self._imported()
            return str(self._public.keyval["public"]).encode()

    def expect(self, public_key_pem: bytes) -> None:
        """Take the public key from elsewhere, so that the service is asked only to sign."""
        from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415 - see below
            load_pem_public_key,
        )
        from securesystemslib.signer import SSlibKey  # noqa: PLC0415 - an extra

        self._public = SSlibKey.from_crypto(load_pem_public_key(public_key_pem), scheme=_SCHEME)

    def sign(self, message: bytes) -> bytes:
        """ECDSA over SHA-256 of the message, DER."""
        from securesystemslib.signer import Signer  # noqa: PLC0415 - an extra

        with self._lock, self._translated():
            if self._signer is None:
                self._signer = Signer.from_priv_key_uri(self._uri, self._public)
            return bytes.fromhex(self._signer.sign(message).signature)

    def _imported(self) -> tuple[str, Any]:
        from securesystemslib.signer import (  # noqa: PLC0415 - an extra
            AWSSigner,
            AzureSigner,
            GCPSigner,
        )

        scheme, _, name = self._uri.partition(":")
        if scheme == "awskms":
            uri, public = AWSSigner.import_(name, _SCHEME)
        elif scheme == "gcpkms":
            uri, public = GCPSigner.import_(name)
        else:
            host, _, path = name.removeprefix("//").partition("/")
            uri, public = AzureSigner.import_(host.partition(".")[0], path.split("/")[1])
            if not uri.startswith(self._uri):
                fact = "the vault's newest version of the key is another one"
                remedy = "name the newest, or put the public key beside it as a .pub file"
                raise ConfigurationError(self._file, None, fact, remedy)
        return uri, public

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Only names and numbers of an error come through: its text may hold anything."""
        try:
            yield
        except self._errors() as error:
            name, status = type(error).__name__, _status(error)
            said = f"the service says {name}" + (f" {status}" if status else "")
            final = name in _NO_LOGIN or (
                400 <= status < 500  # noqa: PLR2004 - HTTP's class of the client's errors
                and status not in {408, 409, 429}
                and not _code(error).startswith(_THROTTLED)
            )
            if final:
                remedy = "check the key's name and what the credentials may do"
                raise ConfigurationError(self._file, None, said, remedy) from None
            raise UnavailableError(f"{self._file}: {said}") from None

    def _errors(self) -> tuple[type[Exception], ...]:
        """What the client of this service may raise."""
        from securesystemslib import exceptions  # noqa: PLC0415 - an extra

        own: tuple[type[Exception], ...] = (
            exceptions.UnsupportedAlgorithmError,
            exceptions.UnsupportedLibraryError,
        )
        return own + _ERRORS[self._uri.partition(":")[0]]()


def canonical_uri(uri: str, file: str) -> str:
    """The spelling of securesystemslib, from its own or cosign's.

    Raises:
        ConfigurationError: it names no key.
    """
    scheme, _, rest = uri.partition(":")
    name = rest.removeprefix("//")
    if scheme == "awskms":
        if rest.startswith("//") and not rest.startswith("///"):
            remedy = "write awskms:///KEY and set AWS_ENDPOINT_URL_KMS"
            raise ConfigurationError(file, None, "names an endpoint of AWS", remedy)
        key = name.removeprefix("/")
        if _AWS.fullmatch(key):
            return f"awskms:{key}"
    elif scheme == "gcpkms":
        found = _GOOGLE.fullmatch(name.removeprefix("/"))
        if found:
            return f"gcpkms:{found[1]}/cryptoKeyVersions/{found[2]}"
    elif found := _AZURE.fullmatch(name):
        host = found[1] if "." in found[1] else f"{found[1]}.vault.azure.net"
        return f"azurekms://{host}/keys/{found[2]}" + (f"/{found[3]}" if found[3] else "")
    raise ConfigurationError(file, None, f"names no key and version of {scheme}", _FORMS[scheme])


_FORMS: Final = {
    "awskms": "for example awskms:///alias/prod-signing",
    "gcpkms": "for example gcpkms://projects/P/locations/L/keyRings/R/cryptoKeys/K/versions/1",
    "azurekms": "for example azurekms://VAULT.vault.azure.net/NAME/VERSION",
}


def _aws_errors() -> tuple[type[Exception], ...]:
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - an extra

    return BotoCoreError, ClientError


def _google_errors() -> tuple[type[Exception], ...]:
    from google.api_core.exceptions import GoogleAPIError  # noqa: PLC0415 - an extra
    from google.auth.exceptions import GoogleAuthError  # noqa: PLC0415 - an extra

    return GoogleAPIError, GoogleAuthError


def _azure_errors() -> tuple[type[Exception], ...]:
    from azure.core.exceptions import AzureError  # noqa: PLC0415 - an extra
    from securesystemslib.signer._azure_signer import (  # noqa: PLC0415 - an extra
        UnsupportedKeyType,
    )

    return AzureError, UnsupportedKeyType


_ERRORS: Final[dict[str, Callable[[], tuple[type[Exception], ...]]]] = {
    "awskms": _aws_errors,
    "gcpkms": _google_errors,
    "azurekms": _azure_errors,
}


def _status(error: Exception) -> int:
    """The HTTP status behind an error of any of the three; 0 where there is none."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):  # AWS
        return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    found = (
        getattr(error, "status_code", None) or getattr(error, "code", None) or 0
    )  # Azure, Google
    return int(found) if isinstance(found, int) else 0


def _code(error: Exception) -> str:
    response = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""
