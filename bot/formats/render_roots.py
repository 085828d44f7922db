"""What deployers start from in an environment's files, and everything that goes into each.

    roots_of(tree, environment, repository)   # -> [RenderRoot]

A root is a kustomization that no other one of the environment refers to; a chart that an Argo CD
Application or a Flux HelmRelease takes from this repository, with their values; any other chart
among the environment's files, with the values files beside it; a folder outside of the
environment's files that an object deploys. What an object adds to a kustomization (``images``,
``patches``, ``components``) is written into it, as Argo CD and Flux do; what cannot be added here
is an obstacle. Two objects that deploy one folder are two roots.

Only what a root refers to is there while it is rendered, so that its identity is complete by
construction: a reference that is overlooked here makes the tool fail, and that is told.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from bot.domain.environments import Environment
from bot.domain.errors import RejectedError
from bot.domain.rendering import Parameter, RenderRoot, RenderTool, Values
from bot.formats.environment_files import Tree, literal_folder
from bot.formats.image_names import ImageField, has_placeholder
from bot.formats.kustomization import KUSTOMIZATIONS, is_kustomization, local
from bot.formats.links import LINK, followed
from bot.formats.manifest_file import is_manifest_file, is_values_file, text_of
from bot.formats.value_layers import argo_override, is_argo_override
from bot.formats.yaml_tree import compose_all, plain

_CHART: Final = "Chart.yaml"
_DEPLOYERS: Final = (b"argoproj.io", b"toolkit.fluxcd.io")
_NESTED: Final = ("generators", "transformers", "validators", "configurations")
_CHART_KEYS: Final = ("helmCharts", "helmChartInflationGenerator")
_MOST: Final = 20_000
"""Files of one root."""

Fields = Mapping[str, object]


def roots_of(
    tree: Tree,
    environment: Environment,
    repository: str,
    others: Sequence[Environment] = (),
    failed: Collection[str] = (),
) -> list[RenderRoot]:
    """Every root of an environment, in the order of their names.

    Args:
        tree: the files of one commit.
        environment: whose files are looked at.
        repository: ``owner/name`` of the manifests repository: sources of it lie in the tree.
        others: the other environments; what an object deploys of their files is theirs.
        failed: kustomizations (paths) that could not be rendered: they hide none that they refer
            to.
    """
    return _Roots(tree, environment, repository, others, failed).found()


class _Roots:
    def __init__(
        self,
        tree: Tree,
        environment: Environment,
        repository: str,
        others: Sequence[Environment],
        failed: Collection[str],
    ) -> None:
        self.tree, self.environment, self.repository = tree, environment, repository
        self.others, self.failed = others, failed
        self.documents: dict[str, list[Fields]] = {}
        self.roots: dict[str, RenderRoot] = {}
        self.deployed: set[str] = set()
        """Folders that an object deploys with something of its own."""
        self.plain: set[str] = set()
        """Folders that an object deploys as they are."""

    def found(self) -> list[RenderRoot]:
        own = list(self._own())
        for path in own:
            if not is_kustomization(path) and is_manifest_file(path):
                self._deployers(path)
        kustomizations = [path for path in own if is_kustomization(path)]
        self._kustomizations(kustomizations)
        self._charts([posixpath.dirname(p) for p in own if posixpath.basename(p) == _CHART], own)
        return [root for _, root in sorted(self.roots.items())]

    def _own(self) -> Iterator[str]:
        seen: set[str] = set()
        for glob in self.environment.manifests:
            for path in self.tree.under(literal_folder(glob)):
                if path not in seen and self.environment.owns(path):
                    seen.add(path)
                    yield path

    def _add(self, root: RenderRoot) -> None:
        name, count = root.name, 2
        while name in self.roots:
            name, count = f"{root.name} ({count})", count + 1
        self.roots[name] = replace(root, name=name)

    # --- kustomizations ---

    def _kustomizations(self, own: Sequence[str]) -> None:
        """Those that nothing refers to; of a circle that nothing else reaches, its first one."""
        named = {path: self._named(path) for path in own if not self._hides_nothing(path)}
        below = {target for path, targets in named.items() for target in targets - {path}}
        below = {path for path in below if posixpath.dirname(path) not in self.plain}
        for path in own:
            if path not in below and not self._is_component(path):
                self._kustomization(path)
        covered = {file for root in self.roots.values() for file in root.files}
        for path in own:
            if path not in covered and not self._is_component(path):
                self._kustomization(path)
                covered |= {file for root in self.roots.values() for file in root.files}

    def _hides_nothing(self, path: str) -> bool:
        """Whether nobody can render it: what it refers to may be deployed by itself."""
        folder = posixpath.dirname(path)
        return path in self.failed or any(
            local(folder, text) is None and _is_remote(text)
            for text in _references(self._document(path))
        )

    def _named(self, path: str) -> set[str]:
        """The kustomizations that one refers to, directly or through others."""
        found: set[str] = set()
        pending = [path]
        while pending:
            folder = posixpath.dirname(pending[-1])
            document = self._document(pending.pop())
            for text in _references(document):
                inner = self._kustomization_in(local(folder, text))
                if inner and inner not in found:
                    found.add(inner)
                    pending.append(inner)
        return found

    def _kustomization(self, path: str) -> None:
        folder = posixpath.dirname(path)
        if folder in self.deployed - self.plain:
            return
        name = folder or "."
        self._add(self._kustomize_root(name, path))
        for file, kustomize in self._overrides_in(folder, "kustomize"):
            self._add(self._kustomize_root(f"{name} with {file}", path, _argo_added(kustomize)))

    def _kustomize_root(self, name: str, path: str, added: Added | None = None) -> RenderRoot:
        """A kustomization, with what its deployer adds written into it."""
        document = self._document(path)
        is_there = bool(self.tree.mode(path))
        if added and is_there and not document:
            added = replace(added, obstacle="its kustomization cannot be read")
        closure = _Closure(self)
        if added:
            document = added.to(document)
            closure.add_document(document, posixpath.dirname(path))
        if is_there:
            closure.add(path)
        return RenderRoot(
            name=name,
            renderer=RenderTool.KUSTOMIZE,
            folder=posixpath.dirname(path),
            files=closure.sorted(),
            kustomization=path,
            overlay=json.dumps(document, default=str) if added else "",
            has_charts=closure.has_charts,
            obstacle=(added.obstacle if added else "") or closure.obstacle,
        )

    def _is_component(self, path: str) -> bool:
        return self._document(path).get("kind") == "Component"

    def _kustomization_in(self, path: str | None) -> str:
        """The kustomization that a reference means: a file of it, or the one of its folder."""
        target = ("", ()) if path == "" else followed(self.tree, path) if path else None
        if target is None:
            return ""
        if self.tree.mode(target[0]):
            return target[0] if is_kustomization(target[0]) else ""
        inside = (posixpath.join(target[0], name) for name in sorted(KUSTOMIZATIONS))
        return next((one for one in inside if self.tree.mode(one)), "")

    # --- charts ---

    def _charts(self, folders: Sequence[str], own: Sequence[str]) -> None:
        """Charts that nobody was found to deploy: their values, and each values file over them."""
        used = {file for root in self.roots.values() for file in root.files}
        for folder in folders:
            chart = f"{folder}/{_CHART}" if folder else _CHART
            if chart in used or "charts" in folder.split("/") or self._is_library(chart):
                continue
            values = [
                path
                for path in own
                if posixpath.dirname(path) == folder
                and is_values_file(path)
                and posixpath.basename(path) not in {"values.yaml", "values.schema.json"}
            ]
            for one in values or [""]:
                name = one or folder or "."
                self._add(self._chart_root(name, folder, [one] if one else []))
                for file, helm in self._overrides_in(folder, "helm"):
                    given = {"valueFiles": [f"/{one}"] if one else [], **helm}
                    self._argo_chart(f"{name} with {file}", "", folder, given, {}, {})

    def _is_library(self, chart: str) -> bool:
        return self._document(chart).get("type") == "library"

    def _chart_root(self, name: str, folder: str, values: Iterable[str | Values]) -> RenderRoot:
        closure = _Closure(self)
        closure.add_folder(folder)
        layers = [one if isinstance(one, Values) else Values(one) for one in values]
        lacking = [one.file for one in layers if one.file and not closure.add_file(one.file)]
        return RenderRoot(
            name=name,
            renderer=RenderTool.HELM,
            folder=folder,
            files=closure.sorted(),
            values=tuple(layers),
            obstacle=f"{lacking[0]} is not there" if lacking else closure.obstacle,
        )

    # --- objects that deploy ---

    def _deployers(self, path: str) -> None:
        content = self.tree.content(path)
        if self.tree.mode(path) == LINK or not any(one in content for one in _DEPLOYERS):
            return
        for document in self._documents(path):
            group, _, _ = str(document.get("apiVersion", "")).rpartition("/")
            kind, name = str(document.get("kind", "")), _text(document, "metadata", "name")
            label = f"{kind} {name} in {path}"
            match group, kind:
                case "argoproj.io", "Application":
                    self._argo(label, name, _map(document.get("spec")))
                case "argoproj.io", "ApplicationSet":
                    whole = _map(document.get("spec"))
                    template = _map(whole.get("template"))
                    self._argo(label, name, _map(template.get("spec")), _patched(whole))
                case "helm.toolkit.fluxcd.io", "HelmRelease":
                    self._flux_release(label, document)
                case "kustomize.toolkit.fluxcd.io", "Kustomization":
                    self._flux_kustomization(label, _map(document.get("spec")))
                case _:
                    pass

    def _argo(self, label: str, name: str, spec: Fields, obstacle: str = "") -> None:
        if spec.get("sourceHydrator"):
            self._elsewhere(label, RenderTool.HELM, "Argo CD hydrates its source to another branch")
        sources = [_map(one) for one in _list(spec.get("sources"))] or [_map(spec.get("source"))]
        references = {str(one["ref"]): one for one in sources if one.get("ref")}
        target = _map(spec.get("destination"))
        for own in sources:
            folder = self._source_folder(own)
            source = self._overridden(own, folder, name)
            helm, kustomize = _map(source.get("helm")), _map(source.get("kustomize"))
            if obstacle:
                self._elsewhere(label, RenderTool.HELM, obstacle)
            elif source.get("chart"):
                self._elsewhere(label, RenderTool.HELM, f"the chart {source['chart']} is remote")
            elif folder is None:
                if source.get("path") and not self._is_own(source):
                    why = f"its source {source.get('repoURL', '')} is another repository"
                    self._elsewhere(label, RenderTool.HELM, why)
            elif has_placeholder(folder):
                self._elsewhere(label, RenderTool.HELM, "an ApplicationSet fills in its path")
            elif source.get("plugin") is not None:
                self._elsewhere(label, RenderTool.HELM, "a plugin of Argo CD puts it together")
            elif self.tree.mode(posixpath.join(folder, _CHART)):
                self._argo_chart(label, name, folder, helm, references, target)
            elif inner := self._kustomization_in(folder):
                missing = self._missing_components(posixpath.dirname(inner), kustomize)
                self._deployed_kustomization(label, inner, _argo_added(kustomize, missing))
            else:
                self._plain_folder(label, folder, _map(source.get("directory")))

    def _missing_components(self, folder: str, kustomize: Fields) -> Collection[object]:
        """Components that are not there, where Argo CD leaves those out."""
        if not kustomize.get("ignoreMissingComponents"):
            return ()
        return [
            one
            for one in _list(kustomize.get("components"))
            if not self._kustomization_in(local(folder, str(one)))
        ]

    def _overridden(self, source: Fields, folder: str | None, name: str) -> Fields:
        """A source with what Argo CD merges into it from its folder."""
        if folder is None:
            return source
        merged = source
        for file in (argo_override(folder), argo_override(folder, name) if name else ""):
            for document in self._documents(file)[:1] if file else ():
                merged = _map(_merge_patch(merged, document))
        # What it may not change: only settings of the tools count.
        fixed = ("chart", "path", "repoURL", "targetRevision")
        return {**merged, **{key: source[key] for key in fixed if key in source}}

    def _overrides_in(self, folder: str, tool: str) -> Iterator[tuple[str, Fields]]:
        """What applications that stand elsewhere may have said over a folder, by file."""
        every = argo_override(folder)
        beside = (one for one in self.tree.under(folder) if posixpath.dirname(one) == folder)
        found = [one for one in beside if is_argo_override(one)]
        lower = self._overridden({}, folder, "")
        for file in found if len(found) == 1 else [one for one in found if one != every]:
            own = next(iter(self._documents(file)), {})
            said = _map(_map(_merge_patch(lower, own)).get(tool))
            if said:
                yield file, said

    def _argo_chart(
        self,
        label: str,
        name: str,
        folder: str,
        helm: Fields,
        references: Mapping[str, Fields],
        target: Fields,
    ) -> None:
        """Argo CD's order: values files, then values, then valuesObject, then parameters."""
        values: list[str | Values] = []
        obstacle = ""
        for file in map(str, _list(helm.get("valueFiles"))):
            path = self._argo_file(folder, file, references)
            if path is None:
                obstacle = f"its values file {file} lies elsewhere"
            elif self.tree.mode(path) or not helm.get("ignoreMissingValueFiles"):
                values.append(path)
        if helm.get("valuesObject") is not None:  # it takes the place of `values`
            values.append(Values(text=json.dumps(helm["valuesObject"])))
        elif isinstance(helm.get("values"), str):
            values.append(Values(text=str(helm["values"])))
        if helm.get("fileParameters"):
            obstacle = obstacle or "its fileParameters are not read here"
        parameters = tuple(
            Parameter(
                str(one.get("name", "")),
                str(one.get("value", "")),
                is_text=one.get("forceString") is True,
            )
            for one in map(_map, _list(helm.get("parameters")))
        )
        root = self._chart_root(label, folder, values)
        self._add_deployed(
            replace(
                root,
                parameters=parameters,
                release=str(helm.get("releaseName") or name or "release"),
                namespace=str(target.get("namespace") or "default"),
                obstacle=obstacle or root.obstacle,
            )
        )

    def _argo_file(self, folder: str, file: str, references: Mapping[str, Fields]) -> str | None:
        if "://" in file:
            return None
        if file.startswith("$"):
            name, _, rest = file[1:].partition("/")
            return rest if self._is_own(references.get(name, {})) else None
        return file.lstrip("/") if file.startswith("/") else local(folder, file)

    def _flux_release(self, label: str, document: Fields) -> None:
        spec, metadata = _map(document.get("spec")), _map(document.get("metadata"))
        chart = _map(_map(spec.get("chart")).get("spec"))
        folder = local("", str(chart.get("chart", "")))
        kind = _text(chart, "sourceRef", "kind")
        if spec.get("chartRef") or kind != "GitRepository" or folder is None:
            named = chart.get("chart") or _text(spec, "chartRef", "name")
            self._elsewhere(label, RenderTool.HELM, f"the chart {named} is remote")
            return
        if not self.tree.mode(f"{folder}/{_CHART}"):
            self._elsewhere(label, RenderTool.HELM, f"the chart {folder} is not in this repository")
            return
        # Relative to the source's root.
        first = [chart["valuesFile"]] if chart.get("valuesFile") else []  # the older spelling
        files = map(str, [*first, *_list(chart.get("valuesFiles"))])
        values: list[str | Values] = [posixpath.normpath(file.lstrip("/")) for file in files]
        values.append(Values(text=json.dumps(_map(spec.get("values")))))
        obstacle = _unread_release(spec)
        namespace = spec.get("targetNamespace") or metadata.get("namespace") or "default"
        release = spec.get("releaseName") or metadata.get("name") or "release"
        root = self._chart_root(label, folder, values)
        self._add_deployed(
            replace(
                root,
                release=str(release),
                namespace=str(namespace),
                obstacle=obstacle or root.obstacle,
            )
        )

    def _flux_kustomization(self, label: str, spec: Fields) -> None:
        """What Flux adds to a kustomization; without additions it is one like any other."""
        path, kind = str(spec.get("path") or "."), _text(spec, "sourceRef", "kind")
        folder = posixpath.normpath(path.lstrip("/") or ".")
        folder = "" if folder == "." else folder
        if kind not in {"", "GitRepository"}:
            self._elsewhere(label, RenderTool.KUSTOMIZE, f"its source is of the kind {kind}")
            return
        added = _flux_added(spec)
        inner = self._kustomization_in(folder)
        if inner:
            self._deployed_kustomization(label, inner, added, fills_in=bool(spec.get("postBuild")))
        else:
            fills_in = bool(spec.get("postBuild"))
            self._plain_folder(label, folder, {"recurse": True}, added, fills_in=fills_in)

    def _deployed_kustomization(
        self, label: str, inner: str, added: Added | None, *, fills_in: bool = False
    ) -> None:
        """A kustomization with what its deployer adds, or that no glob of the environment names."""
        root = self._kustomize_root(label, inner, added)
        if fills_in and self._has_variables(root):
            root = replace(root, obstacle=root.obstacle or "its postBuild fills in variables")
        if added or root.obstacle:
            self.deployed.add(posixpath.dirname(inner))
            self._add_deployed(root)
        elif self.environment.owns(inner):
            self.plain.add(posixpath.dirname(inner))
        else:
            self._add_deployed(root)

    def _has_variables(self, root: RenderRoot) -> bool:
        return "${" in root.overlay or any(b"${" in self.tree.content(one) for one in root.files)

    def _plain_folder(
        self,
        label: str,
        folder: str,
        directory: Fields,
        added: Added | None = None,
        *,
        fills_in: bool = False,
    ) -> None:
        """A folder without kustomization: its objects, where the environment's files lack some."""
        found = followed(self.tree, folder) if folder else ("", ())
        paths = list(self.tree.under(found[0])) if found else []
        if found is None or not paths:
            why = f"{folder or '.'} is not in this repository"
            self._elsewhere(label, RenderTool.KUSTOMIZE, why)
            return
        wholes = (
            set() if added is None else {posixpath.dirname(p) for p in paths if is_kustomization(p)}
        )
        is_deep = bool(directory.get("recurse"))
        objects = self._objects_in(found[0], paths, wholes, is_deep=is_deep)
        inner = [self._kustomization_in(one) or one for one in objects]
        is_owned = all(self.environment.owns(one) for one in inner)
        if is_owned and not (added or fills_in):
            return  # read as they are
        resources = [posixpath.relpath(one, found[0] or ".") for one in objects]
        base = added or Added()
        what = replace(base, lists={"resources": resources, **base.lists})
        path = posixpath.join(found[0], "kustomization.yaml")
        root = self._kustomize_root(label, path, what)
        obstacle = what.obstacle or _unread_directory(directory, paths)
        if fills_in and self._has_variables(root):
            obstacle = obstacle or "its postBuild fills in variables"
        self._add_deployed(replace(root, obstacle=obstacle or root.obstacle))

    def _objects_in(
        self, folder: str, paths: Iterable[str], wholes: Collection[str], *, is_deep: bool
    ) -> list[str]:
        """Files with objects; of Flux the folders with a kustomization too, each as a whole."""
        found: dict[str, None] = {}
        for path in sorted(paths):
            home = posixpath.dirname(path)
            above = next((one for one in _folders(home) if one in wholes), None)
            if home != folder and not is_deep:
                continue
            if above is not None:
                found[above] = None
            elif (
                is_manifest_file(path)
                and not is_kustomization(path)
                and any(one.get("kind") and one.get("apiVersion") for one in self._documents(path))
            ):
                found[path] = None
        return list(found)

    def _add_deployed(self, root: RenderRoot) -> None:
        """What an object deploys of another environment's files is looked at with that one."""
        for other in self.others:
            if any(other.owns(path) for path in root.files):
                why = f"it deploys files of {other.name}"
                root = replace(root, obstacle=root.obstacle or why)
        self._add(root)

    def _elsewhere(self, label: str, renderer: RenderTool, obstacle: str) -> None:
        self._add(RenderRoot(label, renderer, "", obstacle=obstacle))

    def _source_folder(self, source: Fields) -> str | None:
        """A source's folder in this repository; None where it lies in another one."""
        path = source.get("path")
        if not isinstance(path, str) or not self._is_own(source):
            return None
        return "" if path in {".", "./", "/", ""} else local("", path.lstrip("/"))

    def _is_own(self, source: Fields) -> bool:
        url = str(source.get("repoURL", "")).lower().removesuffix("/").removesuffix(".git")
        own = self.repository.lower()
        return url.endswith((f"/{own}", f":{own}")) or not url or has_placeholder(url)

    # --- documents ---

    def _document(self, path: str) -> Fields:
        """A file's documents together, as kustomize reads a kustomization."""
        merged: dict[str, object] = {}
        for one in self._documents(path):
            merged |= one
        return merged

    def _documents(self, path: str) -> list[Fields]:
        """The mappings of a file; none where it cannot be read: whoever needs it says so."""
        if path not in self.documents:
            found = followed(self.tree, path)
            is_there = found is not None and self.tree.mode(found[0])
            text = text_of(self.tree.content(found[0])) if found and is_there else ""
            self.documents[path] = list(_mappings(path, text))
        return self.documents[path]


@dataclass
class _Closure:
    """Everything that a root may read."""

    roots: _Roots
    files: set[str] = field(default_factory=set)
    has_charts: bool = False
    obstacle: str = ""

    def sorted(self) -> tuple[str, ...]:
        return tuple(sorted(self.files))

    def add_file(self, path: str) -> bool:
        """A file and the links that lead to it; whether there is one."""
        tree = self.roots.tree
        found = followed(tree, path)
        if found is None or not tree.mode(found[0]):
            return False
        self.files |= {found[0], *found[1]}
        return True

    def _add_links(self, path: str) -> None:
        """The links that lead to a folder or a file."""
        found = followed(self.roots.tree, path)
        self.files |= set(found[1]) if found else set()

    def add_folder(self, folder: str) -> None:
        """Everything below a folder."""
        found = followed(self.roots.tree, folder) if folder else ("", ())
        if found is None:
            return
        self.files |= set(found[1])
        for path in self.roots.tree.under(found[0]):
            if len(self.files) > _MOST:
                self.obstacle = f"more than {_MOST} files go into it"
                return
            self.add_file(path)

    def add(self, path: str, folder: str | None = None) -> None:
        """A kustomization and all that it names."""
        pending = [(path, posixpath.dirname(path) if folder is None else folder)]
        seen: set[tuple[str, str]] = set()
        while pending and not self.obstacle:
            one = pending.pop()
            if one not in seen and self.add_file(one[0]):
                seen.add(one)
                pending += self._named_by(*one)

    def add_document(self, document: Fields, folder: str) -> None:
        """All that a kustomization names that stands in no file."""
        for path, home in list(self._named_in(document, folder)):
            self.add(path, home)

    def _named_by(self, path: str, folder: str) -> Iterator[tuple[str, str]]:
        document = self.roots._document(path)  # noqa: SLF001 - the same module's other half
        return self._named_in(document, folder)

    def _named_in(self, document: Fields, folder: str) -> Iterator[tuple[str, str]]:
        """What a document names, relative to a folder: every text that is a path here.

        Keys are not asked: a text that means something else and is a path as well costs nothing.
        """
        nested = [text for key in _NESTED for text in _list(document.get(key))]
        if any(document.get(key) for key in _CHART_KEYS) or _inflates(document):
            self.has_charts = True
            home = _text(document, "helmGlobals", "chartHome") or "charts"
            self.add_folder(local(folder, home) or "")
        for text in _texts_in(document):
            target = local(folder, text)
            inner = self.roots._kustomization_in(target)  # noqa: SLF001 - as above
            if inner:
                self._add_links(str(target))
                yield inner, posixpath.dirname(inner)
            elif target and self.add_file(target):
                if text in nested:
                    yield target, folder
            elif target:
                self.add_folder(target)


# --- what objects add to a kustomization ---


@dataclass(frozen=True, slots=True)
class Added:
    """What a deployer writes into a kustomization before it is built."""

    images: Sequence[Fields] = ()
    """Each takes the place of one with its name: one entry may name what another made."""
    sorts_images: bool = False
    """All of them come in the order of their names, as `kustomize edit set image` has it."""
    lists: Mapping[str, Sequence[object]] = field(default_factory=dict)
    """Behind what stands there."""
    texts: Mapping[str, object] = field(default_factory=dict)
    """In place of what stands there."""
    maps: Mapping[str, Fields] = field(default_factory=dict)
    """Into what stands there."""
    obstacle: str = ""
    """What is added that nothing here can add."""

    def __bool__(self) -> bool:
        """Whether it changes anything."""
        return bool(self.images or self.lists or self.texts or self.maps or self.obstacle)

    def to(self, document: Fields) -> Fields:
        """A kustomization with it."""
        result = dict(document) | dict(self.texts)
        for key, values in self.lists.items():
            result[key] = [*_list(result.get(key)), *values]
        for key, entries in self.maps.items():
            result[key] = {**_map(result.get(key)), **entries}
        if self.images:
            every = [*map(_map, _list(result.get("images"))), *self.images]
            by_name = {str(one.get("name", "")): one for one in every}
            names = sorted(by_name) if self.sorts_images else by_name
            result["images"] = [by_name[name] for name in names]
        return result


def _argo_image(text: str) -> dict[str, str]:
    """``[name=]repository[:tag][@digest]`` as `kustomize edit set image` takes it."""
    name, equals, reference = text.partition("=")
    written = ImageField.parse(reference if equals else name)
    entry = {"name": name if equals else written.repository, "newName": written.repository}
    parts = {"newTag": written.tag, "digest": written.digest}
    return entry | {key: value for key, value in parts.items() if value}


_ARGO_TEXTS: Final = ("namePrefix", "nameSuffix", "namespace")
_ARGO_MAPS: Final = ("commonLabels", "commonAnnotations")
_ARGO_OTHERS: Final = frozenset(
    {
        *("images", "patches", "components", "ignoreMissingComponents", "replicas"),
        *("forceCommonLabels", "forceCommonAnnotations", "labelWithoutSelector"),
        *("labelIncludeTemplates", "commonAnnotationsEnvsubst"),
    }
)
"""Of Argo CD's source: those that are taken over, and those that say how labels are set."""
_FLUX_ADDS: Final = ("patchesStrategicMerge", "patchesJson6902")
"""Fields of Flux's older Kustomizations, whose form is another than kustomize's."""


def _argo_added(kustomize: Fields, left_out: Collection[object] = ()) -> Added:
    """What Argo CD's source adds to a kustomization (`kustomize edit`, and its patches)."""
    components = [one for one in _list(kustomize.get("components")) if one not in left_out]
    lists = {"patches": _list(kustomize.get("patches")), "components": components}
    known = {*_ARGO_TEXTS, *_ARGO_MAPS, *_ARGO_OTHERS}
    unknown = sorted(str(key) for key, value in kustomize.items() if value and key not in known)
    if any("*" in str(one) for one in _list(kustomize.get("images"))):
        unknown.append("images with an asterisk")
    return Added(
        images=[_argo_image(str(one)) for one in _list(kustomize.get("images"))],
        sorts_images=True,
        lists={key: values for key, values in lists.items() if values},
        texts={key: kustomize[key] for key in _ARGO_TEXTS if kustomize.get(key)},
        maps={key: _map(kustomize[key]) for key in _ARGO_MAPS if kustomize.get(key)},
        obstacle=f"its kustomize.{unknown[0]} is not rendered here" if unknown else "",
    )


def _flux_added(spec: Fields) -> Added:
    """What Flux's Kustomization adds to a kustomization."""
    unread = [key for key in _FLUX_ADDS if spec.get(key)]
    lists = {key: _list(spec.get(key)) for key in ("patches", "components")}
    names = {"namePrefix": "namePrefix", "nameSuffix": "nameSuffix", "targetNamespace": "namespace"}
    texts = {own: spec[key] for key, own in names.items() if spec.get(key)}
    missing = bool(spec.get("ignoreMissingComponents")) and bool(lists["components"])
    obstacle = f"its {unread[0]} is not rendered here" if unread else ""
    return Added(
        images=[_map(one) for one in _list(spec.get("images"))],
        lists={key: values for key, values in lists.items() if values},
        texts=texts,
        obstacle=obstacle or ("it leaves missing components out" if missing else ""),
    )


def _unread_release(spec: Fields) -> str:
    """What a HelmRelease adds that nothing here can add; empty: nothing."""
    if spec.get("valuesFrom"):
        return "its valuesFrom stand in the cluster"
    return "its postRenderers change what its chart gives" if spec.get("postRenderers") else ""


def _patched(spec: Fields) -> str:
    """What an ApplicationSet writes over its template; empty: nothing."""
    if spec.get("templatePatch"):
        return "its templatePatch is filled in by generators"
    pending: list[object] = [spec.get("generators")]
    while pending:
        one = pending.pop()
        if isinstance(one, list):
            pending += one
        elif isinstance(one, Mapping):
            if _map(one.get("template")):
                return "a generator's template takes the place of its own"
            pending += [value for key, value in one.items() if key not in {"elements", "values"}]
    return ""


def _unread_directory(directory: Fields, paths: Iterable[str]) -> str:
    """Why the objects of a folder are others than its files show; empty: they are those."""
    if directory.get("include") or directory.get("exclude"):
        return "its directory.include or exclude is not read here"
    if any(one.endswith((".jsonnet", ".libsonnet")) for one in paths):
        return "jsonnet makes its objects"
    return ""


def _folders(path: str) -> Iterator[str]:
    """A folder and those around it, the outermost first."""
    steps = path.split("/") if path else []
    yield ""
    for end in range(1, len(steps) + 1):
        yield "/".join(steps[:end])


# --- plain values ---


def _merge_patch(target: object, patch: object) -> object:
    """A JSON merge patch (RFC 7386): lists are replaced as a whole."""
    if not isinstance(patch, Mapping):
        return patch
    merged = dict(_map(target))
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merge_patch(merged.get(key), value)
    return merged


def _mappings(path: str, text: str) -> Iterator[Fields]:
    try:
        for root in compose_all(text, path):
            value = plain(root, path).value
            if isinstance(value, dict):
                yield value
    except RejectedError:
        return


def _references(document: Fields) -> Iterator[str]:
    """What a kustomization takes objects from."""
    for key in ("resources", "bases", "components", "generators", "transformers", "validators"):
        yield from (one for one in _list(document.get(key)) if isinstance(one, str))


def _is_remote(text: str) -> bool:
    """Whether kustomize would fetch it: no file of the repository."""
    return "://" in text or "?" in text or text.startswith(("git@", "git::", "github.com"))


def _inflates(document: Fields) -> bool:
    return document.get("kind") == "HelmChartInflationGenerator"


def _texts_in(value: object) -> Iterator[str]:
    """Every text below, and what stands behind ``=`` in it (``files: [key=path]``)."""
    pending = [value]
    while pending:
        one = pending.pop()
        if isinstance(one, Mapping):
            pending += one.values()
        elif isinstance(one, list):
            pending += one
        elif isinstance(one, str) and "\n" not in one:
            yield one
            if "=" in one:
                yield one.partition("=")[2]


def _map(value: object) -> Fields:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _text(document: Fields, *steps: str) -> str:
    value: object = document
    for step in steps:
        value = _map(value).get(step)
    return value if isinstance(value, str) else ""
