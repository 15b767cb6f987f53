"""A job as a pipeline of Ray Data: rows are names of recordings, workers are actors, outcomes stream out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from whisper_max.batch.job import FAILED, PART, Item, Job, Outcome
from whisper_max.batch.ledger import Ledger
from whisper_max.batch.plan import in_order
from whisper_max.batch.worker import UNSERVED, Worker
from whisper_max.errors import DeviceError, OptionError
from whisper_max.ray.cluster import Cluster, imported

_MOST_ROUNDS = 4  # rows that come back undone, from nodes without the model, are given to the other nodes
_PACKS = 8  # rounds of work for each of several actors, at least, so that all end at about the same time
_PACK_ROWS, _PACK_BYTES = 64, 16 << 20  # most of what an actor is given at once, where recordings are short
_IN_FLIGHT = 2  # packs that an actor has: the one that it does, and the next
_NODE = "ray.io/node-id"


@dataclass(frozen=True)
class Pool:
    """The actors of a job.

    num_cpus: of each actor: threads of its model. num_gpus: of each. min_actors, max_actors: how many; 0: as many as
    the cluster has room for.
    """

    num_cpus: int = 1
    num_gpus: float = 0
    min_actors: int = 1
    max_actors: int = 0

    def size(self, cluster: Cluster) -> tuple[int, int]:
        """Fewest and most actors.

        Raises:
            OptionError: the cluster has no room for one.
        """
        room = cluster.cpus // self.num_cpus
        if self.num_gpus:
            room = min(room, int(cluster.gpus / self.num_gpus))
        if room < 1 and cluster.is_local:
            found = f"{cluster.cpus} CPUs and {cluster.gpus} GPUs"
            expected = f"{self.num_cpus} CPUs and {self.num_gpus:g} GPUs for an actor"
            raise OptionError("no actor has room", where="num_cpus, num_gpus", expected=expected, found=found)
        most = self.max_actors or max(room, 1)
        return min(self.min_actors, most), most


def _started_ledger() -> Any:  # noqa: ANN401 - a handle of Ray's
    """The ledger, where the driver is: on another node it would go when that goes, and no row could begin."""
    ray = imported()
    here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
        ray.get_runtime_context().get_node_id(), soft=True
    )
    # One that is killed all the same begins with nothing: what it knew is how often workers died, not what is done.
    options = {"num_cpus": 0, "scheduling_strategy": here, "max_restarts": _MOST_ROUNDS, "max_task_retries": -1}
    return ray.remote(**options)(Ledger).remote()


class _RemoteAttempts:
    """The ledger as a worker sees it."""

    def __init__(self, ledger: Any) -> None:  # noqa: ANN401 - a handle of Ray's
        self._ledger = ledger

    def begin(self, keys: Sequence[str]) -> int:
        n_before: int = imported().get(self._ledger.begin.remote(list(keys)))
        return n_before

    def end(self, keys: Sequence[str]) -> None:
        self._ledger.end.remote(list(keys))


class _Actor:
    """A worker as Ray Data calls it."""

    def __init__(self, job: Job, ledger: Any) -> None:  # noqa: ANN401 - a handle of Ray's
        self._worker = Worker(job, _RemoteAttempts(ledger))
        self._node = imported().get_runtime_context().get_node_id()

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        items = [Item(**row) for pack in batch["pack"] for row in json.loads(str(pack))]
        outcomes = [asdict(outcome) | {"ray_node": self._node} for outcome in self._worker(items)]
        return {"row": [json.dumps(outcome) for outcome in outcomes]}


def run(
    job: Job, items: Sequence[Item], cluster: Cluster, pool: Pool, say: Callable[[str], object]
) -> Iterator[Outcome]:
    """Do a job on the cluster that one is connected to.

    Args:
        job: what is done with each recording.
        items: the recordings, each id once.
        cluster: what ``connected`` gave.
        pool: the actors.
        say: told, once, of what is wrong with nodes or actors.

    Yields:
        one outcome for each recording, done or failed, as soon as it is known.

    Raises:
        OptionError: no actor has room.
        DeviceError: the cluster fails.
    """
    ray = imported()
    pool.size(cluster)
    ledger = _started_ledger()
    left = {item.id: item for item in items}
    rows = in_order(items, job)
    without_model: dict[str, Outcome] = {}  # by Ray's id of a node, the first row that it could not do
    told_deaths = False
    for _ in range(_MOST_ROUNDS):
        unserved: list[Item] = []
        by_key = {(item.id, item.part): item for item in rows}
        for outcome, node in _outcomes(job, rows, cluster, pool, ledger, list(without_model)):
            if not told_deaths and ray.get(ledger.n_deaths.remote()):
                told_deaths = True
                say("a worker was killed, for its memory perhaps: what it did is done again, in smaller batches")
            if outcome.id not in left or outcome.status == PART:
                continue
            if outcome.status == UNSERVED:
                unserved.append(by_key[(outcome.id, outcome.part)])
                if node not in without_model:
                    without_model[node] = outcome
                    say(f"error: {outcome.node} does no work: {outcome.error_kind}: {outcome.error}")
                continue
            del left[outcome.id]
            yield outcome
        if not left:
            return
        # A part whose recording waits for the joining of all, or rows of nodes without the model.
        again = [replace(item, part=0) for item in rows if item.id in left and item.part == 0]
        rows = [item for item in unserved if item.id in left] or again
        if set(without_model) >= {node["NodeID"] for node in ray.nodes() if node["Alive"]}:
            break
    for item in left.values():
        reason = next(iter(without_model.values()), None)
        yield _lost(item, job, reason)


def _lost(item: Item, job: Job, reason: Outcome | None) -> Outcome:
    """The outcome of a recording that no node has done."""
    lost = Outcome(item.id, item.shown, FAILED, "WorkerDied", "no worker gave an answer", options=job.digest(item))
    if reason is None:
        return lost
    return replace(lost, error_kind=reason.error_kind, error=reason.error, node=reason.node)


def _outcomes(
    job: Job,
    rows: Sequence[Item],
    cluster: Cluster,
    pool: Pool,
    ledger: Any,  # noqa: ANN401 - a handle of Ray's
    excluded: Sequence[str],
) -> Iterator[tuple[Outcome, str]]:
    """The outcomes of rows as they come, each with Ray's id of the node that it was done on."""
    ray = imported()
    least, most = pool.size(cluster)
    packs = packed(rows, most, job.files_at_once)
    selector = {"label_selector": {_NODE: f"!in({','.join(excluded)})"}} if excluded else {}
    dataset = ray.data.from_items(
        [{"pack": json.dumps([asdict(item) for item in pack])} for pack in packs], override_num_blocks=len(packs)
    ).map_batches(
        _Actor,
        fn_constructor_args=(job, ledger),
        batch_size=1,
        batch_format="numpy",
        compute=ray.data.ActorPoolStrategy(
            min_size=min(least, len(packs)),
            max_size=min(most, len(packs)),
            max_tasks_in_flight_per_actor=_IN_FLIGHT,
        ),
        num_cpus=pool.num_cpus,
        num_gpus=pool.num_gpus,
        **selector,
    )
    try:
        for batch in dataset.iter_batches(batch_size=None, batch_format="numpy", prefetch_batches=0):
            for text in batch["row"]:
                row = json.loads(str(text))
                yield Outcome.from_row(row), row["ray_node"]
    except ray.exceptions.RayError as error:  # of the cluster: a worker gives a row, whatever happens
        found = " ".join(str(error).split())[:300]
        raise DeviceError("Ray gave up the job", found=found, hint="the same command goes on") from error


def packed(rows: Sequence[Item], n_actors: int, files_at_once: int) -> list[list[Item]]:
    """What actors are given at once: one long recording, or several short ones, whose handing over costs more than
    they do; few enough that no actor is left waiting for the last. At the end of each, a batch runs empty."""
    total = sum(row.size / row.n_parts for row in rows)
    most = _PACK_BYTES if n_actors == 1 else max(min(total / (n_actors * _PACKS), _PACK_BYTES), 1)
    packs: list[list[Item]] = []
    size = 0.0
    for row in rows:
        full = not packs or len(packs[-1]) >= _PACK_ROWS
        if full or (size + row.size / row.n_parts > most and len(packs[-1]) >= files_at_once):
            packs.append([])
            size = 0.0
        packs[-1].append(row)
        size += row.size / row.n_parts
    return packs
