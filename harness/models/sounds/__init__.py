"""The network of task families that classify sounds."""
