"""Caches: on disk, in shared memory, and in a process."""
