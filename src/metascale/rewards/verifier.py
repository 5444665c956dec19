"""A user's function as the reward: unit tests, a proof checker, an answer key."""

from __future__ import annotations

import asyncio
import importlib
import inspect
from collections.abc import Awaitable, Callable, Sequence
from numbers import Real
from operator import attrgetter
from typing import Any, Self

import numpy as np

from metascale.errors import ModelSetupError, UnknownNameError, describe
from metascale.rewards.base import Score
from metascale.rewards.judge import together
from metascale.settings import MetaScaleSettings

Outcome = bool | float | Score | None
"""What a verifier may return: right or wrong, a value in [0, 1], a `Score` with a critique, or None for no verdict."""
Verifier = Callable[[str, str], Outcome | Awaitable[Outcome]]
"""Takes the question and an answer; a plain function, a coroutine function or any other callable."""


class VerifierReward:
    """Calls a function on each answer.

    The function is called in threads, on several answers at once, so it must be thread-safe. An awaitable that it
    returns is awaited in the run's event loop. An answer stays unscored if the function raises an error or returns
    anything but an `Outcome`.

    The reward is exact (see `rewards.scorer.exact_settings`). Set `exact = False` on one whose function is noisy.
    """

    exact: bool = True

    def __init__(self, function: Verifier) -> None:
        """Verify with `function`."""
        self.function = function

    @classmethod
    def named(cls, name: str) -> Self:
        """The reward of the function at `package.module:function`.

        Raises:
            UnknownNameError: the module has no such function.
            ModelSetupError: the name is malformed, the module cannot be imported, or the object is not callable.
        """
        module_name, colon, path = name.partition(":")
        if not (module_name and colon and path):
            raise ModelSetupError(f"a verifier is named as 'package.module:function', not {name!r}")
        try:
            module = importlib.import_module(module_name)
        except Exception as error:
            raise ModelSetupError(
                f"cannot import the verifier {name!r}: {describe(error)}; modules are found in this folder and on "
                "PYTHONPATH"
            ) from error
        try:
            function = attrgetter(path)(module)
        except AttributeError as error:
            known = [f"{module_name}:{key}" for key, value in vars(module).items() if inspect.isfunction(value)]
            raise UnknownNameError("verifier", name, known) from error
        if not callable(function):
            raise ModelSetupError(f"the verifier {name!r} is a {type(function).__name__}, not a function")
        return cls(function)

    def calls(self, new: int, earlier: int = 0) -> int:  # noqa: ARG002
        """No model is asked."""
        return 0

    async def score(
        self,
        question: str,
        answers: Sequence[str],
        settings: MetaScaleSettings,  # noqa: ARG002
        *,
        place: Sequence[int | str],  # noqa: ARG002
    ) -> list[Score]:
        """Verify the answers; see `Reward.score`."""
        return await together(self._verify(question, answer) for answer in answers)

    async def _verify(self, question: str, answer: str) -> Score:
        try:
            outcome = await asyncio.to_thread(self._call, question, answer)
            return _read(await outcome if inspect.isawaitable(outcome) else outcome)
        except (Exception, SystemExit) as error:  # noqa: BLE001  the run survives any error of the user's code
            return Score(None, error=describe(error))

    def _call(self, question: str, answer: str) -> Any:
        try:
            return self.function(question, answer)
        except StopIteration as error:
            raise RuntimeError("the verifier raised StopIteration") from error


def _read(outcome: Any) -> Score:
    if isinstance(outcome, Score):
        return outcome
    if outcome is None:
        return Score(None, error="the verifier cannot tell")
    if not isinstance(outcome, Real | np.bool_):
        return Score(None, error=f"the verifier gave a {type(outcome).__name__}, not a number in [0, 1]")
    value = float(outcome)
    if not 0 <= value <= 1:
        return Score(None, error=f"the verifier gave {value}, which is not in [0, 1]")
    return Score(value)
