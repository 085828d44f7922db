"""``floor.json`` of a grant: what the pipeline file may not go below.

>>> read_floor(b'{"sign": true, "approvals": {"count": 1}}', "prod/floor.json")
Floor(signs=True, approvals=Approvals(count=1, teams=()), source='', ref='')
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from bot.domain.environments import Approvals
from bot.domain.errors import ConfigurationError
from bot.domain.floors import Floor
from bot.formats import structs

_Count = Annotated[int, msgspec.Meta(ge=0, le=100)]
_Team = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9-]{1,39}/[A-Za-z0-9._-]{1,100}$")]


class _Approvals(msgspec.Struct, forbid_unknown_fields=True):
    count: _Count = 1
    teams: tuple[_Team, ...] = ()


class _Floor(msgspec.Struct, forbid_unknown_fields=True):
    sign: bool = False
    approvals: _Approvals | None = None
    from_: str = msgspec.field(name="from", default="")
    ref: str = ""


def read_floor(content: bytes, file: str) -> Floor:
    """Read the file; a key that it does not know is a mistake, never nothing.

    Raises:
        ConfigurationError: it is not that.
    """
    try:
        found = structs.decode(content, _Floor)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        remedy = 'for example {"sign": true, "approvals": {"count": 1, "teams": ["acme/x"]}}'
        raise ConfigurationError(file, None, f"is no floor: {error}", remedy) from error
    asked = found.approvals
    approvals = Approvals(asked.count, asked.teams) if asked else None
    return Floor(found.sign, approvals, found.from_, found.ref)
