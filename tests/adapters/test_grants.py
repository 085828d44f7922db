from __future__ import annotations

from pathlib import Path

import pytest

from bot.adapters.grants import Grants, ManifestsGrant
from bot.domain.doctor.findings import Unknown
from bot.domain.errors import ConfigurationError, LimitExceededError, NotGrantedError
from bot.domain.grants import KeyRole
from tests.world.permissions import closed
from tests.world.scanners import open_folder

SECRET = b"-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----"


def written(root: Path, *paths: str, content: bytes = b"{}") -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
        (root / path).chmod(0o600)
    return root


def grant(root: Path) -> ManifestsGrant:
    return Grants(root, ["acme/manifests"]).of("acme/manifests")


def test_each_manifests_repository_has_its_own_environments(tmp_path: Path) -> None:
    written(tmp_path, "acme/manifests/prod/registry.json", "acme/manifests/dev/registry.json")
    written(tmp_path, "other/manifests/prod/registry.json", content=b'{"auths": {}}')
    grants = Grants(tmp_path, ["acme/manifests", "other/manifests"])

    assert grants.of("acme/manifests").environments() == ("dev", "prod")
    assert grants.of("other/manifests").environments() == ("prod",)
    path = str(tmp_path / "other/manifests/prod/registry.json")
    assert grants.of("other/manifests").registry_json("prod") == (path, b'{"auths": {}}')
    assert grants.of("other/manifests").registry_json("dev") is None


def test_names_are_compared_as_github_does(tmp_path: Path) -> None:
    written(tmp_path, "Acme/Manifests/prod/registry.json")

    assert grant(tmp_path).environments() == ("prod",)


def test_a_repository_that_is_not_ours_has_no_grant(tmp_path: Path) -> None:
    written(tmp_path, "evil/manifests/prod/registry.json")

    with pytest.raises(NotGrantedError):
        Grants(tmp_path, ["acme/manifests"]).of("evil/manifests")


def test_one_manifests_repository_may_leave_its_name_out(tmp_path: Path) -> None:
    written(tmp_path, "prod/registry.json", "sources", content=b"acme/*\n")

    assert grant(tmp_path).environments() == ("prod",)
    assert grant(tmp_path).allows_source("acme/payments")


def test_two_layouts_at_once_are_refused(tmp_path: Path) -> None:
    written(tmp_path, "prod/registry.json", "acme/manifests/prod/registry.json")

    with pytest.raises(ConfigurationError, match="acme/manifests"):
        grant(tmp_path)


def test_the_flat_layout_serves_one_repository_only(tmp_path: Path) -> None:
    written(tmp_path, "prod/registry.json")

    with pytest.raises(ConfigurationError, match="<owner>/<repository>"):
        Grants(tmp_path, ["acme/a", "acme/b"]).of("acme/a")


def test_no_folder_grants_nothing(tmp_path: Path) -> None:
    nothing = grant(tmp_path / "absent")

    assert nothing.environments() == ()
    assert nothing.registry_json("prod") is None
    assert nothing.keys("prod", KeyRole.SIGNING) == []
    assert not nothing.allows_source("acme/payments")


@pytest.mark.parametrize("name", ["..", "../other", "prod/../dev", "", ".hidden", "a\0b"])
def test_an_environment_is_a_name_and_never_a_path(tmp_path: Path, name: str) -> None:
    written(tmp_path, "acme/manifests/prod/signing.key", "acme/other/prod/x", content=SECRET)

    with pytest.raises(NotGrantedError):
        grant(tmp_path).keys(name, KeyRole.SIGNING)


def test_the_unnumbered_key_signs_and_the_others_verify(tmp_path: Path) -> None:
    folder = "acme/manifests/prod/"
    written(tmp_path, folder + "signing.key", folder + "signing.1.pub", content=SECRET)
    written(tmp_path, folder + "signing.pub", folder + "attest.pem", content=SECRET)
    written(tmp_path, folder + "signing.2.key", content=b"older")
    written(tmp_path, folder + "signing.password", content=b" pass word \n")

    keys = grant(tmp_path).keys("prod", KeyRole.SIGNING)

    assert [Path(key.path).name for key in keys] == [
        "signing.key",
        "signing.1.pub",
        "signing.2.key",
    ]
    assert [key.password for key in keys] == [b" pass word ", b"", b""]
    assert [key.only_verifies for key in keys] == [False, True, False]
    assert [Path(key.path).name for key in grant(tmp_path).keys("prod", KeyRole.ATTESTATION)] == [
        "attest.pem"
    ]


def test_a_key_does_not_show_itself(tmp_path: Path) -> None:
    written(tmp_path, "acme/manifests/prod/signing.key", content=SECRET)
    written(tmp_path, "acme/manifests/prod/signing.password", content=b"hunter2")

    shown = repr(grant(tmp_path).keys("prod", KeyRole.SIGNING))

    assert "SIGSTORE" not in shown
    assert "hunter2" not in shown


@pytest.mark.parametrize("name", ["signing.pem", "signing.crt", "signing.old.key"])
def test_a_second_first_key_or_an_unknown_kind_is_refused(tmp_path: Path, name: str) -> None:
    folder = "acme/manifests/prod/"
    written(tmp_path, folder + "signing.key", folder + name, content=SECRET)

    with pytest.raises(ConfigurationError, match=r"signing") as refused:
        grant(tmp_path).keys("prod", KeyRole.SIGNING)
    assert "SIGSTORE" not in str(refused.value)


def test_an_empty_key_is_an_error(tmp_path: Path) -> None:
    written(tmp_path, "acme/manifests/prod/signing.key", content=b"\n")

    with pytest.raises(ConfigurationError, match="is empty"):
        grant(tmp_path).keys("prod", KeyRole.SIGNING)


def test_a_file_has_a_limit(tmp_path: Path) -> None:
    written(tmp_path, "acme/manifests/prod/registry.json", content=b"x" * (1024 * 1024 + 1))

    with pytest.raises(LimitExceededError):
        grant(tmp_path).registry_json("prod")


@pytest.mark.parametrize(
    ("source", "allowed"),
    [
        ("acme/payments", True),
        ("ACME/Payments", True),
        ("acme/secret", False),
        ("shop/checkout", True),
        ("shop/checkout/x", False),
        ("acme", False),
    ],
)
def test_sources_are_globs_over_both_parts(tmp_path: Path, source: str, *, allowed: bool) -> None:
    lines = b"# teams\nacme/pay*\n\nShop/*out  # the shop\n"
    written(tmp_path, "acme/manifests/sources", content=lines)

    assert grant(tmp_path).allows_source(source) is allowed


def test_a_line_that_is_no_source_is_named(tmp_path: Path) -> None:
    written(tmp_path, "acme/manifests/sources", content=b"acme/*\nacme\n")

    with pytest.raises(ConfigurationError, match="sources:2"):
        grant(tmp_path).allows_source("shop/checkout")


def test_secrets_that_everybody_can_read_are_found(tmp_path: Path) -> None:
    folder = "acme/manifests/prod/"
    written(tmp_path, folder + "signing.key", folder + "signing.pub", folder + "registry.json")
    (tmp_path / folder / "signing.key").chmod(0o644)
    (tmp_path / folder / "signing.pub").chmod(0o644)

    (finding,) = grant(tmp_path).findings()

    assert "signing.key" in finding


def read_all(root: Path) -> None:
    found = grant(root)
    found.environments()
    found.registry_json("prod")
    found.keys("prod", KeyRole.SIGNING)
    found.allows_source("acme/payments")


@pytest.mark.parametrize(
    "place",
    [
        "etc",
        "etc/grants",
        "etc/grants/prod",
        "etc/grants/prod/registry.json",
        "etc/grants/prod/signing.key",
        "etc/grants/prod/signing.password",
        "etc/grants/sources",
    ],
)
def test_what_the_bots_user_may_not_read_is_named_with_that_user(place: str) -> None:
    """What root mounted into the container is neither absent nor a bug."""
    with open_folder() as base:
        root = base / "etc" / "grants"
        secrets = ("prod/registry.json", "prod/signing.key", "prod/signing.password")
        written(root, *secrets, "sources", content=b"acme/*\n")
        for path in (base / "etc").rglob("*"):
            path.chmod(0o755)
        read_all(root)

        with closed(base / place) as user, pytest.raises(ConfigurationError) as caught:
            read_all(root)

    assert f"{base / place}" in str(caught.value)
    assert f"user {user}" in str(caught.value)


def test_a_folder_that_may_not_be_read_is_a_refusal_of_its_members() -> None:
    with open_folder() as base:
        root = written(base / "grants", "prod/registry.json")
        with closed(root):
            (state,) = Grants(root, ["acme/manifests"]).state().grants

    assert isinstance(state.environments, Unknown)
    assert state.environments.is_refusal
