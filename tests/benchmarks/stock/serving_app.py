"""The service that most teams write: FastAPI and a pipeline of transformers, as their documentations show it."""

from __future__ import annotations

import os
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from transformers import pipeline

app = FastAPI()
classify: Any = pipeline("text-classification", os.environ["STOCK_MODEL"], trust_remote_code=True, device="cpu")  # type: ignore[call-overload] # its overloads lack the option


class Body(BaseModel):
    """Texts to classify."""

    texts: list[str]


@app.post("/predict")
def predict(body: Body) -> list[dict[str, Any]]:
    """Label and score of each text."""
    found: list[dict[str, Any]] = classify(body.texts, truncation=True)
    return found
