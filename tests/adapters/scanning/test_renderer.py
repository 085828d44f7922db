"""kustomize and Helm in the sandbox: they read what they are given, and no way leads out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from bot.adapters.scanning import ConfinedRenderer, renderer_of
from bot.adapters.scanning.sandbox import Limits, Sandbox
from bot.domain.errors import UnavailableError
from bot.domain.rendering import NotRenderedError, Parameter, RenderRoot, RenderTool, Values
from tests.world.scanners import open_folder, placed, write_program
from tests.world.tools import tool

POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: []}\n"
CHART: Mapping[str, str] = {
    "chart/Chart.yaml": "apiVersion: v2\nname: app\nversion: 1.0.0\n",
    "chart/values.yaml": "tag: default\nleft: yes\n",
    "chart/templates/pod.yaml": (
        'apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {x: "{{ .Values.tag }}"}\n'
    ),
}
KUSTOMIZE = RenderRoot("app", RenderTool.KUSTOMIZE, "app")


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with open_folder() as found:
        for name in ("kustomize", "helm", "crane"):
            placed(tool(name), found)
        yield found


@pytest.fixture(scope="module")
def renderer(folder: Path) -> ConfinedRenderer:
    found = renderer_of(kustomize=folder / "kustomize", helm=folder / "helm")
    assert found is not None
    return found


def tree(**files: str) -> dict[str, tuple[str, bytes]]:
    return {name: ("100644", content.encode()) for name, content in files.items()}


def test_a_kustomization_gives_its_objects(renderer: ConfinedRenderer) -> None:
    files = tree(**{"app/kustomization.yaml": "namePrefix: b-\nresources: [../x]\n", "x": POD})

    assert "name: b-a" in renderer.render(KUSTOMIZE, files)


def test_what_a_deployer_adds_is_written_into_it(renderer: ConfinedRenderer) -> None:
    root = RenderRoot(
        "app",
        RenderTool.KUSTOMIZE,
        "app",
        kustomization="app/kustomization.yaml",
        overlay='{"resources": ["x"], "namePrefix": "c-"}',
    )
    files = tree(**{"app/kustomization.yaml": "resources: [x]\n", "app/x": POD})

    assert "name: c-a" in renderer.render(root, files)


@pytest.mark.parametrize(
    ("values", "parameters", "expected"),
    [
        ((), (), "default"),
        ((Values("one.yaml"),), (), "one"),
        ((Values("two.yaml"), Values("one.yaml")), (), "one"),
        ((Values("one.yaml"), Values(text='{"tag": "text"}')), (), "text"),
        ((Values(text='{"tag": "text"}'),), (Parameter("tag", "a,b"),), "a,b"),
        ((), (Parameter("tag", "012", is_text=True),), "012"),
    ],
)
def test_later_values_win_and_parameters_last(
    renderer: ConfinedRenderer,
    values: tuple[Values, ...],
    parameters: tuple[Parameter, ...],
    expected: str,
) -> None:
    root = RenderRoot("r", RenderTool.HELM, "chart", values=values, parameters=parameters)
    files = tree(**CHART, **{"one.yaml": "tag: one\n", "two.yaml": "tag: two\n"})

    assert f'x: "{expected}"' in renderer.render(root, files)


def test_kustomize_starts_helm_for_charts(renderer: ConfinedRenderer) -> None:
    root = RenderRoot("r", RenderTool.KUSTOMIZE, "", has_charts=True)
    said = "helmCharts: [{name: chart, releaseName: r, valuesInline: {tag: inline}}]\n"
    files = tree(**{"kustomization.yaml": f"helmGlobals: {{chartHome: .}}\n{said}", **CHART})

    assert "x: inline" in renderer.render(root, files)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("resources: [https://example.com/x.yaml]\n", "operation not permitted"),
        ("resources: [github.com/acme/base]\n", "no 'git' program"),
        ("resources: [absent.yaml]\n", "absent.yaml"),
        ("resources: [../../../../../../../../etc/passwd]\n", "permission denied"),
        ("generators: [g.yaml]\n", "plugin"),
        ("- nonsense\n", "kustomize says"),
    ],
)
def test_what_cannot_be_put_together_is_said(
    renderer: ConfinedRenderer, said: str, words: str
) -> None:
    plugin = "apiVersion: acme.example.com/v1\nkind: Maker\nmetadata: {name: m}\n"
    files = tree(**{"app/kustomization.yaml": said, "app/g.yaml": plugin})

    with pytest.raises(NotRenderedError) as refused:
        renderer.render(KUSTOMIZE, files)

    assert words in str(refused.value)
    assert "lockkeeper-scan" not in str(refused.value)


def test_a_template_without_end_is_ended(folder: Path) -> None:
    slow = renderer_of(helm=folder / "helm", seconds=3, memory_mib=512)
    assert slow is not None
    loop = "{{ range until 10000 }}" * 3 + "{{ end }}" * 3 + "\n"
    files = tree(**{**CHART, "chart/templates/pod.yaml": loop})

    with pytest.raises(UnavailableError, match="helm"):
        slow.render(RenderRoot("r", RenderTool.HELM, "chart"), files)


def test_a_link_or_path_that_leads_out_is_not_laid_out(renderer: ConfinedRenderer) -> None:
    files = tree(**{"app/kustomization.yaml": "resources: [x]\n"})

    with pytest.raises(NotRenderedError):
        renderer.render(KUSTOMIZE, {**files, "app/x": ("120000", b"../../../../etc/passwd")})
    with pytest.raises(NotRenderedError, match="no path in a tree"):
        renderer.render(KUSTOMIZE, {**files, "../../x": ("100644", b"")})


@pytest.mark.parametrize("way", ["folder", "file"])
def test_links_that_lead_out_together_are_not_written_through(
    renderer: ConfinedRenderer, tmp_path: Path, way: str
) -> None:
    """Each stays by its words; one behind the other led to any folder of the machine."""
    out = tmp_path / "out"
    out.mkdir()
    inside = "+/" * 12
    files = tree(**{"app/kustomization.yaml": "resources: [x]\n", "app/x": POD})
    files[f"{inside}l"] = ("120000", ("../" * 12).encode())
    up = "../" * 12
    leads = f"{inside}l/{up}{str(out).lstrip('/')}"
    if way == "folder":
        files[".lockkeeper-overlay"] = ("120000", leads.encode())
    else:
        files["d/kustomization.yaml"] = ("120000", f"../{leads}/kustomization.yaml".encode())
        files[".lockkeeper-overlay"] = ("120000", b"d")
    root = RenderRoot(
        "app", RenderTool.KUSTOMIZE, "app", overlay='{"resources": ["../app"], "namePrefix": "c-"}'
    )

    with pytest.raises(NotRenderedError):
        renderer.render(root, files)
    assert list(out.iterdir()) == []


def test_a_tool_that_is_not_set_is_named(folder: Path) -> None:
    helmless = renderer_of(kustomize=folder / "kustomize")
    assert helmless is not None
    root = RenderRoot("r", RenderTool.KUSTOMIZE, "", has_charts=True)

    with pytest.raises(NotRenderedError, match="LOCKKEEPER_HELM"):
        helmless.render(root, {})
    with pytest.raises(NotRenderedError, match="because"):
        helmless.render(RenderRoot("r", RenderTool.HELM, "", obstacle="because"), {})
    assert renderer_of() is None


def test_the_generation_is_the_programs(renderer: ConfinedRenderer, folder: Path) -> None:
    changed = renderer_of(kustomize=folder / "crane", helm=folder / "helm")
    assert changed is not None

    assert renderer.generation() != changed.generation()
    assert renderer.generation() == renderer.generation()


# --- the sandbox of a program that starts another one ----------------------------------------

_STARTS = """
import ctypes, os, subprocess, sys
libc = ctypes.CDLL(None, use_errno=True)
try:
{code}
except OSError as error:
    print("refused", error.errno)
"""


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("print(subprocess.run([sys.argv[1]], capture_output=True).stdout.decode())", "child"),
        ("subprocess.run([sys.argv[2]]); print('started')", "refused 13"),
        ("os.setsid(); print('left')", "refused 1"),
        # clone(CLONE_NEWUSER | SIGCHLD), clone(CLONE_NEWNET | SIGCHLD)
        (
            "r = libc.syscall(56, 0x10000011, 0, 0, 0, 0); print('refused' if r < 0 else r)",
            "refused",
        ),
        (
            "r = libc.syscall(56, 0x40000011, 0, 0, 0, 0); print('refused' if r < 0 else r)",
            "refused",
        ),
        ("import socket; socket.socket(); print('reached')", "refused 1"),
    ],
)
def test_only_what_is_named_is_started(folder: Path, code: str, expected: str) -> None:
    child = write_program(folder / "child", "print('child')")
    other = write_program(folder / "other", "print('other')")
    program = write_program(folder / "starter", _STARTS.format(code=f"    {code}"))
    sandbox = Sandbox(program, limits=Limits(seconds=20, memory=2**29))

    with sandbox.room() as room:
        done = sandbox.run(room, [str(child), str(other)], children=[child])

    assert done.output.decode().strip() == expected, done


def test_the_memory_of_all_counts_together(folder: Path) -> None:
    held = "import time\nx = bytearray(90 * 2**20); time.sleep(9)"
    child = write_program(folder / "eater", held)
    starts = "[subprocess.Popen([sys.argv[1]]) for _ in range(4)]"
    code = f"import subprocess, sys\nfor p in {starts}: p.wait()"
    program = write_program(folder / "parent", code)
    sandbox = Sandbox(program, limits=Limits(seconds=30, memory=200 * 2**20))

    with sandbox.room() as room, pytest.raises(UnavailableError, match="memory"):
        sandbox.run(room, [str(child)], children=[child])
