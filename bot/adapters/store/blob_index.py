"""`bot.ports.git.BlobIndex`: what was found in files, by blob, so that no process finds it again.

A row is a function of its blob and of the reader's version, so it is never out of date and a copy
of it says nothing else. It carries a proof over all three: who writes to the database cannot hide a
file from the bot. A row that proves nothing counts as not there; what is found anew replaces it.

Rows are forgotten by age, the oldest first, and all of them at once with a new version; losing one
costs reading a file.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from bot.adapters.store.database import all_replaced, transaction
from bot.adapters.store.proofs import Proofs
from bot.adapters.store.schema import BLOB

ROW_LIMIT: Final = 200_000
"""Rows that are kept: about 50 MB."""
_AT_ONCE: Final = 5_000
"""Blobs that are asked for in one query."""


@dataclass(frozen=True, slots=True)
class BlobStore:
    """The index in one database; every method raises UnavailableError without an answer."""

    database: sa.Engine
    proofs: Proofs

    def known(self, version: int, blobs: Collection[str]) -> Mapping[str, bytes]:
        """What that version of the reader kept of these; of some nothing may be kept."""
        if not self.proofs.keys:
            return {}
        found: dict[str, bytes] = {}
        for some in _pieces(blobs):
            query = sa.select(BLOB.c.blob, BLOB.c.said, BLOB.c.proof).where(
                BLOB.c.version == version, BLOB.c.blob.in_(some)
            )
            with transaction(self.database) as connection:
                rows = connection.execute(query).all()
            found |= {
                blob: said for blob, said, proof in rows if self._holds(version, blob, said, proof)
            }
        return found

    def keep(self, version: int, rows: Mapping[str, bytes]) -> None:
        """Keep what was found; rows of other versions, and the oldest beyond the limit, go."""
        if not (self.proofs.keys and rows):
            return
        key = self.proofs.keys[0]
        values = [
            {
                "blob": blob,
                "version": version,
                "said": said,
                "proof": _proof(key, version, blob, said),
            }
            for blob, said in rows.items()
        ]
        with transaction(self.database) as connection:
            all_replaced(connection, BLOB, values, ("blob",))
            newest = sa.select(sa.func.max(BLOB.c.number)).scalar_subquery()
            connection.execute(BLOB.delete().where(BLOB.c.number <= newest - ROW_LIMIT))
            connection.execute(BLOB.delete().where(BLOB.c.version != version))

    def _holds(self, version: int, blob: str, said: object, proof: object) -> bool:
        """Whether this bot wrote the row; SQLite gives back whatever kind somebody put in."""
        if isinstance(said, bytes) and isinstance(proof, bytes):
            proven = (_proof(key, version, blob, said) for key in self.proofs.keys)
            if any(hmac.compare_digest(proof, one) for one in proven):
                return True
        self.proofs.refuse(BLOB.name, blob)
        return False


def _pieces(blobs: Collection[str]) -> Iterator[list[str]]:
    every = list(blobs)
    for start in range(0, len(every), _AT_ONCE):
        yield every[start : start + _AT_ONCE]


def _proof(key: bytes, version: int, blob: str, said: bytes) -> bytes:
    return hmac.digest(key, f"lockkeeper blob\0{version}\0{blob}\0".encode() + said, "sha256")
