"""A machine that does not let the bot's user look."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.adapters.premises import LocalPremises
from bot.adapters.store import inspect
from bot.domain.doctor.environments import GrantsFolder
from bot.domain.errors import RejectedError
from tests.world.permissions import closed
from tests.world.scanners import open_folder


def premises(data: Path) -> LocalPremises:
    return LocalPremises(
        data,
        lambda: inspect(f"sqlite:///{data}/lockkeeper.db", {}),
        lambda: GrantsFolder(str(data), exists=False),
    )


@pytest.mark.parametrize("place", ["state", "state/data"])
def test_a_folder_that_may_not_be_looked_at_is_a_refusal_and_no_bug(place: str) -> None:
    with open_folder() as base:
        data = base / "state" / "data"
        data.mkdir(parents=True)
        (base / "state").chmod(0o755)
        machine = premises(data)

        with closed(base / place) as user:
            with pytest.raises(RejectedError, match="Permission denied"):
                machine.write()
            with pytest.raises(RejectedError, match=f"Permission denied.*user {user}"):
                machine.database()
