"""TreeQuest's multi-model AB-MCTS-A on recorded answers, at a given number of calls for each question.

`python -m benchmarks.ab_mcts FILE --samples 4 --judge-accuracy 0.85` reads the record of `metascale bench memory`, with
the models as actions. It needs the extra `bench`. An action draws a recorded sample of its model: a refinement of an
earlier answer is not recorded, so it counts as a new one. The judge is SIMULATED, and nothing is remembered.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
import treequest

from metascale.evals.policies.replay import judged, read_matrix


def answered(marks: list[list[float]], rewards: list[list[float]], samples: int) -> float:
    """The mark of the answer with the highest reward, ties to the first.

    Args:
        marks: of each model's recorded samples.
        rewards: of the same samples, in [0, 1].
        samples: to draw. The actions of AB-MCTS are fixed, so recorded samples come again where they are used up.
    """
    algorithm = treequest.ABMCTSA()
    state = algorithm.init_tree()
    drawn = list[tuple[float, float]]()
    pulls = [0] * len(marks)

    def act(model: int) -> tuple[int, float]:
        sample = pulls[model] % len(marks[model])
        pulls[model] += 1
        drawn.append((rewards[model][sample], marks[model][sample]))
        return model, rewards[model][sample]

    actions = {f"model{model}": lambda _parent, model=model: act(model) for model, own in enumerate(marks) if own}
    for _ in range(samples):
        state = algorithm.step(state, actions)
    return max(drawn, key=lambda one: one[0])[1]


def main() -> None:
    """Print the mean score of all questions, and its standard error over questions."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--judge-accuracy", type=float, default=1.0)
    parser.add_argument("--questions", type=int, default=0, help="Random questions (default: all).")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    matrix = read_matrix(given.file, graded=True)
    rng = np.random.default_rng(given.seed)
    chosen = rng.permutation(len(matrix.tasks))[: given.questions or None]
    best = list(matrix.strategies).index(matrix.best_single()[0])
    found, alone = [], []
    for question in chosen.tolist():
        marks = [rng.permutation(own[~np.isnan(own)]) for own in matrix.correct[question]]
        rewards = [judged(own, rng.standard_normal(len(own)), given.judge_accuracy).tolist() for own in marks]
        found.append(answered([own.tolist() for own in marks], rewards, given.samples))
        taken = rewards[best][: given.samples]
        alone.append(float(marks[best][int(np.argmax(taken))]))
    error = float(np.std(found, ddof=1)) / math.sqrt(len(found))
    print(f"{len(found):,} questions, {given.samples} calls each; SIMULATED judge, right on {given.judge_accuracy:.0%}")
    print(f"AB-MCTS-A over all models {100 * np.mean(found):.1f} ({100 * error:.1f})")
    print(f"best of {given.samples} of {matrix.strategies[best]} {100 * np.mean(alone):.1f}")


if __name__ == "__main__":
    main()
