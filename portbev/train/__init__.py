"""Training: the loop, one optimizer step, schedules, averages, resuming."""

from portbev.train.loop import train

__all__ = ["train"]
