"""The files of one environment together: what they say of our images, and what reaches what.

Some things no file tells alone: a kustomization replaces what a base says, an entry that no
object uses does nothing, a base lies outside the globs, a link leads elsewhere.
"""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from graphlib import CycleError, TopologicalSorter
from itertools import islice, product
from typing import Protocol, TypeVar

from bot.domain.environments import Environment
from bot.domain.errors import RejectedError
from bot.domain.oci import Digest, ImageRepository
from bot.domain.publication import LocationKey
from bot.formats.chart_labels import values_in_labels
from bot.formats.chart_reads import Reads, reads_of
from bot.formats.image_names import Names
from bot.formats.kustomization import KUSTOMIZATIONS, generated, is_kustomization, local
from bot.formats.layered_values import Layered, Overridden
from bot.formats.links import LINK, resolved
from bot.formats.manifest_file import (
    Reading,
    composes,
    container_images,
    is_manifest_file,
    is_named,
    is_values_file,
    read_file,
    references,
    skeleton_of,
    text_of,
)
from bot.formats.object_patches import Patch, Target, layers_over, patches_of, touching
from bot.formats.places import ImageLocation, Remark, RemarkKind
from bot.formats.value_layers import (
    CHART,
    VALUES,
    ArgoSource,
    ChartValues,
    Layer,
    argo_override,
    below_charts,
    is_argo_override,
    lower_values,
    overridden_by,
)
from bot.formats.yaml_tree import Node, compose_all, plain

T = TypeVar("T")
_MOST_WAYS = 100
"""Objects of one name that are taken for the one that a release means."""


class Tree(Protocol):
    """The files of a repository at one commit, or of a checkout."""

    @property
    def has_links(self) -> bool:
        """Whether a link may lie anywhere."""

    def mode(self, path: str) -> str:
        """Git's mode of a file; empty where there is none."""

    def under(self, folder: str) -> Iterable[str]:
        """Every file below a folder; of the whole repository for an empty one."""

    def content(self, path: str) -> bytes:
        """A file's bytes; a link's are where it leads."""

    def readings(self, paths: Collection[str], names: Names) -> Mapping[str, Reading]:
        """What `read_file` says of many files, as far as it is at hand or read together."""

    def reading(
        self, path: str, names: Names, *, is_values: bool, read: Callable[[], Reading]
    ) -> Reading:
        """What `read` says, kept where the tree keeps such things."""

    def fact(self, about: str, path: str, read: Callable[[bytes], T]) -> T:
        """What `read` says of a file's bytes, kept in the same way; ``about`` names the fact."""


@dataclass(frozen=True)
class EnvironmentFiles:
    """What an environment's files, and those that they refer to, say of our images."""

    readings: Mapping[str, Reading] = field(default_factory=dict)
    """Path -> what it says, of every file that says something."""
    beyond: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Path -> the files that it reaches and that no glob of the environment names."""
    asked: frozenset[str] = frozenset()
    """Paths that were looked at beside the files of the globs, whether there is one or not; a
    folder ends in a slash."""

    @cached_property
    def locations(self) -> Sequence[ImageLocation]:
        """Every place, by path and in the file's order."""
        return [location for _, one in self._sorted for location in one.locations]

    @cached_property
    def remarks(self) -> Sequence[Remark]:
        """Everything else that speaks of us."""
        return [remark for _, one in self._sorted for remark in one.remarks]

    @cached_property
    def _sorted(self) -> Sequence[tuple[str, Reading]]:
        return sorted(self.readings.items())

    @cached_property
    def _by_application(self) -> Mapping[str, Sequence[ImageLocation]]:
        found: dict[str, list[ImageLocation]] = {}
        for location in self.locations:
            found.setdefault(location.place.application, []).append(location)
        return found

    def locations_of(self, application: str) -> Sequence[ImageLocation]:
        """The places of one application, in the same order."""
        return self._by_application.get(application, ())

    @cached_property
    def by_place(self) -> Mapping[LocationKey, ImageLocation]:
        """The place -> what is known of it."""
        return {location.place: location for location in self.locations}

    @cached_property
    def shown(self) -> frozenset[tuple[ImageRepository, Digest]]:
        """Which digests stand at its places, and where."""
        references = (location.written.reference() for location in self.locations)
        return frozenset((r.repository, r.digest) for r in references if r and r.digest)

    def depend_on(self, path: str) -> bool:
        """Whether a file that was looked at went into this, or would have if it had been there.

        A link in the place of one of its folders would lead elsewhere.
        """
        folders = (path[: at + 1] for at, one in enumerate(path) if one == "/")
        if "" in self.asked:  # the whole repository
            return True
        return (
            path in self.asked
            or path in self._asked_folders
            or any(folder in self.asked for folder in folders)
        )

    @cached_property
    def _asked_folders(self) -> frozenset[str]:
        found = set[str]()
        for path in self.asked:
            folder = posixpath.dirname(path)
            while folder and folder not in found:
                found.add(folder)
                folder = posixpath.dirname(folder)
        return frozenset(found)

    def reading(self, path: str) -> Reading:
        """What one file says."""
        return self.readings.get(path) or Reading(path)

    def remarks_of(self, path: str) -> list[Remark]:
        """What one file says of us that is no place, and what it brings along from elsewhere."""
        paths = (path, *sorted(self.beyond.get(path, ())))
        return [remark for one in paths for remark in self.reading(one).remarks]


def read_environment(tree: Tree, environment: Environment, names: Names) -> EnvironmentFiles:
    """Read an environment's files, and what its kustomizations refer to, wherever it lies."""
    return _Environment(tree, environment, names).read()


@dataclass(frozen=True)
class _Noted:
    """A tree, with every path that was asked for: with another answer all is read anew."""

    tree: Tree
    asked: set[str]

    def mode(self, path: str) -> str:
        """Git's mode of a file; empty where there is none."""
        self.asked.add(path)
        return self.tree.mode(path)

    def content(self, path: str) -> bytes:
        """A file's bytes; a link's are where it leads."""
        return self.tree.content(path)


class _Environment:
    def __init__(self, tree: Tree, environment: Environment, names: Names) -> None:
        self.tree, self.environment, self.names = tree, environment, names
        self.readings: dict[str, Reading] = {}
        self.needs: dict[str, frozenset[str]] = {}
        """Path -> files that it refers to, directories resolved to their kustomization."""
        self.parents: dict[str, set[str]] = {}
        self.documents: dict[str, Sequence[Node]] = {}
        self.ways: dict[frozenset[str], Sequence[list[str]]] = {}
        """The kustomizations right above a file -> all above it."""
        self.reads: dict[str, Reads] = {}
        self.labels: dict[str, Mapping[str, str]] = {}
        self.below: dict[str, Sequence[Layer]] = {}
        """A chart's folder -> the values of the charts below it."""
        self.patches: dict[str, Sequence[Patch]] = {}
        """A kustomization -> what it patches."""
        self.own: dict[str, None] = dict.fromkeys(self._own())
        """Every file and link that a glob names."""
        self.asked: set[str] = set()
        self.noted = _Noted(tree, self.asked)
        self.straight: set[str] = set()
        """Folders that are no links, nor is one above them."""
        self.found: dict[str, tuple[str, ...]] = {}
        """Reference -> the files that it means."""

    def read(self) -> EnvironmentFiles:
        links = self._links()
        files = [path for path in self.own if path not in links and is_manifest_file(path)]
        known = self.tree.readings(files, self.names)
        for path in files:
            self.readings[path] = known.get(path) or self._read(path)
        for path in links:
            self._link(path)
        self._follow([path for path in self.own if path in self.readings])
        self._values_again()
        self._layered()
        self._patched_objects()
        composed = {
            path: remarks
            for path, reading in self.readings.items()
            if reading.kustomization and (remarks := tuple(self._composed(path)))
        }
        self._judge()
        for path, remarks in composed.items():
            reading = self.readings[path]
            self.readings[path] = replace(reading, remarks=(*reading.remarks, *remarks))
        found = {
            p: r for p, r in self.readings.items() if r.locations or r.remarks or references(r)
        }
        beyond = {path: reached for path in found if (reached := self._beyond(path))}
        return EnvironmentFiles(found, beyond, frozenset(self.asked - self.own.keys()))

    def _own(self) -> Iterator[str]:
        for glob in self.environment.manifests:
            folder = literal_folder(glob)
            is_all = glob == f"{folder}/**"
            for path in self.tree.under(folder):
                if is_all or self.environment.owns(path):
                    yield path

    def _links(self) -> dict[str, None]:
        if not self.tree.has_links:
            return {}
        return dict.fromkeys(path for path in self.own if self.tree.mode(path) == LINK)

    def _read(self, path: str, *, is_values: bool = False) -> Reading:
        def read() -> Reading:
            text = text_of(self.tree.content(path))
            return read_file(path, text, self.names, is_values=is_values)

        found = self.tree.reading(path, self.names, is_values=is_values, read=read)
        self.readings[path] = found
        return found

    # --- what refers to what ---

    def _follow(self, pending: list[str]) -> None:
        """Read what kustomizations refer to; files that no glob names hold no places."""
        while pending:
            beyond = self._needed_by(pending)
            self.tree.readings(beyond, self.names)
            for path in beyond:
                self._outside(path)
            pending = beyond

    def _needed_by(self, paths: Iterable[str]) -> list[str]:
        """The files that these refer to and that were not read yet."""
        beyond: dict[str, None] = {}
        for path in paths:
            reading = self.readings[path]
            named = references(reading)
            if not named:
                continue
            needed = {file for reference in named for file in self._files_of(reference)}
            self.needs[path] = frozenset(needed)
            resources = self._resources(reading)
            for target in sorted(needed):
                if target in resources:
                    self.parents.setdefault(target, set()).add(path)
                if target not in self.readings:
                    beyond[target] = None
        return list(beyond)

    def _beyond(self, path: str) -> frozenset[str]:
        """What a file refers to outside the globs, directly or through others there."""
        reached: set[str] = set()
        pending = [path]
        while pending:
            for needed in self.needs.get(pending.pop(), frozenset()) - reached:
                if needed not in self.own:
                    reached.add(needed)
                    pending.append(needed)
        return frozenset(reached - {path})

    def _resources(self, reading: Reading) -> set[str]:
        own = reading.kustomization.resources if reading.kustomization else frozenset()
        return {file for one in own for file in self._files_of(one)}

    def _outside(self, path: str) -> None:
        """A file that is referred to: its places count only if a glob names it."""
        reading = self._read(path)
        if path in self.own:
            return
        remarks = [
            self._remark(
                location, RemarkKind.MENTION, "it lies outside the environment's `manifests`"
            )
            for location in reading.locations
        ]
        self.readings[path] = replace(
            reading, locations=(), remarks=(*reading.remarks, *remarks), outside=reading.locations
        )

    def _files_of(self, reference: str) -> Sequence[str]:
        """The file, or the kustomization of the directory, that a reference means."""
        found = self.found.get(reference)
        if found is None:
            found = self.found[reference] = tuple(self._meant(reference))
        return found

    def _meant(self, reference: str) -> Iterator[str]:
        path = self._resolved(reference)
        if path is None:
            return
        if self._mode(path):
            yield path
            return
        for name in sorted(KUSTOMIZATIONS):
            inside = self._resolved(f"{path}/{name}")
            if inside is not None and self._mode(inside):
                yield inside

    def _mode(self, path: str) -> str:
        return self.noted.mode(path)

    def _resolved(self, path: str) -> str | None:
        """A path with every link on the way followed; None where it leaves the repository."""
        if not self.tree.has_links:
            return path
        folder = posixpath.dirname(path)
        if folder in self.straight and self._mode(path) != LINK:
            return path
        found = resolved(self.noted, path)
        if found == path:
            self.straight.add(folder)
        return found

    def _link(self, path: str) -> None:
        """A link is read where it leads, and is no place: what it names is said of the link."""
        target = self._resolved(path)
        if target is None:
            reason = "a link that leads out of the repository"
            remark = Remark(RemarkKind.BROKEN, path, None, reason)
            self.readings[path] = Reading(path, remarks=(remark,))
            return
        if self._mode(target):
            self._linked_file(path, target)
            return
        self.asked.add(f"{target}/" if target != "." else "")
        remarks: list[Remark] = []
        for file in self.tree.under(target):
            if is_manifest_file(file) and file not in self.own:
                reading = read_file(file, text_of(self.tree.content(file)), self.names)
                remarks += [*reading.remarks, *self._behind(path, reading)]
        if remarks:
            self.readings[path] = Reading(path, remarks=tuple(remarks))

    def _linked_file(self, path: str, target: str) -> None:
        """A file under the link's name: kustomize reads it as what the link is called."""
        if not (is_manifest_file(path) or is_manifest_file(target)):
            return
        reading = read_file(path, text_of(self.tree.content(target)), self.names)
        is_read = target in self.own and is_manifest_file(target)
        remarks = () if is_read else (*reading.remarks, *self._behind(path, reading))
        if remarks or reading.kustomization:
            self.readings[path] = replace(reading, locations=(), remarks=remarks)

    def _behind(self, path: str, reading: Reading) -> Iterator[Remark]:
        why = f"behind the link {path}, which is never followed by an edit"
        return (self._remark(location, RemarkKind.MENTION, why) for location in reading.locations)

    def _values_again(self) -> None:
        """Files that something calls Helm values, and that were read as something else."""
        for reading in list(self.readings.values()):
            for reference in reading.values:
                path = self._resolved(reference)
                if path is None or not self._mode(path) or path == reading.path:
                    continue
                if path in self.own and path in self.readings:
                    self._read(path, is_values=True)

    # --- Helm values that override each other ---

    def _layered(self) -> None:
        """Where values stand in layers, the highest that sets the version is the place."""
        deployed = [chart for _, one in sorted(self.readings.items()) for chart in one.charts]
        named = {layer.file for one in deployed for layer in one.layers}
        beside = self._by_convention(named, {one.folder for one in deployed})
        charts = [
            self._whole(one)
            for chart in (*deployed, *beside)
            for own in self._argo(chart)
            for other in self._taken(own)
            for one in self._patched(other)
        ]
        if not charts:
            return
        home, owns = self.names.home, self.environment.owns
        read, labelled = self._reads_of, self._labels_of
        image, registry = self.names.image, self._has_registry
        found = Layered(self.readings, self._documents, labelled, read, home, owns, image, registry)
        for chart in charts:
            found.add(chart)
        for path, at in found.versions().items():
            names = replace(self.names, at=(*self.names.at, *at))
            text = text_of(self.tree.content(self._resolved(path) or path))
            reading = read_file(path, text, names, is_values=not is_argo_override(path))
            self.readings[path] = replace(reading, charts=self.readings[path].charts)
        for (path, _), remark in found.told.items():
            reading = self.readings.get(path) or Reading(path)
            self.readings[path] = replace(reading, remarks=(*reading.remarks, remark))
        for path, written in found.rewritten().items():
            reading = self.readings[path]
            locations = tuple(
                replace(location, slots=written[location.pointer].slots)
                if location.pointer in written
                else location
                for location in reading.locations
            )
            self.readings[path] = replace(reading, locations=locations)
        for path, why in found.overridden().items():
            self._override(path, why)

    def _patched_objects(self) -> None:
        """Refuse places of several scalars that a kustomization above patches: which one wins?

        One string that is patched is a place twice; values of a HelmRelease are layers.
        """
        for path, reading in list(self.readings.items()):
            split = [one for one in reading.locations if len(one.slots) > 1 or "beside" in one.kind]
            if not split or reading.kustomization or not self.parents.get(path):
                continue
            patches = [
                patch for way in self._ways(path) for one in way for patch in self._patches(one)
            ]
            documents = self._plains(path) if patches else ()
            refused = {
                one.pointer: f"{found.file} patches it: write repository and version in one place"
                for one in split
                if one.document <= len(documents)
                and (found := _over(one, _fields(documents[one.document - 1]), patches))
            }
            locations = tuple(
                replace(one, refusal=refused.get(one.pointer, one.refusal))
                for one in reading.locations
            )
            if refused:
                self.readings[path] = replace(reading, locations=locations)

    def _by_convention(
        self, named: Collection[str], deployed: Collection[str]
    ) -> Iterator[ChartValues]:
        """Values in an order that no object says: over those beside them, and in charts."""
        over: set[str] = set()
        for path in sorted(path for path in self.readings if "values" in path):
            lower = lower_values(path, self.environment.name)
            if not lower or path in named or not self.environment.owns(path):
                continue
            if not self._mode(lower):
                continue
            self._bring(lower, path)
            over |= {lower, path}
            folder = posixpath.dirname(path)
            has_chart = bool(self._mode(posixpath.join(folder, CHART)))
            layers = (Layer(lower), Layer(path))
            yield self._undeployed(layers, folder if has_chart else "")
        yield from self._charts_alone(over | {*named}, deployed)

    def _charts_alone(
        self, named: Collection[str], deployed: Collection[str]
    ) -> Iterator[ChartValues]:
        """Charts that nobody here deploys: with their own values, and with each file beside."""
        own = [p for p in self.own if p.endswith(CHART) and posixpath.basename(p) == CHART]
        folders = {posixpath.dirname(path) for path in own} - {*deployed}
        values: dict[str, list[str]] = {}
        for path in self.own if folders else ():
            folder = posixpath.dirname(path)
            if folder in folders and is_values_file(path) and path not in named:
                values.setdefault(folder, []).append(path)
        for folder in sorted(folders):
            if self._is_below_a_chart(folder):
                continue
            lowest = Layer(posixpath.join(folder, VALUES))
            if lowest.file not in named:
                yield self._undeployed((lowest,), folder)
            for path in values.get(folder, ()):
                if path != lowest.file:
                    yield self._undeployed((lowest, Layer(path)), folder)

    def _is_below_a_chart(self, folder: str) -> bool:
        home, _, _ = folder.rpartition("/")
        above = posixpath.dirname(home)
        return posixpath.basename(home) == "charts" and bool(
            self._mode(posixpath.join(above, CHART))
        )

    def _undeployed(self, layers: tuple[Layer, ...], folder: str) -> ChartValues:
        return ChartValues(layers[-1].file, layers, folder=folder, argo=ArgoSource("", (), layers))

    def _bring(self, path: str, needed_by: str) -> None:
        """Read a file that something needs, wherever it lies."""
        if path not in self.readings:
            self._outside(path)
        self.needs[needed_by] = self.needs.get(needed_by, frozenset()) | {path}

    def _argo(self, chart: ChartValues) -> Iterator[ChartValues]:
        """A chart as Argo CD deploys it, with what it merges into the source.

        Where the application's name is not known it is every one that has such a file, and one
        that has none.
        """
        if chart.argo is None or not chart.folder:
            yield chart
            return
        every = argo_override(chart.folder)
        name = chart.argo.application
        own = [argo_override(chart.folder, name)] if name else self._overrides_in(chart.folder)
        lower = [every] if self._mode(every) else []
        variants = [[*lower, one] for one in own if self._mode(one)]
        for files in variants if name and variants else [lower, *variants]:
            for one in files:
                self._bring(one, chart.file)
            yield overridden_by(chart, [(one, self._plain(one)) for one in files])

    def _patched(self, chart: ChartValues) -> Iterator[ChartValues]:
        """A HelmRelease with what the kustomizations above it patch: as each of them deploys it."""
        if chart.release is None:
            yield chart
            return
        target = Target("HelmRelease", *chart.release)
        seen: set[tuple[Layer, ...]] = set()
        for way in self._ways(chart.file):
            patches = [patch for path in way for patch in self._patches(path)]
            folders = {posixpath.dirname(path) for path in way} or _folders(chart.file)
            deployers = [own for folder, own in self._flux_patches if folder in folders]
            for own in deployers or [()]:
                layers = tuple(layers_over((*patches, *own), target, "/spec/values"))
                if layers not in seen:
                    seen.add(layers)
                    yield replace(chart, layers=(*chart.layers, *layers))

    def _taken(self, chart: ChartValues) -> Iterator[ChartValues]:
        """A HelmRelease with the values that it takes from objects, with each that is so called."""
        own = Layer(chart.file, "/spec/values")
        below = [one for one in chart.layers if (one.file, one.pointer) != (own.file, own.pointer)]
        above = chart.layers[len(below) :]
        several = [self._generated.get(one, [None]) for one in chart.taken]
        for found in islice(product(*several), _MOST_WAYS):
            layers = (one for one in found if one is not None)
            yield replace(chart, layers=(*below, *layers, *above))

    @cached_property
    def _generated(self) -> Mapping[tuple[str, str], list[Layer | None]]:
        """Values files that generators put into objects, by the object's name and the key in it."""
        found: dict[tuple[str, str], list[Layer | None]] = {}
        for path, reading in sorted(self.readings.items()):
            if reading.kustomization and reading.values:
                for name, key, file in generated(_fields(self._plain(path))):
                    target = local(posixpath.dirname(path), file)
                    if target in reading.values:
                        found.setdefault((name, key), []).append(Layer(str(target)))
        return found

    @cached_property
    def _flux_patches(self) -> Sequence[tuple[str, Sequence[Patch]]]:
        """What Flux's Kustomizations patch; asked only when everything was followed."""
        return [one for _, reading in sorted(self.readings.items()) for one in reading.patched]

    def _ways(self, path: str) -> Sequence[list[str]]:
        """The same for all files that one kustomization brings."""
        parents = frozenset(self.parents.get(path, ()))
        if parents not in self.ways:
            self.ways[parents] = list(self._every_way(path))
        return self.ways[parents]

    def _every_way(self, path: str) -> Iterator[list[str]]:
        """The kustomizations above a file that one at the top brings, the lowest first."""
        above = _reached({path}, self.parents) - {path}
        if not above:
            yield []
        tops = sorted(one for one in above if not self.parents.get(one))
        for top in tops or sorted(above):
            below = {
                one: self.parents.get(one, set()) & above for one in _reached({top}, self.needs)
            }
            order = TopologicalSorter({one: set[str]() for one in below if one in above})
            for one, parents in below.items():
                for parent in parents & below.keys() if one in above else ():
                    order.add(parent, one)
            try:
                yield list(order.static_order())
            except CycleError:
                yield sorted(above)

    def _patches(self, path: str) -> Sequence[Patch]:
        """The patches of a kustomization, behind those of its components."""
        if path not in self.patches:
            self.patches[path] = ()  # a circle ends here
            fields, directory = _fields(self._plain(path)), posixpath.dirname(path)
            named = fields.get("components")
            references = (local(directory, str(one)) for one in _items(named))
            components = [file for one in references if one for file in self._files_of(one)]
            own = patches_of(path, fields, self._plains, directory=directory)
            self.patches[path] = (*(p for one in components for p in self._patches(one)), *own)
        return self.patches[path]

    def _plains(self, path: str) -> Sequence[object]:
        """What the documents of a file say; nothing where it cannot be read."""
        try:
            return [plain(one, path).value for one in self._documents(path)]
        except RejectedError:
            return []

    def _overrides_in(self, folder: str) -> list[str]:
        """Files that Argo CD merges into the source of one application."""
        if not self._mode(posixpath.join(folder, CHART)):
            return []
        self.asked.add(f"{folder}/")
        beside = (one for one in self.tree.under(folder) if posixpath.dirname(one) == folder)
        every = argo_override(folder)
        return [one for one in beside if is_argo_override(one) and one != every]

    def _whole(self, chart: ChartValues) -> ChartValues:
        """A chart with the values of the charts below it."""
        folder = chart.folder
        if folder not in self.below:
            has_chart = bool(folder) and bool(self._mode(posixpath.join(folder, CHART)))
            layers = below_charts(folder, self._plain, self._charts_in) if has_chart else []
            self.below[folder] = tuple(layers)
        below = self.below[folder]
        for layer in below:
            if self._mode(layer.file):
                self._bring(layer.file, chart.file)
        return replace(chart, layers=(*below, *chart.layers))

    def _charts_in(self, folder: str) -> Iterator[str]:
        """The folders of charts directly below a folder."""
        self.asked.add(f"{folder}/")
        for path in self.tree.under(folder):
            inner = posixpath.dirname(path)
            if posixpath.basename(path) == CHART and posixpath.dirname(inner) == folder:
                yield inner

    def _plain(self, path: str) -> object:
        """What a file's first document says; nothing where it cannot be read."""
        documents = self._documents(path)
        try:
            return plain(documents[0], path).value if documents else None
        except RejectedError:
            return None

    def _documents(self, path: str) -> Sequence[Node]:
        """A file's documents; none where there is no such file, or it cannot be read."""
        if path not in self.documents:
            file = self._resolved(path)
            is_there = file is not None and self._mode(file)
            text = text_of(self.tree.content(file)) if file and is_there else ""
            try:
                self.documents[path] = compose_all(text, path)
            except RejectedError:
                self.documents[path] = []
        return self.documents[path]

    def _labels_of(self, folder: str) -> Mapping[str, str]:
        """Dotted values that a chart here, or one below it, writes into labels -> file and line."""
        if folder not in self.labels:
            found: dict[str, str] = {}
            self.asked.add(f"{folder}/" if folder else "")
            for path in self.tree.under(folder):
                steps = path[len(folder) :].strip("/").split("/")
                prefix = f"{steps[1]}." if steps[0] == "charts" and len(steps) > 3 else ""  # noqa: PLR2004 - charts, its name, templates, a file
                if self.tree.mode(path) == LINK or "templates" not in steps:
                    continue
                for line, dotted in values_in_labels(text_of(self.tree.content(path))):
                    found.setdefault(f"{prefix}{dotted}", f"{path}:{line}")
            self.labels[folder] = found
        return self.labels[folder]

    def _has_registry(self, path: str) -> bool:
        file = self._resolved(path)
        return bool(file and self._mode(file)) and self.tree.fact(
            "registry", str(file), _names_registry
        )

    def _reads_of(self, folder: str) -> Reads:
        """Which values the templates of a chart here read; any, where some are not here."""
        if folder not in self.reads:
            self.asked.add(f"{folder}/")
            files = [path for path in self.tree.under(folder) if self.tree.mode(path) != LINK]
            inner = {path[len(folder) + 1 :]: path for path in files}
            found = reads_of((name, text_of(self.tree.content(inner[name]))) for name in inner)
            named = _items(_fields(self._plain(f"{folder}/{CHART}")).get("dependencies"))
            charts = {name.split("/")[1] for name in inner if name.startswith("charts/")}
            lacking = [one for one in named if str(_fields(one).get("name")) not in charts]
            is_packed = any(name.endswith((".tgz", ".tar.gz")) for name in inner)
            self.reads[folder] = replace(found, is_whole=False) if lacking or is_packed else found
        return self.reads[folder]

    def _override(self, path: str, why: Mapping[str, Overridden]) -> None:
        """Take out the places that something above them overrides, or refuse them."""
        reading = self.readings[path]
        locations: list[ImageLocation] = []
        remarks = [_refused(one, why) for one in reading.remarks if not _is_overridden(one, why)]
        for location in reading.locations:
            found = why.get(location.pointer)
            if found is None:
                locations.append(location)
            elif found.is_refused:
                locations.append(replace(location, refusal=found.words))
            else:
                remarks.append(self._remark(location, RemarkKind.REPLACED, found.words))
        outside = tuple(location for location in reading.outside if location.pointer not in why)
        self.readings[path] = replace(
            reading, locations=tuple(locations), remarks=tuple(remarks), outside=outside
        )

    # --- what is put together, or fetched ---

    def _composed(self, path: str) -> Iterator[Remark]:
        """What a kustomization deploys and no file shows, with the state of all that goes in."""
        found = self.readings[path].kustomization
        if found is None:
            return
        astray = (self._astray(path, one) for one in sorted(found.references))
        for why in (*found.fetches, *filter(None, astray)):
            yield Remark(RemarkKind.COMPOSED, path, None, why, text=why)
        patterns = [one.name[:80] for one in found.entries if one.is_pattern]
        ways = [f"an entry's name {name!r} is a pattern" for name in patterns]
        ways += [*found.composes, *self._composing(found.composing)]
        if ways:
            # Of the same identity as long as nothing but places changes: a promotion goes on.
            state = self._state(path)
            for why in ways:
                fact = f"{why}: what is deployed stands in no file"
                yield Remark(RemarkKind.COMPOSED, path, None, fact, text=f"{why}\0{state}")

    def _astray(self, path: str, reference: str) -> str:
        """Why a reference that is no file here may be fetched (``github.com/owner/name``)."""
        if self._files_of(reference):
            return ""
        written = posixpath.relpath(reference, posixpath.dirname(path) or ".")
        host = written.partition("/")[0]
        if "." not in host.strip(".") or "/" not in written:
            return ""
        return f"{written[:200]} is no file here, so it is fetched: nobody reads it here"

    def _composing(self, named: Iterable[str]) -> Iterator[str]:
        """Files that write parts of images; of a folder everything that its kustomization needs."""
        pending = sorted({file for one in named for file in self._files_of(one)})
        seen: set[str] = set()
        while pending:
            file = pending.pop(0)
            if file in seen:
                continue
            seen.add(file)
            if is_kustomization(file):
                pending += sorted(self.needs.get(file, frozenset()))
            elif self.tree.fact("composes", file, partial(_composes, file)):
                yield f"{file} writes a part of an image"

    def _state(self, path: str) -> str:
        """Everything but the places of what goes into what the kustomization goes into."""
        files = _reached(_reached({path}, self._above), self.needs)
        state = hashlib.sha256()
        for file in sorted(files):
            state.update(f"{file}\0{self._skeleton(file)}\0".encode())
        return state.hexdigest()

    @cached_property
    def _above(self) -> Mapping[str, set[str]]:
        """File -> what needs it; asked only when everything was followed."""
        found: dict[str, set[str]] = {}
        for one, needed in self.needs.items():
            for file in needed:
                found.setdefault(file, set()).add(one)
        return found

    def _skeleton(self, file: str) -> str:
        reading = self.readings.get(file) or Reading(file)
        locations = (*reading.locations, *reading.outside)
        path = self._resolved(file) or file
        if not locations:
            return self.tree.fact(
                "skeleton", path, lambda content: skeleton_of(text_of(content), ())
            )
        return skeleton_of(text_of(self.tree.content(path)), locations)

    # --- what no file tells alone ---

    def _judge(self) -> None:
        for path, reading in list(self.readings.items()):
            if not (reading.locations or reading.outside):
                continue
            locations: list[ImageLocation] = []
            remarks = list(reading.remarks)
            for location in reading.locations:
                name = _rendered_name(location)
                if place := self._pattern_over(path, location.line):
                    why = f"the name at {place} is a pattern that may replace it: write names out"
                    locations.append(replace(location, refusal=why))
                elif self._is_replaced(path, name):
                    why = "a kustomization that needs this file puts another reference there"
                    remarks.append(self._remark(location, RemarkKind.REPLACED, why))
                elif location.kind == "kustomization" and self._is_dead(path, location):
                    why = "no container in what it reaches has this image: it does nothing"
                    locations.append(replace(location, refusal=why))
                else:
                    locations.append(location)
            for location in reading.outside:
                if self._is_replaced(path, _rendered_name(location)):
                    remarks = [r for r in remarks if r.pointer != location.pointer]
            self.readings[path] = replace(
                reading, locations=tuple(locations), remarks=tuple(remarks)
            )

    def _is_replaced(self, path: str, name: str) -> bool:
        """Whether every kustomization that a reference goes through gives it another name.

        Followed are those that do not; what ends at none of them, or in a circle, does not.
        """
        followed: dict[str, set[str]] = {}
        pending = [path]
        while pending:
            one = pending.pop()
            if one in followed:
                continue
            parents = self.parents.get(one)
            if not parents:
                return False
            followed[one] = {parent for parent in parents if not self._names(parent, name)}
            pending += followed[one]
        try:
            TopologicalSorter(followed).prepare()
        except CycleError:
            return False
        return True

    def _pattern_over(self, path: str, line: int) -> str:
        """An entry whose name is a pattern, in the file (not at this line) or above it."""
        seen: set[str] = set()
        pending = [path]
        while pending:
            one = pending.pop()
            if one in seen:
                continue
            seen.add(one)
            found = self.readings[one].kustomization if one in self.readings else None
            for entry in found.entries if found else ():
                if entry.is_pattern and (one, entry.line) != (path, line):
                    return f"{one}:{entry.line}"
            pending += self.parents.get(one, ())
        return ""

    def _names(self, path: str, name: str) -> bool:
        kustomization = self.readings[path].kustomization
        entries = kustomization.entries if kustomization else ()
        return any(is_named(name, entry.name) for entry in entries)

    def _is_dead(self, path: str, location: ImageLocation) -> bool:
        """Whether everything that an entry can reach is known, and has no such container."""
        kustomization = self.readings[path].kustomization
        if kustomization is None:
            return False
        before: list[str] = []
        for entry in kustomization.entries:
            if entry.line == location.line:
                # kustomize goes through them in their order: one may replace what another made.
                is_made = any(is_named(other, entry.name) for other in before)
                return not is_made and self._reaches_none(path, entry.name)
            before.append(entry.becomes)
        return False

    def _reaches_none(self, path: str, name: str) -> bool:
        try:
            return self._reaches(path, name, set()) is False
        except RecursionError:
            return False  # a chain of a thousand bases: unknown

    def _reaches(self, path: str, name: str, seen: set[str]) -> bool | None:
        """Whether a container below a kustomization has an image of this name; None: unknown."""
        kustomization = self.readings[path].kustomization if path in self.readings else None
        if kustomization is None or not kustomization.is_plain or path in seen:
            return None
        seen.add(path)
        answer: bool | None = False
        for resource in kustomization.resources:
            files = self._files_of(resource)
            if not files:
                return None
            for file in files:
                below = self._has_container(file, name, seen)
                if below:
                    return True
                answer = None if below is None else answer
        return answer

    def _has_container(self, path: str, name: str, seen: set[str]) -> bool | None:
        if not is_kustomization(path):
            images = self.tree.fact("containers", path, partial(_containers, path))
            return None if images is None else any(is_named(one, name) for one in images)
        below = self.readings.get(path)
        entries = below.kustomization.entries if below and below.kustomization else ()
        answer = self._reaches(path, name, seen)
        for entry in entries:  # in their order: one may rename what another made
            if entry.becomes == name:
                answer = True
            elif entry.is_pattern:
                answer = None if answer else answer
            elif is_named(name, entry.name):
                answer = False
        return answer

    def _remark(self, location: ImageLocation, kind: RemarkKind, why: str) -> Remark:
        return Remark(
            kind,
            location.place.path,
            location.line,
            why,
            location.pointer,
            str(location.written),
            location.image,
        )


def _names_registry(content: bytes) -> bool:
    return b"egistry" in content


def _over(
    location: ImageLocation, document: Mapping[str, object], patches: Sequence[Patch]
) -> Patch | None:
    """A patch that may write a scalar of a place of an object."""
    metadata = _fields(document.get("metadata"))
    kind, name = str(document.get("kind", "")), str(metadata.get("name", ""))
    if not kind or kind == "HelmRelease":
        return None
    target = Target(kind, name, str(metadata.get("namespace") or ""))
    pointers = {slot.pointer.partition("#")[0] for slot in location.slots}
    found = (patch for pointer in sorted(pointers) for patch in touching(patches, target, pointer))
    return next(found, None)


def _folders(path: str) -> set[str]:
    """The folders that a file lies in."""
    return {path[:at] for at, one in enumerate(path) if one == "/"} | {""}


def _fields(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _items(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else ()


def _reached(start: Iterable[str], edges: Mapping[str, Iterable[str]]) -> set[str]:
    pending, seen = list(start), set(start)
    while pending:
        for one in edges.get(pending.pop(), ()):
            if one not in seen:
                seen.add(one)
                pending.append(one)
    return seen


def _refused(remark: Remark, why: Mapping[str, Overridden]) -> Remark:
    """What stands outside the globs and cannot be edited where it is decided, with both names."""
    found = why.get(remark.pointer)
    if found is None or not found.is_refused or remark.kind is not RemarkKind.MENTION:
        return remark
    return replace(remark, kind=RemarkKind.REFUSED, reason=found.words)


def _is_overridden(remark: Remark, why: Mapping[str, Overridden]) -> bool:
    """Whether a mention outside the globs is of a place that something above it overrides."""
    found = why.get(remark.pointer)
    return found is not None and not found.is_refused and remark.kind is RemarkKind.MENTION


def _composes(path: str, content: bytes) -> bool:
    return composes(text_of(content), path)


def _containers(path: str, content: bytes) -> frozenset[str] | None:
    return container_images(text_of(content), path)


def _rendered_name(location: ImageLocation) -> str:
    """What a kustomization above would have to call it."""
    return str(location.written)


def literal_folder(glob: str) -> str:
    """The folder that everything which matches a glob lies in."""
    literal = glob.partition("*")[0].partition("?")[0]
    return literal.rpartition("/")[0]
