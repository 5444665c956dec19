"""A simulation: what it is worth among equal rewards to take the answer of the meta-thought with the better record.

On the landscapes of `benchmarks.policies`, `upper_tail` or uniform choice draws samples. Of those with the highest
reward the answer is either the first, or the first in the order of `choice.ranking`. No language model takes part.
Landscapes where rewards hardly ever tie show nothing; a judge with few marks, or whose marks end at 1 while many
answers are good, shows most.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence

import numpy as np

from benchmarks.policies.landscapes import LANDSCAPES, Numbers, Task, play
from metascale.bandits import UpperTail
from metascale.choice.ranking import ranking
from metascale.records import Candidate

BUDGETS = (16, 32, 64, 128)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=300, help="of each landscape (default 300)")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(
        f"SIMULATION, {arguments.tasks} tasks of each landscape: what the record adds to the true quality of the answer"
    )
    print(f"{'':48}" + "".join(f"N = {budget}".ljust(18) for budget in BUDGETS))
    gains = {
        chooser: [gain(chooser, number, arguments.tasks, arguments.seed) for number in range(len(LANDSCAPES))]
        for chooser in ("uniform choice", "upper_tail")
    }
    for chooser, found in gains.items():
        means = np.array([gained.mean(axis=1) for gained in found])
        errors = np.array([gained.std(axis=1, ddof=1) for gained in found]) / math.sqrt(arguments.tasks)
        for landscape, mean, error in zip(LANDSCAPES, means, errors, strict=True):
            print(f"{chooser:15} {landscape.name:32}" + line(mean, error))
        of_all = np.sqrt(np.square(errors).sum(axis=0)) / len(found)
        print(f"{chooser:15} {'all':32}" + line(means.mean(axis=0), of_all))


def gain(chooser: str, number: int, tasks: int, seed: int) -> Numbers:
    """By how much the record's choice is better than the first's, shape (budgets, tasks)."""
    found = np.zeros((len(BUDGETS), tasks))
    for index in range(tasks):
        task = Task.draw(LANDSCAPES[number], (seed, number, index), BUDGETS[-1])
        for at, budget in enumerate(BUDGETS):
            arms = task.uniform(budget) if chooser == "uniform choice" else play(UpperTail(), task, budget).arms
            found[at, index] = difference(task, arms)
    return found


def difference(task: Task, arms: Sequence[int]) -> float:
    """The true quality of the answer that the record chooses, minus that of the first among equals."""
    before = [0] * len(task.arms)
    candidates, qualities = list[Candidate](), list[float]()
    for number, arm in enumerate(arms):
        candidates.append(_candidate(number, arm, float(task.reward[arm, before[arm]])))
        qualities.append(float(task.quality[arm, before[arm]]))
        before[arm] += 1
    rewards = [candidate["reward"] for candidate in candidates]
    return qualities[ranking(candidates)[0]["id"]] - qualities[int(np.argmax(rewards))]


def _candidate(number: int, arm: int, reward: float) -> Candidate:
    return {
        "id": number,
        "round": number + 1,
        "meta_thought": f"m{arm}",
        "refines": None,
        "status": "ok",
        "text": f"answer {number}",
        "error": None,
        "reward": reward,
        "critique": None,
        "wording": "",
        "memo": None,
        "looks": [],
        "extracted": None,
        "input_tokens": 0,
        "output_tokens": 0,
    }


def line(means: Numbers, errors: Numbers) -> str:
    """One line's figures, with their standard errors."""
    return "".join(f"{mean:+.4f} ({error:.4f})".ljust(18) for mean, error in zip(means, errors, strict=True))


if __name__ == "__main__":
    main()
