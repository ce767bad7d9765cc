"""Tasks whose rows come from no table: a generator, and files of dialogues."""
