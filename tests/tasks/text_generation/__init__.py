"""Tests of the family `text_generation`."""
