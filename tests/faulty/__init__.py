"""Methods that go wrong, each in its own way; a user's own package and directory of YAMLs, too (`packages=[tests]`)."""
