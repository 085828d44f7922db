"""`bot.ports.rendering.Renderings`: what came of roots, by their identity, deflated.

Equal identity means equal files, tools and names, so a row never becomes wrong. It lets things be
published, so it carries a proof; what cannot be read, or was not written by this bot, counts as
not there, and losing it costs a rendering.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec
import sqlalchemy as sa

from bot.adapters.store.database import replace, text_of, transaction
from bot.adapters.store.proofs import Proofs, Row
from bot.adapters.store.schema import RENDERING
from bot.domain.memory import Scope
from bot.domain.rendering import Rendering
from bot.formats.structs import decode
from bot.ports.clock import Clock

_AT_ONCE: Final = 500  # values of one query
_KEPT: Final = 4
"""Renderings of one root: what is published, what is to be, and two that were."""
_LARGEST: Final = 16 * 2**20  # bytes of one, inflated


@dataclass(frozen=True, slots=True)
class RenderingStore:
    """The renderings in one database; every method raises UnavailableError without an answer."""

    database: sa.Engine
    proofs: Proofs
    clock: Clock

    def known(self, identities: Collection[str]) -> Mapping[str, Rendering]:
        """What came of the roots of these identities, as far as that is known."""
        found: dict[str, Rendering] = {}
        wanted = sorted(identities)
        with transaction(self.database) as connection:
            for begin in range(0, len(wanted), _AT_ONCE):
                some = wanted[begin : begin + _AT_ONCE]
                query = sa.select(RENDERING).where(RENDERING.c.identity.in_(some))
                for row in connection.execute(query):
                    rendering = self._read(row)
                    if rendering is not None:
                        found[row.identity] = rendering
        return found

    def _read(self, row: Row) -> Rendering | None:
        if not self.proofs.holds(RENDERING, row):
            return None
        stream = zlib.decompressobj()
        try:
            document = stream.decompress(row.document, _LARGEST)
            return decode(document, Rendering) if stream.eof else None
        except (zlib.error, msgspec.DecodeError):
            return None

    def record_rendering(self, scope: Scope, root: str, identity: str, found: Rendering) -> None:
        """Keep it; of one root of an environment the newest few are kept."""
        values: dict[str, object] = {
            "identity": identity,
            "manifests": scope.manifests,
            "environment": scope.environment,
            "root": root,
            "at": text_of(self.clock.now()),
            "document": zlib.compress(msgspec.json.encode(found)),
        }
        values["proof"] = self.proofs.of(RENDERING, values)
        same = sa.and_(
            RENDERING.c.manifests == scope.manifests,
            RENDERING.c.environment == scope.environment,
            RENDERING.c.root == root,
        )
        newest = sa.select(RENDERING.c.identity).where(same).order_by(RENDERING.c.at.desc())
        with transaction(self.database) as connection:
            replace(connection, RENDERING, values, ("identity",))
            kept = list(connection.execute(newest.limit(_KEPT)).scalars())
            connection.execute(
                RENDERING.delete().where(same, RENDERING.c.identity.not_in([*kept, identity]))
            )
