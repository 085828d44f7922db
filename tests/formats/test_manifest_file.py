from __future__ import annotations

import base64

import pytest
from hypothesis import given, strategies as st

from bot.domain.environments import ImageId
from bot.domain.errors import ConfigurationError
from bot.domain.publication import FileState, LocationKey
from bot.formats import manifest_file
from bot.formats.image_names import ImageField, Names, canonical_repository
from bot.formats.manifest_file import file_state, locations, read_file
from bot.formats.places import PlannedChange, RemarkKind
from tests.samples import sample

DEV = "registry.dev.example.com/acme/payments"
PROD = "registry.prod.example.com/acme/payments"
OLD = "sha256:" + "1" * 64
NEW = "sha256:" + "2" * 64
OURS = ImageId("payments", "payments")
NAMES = Names({DEV: OURS, PROD: OURS}, {"payments": (OURS,)})
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


def place_in(path: str) -> LocationKey:
    return LocationKey(path, "payments", "payments", 0)


def edited(
    path: str, text: str, names: Names, wanted: dict[LocationKey, ImageField]
) -> tuple[str, list[PlannedChange]]:
    return manifest_file.edited(path, text, read_file(path, text, names), wanted)


def state_of(path: str, text: str) -> FileState:
    return file_state(text, read_file(path, text, NAMES))


def one(path: str, text: str) -> ImageField:
    found = locations(path, text, NAMES)
    assert len(found) == 1
    return found[0].written


def test_a_kustomization_entry_is_edited_in_place() -> None:
    text = KUSTOMIZATION.format(repository=DEV, digest=OLD)
    place = place_in("envs/prod/kustomization.yaml")

    result, planned = edited(place.path, text, NAMES, {place: ImageField(PROD, "v2", NEW)})

    assert result == KUSTOMIZATION.format(repository=PROD, digest=NEW)
    assert [(c.pointer, c.old, c.new, c.document, c.line) for c in planned] == [
        ("/images/1/newName", DEV, PROD, 1, 11),
        ("/images/1/digest", OLD, NEW, 1, 12),
    ]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("tail", ["", "namePrefix: x\n"])
def test_a_missing_digest_is_inserted(newline: str, tail: str) -> None:
    text = f"images:\n  - name: payments\n    newName: {DEV}  # why\n{tail}".replace("\n", newline)
    place = place_in("a/kustomization.yaml")

    result, planned = edited(place.path, text, NAMES, {place: ImageField(DEV, "", NEW)})

    inserted = f"    digest: {NEW}{newline}"
    assert result.replace(inserted, "") == text
    assert result.count(newline) == text.count(newline) + 1
    assert (planned[0].old, planned[0].pointer) == (None, "/images/0/digest")


def test_a_flow_entry_and_a_file_without_final_newline() -> None:
    flow = "images: [{name: payments, newTag: v1}]"
    bare = "images:\n- name: payments\n  newTag: v1"
    place = place_in("kustomization.yaml")

    for text in (flow, bare):
        result, _ = edited(place.path, text, NAMES, {place: ImageField(PROD, "v2", NEW)})
        assert one("kustomization.yaml", result) == ImageField(PROD, "v2", NEW)


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
    place = place_in("a/deployment.yaml")
    before = one(place.path, text)

    result, _ = edited(place.path, text, NAMES, {place: ImageField(PROD, "v2", NEW)})

    after = str(ImageField(PROD, "v2" if before.tag else "", NEW))
    assert result == text.replace(str(before), after)


def test_values_that_cannot_be_changed_in_place_are_refused() -> None:
    for text in (f'image: "{DEV}\\x3av1"', f"image: >-\n  {DEV}:v1\n"):
        with pytest.raises(ConfigurationError, match="plainly on one line"):
            edited("a.yaml", text, NAMES, {place_in("a.yaml"): ImageField(PROD, "v2", NEW)})


def test_two_containers_and_an_alias() -> None:
    text = f"a: {{image: &x '{DEV}@{OLD}'}}\nb: {{image: {DEV}:v1}}\nc: {{image: *x}}\n"

    found = locations("a.yaml", text, NAMES)

    assert [(s.place.ordinal, s.pointer) for s in found] == [(0, "/a/image"), (1, "/b/image")]

    text, planned = edited("a.yaml", text, NAMES, {place_in("a.yaml"): ImageField(DEV, "", NEW)})

    assert text.count(NEW) == len(planned) == 1


def test_an_alias_that_changes_too_is_not_planned() -> None:
    text = f"a: {{image: &x '{DEV}@{OLD}'}}\nc: {{other: *x}}\n"
    place = place_in("a.yaml")

    with pytest.raises(ConfigurationError, match="lines 1, 2 use for different things"):
        edited("a.yaml", text, NAMES, {place: ImageField(DEV, "", NEW)})


def test_names_of_other_images_are_not_ours() -> None:
    text = f"a: {{image: {DEV}-worker:v1}}\nb: {{image: x.{DEV}:v1}}\nc: {{image: payments:1}}\n"

    assert locations("a.yaml", text, NAMES) == []


def test_the_skeleton_ignores_digests_and_nothing_else() -> None:
    text = KUSTOMIZATION.format(repository=DEV, digest=OLD)
    path = "envs/prod/kustomization.yaml"
    state = state_of(path, text)

    assert state_of(path, text.replace(OLD, NEW).replace(DEV, PROD)).skeleton == state.skeleton
    assert state_of(path, text.replace("our", "Our")).skeleton != state.skeleton
    assert state.pins == {place_in(path): f"{DEV}@{OLD}"}
    assert state.references == {"base", "envs/prod/patch.yaml"}
    assert state_of("a/deployment.yaml", text).references == frozenset()


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
    before = state_of(path, text)
    (place,) = before.pins

    after, planned = edited(path, text, NAMES, {place: ImageField(DEV, "", NEW)})

    assert planned
    assert state_of(path, after).skeleton == before.skeleton
    assert state_of(path, after).pins == {place: f"{DEV}@{NEW}"}


@given(st.text(max_size=60), st.sampled_from(["\n", "\r\n"]), st.sampled_from(["", "'", '"']))
def test_only_the_planned_characters_change(noise: str, newline: str, quote: str) -> None:
    """Every edit changes only the planned scalars (invariant 4)."""
    comment = "".join(c for c in noise if c.isprintable())
    text = newline.join([f"# {comment}", f"image: {quote}{DEV}@{OLD}{quote} # {comment}", "b: 1"])
    place = place_in("a.yaml")

    result, _ = edited("a.yaml", text, NAMES, {place: ImageField(DEV, "", NEW)})

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
            repositories = {ImageField.parse(v.strip("'\"")).repository for v in lines if "/" in v}
            names = Names({canonical_repository(r): ImageId("x", r) for r in repositories})
            found = locations(file.name, text, names)
            wanted = {s.place: ImageField(s.written.repository, "", NEW) for s in found}
            result, _ = edited(file.name, text, names, wanted)
            pairs = list(zip(text.splitlines(), result.splitlines(), strict=True))
            assert sum(a != b for a, b in pairs) == len(found)
            assert all(b.replace(f"@{NEW}", "") == a for a, b in pairs)
            edits += len(found)
    assert edits > 20


def test_a_mention_outside_a_place_is_told_with_line_and_pointer() -> None:
    text = f"kind: Pod\nspec:\n  env:\n  - {{name: X, value: '{PROD}:v1'}}\n"

    (remark,) = read_file("a.yaml", text, NAMES).remarks

    assert (remark.kind, remark.line, remark.pointer) == (
        RemarkKind.MENTION,
        4,
        "/spec/env/0/value",
    )


def escapes(text: str) -> str:
    return '"' + "".join(f"\\x{ord(c):02x}" if c in "ea" else c for c in text) + '"'


ENCODED = base64.b64encode(f"{PROD}@{OLD}".encode()).decode()


@pytest.mark.parametrize(
    "value",
    [
        escapes(f"{PROD}@{OLD}"),
        f"!!binary {ENCODED}",
        f">-\n  {PROD}@{OLD}",
        f'"{PROD[:-4]}\\\n  {PROD[-4:]}@{OLD}"',
        f"{PROD.replace('registry', 'REGISTRY')}@{OLD}",
        f"{PROD.replace('.com/', '.com:443/')}@{OLD}",
        f"{PROD.replace('.com/', '.com./')}@{OLD}",
        f"mirror.example.net/{PROD}@{OLD}",
    ],
)
@pytest.mark.parametrize("key", ["image", "Image", "imageName"])
def test_no_spelling_of_ours_is_overlooked(key: str, value: str) -> None:
    """What a cluster would run as ours is a place, or is told."""
    found = read_file("a.yaml", f"kind: Pod\n{key}: {value}\n", NAMES)

    assert [s.written.canonical for s in found.locations] == [PROD] or [
        r.kind for r in found.remarks
    ] == [RemarkKind.MENTION]


@pytest.mark.parametrize("end", ["\u2028", "\u0085", "\r"])
def test_what_ends_a_line_for_kubernetes_ends_one_here(end: str) -> None:
    """A digest that a comment seems to hide is read as kustomize reads it."""
    text = f"images:\n- name: payments\n  newName: {PROD} # x{end}  digest: {OLD}\n"

    found = read_file("kustomization.yaml", text, NAMES)

    assert [s.written.digest for s in found.locations] == [OLD] or found.remarks


@pytest.mark.parametrize(
    "text",
    [
        f"Images:\n- name: payments\n  digest: {OLD}\n",
        f"images:\n- name: payments\n  newName: {PROD}\n  digest: {NEW}\n  Digest: {OLD}\n",
    ],
)
def test_keys_that_kustomize_reads_in_any_case_are_refused(text: str) -> None:
    found = read_file("kustomization.yaml", text, NAMES)

    assert found.locations == ()
    assert [r.kind for r in found.remarks] == [RemarkKind.REFUSED]
    assert "write it so" in found.remarks[0].reason


def test_a_file_that_cannot_be_read_says_so_and_whether_it_names_us() -> None:
    ours = read_file("a.yaml", f"image: {PROD}:v1\n\tx: y\n", NAMES)
    utf16 = read_file(
        "b.yaml",
        (f"\ufeffimage: {PROD}:v1\n").encode("utf-16-le").decode("utf-8", "surrogateescape"),
        NAMES,
    )

    assert [(r.kind, r.line) for r in ours.remarks] == [(RemarkKind.UNREADABLE, 2)]
    assert "line 1 names an image of ours" in ours.remarks[0].reason
    assert [r.kind for r in utf16.remarks] == [RemarkKind.UNREADABLE]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("env.yaml", f"kind: Pod\nenv: [{{name: A, value: '{PROD}:%s'}}]\n"),
        ("args.yaml", f"kind: Pod\nargs: ['--sidecar={PROD}@sha256:%s, and more']\n"),
        ("args.yaml", f"kind: Pod\nargs: [--image, '{PROD}', --digest, 'sha256:%s']\n"),
        ("args.yaml", f"kind: Pod\nargs: '--image={PROD} --digest=%s'\n"),
        ("text.yaml", f"data:\n  a: |\n    x\n    run {PROD}:%s now\n"),
        (
            "cr.yaml",
            f"kind: Engine\nspec: {{container: {{imageRepository: {PROD}, version: '%s'}}}}\n",
        ),
        (
            "cr.yaml",
            f"kind: E\nspec: {{imageName: {PROD}, pull: [x], build: {{a: 1}}, tag: '%s'}}\n",
        ),
        ("values.yaml", f"image: {PROD}:v1\ntag: '%s'\n"),
        (
            "values.yaml",
            f"image: {{repository: '{PROD}', tag: '%s', digest: '$(A)'}}\n",
        ),
        ("kustomization.yaml", f"images: [{{name: a, newName: '{PROD}:%s', newTag: v1}}]\n"),
        ("broken.yaml", f"image: {PROD}:%s\nbroken: [\n"),
    ],
)
def test_another_version_where_no_place_is_holds_anew(path: str, text: str) -> None:
    """Whoever let one image pass let no other one pass."""
    before, same, after = (
        manifest_file.unsealable(read_file(path, one, NAMES).remarks)
        for one in (text % "aaaaaaaa", "# a comment\n" + text % "aaaaaaaa", text % "bbbbbbbb")
    )

    assert before
    assert not before.keys() & after.keys()
    assert path == "broken.yaml" or before.keys() == same.keys()


def test_every_image_in_a_file_that_cannot_be_read_is_told_of() -> None:
    other, official = ImageId("shop", "web"), ImageId("tools", "ubuntu")
    names = Names({PROD: OURS, "quay.io/shop/web": other, "docker.io/library/ubuntu": official})
    text = f"a: [\nimage: {PROD}:v1\nimage: quay.io/shop/web\n- image: ubuntu:24.04\n"

    remarks = read_file("broken.yaml", text, names).remarks

    assert [(one.kind, one.image, one.reason.partition(" (")[2]) for one in remarks] == [
        (RemarkKind.UNREADABLE, OURS, "line 2 names an image of ours)"),
        (RemarkKind.UNREADABLE, other, "line 3 names an image of ours)"),
        (RemarkKind.UNREADABLE, official, "line 4 names an image of ours)"),
    ]


def test_docker_hub_is_found_by_its_name_among_many_namespaces() -> None:
    """The cheap look before parsing knows few beginnings of paths, and a host like any other."""
    many = {f"docker.io/team{n}/app": ImageId(f"app{n}", "app") for n in range(50)}

    found = locations("pod.yaml", "kind: Pod\nimage: docker.io/team7/app:1\n", Names(many))

    assert [one.image.application for one in found] == ["app7"]
