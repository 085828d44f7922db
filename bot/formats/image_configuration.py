"""The config of an image (OCI image-spec, config.md), as scanners copy it into their reports."""

from __future__ import annotations

from datetime import date
from typing import Final

from bot.domain.image_configuration import ImageConfiguration
from bot.formats.lax_document import Lax, Text, day

_FIRST_IMAGES: Final = 2013  # the year of the first container images of this kind


class _Run(Lax):
    """``config`` of an image's config: how it runs."""

    User: Text = None
    Entrypoint: list[str] | None = None
    Cmd: list[str] | None = None
    ExposedPorts: dict[str, object] | None = None
    Env: list[str] | None = None
    Labels: dict[str, str] | None = None


class _Made(Lax):
    created: Text = None


class Config(Lax):
    """As far as it is read here."""

    architecture: Text = None
    os: Text = None
    variant: Text = None
    created: Text = None
    config: _Run | None = None
    history: list[_Made] | None = None

    @property
    def platform(self) -> str:
        """``linux/arm/v7``; empty where it does not say."""
        if not self.architecture:
            return ""
        return "/".join(
            part for part in (self.os or "linux", self.architecture, self.variant) if part
        )


def image_configuration(config: Config | None) -> ImageConfiguration | None:
    """How an image runs; None where the document does not say."""
    if config is None or config.config is None:
        return None
    run = config.config
    return ImageConfiguration(
        user=run.User or "",
        entrypoint=tuple(run.Entrypoint or ()),
        command=tuple(run.Cmd or ()),
        ports=frozenset(run.ExposedPorts or ()),
        variables=frozenset(one.partition("=")[0] for one in run.Env or ()),
        labels=run.Labels or {},
        created=day(config.created),
        base_created=_base_created(config),
    )


def _base_created(config: Config) -> date | None:
    """By the oldest entry of its history; builds that are reproducible write an early day there."""
    first = day(config.history[0].created) if config.history else None
    return first if first and first.year >= _FIRST_IMAGES else None
