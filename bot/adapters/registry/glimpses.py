"""What a tag names, looked at beside something else that takes as long.

An answer serves once and not for long: whoever writes a tag that may not move has to know what it
names now. A look that fails is none; whoever needs it asks again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from bot.domain.errors import LockkeeperError
from bot.domain.oci import Digest, ImageRepository, TagReference

if TYPE_CHECKING:
    from bot.ports.clock import Clock

_LIFE: Final = timedelta(seconds=20)

Named = dict[TagReference, Digest | None]
"""None: it names nothing."""


class Glimpses:
    """What tags named a moment ago; safe to use from several threads."""

    def __init__(self, clock: Clock, look: Callable[[TagReference], Digest | None]) -> None:
        """Have seen nothing yet; ``look`` asks."""
        self._clock, self._look = clock, look
        self._seen: dict[TagReference, tuple[Digest | None, datetime]] = {}

    @contextmanager
    def beside(self, repository: ImageRepository, tags: Sequence[str]) -> Iterator[Named]:
        """Look while something else is done; the answers are there at the end of it."""
        found: Named = {}
        wanted = [repository.tagged(tag) for tag in tags]
        if not wanted:
            yield found
            return
        with ThreadPoolExecutor(len(wanted)) as pool:
            looks = [pool.submit(self._look, one) for one in wanted]
            yield found
            for one, look in zip(wanted, looks, strict=True):
                with suppress(LockkeeperError):
                    found[one] = look.result()

    def keep(self, found: Named) -> None:
        """For whoever writes these tags next."""
        now = self._clock.now()
        self._seen |= {one: (named, now) for one, named in found.items()}

    def has(self, reference: TagReference) -> bool:
        """Whether it was looked at a moment ago."""
        return reference in self._seen and self._is_new(self._seen[reference][1])

    def named(self, reference: TagReference) -> Digest | None:
        """What the tag names: as just seen, else asked now."""
        named, at = self._seen.pop(reference, (None, None))
        return named if at is not None and self._is_new(at) else self._look(reference)

    def _is_new(self, at: datetime) -> bool:
        return timedelta(0) <= self._clock.now() - at <= _LIFE
