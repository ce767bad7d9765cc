"""The sweep: cells, tuning, confirmation. `study.run_study` is the way in."""
