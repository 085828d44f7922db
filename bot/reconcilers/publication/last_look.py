"""The last look at what a publication would write: no image of ours in it that nobody sealed.

Asked of the new tree itself, after everything was decided: its places, what speaks of our images
and is no place, and what comes of it when kustomize and Helm put it together. What the last
publication shows may stay; what ran before the first one, somebody took over.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from bot.domain.environments import Unmanaged
from bot.domain.errors import IntegrityError, RejectedError
from bot.domain.oci import Digest
from bot.domain.publication import LocationKey
from bot.domain.rendering import Rendered, RenderedImage, reasons
from bot.facts.loose_digests import unsealed
from bot.facts.ref_snapshot import RefSnapshot, may_show
from bot.facts.renderings import render
from bot.formats.foreign_images import is_allowed
from bot.formats.image_names import ImageField
from bot.formats.markdown import code, prose

LISTED: Final = 20
"""Images, and roots that are not rendered, that are named one by one."""


def check_places(snapshot: RefSnapshot, tree: str) -> None:
    """Read the new tree as Argo CD will, and prove every digest once more."""
    trusted = snapshot.pins(snapshot.last.commit) if snapshot.last else {}
    for place, pin in snapshot.pins(tree).items():
        if trusted.get(place) != pin and not may_show(snapshot, pin, place):
            raise IntegrityError(
                f"the publication of {snapshot.environment.name} would show {pin} in {place.path}, "
                "which is not sealed; nothing was written"
            )


def unproven_mentions(snapshot: RefSnapshot, tree: str) -> list[str]:
    """What names an image of ours in the new tree, is no place, and was not there before."""
    if not snapshot.environment.signs:
        return []
    known = snapshot.mentions(snapshot.last.commit) if snapshot.last else {}
    return [
        words
        for (path, identity), words in snapshot.mentions(tree).items()
        if (path, identity) not in known and snapshot.waiting(path, {identity: words})
    ]


def unsealed_in_render(snapshot: RefSnapshot) -> list[str]:
    """Images in what comes of the tree that are neither sealed nor shown already."""
    rendered = snapshot.rendered or Rendered()
    wrong: dict[tuple[str, RenderedImage], str] = {}
    for root, image, why in _wrong_in_render(snapshot, rendered):
        wrong.setdefault((root, image), why)
    if not (wrong or rendered.faults):
        return []
    before = _shown_before(snapshot)
    shown = {(one.object, one.written) for _, one in (*before.ours, *before.foreign)}
    known = {fault for _, fault in before.faults}
    return [
        *(
            f"{image}, from {root}: {why}"
            for (root, image), why in wrong.items()
            if (image.object, image.written) not in shown
        ),
        *(f"{fault} (from {root})" for root, fault in rendered.faults if fault not in known),
    ]


def _wrong_in_render(
    snapshot: RefSnapshot, rendered: Rendered
) -> Iterator[tuple[str, RenderedImage, str]]:
    environment, known = snapshot.environment, _known_pins(snapshot)
    for root, image in rendered.ours:
        written = ImageField.parse(image.written)
        says_which = image.is_run or written.tag or written.digest
        # Another variant is promoted by nobody, so only a seal that is asked of all keeps it out.
        counts = environment.signs or (image.is_managed and says_which)
        place = LocationKey(root, image.application, image.image, 0)
        if counts and image.written not in known and not may_show(snapshot, image.written, place):
            yield root, image, f"{image.image} is not sealed for {environment.name}{_whose(image)}"
    foreign = {one: ImageField.parse(one.written).digest for _, one in rendered.foreign}
    digests = [Digest(one) for one in foreign.values() if _is_digest(one)]
    known_ours = unsealed(snapshot.view, environment, digests) if environment.signs else {}
    for root, image in rendered.foreign:
        ours = known_ours.get(Digest(foreign[image])) if _is_digest(foreign[image]) else None
        if ours is not None:
            yield root, image, f"its digest is {ours}'s, which is not sealed for {environment.name}"
    for root, image in rendered.unmanaged if environment.unmanaged is Unmanaged.HOLD else ():
        if not is_allowed(image.written, environment.allow_images):
            yield root, image, "nobody manages it, and `unmanaged: hold` stands"


def _whose(image: RenderedImage) -> str:
    return "" if image.is_managed else "; its tag is no variant that is promoted (`tag_match`)"


def _is_digest(text: str) -> bool:
    try:
        return bool(text and Digest(text))
    except RejectedError:
        return False


def _known_pins(snapshot: RefSnapshot) -> frozenset[str]:
    """What the last publication shows at its places, in one spelling."""
    pins = snapshot.pins(snapshot.last.commit).values() if snapshot.last else ()
    found = [ImageField.parse(pin) for pin in pins]
    return frozenset(str(ImageField(one.canonical, one.tag, one.digest)) for one in found)


def _shown_before(snapshot: RefSnapshot) -> Rendered:
    """Everything that comes of the last publication."""
    if snapshot.last is None:
        return Rendered()
    return render(snapshot.view, snapshot.environment, snapshot.last.commit)


def rendering_words(snapshot: RefSnapshot) -> str:
    """What was rendered, what was not and why, and what nobody manages."""
    rendered = snapshot.rendered or Rendered()
    done = len(rendered.renderings) - len(rendered.not_rendered)
    parts = []
    if done:
        count = len({(one.object, one.written) for _, one in rendered.ours})
        parts.append(f"Rendered: {done} roots with {count} images of ours.")
    if rendered.not_rendered:
        lines = "\n".join(f"- {prose(one, 300)}" for one in reasons(rendered, LISTED))
        parts.append(f"**Not rendered**, so nobody knows what comes of it:\n\n{lines}")
    foreign = _foreign_words(snapshot, rendered)
    return "\n\n".join([*parts, *([foreign] if foreign else [])])


def _foreign_words(snapshot: RefSnapshot, rendered: Rendered) -> str:
    environment = snapshot.environment
    if environment.unmanaged is Unmanaged.IGNORE:
        return ""
    found = sorted({one.written for _, one in rendered.unmanaged})
    foreign = [one for one in found if not is_allowed(one, environment.allow_images)]
    if not foreign:
        return ""
    shown = ", ".join(code(one) for one in foreign[:LISTED])
    more = f" and {len(foreign) - LISTED} more" if len(foreign) > LISTED else ""
    return f"Images that nobody manages: {shown}{more}."


def record_rendered(snapshot: RefSnapshot, commit: str) -> None:
    """Enter into the audit what was rendered of a publication, before it is visible."""
    rendered = snapshot.rendered or Rendered()
    missing = reasons(rendered, LISTED)
    facts = {
        "commit": commit,
        "roots": str(len(rendered.renderings)),
        "not rendered": "; ".join(missing)[:2000],
    }
    if rendered.renderings:
        scope = snapshot.view.scope(snapshot.environment.name)
        once = f"rendered:{snapshot.view.id}:{commit}"
        snapshot.view.ports.audit.append("rendered", scope, facts, once=once)
