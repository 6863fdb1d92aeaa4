"""The models of a deployment: which checkpoint an engine loads, pinned, or which server it asks.

A deployment keeps them in one TOML file, named by ``VITRINE_MODELS``, a table a model. It is part of the
deployment as code is: every process must read the same file, since its content enters the fingerprints.

    [models.llava]
    repo = "llava-hf/llava-1.5-7b-hf"
    revision = "<commit, 40 hex digits>"

    [models.llava-tuned]            # the same engine with a LoRA adapter of one's own
    engine = "llava"
    repo = "llava-hf/llava-1.5-7b-hf"
    revision = "<commit, 40 hex digits>"
    lora = { path = "tuned/2026-11", sha256 = "..." }

    [models.gpt]
    engine = "chat_endpoint"
    options = { model = "..." }
    connection = { url = "https://example.com/v1", key_env = "GPT_KEY" }
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipeline.errors import ConfigurationError
from pipeline.keys import digest

PATTERNS = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja")
"""The files of a checkpoint that are fetched and read: weights as safetensors only, and no code."""


def patterns(parts: Sequence[str] = ()) -> list[str]:
    """The files of a repository that are read, as the hub's client takes them.

    Of a pipeline these are the weights of its ``parts`` under the names that ``save_pretrained`` gives them: its
    repository holds the same once more in one file, in half precision, and models that nobody loads here.
    """
    if not parts:
        return list(PATTERNS)
    names = ("model.safetensors", "diffusion_pytorch_model.safetensors", "*model-?????-of-?????.safetensors")
    small = (pattern for pattern in PATTERNS if pattern != "*.safetensors")
    return [*small, *(f"{part}/{name}" for part in parts for name in names)]


_LISTED = (*PATTERNS, "*.onnx")
"""What a pinned folder is told by: an image tower of one's own is read too, and never fetched."""


class Folder(BaseModel):
    """A folder as it was when it was pinned: ``sha256`` is that of its listing (see ``listing_digest``)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")

    def checked(self, what: str) -> Path:
        """The path. Raises ConfigurationError where it is not there or is no longer what was pinned."""
        if not self.path.is_dir():
            raise ConfigurationError(f"{what} is not there: {self.path}")
        found = listing_digest(self.path)
        if found != self.sha256:
            raise ConfigurationError(
                f"{what} in {self.path} has changed since it was pinned (its files' SHA-256 is {found[:12]}…, "
                f"pinned was {self.sha256[:12]}…): pin it again with `vitrine models pin` if that is meant"
            )
        return self.path


class Model(BaseModel):
    """One model: a commit of a hub's repository, a folder on disk, or a server.

    ``tower`` is an image tower that `vitrine optimise` exported from it, to run in the place of its own.
    ``needs`` names, for an engine that builds on others, the models to take instead of those of the engines'
    own names. ``options`` shape its answers, ``connection`` only says how it is reached; the adapter checks both.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    engine: str = ""
    repo: str = Field(default="", pattern=r"^$|^[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?$")
    revision: str = Field(default="", pattern=r"^$|^[0-9a-f]{40}$")
    folder: Folder | None = None
    lora: Folder | None = None
    tower: Folder | None = None
    needs: dict[str, str] = Field(default_factory=dict)
    memory_mb: int | None = Field(default=None, gt=0)
    licence: str = ""
    options: dict[str, Any] = Field(default_factory=dict)
    connection: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _is_one_thing(self) -> Self:
        if bool(self.repo) != bool(self.revision):
            raise ValueError("a repo needs the commit it is pinned to as its revision, 40 hex digits")
        if self.repo and self.folder:
            raise ValueError("a model is either a commit of a repo or a folder")
        return self

    @property
    def identity(self) -> str:
        """Changes whenever the model may answer otherwise; where its files lie does not matter."""
        parts = [
            self.repo,
            self.revision,
            self.folder.sha256 if self.folder else "",
            self.lora.sha256 if self.lora else "",
            self.options,
        ]
        return digest([*parts, self.tower.sha256] if self.tower else parts).hex()

    @property
    def origin(self) -> str:
        """The identity of the model without its exported tower: of what the tower was exported from."""
        return self.model_copy(update={"tower": None}).identity

    def lora_folder(self) -> Path | None:
        """The LoRA adapter's folder, checked, if there is one."""
        return self.lora.checked("the LoRA adapter") if self.lora else None

    def tower_folder(self) -> Path | None:
        """The exported image tower's folder, checked, if there is one."""
        return self.tower.checked("the image tower") if self.tower else None

    def checkpoint(self, cache: Path, parts: Sequence[str] = ()) -> Path:
        """The folder to load from; ``cache`` is where commits of repositories are kept, ``parts`` as of ``patterns``.

        Raises ConfigurationError where it is not fetched, or has changed since it was pinned.
        """
        if self.folder is not None:
            return self.folder.checked("the checkpoint")
        if not self.repo:
            raise ConfigurationError("the model has neither a repo nor a folder to load a checkpoint from")
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import LocalEntryNotFoundError

        try:
            return Path(
                snapshot_download(
                    self.repo,
                    revision=self.revision,
                    cache_dir=cache,
                    allow_patterns=patterns(parts),
                    local_files_only=True,
                )
            )
        except LocalEntryNotFoundError as error:
            raise ConfigurationError(
                f"{self.repo} at {self.revision[:12]} is not in {cache}: run `vitrine models fetch`"
            ) from error


class Canary(BaseModel):
    """An engine on trial: it answers for ``percent`` of the products, always the same ones."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    engine: str
    percent: int = Field(ge=1, le=99)


class Route(BaseModel):
    """Which engines serve a role for some products; what is left out does not narrow.

    ``categories`` are the merchant's, or what they begin with, case ignored; ``locales`` likewise ("zh" is
    also "zh-CN"). The first of ``engines`` answers, the others in their order while those before are down. An
    engine written as ``name@revision`` is pinned: another revision of it is refused at start.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: str
    engines: tuple[str, ...] = Field(min_length=1)
    categories: tuple[str, ...] = ()
    tiers: tuple[str, ...] = ()
    locales: tuple[str, ...] = ()
    canary: Canary | None = None


class Deployment(BaseModel):
    """The whole file: models by name, and which engines serve which products (see engines/federation.py)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    models: dict[str, Model] = Field(default_factory=dict)
    routes: tuple[Route, ...] = ()


def read_deployment(path: Path | None) -> Deployment:
    """The file of ``VITRINE_MODELS``, relative folders taken from beside it; empty without one.

    Raises ConfigurationError naming the table and what is wrong with it.
    """
    if path is None:
        return Deployment()
    try:
        deployment = Deployment.model_validate(tomllib.loads(path.read_text("utf-8")))
    except FileNotFoundError:
        raise ConfigurationError(f"VITRINE_MODELS names {path}, which is not there") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path} is not TOML: {error}") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigurationError(f"{path}: {where}: {first['msg']}") from None
    beside = path.resolve().parent
    return deployment.model_copy(
        update={"models": {name: _anchored(model, beside) for name, model in deployment.models.items()}}
    )


_Options = TypeVar("_Options", bound=BaseModel)


def checked_options(kind: type[_Options], given: Mapping[str, Any], name: str) -> _Options:
    """A model's options or connection as its adapter's own type.

    Raises ConfigurationError naming the model and the option.
    """
    try:
        return kind.model_validate(dict(given))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        known = ", ".join(kind.model_fields)
        raise ConfigurationError(f"model {name}: option {where}: {first['msg']} (options: {known})") from None


def listing_digest(folder: Path) -> str:
    """SHA-256 of ``<sha256 of file>  <path>\\n`` over a checkpoint's files in path order, in hex."""
    files = sorted(path for pattern in _LISTED for path in folder.rglob(pattern) if path.is_file())
    whole = hashlib.sha256()
    for path in dict.fromkeys(files):
        with path.open("rb") as stream:
            of_file = hashlib.file_digest(stream, "sha256").hexdigest()
        whole.update(f"{of_file}  {path.relative_to(folder).as_posix()}\n".encode())
    return whole.hexdigest()


def _anchored(model: Model, beside: Path) -> Model:
    changes: Mapping[str, Folder] = {
        name: folder.model_copy(update={"path": beside / folder.path})
        for name, folder in (("folder", model.folder), ("lora", model.lora), ("tower", model.tower))
        if folder is not None
    }
    return model.model_copy(update=changes)
