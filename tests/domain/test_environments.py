from __future__ import annotations

import fnmatch
import re
from itertools import pairwise

import pytest
from hypothesis import given, strategies as st

from bot.domain.environments import (
    BadNameError,
    GitHubRepository,
    Template,
    holds,
    in_a_tag,
    matches,
    overlap,
)
from bot.domain.source_refs import NO_REF, SourceRef, commit_in_name, version_of, version_order


@pytest.mark.parametrize(
    ("glob", "text", "expected"),
    [
        ("envs/dev/**", "envs/dev/a/b.yaml", True),
        ("envs/dev/**", "envs/dev2/a.yaml", False),
        ("envs/*/x.yaml", "envs/dev/x.yaml", True),
        ("envs/*/x.yaml", "envs/dev/a/x.yaml", False),
        ("**/x.yaml", "x.yaml", True),
        ("**/x.yaml", "a/b/x.yaml", True),
        ("**/x.yaml", "ax.yaml", False),
        ("a/**/x", "a/x", True),
        ("a/**/x", "a/b/c/x", True),
        ("a/**/x", "a/bx", False),
        ("release/*", "release/v1.2.0", True),
        ("release/*", "release/a/b", False),
        ("release/?", "release/1", True),
        ("main", "main", True),
        ("main", "mainx", False),
        ("**", "anything/at/all", True),
    ],
)
def test_glob(glob: str, text: str, expected: bool) -> None:  # noqa: FBT001 - a table's column
    assert matches(glob, text) is expected


@given(st.text("ab*?", max_size=8), st.text("ab", max_size=8))
def test_single_stars_agree_with_fnmatch(glob: str, text: str) -> None:
    if "**" not in glob:
        assert matches(glob, text) == fnmatch.fnmatchcase(text, glob)


def test_hostile_glob_is_linear() -> None:
    assert not matches("*a" * 40, "a" * 39 + "b" * 2000)


@pytest.mark.parametrize(
    ("branch", "version"),
    [
        ("release/v1.2.0", "v1.2.0"),
        ("release/1.2", "1.2"),
        ("release/v1.2.0-rc.1", "v1.2.0-rc.1"),
        ("release/v1.2.0-sha-2b2e927", "v1.2.0"),
        ("v1.0.0+build.5", "v1.0.0+build.5"),
        ("hotfix/2", "2"),
        ("release/prod", None),
        ("develop", None),
        ("release/sha256-abc.sig", None),
    ],
)
def test_version_of(branch: str, version: str | None) -> None:
    assert version_of(branch) == version


def test_versions_are_ordered_as_numbers() -> None:
    names = ["v1.0.0-rc.1", "v1", "v1.2", "v1.10", "v2.0.0-beta", "v2"]

    assert sorted(names, key=version_order) == names


def test_pre_releases_are_ordered_as_semver_11_does() -> None:
    names = ["1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2"]
    names += ["1.0.0-beta.11", "1.0.0-rc.1", "1.0.0"]

    assert sorted(set(names), key=version_order) == names


@given(st.text(min_size=1), st.booleans())
def test_a_ref_is_kept_and_read_as_it_was(name: str, is_tag: bool) -> None:  # noqa: FBT001 - given
    ref = SourceRef(name.replace(":", ""), is_tag)

    assert SourceRef.of(ref.key) == ref
    assert ref.name == "" or SourceRef.of_full(ref.full) == ref


def test_a_branch_and_a_tag_of_one_name_are_two() -> None:
    branch, tag = SourceRef("v1"), SourceRef("v1", is_tag=True)

    assert branch.key != tag.key
    assert (str(branch), str(tag)) == ("v1", "tag v1")
    assert SourceRef.of("develop") == SourceRef("develop")
    assert SourceRef.of("") == NO_REF
    assert SourceRef.of_full("refs/pull/1/head") is None


def test_commit_in_a_branch_name() -> None:
    assert commit_in_name("release/v1.2.0-sha-2b2e927") == "2b2e927"
    assert commit_in_name("release/v1.2.0") is None


def test_template() -> None:
    template = Template("sha-{short_sha}-{commit:12}")

    assert template.render({"short_sha": "abc", "commit": "0" * 40}) == "sha-abc-" + "0" * 12
    assert template.render({"short_sha": "abc", "commit": None}) is None


@pytest.mark.parametrize("text", ["acme", "acme/..", "acme/a b", "/x", "-a/b", "a/b/c", ""])
def test_bad_repository_names_are_refused(text: str) -> None:
    with pytest.raises(BadNameError):
        GitHubRepository.parse(text)


@given(st.text("ab/*?", max_size=6), st.text("ab/*?", max_size=6), st.text("ab/", max_size=6))
def test_globs_overlap_if_a_text_matches_both(one: str, other: str, text: str) -> None:
    if matches(one, text) and matches(other, text):
        assert overlap(one, other)


def test_disjoint_globs_do_not_overlap() -> None:
    assert not overlap("envs/dev/**", "envs/prod/**")
    assert not overlap("release/*", "hotfix/*")
    assert overlap("envs/**", "envs/prod/**")
    assert overlap("envs/*/a.yaml", "envs/prod/**")


@given(st.text(min_size=1, max_size=60))
def test_every_name_of_a_ref_becomes_what_a_tag_can_hold(name: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_.-]+", in_a_tag(name))


def test_versions_that_differ_by_a_plus_stay_two() -> None:
    assert in_a_tag("v1.2.0+build.5") == "v1.2.0_build.5"
    assert in_a_tag("v1.2.0-build.5") == "v1.2.0-build.5"
    assert in_a_tag("feature/#7") == "feature--7"


def test_dates_are_ordered_by_their_numbers() -> None:
    days = ["2025-12-31", "2026-3-9", "2026-3-9-2", "2026-3-9-10", "2026-3-10", "2026-10-1"]
    for older, newer in pairwise(days):
        assert version_order(older) < version_order(newer)


@pytest.mark.parametrize(
    ("glob", "path", "expected"),
    [
        ("vendor/ui/**", "vendor/ui", True),  # a submodule
        ("vendor/ui/src/*.c", "vendor/ui", True),
        ("vendor/ui/src/*.c", "vendor/u", False),
        ("services/web", "services/web/x/y", True),
        ("services/web", "services/website/x", False),
        ("services/web", "services/web", True),
        ("services/w*", "services/web/x", False),
        ("**/*.md", "services/web", False),
        ("Dockerfile", "services/Dockerfile", False),
    ],
)
def test_what_paths_say_of_folders(glob: str, path: str, expected: bool) -> None:  # noqa: FBT001 - a table's column
    assert holds(glob, path) is expected
