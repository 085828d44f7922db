"""In which order Helm values override each other, as the objects say that deploy a chart.

    charts_in(path, document)     # -> [ChartValues]: each with its layers, the lowest first

- Argo CD: the chart's own, ``valueFiles`` in their order, ``valuesObject`` or else ``values``, then
  ``parameters``.
- Flux: the chart's own or ``valuesFiles`` in their order, then ``values``.
- kustomize's ``helmCharts``: the chart's own, ``valuesFile``, ``valuesInline`` over it, then
  ``additionalValuesFiles``.

`tests/formats/test_value_layers.py` holds the order against the real tools.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from bot.formats.kustomization import local

VALUES: Final = "values.yaml"
Fields = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Layer:
    """Values in one place."""

    file: str
    """Path in the repository."""
    pointer: str = ""
    """Where they stand in it; empty: they are the whole file."""
    document: int = 1
    """In which of its documents."""


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
    parameters: tuple[tuple[str, str], ...] = ()
    """Dotted name -> pointer to its value: over all layers."""


def charts_in(
    path: str, document: object, number: int, *, is_kustomization: bool
) -> Iterator[ChartValues]:
    """The charts that one document of a file deploys, with the values that are named there."""
    for chart in _charts(path, _map(document), is_kustomization=is_kustomization):
        layers, unread = (
            tuple(replace(one, document=number) if one.pointer else one for one in some)
            for some in (chart.layers, chart.unread)
        )
        yield replace(chart, layers=layers, unread=unread)


def _charts(path: str, fields: Fields, *, is_kustomization: bool) -> Iterator[ChartValues]:
    if is_kustomization:
        yield from _helm_charts(path, fields)
        return
    group, _, _ = str(fields.get("apiVersion", "")).rpartition("/")
    kind = fields.get("kind")
    if group == "argoproj.io" and kind in {"Application", "ApplicationSet"}:
        is_set = kind == "ApplicationSet"
        spec = _map(_map(_map(fields.get("spec")).get("template")).get("spec")) if is_set else None
        at = "/spec/template/spec" if is_set else "/spec"
        yield from _argo(path, spec if spec is not None else _map(fields.get("spec")), at)
    elif group == "helm.toolkit.fluxcd.io" and kind == "HelmRelease":
        yield _flux(path, _map(fields.get("spec")))


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


def _argo(path: str, spec: Fields, at: str) -> Iterator[ChartValues]:
    sources = [(_map(spec.get("source")), f"{at}/source")]
    sources += [
        (_map(one), f"{at}/sources/{index}") for index, one in enumerate(_list(spec.get("sources")))
    ]
    for source, here in sources:
        helm = _map(source.get("helm"))
        folder = str(source.get("path") or "").strip("/")
        if not (helm or folder):
            continue
        files = [value_file(folder, str(one)) for one in _list(helm.get("valueFiles"))]
        layers = [Layer(posixpath.join(folder, VALUES))] if folder else []
        layers += [Layer(one) for one in files if one]
        has_object = helm.get("valuesObject") is not None
        key = "valuesObject" if has_object else "values"
        unread = [Layer(path, f"{here}/helm/values")] if has_object and helm.get("values") else []
        layers += [Layer(path, f"{here}/helm/{key}")] if helm.get(key) else []
        parameters = tuple(
            (str(_map(one).get("name", "")), f"{here}/helm/parameters/{index}/value")
            for index, one in enumerate(_list(helm.get("parameters")))
        )
        yield ChartValues(path, tuple(layers), tuple(unread), folder, parameters)


def _flux(path: str, spec: Fields) -> ChartValues:
    chart = _map(_map(spec.get("chart")).get("spec"))
    folder = local("", str(chart.get("chart", ""))) or ""
    files = [posixpath.normpath(str(one).lstrip("/")) for one in _list(chart.get("valuesFiles"))]
    layers = [Layer(one) for one in files or ([posixpath.join(folder, VALUES)] if folder else [])]
    layers += [Layer(path, "/spec/values")] if spec.get("values") else []
    return ChartValues(path, tuple(layers), folder=folder)


def _helm_charts(path: str, fields: Fields) -> Iterator[ChartValues]:
    directory = posixpath.dirname(path)
    home = str(_map(fields.get("helmGlobals")).get("chartHome") or "charts")
    for index, one in enumerate(_list(fields.get("helmCharts"))):
        entry = _map(one)
        own = f"{home}/{entry.get('name', '')}/{VALUES}"
        named = [own, *([str(entry["valuesFile"])] if entry.get("valuesFile") else [])]
        more = [str(other) for other in _list(entry.get("additionalValuesFiles"))]
        inline = [Layer(path, f"/helmCharts/{index}/valuesInline")]
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
