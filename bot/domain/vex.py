"""VEX: an author's word on whether a vulnerability matters in a product (OpenVEX 0.2.0).

Whose word counts is decided before; here only what it says about which installation of which
image. Whatever a statement says of its product has to hold: a repository, tag, processor or
digest that differs, or that nobody knows, makes it a word about something else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from bot.domain.evidence import Finding, FindingKey, Scan, Suppression, repository_of
from bot.domain.packages import PackageClass, Purl, read_purl
from bot.domain.version_ranges import is_version

_EARLIEST: Final = datetime.min.replace(tzinfo=UTC)
_LATEST: Final = datetime.max.replace(tzinfo=UTC)
_SUPPRESSING: Final = frozenset({"fixed", "not_affected"})
_IMAGE_TYPES: Final = frozenset({"oci", "docker"})
_HUB: Final = ("index.docker.io/", "docker.io/", "library/")


@dataclass(frozen=True, slots=True)
class VexProduct:
    """A product, and the components of it that a statement is about."""

    name: str
    """A package URL, as a rule."""
    components: tuple[str, ...] = ()
    """Empty: the whole product."""
    digests: frozenset[str] = frozenset()
    """``sha256:...`` of it, where the document gives some."""
    versions: tuple[str, ...] = ()
    """Of the product: each one, or a range of them (``vers:npm/<2``); empty: any."""


@dataclass(frozen=True, slots=True)
class VexStatement:
    """One statement of a document."""

    vulnerabilities: frozenset[str]
    """The name and its aliases."""
    products: tuple[VexProduct, ...]
    status: str
    reason: str
    author: str
    at: datetime | None = None
    flaw: str = ""
    """Why it is none by the rules of its own format, and what would mend it; empty: it is one."""

    @property
    def label(self) -> str:
        """It, for people."""
        products = ", ".join(product.name for product in self.products[:2]) or "no product"
        return f"VEX {self.status} of {min(self.vulnerabilities)} in {products} by {self.author}"


@dataclass(frozen=True, slots=True)
class VexAnswer:
    """What statements say about one scan."""

    suppressed: dict[FindingKey, Suppression] = field(default_factory=dict)
    used: frozenset[VexStatement] = frozenset()
    """Those that are about something in the image."""


def vex_answer(
    statements: Sequence[VexStatement], scan: Scan, accepted: frozenset[str]
) -> VexAnswer:
    """The findings of a single scan that do not count: by the last word about each installation.

    A finding is suppressed only where such a word covers every one of its installations. What is
    no statement by the rules of its format says nothing, and replaces none that is one.
    """
    if not statements:
        return VexAnswer()
    # A later statement about the same thing replaces an earlier one (OpenVEX, "Updating"); of two
    # that contradict each other at one time, the open one counts.
    ordered = sorted(statements, key=_place_in_time)
    said: dict[tuple[FindingKey, Purl], VexStatement] = {}
    used: set[VexStatement] = set()
    by_name: dict[str, list[Finding]] = {}
    for finding in scan.findings.values():
        for name in {finding.vulnerability, *finding.aliases}:
            by_name.setdefault(name, []).append(finding)
    for statement in ordered:
        about = {f.key: f for name in statement.vulnerabilities for f in by_name.get(name, ())}
        for finding in about.values():
            for one in finding.installations:
                if _is_about(statement, one, scan):
                    used.add(statement)
                    if not statement.flaw:
                        said[finding.key, one] = statement
    suppressed: dict[FindingKey, Suppression] = {}
    for key, finding in scan.findings.items():
        words = [said.get((key, one)) for one in finding.installations]
        last = words[-1]
        if last is not None and all(word and word.status in accepted for word in words):
            suppressed[key] = Suppression(
                finding, f"VEX {last.status} by {last.author}", last.reason, is_of_image=True
            )
    return VexAnswer(suppressed, frozenset(used))


def _place_in_time(statement: VexStatement) -> tuple[datetime, bool]:
    """Where no time tells which word is the later one, it is the one that suppresses nothing."""
    is_open = statement.status not in _SUPPRESSING
    return statement.at or (_LATEST if is_open else _EARLIEST), is_open


def _is_about(statement: VexStatement, installed: Purl, scan: Scan) -> bool:
    return any(
        _matches(product, installed, scan) and _is_of_version(statement, product, installed, scan)
        for product in statement.products
    )


def _is_of_version(
    statement: VexStatement, product: VexProduct, installed: Purl, scan: Scan
) -> bool:
    """Whether it speaks of this version; where nobody can tell, a word that suppresses does not."""
    if not product.versions:
        return True
    purl = read_purl(product.name)
    said: set[bool | None]
    if purl is None or purl.package.type in _IMAGE_TYPES:
        known = {_tag_of(scan.image), *scan.digests, scan.image_id} - {""}
        said = {None if one[:5] == "vers:" else one in known for one in product.versions}
    else:
        kind, name = installed.package.type, installed.package.name
        said = {is_version(kind, one, installed.version, name=name) for one in product.versions}
    return True in said or (None in said and statement.status not in _SUPPRESSING)


def _matches(product: VexProduct, installed: Purl, scan: Scan) -> bool:
    purl = read_purl(product.name)
    if purl is not None and purl.package.type not in _IMAGE_TYPES:
        return not product.components and covers(purl, installed, scan)
    if not _is_image(product, purl, scan):
        return False
    if not product.components:
        return True
    components = [found for name in product.components if (found := read_purl(name))]
    return any(covers(component, installed, scan) for component in components)


def covers(purl: Purl, installed: Purl, scan: Scan) -> bool:
    """Whether a package URL names what is installed in this image; without a version, each."""
    return purl.covers(_completed(installed, purl, scan))


def _completed(installed: Purl, asked: Purl, scan: Scan) -> Purl:
    """The installation with what the scan of its image says of it, where its own name does not."""
    if not asked.qualifiers:
        return installed
    known = dict(installed.qualifiers)
    if installed.package.package_class is PackageClass.OS:
        known.setdefault("arch", scan.platform.partition("/")[2].partition("/")[0])
        known.setdefault("distro", scan.operating_system.replace(" ", "-"))
    wanted = asked.qualifier("distro")
    if wanted and known.get("distro", "").startswith(f"{wanted}."):
        known["distro"] = wanted  # debian-12 is every debian-12.x
    return installed._replace(qualifiers=tuple(sorted(known.items())))


def _is_image(product: VexProduct, purl: Purl | None, scan: Scan) -> bool:
    """Whether a product is the image that was scanned: by digest, else by its whole name."""
    digests = {*scan.digests, scan.image_id} - {""}
    if product.digests and not product.digests & digests:
        return False
    if purl is None:
        is_named = product.name in digests or (bool(scan.image) and product.name == scan.image)
        return is_named or bool(product.digests)
    architecture = purl.qualifier("arch")
    if architecture and architecture != scan.platform.partition("/")[2].partition("/")[0]:
        return False
    if purl.version.startswith("sha256:") or product.digests:
        return bool(product.digests) or purl.version in digests
    tag = purl.qualifier("tag") or purl.version
    if tag and tag != _tag_of(scan.image):
        return False
    return any(_is_repository(purl, one) for one in (scan.repository, *scan.places))


def _is_repository(purl: Purl, scanned: str) -> bool:
    """Whether a package URL names a repository; one that does not say where names it anywhere."""
    name = "/".join(part for part in (purl.package.namespace, purl.package.name) if part)
    url = purl.qualifier("repository_url").removeprefix("https://").rstrip("/")
    if not url:
        return f"/{scanned.lower()}".endswith(f"/{name.lower()}")
    whole = url if url == name or url.endswith(f"/{name}") else f"{url}/{name}"
    return _hub_name(whole) == _hub_name(scanned)


def _hub_name(repository: str) -> str:
    """A repository without what Docker leaves out of its own names."""
    for prefix in _HUB:
        repository = repository.removeprefix(prefix)
    return repository


def _tag_of(image: str) -> str:
    name = image.partition("@")[0]
    return name.removeprefix(repository_of(name)).lstrip(":")


def unused(statements: Iterable[VexStatement], answers: Iterable[VexAnswer]) -> list[VexStatement]:
    """The statements that are about nothing in any of these scans."""
    used = frozenset[VexStatement]().union(*(answer.used for answer in answers))
    return [statement for statement in statements if statement not in used]
