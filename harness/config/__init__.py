"""The schema of a configuration and its checks. Imports no torch."""
