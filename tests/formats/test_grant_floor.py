from __future__ import annotations

import pytest

from bot.domain.environments import Approvals
from bot.domain.errors import ConfigurationError
from bot.domain.floors import Floor
from bot.formats.grant_floor import read_floor


def test_every_key_is_read() -> None:
    approvals = b'"approvals": {"count": 2, "teams": ["acme/x"]}'
    content = b'{"sign": true, "from": "a", "ref": "env/b", ' + approvals + b"}"

    assert read_floor(content, "f") == Floor(
        signs=True, approvals=Approvals(2, ("acme/x",)), source="a", ref="env/b"
    )
    assert read_floor(b"{}", "f") == Floor()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b'{"signs": true}',
        b'{"approvals": {"counts": 2}}',
        b'{"approvals": {"count": -1}}',
        b'{"approvals": {"teams": ["release-managers"]}}',
        b"\xff",
        b"[" * 100_000,
    ],
)
def test_what_is_no_floor_is_never_none(content: bytes) -> None:
    with pytest.raises(ConfigurationError, match="f: is no floor"):
        read_floor(content, "f")
