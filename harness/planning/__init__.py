"""Estimates of what a study takes: runs, hours, memory, disk, dollars."""
