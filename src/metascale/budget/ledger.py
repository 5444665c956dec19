"""The hard budget (paper, section 3): what a run may still spend, and when it ends.

The ledger is pure. It is made of the settings, the price of a judgement and the run so far. It answers how many samples
and second looks are left, why the search stops, and whether an evolution or a synthesis is due.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from metascale.budget.allowance import allowance
from metascale.budget.limits import (
    affordable,
    calls_paid_for,
    draws_from_several,
    evolution_due,
    reached,
    stop_reason,
    tokens_of,
)
from metascale.choice.ranking import field_of
from metascale.choice.second_look import next_looks, reserve
from metascale.pool.admission import arm_statistics
from metascale.pool.arms import SYNTHESIS
from metascale.records import Candidate, Foresight, MetaThought, StopReason
from metascale.settings import MetaScaleSettings
from metascale.usage import Usage, charged

TARGET_LOOKS = 2
"""Second looks that confirm a reached target. Not tuned."""
MIN_SYNTHESISED = 2
"""Scored answers that a synthesis needs."""
STEPS_TO_CONCLUDE = 3
"""Supersteps that must remain for a second look or a synthesis: its own, one for `finalize`, and a spare."""
UNCOUNTED_STEPS = 10_000
"""Remaining supersteps outside a run, where LangGraph does not count them; too many to end a search."""


@dataclass(frozen=True)
class Costs:
    """What judging costs, in model requests without retries.

    Attributes:
        scoring: `scoring(new, earlier)` is the number of requests that score `new` answers after `earlier` ones.
        look: requests for one second look; None if the reward cannot judge an answer again.
    """

    scoring: Callable[[int, int], int]
    look: int | None = None


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """A run's settings, what it has spent, and what follows for the rest of it.

    Attributes:
        settings: the settings of this run.
        costs: what its reward costs.
        usage: the bill so far.
        pool: the meta-thoughts, retired ones included.
        candidates: the samples so far, in order.
        foresight: what the model predicted of its answers; None if it was not asked.
        rounds: rounds planned so far.
        evolved_at: the round after which the pool last evolved; 0 before the first evolution.
        granted: samples granted on top of the budget.
        granted_usd: US dollars granted on top of `max_cost_usd`.
        reopened_at: samples that existed when a finished run was last continued; 0 if it never was.
        refusal: why no further request can succeed; empty while requests can.
        left_out: the models that are no longer asked.
        remaining_steps: supersteps that LangGraph's recursion limit leaves.
        is_exact: whether the rewards are free of noise, so that no synthesis can beat a reward of 1.
    """

    settings: MetaScaleSettings
    costs: Costs
    usage: Usage
    pool: Sequence[MetaThought] = ()
    candidates: Sequence[Candidate] = ()
    foresight: Foresight | None = None
    rounds: int = 0
    evolved_at: int = 0
    granted: int = 0
    granted_usd: float = 0.0
    reopened_at: int = 0
    refusal: str = ""
    left_out: Collection[str] = ()
    remaining_steps: int = UNCOUNTED_STEPS
    is_exact: bool = False

    @cached_property
    def limits(self) -> MetaScaleSettings:
        """The settings with the current budget and the requests that it and the money allow.

        Who grants samples or dollars wants them spent, so the search does not stop on agreement then. Without grants,
        foresight may lower the budget (see `allowance`). Money limits requests as `max_calls` does, by
        what they cost on average.
        """
        budget, is_granted = self.settings.budget + self.granted, self.granted > 0 or self.granted_usd > 0
        if not is_granted:
            budget = allowance(
                self.foresight,
                self._searched,
                budget=budget,
                samples=self.usage["samples"],
                several_arms=draws_from_several(self.settings, self.pool),
            )
        calls = self._calls_paid_for if self._is_short_of_money else self.settings.max_calls
        changes: dict[str, object] = {"budget": budget, "max_calls": calls}
        if is_granted:
            changes["stop_on_agreement"] = None
        return self.settings.model_copy(update=changes)

    def samples_left(self, *, beside: int = 0) -> int:
        """Samples that the limits still pay for, each with its judgement; at least 0, and 0 where none can succeed.

        Args:
            beside: further model requests that must be paid for as well.
        """
        if self.refusal:
            return 0
        return affordable(
            self.limits,
            self.usage,
            lambda new: self.costs.scoring(new, self._scored),
            reserve=beside + self._reserve,
            kept=self._kept_for_synthesis,
        )

    @cached_property
    def stop_reason(self) -> StopReason | None:
        """Why no further round may start; None if one may.

        A synthesis takes the last place in the budget, so it ends the search. It is no evidence for other stop reasons.
        """
        reason = stop_reason(
            self.limits,
            self.usage,
            [thought for thought in self.pool if thought["id"] != SYNTHESIS],
            self._searched,
            samples_left=self.samples_left(),
            kept=self._kept_for_synthesis,
            target_looks=min(TARGET_LOOKS, self._looks_allowed),
            remaining_steps=self.remaining_steps,
            is_refused=bool(self.refusal),
        )
        reason = reason or ("budget" if self._is_synthesised else None)
        if reason == "max_calls" and self._is_short_of_money:
            return "max_cost_usd"
        if reason == "budget" and self.foresight is not None and self.limits.budget < self.settings.budget:
            return "foreseen" if self.foresight["outlook"] == "easy" else "hopeless"
        return reason

    @property
    def grant_wanted(self) -> Literal["budget", "max_cost_usd"] | None:
        """The limit that alone ends the search, so that a grant of samples or dollars would let it continue."""
        if self.stop_reason == "budget" and replace(self, granted=self.granted + 1).stop_reason is None:
            return "budget"
        more = self.granted_usd + (self.settings.max_cost_usd or 0.0) + charged(self.usage)
        if self.stop_reason == "max_cost_usd" and replace(self, granted_usd=more).stop_reason is None:
            return "max_cost_usd"
        return None

    @property
    def may_improve_the_choice(self) -> bool:
        """Whether a second look or a synthesis is possible: an answer has a score, and enough supersteps remain."""
        return self._scored > 0 and self.remaining_steps > STEPS_TO_CONCLUDE

    @cached_property
    def looks_left(self) -> int:
        """Second looks that the settings and limits still allow; 0 if the reward cannot judge an answer again."""
        if self.costs.look is None or self._gave_up_looking or self._is_exhausted:
            return 0
        left = self._looks_allowed - len(looks_made(self.candidates))
        if self.limits.max_calls is not None:
            left = min(left, (self.limits.max_calls - self.usage["calls"]) // max(1, self.costs.look))
        return max(0, left)

    @cached_property
    def finalists_to_judge(self) -> list[Candidate]:
        """The answers that the next round of second looks judges; empty if the choice is clear or no look is left.

        Of the samples with the same final answer, one with the fewest verdicts is judged: another sample tells more
        than another verdict on the same one (see `rewards.sharing`).
        """
        rule = self.settings.final_choice
        field = field_of(self.candidates, rule, weighted=self.settings.weigh_votes)
        chosen = next_looks(field.contenders, self.looks_left, rule)
        return [min(field.groups[index], key=_verdicts_on) for index in chosen]

    @property
    def synthesis_due(self) -> bool:
        """Whether the best answers are to be synthesised into one more answer now."""
        is_verified = self.is_exact and any(candidate["reward"] == 1 for candidate in self.candidates)
        may_help = self._scored >= MIN_SYNTHESISED and not is_verified
        return self._kept_for_synthesis > 0 and may_help and not self._is_exhausted

    @property
    def evolution_due(self) -> bool:
        """Whether the pool evolves before the next round; never if that round could not be paid for."""
        return evolution_due(
            self.limits,
            arm_statistics(self.pool, self.candidates),
            rounds=self.rounds,
            evolved_at=self.evolved_at,
            samples_left=self.samples_left(beside=1),
        )

    @property
    def _searched(self) -> list[Candidate]:
        """The samples of the search: all but the synthesis, and but the failures of models that were left out."""
        return [
            candidate
            for candidate in self.candidates
            if candidate["meta_thought"] != SYNTHESIS
            and not (candidate["status"] == "failed" and candidate.get("model") in self.left_out)
        ]

    @property
    def _scored(self) -> int:
        return sum(candidate["reward"] is not None for candidate in self.candidates)

    @property
    def _looks_allowed(self) -> int:
        if self.costs.look is None:
            return 0
        return self.limits.confirm if self.limits.confirm is not None else self.limits.budget // 2

    @property
    def _gave_up_looking(self) -> bool:
        """Whether too many second looks failed: at least `max_failures`, and at least half of all."""
        looks = looks_made(self.candidates)
        return looks.count(None) >= max(self.limits.max_failures, len(looks) / 2)

    @property
    def _is_exhausted(self) -> bool:
        """Whether no request may be sent: tokens, time or money ran out, or the server refuses all requests."""
        return (
            bool(self.refusal)
            or reached(self.limits.max_tokens_total, tokens_of(self.usage))
            or reached(self.limits.max_seconds, self.usage["seconds"])
            or reached(self.max_usd, charged(self.usage))
        )

    @property
    def max_usd(self) -> float | None:
        """US dollars that the run may cost, with those that were granted; None without a limit."""
        return None if self.settings.max_cost_usd is None else self.settings.max_cost_usd + self.granted_usd

    @cached_property
    def _calls_paid_for(self) -> int | None:
        return calls_paid_for(self.max_usd, self.usage)

    @property
    def _is_short_of_money(self) -> bool:
        """Whether money allows fewer requests than `max_calls`."""
        paid, most = self._calls_paid_for, self.settings.max_calls
        return paid is not None and (most is None or paid < most)

    @cached_property
    def _reserve(self) -> int:
        """Requests reserved for second looks and the synthesis."""
        if self.limits.max_calls is None:
            return 0
        synthesis = self._synthesis_calls if self._kept_for_synthesis else 0
        if self.costs.look is None or self._gave_up_looking:
            return synthesis
        looks = reserve(
            field_of(self.candidates, self.limits.final_choice, weighted=self.limits.weigh_votes).contenders,
            self.limits.final_choice,
            calls=self._looks_allowed,
            spent=len(looks_made(self.candidates)),
            max_calls=self.limits.max_calls // max(1, self.costs.look),
        )
        return synthesis + looks * self.costs.look

    @cached_property
    def _kept_for_synthesis(self) -> int:
        """Samples reserved for a synthesis: 1 while it is wanted, not yet written and affordable, else 0."""
        if not self.limits.synthesize or self.limits.budget <= MIN_SYNTHESISED or self._is_synthesised:
            return 0
        if self.limits.max_calls is None:
            return 1
        missing = max(0, MIN_SYNTHESISED - self.usage["samples"])
        calls = self._synthesis_calls + (missing + self.costs.scoring(missing, 0) if missing else 0)
        return int(self.limits.max_calls - self.usage["calls"] >= calls)

    @property
    def _synthesis_calls(self) -> int:
        return 1 + self.costs.scoring(1, len(self.candidates))

    @property
    def _is_synthesised(self) -> bool:
        return any(c["meta_thought"] == SYNTHESIS for c in self.candidates if c["id"] >= self.reopened_at)


def _verdicts_on(candidate: Candidate) -> int:
    return len(candidate["looks"]) + (not candidate.get("shared"))


def looks_made(candidates: Sequence[Candidate]) -> list[float | None]:
    """The values of all second looks so far; None for each that failed."""
    return [look["value"] for candidate in candidates for look in candidate["looks"]]
