"""Doubles of the services that keep keys: Vault's transit engine, AWS, Google and Azure.

Each speaks its service's protocol on 127.0.0.1, with a real key on P-256, and records what it was
asked. They are doubles: what the real ones do beyond their documentation is not in them.
"""

from __future__ import annotations

import base64
import contextlib
import json
import ssl
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from google.cloud import kms

from tests.world.false_internet import Certificate

_PREHASHED = ec.ECDSA(Prehashed(hashes.SHA256()))
Answer = tuple[int, Mapping[str, Any]]


@dataclass
class KeyService:
    """What all of them have: versions of one key, and a record."""

    secret: str
    """The only token that is accepted, where the service has tokens."""
    keys: list[ec.EllipticCurvePrivateKey] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    """Method and path, or operation."""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    refuses_with: int = 0
    """An HTTP status for everything, in place of an answer."""
    url: str = ""
    port: int = 0

    def __post_init__(self) -> None:
        self.rotate()

    def rotate(self) -> None:
        """A new version of the key."""
        self.keys.append(ec.generate_private_key(ec.SECP256R1()))

    def pem(self, version: int = -1) -> str:
        return (
            self.keys[version]
            .public_key()
            .public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            .decode()
        )

    def der(self) -> bytes:
        return (
            self.keys[-1]
            .public_key()
            .public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )

    def sign(self, digest: bytes, version: int = -1) -> bytes:
        """DER, over a digest."""
        return self.keys[version].sign(digest, _PREHASHED)

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """What the service says."""
        raise NotImplementedError

    @contextlib.contextmanager
    def running(self, tls: ssl.SSLContext | None = None) -> Iterator[str]:
        """Serve on 127.0.0.1; the URL."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        self.port = int(server.server_address[1])
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.port}"
        try:
            yield self.url
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                service.asked.append(f"{self.command} {self.path}")
                with contextlib.suppress(ValueError):
                    service.bodies.append(json.loads(content))
                headers = {name.lower(): text for name, text in self.headers.items()}
                status, document = (
                    (service.refuses_with, {"errors": [f"no: {service.secret}"]})
                    if service.refuses_with
                    else service.answer(self.command, self.path, headers, content)
                )
                body = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                for name, text in service.headers_of(status).items():
                    self.send_header(name, text)
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = _serve  # noqa: N815 - http.server's names

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler

    def headers_of(self, status: int) -> Mapping[str, str]:
        """More headers for an answer."""
        del status
        return {}


class Vault(KeyService):
    """The transit engine: keys/NAME and sign/NAME/sha2-256."""

    kind = "ecdsa-p256"

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        if headers.get("x-vault-token") != self.secret:
            return 403, {"errors": ["permission denied"]}
        if (method, path) == ("GET", "/v1/transit/keys/prod"):
            versions = {
                str(number): {"public_key": self.pem(number - 1)}
                for number in range(1, len(self.keys) + 1)
            }
            return 200, {
                "data": {"type": self.kind, "latest_version": len(self.keys), "keys": versions}
            }
        if (method, path) == ("POST", "/v1/transit/sign/prod/sha2-256"):
            return 200, {"data": {"signature": self._signature(json.loads(body))}}
        return 404, {"errors": []}

    def _signature(self, asked: Mapping[str, Any]) -> str:
        assert (asked["prehashed"], asked["marshaling_algorithm"]) == (True, "asn1")
        version = asked.get("key_version", len(self.keys))
        signature = self.sign(base64.b64decode(asked["input"]), version - 1)
        return f"vault:v{version}:{base64.b64encode(signature).decode()}"


class Aws(KeyService):
    """KMS: JSON 1.1, the operation in X-Amz-Target."""

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        del method, path
        operation, asked = headers["x-amz-target"], json.loads(body)
        if asked["KeyId"] != "alias/prod":
            return 400, {"__type": "NotFoundException", "message": f"no {self.secret}"}
        if operation == "TrentService.GetPublicKey":
            return 200, {
                "KeyId": asked["KeyId"],
                "PublicKey": base64.b64encode(self.der()).decode(),
                "SigningAlgorithms": ["ECDSA_SHA_256"],
            }
        assert operation == "TrentService.Sign"
        assert (asked["MessageType"], asked["SigningAlgorithm"]) == ("DIGEST", "ECDSA_SHA_256")
        signature = self.sign(base64.b64decode(asked["Message"]))
        return 200, {"KeyId": asked["KeyId"], "Signature": base64.b64encode(signature).decode()}


class Azure(KeyService):
    """Key Vault, and the managed identity that gives out its tokens."""

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        route = path.partition("?")[0]
        if route == "/identity":
            return 200, {"access_token": self.secret, "expires_on": "4102444800", "resource": "x"}
        if headers.get("authorization") != f"Bearer {self.secret}":
            return 401, {"error": {"code": "Unauthorized", "message": "a token, please"}}
        if method == "GET" and route.startswith("/keys/prod"):
            numbers = self.keys[-1].public_key().public_numbers()
            return 200, {
                "key": {
                    "kid": f"https://acme.vault.azure.net/keys/prod/v{len(self.keys)}",
                    "kty": "EC",
                    "crv": "P-256",
                    "key_ops": ["sign", "verify"],
                    "x": _url64(numbers.x.to_bytes(32, "big")),
                    "y": _url64(numbers.y.to_bytes(32, "big")),
                },
                "attributes": {"enabled": True},
            }
        if route.startswith("/keys/prod/") and route.endswith("/sign"):
            asked = json.loads(body)
            assert asked["alg"] == "ES256"
            digest = base64.urlsafe_b64decode(asked["value"] + "=" * (-len(asked["value"]) % 4))
            r, s = decode_dss_signature(self.sign(digest))
            raw = r.to_bytes(32, "big") + s.to_bytes(32, "big")
            return 200, {"kid": "https://acme.vault.azure.net/keys/prod/v1", "value": _url64(raw)}
        return 404, {"error": {"code": "KeyNotFound", "message": f"no {self.secret}"}}

    def headers_of(self, status: int) -> Mapping[str, str]:
        challenge = (
            'Bearer authorization="https://login.example.com/t", resource="https://vault.azure.net"'
        )
        # Its client tries again ten times, as slowly as it is asked to.
        return {"WWW-Authenticate": challenge} if status == 401 else {"x-ms-retry-after-ms": "1"}


def _url64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


class Google(KeyService):
    """Cloud KMS, over gRPC."""

    name = "projects/acme/locations/global/keyRings/lock/cryptoKeys/prod/cryptoKeyVersions/1"

    @contextlib.contextmanager
    def serving(self, certificate: Certificate) -> Iterator[int]:
        """Serve with this certificate; the port."""
        methods = {
            "GetPublicKey": grpc.unary_unary_rpc_method_handler(
                self._public_key,
                request_deserializer=kms.GetPublicKeyRequest.deserialize,
                response_serializer=kms.PublicKey.serialize,
            ),
            "AsymmetricSign": grpc.unary_unary_rpc_method_handler(
                self._sign,
                request_deserializer=kms.AsymmetricSignRequest.deserialize,
                response_serializer=kms.AsymmetricSignResponse.serialize,
            ),
        }
        handler = grpc.method_handlers_generic_handler(
            "google.cloud.kms.v1.KeyManagementService", methods
        )
        server = grpc.server(ThreadPoolExecutor(2))
        server.add_generic_rpc_handlers((handler,))
        pair = (certificate.key.read_bytes(), certificate.chain.read_bytes())
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
        server.start()
        try:
            yield int(port)
        finally:
            server.stop(None).wait()

    def _public_key(self, asked: Any, context: Any) -> Any:  # noqa: ANN401 - gRPC's
        self._check(asked.name, context)
        return kms.PublicKey(
            name=self.name,
            algorithm=kms.CryptoKeyVersion.CryptoKeyVersionAlgorithm.EC_SIGN_P256_SHA256,
            public_key=kms.ChecksummedData(data=self.pem().encode()),
        )

    def _sign(self, asked: Any, context: Any) -> Any:  # noqa: ANN401 - gRPC's
        self._check(asked.name, context)
        return kms.AsymmetricSignResponse(name=self.name, signature=self.sign(asked.digest.sha256))

    def _check(self, name: str, context: Any) -> None:  # noqa: ANN401 - gRPC's
        self.asked.append(name)
        if self.refuses_with:
            codes = {
                403: grpc.StatusCode.PERMISSION_DENIED,
                503: grpc.StatusCode.RESOURCE_EXHAUSTED,
            }
            context.abort(codes[self.refuses_with], f"no: {self.secret}")
        if name != self.name:
            context.abort(grpc.StatusCode.NOT_FOUND, f"no: {self.secret}")
