"""In which order Helm values override each other, as the objects say that deploy a chart.

    charts_in(path, document)     # -> [ChartValues]: each with its layers, the lowest first

- Argo CD: the chart's own, ``valueFiles`` in their order, ``valuesObject`` or else ``values``, then
  ``parameters``; ``.argocd-source.yaml`` and ``.argocd-source-<application>.yaml`` in the chart's
  folder are merged into the source before (JSON merge patch: lists are replaced as a whole).
- Flux: the chart's own or ``valuesFiles`` in their order, then ``valuesFrom``, then ``values``.
- kustomize's ``helmCharts``: the chart's own, ``valuesFile``, ``valuesInline`` over it, then
  ``additionalValuesFiles``.
- Below all of them the values of charts below a chart, at the key that they are called by.

`tests/formats/test_value_layers.py` holds the order against the real tools.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from bot.formats.kustomization import local

CHART: Final = "Chart.yaml"
VALUES: Final = "values.yaml"
_ARGO_OVERRIDES: Final = ".argocd-source"
_PLAIN: Final = re.compile(r"[a-z0-9.-]+")
"""An object's name that nothing fills in."""
_DOT: Final = re.compile(r"(?<!\\)\.")
_INDEX: Final = re.compile(r"\[(\d+)\]")
_DEEPEST: Final = 5
"""Charts below charts that are looked into."""
Fields = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Doubt:
    """Why a layer decides more than it says."""

    words: str
    is_whole: bool = False
    """Also what it says cannot be believed; else only what it does not say below its mount."""


@dataclass(frozen=True, slots=True)
class Layer:
    """Values in one place."""

    file: str
    """Path in the repository."""
    pointer: str = ""
    """Where they stand in it; empty: they are the whole file."""
    document: int = 1
    """In which of its documents."""
    mount: str = ""
    """Where in the chart's values they are put, as a pointer; empty: they are all of them."""
    doubt: Doubt | None = None


@dataclass(frozen=True, slots=True)
class Helm:
    """What one file says of the `helm` of an Argo CD source."""

    file: str
    pointer: str
    document: int
    fields: Fields


@dataclass(frozen=True, slots=True)
class ArgoSource:
    """Where an Argo CD source takes its values from, so that others can be put over them."""

    application: str
    """The application's name; empty: any, as a template fills it in or it stands elsewhere."""
    parts: tuple[Helm, ...] = ()
    """The lowest first."""
    files: tuple[Layer, ...] = ()
    """The values files where no part names some."""


@dataclass(frozen=True, slots=True)
class ChartValues:
    """The values of one deployed chart."""

    file: str
    """Where the object stands that deploys it."""
    layers: tuple[Layer, ...]
    """The lowest first; those that are not there are left out by whoever looks."""
    unread: tuple[Layer, ...] = ()
    """Values that the deployer does not read."""
    folder: str = ""
    """Of the chart, where it may lie in this repository; empty: elsewhere."""
    argo: ArgoSource | None = None
    """How Argo CD deploys it; None: it does not."""
    release: tuple[str, str] | None = None
    """Name and namespace of the HelmRelease that deploys it; None: none does."""
    taken: tuple[tuple[str, str], ...] = ()
    """The objects that it takes values from (``valuesFrom``): name, and the key in it."""


def charts_in(
    path: str, document: object, number: int, *, is_kustomization: bool
) -> Iterator[ChartValues]:
    """The charts that one document of a file deploys, with the values that are named there."""
    yield from _charts(path, _map(document), number, is_kustomization=is_kustomization)


def is_argo_override(path: str) -> bool:
    """Whether Argo CD merges a file into the source whose folder it lies in."""
    name = posixpath.basename(path)
    return name == f"{_ARGO_OVERRIDES}.yaml" or (
        name.startswith(f"{_ARGO_OVERRIDES}-") and name.endswith(".yaml")
    )


def argo_override(folder: str, application: str = "") -> str:
    """The file that Argo CD merges into a source: of every application, or of one."""
    own = f"{_ARGO_OVERRIDES}-{application}" if application else _ARGO_OVERRIDES
    return posixpath.join(folder, f"{own}.yaml")


def overridden_by(chart: ChartValues, overrides: Iterable[tuple[str, object]]) -> ChartValues:
    """A chart of Argo CD's with what files in its folder say over it: path and document of each."""
    if chart.argo is None:
        return chart
    parts = [
        Helm(path, "/helm", 1, _map(_map(document).get("helm"))) for path, document in overrides
    ]
    source = replace(chart.argo, parts=(*chart.argo.parts, *parts))
    return _argo_values(chart.file, chart.folder, source)


def below_charts(
    folder: str, document: Callable[[str], object], charts: Callable[[str], Iterable[str]]
) -> list[Layer]:
    """The values of the charts below one, the lowest first, each at the key it is called by.

    Args:
        folder: of the chart.
        document: what a file says; nothing where there is none.
        charts: the folders of charts directly below a folder.
    """
    return list(_below_charts(folder, document, charts, "", 0))


def _below_charts(
    folder: str,
    document: Callable[[str], object],
    charts: Callable[[str], Iterable[str]],
    mount: str,
    depth: int,
) -> Iterator[Layer]:
    if depth == _DEEPEST:
        return
    named = [_map(one) for one in _list(_map(document(f"{folder}/{CHART}")).get("dependencies"))]
    beside = {
        str(one.get("name")): found
        for one in named
        if (text := str(one.get("repository", ""))).startswith("file://")
        and (found := value_file(folder, text.removeprefix("file://")))
    }
    for below in sorted({*charts(posixpath.join(folder, "charts")), *beside.values()}):
        own = _map(document(f"{below}/{CHART}")).get("name")
        name = str(own) if isinstance(own, str) else posixpath.basename(below)
        aliases = [str(one.get("alias") or name) for one in named if one.get("name") == name]
        for alias in dict.fromkeys(aliases or [name]):
            here = f"{mount}/{alias.replace('~', '~0').replace('/', '~1')}"
            yield from _below_charts(below, document, charts, here, depth + 1)
            yield Layer(posixpath.join(below, VALUES), mount=here)


def _charts(
    path: str, fields: Fields, number: int, *, is_kustomization: bool
) -> Iterator[ChartValues]:
    if is_kustomization:
        yield from _helm_charts(path, fields, number)
        return
    group, _, _ = str(fields.get("apiVersion", "")).rpartition("/")
    kind = fields.get("kind")
    if group == "argoproj.io" and kind in {"Application", "ApplicationSet"}:
        is_set = kind == "ApplicationSet"
        spec = _map(_map(_map(fields.get("spec")).get("template")).get("spec")) if is_set else None
        at = "/spec/template/spec" if is_set else "/spec"
        named = "" if is_set else str(_map(fields.get("metadata")).get("name") or "")
        own = spec if spec is not None else _map(fields.get("spec"))
        yield from _argo(path, own, at, number, named if _PLAIN.fullmatch(named) else "")
    elif group == "helm.toolkit.fluxcd.io" and kind == "HelmRelease":
        metadata = _map(fields.get("metadata"))
        release = str(metadata.get("name") or ""), str(metadata.get("namespace") or "")
        yield replace(_flux(path, _map(fields.get("spec")), number), release=release)


def lower_values(path: str, environment: str) -> str:
    """The ``values.yaml`` beside an environment's values (``values-prod.yaml``); empty: none.

    What nobody deploys here is deployed from elsewhere, by convention with both, in this order.
    """
    folder, name = posixpath.split(path)
    stem, dot, _ = name.rpartition(".")
    own = (f"values{sign}{environment}" for sign in "-._")
    others = (f"{environment}{sign}values" for sign in "-._")
    is_overlay = bool(dot) and stem in {*own, *others}
    return posixpath.join(folder, VALUES) if is_overlay else ""


def value_file(base: str, name: str) -> str:
    """A file of Argo CD's ``valueFiles`` as a path; empty where it lies elsewhere.

    ``$ref/path`` is another source's repository, taken for this one: what is not here is not read.
    """
    if name.startswith("$"):
        name, base = name.partition("/")[2], ""
    if "://" in name or not name:
        return ""
    path = posixpath.normpath(name.lstrip("/") if name.startswith("/") else f"{base}/{name}")
    return "" if path.startswith("..") else path.lstrip("/")


def _argo(path: str, spec: Fields, at: str, number: int, name: str) -> Iterator[ChartValues]:
    sources = [(_map(spec.get("source")), f"{at}/source")]
    sources += [
        (_map(one), f"{at}/sources/{index}") for index, one in enumerate(_list(spec.get("sources")))
    ]
    for source, here in sources:
        helm = _map(source.get("helm"))
        folder = posixpath.normpath(str(source.get("path") or "").strip("/")).strip(".")
        if helm or folder:
            part = Helm(path, f"{here}/helm", number, helm)
            yield _argo_values(path, folder, ArgoSource(name, (part,)))


def _argo_values(path: str, folder: str, source: ArgoSource) -> ChartValues:
    """The layers of a source; of parts that name the same list or text the last one counts."""
    parts = source.parts
    named, text = _last(parts, "valueFiles"), _last(parts, "values")
    listed = _last(parts, "parameters")
    layers = [Layer(posixpath.join(folder, VALUES))] if folder or source.files else []
    if named is not None:
        texts = _list(named.fields.get("valueFiles"))
        layers += [Layer(file) for each in texts if (file := value_file(folder, str(each)))]
    else:
        layers += source.files
    objects = [one for one in parts if one.fields.get("valuesObject") is not None]
    unread: list[Layer] = []
    for one in parts:
        if one.fields.get("values") and (objects or one is not text):
            unread.append(_at(one, "values"))
        if one.fields.get("parameters") and one is not listed:
            unread.append(_at(one, "parameters"))
    layers += [_at(one, "valuesObject") for one in objects if one.fields.get("valuesObject")]
    if not objects and text is not None and text.fields.get("values"):
        layers.append(_at(text, "values"))
    for index, given in enumerate(_list(listed.fields.get("parameters")) if listed else ()):
        if listed is not None and (dotted := str(_map(given).get("name", ""))):
            place = _at(listed, f"parameters/{index}/value")
            layers.append(replace(place, mount=_mounted(dotted)))
    return ChartValues(path, tuple(layers), tuple(unread), folder, source)


def _last(parts: Sequence[Helm], key: str) -> Helm | None:
    return next((one for one in reversed(parts) if key in one.fields), None)


def _at(part: Helm, key: str) -> Layer:
    return Layer(part.file, f"{part.pointer}/{key}", part.document)


def _mounted(dotted: str) -> str:
    r"""Helm's name of a value (``a.b\.c[0]``) as a pointer."""
    steps = [one.replace("\\.", ".") for one in _DOT.split(dotted)]
    named = "/".join(one.replace("~", "~0").replace("/", "~1") for one in steps)
    return "/" + _INDEX.sub(r"/\1", named)


def _flux(path: str, spec: Fields, number: int) -> ChartValues:
    chart = _map(_map(spec.get("chart")).get("spec"))
    folder = local("", str(chart.get("chart", ""))) or ""
    files = [posixpath.normpath(str(one).lstrip("/")) for one in _list(chart.get("valuesFiles"))]
    layers = [Layer(one) for one in files or ([posixpath.join(folder, VALUES)] if folder else [])]
    layers += [Layer(path, "/spec/values", number)] if spec.get("values") else []
    taken = tuple(
        (str(entry.get("name", "")), str(entry.get("valuesKey") or VALUES))
        for entry in map(_map, _list(spec.get("valuesFrom")))
        if not entry.get("targetPath")
    )
    return ChartValues(path, tuple(layers), folder=folder, taken=taken)


def _helm_charts(path: str, fields: Fields, number: int) -> Iterator[ChartValues]:
    directory = posixpath.dirname(path)
    home = str(_map(fields.get("helmGlobals")).get("chartHome") or "charts")
    for index, one in enumerate(_list(fields.get("helmCharts"))):
        entry = _map(one)
        own = f"{home}/{entry.get('name', '')}/{VALUES}"
        named = [own, *([str(entry["valuesFile"])] if entry.get("valuesFile") else [])]
        more = [str(other) for other in _list(entry.get("additionalValuesFiles"))]
        inline = [Layer(path, f"/helmCharts/{index}/valuesInline", number)]
        merge = entry.get("valuesMerge") or "override"
        files = [Layer(found) for text in named if (found := local(directory, text))]
        above = [Layer(found) for text in more if (found := local(directory, text))]
        if not entry.get("valuesInline"):
            layers = [*files, *above]
        elif merge == "replace":  # Helm itself still has the chart's own below
            layers = [*files[:1], *inline, *above]
        elif merge == "merge":  # the file wins over what is inline, be it the chart's own
            layers = [*files[:-1], *inline, *files[-1:], *above]
        else:
            layers = [*files, *inline, *above]
        folder = local(directory, posixpath.dirname(own)) or ""
        yield ChartValues(path, tuple(layers), folder=folder)


def _map(value: object) -> Fields:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
