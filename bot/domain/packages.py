"""Packages of an image: their names, versions and licences, whichever tool listed them.

A name is what stays the same when a package is updated: type, namespace and name of its package
URL (purl-spec, PURL-SPECIFICATION.rst); version, qualifiers and subpath are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from operator import itemgetter
from typing import Final, NamedTuple, Self
from urllib.parse import unquote

from packageurl import PackageURL

from bot.domain.licences import conjunction

_OS_TYPES: Final = frozenset({"alpine", "alpm", "apk", "deb", "ebuild", "qpkg", "rpm"})
# Types whose package names hold their namespace before the last slash.
_SLASHED: Final = frozenset({"composer", "github", "golang", "npm", "swift"})
# Types whose names have no case (purl-spec, types/*-definition.json, `case_sensitive`), and NuGet,
# whose index has none. npm is none of them: it has old packages that differ by their case alone.
# packageurl keeps the case of some of them.
_CASELESS: Final = frozenset(
    {
        *("alpm", "apk", "bitbucket", "bitnami", "brew", "chrome-extension", "composer", "deb"),
        *("github", "gitlab", "hex", "luarocks", "nuget", "oci", "otp", "pub", "pypi"),
        "vscode-extension",
    }
)
_RESPELLED: Final = frozenset({"pub", "pypi"})  # of these, by more than their case
_EPOCHS: Final = frozenset({"deb", "rpm"})
# Qualifiers without which two package URLs would name the same (purl-spec, types/*.json).
_IDENTIFYING: Final = frozenset({"arch", "classifier", "distro", "repository_url", "tag"})
# One distributor, as os-release, Trivy and grype call it.
_DISTRIBUTORS: Final = {
    **dict.fromkeys(("rhel", "red hat"), "redhat"),
    **dict.fromkeys(("amzn", "amazonlinux"), "amazon"),
    "almalinux": "alma",
    "rockylinux": "rocky",
    **dict.fromkeys(("ol", "oraclelinux"), "oracle"),
    **dict.fromkeys(("opensuse-leap", "opensuse.leap"), "opensuse"),
    "opensuse.tumbleweed": "opensuse-tumbleweed",
    **dict.fromkeys(("sles", "suse linux enterprise server"), "suse"),
    "mariner": "cbl-mariner",
}
# Distributors whose packages a glob may name as a whole: `pkg:deb/debian`.
_NAMESPACES: Final = frozenset(
    {
        *_DISTRIBUTORS.values(),
        *("alpine", "chainguard", "debian", "minimos", "ubuntu", "wolfi", "arch", "archlinux"),
        *("azurelinux", "bottlerocket", "centos", "fedora", "photon", "raspbian", "kali", "echo"),
    }
)
_EXAMPLES: Final = {"deb": "debian", "apk": "alpine", "rpm": "redhat"}
# One project of the Python package index (packaging.python.org, "Names and normalization").
_PYTHON_RUN: Final = re.compile(r"[-_.]+")
_NO_DART: Final = re.compile(r"[^a-z0-9_*?]")  # purl-spec, types/pub-definition.json
# Packages that Debian and Ubuntu renamed for 64-bit time (wiki.debian.org/ReleaseGoals/64bit-time).
_RENAMED: Final = re.compile(r"t64$")
_MORE_THAN_A_NAME: Final = re.compile(r"[^/]@|\?[a-z_]+=|#")
_GO_VERSION: Final = re.compile(r"^(?:go|v)(?=[0-9])")
_ARCHITECTURES: Final = {
    **dict.fromkeys(("x86_64", "x64"), "amd64"),
    **dict.fromkeys(("aarch64",), "arm64"),
    **dict.fromkeys(("i386", "i586", "i686", "x86"), "386"),
    **dict.fromkeys(("armhf", "armv7", "armv7hl", "armv7l"), "arm"),
    **dict.fromkeys(("ppc64el",), "ppc64le"),
    **dict.fromkeys(("noarch",), "all"),
}
# Parts of a package URL in which nothing has to be decoded.
_PLAIN_BEGINNING: Final = re.compile(
    r"pkg:(apk|cargo|deb|gem|golang|maven|npm|nuget|pypi|rpm)((?:/[\w.~+-]+)*)", re.ASCII
)
_PLAIN_END: Final = re.compile(r"([\w.~+-]+)(?:@([\w.~+:-]+))?", re.ASCII)
_PLAIN_QUALIFIERS: Final = re.compile(r"[a-z_]+=[\w.~+:-]+(?:&[a-z_]+=[\w.~+:-]+)*", re.ASCII)
_TOOL_VERSION: Final = re.compile(r"[ -]v?[0-9(].*$|[ -]dev$")
_LONGEST: Final = 2_000  # characters of a package URL
_TYPE_OF: Final = itemgetter(0)  # of a package's name, without a frame for each of thousands
_CACHED: Final = 2**16


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
        if kind == "alpine":  # as it was called before purl-spec had `apk`
            kind, namespace = "apk", namespace or "alpine"
        if not namespace and kind in _SLASHED:
            namespace, _, name = name.rpartition("/")
        elif not namespace and kind == "maven":
            namespace, _, name = name.rpartition(":")
        if kind in _CASELESS:
            namespace, name = namespace.lower(), name.lower()
            if kind in _RESPELLED:
                namespace, name = _spelled(kind, namespace), _spelled(kind, name)
        if kind in _OS_TYPES:
            namespace = _distributor(namespace)
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
    """A package URL, as far as this project reads it: one installed thing."""

    package: PackageName
    version: str
    """Whole: with the epoch of Debian's and rpm's versions."""
    qualifiers: tuple[tuple[str, str], ...] = ()
    """Those that change what is named, sorted."""
    source: str = ""
    """What it was built from (``upstream``), without version; empty where it does not say."""
    spelled: str = ""
    """The package as the document's own URL has it, where its tool loses the case of the name."""

    def qualifier(self, name: str) -> str:
        """The value of a qualifier; empty without it."""
        return next((value for key, value in self.qualifiers if key == name), "")

    def covers(self, other: Purl) -> bool:
        """Whether this names the other: the same package, and the same where this says more.

        What the other does not say is not known, and is no match.
        """
        if self.package != other.package and str(self.package) != other.spelled:
            return False
        if self.version and self.version != other.version:
            return False
        return all(
            other.qualifier(name) == value or (name == "arch" and other.qualifier(name) == "all")
            for name, value in self.qualifiers
        )


@lru_cache(_CACHED)
def read_purl(text: str) -> Purl | None:
    """Read a package URL by the rules of its type; None if it is none.

    A subpath is a part of what is named; of a Go module, the rest of its name, as syft writes it.
    """
    if text[:4].lower() != "pkg:" or len(text) > _LONGEST:
        return None
    text = f"pkg:{text[4:]}"  # a scheme has no case: purl-spec, RFC 3986
    plain = _plain_purl(text)
    if plain is not None:
        return plain
    try:
        found = PackageURL.from_string(text)
    except ValueError:
        return None
    identifying, epoch, source = _qualified(dict(found.qualifiers))
    name = _npm_name(text, found.name) if found.type == "npm" else found.name
    if found.subpath and found.type == "golang":
        namespace = "/".join(filter(None, (found.namespace, name)))
        package = PackageName.of("golang", f"{namespace}/{found.subpath}")
    else:
        package = PackageName.of(found.type, name, found.namespace or "")
        if found.subpath:
            identifying = tuple(sorted((*identifying, ("subpath", found.subpath))))
    version = whole_version(found.type, found.version or "", epoch)
    return Purl(package, version, identifying, source)


def _npm_name(text: str, name: str) -> str:
    """A name in its own case, which packageurl loses."""
    path = text.partition("#")[0].partition("?")[0]
    written = unquote(path.rpartition("/")[2].partition("@")[0])
    return written if written.lower() == name.lower() else name


def _plain_purl(text: str) -> Purl | None:
    """One that has nothing to decode, as nearly all are: ten times faster than the library.

    Thousands of an image begin alike and have the same qualifiers; those are read once.
    """
    head, _, written = text.partition("?")
    beginning, _, end = head.rpartition("/")
    whose, named = _plain_beginning(beginning), _PLAIN_END.fullmatch(end)
    qualifiers = _plain_qualifiers(written)
    if whose is None or named is None or qualifiers is None:
        return None
    kind, namespace = whose
    name, version = named.groups("")
    identifying, epoch, source = qualifiers
    package = PackageName(kind, namespace, _spelled(kind, name))
    return Purl(package, whole_version(kind, version, epoch), identifying, source)


@lru_cache(_CACHED)
def _plain_beginning(text: str) -> tuple[str, str] | None:
    """The type and the namespace, as names have them; None for what has to be decoded."""
    found = _PLAIN_BEGINNING.fullmatch(text)
    return None if found is None else PackageName.of(found[1], "", found[2][1:])[:2]


@lru_cache(_CACHED)
def _plain_qualifiers(text: str) -> tuple[tuple[tuple[str, str], ...], str, str] | None:
    """What `_qualified` says of them; None for what has to be decoded."""
    if text and not _PLAIN_QUALIFIERS.fullmatch(text):
        return None
    pairs = (pair.partition("=") for pair in text.split("&") if pair)
    return _qualified({key: value for key, _, value in pairs})


def _qualified(qualifiers: Mapping[str, str]) -> tuple[tuple[tuple[str, str], ...], str, str]:
    """What changes what is named, the epoch, and what it was built from."""
    if "os_version" in qualifiers and not qualifiers.get("distro"):  # as Docker Scout writes it
        system = f"{qualifiers.get('os_name', '')}-{qualifiers['os_version']}".strip("-")
        qualifiers = {**qualifiers, "distro": system}
    identifying = tuple(
        (name, _architecture(value) if name == "arch" else value)
        for name, value in sorted(qualifiers.items())
        if name in _IDENTIFYING and value
    )
    return identifying, qualifiers.get("epoch", ""), _source(qualifiers.get("upstream", ""))


@lru_cache(_CACHED)
def _distributor(name: str) -> str:
    """Its one name; an image has packages of one, perhaps of two."""
    return _DISTRIBUTORS.get(name.lower(), name.lower())


def _spelled(kind: str, text: str) -> str:
    """A name or namespace, or a glob over them, in the one spelling that its type has."""
    if kind in _CASELESS:
        text = text.lower()
    if kind == "pypi":
        return _PYTHON_RUN.sub("-", text)
    return _NO_DART.sub("_", text) if kind == "pub" else text


def known_glob(glob: str) -> str:
    """A glob over package names, in the spelling that names have here.

    Raises:
        ValueError: it can name no package; the message says why.
    """
    kind, slash, rest = unquote(glob.strip()).removeprefix("pkg:").partition("/")
    if not glob.strip().startswith("pkg:"):
        raise ValueError("it does not start with pkg:")
    if _MORE_THAN_A_NAME.search(rest):
        raise ValueError("it has a version or qualifiers, and package names have none")
    kind = kind.lower()
    if kind == "alpine":
        kind, rest = "apk", rest if "/" in rest else f"alpine/{rest}"
    if kind == "maven":
        rest = rest.replace(":", "/")
    parts = [_spelled(kind, part) for part in rest.split("/")]
    if kind in _OS_TYPES:
        parts[0] = _distributor(parts[0]) if len(parts) > 1 or parts[0].strip("*?") else parts[0]
        if len(parts) == 1 and not ("*" in rest or "?" in rest or parts[0] in _NAMESPACES):
            raise ValueError(
                f"it names no distributor: pkg:{kind}/{_EXAMPLES.get(kind, 'DISTRIBUTOR')}/{rest},"
                f" or pkg:{kind}/*/{rest} of each; pkg:{kind}/{rest}/* if {rest} is one"
            )
    return f"pkg:{kind}{slash}{'/'.join(parts)}"


def whole_version(kind: str, version: str, epoch: str = "") -> str:
    """A version as every tool's other spellings of it: with its epoch, without a needless one."""
    if kind in _EPOCHS and version:
        if not epoch and ":" not in version:
            return version
        written, colon, rest = version.partition(":")
        if colon and written.isascii() and written.isdigit():
            epoch, version = written, rest
        return f"{epoch}:{version}" if epoch.strip("0") else version
    if kind == "golang":
        return _GO_VERSION.sub("", version)
    return version


def cased(package: PackageName, written: str) -> PackageName:
    """A package as its own name is written: Trivy's package URLs lose the case of some.

    Go tells modules apart by it, and npm old packages.
    """
    if package.type not in {"golang", "npm"} or written.lower() != package.full_name.lower():
        return package
    return PackageName.of(package.type, written)


def fuller_version(kind: str, one: str, other: str) -> str:
    """Of two spellings of a version the first that says something, with an epoch of either."""
    first, second = whole_version(kind, one), whole_version(kind, other)
    return second if first and second.partition(":")[2] == first else first or second


def _architecture(name: str) -> str:
    """One processor, as Debian, rpm, Alpine and OCI call it."""
    return _ARCHITECTURES.get(name, name)


def _source(upstream: str) -> str:
    """``openssl@3.0.1`` and ``openssl-1.1.1k-6.el8_5.src.rpm`` without their versions."""
    if upstream.endswith(".rpm"):
        return upstream.rsplit("-", 2)[0]
    return upstream.partition("@")[0]


def same_after_rename(one: str, other: str) -> bool:
    """Whether two names of a distributor's packages differ by a known mass renaming alone."""
    return _RENAMED.sub("", one) == _RENAMED.sub("", other)


class Package(NamedTuple):
    """One installed package."""

    name: PackageName
    version: str
    licence: str = ""
    """An SPDX expression or free text; empty where nobody says."""
    source: str = ""
    """What it was built from, where its name differs; empty where nobody says."""
    layer: str = ""
    """The layer that brought it; empty where nobody says."""
    is_development: bool = False
    """Only needed to build or test, by the word of the document."""


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
    sources: Mapping[PackageName, str] = field(default_factory=dict)
    """What each was built from, where the document says so."""
    layers: Mapping[PackageName, str] = field(default_factory=dict)
    """The layer that each came with, where the document says so."""
    development: frozenset[PackageName] = frozenset()
    """What is there to build or test alone."""
    excluded: int = 0
    """Components that the document names and says are not in the image."""

    @property
    def tools(self) -> frozenset[str]:
        """Who listed it, without versions: ``syft 1.51.0`` and ``syft-1.51.0`` are one."""
        return frozenset(_TOOL_VERSION.sub("", one.strip()).lower() for one in self.tool.split(","))

    def count(self, package_class: PackageClass) -> int:
        """How many packages of a class there are."""
        system = sum(map(_OS_TYPES.__contains__, map(_TYPE_OF, self.versions)))
        return system if package_class is PackageClass.OS else len(self.versions) - system


def inventory(
    packages: Iterable[Package],
    *,
    operating_system: str = "",
    subjects: Iterable[str] = (),
    tool: str = "",
    excluded: int = 0,
) -> Inventory:
    """Collect packages by name; the licences of several versions are joined with AND."""
    versions: dict[PackageName, tuple[str, ...]] = {}
    several: dict[PackageName, set[str]] = {}
    licences: dict[PackageName, str] = {}
    together: dict[PackageName, set[str]] = {}
    sources: dict[PackageName, str] = {}
    layers: dict[PackageName, str] = {}
    development: set[PackageName] = set()
    needed: list[PackageName] = []
    for name, version, licence, source, layer, is_development in packages:
        known = versions.setdefault(name, (version,))
        if version not in known:  # rare: so there is no list or set for each of thousands
            several.setdefault(name, {*known}).add(version)
        if licence and licences.setdefault(name, licence) != licence:
            together.setdefault(name, {licences[name]}).add(licence)
        if source:
            sources[name] = source
        if layer:
            layers[name] = layer
        if is_development:
            development.add(name)
        else:
            needed.append(name)
    versions.update((name, tuple(sorted(found))) for name, found in several.items())
    licences.update((name, conjunction(found)) for name, found in together.items())
    return Inventory(
        versions,
        licences,
        operating_system,
        frozenset(subjects),
        tool,
        sources,
        layers,
        frozenset(development.difference(needed)),
        excluded,
    )


def merged(inventories: Iterable[Inventory]) -> Inventory | None:
    """One inventory of several documents (platforms, SBOM and scan); None without any."""
    found = list(inventories)
    if not found:
        return None
    if len(found) == 1:
        return found[0]
    packages = [
        Package(
            name,
            version,
            one.licences.get(name, ""),
            one.sources.get(name, ""),
            one.layers.get(name, ""),
            is_development=name in one.development,
        )
        for one in found
        for name, versions in one.versions.items()
        for version in versions
    ]
    return inventory(
        packages,
        operating_system=next((i.operating_system for i in found if i.operating_system), ""),
        subjects=frozenset[str]().union(*(one.subjects for one in found)),
        tool=", ".join(dict.fromkeys(one.tool for one in found if one.tool)),
        excluded=sum(one.excluded for one in found),
    )
