from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from ruamel.yaml import YAML

from bot.domain.oci import InvalidNameError
from bot.formats.verification_policy import VERIFIERS, Images, SealPolicy, render_policy
from tests.world.keys import generate_key_pair

KEYS = [generate_key_pair(cost=32768).public for _ in range(2)]
ONE = Images.parse("prod.example.com/acme/payments")
BELOW = Images.parse("prod.example.com/acme/*")


def rendered(verifier: str, *, keys: int = 1, environment: str = "prod") -> Any:  # noqa: ANN401 - YAML
    policy = SealPolicy(environment, [ONE, BELOW], KEYS[:keys])
    return YAML(typ="safe", pure=True).load(render_policy(verifier, policy))


def test_kyverno_demands_the_key_and_the_environment() -> None:
    spec = rendered("kyverno")["spec"]

    (verification,) = spec["rules"][0]["verifyImages"]
    assert verification["imageReferences"] == [
        "prod.example.com/acme/payments:*",
        "prod.example.com/acme/payments@*",
        "prod.example.com/acme/*",
    ]
    assert (verification["required"], verification["failureAction"]) == (True, "Enforce")
    (entry,) = verification["attestors"][0]["entries"]
    assert entry["keys"]["publicKeys"].encode() == KEYS[0]
    assert entry["keys"]["rekor"] == {"ignoreTlog": True}
    assert entry["annotations"] == {"dev.lockkeeper/environment": "prod"}


def test_one_of_several_keys_is_enough() -> None:
    (kyverno,) = rendered("kyverno", keys=2)["spec"]["rules"][0]["verifyImages"]
    validating = rendered("kyverno-image-validating", keys=2)["spec"]
    controller = rendered("policy-controller", keys=2)["spec"]
    podman = rendered("podman", keys=2)["transports"]["docker"]

    assert kyverno["attestors"][0]["count"] == 1
    assert len(kyverno["attestors"][0]["entries"]) == 2
    assert validating["validations"][0]["expression"] == (
        "images.containers.all(image, verifyImageSignatures(image, [attestors.key1]) > 0"
        " || verifyImageSignatures(image, [attestors.key2]) > 0)"
    )
    assert [one["key"]["data"].encode() for one in controller["authorities"]] == KEYS
    (demand,) = podman["prod.example.com/acme"]
    assert [base64.b64decode(one) for one in demand["keyDatas"]] == KEYS


def test_image_validating_policies_look_at_every_container() -> None:
    spec = rendered("kyverno-image-validating")["spec"]

    looked = [one["expression"].partition(".all")[0] for one in spec["validations"]]
    assert looked == [
        "images.containers",
        "images.initContainers",
        "images.ephemeralContainers",
    ]
    assert spec["validationActions"] == ["Deny"]
    assert spec["attestors"][0]["cosign"]["ctlog"]["insecureIgnoreTlog"] is True


def test_policy_controllers_star_stops_at_a_slash() -> None:
    spec = rendered("policy-controller")["spec"]

    assert [one["glob"] for one in spec["images"]] == [
        "prod.example.com/acme/payments:*",
        "prod.example.com/acme/payments@*",
        "prod.example.com/acme/**",
    ]
    assert spec["mode"] == "enforce"


def test_podman_refuses_everything_else() -> None:
    policy = rendered("podman")

    assert policy["default"] == [{"type": "reject"}]
    (demand,) = policy["transports"]["docker"]["prod.example.com/acme/payments"]
    assert demand["type"] == "sigstoreSigned"
    assert base64.b64decode(demand["keyData"]) == KEYS[0]
    assert demand["signedIdentity"] == {"type": "matchRepository"}


def test_podman_is_told_to_look_for_signatures() -> None:
    scopes = rendered("podman-registries")["docker"]

    assert scopes == {
        "prod.example.com/acme/payments": {"use-sigstore-attachments": True},
        "prod.example.com/acme": {"use-sigstore-attachments": True},
    }


def test_keys_by_hand_belong_to_no_environment() -> None:
    document = rendered("kyverno", environment="")

    assert document["metadata"]["name"] == "lockkeeper"
    entry = document["spec"]["rules"][0]["verifyImages"][0]["attestors"][0]["entries"][0]
    assert "annotations" not in entry


@pytest.mark.parametrize("environment", ["Prod EU", "prod: {}", 'prod"\n- x', "ü"])
def test_names_cannot_break_out(environment: str) -> None:
    for verifier in VERIFIERS:
        text = render_policy(verifier, SealPolicy(environment, [ONE], KEYS[:1]))
        document = YAML(typ="safe", pure=True).load(text)

        assert "rules" in document.get("spec", {"rules": 0}) or verifier != "kyverno"
        name = document.get("metadata", {}).get("name", "lockkeeper")
        assert name.replace("-", "").isalnum()


def test_podmans_policy_is_json() -> None:
    text = render_policy("podman", SealPolicy("prod", [ONE], KEYS))

    assert json.loads(text)["default"]


@pytest.mark.parametrize(
    ("text", "path", "below"),
    [
        ("r.example.com/a/b", "r.example.com/a/b", False),
        ("r.example.com/a/*", "r.example.com/a", True),
        ("r.example.com:5000/*", "r.example.com:5000", True),
    ],
)
def test_repositories_are_named_one_by_one_or_by_their_path(
    text: str,
    path: str,
    below: bool,  # noqa: FBT001 - one expectation among others
) -> None:
    assert Images.parse(text) == Images(path, below=below)


@pytest.mark.parametrize(
    "text", ["*", "r.example.com", "r.example.com/a*", "r.example.com/*/b", ""]
)
def test_other_patterns_are_refused(text: str) -> None:
    with pytest.raises(InvalidNameError):
        Images.parse(text)
