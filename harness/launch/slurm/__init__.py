"""Slurm launcher: submission, job states, and the worker inside a job."""
