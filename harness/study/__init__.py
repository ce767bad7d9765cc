"""Running a study: cells, tuning, confirmation. The entry point is `study.run_study`."""
