"""Decoding into msgspec's structs, safely from several threads.

msgspec (0.22.0) describes a struct's type when it is first decoded, and shows the unfinished
description to other threads: two that begin at once end the process with a segmentation fault.
So each type is described once, under a lock, before it is used.
"""

from __future__ import annotations

import threading
from typing import Any, Final, TypeVar

import msgspec

T = TypeVar("T")

_LOCK: Final = threading.Lock()
_DECODERS: Final[dict[object, msgspec.json.Decoder[Any]]] = {}


def decode(content: bytes | str, kind: type[T]) -> T:
    """JSON as a value of a type.

    Raises:
        msgspec.ValidationError: It is JSON of another kind.
        msgspec.DecodeError: It is no JSON.
    """
    value: T = _decoder(kind).decode(content)
    return value


def convert(value: object, kind: type[T]) -> T:
    """Lists, mappings and scalars as a value of a type.

    Raises:
        msgspec.ValidationError: They are of another kind.
    """
    _decoder(kind)
    return msgspec.convert(value, kind)  # noqa: TID251 - its type is described by now


def _decoder(kind: type[T]) -> msgspec.json.Decoder[T]:
    found = _DECODERS.get(kind)
    if found is None:
        with _LOCK:
            found = _DECODERS.setdefault(kind, msgspec.json.Decoder(kind))
    return found
