from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from bot.domain.packages import (
    Package,
    PackageClass,
    PackageName,
    Purl,
    cased,
    inventory,
    known_glob,
    merged,
    read_purl,
)
from bot.domain.policy import Packages


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "pkg:deb/debian/libssl3@3.0.17-1~deb12u2?arch=amd64&distro=debian-12",
            ("deb", "debian", "libssl3", "3.0.17-1~deb12u2"),
        ),
        ("pkg:npm/%40babel/traverse@7.28.0", ("npm", "@babel", "traverse", "7.28.0")),
        ("pkg:npm/@babel/traverse@7.28.0", ("npm", "@babel", "traverse", "7.28.0")),
        (
            "pkg:golang/github.com/a/b@v1.2.3#sub/path",
            ("golang", "github.com/a/b/sub", "path", "1.2.3"),
        ),
        ("pkg:golang/code.gitea.io/gitea@(devel)", ("golang", "code.gitea.io", "gitea", "(devel)")),
        ("pkg:maven/org.x/y@1?type=jar", ("maven", "org.x", "y", "1")),
        ("pkg:PyPI/Foo_Bar@1", ("pypi", "", "foo-bar", "1")),
        ("pkg:oci/img@sha256%3Aabc?repository_url=r/img", ("oci", "", "img", "sha256:abc")),
        ("pkg:apk/alpine/busybox", ("apk", "alpine", "busybox", "")),
        ("pkg:alpine/busybox@1.31-r9?arch=x86_64", ("apk", "alpine", "busybox", "1.31-r9")),
    ],
)
def test_purls(text: str, expected: tuple[str, str, str, str]) -> None:
    kind, namespace, name, version = expected

    found = read_purl(text)

    assert found is not None
    assert found._replace(qualifiers=()) == Purl(PackageName(kind, namespace, name), version)


@pytest.mark.parametrize("text", ["", "pkg:", "pkg:npm", "pkg:npm/", "npm/x", "pkg:/", "pkg:a b/c"])
def test_what_is_no_purl(text: str) -> None:
    assert read_purl(text) is None


@given(st.text(max_size=60).map("pkg:npm/".__add__))
def test_no_text_breaks_it(text: str) -> None:
    found = read_purl(text)

    assert found is None or found.package.name


@pytest.mark.parametrize(
    ("name", "full", "package_class"),
    [
        (PackageName("deb", "debian", "perl"), "perl", PackageClass.OS),
        (PackageName("maven", "org.x", "y"), "org.x:y", PackageClass.LIBRARY),
        (PackageName("npm", "@s", "n"), "@s/n", PackageClass.LIBRARY),
        (PackageName("", "", "x"), "x", PackageClass.LIBRARY),
    ],
)
def test_names_and_classes(name: PackageName, full: str, package_class: PackageClass) -> None:
    assert (name.full_name, name.package_class) == (full, package_class)


def test_versions_side_by_side_and_joined_licences() -> None:
    name = PackageName("npm", "", "ms")

    found = inventory([Package(name, "2", "MIT"), Package(name, "1", "ISC"), Package(name, "2")])

    assert found.versions == {name: ("1", "2")}
    assert found.licences == {name: "ISC AND MIT"}


def test_several_documents_make_one_inventory() -> None:
    a, b = PackageName("npm", "", "a"), PackageName("deb", "debian", "b")
    one = inventory([Package(a, "1", "MIT")], tool="syft", subjects=["sha256:1"])
    other = inventory([Package(a, "2"), Package(b, "1")], operating_system="debian 12")

    both = merged([one, other])

    assert both is not None
    assert both.versions == {a: ("1", "2"), b: ("1",)}
    assert (both.operating_system, both.tool, both.count(PackageClass.OS)) == (
        "debian 12",
        "syft",
        1,
    )
    assert merged([]) is None


@pytest.mark.parametrize(
    ("glob", "expected"),
    [
        ("pkg:pypi/Foo_Bar", "pkg:pypi/foo-bar"),
        ("pkg:PyPI/zope.*", "pkg:pypi/zope-*"),
        ("pkg:npm/%40babel/JSONStream", "pkg:npm/@babel/JSONStream"),
        ("pkg:maven/org.x:y", "pkg:maven/org.x/y"),
        ("pkg:maven/org.x/y", "pkg:maven/org.x/y"),
        ("pkg:nuget/Newtonsoft.Json", "pkg:nuget/newtonsoft.json"),
        ("pkg:deb/debian", "pkg:deb/debian"),
        ("pkg:apk/busybox*", "pkg:apk/busybox*"),
        ("pkg:alpine/busybox", "pkg:apk/alpine/busybox"),
        ("pkg:alpine/*", "pkg:apk/alpine/*"),
        ("pkg:npm/@babel/*", "pkg:npm/@babel/*"),
        ("pkg:golang/github.com/Acme/x", "pkg:golang/github.com/Acme/x"),
        ("pkg:rpm/RHEL/openssl", "pkg:rpm/redhat/openssl"),
        ("pkg:deb/*/lib?", "pkg:deb/*/lib?"),
        ("pkg:deb/*", "pkg:deb/*"),
        ("pkg:**", "pkg:**"),
    ],
)
def test_globs_are_spelled_as_names_are(glob: str, expected: str) -> None:
    assert known_glob(glob) == expected


@pytest.mark.parametrize(
    "glob",
    [
        *("lodash", "npm/lodash", "pkg:npm/lodash@4", "pkg:npm/@a/b@1"),
        *("pkg:deb/base-files", "pkg:apk/busybox", "pkg:rpm/openssl"),
    ],
)
def test_a_glob_that_names_nothing_is_refused(glob: str) -> None:
    with pytest.raises(ValueError, match="it "):
        known_glob(glob)


PART = st.from_regex(r"[A-Za-z0-9._~+-]{1,8}", fullmatch=True)


@settings(max_examples=500)
@given(
    st.sampled_from(
        ["apk", "cargo", "deb", "gem", "golang", "maven", "npm", "nuget", "pypi", "rpm"]
    ),
    st.lists(PART, max_size=2),
    PART,
    st.from_regex(r"([A-Za-z0-9._~+:-]{1,8})?", fullmatch=True),
    st.dictionaries(
        st.sampled_from(["arch", "distro", "epoch", "upstream", "tag", "x"]), PART, max_size=3
    ),
)
def test_what_has_nothing_to_decode_is_read_as_the_library_reads_it(
    kind: str, namespace: list[str], name: str, version: str, qualifiers: dict[str, str]
) -> None:
    text = f"pkg:{kind}/{'/'.join([*namespace, name])}"
    text += f"@{version}" if version else ""
    asked = "&".join(f"{key}={value}" for key, value in qualifiers.items())

    found = read_purl(f"{text}?{asked}" if asked else text)
    # What has to be decoded takes the other way.
    decoded = read_purl(f"{text}?{asked}&y=%20" if asked else f"{text}?y=%20")

    assert found == decoded


@given(
    st.sampled_from(
        ["npm", "pypi", "golang", "deb", "apk", "rpm", "composer", "gem", "pub", "hex"]
    ),
    st.from_regex(r"[A-Za-z][A-Za-z0-9_.-]{0,10}", fullmatch=True),
    st.from_regex(r"[A-Za-z][A-Za-z0-9]{0,8}", fullmatch=True),
)
def test_a_name_and_its_package_url_are_one(kind: str, name: str, namespace: str) -> None:
    read = read_purl(f"pkg:{kind}/{namespace}/{name}")

    assert read is not None
    assert read.package == PackageName.of(kind, name, namespace)
    # A glob that is written as the package URL names it.
    assert Packages(only=(known_glob(f"pkg:{kind}/{namespace}/{name}"),)).include(read.package)


def test_old_packages_of_npm_differ_by_their_case_alone() -> None:
    old, new = read_purl("pkg:npm/JSONStream@1"), read_purl("pkg:npm/jsonstream@1")
    scoped = read_purl("pkg:npm/%40acme/JSONStream@1")

    assert old
    assert new
    assert scoped
    assert old.package != new.package
    assert not new.covers(old)
    assert scoped.package == PackageName("npm", "@acme", "JSONStream")
    assert cased(new.package, "JSONStream") == old.package


def test_a_go_module_is_named_as_its_tool_spells_it() -> None:
    """Trivy's package URLs are in lower case, as purl-spec has them; the module's name is not."""
    lower = read_purl("pkg:golang/github.com/burntsushi/toml@1")

    assert lower
    name = cased(lower.package, "github.com/BurntSushi/toml")
    assert not lower.covers(lower._replace(package=name))
    assert lower.covers(lower._replace(package=name, spelled=str(lower.package)))
    assert Packages(only=(str(lower.package),)).include(name)
    assert not Packages(not_=(str(name),)).include(name)


@pytest.mark.parametrize(
    ("statement", "installed", "expected"),
    [
        ("pkg:npm/a@1#sub", "pkg:npm/a@1", False),
        ("pkg:npm/a@1", "pkg:npm/a@1#sub", True),
        ("pkg:npm/a@1#sub", "pkg:npm/a@1#sub", True),
        ("pkg:maven/g/a@1?classifier=linux", "pkg:maven/g/a@1", False),
        ("pkg:maven/g/a@1?classifier=linux", "pkg:maven/g/a@1?classifier=linux", True),
        ("pkg:golang/github.com/a/b@1#c", "pkg:golang/github.com/a/b@1", False),
        ("pkg:golang/github.com/a/b@1", "pkg:golang/github.com/a/b@1#c", False),
        ("pkg:golang/github.com/a/b/c@1", "pkg:golang/github.com/a/b@1#c", True),
    ],
)
def test_a_part_is_not_the_whole(statement: str, installed: str, expected: bool) -> None:  # noqa: FBT001 - drawn
    one, other = read_purl(statement), read_purl(installed)

    assert one is not None
    assert other is not None
    assert one.covers(other) is expected
