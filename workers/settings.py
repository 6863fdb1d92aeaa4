"""Every setting of a deployment, read from the environment (``VITRINE_…``) in one place."""

from __future__ import annotations

import json
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from pipeline.errors import ConfigurationError

STACK_FILE = "stack.json"
ADDRESSES = ("database_url", "broker_url", "assets_url", "qdrant_url")


class Settings(BaseSettings):
    """What differs between deployments. Everything else is decided in the code.

    Without a database URL the embedded stack of ``home`` is used: ``vitrine up`` writes its addresses there.
    """

    model_config = SettingsConfigDict(env_prefix="VITRINE_", env_nested_delimiter=None, extra="ignore")

    home: Path = Field(default=Path(".vitrine"), description="folder of the embedded stack")
    database_url: str = Field(default="", description="postgresql+psycopg://user:password@host/database")
    broker_url: str = Field(default="", description="redis://:password@host:6379/0")
    assets_url: str = Field(default="", description="file:///folder or s3://bucket/prefix")
    qdrant_url: str = Field(default="", description="https://:api-key@host:6333")
    cache: Path | None = Field(
        default=None, description="where the model kit is kept; the user's cache by default"
    )
    file_roots: tuple[Path, ...] = Field(default=(), description="folders that file: URLs of photos may read")
    allow_networks: tuple[IPv4Network | IPv6Network, ...] = Field(
        default=(), description="networks that photos may be fetched from although they are not public"
    )
    fetch_timeout_s: float = Field(
        default=30, gt=0, description="how long the download of one photo may take"
    )
    engines: dict[str, str] = Field(
        default_factory=dict, description='role to engine, {"captioner": "template"}'
    )
    models: Path | None = Field(
        default=None, description="TOML file of the deployment's models and of which products they serve"
    )
    scenes: tuple[Literal["square", "portrait", "wide"], ...] = Field(
        default=("square", "portrait", "wide"), description="the pictures of each product that are rendered"
    )
    presets: Path | None = Field(default=None, description="YAML file of the shop's own settings of scenes")
    c2pa_certificates: Path | None = Field(
        default=None, description="PEM file of the certificate that signs pictures, and its chain"
    )
    c2pa_key: Path | None = Field(default=None, description="PEM file of that certificate's private key")
    params: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description='stage to parameters, {"screen": {"unsafe_from": 0.8}}'
    )
    engine_memory_mb: int = Field(
        default=4096, gt=0, description="what loaded engines of one process may take"
    )
    window: int = Field(default=256, ge=8, description="jobs announced and not yet begun, a queue")
    retention_days: int = Field(default=30, gt=0, description="how long plans that were replaced are kept")
    asset_grace_s: float = Field(
        default=3600, gt=0, description="how long after its last write an unused blob is kept"
    )
    metrics_port: int = Field(default=0, ge=0, le=65535, description="Prometheus port of the relay; 0 is off")
    metrics_host: str = Field(default="127.0.0.1", description="address the metrics are served on")
    flower_host: str = Field(default="127.0.0.1", description="address Flower is served on")
    flower_port: int = Field(default=5555, ge=0, le=65535)
    flower_basic_auth: str = Field(default="", description="user:password; needed off loopback")
    log: Literal["console", "json"] = Field(default="console", description="form of the log lines")

    def connected(self, *needed: str) -> Settings:
        """These settings with the addresses of a database, a broker and an asset store, or an error.

        ``needed`` names those of ``ADDRESSES`` that must be there, all by default: a publisher needs the
        broker's only.
        """
        values: dict[str, str] = {}
        stack = self.home / STACK_FILE
        if not all(getattr(self, name) for name in ADDRESSES) and stack.exists():
            values = json.loads(stack.read_text())
        merged = self.model_copy(
            update={name: getattr(self, name) or values.get(name, "") for name in ADDRESSES}
            | {"file_roots": self.file_roots or tuple(Path(p) for p in values.get("file_roots", ()))}
        )
        for name in needed or ADDRESSES:
            if not getattr(merged, name):
                raise ConfigurationError(
                    f"VITRINE_{name.upper()} is not set and no embedded stack runs in {self.home}: "
                    "start one with `vitrine up`, or set the variable"
                )
        return merged


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The settings of this process."""
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        raise ConfigurationError(f"VITRINE_{name.upper()}: {first['msg']}") from None
