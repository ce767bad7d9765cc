"""What is computed once and kept: on disk, in shared memory, in the process."""
