from __future__ import annotations

from dataclasses import replace

import pytest

from bot.domain.environments import ImageId
from bot.formats.foreign_images import foreign_in, is_allowed
from bot.formats.image_names import Names

OURS = ImageId("shop", "api")
NAMES = Names({"registry.example.com/acme/api": OURS}, {"api": (OURS,)})


def found(path: str, text: str) -> list[tuple[int, str]]:
    return [(one.line, one.text) for one in foreign_in(path, text, NAMES)]


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        (
            "pod.yaml",
            (
                "kind: Pod\nspec:\n  containers:\n  - name: a\n    image: nginx:1.27\n"
                "  - {name: b, image: 'registry.example.com/acme/api:v1'}\n"
            ),
            [(5, "nginx:1.27")],
        ),
        (
            "values.yaml",
            "image:\n  registry: quay.io\n  repository: prometheus/node-exporter\n  tag: v1\n",
            [(3, "quay.io/prometheus/node-exporter:v1")],
        ),
        ("values.yaml", "image: redis\ntag: '7'\n", [(1, "redis:7")]),
        (
            "kustomization.yaml",
            "images:\n- name: api\n  newName: ghcr.io/others/api\n  newTag: v2\n- name: nginx\n",
            [(2, "ghcr.io/others/api:v2")],
        ),
        (
            "pod.yaml",
            "spec: {volumes: [{image: {reference: 'quay.io/a/b:1'}}]}\n",
            [(1, "quay.io/a/b:1")],
        ),
        ("pod.yaml", "image: '{{ .Values.image }}'\n", []),
        ("pod.yaml", "image: api\n", []),
        ("pod.yaml", "image: [not, one]\n", []),
        ("pod.yaml", "image: nginx\nbroken: [\n", []),
        ("source.yaml", "spec: {repository: https://charts.example.com/stable}\n", []),
        ("note.txt", "image: nginx\n", []),
        ("policy.yaml", "apiVersion: kyverno.io/v1\nkind: Policy\nimage: nginx\n", []),
    ],
)
def test_images_of_others_are_told_with_their_line(
    path: str, text: str, expected: list[tuple[int, str]]
) -> None:
    assert found(path, text) == expected


@pytest.mark.parametrize(
    ("glob", "image", "allowed"),
    [
        ("nginx", "nginx:1.27", True),
        ("nginx", "docker.io/library/nginx@sha256:" + "1" * 64, True),
        ("nginx", "ghcr.io/acme/nginx:1", False),
        ("bitnami/*", "index.docker.io/bitnami/redis:7", True),
        ("bitnami/*", "docker.io/bitnami/a/b:7", False),
        ("quay.io/prometheus/**", "QUAY.io:443/prometheus/a/b:v1", True),
        ("*/acme/*", "registry.example.com/acme/x", True),
        ("**", "anything:1", True),
        ("quay.io/prometheus/*", "quay.io/prometheus-evil/x:1", False),
    ],
)
def test_globs_are_over_repositories_in_one_spelling(
    glob: str, image: str, *, allowed: bool
) -> None:
    assert is_allowed(image, [glob]) is allowed


def test_another_variant_in_a_repository_of_ours_is_managed_by_nobody() -> None:
    names = replace(NAMES, tag_match={OURS: "agent-*"})
    own = "image: registry.example.com/acme/api"
    text = f"{own}:agent-1\n---\n{own}:x\n"

    assert [one.line for one in foreign_in("pod.yaml", text, names)] == [3]
