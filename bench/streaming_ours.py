"""The load generator as the benchmark runs it: one open loop at a constant rate, its samples into a file.

Prints a line of JSON: the test's health; writes an .npz with the columns of the samples.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ratchet.loads import processes
from ratchet.loads.driving import Drive
from ratchet.loads.records import Shot
from ratchet.records import Variant


@dataclass(frozen=True)
class Even:
    rate: float
    count: int

    def __call__(self, part: int, parts: int) -> Iterator[Shot]:
        for number in range(part, self.count, parts):
            body = (
                b'{"model":"bench","messages":[{"role":"user","content":"#%d#"}],"stream":true,'
                b'"stream_options":{"include_usage":true}}' % number
            )
            yield Shot(index=number, arm=0, at_s=number / self.rate, body=body)


def main(port: int, rate: float, count: int, path: str, workers: int) -> None:
    environ = {**os.environ, "OPENAI_API_KEY": "bench"}
    variant = Variant(model="openai/bench", base_url=f"http://127.0.0.1:{port}/v1", stream=True)
    found = processes.measure(
        {"bench": variant}, Even(rate, count), Drive(grace_s=10.0), processes=workers, environ=environ
    )
    samples = found.samples
    names = ("index", "scheduled_s", "sent_s", "first_token_s", "error", "gaps", "offsets", "output_tokens")
    np.savez(path, **{name: getattr(samples, name) for name in names})
    print(
        json.dumps(
            {
                **dataclasses.asdict(found.health),
                "wall_s": sum(found.vitals.wall_s),
                "cpu_s": sum(found.vitals.cpu_s),
            }
        )
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), sys.argv[4], int(sys.argv[5]))
