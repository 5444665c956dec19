"""A chat model in a file of one's own, behind the llama.cpp server that runs it."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, ClassVar

import httpx
from langchain_core.language_models.base import LangSmithParams
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_openai import ChatOpenAI
from pydantic import PrivateAttr, SecretStr

from metascale.errors import ModelCallError, ModelSetupError, describe
from metascale.models.failures import is_outage, status_of
from metascale.models.local.gguf_file import part_names
from metascale.models.local.names import LocalName
from metascale.models.local.server import LocalServer, check_packages, restarted, running, server_of


class LocalChatModel(ChatOpenAI):
    """A chat model on this process's own llama.cpp server.

    A request during which llama.cpp ends fails for good. The next one starts llama.cpp again.

    Attributes:
        one_by_one: it gives one reply to a request, because llama.cpp counts the tokens of only one of several.
        is_local: it runs on this machine, so it is likely a small one.
    """

    one_by_one: ClassVar[bool] = True
    is_local: ClassVar[bool] = True
    _server: LocalServer = PrivateAttr()

    @classmethod
    def on(cls, server: LocalServer) -> LocalChatModel:
        """The chat model of a server. No proxy is asked, and no connection kept for another event loop."""
        model = cls(
            model=server.name,
            base_url=server.url,
            api_key=SecretStr(server.key),
            max_retries=0,
            stream_usage=True,
            use_responses_api=False,
            openai_proxy=None,
            http_client=httpx.Client(trust_env=False),
            http_async_client=httpx.AsyncClient(trust_env=False, limits=httpx.Limits(max_keepalive_connections=0)),
        )
        model._server = server
        return model

    @property
    def slots(self) -> int:
        """Requests that the server answers at once; others should wait here, where no timeout runs."""
        return self._server.layout.slots

    @property
    def _llm_type(self) -> str:
        return "gguf"

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        return {**super()._get_ls_params(stop=stop, **kwargs), "ls_provider": "gguf"}

    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        with self._asking():
            return super()._generate(*args, **kwargs)

    async def _agenerate(self, *args: Any, **kwargs: Any) -> ChatResult:
        async with self._aasking():
            return await super()._agenerate(*args, **kwargs)

    def _stream(self, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        with self._asking():
            yield from super()._stream(*args, **kwargs)

    async def _astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[ChatGenerationChunk]:
        async with self._aasking():
            async for chunk in super()._astream(*args, **kwargs):
                yield chunk

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        """Send a request to the running server, and say so where it fails because that has ended."""
        server = running(self._server) or _started_again(self._server)
        self._turn_to(server)
        try:
            yield
        except Exception as error:
            _tell(server.last_trouble() if _is_lost_connection(error) else server.trouble)
            raise

    @contextlib.asynccontextmanager
    async def _aasking(self) -> AsyncIterator[None]:
        """As `_asking`; whatever waits for a process does so in a thread."""
        server = running(self._server)
        if server is None:
            server = await asyncio.to_thread(_started_again, self._server)
        self._turn_to(server)
        try:
            yield
        except Exception as error:
            _tell(await asyncio.to_thread(server.last_trouble) if _is_lost_connection(error) else server.trouble)
            raise

    def _turn_to(self, server: LocalServer) -> None:
        """Let the clients, which copies of this model share, send to a server."""
        for client in (self.root_client, self.root_async_client):
            client.base_url, client.api_key = server.url, server.key


def local_model(name: str, *, at_once: int | None = None, files: int = 1) -> LocalChatModel:
    """The chat model of a file: `gguf:FILE`, or `hf:OWNER/REPO/FILE` by way of huggingface-hub's cache.

    Args:
        name: with options, as in `gguf:FILE?context=8192&slots=2&threads=4`.
        at_once: requests that will come at once, where the name has no `slots`.
        files: model files that share the processors, where the name has no `threads`.

    Raises:
        ModelSetupError: the file, the machine or the installed packages do not allow it.
        UnknownNameError: there is no such option.
    """
    parsed = LocalName.parse(name)
    check_packages()
    path = Path(parsed.file) if parsed.provider == "gguf" else _fetched(parsed.file)
    return LocalChatModel.on(server_of(path, parsed.options, at_once=at_once, files=files))


def _started_again(server: LocalServer) -> LocalServer:
    try:
        return restarted(server)
    except ModelSetupError as error:
        raise ModelCallError(str(error), fatal=True) from error


def _is_lost_connection(error: Exception) -> bool:
    return status_of(error) is None and is_outage(error)


def _tell(trouble: str | None) -> None:
    if trouble is not None:
        raise ModelCallError(trouble, fatal=True) from None


def _fetched(place: str) -> Path:
    """The local copy of `OWNER/REPO/FILE` on Hugging Face's hub, with its other parts."""
    owner, _, rest = place.partition("/")
    repository, _, file = rest.partition("/")
    if not file.lower().endswith(".gguf"):
        raise ModelSetupError(f"a file on Hugging Face is hf:OWNER/REPO/FILE.gguf, not 'hf:{place}'")
    try:
        hub: Any = importlib.import_module("huggingface_hub")
    except ImportError as error:
        raise ModelSetupError("hf: models need one more package: pip install huggingface-hub") from error
    try:
        paths = [hub.hf_hub_download(repo_id=f"{owner}/{repository}", filename=name) for name in part_names(file)]
    except Exception as error:
        raise ModelSetupError(f"'hf:{place}' cannot be fetched: {describe(error)}") from error
    return Path(paths[0])
