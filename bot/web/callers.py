"""Who asks the operator's listener, and by which name."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address
from urllib.parse import urlsplit


def is_named(asked: str, host: str) -> bool:
    """Whether a request's ``Host`` is the board's: its own name, or this machine's."""
    name = (urlsplit(f"//{asked}").hostname or "").lower()
    return name in {"localhost", host.lower()} - {""} or is_loopback(name)


def is_loopback(address: str) -> bool:
    """Whether an address is this machine's own."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return (mapped or parsed).is_loopback
