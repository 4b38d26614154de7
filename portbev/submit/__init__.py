"""Submitting a training to a queue, by submitit (extra ``submit``): SLURM, or processes on this machine."""
