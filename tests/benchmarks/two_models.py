"""Whether `GET /trial` ends with the right verdict: replays of two models whose answers get feedback.

    python -m tests.benchmarks.two_models --output tests/benchmarks/results/two_models.json

Every replay is a `Trial` as the service has it: each request is drawn to one of the two models, its answer is right
with the probability of that model's accuracy, and a part of the answers gets feedback. Somebody asks for the verdict
after every hundredth feedback.
"""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path
from typing import Any

from harness.records.files import write_json
from harness.serve.live.trial import Trial
from harness.statistics.confidence.two_shares import LOOKS, share_interval

PAIRS = ((0.80, 0.85), (0.80, 0.90), (0.80, 0.70), (0.90, 0.93), (0.93, 0.90), (0.80, 0.80), (0.93, 0.93))
SHARE = 0.3  # of the requests, for the second model
GIVEN = 0.2  # share of the answers that get feedback
REPLAYS = 200


def main() -> None:
    """Replay, and write the shares of verdicts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--replays", type=int, default=REPLAYS)
    asked = parser.parse_args()
    results: dict[str, Any] = {"replays": asked.replays, "share": SHARE, "feedback": GIVEN, "pairs": []}
    for first, second in PAIRS:
        expected = "better" if second > first else "worse" if second < first else "unresolved"
        ends = [_replay(random.Random(f"{first} {second} {number}"), first, second) for number in range(asked.replays)]
        right = sum(verdict == expected for verdict, _ in ends)
        needed = sorted(requests for _, requests in ends)
        low, high = share_interval(right / len(ends), len(ends), 0.95)
        row = {
            "accuracies": [first, second], "right_verdict": right / len(ends), "low": round(low, 4),
            "high": round(min(high, 1.0), 4), "requests_median": needed[len(needed) // 2],
            "requests_90": needed[int(0.9 * len(needed))],
        }  # fmt: skip
        results["pairs"].append(row)
        sys.stdout.write(f"{row}\n")
    write_json(asked.output, results)


def _replay(source: random.Random, first: float, second: float) -> tuple[str, int]:
    """Return the verdict, and after how many requests it is known, or all looks are over."""
    trial, accuracy = Trial("a", "b", SHARE), {"a": first, "b": second}
    state = random.getstate()
    random.seed(source.random())  # from which the service draws who answers
    try:
        requests = stored = 0
        while min(len(trial.right.get(name, ())) for name in "ab") < LOOKS[-1]:
            requests += 1
            name = trial.chosen()
            right = source.random() < accuracy[name]
            if source.random() < GIVEN:
                trial.add(name, {"predicted": "x", "label": "x" if right else "y"})
                stored += 1
                if stored % 100 == 0 and (verdict := str(trial.told()["verdict"])) != "unresolved":
                    return verdict, requests
        return str(trial.told()["verdict"]), requests
    finally:
        random.setstate(state)


if __name__ == "__main__":
    main()
