"""Continual reinforcement learning on Stable-Baselines3: environments, the policy, PPO under a guard, evaluation."""
