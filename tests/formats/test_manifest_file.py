from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from bot.domain.errors import ConfigurationError
from bot.domain.publication import Place
from bot.formats.manifest_file import Names, Written, edited, file_state, references, spots
from tests.samples import sample

DEV = "registry.dev.example.com/acme/payments"
PROD = "registry.prod.example.com/acme/payments"
OLD = "sha256:" + "1" * 64
NEW = "sha256:" + "2" * 64
NAMES = Names({DEV: "payments", PROD: "payments"}, frozenset({"payments"}))
KUSTOMIZATION = """\
# our overlay
resources:
- ../../base   # shared
- github.com/acme/remote?ref=v1
patches:
- path: patch.yaml
images:
- name: other
  newTag: v1
- name: payments   # ours
  newName: {repository}
  digest: "{digest}"   # keep
namePrefix: prod-
"""


def one(path: str, text: str) -> Written:
    found = spots(path, text, NAMES)
    assert len(found) == 1
    return found[0].written


def test_a_kustomization_entry_is_edited_in_place() -> None:
    text = KUSTOMIZATION.format(repository=DEV, digest=OLD)
    place = Place("envs/prod/kustomization.yaml", "payments", 0)

    result, planned = edited(place.path, text, NAMES, {place: Written(PROD, "v2", NEW)})

    assert result == KUSTOMIZATION.format(repository=PROD, digest=NEW)
    assert [(c.pointer, c.old, c.new, c.document, c.line) for c in planned] == [
        ("/images/1/newName", DEV, PROD, 1, 10),
        ("/images/1/digest", OLD, NEW, 1, 10),
    ]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("tail", ["", "namePrefix: x\n"])
def test_a_missing_digest_is_inserted(newline: str, tail: str) -> None:
    text = f"images:\n  - name: payments\n    newName: {DEV}  # why\n{tail}".replace("\n", newline)
    place = Place("a/kustomization.yaml", "payments", 0)

    result, planned = edited(place.path, text, NAMES, {place: Written(DEV, "", NEW)})

    inserted = f"    digest: {NEW}{newline}"
    assert result.replace(inserted, "") == text
    assert result.count(newline) == text.count(newline) + 1
    assert (planned[0].old, planned[0].pointer) == (None, "/images/0/digest")


def test_a_flow_entry_and_a_file_without_final_newline() -> None:
    flow = "images: [{name: payments, newTag: v1}]"
    bare = "images:\n- name: payments\n  newTag: v1"
    place = Place("kustomization.yaml", "payments", 0)

    for text in (flow, bare):
        result, _ = edited(place.path, text, NAMES, {place: Written(PROD, "v2", NEW)})
        assert one("kustomization.yaml", result) == Written(PROD, "v2", NEW)


@pytest.mark.parametrize(
    "written",
    [
        f"{DEV}@{OLD}",
        f"{DEV}:v1@{OLD}",
        f"{DEV}:v1",
        DEV,
        f'"{DEV}@{OLD}"',
        f"'{DEV}:v1'",
        f"&anchor {DEV}:v1",
        f"!!str {DEV}:v1",
    ],
)
def test_a_workload_of_any_kind(written: str) -> None:
    text = (
        "\ufeffkind: Deployment\r\nspec: {template: {spec: {containers: [\r\n"
        f"  {{name: \U0001f600, image: {written} }}, # c\r\n"
        "  {name: b, image: other:v1}]}}}\r\n---\r\nimage: 7\r\n"
    )
    place = Place("a/deployment.yaml", "payments", 0)
    before = one(place.path, text)

    result, _ = edited(place.path, text, NAMES, {place: Written(PROD, "v2", NEW)})

    after = str(Written(PROD, "v2" if before.tag else "", NEW))
    assert result == text.replace(str(before), after)


def test_values_that_cannot_be_changed_in_place_are_refused() -> None:
    for text in (f'image: "{DEV}\\x3av1"', f"image: >-\n  {DEV}:v1\n"):
        with pytest.raises(ConfigurationError, match="plainly on one line"):
            spots("a.yaml", text, NAMES)


def test_two_containers_and_an_alias() -> None:
    text = f"a: {{image: &x '{DEV}@{OLD}'}}\nb: {{image: {DEV}:v1}}\nc: {{image: *x}}\n"

    found = spots("a.yaml", text, NAMES)

    assert [(s.place.ordinal, s.pointer) for s in found] == [(0, "/a/image"), (1, "/b/image")]


def test_an_alias_that_changes_too_is_not_planned() -> None:
    text = f"a: {{image: &x '{DEV}@{OLD}'}}\nc: {{other: *x}}\n"
    place = Place("a.yaml", "payments", 0)

    with pytest.raises(Exception, match="would change"):
        edited("a.yaml", text, NAMES, {place: Written(DEV, "", NEW)})


def test_names_of_other_images_are_not_ours() -> None:
    text = f"a: {{image: {DEV}-worker:v1}}\nb: {{image: x.{DEV}:v1}}\nc: {{image: payments:1}}\n"

    assert spots("a.yaml", text, NAMES) == []


def test_the_skeleton_ignores_digests_and_nothing_else() -> None:
    text = KUSTOMIZATION.format(repository=DEV, digest=OLD)
    path = "envs/prod/kustomization.yaml"
    state = file_state(path, text, NAMES)

    assert (
        file_state(path, text.replace(OLD, NEW).replace(DEV, PROD), NAMES).skeleton
        == state.skeleton
    )
    assert file_state(path, text.replace("our", "Our"), NAMES).skeleton != state.skeleton
    assert state.pins == {Place(path, "payments", 0): f"{DEV}@{OLD}"}
    assert state.references == {"base", "envs/prod/patch.yaml"}
    assert references("a/deployment.yaml", text) == frozenset()


@pytest.mark.parametrize(
    "text",
    [
        f"images:\n- name: payments   # ours\n  newName: {DEV}\nnamePrefix: prod-\n",
        f"images:\n- name: payments\n  newName: {DEV}",
        f"images:\n- {{name: payments, newName: {DEV}}}\n- name: other\n",
        "images:\n- name: payments\n",
    ],
)
def test_the_first_digest_leaves_the_skeleton_as_it_is(text: str) -> None:
    path = "envs/prod/kustomization.yaml"
    before = file_state(path, text, NAMES)
    (place,) = before.pins

    after, planned = edited(path, text, NAMES, {place: Written(DEV, "", NEW)})

    assert planned
    assert file_state(path, after, NAMES).skeleton == before.skeleton
    assert file_state(path, after, NAMES).pins == {place: f"{DEV}@{NEW}"}


@given(st.text(max_size=60), st.sampled_from(["\n", "\r\n"]), st.sampled_from(["", "'", '"']))
def test_only_the_planned_characters_change(noise: str, newline: str, quote: str) -> None:
    """Every edit changes only the planned scalars (invariant 4)."""
    comment = "".join(c for c in noise if c.isprintable())
    text = newline.join([f"# {comment}", f"image: {quote}{DEV}@{OLD}{quote} # {comment}", "b: 1"])
    place = Place("a.yaml", "payments", 0)

    result, _ = edited("a.yaml", text, NAMES, {place: Written(DEV, "", NEW)})

    assert result == text.replace(OLD, NEW)


@pytest.mark.slow
def test_real_manifests_change_by_exactly_their_image_lines() -> None:
    edits = 0
    for folder in ("microservices-demo", "flux2-kustomize-helm-example"):
        root = sample(f"manifests/{folder}")
        for file in sorted(root.rglob("*.y*ml")):
            text = file.read_bytes().decode()
            if "{{" in text:
                continue
            lines = [
                line.split("image:")[1].split("#")[0].strip()
                for line in text.splitlines()
                if " image: " in line
            ]
            repositories = {Written.parse(v.strip("'\"")).repository for v in lines if "/" in v}
            names = Names({repository: repository for repository in repositories})
            found = spots(file.name, text, names)
            wanted = {s.place: Written(s.written.repository, "", NEW) for s in found}
            result, _ = edited(file.name, text, names, wanted)
            pairs = list(zip(text.splitlines(), result.splitlines(), strict=True))
            assert sum(a != b for a, b in pairs) == len(found)
            assert all(b.replace(f"@{NEW}", "") == a for a, b in pairs)
            edits += len(found)
    assert edits > 20
