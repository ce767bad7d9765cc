"""Coverage of intervals of average precision: `python -m tests.benchmarks.statistics_detection [--studies N]`.

An image has up to five objects of three classes, and an ease that all seeds share: seeds miss objects and invent boxes,
and shift boxes by a few pixels. The truth is the metric of 6,000 images, averaged over seeds, so that the error of the
truth itself stays below a fifth of that of the largest studies.
"""

from __future__ import annotations

import argparse
import sys
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from harness.statistics import interval, scale_of
from harness.tasks.object_detection.data import Objects
from harness.tasks.object_detection.matching import Found
from harness.tasks.object_detection.metrics import METRICS, by_class, influences

THRESHOLDS = {"ap50": (0.5,), "ap75": (0.75,)}
MANY = 6_000


def drawn(rng: np.random.Generator, images: int, seeds: int) -> tuple[list[Objects], list[list[Found]]]:
    """Return the objects of images, and what each seed finds."""
    truths, eases = list[Objects](), rng.beta(2, 1, images)
    for _ in range(images):
        count = int(rng.integers(0, 6))
        corners = rng.uniform(0, 80, (count, 2))
        boxes = np.concatenate([corners, corners + rng.uniform(5, 20, (count, 2))], axis=1)
        truths.append(Objects(boxes, rng.choice(3, count, p=(0.7, 0.2, 0.1)), np.zeros(count, dtype=bool)))
    skills = rng.normal(0, 0.02, seeds)
    runs = [
        [_seen(rng, objects, float(np.clip(ease + skill, 0, 1))) for objects, ease in zip(truths, eases, strict=True)]
        for skill in skills
    ]
    return truths, runs


def _seen(rng: np.random.Generator, objects: Objects, ease: float) -> Found:
    kept, invented = rng.random(len(objects.classes)) < 0.4 + 0.6 * ease, int(rng.poisson(1.5 * (1 - ease)))
    near = objects.boxes[kept] + rng.normal(0, 0.5 + 1.5 * (1 - ease), (int(kept.sum()), 4))
    corners = rng.uniform(0, 80, (invented, 2))
    other = np.concatenate([corners, corners + rng.uniform(5, 20, (invented, 2))], axis=1)
    classes = np.concatenate([objects.classes[kept], rng.integers(0, 3, invented)])
    scores = np.concatenate([rng.beta(3, 1, len(near)), rng.beta(1, 2, invented)])
    return Found(np.concatenate([near, other]), classes.astype(np.int64), scores)


def value(truths: list[Objects], found: list[Found], metric: str) -> float:
    """Return the metric of a run."""
    return float(np.mean(list(by_class(truths, found, THRESHOLDS[metric]).values())))


@lru_cache
def truth(metric: str) -> float:
    """Return the metric over many images."""
    truths, runs = drawn(np.random.default_rng(1), MANY, 4)
    return float(np.mean([value(truths, run, metric) for run in runs]))


def covered(metric: str, images: int, seeds: int, studies: int) -> tuple[float, float]:
    """Return the share of intervals that hold the truth, and their mean width."""
    holds = widths = 0.0
    for study in range(studies):
        truths, runs = drawn(np.random.default_rng((study, images, seeds)), images, seeds)
        scores: npt.NDArray[np.float64] = np.stack(
            [value(truths, run, metric) + influences(truths, run, THRESHOLDS[metric]) for run in runs]
        )
        found = interval(scores, scale=scale_of(METRICS[metric]))
        holds += found.low <= truth(metric) <= found.high
        widths += found.high - found.low
    return holds / studies, widths / studies


def main() -> int:
    """Print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--studies", type=int, default=400)
    studies = parser.parse_args().studies
    for metric in THRESHOLDS:
        for images in (30, 72, 300):
            share, width = covered(metric, images, 3, studies)
            line = (
                f"{metric} {images} images, 3 seeds: truth {truth(metric):.3f}, covers {share:.1%}, width {width:.3f}"
            )
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
