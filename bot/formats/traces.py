"""What a file's bytes say of images before anybody knows whose: traces, independent of names.

A reference is spelled in many ways, and each leaves the words of its repository in the file: the
name of the registry's host, and the last step of the path. Where none of a pipeline's words stand,
nothing of it stands; where they do, the file is read. What may hide words (escapes, tags, UTF-16,
texts that are put together) is *opaque* and always read.

    traces = traces_of(content)        # once for each blob, kept
    Names(...).meet(traces)            # for each pipeline: may something of it stand there?

Words are kept as 32 bits of a hash: they are compared and never shown, and a manifest may hold
what is nobody's to read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from struct import pack
from typing import Final
from zlib import crc32

VERSION: Final = 4
"""Of what is looked for; what an older one found is looked for anew."""
_WIDTH: Final = 4
"""Bytes of a word."""
_FEW: Final = 16
"""Words that are searched for rather than looked up."""
_FLAGS: Final = 7
_HIDING: Final = (b"\\", b"!!", b"!<", b"!binary", b"%TAG", b"\x00")
"""Signs of a name in other characters."""
_JOINING: Final = (b"tagsuffix",)
"""Keys whose value is a part of a tag, so of a name that is put together."""
MOST_WORDS: Final = 20_000
"""Of one file; one with more is read whoever asks."""
_SPLIT: Final = (b"image", b"registry", b"repository")
"""Keys below which a name may stand alone, or without its host: there every word counts."""
_ENTRIES: Final = (b"images", b"imagetag")
"""Keys below which a bare name means an image."""
_CHARTS: Final = (b"argoproj.io/", b"helm.toolkit.fluxcd.io/", b"valueFiles")
"""Groups of objects that name values files, and the key that does so anywhere."""
_KEPT: Final = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/:")
_SPACES: Final = bytes(one if one in _KEPT else 32 for one in range(256))
_JOINT: Final = re.compile(rb"[./]")
_LOWER: Final = re.compile(rb"[a-z0-9._-]+")
_DIGEST: Final = re.compile(rb"sha(?:256:[0-9a-f]{64}|512:[0-9a-f]{128})")
# A path that ends within a word, where a host begins: both are found, though nothing is between.
_GLUED: Final = re.compile(rb"/[a-z0-9._-]+[A-Z][A-Za-z0-9_-]*[.:]")


@dataclass(frozen=True, slots=True)
class Traces:
    """What a file may name, as hashes of words."""

    words: bytes = b""
    """Sorted, `_WIDTH` bytes each."""
    has_entries: bool = False
    """Bare names may mean images."""
    is_opaque: bool = False
    """Names may stand there in other characters: it has to be read."""
    has_charts: bool = False
    """An object may say which files are Helm values, or patch them."""

    @property
    def encoded(self) -> bytes:
        """As it is kept."""
        flags = self.has_entries | self.is_opaque << 1 | self.has_charts << 2
        return bytes([flags]) + self.words

    @classmethod
    def decoded(cls, row: bytes) -> Traces:
        """The same from there; what was not written by `encoded` says nothing, so all is read."""
        if not row or row[0] > _FLAGS or len(row) % _WIDTH != 1:
            return cls(is_opaque=True)
        return cls(row[1:], bool(row[0] & 1), bool(row[0] & 2), bool(row[0] & 4))

    def have_any(self, words: frozenset[bytes]) -> bool:
        """Whether one of these, of `as_words`, may stand there."""
        own = self.words
        if len(words) <= _FEW:  # one that is found across two says too much, which it may
            return any(word in own for word in words)
        return any(own[i : i + _WIDTH] in words for i in range(0, len(own), _WIDTH))


def as_words(texts: Iterable[str]) -> frozenset[bytes]:
    """Texts as they are compared: names of hosts without port, steps of paths, digests."""
    return frozenset(_word(text.encode()) for text in texts)


def traces_of(content: bytes) -> Traces:
    """Everything that a file may name."""
    lower = content.lower()
    if _may_hide(content, lower):
        return Traces(is_opaque=True)
    words = sorted({crc32(word) for word in _words(content, lower)})
    if len(words) > MOST_WORDS:
        return Traces(is_opaque=True)
    has_entries = any(key in lower for key in _ENTRIES)
    has_charts = any(group in content for group in _CHARTS)
    return Traces(pack(f">{len(words)}I", *words), has_entries, has_charts=has_charts)


def _may_hide(content: bytes, lower: bytes) -> bool:
    return (
        any(sign in content for sign in _HIDING)
        or any(key in lower for key in _JOINING)
        or _GLUED.search(content) is not None
    )


def _words(content: bytes, lower: bytes) -> Iterable[bytes]:
    """Words that can be a part of a name: those with a dot or a slash, or all of them.

    Hosts in lower case, and steps of paths, which end where lower case ends.
    """
    flat = content.translate(_SPACES)
    every = any(key in lower for key in _SPLIT)
    runs = set(flat.split() if every else _jointed(flat))
    joined = b"/".join(runs).replace(b":", b"/")
    low = joined.lower()
    words = set(low.split(b"/"))
    if low != joined:
        words.update(_LOWER.findall(joined))
    found = {word.strip(b"._-") for word in words}
    if b"sha" in lower:
        found.update(_DIGEST.findall(lower))
    return found


def _jointed(flat: bytes) -> Iterator[bytes]:
    """The runs with a dot or a slash, between spaces."""
    joint = _JOINT.search(flat)
    while joint is not None:
        start = flat.rfind(b" ", 0, joint.start()) + 1
        end = flat.find(b" ", joint.end())
        end = len(flat) if end < 0 else end
        yield flat[start:end]
        joint = _JOINT.search(flat, end)


def _word(text: bytes) -> bytes:
    return pack(">I", crc32(text))
