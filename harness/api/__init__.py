"""Contracts that task families implement."""
