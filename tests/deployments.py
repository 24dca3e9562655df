"""What the ready files under deploy/ start: the command of each, with the variables and files it gives to it.

Everything is read out of the files themselves, so that what a test starts is what a machine would.
"""

import ast
import configparser
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).parent.parent / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
SYSTEMD = DEPLOY / "systemd"
CRON = DEPLOY / "cron" / "bandshift"

INSTALLED = "/opt/bandshift/bin/"
"""Where the units and the cron table expect the programs of bandshift."""


@dataclass(frozen=True, slots=True)
class Start:
    """A command, its variables, and the files it finds: their absolute paths and texts. `DSN` stands for the URL."""

    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)


DSN = "<the database's URL>"


def documents() -> list[tuple[str, dict[str, Any]]]:
    """Every Kubernetes resource, with its file's name."""
    return [
        (file.name, document)
        for file in sorted(KUBERNETES.glob("*.yaml"))
        for document in yaml.safe_load_all(file.read_text(encoding="utf-8"))
    ]


def pod(document: Mapping[str, Any]) -> dict[str, Any]:
    """The pod that the resource starts."""
    spec = document["spec"]
    template = spec["jobTemplate"]["spec"]["template"] if document["kind"] == "CronJob" else spec["template"]
    found: dict[str, Any] = template["spec"]
    return found


def kubernetes(file: str) -> Start:
    """What the file's container starts, with the secrets and settings that are mounted where it looks for them."""
    resources = {
        (document["kind"], document["metadata"]["name"]): document
        for _, document in documents()
        if "spec" not in document and "metadata" in document
    }
    (found,) = [document for name, document in documents() if name == file]
    volumes = {volume["name"]: volume for volume in pod(found)["volumes"]}
    (container,) = pod(found)["containers"]
    files: dict[str, str] = {}
    for mount in container["volumeMounts"]:
        volume = volumes[mount["name"]]
        if "secret" in volume:
            held = resources["Secret", volume["secret"]["secretName"]]["stringData"]
            for item in volume["secret"]["items"]:
                assert held[item["key"]].startswith("postgresql://")
                files[f"{mount['mountPath']}/{item['path']}"] = DSN
        elif "configMap" in volume:
            held = resources["ConfigMap", volume["configMap"]["name"]]["data"]
            files |= {f"{mount['mountPath']}/{key}": text for key, text in held.items()}
    environment = {variable["name"]: variable["value"] for variable in container["env"]}
    return Start(tuple(container["command"]), environment, files)


class Unit(configparser.ConfigParser):
    """A file whose keys are written as they are."""

    def optionxform(self, optionstr: str) -> str:
        return optionstr


def unit(file: str) -> Unit:
    """A systemd unit; of a key that is said twice, the last."""
    parser = Unit(strict=False, interpolation=None, delimiters=("=",), comment_prefixes=("#",))
    parser.read_string((SYSTEMD / file).read_text(encoding="utf-8"))
    return parser


def systemd(file: str) -> Start:
    """What the service starts, with its credential where systemd puts it."""
    service = unit(file)["Service"]
    credential, _, source = service["LoadCredential"].partition(":")
    assert source.startswith("/etc/bandshift/")
    folder = "/run/credentials"
    pairs = [pair.partition("=") for pair in shlex.split(service["Environment"])]
    environment = {name: value.replace("%d", folder) for name, _, value in pairs}
    return Start(tuple(shlex.split(service["ExecStart"])), environment, {f"{folder}/{credential}": DSN})


def cron() -> tuple[str, str, Start]:
    """The schedule of the cron table's one line, the user it is run as, and what it starts."""
    lines = [line for line in CRON.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    environment = {name: value.strip('"') for name, _, value in (line.partition("=") for line in lines[:-1])}
    *schedule, user, command = lines[-1].split(maxsplit=6)
    shell = environment.pop("SHELL")
    secret = {environment["DATABASE_URL_FILE"]: DSN}
    return " ".join(schedule), user, Start((shell, "-c", command), environment, secret)


def calls(tree: ast.AST, name: str) -> Iterator[ast.Call]:
    """Every call of what is so named."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == name:
            yield node


def keyword(call: ast.Call, name: str) -> Any:
    """The literal that the call gives for this keyword."""
    (found,) = [keyword.value for keyword in call.keywords if keyword.arg == name]
    return ast.literal_eval(found)


def airflow() -> tuple[str, Start]:
    """The schedule of the DAG, and what its one task starts."""
    tree = ast.parse((DEPLOY / "airflow" / "bandshift.py").read_text(encoding="utf-8"))
    (dag,), (task,) = calls(tree, "DAG"), calls(tree, "BashOperator")
    return keyword(dag, "schedule"), Start(("bash", "-c", keyword(task, "bash_command")), **_told_by_its_machine())


def dagster() -> tuple[str, Start]:
    """The schedule of the job, and what its one step starts."""
    tree = ast.parse((DEPLOY / "dagster" / "bandshift.py").read_text(encoding="utf-8"))
    (schedule,), (step,) = calls(tree, "dagster.ScheduleDefinition"), calls(tree, "subprocess.run")
    assert keyword(step, "check") is True
    return keyword(schedule, "cron_schedule"), Start(tuple(ast.literal_eval(step.args[0])), **_told_by_its_machine())


def _told_by_its_machine() -> dict[str, dict[str, str]]:
    return {
        "environment": {"DATABASE_URL_FILE": "/etc/bandshift/database_url"},
        "files": {"/etc/bandshift/database_url": DSN},
    }
