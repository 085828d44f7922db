"""Which file of one environment is which of another: `envs/stage/a.yaml` is `envs/prod/a.yaml`.

Nothing is configured: the two environments' `manifests` say it, where a glob of one has the shape
of a glob of the other and only fixed text differs.
"""

from __future__ import annotations

from collections.abc import Sequence

from bot.domain.environments import Environment, matches


def counterpart(path: str, here: Environment, there: Environment) -> str | None:
    """The path in `there` that stands for a path of `here`; None: nothing says which one.

    ``envs/stage/**`` and ``envs/prod/**`` pair, as ``apps/*/stage.yaml`` and ``apps/*/prod.yaml``
    do. Two pairs of globs that say different paths say nothing.
    """
    found = {
        _moved(path.split("/"), glob.split("/"), twin.split("/"))
        for glob in here.manifests
        for twin in there.manifests
        if matches(glob, path) and _pairs(glob.split("/"), twin.split("/"))
    }
    only = found.pop() if len(found) == 1 else None
    return only if only and there.owns(only) else None


def have_counterparts(here: Environment, there: Environment) -> bool:
    """Whether any file of `here` has one in `there`."""
    return any(
        _pairs(one.split("/"), other.split("/"))
        for one in here.manifests
        for other in there.manifests
    )


def _pairs(glob: Sequence[str], twin: Sequence[str]) -> bool:
    """Whether two globs have one shape: `**` stands as a whole segment, once at most, in both."""
    return (
        len(glob) == len(twin)
        and glob.count("**") <= 1
        and all(one == "**" or "**" not in one for one in (*glob, *twin))
        and all(_alike(one, other) for one, other in zip(glob, twin, strict=True))
    )


def _alike(segment: str, twin: str) -> bool:
    """The same pattern; or fixed texts, or one star each with other text around it."""
    if segment == twin:
        return True
    if "**" in (segment, twin) or "?" in segment + twin:
        return False
    return segment.count("*") == twin.count("*") <= 1


def _moved(path: Sequence[str], glob: Sequence[str], twin: Sequence[str]) -> str:
    """A path that one glob matches, as the other glob of that shape has it."""
    at = glob.index("**") if "**" in glob else len(glob)
    behind = max(0, len(glob) - at - 1)
    end = len(path) - behind
    head = map(_segment, path[:at], glob[:at], twin[:at])
    tail = map(_segment, path[end:], glob[at + 1 :], twin[at + 1 :])
    return "/".join([*head, *path[at:end], *tail])


def _segment(text: str, pattern: str, twin: str) -> str:
    """One segment of a path, as the other pattern has it."""
    if pattern == twin:
        return text
    before, star, after = pattern.partition("*")
    own = text[len(before) : len(text) - len(after)] if star else ""
    return twin.replace("*", own)
