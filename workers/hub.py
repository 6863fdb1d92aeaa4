"""The hub of models: which commit a branch is at, and its files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from engines.models import Model, patterns
from pipeline.errors import ConfigurationError, Transient


def commit_of(repo: str, revision: str) -> str:
    """The commit that a branch or tag is at. Raises ConfigurationError where it holds no safetensors."""
    from huggingface_hub import HfApi

    with _hub(repo, revision):
        found = HfApi().model_info(repo, revision=revision)
    files = [file.rfilename for file in found.siblings or ()]
    if not any(name.endswith(".safetensors") for name in files):
        raise ConfigurationError(
            f"{repo} at {revision} holds no *.safetensors, and no other weights are read: pin a revision that "
            "does (the hub keeps converted copies as --revision refs/pr/N), or another repository"
        )
    return str(found.sha)


def download(model: Model, cache: Path, parts: Sequence[str], *, quiet: bool) -> None:
    """Bring the files of a model's commit that are read into ``cache``, the layout of the hub's own client.

    ``parts`` are the folders with weights that its engine reads, none where the checkpoint is one model.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils.tqdm import disable_progress_bars

    if quiet:
        disable_progress_bars()
    with _hub(model.repo, model.revision):
        snapshot_download(
            model.repo, revision=model.revision, cache_dir=cache, allow_patterns=patterns(parts)
        )


@contextmanager
def _hub(repo: str, revision: str) -> Iterator[None]:
    """The hub's errors in this project's words."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        yield
    except GatedRepoError as error:
        raise ConfigurationError(
            f"{repo} asks for its licence to be accepted: do so on its page, and set HF_TOKEN"
        ) from error
    except RepositoryNotFoundError as error:
        raise ConfigurationError(f"the hub has no repository {repo}, or not for this HF_TOKEN") from error
    except RevisionNotFoundError as error:
        raise ConfigurationError(
            f"{repo} has no revision {revision!r}: name a branch, tag or commit"
        ) from error
    except HFValidationError as error:
        raise ConfigurationError(f"{repo!r} is not the name of a repository: write owner/name") from error
    except (_http_error(), LocalEntryNotFoundError, OSError) as error:
        raise Transient(
            f"the hub does not answer for {repo} ({type(error).__name__}): try again, set HF_ENDPOINT to a "
            "mirror, or pin a checkpoint on disk with --folder"
        ) from error


def _http_error() -> type[Exception]:
    """The root of the errors of the HTTP client that the hub's client uses, which has changed before."""
    from huggingface_hub.errors import HfHubHTTPError

    return next(base for base in HfHubHTTPError.__mro__ if base.__name__ == "HTTPError")
