"""The one training loop and what drives it: strategies, schedules, the optimizer, checkpoints."""
