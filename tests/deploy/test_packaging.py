"""Chart, bases, compose files and unit: rendered by the real tools, held against schemas."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from bot.adapters.grants import Grants
from bot.domain.errors import ConfigurationError
from bot.settings import VARIABLES, Settings
from tests.schemas import KUBERNETES, mistakes_in_file, mistakes_in_object
from tests.walked.pages import files
from tests.world.tools import attempt, missing, run

ROOT: Final = Path(__file__).parents[2]
DEPLOY: Final = ROOT / "deploy"
CHART: Final = DEPLOY / "helm" / "lockkeeper"
BASES: Final = ("sqlite", "postgresql")
_VERSION: Final = ("--kube-version", "1.31.0")
"""A Helm that was built from its module believes in the oldest one."""
SAID: Final = (
    *("--set", "image.repository=registry.example.com/lockkeeper"),
    *("--set-string", "image.tag=1.0.0"),
    *("--set-string", "appId=123456"),
    *("--set", "manifests={acme/deploy}"),
)
EVERYTHING: Final = (
    *("--set", "metricsToken=true,recordKey=true"),
    *("--set", "ingress.enabled=true,serviceMonitor.enabled=true,ingress.className=nginx"),
    *("--set", "networkPolicy.boardFrom[0].namespaceSelector.matchLabels.name=monitoring"),
    *("--set", "grants[0].manifests=acme/deploy,grants[0].environments.prod.secret=prod"),
    *("--set", "database.storageClassName=fast,podAnnotations.a=b,image.pullSecrets={pull}"),
    *("--set-string", "settings.LOCKKEEPER_RECONCILE_SECONDS=60"),
)
WAYS: Final = {
    "sqlite": SAID,
    "sqlite, everything": (*SAID, *EVERYTHING),
    "postgresql": (*SAID, "--set", "database.kind=postgresql"),
    "postgresql, everything": (*SAID, *EVERYTHING, "--set", "database.kind=postgresql"),
}


def rendered(*said: str) -> list[dict[str, Any]]:
    """What the chart makes of these values."""
    text = run("helm", "template", "lockkeeper", str(CHART), *_VERSION, "-n", "lockkeeper", *said)
    return [one for one in yaml.safe_load_all(text) if one]


def base(name: str) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all((_base(name) / "lockkeeper.yaml").read_text()) if one]


def _base(name: str) -> Path:
    return DEPLOY / "kustomize" / name


def of_kind(objects: Sequence[dict[str, Any]], *kinds: str) -> list[dict[str, Any]]:
    return [one for one in objects if one["kind"] in kinds]


def pods(objects: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Name -> template of each set of pods."""
    sets = of_kind(objects, "Deployment", "StatefulSet")
    return {one["metadata"]["name"]: one["spec"]["template"] for one in sets}


def environment(pod: Mapping[str, Any]) -> dict[str, str]:
    found = pod["spec"]["containers"][0]["env"]
    return {one["name"]: one["value"] for one in found}


# --- the chart ---


@pytest.mark.parametrize("said", WAYS.values(), ids=WAYS)
def test_helm_has_nothing_to_say(said: tuple[str, ...]) -> None:
    done = attempt("helm", "lint", "--strict", "--quiet", str(CHART), *_VERSION, *said)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("said", WAYS.values(), ids=WAYS)
def test_every_object_holds_against_kubernetes_schema(said: tuple[str, ...], version: str) -> None:
    objects = [one for one in rendered(*said) if one["kind"] != "ServiceMonitor"]

    assert len(objects) > 5
    assert [mistakes_in_object(version, one) for one in objects] == [[] for _ in objects]


def test_a_field_that_does_not_exist_would_be_found() -> None:
    (found,) = of_kind(rendered(*SAID), "StatefulSet")
    found["spec"]["template"]["spec"]["runAsNonRoot"] = True

    assert mistakes_in_object(KUBERNETES[-1], found)


@pytest.mark.parametrize(
    ("left_out", "words"),
    [
        (0, "say where the image is"),
        (1, "say which image"),
        (2, "say the App's number"),
        (3, "say the manifests repositories"),
    ],
)
def test_what_has_no_default_is_asked_for(left_out: int, words: str) -> None:
    said = [*SAID[: 2 * left_out], *SAID[2 * left_out + 2 :]]

    done = attempt("helm", "template", str(CHART), *_VERSION, *said)

    assert done.returncode != 0
    assert words in done.stderr


@pytest.mark.parametrize(
    "wrong",
    [
        "databse.kind=sqlite",
        "database.kind=mysql",
        "manifests={acme}",
        "image.digest=sha256:12",
        "settings.lockkeeper_x=1",
        "workers[0].name=Prod",
        "grants[0].manifests=acme/deploy,grants[0].environments.prod=secret",
    ],
)
def test_values_that_mean_nothing_are_refused(wrong: str) -> None:
    done = attempt("helm", "template", str(CHART), *_VERSION, *SAID, "--set-string", wrong)

    assert done.returncode != 0
    assert "schema" in done.stderr


def test_a_worker_delivers_to_some_or_to_all_but_some() -> None:
    both = "workers[0].name=x,workers[0].environments={a},workers[0].exceptEnvironments={b}"

    done = attempt("helm", "template", str(CHART), *_VERSION, *SAID, "--set", both)

    assert done.returncode != 0


def test_metrics_are_scraped_with_the_token_or_not_at_all() -> None:
    done = attempt(
        "helm", "template", str(CHART), *_VERSION, *SAID, "--set", "serviceMonitor.enabled=true"
    )

    assert "needs metricsToken" in done.stderr
    assert of_kind(rendered(*SAID), "ServiceMonitor") == []
    (monitor,) = of_kind(rendered(*SAID, *EVERYTHING), "ServiceMonitor")
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["authorization"]["credentials"] == {
        "name": "lockkeeper",
        "key": "metrics-token",
    }
    boards = [
        one
        for one in of_kind(rendered(*SAID, *EVERYTHING), "Service")
        if monitor["spec"]["selector"]["matchLabels"].items() <= one["metadata"]["labels"].items()
    ]
    assert [one["spec"]["ports"][0]["name"] for one in boards] == [endpoint["port"]]


# --- the bases ---


@pytest.mark.parametrize("name", BASES)
def test_the_base_is_what_the_chart_renders(name: str) -> None:
    text = run(
        *("helm", "template", "lockkeeper", str(CHART), *_VERSION, "-n", "lockkeeper"),
        *("-f", str(_base(name) / "values.yaml")),
    )

    assert (_base(name) / "lockkeeper.yaml").read_text() == text


@pytest.mark.parametrize("name", [*BASES, "example"])
def test_kustomize_builds_it_and_kubernetes_would_take_it(name: str) -> None:
    built = list(yaml.safe_load_all(run("kustomize", "build", str(_base(name)))))

    assert [mistakes_in_object(KUBERNETES[0], one) for one in built] == [[] for _ in built]


def test_the_example_leaves_nothing_of_the_base_open() -> None:
    text = run("kustomize", "build", str(_base("example")))

    assert "unset" not in text
    assert "owner/manifests" not in text
    assert 'value: "0"' not in text


@pytest.mark.parametrize("name", BASES)
def test_a_base_without_an_overlay_does_not_start(name: str) -> None:
    for pod in pods(base(name)).values():
        with pytest.raises(ConfigurationError, match="LOCKKEEPER_APP_ID"):
            Settings.read({"LOCKKEEPER_APP_ID": environment(pod)["LOCKKEEPER_APP_ID"]})


# --- every pod ---


EVERY: Final = {name: base(name) for name in BASES}


@pytest.mark.parametrize("name", BASES)
def test_a_pod_has_no_more_rights_than_it_needs(name: str) -> None:
    for pod in pods(EVERY[name]).values():
        spec, container = pod["spec"], pod["spec"]["containers"][0]
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"] == {
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "runAsGroup": 10001,
            "fsGroup": 10001,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        secret = [one for one in spec["volumes"] if "secret" in one or "projected" in one]
        modes = [next(iter(one.values()))["defaultMode"] for one in map(_without_name, secret)]
        assert set(modes) == {0o440}
        assert all(
            one["readOnly"]
            for one in container["volumeMounts"]
            if one["name"] in {volume["name"] for volume in secret}
        )


def _without_name(volume: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in volume.items() if key != "name"}


@pytest.mark.parametrize("name", BASES)
def test_the_kubelet_reaches_what_it_asks(name: str) -> None:
    for pod in pods(EVERY[name]).values():
        container = pod["spec"]["containers"][0]
        ports = {one["name"]: one["containerPort"] for one in container["ports"]}
        plain = {key: one for key, one in environment(pod).items() if "_FILE" not in key}
        settings = Settings.read({**plain, "LOCKKEEPER_APP_ID": "1"})
        assert (settings.board_listen.host, settings.board_listen.port) == ("0.0.0.0", 8081)  # noqa: S104 - in a pod
        assert ports == {"webhook": settings.listen.port, "board": settings.board_listen.port}
        asked = {
            probe: container[probe]["httpGet"]
            for probe in ("startupProbe", "livenessProbe", "readinessProbe")
        }
        assert asked == {
            "startupProbe": {"path": "/healthz", "port": "board"},
            "livenessProbe": {"path": "/healthz", "port": "board"},
            "readinessProbe": {"path": "/readyz", "port": "board"},
        }


@pytest.mark.parametrize("name", BASES)
def test_no_service_sets_a_variable_that_is_refused(name: str) -> None:
    """A Service called lockkeeper would set LOCKKEEPER_SERVICE_HOST, which is no setting."""
    for pod in pods(EVERY[name]).values():
        assert pod["spec"]["enableServiceLinks"] is False


def test_the_web_pod_mounts_no_key_and_no_grant() -> None:
    web = pods(EVERY["postgresql"])["lockkeeper-web"]

    files_of = [
        item["key"]
        for volume in web["spec"]["volumes"]
        for item in volume.get("secret", {}).get("items", [])
    ]
    assert files_of == ["database-url", "metrics-token", "webhook-secret"]
    assert not [one for one in web["spec"]["volumes"] if "projected" in one]
    assert (
        not {"LOCKKEEPER_PRIVATE_KEY_FILE", "LOCKKEEPER_RECORD_KEY_FILE"} & environment(web).keys()
    )


def test_private_keys_of_an_environment_are_in_the_worker_that_delivers_there_alone() -> None:
    workers = pods(EVERY["postgresql"])

    assert "owner/manifests/prod/signing.key" in granted_files(workers["lockkeeper-worker-prod"])
    others = granted_files(workers["lockkeeper-worker-rest"])
    assert {one for one in others if one.endswith((".key", ".password"))} == set()
    assert "owner/manifests/prod/signing.pub" in others


def granted_files(pod: Mapping[str, Any]) -> list[str]:
    return [
        item["path"]
        for volume in pod["spec"]["volumes"]
        for source in volume.get("projected", {}).get("sources", [])
        for item in source["secret"]["items"]
    ]


@pytest.mark.parametrize("name", BASES)
def test_what_a_pod_is_started_with_is_what_lockkeeper_reads(name: str, tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    for number, (title, pod) in enumerate(sorted(pods(EVERY[name]).items())):
        spec = pod["spec"]
        (volume,) = (one["secret"] for one in spec["volumes"] if "secret" in one)
        for item in volume["items"]:
            url = "postgresql://u:p@db/lockkeeper" if item["key"] == "database-url" else "x" * 32
            (secrets / item["path"]).write_text(url)
        given = {
            key: value.replace("/etc/lockkeeper/secrets", str(secrets))
            for key, value in environment(pod).items()
        }
        grants = tmp_path / f"grants{number}"
        for path in granted_files(pod):
            (grants / path).parent.mkdir(parents=True, exist_ok=True)
            (grants / path).write_text("{}")

        settings = Settings.read({**given, "LOCKKEEPER_APP_ID": "1"})

        assert settings.required_webhook_secrets()
        assert settings.required_manifests() == ("owner/manifests",)
        assert bool(settings.private_key) == ("web" not in title)
        assert settings.database_url.startswith("postgresql" if name == "postgresql" else "sqlite")
        if granted_files(pod):
            of = Grants(grants, settings.manifests).of("owner/manifests")
            assert of.registry_json("prod") is not None


def test_every_selector_selects_what_it_is_for() -> None:
    for objects in EVERY.values():
        labels = {name: pod["metadata"]["labels"] for name, pod in pods(objects).items()}
        for one in of_kind(objects, "Deployment", "StatefulSet"):
            own = one["spec"]["selector"]["matchLabels"]
            chosen = [name for name, said in labels.items() if own.items() <= said.items()]
            assert chosen == [one["metadata"]["name"]]
        for budget in of_kind(objects, "PodDisruptionBudget"):
            own = budget["spec"]["selector"]["matchLabels"]
            assert len([name for name, said in labels.items() if own.items() <= said.items()]) == 1
        (webhook,) = (
            one for one in of_kind(objects, "Service") if one["metadata"]["name"] == "lockkeeper"
        )
        takers = [
            n for n, said in labels.items() if webhook["spec"]["selector"].items() <= said.items()
        ]
        assert takers in (["lockkeeper"], ["lockkeeper-web"])


def test_strangers_reach_the_webhook_alone() -> None:
    objects = rendered(*SAID, *EVERYTHING)
    (ingress,) = of_kind(objects, "Ingress")
    policies = of_kind(objects, "NetworkPolicy")

    paths = ingress["spec"]["rules"][0]["http"]["paths"]
    assert [(one["path"], one["pathType"]) for one in paths] == [("/webhook", "Exact")]
    for policy in policies:
        for rule in policy["spec"].get("ingress", []):
            assert rule["from"], "nobody named is everybody"
    assert of_kind(rendered(*SAID), "Ingress") == []


@pytest.mark.parametrize("name", BASES)
def test_instance_metadata_is_never_reached(name: str) -> None:
    rules = [
        rule
        for policy in of_kind(EVERY[name], "NetworkPolicy")
        for rule in policy["spec"].get("egress", [])
    ]
    blocks = [one["ipBlock"] for rule in rules for one in rule.get("to", [])]

    assert "169.254.0.0/16" in {one for block in blocks for one in block["except"]}
    open_to_all = [port["port"] for rule in rules if "to" not in rule for port in rule["ports"]]
    assert set(open_to_all) <= {53, 5432}


# --- compose and systemd ---


COMPOSE: Final = sorted((DEPLOY / "compose").glob("*.yaml"))


@pytest.mark.parametrize("file", COMPOSE, ids=lambda file: file.name)
def test_a_compose_file_holds_against_the_specification(file: Path) -> None:
    document = yaml.safe_load(file.read_text())

    assert mistakes_in_file("compose-spec", document) == []
    assert mistakes_in_file("compose-spec", {**document, "services": {"x": {"imge": "y"}}})


def _ours(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, service in yaml.safe_load(file.read_text())["services"].items():
        if "LOCKKEEPER_IMAGE" in service["image"]:
            yield name, service


@pytest.mark.parametrize("file", COMPOSE, ids=lambda file: file.name)
def test_a_composed_process_is_shut_in_and_reads_its_secrets_from_files(
    file: Path, tmp_path: Path
) -> None:
    declared = yaml.safe_load(file.read_text())["secrets"]
    for name, service in _ours(file):
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
        given = {}
        for variable, path in service["environment"].items():
            secret = Path(path).name
            assert secret in service["secrets"], (name, secret)
            assert secret in declared
            (tmp_path / secret).write_text("sqlite:///x" if "url" in secret else "x" * 32)
            given[variable] = str(tmp_path / secret)
        assert Settings.read(given).webhook_secrets
        assert ("LOCKKEEPER_PRIVATE_KEY_FILE" in given) == (name != "web")
        assert any("grants" in one for one in service["volumes"]) == (name != "web")


UNIT: Final = DEPLOY / "systemd" / "lockkeeper.service"


def unit(text: str) -> dict[str, str]:
    found = configparser.ConfigParser(strict=True, interpolation=None)
    found.optionxform = str  # type: ignore[assignment,method-assign]  # systemd minds the case
    found.read_string(text)
    return {
        f"{section}.{key}": value
        for section in found.sections()
        for key, value in found[section].items()
    }


def test_the_unit_asks_for_what_the_guide_s_asks_for_and_more() -> None:
    guide = files(ROOT / "docs" / "getting-started.md")["/etc/systemd/system/lockkeeper.service"]

    assert unit(guide).items() <= unit(UNIT.read_text()).items()


def _systemd(*arguments: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("systemd-analyze") is None:
        missing("systemd-analyze is missing; install systemd")
    return subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, check=False, timeout=60
    )


def test_systemd_understands_every_line(tmp_path: Path) -> None:
    here = tmp_path / "lockkeeper.service"
    here.write_text(UNIT.read_text().replace("/opt/lockkeeper/bin/lockkeeper", "/bin/true"))

    done = _systemd("verify", str(here))

    assert (done.returncode, done.stderr) == (0, "")


def test_systemd_finds_little_exposed() -> None:
    done = _systemd("security", "--offline=yes", "--threshold=30", str(UNIT))

    found = re.search(r"exposure level for \S+: ([0-9.]+)", done.stdout)
    assert found
    assert float(found[1]) <= 3.0


# --- settings ---


def test_every_setting_that_is_named_exists() -> None:
    known = {one.name for one in VARIABLES} | {f"{v.name}_FILE" for v in VARIABLES if v.secret}
    known |= {"LOCKKEEPER_IMAGE", "LOCKKEEPER_SERVICE_HOST"}  # of compose, of Kubernetes

    named = {
        (path.relative_to(DEPLOY).as_posix(), name)
        for path in DEPLOY.rglob("*")
        if path.is_file()
        for name in re.findall(r"LOCKKEEPER_[A-Z_]+[A-Z]", path.read_text())
    }

    assert named
    assert {one for one in named if one[1] not in known} == set()
