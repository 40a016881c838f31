"""The settings that are measured: what people have, and where methods are known to fail."""

from __future__ import annotations

from collections.abc import Iterator

from ratchet.testing.migrations.records import Migration


def all_settings() -> tuple[Migration, ...]:
    """Every setting, by kind; most stand on the margin, where ship and hold are both false."""
    return (*_binary(), *_rules(), *_nested(), *_continuous(), *_cost(), *_latency(), *_refused())


def _binary() -> Iterator[Migration]:
    for n, margin in ((20, 0.15), (50, 0.1), (100, 0.1), (300, 0.05), (1000, 0.03), (5000, 0.02)):
        yield Migration(
            name=f"pass/fail, on the margin, n {n}", n=n, difference=-margin, margin=margin, discordant=0.2
        )
    for n, margin in ((20, 0.15), (30, 0.1), (50, 0.1), (100, 0.05), (300, 0.05)):
        yield Migration(
            name=f"pass/fail, every flip a loss, n {n}",
            n=n,
            difference=-margin,
            margin=margin,
            discordant=margin,
        )
    yield Migration(name="pass/fail, near 1, n 300", n=300, rate=0.98, difference=-0.02, margin=0.02, discordant=0.03)  # fmt: skip
    for n, margin in ((100, 0.1), (300, 0.05), (1000, 0.03)):
        yield Migration(name=f"pass/fail, equal, n {n}", n=n, margin=margin)
    yield Migration(name="pass/fail, 10 points worse, n 300", n=300, difference=-0.1, discordant=0.2)


def _rules() -> Iterator[Migration]:
    for n in (50, 300):
        yield Migration(name=f"better, equal, n {n}", n=n, rule="better", margin=0.0, discordant=0.2)
    yield Migration(name="better, 6 points better, n 300", n=300, rule="better", margin=0.0, difference=0.06)
    yield Migration(name="at least 90 %, at 90 %, n 100", n=100, rule="at_least", rate=0.85, difference=0.05, margin=0.9)  # fmt: skip
    yield Migration(name="at least 90 %, at 90 %, n 1000", n=1000, rule="at_least", rate=0.85, difference=0.05, margin=0.9)  # fmt: skip
    yield Migration(name="at least 90 %, at 90 %, n 200", n=200, rule="at_least", rate=0.85, difference=0.05, margin=0.9)  # fmt: skip
    for n in (30, 100):
        yield Migration(name=f"at least 90 %, at 90 %, 5 repeats, n {n}", n=n, repeats=5, rule="at_least", rate=0.85, difference=0.05, margin=0.9)  # fmt: skip
    yield Migration(name="three guards, all on the margin, n 300", difference=-0.05, checks=3)
    yield Migration(name="any of three primaries, all equal, n 300", rule="better", margin=0.0, checks=3, any_wins=True, discordant=0.2)  # fmt: skip
    yield Migration(name="errors 1 % and 1.5 %, on the margin, n 500", n=500, difference=-0.05, error_rates=(0.01, 0.015))  # fmt: skip
    yield Migration(name="a third of the calls fail, n 300", difference=-0.264, error_rates=(0.0, 0.33), claims="refuses")  # fmt: skip


def _nested() -> Iterator[Migration]:
    for n, margin in ((20, 0.1), (30, 0.1), (40, 0.1), (50, 0.1), (100, 0.05), (400, 0.05)):
        yield Migration(
            name=f"pass/fail, 5 repeats, n {n}", n=n, repeats=5, difference=-margin, margin=margin
        )
    for n, margin in ((80, 0.05), (150, 0.03)):
        yield Migration(name=f"pass/fail, 2 repeats, every flip a loss, n {n}", n=n, repeats=2, own=0.9, difference=-margin, margin=margin, discordant=margin)  # fmt: skip
    for groups, unequal in ((12, False), (20, True), (40, False), (60, True)):
        n = 10 * groups
        label = "unequal groups" if unequal else "groups"
        yield Migration(
            name=f"pass/fail, {groups} {label}, n {n}",
            n=n,
            groups=groups,
            unequal=unequal,
            difference=-0.1,
            margin=0.1,
            discordant=0.2,
        )
    yield Migration(name="pass/fail, 40 groups, 3 repeats, n 200", n=200, groups=40, repeats=3, difference=-0.05)  # fmt: skip


def _continuous() -> Iterator[Migration]:
    for n, margin in ((20, 0.1), (50, 0.05), (100, 0.05), (300, 0.02), (1000, 0.02)):
        yield Migration(name=f"scores, on the margin, n {n}", kind="continuous", n=n, difference=-margin, margin=margin)  # fmt: skip
    for n in (50, 300):
        yield Migration(name=f"scores, 80 % ties, n {n}", kind="continuous", n=n, ties=0.8, difference=-0.03, margin=0.03, spread=1.0)  # fmt: skip
    yield Migration(name="scores, equal, n 100", kind="continuous", n=100, margin=0.05)
    yield Migration(name="scores, 3 repeats, n 100", kind="continuous", n=100, repeats=3, difference=-0.05)
    yield Migration(name="scores, 15 unequal groups, n 150", kind="continuous", n=150, groups=15, unequal=True, difference=-0.05)  # fmt: skip
    yield Migration(name="scores, 50 groups, n 300", kind="continuous", n=300, groups=50, difference=-0.05)


def _cost() -> Iterator[Migration]:
    for n, spread in ((20, 0.5), (50, 1.0), (100, 1.0), (300, 1.0), (1000, 1.5)):
        yield Migration(name=f"cost ratio, log-SD {spread:g}, n {n}", kind="cost", n=n, spread=spread, difference=0.1, margin=0.1)  # fmt: skip
    yield Migration(name="cost ratio, 20 groups, n 200", kind="cost", n=200, groups=20, spread=0.7, difference=0.1, margin=0.1)  # fmt: skip
    yield Migration(name="cost ratio, equal, n 300", kind="cost", n=300, spread=1.0, margin=0.05)
    for n, spread in ((50, 1.5), (300, 1.5), (1000, 1.0)):
        yield Migration(name=f"cost difference, log-SD {spread:g}, n {n}", kind="cost", n=n, spread=spread, difference=0.5, margin=0.5, absolute=True, claims="measured")  # fmt: skip

    for n, spread in ((50, 1.5), (300, 1.5)):
        yield Migration(name=f"cost saving, log-SD {spread:g}, n {n}", kind="cost", n=n, spread=spread, rule="better", difference=-0.5, margin=0.5, absolute=True, claims="measured")  # fmt: skip


def _latency() -> Iterator[Migration]:
    for n, q in ((40, 0.5), (100, 0.5), (100, 0.95), (300, 0.95)):
        yield Migration(name=f"latency p{100 * q:g}, n {n}", kind="latency", n=n, quantile=q, difference=0.2, margin=0.2)  # fmt: skip
    yield Migration(name="latency p95, errors 2 %, n 300", kind="latency", n=300, difference=0.2, margin=0.2, error_rates=(0.01, 0.01), claims="measured")  # fmt: skip
    yield Migration(name="latency p50, 20 groups, n 200", kind="latency", n=200, groups=20, quantile=0.5, difference=0.2, margin=0.2)  # fmt: skip
    yield Migration(name="latency p50, equal, n 300", kind="latency", n=300, quantile=0.5, margin=0.2)


def _refused() -> Iterator[Migration]:
    yield Migration(name="10 examples, equal", n=10, margin=0.5, discordant=0.05, claims="refuses")
    yield Migration(name="10 examples, on the margin", n=10, margin=0.2, difference=-0.2, discordant=0.3, claims="refuses")  # fmt: skip
    yield Migration(name="5 groups, on the margin, n 200", n=200, groups=5, margin=0.05, difference=-0.05, claims="refuses")  # fmt: skip
    yield Migration(name="5 groups, n 200", n=200, groups=5, margin=0.2, difference=-0.05, claims="refuses")
    yield Migration(name="cost ratio, log-SD 3, n 50", kind="cost", n=50, spread=3.0, difference=0.1, margin=0.1, claims="measured")  # fmt: skip
    yield Migration(name="latency p95, n 40", kind="latency", n=40, margin=0.9, difference=0.2, claims="refuses")  # fmt: skip
