"""Networks of speech recognition, and how they write."""
