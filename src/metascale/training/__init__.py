"""For those who train: runs as rows for TRL's trainers, and the meta-rewards of MASA as its reward functions.

No training happens here, and nothing here imports torch or TRL.
"""

from metascale.training.reward_functions import difficulty_reward, length_reward, meta_reward, notion_reward

__all__ = ["difficulty_reward", "length_reward", "meta_reward", "notion_reward"]
