"""Writes captions with a server that speaks OpenAI's protocol; clips go there as JPEG frames.

Axes: T frames, H height, W width.
"""

from __future__ import annotations

import base64
import io
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from easyanimate_core.errors import MediaError, RequestError
from easyanimate_core.number_range import NOT_NEGATIVE, Range

from easyanimate_data.preparation.captioner.answer import MOST_TOKENS, cut_off, drop_thoughts
from easyanimate_data.preparation.network import needs_extra

if TYPE_CHECKING:
    from collections.abc import Sequence

    from easyanimate_data.frames import Frames

LONGEST_SIDE = 1024
"""Pixels; larger frames are shrunk before they are sent."""

JPEG_QUALITY = 90

FIRST_PAUSE = 0.5
"""Seconds before an answer without text is asked for again; twice as long each time, up to `LONGEST_PAUSE`."""

LONGEST_PAUSE = 8.0

_CUT_OFF = ("length", "max_tokens")
"""What servers call the end of an answer for want of tokens."""


def load(  # noqa: PLR0913 (keyword-only)
    *,
    base_url: str | None = None,
    model: str | None = None,
    api_key: str | None = None,
    timeout: Annotated[float, Range(above=0, most=86400)] = 120.0,
    max_retries: Annotated[int, Range(0, 100)] = 5,
    max_tokens: Annotated[int, Range(1)] = 1024,
    temperature: Annotated[float, NOT_NEGATIVE] = 1.0,
    top_p: Annotated[float, Range(above=0, most=1)] = 1.0,
    seed: int | None = 1,
    concurrency: Annotated[int, Range(1, 1024)] = 8,
) -> OpenAICaptioner:
    """Connect to a server; nothing is sent yet.

    Args:
        base_url: Address up to the version: http://127.0.0.1:8000/v1.
        model: Name of the model on the server.
        api_key: None takes the variable OPENAI_API_KEY, and "none" where that is not set.
        timeout: Seconds until a request counts as failed.
        max_retries: How often a failed request is sent again, after pauses that grow.
        max_tokens: Length of an answer at the most; one that is cut off is asked for again with up to 8 times this.
        temperature: 0 takes the likeliest word each time.
        top_p: Share of the likeliest words that are drawn from.
        seed: For servers that know it; None sends none.
        concurrency: Requests at a time.

    Raises:
        PluginError: When the package openai is not installed.
        RequestError: When the address or the model's name is missing.
    """
    for name, value, example in (("base_url", base_url, "http://127.0.0.1:8000/v1"), ("model", model, "my-model")):
        if not value:
            raise RequestError(
                f"The captioner openai needs the option {name}.", received=value, expected=f"for example {example}"
            )
    with needs_extra("caption"):
        import openai
    client = openai.OpenAI(
        base_url=base_url,
        api_key=api_key or os.environ.get("OPENAI_API_KEY") or "none",
        timeout=timeout,
        max_retries=max_retries,
    )
    settings = {"model": model, "max_tokens": max_tokens, "temperature": temperature, "top_p": top_p}
    return OpenAICaptioner(client, settings, seed, max_retries, concurrency)


@dataclass(frozen=True)
class OpenAICaptioner:
    """A server; `load` explains the options.

    Args:
        client: Sends a request again when the server is down, slow, busy or broken.
        settings: Part of every request.
        seed: Seed of the first attempt; each further attempt takes the next, so that its answer differs.
        max_retries: How often an answer without text is asked for again.
        concurrency: Requests at a time.
    """

    client: Any
    settings: dict[str, Any]
    seed: int | None
    max_retries: int
    concurrency: int

    def __call__(self, instructions: Sequence[str], clips: Sequence[Frames | None]) -> list[str | MediaError]:
        """Answer each instruction; what still fails after all retries is an error in its stead.

        Raises:
            RequestError: When the server refuses the key or does not know the address or the model.
        """
        with ThreadPoolExecutor(max(1, self.concurrency)) as pool:
            return list(pool.map(self._answer, instructions, clips))

    def _answer(self, instruction: str, clip: Frames | None) -> str | MediaError:
        content: list[dict[str, Any]] = [] if clip is None else [_image_part(frame) for frame in clip]
        messages = [{"role": "user", "content": [*content, {"type": "text", "text": instruction}]}]
        failure: MediaError | None = None
        settings = dict(self.settings)
        for attempt in range(self.max_retries + 1):
            seeding = {} if self.seed is None else {"seed": self.seed + attempt}
            try:
                response = self._ask(messages=messages, **settings, **seeding)
            except MediaError as error:
                return failure or error  # a server that takes no more tokens leaves the answer cut off
            text, reason = _read(response)
            if reason in _CUT_OFF:
                failure = cut_off(text, settings["max_tokens"])
                if settings["max_tokens"] >= MOST_TOKENS * self.settings["max_tokens"]:
                    break
                settings["max_tokens"] *= 2
                continue
            if text := drop_thoughts(text):
                return text
            failure = self._error(
                f"The server's answer holds no text, {attempt + 1} times.", f"no text in {str(response)[:200]!r}"
            )
            if attempt < self.max_retries:
                time.sleep(min(FIRST_PAUSE * 2**attempt, LONGEST_PAUSE))
        assert failure is not None  # noqa: S101 (there is an attempt at least)
        return failure

    def _ask(self, **request: Any) -> Any:
        """Send a request; the client has sent it again already where it raises `MediaError`."""
        import openai

        try:
            return self.client.chat.completions.create(**request)
        except (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError) as error:
            raise RequestError(
                "The server refuses the key, the address or the model.",
                received=f"{self.client.base_url}, model {self.settings['model']}: {_line(error)}",
                expected="a base_url, model and api_key that it knows",
            ) from error
        except openai.APIError as error:
            raise self._error("The server did not answer.", _line(error)) from error
        except ValueError as error:
            return f"no JSON ({_line(error)})"

    def _error(self, message: str, received: str) -> MediaError:
        return MediaError(
            message,
            received=f"{self.client.base_url}: {received}",
            expected="a chat completion with text",
            fix="look at the server's log; then go on with --resume",
        )


def _read(response: Any) -> tuple[str, str]:
    """The text of a chat completion and why it ended; empty where a server sent something else."""
    choices = getattr(response, "choices", None)
    first = choices[0] if isinstance(choices, list) and choices else None
    content = getattr(getattr(first, "message", None), "content", None)
    reason = getattr(first, "finish_reason", None)
    return content if isinstance(content, str) else "", str(reason or "")


def _image_part(frame: Frames) -> dict[str, Any]:
    from PIL import Image

    image = Image.fromarray(frame)
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=JPEG_QUALITY)
    data = base64.b64encode(buffer.getvalue()).decode()
    return {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{data}"}}


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), '')}"
