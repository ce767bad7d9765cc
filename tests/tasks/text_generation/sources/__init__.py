"""Tests of rows that come from no table."""
