"""The parts of the coordinator: batches of runs, losses and retries, messages about runs."""
