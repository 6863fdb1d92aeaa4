"""A server that speaks OpenAI's chat completions: how one is reached, what it may cost, what its errors mean."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

from pipeline.errors import ConfigurationError, EngineDown, RejectedInput, VitrineError

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Connection(BaseModel):
    """How a server is reached; nothing of it shapes an answer.

    ``key_env`` names the environment variable that holds the key, which stands in no file. ``timeout_s`` is for
    one answer with all its repetitions, ``concurrency`` how many are asked for at once, and ``daily_tokens``
    what each worker process may spend a day (UTC), 0 for no limit.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    key_env: str = ""
    timeout_s: float = Field(default=60, gt=0, le=600)
    concurrency: int = Field(default=4, ge=1, le=64)
    daily_tokens: int = Field(default=0, ge=0)

    @field_validator("url")
    @classmethod
    def _keeps_secrets(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.username or parts.password or parts.query:
            raise ValueError("no key belongs into the url: name an environment variable with key_env")
        if not parts.hostname or parts.scheme not in ("http", "https"):
            raise ValueError("the url must be https://HOST/…")
        if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            raise ValueError("the url must be https: http is for a server on this machine")
        return url

    @property
    def host(self) -> str:
        """What messages call the server."""
        return urlsplit(self.url).netloc

    def key(self) -> str:
        """The key; servers of one's own often want none. Raises ConfigurationError where it is not set."""
        if not self.key_env:
            return "none"
        key = os.environ.get(self.key_env, "")
        if not key:
            raise ConfigurationError(f"set the environment variable {self.key_env} to the key of {self.host}")
        return key


def _utc_day() -> date:
    return datetime.now(UTC).date()


class Budget:
    """Tokens a day, counted in this process: what it spent before a restart it has forgotten."""

    def __init__(self, daily_tokens: int, host: str, today: Callable[[], date] = _utc_day) -> None:
        self._limit = daily_tokens
        self._host = host
        self._today = today
        self._day = today()
        self._spent = 0

    def check(self) -> None:
        """Raises EngineDown once the day's tokens are spent; answers under way may overdraw them a little."""
        self._turn()
        if self._limit and self._spent >= self._limit:
            raise EngineDown(
                f"{self._host} has answered with {self._spent} tokens today, daily_tokens is {self._limit}: "
                "raise it, or wait until midnight UTC"
            )

    def spend(self, tokens: int) -> None:
        """Count the tokens of an answer."""
        self._turn()
        self._spent += tokens

    def _turn(self) -> None:
        if (today := self._today()) != self._day:
            self._day, self._spent = today, 0


def failure(error: Any, host: str) -> VitrineError:
    """What an ``openai.OpenAIError`` means to the work. Nothing of what was sent or answered is in the message."""
    import openai

    if isinstance(error, openai.APITimeoutError | openai.APIConnectionError):
        return EngineDown(f"{host} cannot be reached ({type(error).__name__}): see whether it is up")
    if not isinstance(error, openai.APIStatusError):
        return EngineDown(
            f"{host} answered without a completion ({type(error).__name__}): see what serves there"
        )
    status, code = error.status_code, str(error.code or "")[:60]
    told = f"{status}{f', {code}' if code.isascii() and code.isprintable() and code else ''}"
    if code in ("content_filter", "content_policy_violation"):
        return RejectedInput("refused-by-model", f"{host} filters what it was asked ({told})")
    if status in (401, 403):
        return ConfigurationError(
            f"{host} refuses the key ({told}): look at key_env and the account's rights"
        )
    if status == 404:
        return ConfigurationError(f"{host} has no such model or path ({told}): look at url and options.model")
    if status < 500 and status not in (408, 409, 425, 429):
        return ConfigurationError(
            f"{host} refuses the request ({told}{f', {error.param}' if error.param else ''}): look at the model's "
            "options; servers that know no JSON schema want structured = false"
        )
    return EngineDown(f"{host} is overloaded or broken ({told}): see to it, or raise timeout_s")
