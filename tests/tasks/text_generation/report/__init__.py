"""Tests of what only reports of text generation have."""
