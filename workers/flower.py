"""Flower over the workers: bounded, and never open to strangers."""

from __future__ import annotations

import os
from ipaddress import ip_address

from pipeline.errors import ConfigurationError
from workers.app import make_app
from workers.settings import Settings

_TASKS_KEPT = 5_000
_WORKERS_KEPT_S = 3_600
# Flower asks eight questions at once, each over two connections; with fewer it waits for itself for ever.
_CONNECTIONS = 32


def guard_flower(host: str, basic_auth: str) -> None:
    """Refuse to serve Flower where others reach it without a password: its page stops workers.

    Raises ConfigurationError.
    """
    if basic_auth:
        user, _, password = basic_auth.partition(":")
        # Flower cannot compare anything but ASCII.
        if not user or not password or not basic_auth.isascii():
            raise ConfigurationError("VITRINE_FLOWER_BASIC_AUTH must be user:password, in ASCII")
    elif not _is_loopback(host):
        raise ConfigurationError(
            f"VITRINE_FLOWER_HOST={host} is not loopback: set VITRINE_FLOWER_BASIC_AUTH=user:password, "
            "or leave the host at 127.0.0.1"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def run_flower(settings: Settings) -> None:
    """Serve until a signal ends the process."""
    guard_flower(settings.flower_host, settings.flower_basic_auth)
    try:
        import flower.options  # noqa: F401 -- defines the options below
        from tornado.options import options
    except ModuleNotFoundError as error:
        raise ConfigurationError("Flower is not installed: pip install 'vitrine[flower]'") from error
    app = make_app(settings.broker_url)
    app.conf.broker_pool_limit = _CONNECTIONS
    if settings.flower_basic_auth:
        # Not as an argument: there a comma in the password would separate two users.
        options.basic_auth = [settings.flower_basic_auth]
    app.start(
        [
            "flower",
            f"--address={settings.flower_host}",
            f"--port={settings.flower_port}",
            # Flower would run a flowerconfig.py of the current folder.
            f"--conf={os.devnull}",
            "--persistent=False",
            f"--max-tasks={_TASKS_KEPT}",
            f"--purge-offline-workers={_WORKERS_KEPT_S}",
            "--auto-refresh=True",
            # What an operator looks for: which products, how many, in which state; ids are a click away.
            "--tasks-columns=name,kwargs,args,state,result,received,runtime,worker",
        ]
    )
