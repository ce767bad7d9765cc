"""The parts of a cell's scheduler: the queue of its runs, tuning, confirmation, failures."""
