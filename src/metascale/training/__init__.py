"""Training data: runs as rows for TRL's trainers, and MASA's meta-rewards as TRL reward functions.

Nothing here trains a model or imports torch or TRL.
"""

from metascale.training.reward_functions import difficulty_reward, length_reward, meta_reward, notion_reward

__all__ = ["difficulty_reward", "length_reward", "meta_reward", "notion_reward"]
