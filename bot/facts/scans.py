"""Which look lets a scanner see an image."""

from __future__ import annotations

from bot.domain.environments import Environment, ImageId
from bot.domain.jobs import Job, JobKind
from bot.domain.oci import Digest
from bot.facts.snapshot import View

_LANE = "scanner"
"""One image at a time, whatever waits: a scanner takes all the processor that it gets."""


def scan_job(view: View, environment: Environment, image: ImageId, digest: Digest) -> Job:
    """The look that lets a scanner see an image."""
    subject = f"{image}@{digest}"
    return Job(JobKind.SCAN, view.id, environment.name, subject, lane=_LANE)
