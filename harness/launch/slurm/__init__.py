"""Slurm: submission, job states, the worker inside a job."""
