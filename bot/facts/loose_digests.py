"""Digests of ours that stand where no place is known: under a mirror's name, or under none.

A file's places and mentions are found by the names of image repositories. A digest that was
resolved for an image of ours is that image under whatever name it stands, so one that is not
sealed for the environment is a mention like any other.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from bot.domain.environments import Environment, ImageId
from bot.domain.oci import Digest
from bot.facts.seals import is_sealed
from bot.facts.snapshot import View
from bot.formats.manifest_file import digests_in, is_manifest_file
from bot.formats.places import Remark, RemarkKind


def loose_digests(view: View, environment: Environment, commit: str, path: str) -> list[Remark]:
    """The digests of one file at a commit that are ours, belong to no place and are not sealed."""
    if not is_manifest_file(path) or not environment.owns(path):
        return []
    entry = view.history.paths(commit).get(path) if commit else None
    if entry is None or not entry.is_file:
        return []
    placed = {
        location.written.digest
        for location in view.files(commit, environment).reading(path).locations
    }
    found = {
        digest: where
        for digest, where in digests_in(path, view.text(entry.blob)).items()
        if digest not in placed
    }
    return [
        Remark(
            RemarkKind.MENTION,
            path,
            found[str(digest)][0],
            f"a digest of {image}, where no place is known",
            found[str(digest)][1],
            str(digest),
            image,
        )
        for digest, image in unsealed(view, environment, [Digest(one) for one in found]).items()
    ]


def unsealed(
    view: View, environment: Environment, digests: Collection[Digest]
) -> Mapping[Digest, ImageId]:
    """Those that were resolved for an image of ours and are not sealed here -> whose they are."""
    known = view.ports.memory.known_digests(view.id, digests) if digests else {}
    return {
        digest: image
        for digest, image in known.items()
        if image.application in view.pipeline.applications
        and not is_sealed(view, environment, image, digest)
    }
