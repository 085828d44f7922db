"""Policies for those who decide what runs: the image must carry the environment's signature.

Each verifier reads another layout: docs/verify.md has the table. None of them sees time; an old
signature verifies for ever, and only the environment ref says what should run now.

Sources: kyverno.io (ClusterPolicy, `verifyImages`; ImageValidatingPolicy), sigstore/policy-
controller (ClusterImagePolicy, docs/api-types), containers-policy.json(5),
containers-registries.d(5).
"""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import LiteralScalarString

from bot.domain.oci import ImageRepository

_BELOW: Final = "/*"
_NAME: Final = re.compile(r"[^a-z0-9]+")
_TIMEOUT: Final = 30  # seconds; Kubernetes allows a webhook no more
ENVIRONMENT_ANNOTATION: Final = "dev.lockkeeper/environment"


@dataclass(frozen=True, slots=True)
class Images:
    """Image repositories: one, or all below a path."""

    path: str
    """``host/path``."""
    below: bool
    """Everything below that path, in place of that one repository."""

    @classmethod
    def parse(cls, text: str) -> Images:
        """Read ``host/path`` or ``host/path/*``; InvalidNameError for anything else."""
        path = text.removesuffix(_BELOW)
        if path != text and "/" not in path:
            return cls(ImageRepository.parse(f"{path}/any").host, below=True)
        return cls(str(ImageRepository.parse(path)), below=path != text)

    @property
    def kyverno(self) -> list[str]:
        """Kyverno's wildcards match slashes, and see tag and digest as a part of the name."""
        return [f"{self.path}/*"] if self.below else [f"{self.path}:*", f"{self.path}@*"]

    @property
    def globs(self) -> list[str]:
        """policy-controller's: a single star stops at a slash."""
        return [f"{self.path}/**"] if self.below else [f"{self.path}:*", f"{self.path}@*"]


@dataclass(frozen=True, slots=True)
class SealPolicy:
    """What has to be demanded."""

    environment: str
    """Empty where the keys were given by hand."""
    images: Sequence[Images]
    keys: Sequence[bytes]
    """Public keys in PEM; the signature of one is enough."""

    @property
    def name(self) -> str:
        """Of the Kubernetes object."""
        suffix = _NAME.sub("-", self.environment.lower()).strip("-")
        return f"lockkeeper-{suffix}" if suffix else "lockkeeper"

    @property
    def words(self) -> str:
        """What it says to whom it refuses."""
        place = f" for {self.environment}" if self.environment else ""
        return f"the image is not signed{place} by Lockkeeper"


def render_policy(verifier: str, policy: SealPolicy) -> str:
    """The policy as its verifier, one of `VERIFIERS`, reads it."""
    return VERIFIERS[verifier](policy)


def _kyverno(policy: SealPolicy) -> str:
    """ClusterPolicy, type Cosign: reads the `.sig` tag, and its annotations."""
    entries: list[dict[str, Any]] = []
    for key in policy.keys:
        entry: dict[str, Any] = {
            "keys": {
                "publicKeys": _block(key),
                "signatureAlgorithm": "sha256",
                "rekor": {"ignoreTlog": True},
                "ctlog": {"ignoreSCT": True},
            }
        }
        if policy.environment:
            entry["annotations"] = {ENVIRONMENT_ANNOTATION: policy.environment}
        entries.append(entry)
    rule = {
        "name": "signed-by-lockkeeper",
        "match": {"any": [{"resources": {"kinds": ["Pod"]}}]},
        "verifyImages": [
            {
                "type": "Cosign",
                "imageReferences": [one for images in policy.images for one in images.kyverno],
                "failureAction": "Enforce",
                "required": True,
                "mutateDigest": True,
                "verifyDigest": True,
                "attestors": [{"count": 1, "entries": entries}],
            }
        ],
    }
    return _yaml(
        "kyverno.io/v1",
        "ClusterPolicy",
        policy,
        {
            "background": False,
            "webhookConfiguration": {"failurePolicy": "Fail", "timeoutSeconds": _TIMEOUT},
            "rules": [rule],
        },
    )


def _kyverno_image_validating(policy: SealPolicy) -> str:
    """ImageValidatingPolicy: reads bundles where there are any, which carry no annotations here."""
    # An attestor's name stands in a CEL expression: no dash.
    names = [f"key{number}" for number, _ in enumerate(policy.keys, start=1)]
    attestors = [
        {
            "name": name,
            "cosign": {
                "key": {"data": _block(key)},
                # Kyverno 1.18 fails without the URL, although nothing is asked there.
                "ctlog": {
                    "url": "https://rekor.sigstore.dev",
                    "insecureIgnoreTlog": True,
                    "insecureIgnoreSCT": True,
                },
            },
        }
        for name, key in zip(names, policy.keys, strict=True)
    ]
    signed = " || ".join(f"verifyImageSignatures(image, [attestors.{name}]) > 0" for name in names)
    kinds = ("containers", "initContainers", "ephemeralContainers")
    expressions = [f"images.{kind}.all(image, {signed})" for kind in kinds]
    resources = {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": ["CREATE", "UPDATE"],
        "resources": ["pods", "pods/ephemeralcontainers"],
    }
    globs = [one for images in policy.images for one in images.kyverno]
    return _yaml(
        "policies.kyverno.io/v1",
        "ImageValidatingPolicy",
        policy,
        {
            "validationActions": ["Deny"],
            "failurePolicy": "Fail",
            "webhookConfiguration": {"timeoutSeconds": _TIMEOUT},
            "matchConstraints": {"resourceRules": [resources]},
            "matchImageReferences": [{"glob": glob} for glob in globs],
            "attestors": attestors,
            "validations": [
                {"expression": expression, "message": policy.words} for expression in expressions
            ],
        },
    )


def _policy_controller(policy: SealPolicy) -> str:
    """ClusterImagePolicy: reads the `.sig` tag; bundles only without keys."""
    authorities = [
        {
            "name": f"signing-{number}",
            "key": {"hashAlgorithm": "sha256", "data": _block(key)},
            "signatureFormat": "legacy",
        }
        for number, key in enumerate(policy.keys, start=1)
    ]
    globs = [one for images in policy.images for one in images.globs]
    return _yaml(
        "policy.sigstore.dev/v1beta1",
        "ClusterImagePolicy",
        policy,
        {
            "mode": "enforce",
            "images": [{"glob": glob} for glob in globs],
            "authorities": authorities,
        },
    )


def _podman(policy: SealPolicy) -> str:
    """`policy.json` of podman, CRI-O and skopeo: whatever it does not name is refused."""
    keys = [base64.b64encode(key).decode() for key in policy.keys]
    demand: dict[str, Any] = {
        "type": "sigstoreSigned",
        **({"keyData": keys[0]} if len(keys) == 1 else {"keyDatas": keys}),
        # Tags come and go; what the signature says of the repository is demanded.
        "signedIdentity": {"type": "matchRepository"},
    }
    scopes = {images.path: [demand] for images in policy.images}
    document = {"default": [{"type": "reject"}], "transports": {"docker": scopes}}
    return json.dumps(document, indent=2) + "\n"


def _podman_registries(policy: SealPolicy) -> str:
    """A file for `registries.d`: without it the signatures are not looked for."""
    scopes = {images.path: {"use-sigstore-attachments": True} for images in policy.images}
    return _dumped({"docker": scopes})


VERIFIERS: Final[Mapping[str, Callable[[SealPolicy], str]]] = {
    "kyverno": _kyverno,
    "kyverno-image-validating": _kyverno_image_validating,
    "policy-controller": _policy_controller,
    "podman": _podman,
    "podman-registries": _podman_registries,
}


def _yaml(version: str, kind: str, policy: SealPolicy, spec: Mapping[str, Any]) -> str:
    return _dumped(
        {"apiVersion": version, "kind": kind, "metadata": {"name": policy.name}, "spec": spec}
    )


def _block(pem: bytes) -> object:
    return LiteralScalarString(pem.decode())


def _dumped(document: Mapping[str, Any]) -> str:
    yaml, out = YAML(pure=True), io.StringIO()
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.width = 1000
    yaml.dump(document, out)
    return out.getvalue()
