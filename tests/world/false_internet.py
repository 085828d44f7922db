"""A proxy that leads every host name to one server on this machine, which has its certificate.

Clients that insist on HTTPS at their service's own name meet a double that way: they take the
proxy and the certificate authority from the process environment, as behind a company's firewall.
"""

from __future__ import annotations

import contextlib
import functools
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Certificate:
    """For one host, by an authority that nobody else knows."""

    authority: Path
    chain: Path
    key: Path

    @property
    def context(self) -> ssl.SSLContext:
        """For a server."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.chain, self.key)
        return context


def certificate(directory: Path, host: str) -> Certificate:
    """A certificate that was made for this test."""
    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "False internet")])
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    root = (
        _begun(root_name, root_name, root_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(root_key, hashes.SHA256())
    )
    leaf = (
        _begun(name, root_name, key.public_key())
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(root_key, hashes.SHA256())
    )
    made = Certificate(directory / "ca.pem", directory / "leaf.pem", directory / "leaf.key")
    made.authority.write_bytes(root.public_bytes(serialization.Encoding.PEM))
    made.chain.write_bytes(leaf.public_bytes(serialization.Encoding.PEM))
    made.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return made


def _begun(
    name: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
    )


@contextlib.contextmanager
def proxy_to(port: int) -> Iterator[str]:
    """An HTTP proxy whose every CONNECT ends at this port; its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_accept, args=(listener, port, _connect), daemon=True).start()
        with _until_then(listener):
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@contextlib.contextmanager
def behind_tls(made: Certificate, port: int) -> Iterator[int]:
    """A port of 127.0.0.1 that speaks TLS before a server that does not."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        accept = functools.partial(_end_tls, made.context)
        threading.Thread(target=_accept, args=(listener, port, accept), daemon=True).start()
        with _until_then(listener):
            yield int(listener.getsockname()[1])


@contextlib.contextmanager
def _until_then(listener: socket.socket) -> Iterator[None]:
    """Wake the thread that accepts: a socket that is only closed listens on until it returns."""
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)


def _end_tls(context: ssl.SSLContext, client: socket.socket, port: int) -> None:
    with (
        client,
        contextlib.suppress(OSError),
        context.wrap_socket(client, server_side=True) as plain,
    ):
        _join(plain, port)


def _accept(
    listener: socket.socket, port: int, serve: Callable[[socket.socket, int], None]
) -> None:
    with contextlib.suppress(OSError):
        while True:
            client, _ = listener.accept()
            threading.Thread(target=serve, args=(client, port), daemon=True).start()


def _connect(client: socket.socket, port: int) -> None:
    with client, contextlib.suppress(OSError):
        asked = b""
        while b"\r\n\r\n" not in asked:
            if not (content := client.recv(4096)):
                return
            asked += content
        if not asked.startswith(b"CONNECT "):
            client.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            return
        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        _join(client, port)


def _join(client: socket.socket, port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as server:
        back = threading.Thread(target=_pump, args=(server, client), daemon=True)
        back.start()
        _pump(client, server)
        back.join()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while content := source.recv(65536):
            target.sendall(content)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
