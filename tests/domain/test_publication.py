"""The four promises of a publication, over random histories in three layouts."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from bot.domain.publication import FileState, LocationKey, Merge, Publication, publication

APPLICATIONS = [f"app{number}" for number in range(6)]
HISTORIES = 140  # of 25 publications, in three layouts: 10,500
MERGES = 25


@dataclass
class World:
    """A default branch, what is sealed, and the ref: everything by construction countable."""

    layout: str
    chance: random.Random
    files: dict[str, FileState] = field(default_factory=dict)
    merges: list[Merge] = field(default_factory=list)
    own: dict[str, tuple[LocationKey, str]] = field(default_factory=dict)
    sealed: set[str] = field(default_factory=set)
    seen: set[tuple[LocationKey, str]] = field(default_factory=set)
    shown: dict[LocationKey, str] = field(default_factory=dict)
    first_considered: int = 0
    visible: set[str] = field(default_factory=set)
    """Merges that a publication has not held."""
    counter: int = 0

    def path_of(self, application: str) -> str:
        if self.layout == "overlay":
            return f"prod/{application}/kustomization.yaml"
        return f"prod/{application}.yaml" if self.layout == "directory" else "prod/values.yaml"

    def fresh(self) -> int:
        self.counter += 1
        return self.counter

    def skeleton(self, path: str) -> str:
        return f"{path}#{self.fresh():06d}"

    def commit(self, changes: Mapping[str, FileState | None]) -> Merge:
        merge = Merge(
            commit=f"{len(self.merges):07d}",
            before={path: self.files.get(path) for path in changes},
            after=dict(changes),
        )
        for path, state in changes.items():
            if state is None:
                self.files.pop(path, None)
            else:
                self.files[path] = state
        self.merges.append(merge)
        return merge

    def places(self, application: str) -> list[LocationKey]:
        return [p for state in self.files.values() for p in state.pins if p.image == application]

    def with_pin(self, place: LocationKey, pin: str, *, reshape: bool = False) -> FileState:
        state = self.files[place.path]
        skeleton = self.skeleton(place.path) if reshape else state.skeleton
        return FileState(skeleton, {**state.pins, place: pin}, state.references)

    def new_pin(self, application: str) -> str:
        return f"{application}@{self.fresh()}"


def add_application(world: World, application: str) -> None:
    path = world.path_of(application)
    place = LocationKey(path, application, application, 0)
    old = world.files.get(path)
    pins = {**(old.pins if old else {}), place: world.new_pin(application)}
    changes: dict[str, FileState | None] = {path: FileState(world.skeleton(path), pins)}
    if world.layout != "values":
        parent = world.files.get("prod/kustomization.yaml")
        references = (parent.references if parent else frozenset()) | {
            path.removesuffix("/kustomization.yaml")
        }
        changes["prod/kustomization.yaml"] = FileState(
            world.skeleton("prod/kustomization.yaml"), {}, references
        )
    if world.layout != "values" and world.chance.random() < 0.3:
        for single in sorted(changes):  # the directory first, its mention in a merge of its own
            world.commit({single: changes[single]})
    else:
        world.commit(changes)


def remove_application(world: World, application: str) -> None:
    path = world.path_of(application)
    if world.layout == "values":
        state = world.files[path]
        pins = {place: pin for place, pin in state.pins.items() if place.image != application}
        world.commit({path: FileState(world.skeleton(path), pins)})
    else:
        parent = world.files["prod/kustomization.yaml"]
        references = parent.references - {path.removesuffix("/kustomization.yaml")}
        changes: dict[str, FileState | None] = {path: None}
        changes["prod/kustomization.yaml"] = FileState(world.skeleton("k"), {}, references)
        world.commit(changes)


def step(world: World) -> None:
    """One merge of a kind that people and bots make."""
    chance = world.chance
    application = chance.choice(APPLICATIONS)
    places = world.places(application)
    kind = chance.random()
    if not places:
        add_application(world, application)
    elif kind < 0.45:  # a promotion of one application
        pin = world.new_pin(application)
        merge = world.commit({places[0].path: world.with_pin(places[0], pin)})
        world.own[merge.commit] = (places[0], pin)
    elif kind < 0.6:  # a person's digest together with configuration, perhaps of a shared file
        pin = world.new_pin(application)
        changes: dict[str, FileState | None] = {
            places[0].path: world.with_pin(places[0], pin, reshape=chance.random() < 0.7)
        }
        changes["base/deployment.yaml"] = FileState(world.skeleton("base/deployment.yaml"))
        world.commit(changes)
    elif kind < 0.72:  # configuration alone
        path = chance.choice([*world.files, "base/deployment.yaml"])
        state = world.files.get(path, FileState(""))
        world.commit({path: FileState(world.skeleton(path), state.pins, state.references)})
    elif kind < 0.84:  # a group
        group: dict[str, FileState | None] = {}
        for name in chance.sample(APPLICATIONS, 2):
            for place in world.places(name):
                state = group.get(place.path) or world.files[place.path]
                pins = {**state.pins, place: world.new_pin(name)}
                group[place.path] = FileState(state.skeleton, pins, state.references)
        if group:
            world.commit(group)
    elif kind < 0.92 and world.merges:  # GitHub's Revert button on a digest
        merge = chance.choice(world.merges)
        back = {p: pin for s in merge.before.values() if s for p, pin in s.pins.items()}
        for place, pin in back.items():
            if place.path in world.files and place in world.files[place.path].pins:
                world.commit({place.path: world.with_pin(place, pin)})
                break
    else:
        remove_application(world, application)


def publish(world: World, *, stopped: float = 0.0) -> tuple[Publication, list[Merge]]:
    """Publish, while this share of the merges that are not visible must not be shown."""
    considered = world.merges[world.first_considered :]
    coming = [m.commit for m in considered if m.commit not in world.visible]
    frozen = {commit: ("frozen",) for commit in coming if world.chance.random() < stopped}
    result = publication(
        world.shown, considered, lambda _place, pin: pin in world.sealed, world.files, frozen
    )
    assert frozen.keys() <= result.held.keys()
    return result, considered


def tree(world: World, result: Publication) -> dict[str, tuple[str, dict[LocationKey, str]]]:
    """The publication's tree, path -> skeleton and pins."""
    whole = {path: (s.skeleton, dict(s.pins)) for path, s in world.files.items()}
    for path, shown in result.files.items():
        if shown is None:
            whole.pop(path, None)
        else:
            whole[path] = (shown.skeleton_of.skeleton, dict(shown.pins))
    return whole


def pins_of(shown: Mapping[str, tuple[str, dict[LocationKey, str]]]) -> dict[LocationKey, str]:
    return {place: pin for _, pins in shown.values() for place, pin in pins.items()}


def check_no_unsealed(world: World, shown: Mapping[LocationKey, str]) -> None:
    for place, pin in shown.items():
        assert pin in world.sealed or (place, pin) in world.seen, f"{pin} at {place}"


def is_visible(path: str, merge: Merge, later: list[Merge], skeleton: str) -> bool | None:
    """Whether the file shows this merge's shape; None where a later merge hides the answer."""
    after = merge.after[path]
    mine = after.skeleton if after else ""
    if not any(path in other.reshaped() for other in later):
        return skeleton == mine
    newer = {s.skeleton for m in later if path in m.reshaped() and (s := m.after[path])}
    if skeleton and skeleton == mine:
        return True
    return None if skeleton in newer or not skeleton else False


def check_whole(
    world: World, shown: Mapping[str, tuple[str, dict[LocationKey, str]]], considered: list[Merge]
) -> None:
    """A merge's new skeletons and new pins are all there (or newer ones), or none is."""
    for index, merge in enumerate(considered):
        brought, reshaped = merge.brought(), merge.reshaped()
        if not (brought and reshaped):
            continue
        later = considered[index + 1 :]
        visible = {
            sight
            for path in reshaped
            if (sight := is_visible(path, merge, later, shown.get(path, ("", {}))[0])) is not None
        }
        now = pins_of(shown)
        for place, pin in brought.items():
            again = any(other.brought().get(place) == pin for other in later)
            if now.get(place) == pin != world.shown.get(place) and not again:
                visible |= {True}
        assert len(visible) <= 1, f"merge {merge.commit} is half visible"


def check_never_waits(
    world: World, shown: Mapping[LocationKey, str], considered: list[Merge], base: set[LocationKey]
) -> None:
    """Each application's newest sealed promotion of its own is shown where it has a place."""
    for merge in considered:
        if merge.commit not in world.own:
            continue
        place, pin = world.own[merge.commit]
        if pin in world.sealed and place in shown and place in base:
            newer = [m.brought()[place] for m in considered if place in m.brought()]
            position = newer.index(pin)
            assert shown[place] in newer[position:], f"{place} waits although {pin} is sealed"


def check_equal_when_sealed(world: World) -> None:
    everything = {pin for m in world.merges for pin in m.brought().values()}
    saved, world.sealed = world.sealed, world.sealed | everything
    result, _ = publish(world)
    world.sealed = saved
    assert not result.held
    assert tree(world, result) == {
        path: (s.skeleton, dict(s.pins)) for path, s in world.files.items()
    }


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["overlay", "directory", "values"])
def test_four_promises(layout: str) -> None:
    published = 0
    for seed in range(HISTORIES):
        world = World(layout, random.Random(f"{layout}{seed}"))  # noqa: S311 - a seed, not a secret
        never = {a for a in APPLICATIONS if world.chance.random() < 0.15}
        for _ in range(MERGES):
            step(world)
            for state in world.files.values():
                for place, pin in state.pins.items():
                    if place.image not in never and world.chance.random() < 0.7:
                        world.sealed.add(pin)
            result, considered = publish(world)
            shown = tree(world, result)
            base = {p for m in considered[:1] for s in m.before.values() if s for p in s.pins}
            base |= set(world.shown)

            check_no_unsealed(world, pins_of(shown))
            check_whole(world, shown, considered)
            check_never_waits(world, pins_of(shown), considered, base)
            check_equal_when_sealed(world)

            world.shown = pins_of(shown)
            world.seen |= set(world.shown.items())
            held = [i for i, m in enumerate(world.merges) if m.commit in result.held]
            world.first_considered = min(held, default=len(world.merges))
            published += 1
    assert published == HISTORIES * MERGES


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["overlay", "directory", "values"])
def test_what_is_stopped_is_never_visible_and_breaks_no_promise(layout: str) -> None:
    for seed in range(HISTORIES // 4):
        world = World(layout, random.Random(f"frozen{layout}{seed}"))  # noqa: S311 - a seed, not a secret
        for _ in range(MERGES):
            step(world)
            for state in world.files.values():
                world.sealed |= {p for p in state.pins.values() if world.chance.random() < 0.8}
            result, considered = publish(world, stopped=world.chance.choice([0.0, 0.4, 1.0]))
            shown = tree(world, result)

            check_no_unsealed(world, pins_of(shown))
            check_whole(world, shown, considered)
            check_equal_when_sealed(world)

            world.shown = pins_of(shown)
            world.seen |= set(world.shown.items())
            world.visible |= {m.commit for m in considered} - result.held.keys()
            held = [i for i, m in enumerate(world.merges) if m.commit in result.held]
            world.first_considered = min(held, default=len(world.merges))


def test_a_digest_that_only_survives_in_a_held_file_holds_its_merge() -> None:
    path, place = "prod/a.yaml", LocationKey("prod/a.yaml", "a", "a", 0)
    one = FileState("s1", {place: "sealed"})
    unsealed = Merge("m1", {path: one}, {path: FileState("s1", {place: "unsealed"})})
    removes_it = Merge(
        "m2",
        {path: FileState("s1", {place: "unsealed"}), "prod/b.yaml": None},
        {
            path: FileState("s2"),
            "prod/b.yaml": FileState("b", {LocationKey("prod/b.yaml", "b", "b", 0): "x"}),
        },
    )

    result = publication(
        {place: "sealed"}, [unsealed, removes_it], lambda _, pin: pin == "sealed", {path: 1}
    )

    assert set(result.held) == {"m1", "m2"}
    shown = result.files[path]
    assert shown is not None
    assert shown.pins == {place: "sealed"}


def test_a_reference_to_a_held_file_waits_with_it() -> None:
    new = LocationKey("prod/new/kustomization.yaml", "new", "new", 0)
    adds = Merge("m1", {new.path: None}, {new.path: FileState("n", {new: "unsealed"})})
    top = "prod/kustomization.yaml"
    mentions = Merge(
        "m2", {top: FileState("t1")}, {top: FileState("t2", {}, frozenset({"prod/new"}))}
    )

    result = publication({}, [adds, mentions], lambda _place, _pin: False, {new.path: 1, top: 1})

    assert set(result.held) == {"m1", "m2"}
    assert result.held["m2"] == (f"{top} refers to prod/new, which is held",)


def test_what_names_an_image_and_is_no_place_holds_its_merge() -> None:
    path = "prod/a.yaml"
    clean, dirty = FileState("s1"), FileState("s2", unsealable={"x": "a.yaml:3: an image"})
    brings = Merge("m1", {path: clean}, {path: dirty})
    leaves = Merge("m2", {path: dirty}, {path: FileState("s3", unsealable=dirty.unsealable)})
    takes_out = Merge("m3", {path: dirty}, {path: clean})

    held = publication({}, [brings], lambda *_: True, {path: 1}).held
    known = publication({}, [leaves], lambda *_: True, {path: 1}).held
    gone = publication({}, [brings, takes_out], lambda *_: True, {path: 1})

    assert held == {"m1": ("a.yaml:3: an image",)}
    assert known == {}
    assert gone.held == {}
    shown = gone.files[path]
    assert shown is not None
    assert shown.skeleton_of is clean
