"""What it is worth to try an arm, when later questions profit from what it teaches."""

from __future__ import annotations

import numpy as np

from metascale.stats.normal import expected_excess
from metascale.stats.shrinkage import Joint, Numbers


def knowledge_gradient(known: Joint, noise: float, horizon: float) -> Numbers:
    """What one more reward of each arm would add to the rewards of later choices, shape (arms,).

    The gain of the next choice is the knowledge gradient of correlated beliefs (Frazier, Powell and Dayanik 2009), with
    each arm compared with the best other arm only. It is multiplied by the number of choices that profit, and is at
    most what the best arm lacks to a reward of 1.

    Args:
        known: the arms' mean rewards in [0, 1].
        noise: variance of one reward around its arm's mean, above 0.
        horizon: later choices that profit, at least 0.
    """
    count = len(known.means)
    if count < 2:
        return np.zeros(count)
    best, second = np.argsort(-known.means, kind="stable")[:2]
    rival = np.full(count, best)
    rival[best] = second
    own = np.arange(count)
    variances = known.covariance[own, own]
    learned = np.abs(variances - known.covariance[own, rival]) / np.sqrt(variances + noise)
    gaps = np.abs(known.means - known.means[rival])
    gains = np.array([expected_excess(gap, sd) for gap, sd in zip(gaps.tolist(), learned.tolist(), strict=True)])
    return np.asarray(horizon * np.minimum(gains, max(0.0, 1 - float(known.means[best]))))


def price_of_money(values: Numbers, costs: Numbers, allowed: float) -> float:
    """The lowest price of money at which choices cost no more than is allowed on average.

    Each choice maximises the expected reward minus the price of money times the expected cost, the Lagrangian of a
    bandit with a budget (bandits with knapsacks; Badanidiyuru, Kleinberg and Slivkins 2013).

    Args:
        values: the arms' expected rewards in each choice, with what trying them is worth, shape (choices, arms); -inf
            where unavailable.
        costs: their expected costs, at least 0 each, the same shape.
        allowed: for each choice, in the currency of the costs, at least 0.

    Returns:
        In units of reward per unit of the currency; 0 where all choices can be paid for.
    """
    rows = np.arange(len(values))

    def spent(price: float) -> float:
        return float(costs[rows, np.argmax(values - price * costs, axis=1)].mean())

    if spent(0.0) <= allowed:
        return 0.0
    low, high = 0.0, 1 / max(float(costs.max()), 1e-300)
    while spent(high) > allowed and high < 1e300:
        low, high = high, high * 4
        if spent(high) <= float(costs.min(axis=1).mean()) * (1 + 1e-9):
            break
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if spent(middle) > allowed else (low, middle)
    return high


class Pace:
    """Holds the cost of many choices to a limit: the price of money rises while more is spent than is left for each.

    The price is the one at which recent choices would have cost what is left for each of the choices to come; see
    `price_of_money`.
    """

    RECENT = 1_000
    """Choices that set the price. Not tuned."""
    EVERY = 10
    """Choices between two settings of the price."""

    def __init__(self, limit: float, choices: int) -> None:
        """Start.

        Args:
            limit: of all choices together, above 0, in any currency.
            choices: their number, at least 1.
        """
        self.left, self.ahead = limit, choices
        self.price = 0.0
        self.seen: list[tuple[Numbers, Numbers]] = []

    def choose(self, values: Numbers, costs: Numbers) -> int:
        """The arm of the next choice.

        Args:
            values: the arms' expected rewards, with what trying them is worth, shape (arms,); -inf where unavailable.
            costs: the arms' expected costs, at least 0 each, shape (arms,).
        """
        self.seen.append((values, costs))
        del self.seen[: -self.RECENT]
        if self.ahead % self.EVERY == 0 or len(self.seen) < self.EVERY:
            recent, paid = (np.array(column) for column in zip(*self.seen, strict=True))
            self.price = price_of_money(recent, paid, max(0.0, self.left) / max(1, self.ahead))
        return int(np.argmax(values - self.price * costs))

    def spend(self, cost: float) -> None:
        """Say what the choice cost."""
        self.left -= cost
        self.ahead -= 1
