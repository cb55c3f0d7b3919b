"""A server of the OpenAI kind, and how it is asked about images."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from io import BytesIO
from typing import Any

from torch import Tensor
from torchvision.transforms.functional import to_pil_image

from vlcal.errors import UserError

NO_KEY = "none"  # the client requires a key; a local server ignores it


class Server:
    """The address of a running server, and how patient its clients are.

    Args:
        url: Base address, for example http://localhost:8000/v1.
        model: Name of the model on the server.
        api_key_env: Environment variable that holds the key; None where the server needs none.
        concurrency: Requests in flight at a time.
        timeout: Seconds after which a request fails.
        retries: Further attempts, with exponential backoff, when the server is unreachable, busy or failing.
    """

    def __init__(
        self,
        url: str,
        model: str,
        api_key_env: str | None = None,
        concurrency: int = 16,
        timeout: float = 600.0,
        retries: int = 5,
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise UserError(f"`url` must start with http:// or https://, as in http://localhost:8000/v1; got {url!r}.")
        if concurrency < 1:
            raise UserError(f"`concurrency` must be at least 1; got {concurrency}.")
        if not timeout > 0:
            raise UserError(f"`timeout` must be above 0 seconds; got {timeout}.")
        if retries < 0:
            raise UserError(f"`retries` must be at least 0; got {retries}.")
        self.url = url
        self.model = model
        self.api_key_env = api_key_env
        self.concurrency = concurrency
        self.timeout = timeout
        self.retries = retries

    def client(self) -> Any:
        """A client of the server.

        Raises:
            UserError: If the openai package or the key is missing.
        """
        try:
            from openai import OpenAI
        except ImportError as error:
            raise UserError(
                f'`{type(self).__name__}` needs the openai client. Install it: pip install "vlcal[endpoint]"'
            ) from error

        key = NO_KEY if self.api_key_env is None else os.environ.get(self.api_key_env)
        if not key:
            raise UserError(
                f"`api_key_env` must name an environment variable that holds the key; {self.api_key_env} is not set."
            )
        return OpenAI(base_url=self.url, api_key=key, timeout=self.timeout, max_retries=self.retries)


def chat_messages(images: Sequence[Tensor], text: str) -> list[dict[str, Any]]:
    """One turn of a user: the images as PNG, then the text."""
    parts: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": _png(image)}} for image in images]
    return [{"role": "user", "content": [*parts, {"type": "text", "text": text}]}]


def _png(image: Tensor) -> str:
    file = BytesIO()
    to_pil_image(image.cpu().clamp(0, 1)).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
