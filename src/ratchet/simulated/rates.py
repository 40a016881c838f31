"""The limits a simulated endpoint really holds: requests and tokens per minute."""

from __future__ import annotations

import time

from ratchet.simulated.profiles import Profile


class Bucket:
    """A token bucket: full at the start, refilled evenly over each minute."""

    def __init__(self, per_minute: float) -> None:
        self.per_minute = per_minute
        self.left = per_minute
        self._at_s = time.monotonic()

    def wait_s(self, amount: float) -> float:
        """Seconds until so much is there; 0 when it is now."""
        now_s = time.monotonic()
        self.left = min(self.per_minute, self.left + (now_s - self._at_s) * self.per_minute / 60)
        self._at_s = now_s
        missing = min(amount, self.per_minute) - self.left
        return missing * 60 / self.per_minute if missing > 1e-9 else 0.0

    def take(self, amount: float) -> None:
        self.left -= amount


class Rates:
    """The buckets of each model."""

    def __init__(self) -> None:
        self._buckets: dict[str, tuple[Bucket | None, Bucket | None]] = {}

    def reset(self) -> None:
        self._buckets.clear()

    def admit(self, model: str, profile: Profile, tokens: int) -> float:
        """0 and counted, where the request is within the limits; else the seconds to wait, nothing counted."""
        buckets = self._buckets.get(model)
        if buckets is None:
            requests = Bucket(profile.rpm) if profile.rpm else None
            amounts = Bucket(profile.tpm) if profile.tpm else None
            buckets = self._buckets[model] = (requests, amounts)
        requests, amounts = buckets
        wait_s = max(
            requests.wait_s(1) if requests else 0.0,
            amounts.wait_s(tokens) if amounts else 0.0,
        )
        if wait_s == 0.0:
            if requests:
                requests.take(1)
            if amounts:
                amounts.take(tokens)
        return wait_s
