"""Packages of an image: their names, versions and licences, whichever tool listed them.

A name is what stays the same when a package is updated: type, namespace and name of its package
URL (purl-spec, PURL-SPECIFICATION.rst); version, qualifiers and subpath are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple, Self
from urllib.parse import unquote

_PURL: Final = re.compile(r"pkg:/{0,2}([A-Za-z0-9][A-Za-z0-9.+-]*)/([^?#]+)")
_OS_TYPES: Final = frozenset({"alpine", "alpm", "apk", "deb", "ebuild", "qpkg", "rpm"})
# Types whose package names hold their namespace before the last slash.
_SLASHED: Final = frozenset({"composer", "github", "golang", "npm", "swift"})


class PackageClass(StrEnum):
    """Who installed it: the operating system's package manager, or a language's."""

    OS = "os"
    LIBRARY = "library"


class PackageName(NamedTuple):
    """What a package is called in every version.

    A tuple because it is the key of everything: an SBOM of 5 MB hashes it 50,000 times.
    """

    type: str
    """The purl type; empty where the document does not say."""
    namespace: str
    name: str

    @classmethod
    def of(cls, kind: str, name: str, namespace: str = "") -> Self:
        """A name as package managers write it: ``@scope/name``, ``group:artifact``."""
        if not namespace and kind in _SLASHED:
            namespace, _, name = name.rpartition("/")
        elif not namespace and kind == "maven":
            namespace, _, name = name.rpartition(":")
        if kind == "pypi":
            name = name.lower().replace("_", "-")
        return cls(kind, namespace, name)

    @property
    def package_class(self) -> PackageClass:
        """Its class, by its type."""
        return PackageClass.OS if self.type in _OS_TYPES else PackageClass.LIBRARY

    @property
    def full_name(self) -> str:
        """As people call it in its ecosystem."""
        if self.type == "maven" and self.namespace:
            return f"{self.namespace}:{self.name}"
        if self.namespace and self.package_class is PackageClass.LIBRARY:
            return f"{self.namespace}/{self.name}"
        return self.name

    def __str__(self) -> str:
        parts = [part for part in (self.type, self.namespace, self.name) if part]
        return "pkg:" + "/".join(parts)


class Purl(NamedTuple):
    """A package URL, as far as this project reads it."""

    package: PackageName
    version: str


def read_purl(text: str) -> Purl | None:
    """Read a package URL; None if it is none. Qualifiers and subpath are left out."""
    found = _PURL.match(text)
    if found is None:
        return None
    kind = found[1].lower()
    namespace, _, last = found[2].strip("/").rpartition("/")
    name, _, version = last.partition("@")
    if not name and version:  # an unescaped scope without a name: pkg:npm/@scope
        name, version = last, ""
    if "%" in found[2]:
        namespace, name, version = unquote(namespace), unquote(name), unquote(version)
    return Purl(PackageName.of(kind, name, namespace), version) if name else None


class Package(NamedTuple):
    """One installed package."""

    name: PackageName
    version: str
    licence: str = ""
    """An SPDX expression or free text; empty where nobody says."""


@dataclass(frozen=True, slots=True)
class Inventory:
    """Everything that a document says is installed."""

    versions: Mapping[PackageName, tuple[str, ...]]
    """Sorted; npm installs several versions of one package side by side."""
    licences: Mapping[PackageName, str]
    operating_system: str = ""
    """``debian 12``; empty where it was not recognised, or the document does not say."""
    subjects: frozenset[str] = field(default_factory=frozenset)
    """Digests of the image that it describes."""
    tool: str = ""

    def count(self, package_class: PackageClass) -> int:
        """How many packages of a class there are."""
        return sum(name.package_class is package_class for name in self.versions)


def inventory(
    packages: Iterable[Package],
    *,
    operating_system: str = "",
    subjects: Iterable[str] = (),
    tool: str = "",
) -> Inventory:
    """Collect packages by name; the licences of several versions are joined with AND."""
    versions: dict[PackageName, list[str]] = {}
    licences: dict[PackageName, dict[str, None]] = {}
    for package in packages:
        versions.setdefault(package.name, []).append(package.version)
        if package.licence:
            licences.setdefault(package.name, {})[package.licence] = None
    return Inventory(
        {
            name: (found[0],) if len(found) == 1 else tuple(sorted(set(found)))
            for name, found in versions.items()
        },
        {
            name: next(iter(found)) if len(found) == 1 else " AND ".join(sorted(found))
            for name, found in licences.items()
        },
        operating_system,
        frozenset(subjects),
        tool,
    )


def merged(inventories: Iterable[Inventory]) -> Inventory | None:
    """One inventory of several documents (platforms, SBOM and scan); None without any."""
    found = list(inventories)
    if not found:
        return None
    if len(found) == 1:
        return found[0]
    packages = [
        Package(name, version, one.licences.get(name, ""))
        for one in found
        for name, versions in one.versions.items()
        for version in versions
    ]
    return inventory(
        packages,
        operating_system=next((i.operating_system for i in found if i.operating_system), ""),
        subjects=frozenset[str]().union(*(one.subjects for one in found)),
        tool=", ".join(dict.fromkeys(one.tool for one in found if one.tool)),
    )
