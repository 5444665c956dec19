"""Reward models behind HTTP: vLLM's /classify and /pooling, and /predict of Text Embeddings Inference."""

from __future__ import annotations

import os
import reprlib
from collections.abc import Sequence
from typing import Any, Final

import httpx

from metascale.errors import ModelCallError, ModelSetupError, OutOfTimeError, describe
from metascale.models.hedging import within
from metascale.models.retries import attempts
from metascale.redaction import redacted
from metascale.rewards.chat_template import ChatTemplate, Conversation, conversation
from metascale.rewards.judge import together
from metascale.runtime.deadline import seconds_left
from metascale.settings import MetaScaleSettings, RewardModelSettings, price_of
from metascale.usage import Usage, is_believable, no_usage

PATHS: Final = {"vllm_classify": "/classify", "vllm_pooling": "/pooling", "tei": "/predict"}
AT_ONCE = 32
"""Texts in one request: the default limit of Text Embeddings Inference (`--max-client-batch-size` in its
documentation of command-line arguments). vLLM documents no limit and gets the same number."""
TIMEOUT = 300.0
"""Seconds that one attempt may take: enough for a batch of long answers on one accelerator."""
_TEXT_REFUSED = frozenset({400, 413, 422})
"""Statuses by which a server refuses a text: 400 of vLLM, 413 or 422 of Text Embeddings Inference."""


class ClassifierServer:
    """Asks a server for the logits of answers.

    Requests and replies have the form of vLLM's Classification API and Pooling API (docs.vllm.ai, "Pooling Models") and
    of `POST /predict` in the OpenAPI description of Text Embeddings Inference. `use_activation: false` and `raw_scores:
    true` ask for raw logits. A vLLM too old for that flag replies with probabilities, which give the same order until
    they round to 1. Texts are never truncated.
    """

    def __init__(
        self, options: RewardModelSettings, template: ChatTemplate | None = None, *, timeout: float = TIMEOUT
    ) -> None:
        """Ask the server of `options`.

        Args:
            options: the server and its interface.
            template: renders question and answer as text. Without it the server gets chat messages and renders them;
                vLLM takes one conversation in a request.
            timeout: seconds that one attempt may take.

        Raises:
            ModelSetupError: the URL, the key or the template that the interface needs is missing.
        """
        self.options = options
        self.template = template
        self.timeout = timeout
        self._url = _server_url(options)
        self._key = _key(options.api_key_variable)
        if options.api == "tei" and template is None:
            raise ModelSetupError("the reward model's api 'tei' takes only text; name a chat_template file")
        self._at_once = AT_ONCE if template else 1

    def requests(self, new: int) -> int:
        """Requests that `new` answers take if none fails."""
        return -(-new // self._at_once)

    async def logits(
        self, question: str, answers: Sequence[str], settings: MetaScaleSettings
    ) -> tuple[list[float | str], Usage]:
        """The logits of answers.

        If the server refuses a batch, each of its answers is sent once more alone, so that one answer that is too long
        does not affect the others.

        Args:
            question: the task. Untrusted.
            answers: at least one. Untrusted.
            settings: retries and prices.

        Returns:
            For each answer its logit, which may be any number, or an error in words; and the bill of all requests,
            failed attempts included.

        Raises:
            ModelCallError: the chat template fails on an answer.
        """
        bill = no_usage()
        shown = [self._shown(question, answer) for answer in answers]
        groups = [shown[start : start + self._at_once] for start in range(0, len(shown), self._at_once)]
        # A client belongs to one event loop, and each synchronous run has a loop of its own.
        async with httpx.AsyncClient(
            base_url=self._url,
            headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
            timeout=self.timeout,
            limits=httpx.Limits(max_connections=None),
        ) as client:
            parts = await together(self._measure(client, group, settings, bill) for group in groups)
        return [logit for part in parts for logit in part], bill

    def _shown(self, question: str, answer: str) -> str | Conversation:
        if self.template is None:
            return conversation(question, answer)
        text = self.template.render(question, answer)
        # The tokenizer of Text Embeddings Inference always adds the first token itself.
        return self.template.without_bos(text) if self.options.api == "tei" else text

    async def _measure(
        self, client: httpx.AsyncClient, group: Sequence[str | Conversation], settings: MetaScaleSettings, bill: Usage
    ) -> list[float | str]:
        try:
            reply = await self._post(client, self._body(group), settings, bill)
            return [self._logit(result) for result in self._results(reply, len(group))]
        except ModelCallError as error:
            if not error.rejected or len(group) == 1:
                return [str(error)] * len(group)
        alone = await together(self._measure(client, [one], settings, bill) for one in group)
        return [logit for part in alone for logit in part]

    def _body(self, group: Sequence[str | Conversation]) -> dict[str, Any]:
        if self.options.api == "tei":
            return {"inputs": [[text] for text in group], "raw_scores": True, "truncate": False}
        asked: dict[str, Any] = {"model": self.options.model, "use_activation": False}
        if self.template:
            return asked | {"input": list(group), "add_special_tokens": False}
        return asked | {"messages": group[0]}

    async def _post(
        self, client: httpx.AsyncClient, body: dict[str, Any], settings: MetaScaleSettings, bill: Usage
    ) -> Any:
        """The reply's JSON; the cost of all attempts is added to the bill."""
        try:
            async for attempt in attempts(1 + settings.max_retries):
                with attempt:
                    if seconds_left() <= 0:
                        raise OutOfTimeError
                    bill["calls"] += 1
                    sending = client.post(PATHS[self.options.api], json=body)
                    # httpx has timeouts for each read and write, none for the whole request
                    response = await within(min(self.timeout, seconds_left()), sending)
                    response.raise_for_status()
            reply = response.json()
        except Exception as error:
            bill["cost_usd"] = None
            raise _call_error(error, self._key) from error
        self._charge(reply, settings, bill)
        return reply

    def _charge(self, reply: Any, settings: MetaScaleSettings, bill: Usage) -> None:
        usage = reply.get("usage") if isinstance(reply, dict) else None
        tokens = usage.get("prompt_tokens") if isinstance(usage, dict) else None
        price = price_of(settings.prices, self.options.model, address=str(self._url))
        if not is_believable(tokens):
            bill["cost_usd"] = None
            return
        bill["input_tokens"] += tokens
        spent = bill["cost_usd"]
        bill["cost_usd"] = spent + price.of(tokens, 0) if price and spent is not None else None

    def _results(self, reply: Any, count: int) -> list[Any]:
        """The results of a reply: one for each text, in their order."""
        results = reply if self.options.api == "tei" else reply.get("data") if isinstance(reply, dict) else None
        if not isinstance(results, list):
            raise ModelCallError("the reward model's reply is malformed: it holds no list of results")
        if len(results) != count:
            raise ModelCallError(f"the reward model gave {len(results)} results for {count} answers")
        moved = (isinstance(found, dict) and found.get("index", place) != place for place, found in enumerate(results))
        if any(moved):
            raise ModelCallError("the reward model's results are out of order")
        return results

    def _logit(self, result: Any) -> float | str:
        """The one number of a result, or an error in words."""
        numbers = self._numbers(result)
        if not isinstance(numbers, list) or not numbers:
            return f"the reward model's result is malformed: {reprlib.repr(result)}"
        classes = result.get("num_classes", 1) if isinstance(result, dict) else 1
        if len(numbers) != 1 or classes != 1:
            return "the model gives an answer several classes instead of one logit: it is no reward model"
        logit = numbers[0]
        if isinstance(logit, bool) or not isinstance(logit, int | float):
            return f"the reward model's logit is no number: {reprlib.repr(logit)}"
        return logit

    def _numbers(self, result: Any) -> Any:
        if self.options.api == "tei":
            held = isinstance(result, list) and _all_are(dict, result)
            return [entry.get("score") for entry in result] if held else None
        if not isinstance(result, dict):
            return None
        if self.options.api == "vllm_classify":
            return result.get("probs")
        data = result.get("data")
        # Models that score every token give a list for each token; the reward is that of the last.
        return data[-1] if isinstance(data, list) and _all_are(list, data) else data


def _all_are(kind: type, values: list[Any]) -> bool:
    return bool(values) and all(isinstance(value, kind) for value in values)


def _server_url(options: RewardModelSettings) -> httpx.URL:
    try:
        url = httpx.URL(options.url or "")
    except httpx.InvalidURL as error:
        raise ModelSetupError(f"the reward model's url is not valid: {describe(error)}") from error
    if url.scheme not in {"http", "https"} or not url.host:
        raise ModelSetupError(f"the reward model's api {options.api!r} needs a url such as http://localhost:8000")
    return url


def _key(variable: str | None) -> str | None:
    if variable is None:
        return None
    key = os.environ.get(variable, "").strip()
    if not key:
        raise ModelSetupError(f"the reward model's key is missing: the environment variable {variable} is not set")
    return key


def _call_error(error: Exception, key: str | None) -> ModelCallError:
    secrets = [key] if key else []
    if isinstance(error, httpx.HTTPStatusError):
        status, said = error.response.status_code, " ".join(redacted(error.response.text, secrets).split())[:300]
        return ModelCallError(
            f"the reward model's server replied with status {status}: {said}", rejected=status in _TEXT_REFUSED
        )
    if isinstance(error, ValueError | RecursionError):
        return ModelCallError("the reward model's reply is not JSON")
    return ModelCallError(f"the reward model's server did not reply: {describe(error, secrets)}")
