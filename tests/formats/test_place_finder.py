from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from bot.domain.environments import At, ImageId, Template, Write
from bot.domain.publication import LocationKey
from bot.formats.image_names import ImageField, Names, canonical_repository
from bot.formats.manifest_file import edited, file_state, read_file
from bot.formats.places import RemarkKind
from bot.formats.splice import scalar_text
from bot.formats.yaml_tree import Node, compose_all
from tests.samples import sample

HOST = "registry.prod.example.com"
PAYMENTS, CHECKOUT = ImageId("payments", "api"), ImageId("checkout", "api")
REPOSITORIES = {one: f"{HOST}/{one.application}/api" for one in (PAYMENTS, CHECKOUT)}
NAMES = Names(
    {repository: image for image, repository in REPOSITORIES.items()},
    {"api": (PAYMENTS, CHECKOUT)},
)
OLD, NEW = "sha256:" + "1" * 64, "sha256:" + "2" * 64

Style = Callable[[str, str], tuple[str, str, str]]
"""(repository, tag) -> path, text, and the reference that is written when it is promoted."""


def kustomization(repository: str, tag: str) -> tuple[str, str, str]:
    text = f"images:\n- name: api\n  newName: {repository}\n  newTag: {tag}\n"
    return "kustomization.yaml", text, f"newTag: v2\n  digest: {NEW}\n"


def flow(repository: str, tag: str) -> tuple[str, str, str]:
    text = f"images: [{{name: {repository}, newTag: {tag}}}]\n"
    return "kustomization.yaml", text, f"newTag: v2, digest: {NEW}}}"


def workload(repository: str, tag: str) -> tuple[str, str, str]:
    text = f"kind: Pod\nspec: {{containers: [{{name: x, image: '{repository}:{tag}'}}]}}\n"
    return "pod.yaml", text, f"'{repository}:v2@{NEW}'"


def json_object(repository: str, tag: str) -> tuple[str, str, str]:
    return "pod.json", f'{{"kind":"Pod","image":"{repository}:{tag}"}}', f'"{repository}:v2@{NEW}"'


def json_kustomization_values(repository: str, tag: str) -> tuple[str, str, str]:
    del tag
    text = f'{{"image": {{"repository": "{repository}"}}}}'
    return "values.json", text, f'"{repository}", "tag": "v2@{NEW}"}}'


def values_map(repository: str, tag: str) -> tuple[str, str, str]:
    text = f"image:\n  repository: {repository}\n  tag: {tag}  # c\n"
    return "values.yaml", text, f"  tag: v2@{NEW}  # c"


def values_digest(repository: str, tag: str) -> tuple[str, str, str]:
    host, _, path = repository.partition("/")
    text = f"image: {{registry: {host}, repository: {path}, tag: {tag}, digest: ''}}\n"
    return "values.yaml", text, f"tag: v2, digest: '{NEW}'"


def values_global(repository: str, tag: str) -> tuple[str, str, str]:
    host, _, path = repository.partition("/")
    text = f"global:\n  imageRegistry: {host}\nimage:\n  repository: {path}\n  tag: {tag}\n"
    return "values-prod.yaml", text, f"  tag: v2@{NEW}"


def values_sha(repository: str, tag: str) -> tuple[str, str, str]:
    text = f"image:\n  repository: {repository}\n  tag: {tag}\n  sha: {'1' * 64}\n"
    return "values.yaml", text, f'  tag: v2\n  sha: "{NEW[7:]}"'


def values_string(repository: str, tag: str) -> tuple[str, str, str]:
    return "values.yaml", f"image: {repository}:{tag}\n", f"image: {repository}:v2@{NEW}"


def values_sibling(repository: str, tag: str) -> tuple[str, str, str]:
    text = f"image: {repository}\nimageTag: {tag}\n"
    return "values.yaml", text, f"image: {repository}\nimageTag: v2@{NEW}"


def release(repository: str, tag: str) -> tuple[str, str, str]:
    values = f"    x:\n      repository: {repository}\n      tag: {tag}\n"
    text = f"kind: HelmRelease\nspec:\n  values:\n{values}"
    return "hr.yaml", text, f"      tag: v2@{NEW}"


def values_text(repository: str, tag: str) -> tuple[str, str, str]:
    text = (
        "kind: Application\nspec:\n  source:\n    helm:\n      values: |\n\n"
        f"        image:\n          repository: {repository}\n"
        f"          tag: {tag}\n\n        b: 1\n"
    )
    return "app.yaml", text, f"          tag: v2@{NEW}"


def patch_text(repository: str, tag: str) -> tuple[str, str, str]:
    text = (
        "patches:\n- patch: '[{op: replace, path: /spec/image, "
        f'value: "{repository}:{tag}"}}]\'\n'
    )
    return "kustomization.yaml", text, f'value: "{repository}:v2@{NEW}"'


def parameters(repository: str, tag: str) -> tuple[str, str, str]:
    text = (
        "kind: Application\nspec:\n  source:\n    helm:\n      parameters:\n"
        f"      - {{name: image.repository, value: {repository}}}\n"
        f"      - {{name: image.tag, value: {tag}}}\n"
    )
    return "app.yaml", text, f"name: image.tag, value: v2@{NEW}"


def argo_images(repository: str, tag: str) -> tuple[str, str, str]:
    text = f"spec:\n  source:\n    kustomize:\n      images: ['api={repository}:{tag}']\n"
    return "app.yaml", text, f"'api={repository}:v2@{NEW}'"


def flux_images(repository: str, tag: str) -> tuple[str, str, str]:
    text = (
        "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nspec:\n  images:\n"
        f"  - name: api\n    newName: {repository}\n    newTag: {tag}\n"
    )
    return "flux.yaml", text, f"    newTag: v2\n    digest: {NEW}\n"


def post_renderer(repository: str, tag: str) -> tuple[str, str, str]:
    text = (
        "kind: HelmRelease\nspec:\n  postRenderers:\n  - kustomize:\n      images:\n"
        f"      - {{name: x, newName: {repository}, newTag: {tag}}}\n"
    )
    return "hr.yaml", text, f"newTag: v2, digest: {NEW}}}"


def image_transformer(repository: str, tag: str) -> tuple[str, str, str]:
    text = (
        "kind: ImageTagTransformer\nimageTag:\n"
        f"  name: api\n  newName: {repository}\n  newTag: {tag}\n"
    )
    return "transformer.yaml", text, f"  newTag: v2\n  digest: {NEW}\n"


def values_inline(repository: str, tag: str) -> tuple[str, str, str]:
    text = (
        "helmCharts:\n- name: app\n  valuesInline:\n    image:\n"
        f"      repository: {repository}\n      tag: {tag}\n"
    )
    return "kustomization.yaml", text, f"      tag: v2@{NEW}\n"


def values_object(repository: str, tag: str) -> tuple[str, str, str]:
    text = (
        "apiVersion: argoproj.io/v1alpha1\nkind: ApplicationSet\nspec:\n  template:\n    spec:\n"
        "      sources:\n      - helm:\n          valuesObject:\n"
        f"            image: {{repository: {repository}, tag: {tag}}}\n"
    )
    return "set.yaml", text, f"tag: v2@{NEW}}}"


def argo_source(repository: str, tag: str) -> tuple[str, str, str]:
    text = f"kustomize:\n  images:\n  - {repository}:{tag}\n"
    return "app.yaml", text, f"  - {repository}:v2@{NEW}\n"


def volume(repository: str, tag: str) -> tuple[str, str, str]:
    text = (
        "kind: Pod\nspec:\n  volumes:\n  - name: x\n"
        f"    image: {{reference: '{repository}:{tag}'}}\n"
    )
    return "pod.yaml", text, f"reference: '{repository}:v2@{NEW}'"


def json_patch(repository: str, tag: str) -> tuple[str, str, str]:
    text = f'[{{"op": "add", "path": "/spec/image", "value": "{repository}:{tag}"}}]'
    return "patch.json", text, f'"{repository}:v2@{NEW}"'


def chain(repository: str, tag: str) -> tuple[str, str, str]:
    """A list of objects inside a literal block inside an object."""
    text = (
        "kind: Wrapper\nspec:\n  patch: |-\n    - op: replace\n      path: /spec/containers\n"
        f"      value:\n      - name: a\n        image: {repository}:{tag}\n"
    )
    return "wrapper.yaml", text, f"        image: {repository}:v2@{NEW}\n"


STYLES: tuple[Style, ...] = (
    kustomization,
    flow,
    workload,
    json_object,
    json_kustomization_values,
    values_map,
    values_digest,
    values_global,
    values_sha,
    values_string,
    values_sibling,
    release,
    values_text,
    patch_text,
    parameters,
    argo_images,
    flux_images,
    post_renderer,
    image_transformer,
    values_inline,
    values_object,
    argo_source,
    volume,
    json_patch,
    chain,
)
IN_ONE_FILE: tuple[Style, ...] = (
    workload,
    release,
    values_text,
    parameters,
    argo_images,
    flux_images,
    post_renderer,
    image_transformer,
    values_object,
    argo_source,
    volume,
    chain,
)
"""Styles that stand beside each other as documents of one file."""
TAGS = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,9}", fullmatch=True).filter(
    lambda t: scalar_text(t, "") == t
)


@given(
    st.sampled_from(STYLES),
    st.sampled_from([PAYMENTS, CHECKOUT]),
    TAGS,
    st.sampled_from(["\n", "\r\n"]),
)
def test_each_style_is_edited_for_its_own_application_alone(
    style: Style, image: ImageId, tag: str, newline: str
) -> None:
    """Two applications have an image `api`: an edit finds the wanted one, exactly, once."""
    path, text, expected = style(REPOSITORIES[image], tag)
    text, expected = text.replace("\n", newline), expected.replace("\n", newline)
    reading = read_file(path, text, NAMES)
    wanted = ImageField(REPOSITORIES[image], "v2", NEW)

    assert [(s.image, s.place.ordinal) for s in reading.locations] == [(image, 0)], reading.remarks
    assert reading.remarks == ()
    after, planned = edited(path, text, reading, {reading.locations[0].place: wanted})

    assert expected in after
    assert planned
    again = read_file(path, after, NAMES)
    assert edited(path, after, again, {again.locations[0].place: wanted}) == (after, [])
    assert file_state(after, again).skeleton == file_state(text, reading).skeleton


NOISE = st.sampled_from(
    [
        "# a comment: image\n",
        "kind: Note\ntext: 'image: api:v1'\n",
        "kind: Pod\nimage: quay.io/others/api:v1 # theirs\n",
        "\n\n",
        "kind: Folded\ntext: >\n  a \u00e4\n\n  b\n",
    ]
)


@given(
    st.lists(
        st.tuples(st.sampled_from(IN_ONE_FILE), st.sampled_from([PAYMENTS, CHECKOUT]), TAGS, NOISE),
        min_size=1,
        max_size=6,
    ),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["", "\ufeff"]),
)
def test_in_one_file_of_many_styles_the_wanted_application_alone_changes(
    parts: list[tuple[Style, ImageId, str, str]], newline: str, mark: str
) -> None:
    """Each document is of one of two applications, both with an image `api`."""
    documents = [(style(REPOSITORIES[image], tag), image) for style, image, tag, _ in parts]
    noises = [noise for _, _, _, noise in parts]
    pieces = [
        f"---\n{noise}---\n{text}"
        for noise, ((_, text, _), _) in zip(noises, documents, strict=True)
    ]
    pieces = [piece.replace("\n", newline) for piece in pieces]
    text = mark + "".join(pieces)
    reading = read_file("all.yaml", text, NAMES)
    assert [location.image for location in reading.locations] == [image for _, image in documents]
    assert reading.remarks == ()
    wanted = {
        location.place: ImageField(REPOSITORIES[PAYMENTS], "v2", NEW)
        for location in reading.locations
        if location.image == PAYMENTS
    }

    after, _ = edited("all.yaml", text, reading, wanted)

    rest = after.removeprefix("\ufeff")
    for piece, ((_, _, expected), image) in zip(pieces, documents, strict=True):
        if image == CHECKOUT:
            assert rest.startswith(piece)
            rest = rest.removeprefix(piece)
            continue
        head = piece.split(REPOSITORIES[PAYMENTS])[0]
        assert rest.startswith(head)
        end = rest.find(f"---{newline}", len(head))
        own = rest if end < 0 else rest[:end]
        assert expected.replace("\n", newline) in own
        rest = rest[len(own) :]
    assert rest == ""


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("placeholder", ["{{ .x }}", "${TAG}", "$(TAG)"])
def test_placeholders_are_refused_by_name(style: Style, placeholder: str) -> None:
    path, text, _ = style(REPOSITORIES[PAYMENTS], placeholder)
    if placeholder not in text:
        return
    quoted = text.replace(f": {placeholder}", f": '{placeholder}'")

    reading = read_file(path, quoted, NAMES)

    assert reading.locations == ()
    assert reading.remarks
    assert {r.kind for r in reading.remarks} <= {RemarkKind.REFUSED, RemarkKind.UNREADABLE}


def test_a_bare_name_of_two_applications_is_refused() -> None:
    reading = read_file("kustomization.yaml", "images:\n- name: api\n  newTag: v1\n", NAMES)

    assert reading.locations == ()
    assert "may be any of payments/api, checkout/api" in reading.remarks[0].reason


@pytest.mark.parametrize(
    ("spelled", "canonical"),
    [
        ("redis", "docker.io/library/redis"),
        ("acme/web", "docker.io/acme/web"),
        ("index.docker.io/acme/web", "docker.io/acme/web"),
        ("DOCKER.IO/library/redis", "docker.io/library/redis"),
        ("Registry.Example.com.:443/a", "registry.example.com/a"),
        ("localhost/a", "localhost/a"),
        ("localhost:5000/a", "localhost:5000/a"),
        ("a b", ""),
        ("Acme", ""),
    ],
)
def test_a_repository_has_one_canonical_spelling(spelled: str, canonical: str) -> None:
    assert canonical_repository(spelled) == canonical


@pytest.mark.parametrize(
    "tag",
    [
        "1.0",
        "1e3",
        "0755",
        "0x1f",
        "1_000",
        "12:30",
        "2001-01-01",
        "null",
        "y",
        "on",
        "~",
        "123e456",
        "0o17",
        "1.5.2e",
    ],
)
def test_a_tag_that_yaml_would_read_as_another_type_is_quoted(tag: str) -> None:
    text = f"images:\n- name: {REPOSITORIES[PAYMENTS]}\n  newTag: v1\n"
    reading = read_file("kustomization.yaml", text, NAMES)
    place = LocationKey("kustomization.yaml", "payments", "api", 0)
    wanted = ImageField(REPOSITORIES[PAYMENTS], tag, NEW)

    after, _ = edited("kustomization.yaml", text, reading, {place: wanted})

    is_plain = tag == "1.5.2e"
    assert (f'newTag: "{tag}"' in after) != is_plain


def test_a_variant_by_tag_is_left_alone() -> None:
    names = Names(NAMES.repositories, NAMES.short, {PAYMENTS: "v*"})
    repository = REPOSITORIES[PAYMENTS]
    text = f"a: {{image: '{repository}:agent-1'}}\nb: {{image: '{repository}:v1'}}\n"

    reading = read_file("a.yaml", text, names)

    assert [s.written.tag for s in reading.locations] == ["v1"]
    assert [r.kind for r in reading.remarks] == [RemarkKind.FOREIGN]


Shape = tuple[object, ...]


def shape(node: Node, seen: dict[int, int]) -> Shape:
    """Everything that places are found by; empty scalars apart, whose place is the parser's."""
    if id(node) in seen:
        return ("alias", seen[id(node)])
    seen[id(node)] = len(seen)
    value: object = node.value
    if isinstance(value, list):
        value = [
            tuple(shape(part, seen) for part in item)
            if isinstance(item, tuple)
            else shape(item, seen)
            for item in value
        ]
    marks = (
        (node.start_mark.line, node.start_mark.column, node.start_mark.index, node.end_mark.index)
        if value
        else ()
    )
    is_block = getattr(node, "style", "|") in {"|", ">"}
    return (type(node).__name__, value, marks[:3] if is_block else marks)


def both(text: str) -> list[list[Shape]]:
    return [
        [shape(node, {}) for node in compose_all(text, "x.yaml", pure=pure)]
        for pure in (False, True)
    ]


SCALARS = st.sampled_from(
    ["a", "1", "'q'", '"d"', "&x{n} b", "r.example.com/a:v1@sha256:" + "1" * 64, "é", "😀"]
)


@given(
    st.lists(st.tuples(SCALARS, st.integers(0, 3)), min_size=1, max_size=8),
    st.sampled_from(["\n", "\r\n"]),
)
def test_both_parsers_give_the_same_marks(items: list[tuple[str, int]], newline: str) -> None:
    lines = []
    for number, (written, kind) in enumerate(items):
        value = written.replace("{n}", str(number))
        lines += [
            [f"k{number}: {value} # c"],
            [f"k{number}:", f"  - {value}", f"  - {{m: {value.rpartition(' ')[2]}, n: [1, 2]}}"],
            [f"k{number}: |", "  x: y", f"k{number}x: {value}"],
            [f"? k{number}", f": {value.rpartition(' ')[2]}"],
        ][kind]
    text = newline.join(lines) + newline

    fast, pure = both(text)

    assert fast == pure


def test_both_parsers_agree_on_real_files() -> None:
    root = sample("manifests")
    compared = 0
    for file in sorted(Path(root).rglob("*.y*ml"))[:300]:
        text = file.read_bytes().decode()
        if "{{" in text:
            continue
        fast, pure = both(text)
        assert fast == pure, file
        compared += 1
    assert compared > 50


def test_a_scalar_that_is_named_for_two_images_is_nobodys() -> None:
    one, two = ImageId("one", "api"), ImageId("two", "api")
    at = tuple(At(image, Template("f.yaml"), "/image/tag", Write.TAG) for image in (one, two))
    found = read_file("f.yaml", "image: &i {tag: v1}\n", replace(NAMES, at=at))

    assert not found.locations
    assert [(remark.image, remark.kind) for remark in found.remarks] == [
        (one, RemarkKind.REFUSED),
        (two, RemarkKind.REFUSED),
    ]
    alone = read_file("f.yaml", "image: {tag: v1}\n", replace(NAMES, at=at[:1]))
    assert [location.image for location in alone.locations] == [one]


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ("values.yaml", "image:\n  repository: {0}\n  tag: {1}\n", "  tag: {2}\n"),
        ("values.yaml", "image: {0}\ntag: {1}\n", "\ntag: {2}\n"),
        (
            "app.yaml",
            (
                "source: {{helm: {{parameters: [{{name: image.repository, value: {0}}}, "
                "{{name: image.tag, value: '{1}'}}]}}}}\n"
            ),
            "value: '{2}'",
        ),
        (
            "app.yaml",
            (
                "source: {{helm: {{parameters: [{{name: a.repository, value: {0}}}, "
                "{{name: a.sha, value: '{3}'}}]}}}}\n"
            ),
            "value: '{3}'",
        ),
    ],
)
def test_a_digest_in_the_place_of_a_tag_stays_alone(path: str, text: str, expected: str) -> None:
    """What reads it puts an `@` before it: a tag would break the reference."""
    text = text.format(REPOSITORIES[PAYMENTS], OLD, "", OLD[7:])
    expected = expected.format("", "", NEW, NEW[7:])
    reading = read_file(path, text, NAMES)
    (location,) = reading.locations
    assert location.written.digest == OLD

    after, _ = edited(
        path, text, reading, {location.place: ImageField(REPOSITORIES[PAYMENTS], "v2", NEW)}
    )

    assert expected in after
    assert "v2" not in after


@pytest.mark.parametrize("tag", [":v1", f"@{OLD}"])
@pytest.mark.parametrize("style", [values_map, values_sibling, parameters])
def test_a_tag_that_brings_its_own_sign_is_refused(style: Style, tag: str) -> None:
    path, text, _ = style(REPOSITORIES[PAYMENTS], f"'{tag}'")

    reading = read_file(path, text, NAMES)

    assert reading.locations == ()
    assert any("nothing shows how it is joined" in one.reason for one in reading.remarks)
