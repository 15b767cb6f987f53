"""How long a batch over 1,000 actors takes, with recordings of all lengths, slow machines, and machines taken away.

A model of what `batch` does: what takes longest is handed out first, an actor that is lost loses the row that it was
at, and comes back after a while. No audio is touched. Seeded: the same figures every time.
"""

from __future__ import annotations

import argparse
import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np

from whisper_max.batch.job import Item

HOUR = 3600.0


@dataclass(frozen=True)
class World:
    """n_actors: of the job. speed: hours of audio an hour of an actor. straggling: share of actors that are slow, and
    how much. lost_every: hours until an actor is lost, on average; 0: never. back_after: seconds until it is back."""

    n_actors: int = 1000
    speed: float = 25.0
    straggling: tuple[float, float] = (0.02, 4.0)
    lost_every: float = 0.0
    back_after: float = 180.0


@dataclass(frozen=True)
class Outcome:
    """hours: until the last row is done. at_99: until 99 % of the audio is. ideal: with all actors busy to the end.
    lost: hours of work that were done again, of all actors together. n_lost: actors that were lost."""

    hours: float
    at_99: float
    ideal: float
    lost: float
    n_lost: int


def recordings(hours: float, seed: int) -> list[float]:
    """Seconds of each: most of some minutes, and a few of half a day, as archives have them."""
    random = np.random.default_rng(seed)
    durations: list[float] = []
    while sum(durations) < hours * HOUR:
        some = np.minimum(random.lognormal(np.log(900), 1.1, 1000), 12 * HOUR)
        durations += some.tolist()
    durations[:20] = [12 * HOUR] * 20
    return durations


def rows_of(durations: Sequence[float], part_minutes: float | None) -> list[Item]:
    """The rows of a job, the longest first; a row's size is its seconds."""
    rows = []
    for id, seconds in enumerate(durations):
        n_parts = 1 if part_minutes is None else max(int(np.ceil(seconds / (part_minutes * 60) - 0.5)), 1)
        rows += [Item(id, "", {}, size=round(seconds * 1000), part=part, n_parts=n_parts) for part in range(n_parts)]
    return sorted(rows, key=lambda row: -row.size / row.n_parts)


def simulate(rows: Sequence[Item], world: World, decode_speed: float, seed: int) -> Outcome:
    """Do the rows.

    decode_speed: hours of audio that are decoded from its file in an hour, which every part does for all of it.
    """
    random = np.random.default_rng(seed)
    share, factor = world.straggling
    speeds = world.speed * np.where(random.random(world.n_actors) < share, 1 / factor, 1.0)
    speeds *= random.normal(1.0, 0.05, world.n_actors).clip(0.8, 1.2)
    waiting = [(number, row) for number, row in enumerate(rows)]
    heapq.heapify(waiting)
    order = count()
    free = [(0.0, next(order), actor) for actor in range(world.n_actors)]
    finished: list[tuple[float, float]] = []
    lost, n_lost = 0.0, 0
    while waiting:
        now, _, actor = heapq.heappop(free)
        number, row = heapq.heappop(waiting)
        seconds = row.size / 1000 / row.n_parts
        again = 0.0 if row.n_parts == 1 else row.size / 1000 / decode_speed
        takes = seconds / speeds[actor] + again
        until_lost = random.exponential(world.lost_every * HOUR) if world.lost_every else np.inf
        if until_lost < takes:
            lost += until_lost
            n_lost += 1
            heapq.heappush(waiting, (number, row))
            heapq.heappush(free, (now + until_lost + world.back_after, next(order), actor))
        else:
            finished.append((now + takes, seconds))
            heapq.heappush(free, (now + takes, next(order), actor))
    finished.sort()
    total = sum(seconds for _, seconds in finished)
    done = np.cumsum([seconds for _, seconds in finished])
    at_99 = finished[int(np.searchsorted(done, 0.99 * total))][0]
    return Outcome(finished[-1][0] / HOUR, at_99 / HOUR, total / speeds.sum() / HOUR, lost / HOUR, n_lost)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=10_000.0, help="hours of audio")
    parser.add_argument("--actors", type=int, default=1000)
    parser.add_argument("--speed", type=float, default=25.0, help="hours of audio an hour of one actor")
    parser.add_argument("--decode_speed", type=float, default=1500.0, help="of decoding the file alone")
    parser.add_argument("--part_minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    durations = recordings(args.hours, args.seed)
    print(f"{len(durations)} recordings, {sum(durations) / HOUR:.0f} h, {args.actors} actors, seed {args.seed}\n")
    print("| machines | parts | done after, min | 99 % after, min | if all were busy to the end, min | work lost, h |")
    print("| --- | --- | --- | --- | --- | --- |")
    worlds = {
        "all alike": World(args.actors, args.speed, (0.0, 1.0)),
        "2 % four times slower": World(args.actors, args.speed),
        "and each lost every 2 h": World(args.actors, args.speed, lost_every=2.0),
        "and each lost every 20 min": World(args.actors, args.speed, lost_every=1 / 3),
    }
    for name, world in worlds.items():
        for minutes in (None, args.part_minutes):
            outcome = simulate(rows_of(durations, minutes), world, args.decode_speed, args.seed)
            parts = "none" if minutes is None else f"{minutes:g} min"
            figures = [f"{60 * value:.1f}" for value in (outcome.hours, outcome.at_99, outcome.ideal)]
            print(f"| {name} | {parts} | {' | '.join(figures)} | {outcome.lost:.1f} ({outcome.n_lost} actors) |")


if __name__ == "__main__":
    main()
