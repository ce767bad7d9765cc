"""The call that a study prints as an example has rows of its family's kind."""

from __future__ import annotations

import ast

from harness.api.family import families


def test_each_family_says_what_its_models_are_called_with() -> None:
    """A path for images, a history of known items for recommendation, texts else; two of them for pairs."""
    facts = {"items": ["it's", "b"], "pairs": False}
    calls = {name: family.example_call(facts) for name, family in families().items()}
    rows = {name: ast.literal_eval(call.removeprefix("predict")) for name, call in calls.items()}
    assert rows["image_classification"] == ["photo.jpg"]
    assert rows["audio_classification"] == ["speech.wav"]
    assert rows["recommendation"] == [["it's"]]
    assert rows["text_classification"] == rows["text_generation"] == ["..."]
    assert families()["text_regression"].example_call({"pairs": True}) == "predict(['...'], ['...'])"
