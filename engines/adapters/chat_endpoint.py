"""Any server that speaks OpenAI's chat completions: GPT-4o and its kin, or an open model behind vLLM."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engines.declaration import Loading, engine
from engines.dialogue.endpoints import Budget, Connection, failure
from engines.dialogue.instructed import CAPABILITIES, DATA, READS, VERSION, Instructed
from engines.dialogue.prompts import Instruction, json_schema
from engines.models import checked_options
from engines.protocols import RGB
from pipeline.errors import EngineDown, RejectedInput

_REPETITIONS = 5
"""The client repeats what was too much or broke over there, waiting longer each time; the timeout ends it."""

_QUALITY = 90
"""Of a picture as JPEG."""


class Message(BaseModel):
    content: str | None = None
    refusal: str | None = None


class Choice(BaseModel):
    message: Message
    finish_reason: str | None = None


class Usage(BaseModel):
    total_tokens: int = Field(ge=0)


class Completion(BaseModel):
    """What is read of a server's answer."""

    choices: tuple[Choice, ...] = Field(min_length=1)
    usage: Usage | None = None


class Options(BaseModel):
    """``side`` is the longest side of a picture as sent, in pixels, ``photos`` how many are sent of a product.

    ``max_tokens`` is for models that think aloud before they answer; without it an answer's own length is the
    limit. ``temperature`` and ``seed`` may be set to "none" for servers that refuse them, ``structured`` to
    false for those that know no JSON schema.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(min_length=1)
    photos: int = Field(default=4, ge=1, le=16)
    side: int = Field(default=1024, ge=64, le=4096)
    max_tokens: int | None = Field(default=None, gt=0)
    temperature: Literal["none"] | Annotated[float, Field(ge=0, le=2)] = 0.0
    seed: Literal["none"] | int = 0
    structured: bool = True


@engine(
    "chat_endpoint",
    capability=CAPABILITIES,
    data=DATA,
    reads=READS,
    licence="the server's terms",
    batch=8,
    memory_mb=50,
    remote=True,
    extra="models",
)
class ChatEndpoint(Instructed):
    """Asks a server. Its answers may change when the server's model does: name a dated model in ``options``."""

    version: ClassVar[int] = VERSION

    def __init__(self, loading: Loading) -> None:
        import openai

        name = loading.registration.name
        self._options = checked_options(Options, loading.options, name)
        self._connection = checked_options(Connection, loading.connection, name)
        super().__init__(name, self._options.photos)
        self._openai = openai
        self._key = self._connection.key()
        self._budget = Budget(self._connection.daily_tokens, self._connection.host)

    def warm_up(self) -> None:
        """Asks nothing: it would cost, and a server that is down now may be up when it is needed."""

    def generate(self, instructions: Sequence[Instruction]) -> list[str | RejectedInput]:
        return asyncio.run(self._generate(instructions))

    async def _generate(self, instructions: Sequence[Instruction]) -> list[str | RejectedInput]:
        turns = asyncio.Semaphore(self._connection.concurrency)
        # A redirect would carry the photos to a host that nobody named.
        http = self._openai.DefaultAsyncHttpxClient(follow_redirects=False)
        client = self._openai.AsyncOpenAI(
            base_url=self._connection.url,
            api_key=self._key,
            timeout=self._connection.timeout_s,
            max_retries=_REPETITIONS,
            http_client=http,
        )
        async with client:
            try:
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(self._complete(client, turns, one)) for one in instructions]
            except ExceptionGroup as failed:
                raise failed.exceptions[0] from None
        return [task.result() for task in tasks]

    async def _complete(
        self, client: Any, turns: asyncio.Semaphore, asked: Instruction
    ) -> str | RejectedInput:
        host = self._connection.host
        async with turns:
            self._budget.check()
            try:
                async with asyncio.timeout(self._connection.timeout_s):
                    answer = await client.chat.completions.with_raw_response.create(**self._request(asked))
                completion = Completion.model_validate_json(answer.content)
            except TimeoutError:
                raise EngineDown(
                    f"{host} gave no answer within {self._connection.timeout_s:g} s: see to it, or raise timeout_s"
                ) from None
            except ValidationError:
                raise EngineDown(f"{host} answered without a completion: see what serves there") from None
            except self._openai.OpenAIError as error:
                meant = failure(error, host)
                if isinstance(meant, RejectedInput):
                    return meant
                raise meant from None
        self._budget.spend(completion.usage.total_tokens if completion.usage else _estimate(asked))
        [choice, *_] = completion.choices
        if choice.message.refusal or choice.finish_reason == "content_filter":
            return RejectedInput("refused-by-model", f"{self._options.model} at {host} declines to answer")
        return choice.message.content or ""

    def _request(self, asked: Instruction) -> dict[str, Any]:
        pictures = [
            {"type": "image_url", "image_url": {"url": data_url(picture, self._options.side)}}
            for picture in asked.pictures
        ]
        request: dict[str, Any] = {
            "model": self._options.model,
            "max_tokens": self._options.max_tokens or asked.longest,
            "messages": [
                {"role": "system", "content": asked.system},
                {"role": "user", "content": [*pictures, {"type": "text", "text": asked.text}]},
            ],
        }
        if self._options.temperature != "none":
            request["temperature"] = self._options.temperature
        if self._options.seed != "none":
            request["seed"] = self._options.seed
        if self._options.structured:
            schema = {"name": asked.form.__name__, "strict": True, "schema": json_schema(asked.form)}
            request["response_format"] = {"type": "json_schema", "json_schema": schema}
        return request


def data_url(picture: RGB, side: int) -> str:
    """The picture as a JPEG in a data URL, its longest side at most ``side``."""
    image = Image.fromarray(picture)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    stored = io.BytesIO()
    image.save(stored, "JPEG", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(stored.getvalue()).decode('ascii')}"


def _estimate(asked: Instruction) -> int:
    """Tokens of an answer whose server does not count them, on the high side."""
    return asked.longest + len(asked.text) // 2 + 1000 * len(asked.pictures)
