"""What proves rows in tests."""

from __future__ import annotations

from typing import Final

from bot.adapters.store import Proofs

PROOFS: Final = Proofs((b"of the tests",))
