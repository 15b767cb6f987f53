"""The desk: takes jobs, works on some at a time, tells that they ended, and forgets them in the end."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from whisper_max.server.admission import Admission
from whisper_max.server.desk.store import MOST_ATTEMPTS, Answer, JobStore, StoredJob
from whisper_max.server.desk.webhooks import WAITS, Webhooks, key_of, origin_of
from whisper_max.server.engines import Engines
from whisper_max.server.errors import OVERLOADED, APIError, as_api_error, busy
from whisper_max.server.http.asked import Asked, read_asked
from whisper_max.server.http.exchange import missing
from whisper_max.server.http.formats import answer
from whisper_max.server.http.uploads import Form
from whisper_max.server.jobs import Cancelled, Finished, Job
from whisper_max.server.references import FIELD as REFERENCES
from whisper_max.server.settings import MIB, Settings
from whisper_max.server.spool import DiskSpace, SpoolBudget
from whisper_max.transcribe.check import check_options
from whisper_max.transcribe.result import Segment, TranscriptionResult

log = logging.getLogger(__name__)

_LOOK = 1.0  # seconds between looks at what is due
_RETRY_AFTER = 60  # seconds that who finds the desk full is told
_AGAIN = 10.0  # seconds after which what the disk refused is tried again

T = TypeVar("T")


@dataclass
class Running:
    """A job that is being worked on: seconds done and in all, and the segments so far."""

    done: float = 0.0
    total: float = 0.0
    segments: list[Segment] = field(default_factory=list)
    job: Job | None = None


class Desk:
    """Jobs that outlive their requests; used on the event loop.

    Args:
        folder: where they are kept.
        settings: limits, and who may be told.
        engines: work on them.
        admission: says when the server stops.
        spool: of decoded samples.

    Attributes:
        store: the jobs. running: those that are being worked on, by id.

    Raises:
        OptionError: as ``JobStore``, or webhooks without a secret.
    """

    def __init__(
        self, folder: Path, settings: Settings, engines: Engines, admission: Admission, spool: SpoolBudget
    ) -> None:
        self.store = JobStore(folder)
        self.running: dict[str, Running] = {}
        self.webhooks = _webhooks(settings)
        self._settings = settings
        self._engines = engines
        self._admission = admission
        self._spool = spool
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loops: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin to work."""
        self._loops = [asyncio.create_task(each()) for each in (self._work, self._tell, self._expire)]

    async def close(self) -> None:
        """Stop; what is being worked on begins again with the next server."""
        for task in (*self._loops, *self._tasks):
            task.cancel()
        await asyncio.gather(*self._loops, *self._tasks, return_exceptions=True)
        await asyncio.to_thread(self.store.close)

    # ---------------------------------------------------------------- in and out

    async def add(self, form: Form, owner: str) -> StoredJob:
        """Take a job; it is on disk when this returns.

        Raises:
            APIError: 400 for a form that is wrong, 429 where there is no room.
            OptionError: options that are impossible.
        """
        fields = dict(form.fields)
        webhook = self._webhook(fields.pop("webhook", []))
        asked = self._asked(fields)
        if asked.references:
            message = f"{REFERENCES}: recordings of voices are not kept, and the form of a job is"
            raise APIError(400, message, code="unsupported_field", param=REFERENCES)
        if asked.stream:
            raise APIError(400, "stream: the result of a job is not streamed", code="invalid_value", param="stream")
        self._engines.known(asked.model)
        if form.file is None:
            raise missing("file")
        if await asyncio.to_thread(lambda: self.store.n_unfinished) >= self._settings.jobs_max:
            raise busy(f"{self._settings.jobs_max} jobs wait", _RETRY_AFTER)
        if await asyncio.to_thread(lambda: self.store.n_bytes) + form.n_bytes > self._settings.jobs_budget * MIB:
            message = f"jobs take the disk that there is for them: {self._settings.jobs_budget} MiB"
            retry = {"Retry-After": str(_RETRY_AFTER)}
            raise APIError(429, message, type=OVERLOADED, code="jobs_budget", headers=retry)
        job = await asyncio.to_thread(self.store.add, owner, form.file, form.file_name, fields, webhook)
        self._wake.set()
        return job

    async def delete(self, id: str) -> None:
        """Forget a job, and end the work on it."""
        running = self.running.get(id)
        await asyncio.to_thread(self.store.delete, id)
        if running is not None and running.job is not None:
            running.job.cancel()

    def _webhook(self, given: list[str]) -> str | None:
        if not (urls := [url for url in given if url]):
            return None
        if len(urls) > 1 or self.webhooks is None or not self.webhooks.allows(urls[0]):
            message = "webhook: expected one address at an origin that this server was told (--webhook_origins)"
            raise APIError(400, message, code="invalid_value", param="webhook")
        return urls[0]

    def _asked(self, fields: dict[str, list[str]]) -> Asked:
        return read_asked(fields, "transcribe", self._settings.batch_size, strict=self._settings.strict_fields)

    # ---------------------------------------------------------------- work

    async def _work(self) -> None:
        while True:
            self._wake.clear()
            while len(self._tasks) < self._settings.jobs_at_once and not self._admission.stopping.is_set():
                job = await _kept(self.store.claim)
                if job is None:
                    break
                task = asyncio.create_task(self._run(job))
                self._tasks.add(task)
                task.add_done_callback(self._ended)
            await self._wake.wait()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._wake.set()

    async def _run(self, job: StoredJob) -> None:
        """Work on a job to its end, be it an error; ended by the server, it waits for the next."""
        self.running[job.id] = Running()
        try:
            if job.attempts > MOST_ATTEMPTS:
                raise APIError(500, f"the server ended {MOST_ATTEMPTS} times while it worked on this", code="gave_up")
            result = await self._transcribe(job, self.running[job.id])
            await _kept(partial(self.store.finish, job.id, result))
        except asyncio.CancelledError:
            self.store.give_back(job.id)  # at once: nothing waits for a thread any more
            raise
        except Exception as error:
            await self._failed(job, error)
        finally:
            del self.running[job.id]

    async def _failed(self, job: StoredJob, error: Exception) -> None:
        if isinstance(error, Cancelled):  # it was deleted
            return
        refusal = as_api_error(error)
        if (retry := refusal.headers.get("Retry-After")) is None:
            await _kept(partial(self.store.fail, job.id, refusal.status, refusal.body()["error"]))
            return
        with suppress(TimeoutError):  # the server is busy, or about to end
            await asyncio.wait_for(self._admission.stopping.wait(), float(retry))
        await _kept(partial(self.store.give_back, job.id))

    async def _transcribe(self, job: StoredJob, running: Running) -> Answer:
        asked = self._asked(job.fields)
        place = DiskSpace(self._spool)
        async with self._engines.use(asked.model) as engine:
            check_options(engine.model.dims, engine.model.vocabulary, asked.options)
            with self.store.open_audio(job.id) as file:
                running.job = engine.submit(file, asked.options, max_seconds=self._settings.max_seconds, place=place)
            try:
                result = await _follow(running.job, running)
            finally:
                running.job.cancel()
        response = answer(replace(asked, vocabulary=engine.model.vocabulary), result)
        warnings = response.headers.get("x-whisper-max-warnings")
        segments = json.dumps(segments_of(result.segments, result))
        return Answer(bytes(response.body), response.headers["content-type"], warnings, segments)

    # ---------------------------------------------------------------- told, and forgotten

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(_LOOK)
            if self.webhooks is not None:
                for job in await _kept(self.store.due):
                    with suppress(KeyError):  # it was deleted meanwhile
                        await _kept(
                            partial(self._note, job, await asyncio.to_thread(self._deliver, job, self.webhooks))
                        )

    def _deliver(self, job: StoredJob, webhooks: Webhooks) -> bool:
        kind = "completed" if job.error is None else "failed"
        event = {"id": f"evt_{job.id}", "object": "event", "type": f"transcription.job.{kind}", "created_at": job.ended}
        data = {**shown(job, self._settings), **({} if job.error is not None else _result(self.store.answer(job.id)))}
        return webhooks.deliver(str(job.webhook), f"msg_{job.id}", json.dumps({**event, "data": data}).encode())

    def _note(self, job: StoredJob, was_told: bool) -> None:
        if was_told:
            self.store.told(job.id)
        else:
            self.store.not_told(job.id, WAITS[job.tries] if job.tries < len(WAITS) else None)

    async def _expire(self) -> None:
        while True:
            if n := await _kept(partial(self.store.expire, self._settings.jobs_age * 3600)):
                log.info("%d jobs have expired", n)
            await asyncio.sleep(min(60.0, self._settings.jobs_age * 3600))


async def _kept(change: Callable[[], T]) -> T:
    """What the store does, off the event loop; where the disk refuses it, as when it is full, again until it can."""
    while True:
        try:
            return await asyncio.to_thread(change)
        except OSError as error:
            log.error("jobs: %s; tried again in %g s", error.strerror or error, _AGAIN)
            await asyncio.sleep(_AGAIN)


async def _follow(job: Job, running: Running) -> TranscriptionResult:
    async for event in job:
        if isinstance(event, Finished):
            return event.result
        running.segments += event.segments
        running.done, running.total = event.done, event.total
    raise Cancelled("cancelled")


def _webhooks(settings: Settings) -> Webhooks | None:
    if not settings.webhook_origins:
        return None
    return Webhooks(frozenset(map(origin_of, settings.webhook_origins)), key_of(settings.webhook_secret or ""))


def shown(job: StoredJob, settings: Settings, running: Running | None = None) -> dict[str, Any]:
    """A job as its clients see it."""
    told = "none" if job.webhook is None else "delivered" if job.delivered else "pending"
    if told == "pending" and job.ended is not None and job.deliver_at is None:
        told = "failed"
    progress = None if running is None else {"seconds_done": running.done, "seconds": running.total}
    return {
        "id": job.id,
        "object": "transcription.job",
        "status": job.status,
        "created_at": job.created,
        "started_at": job.started,
        "ended_at": job.ended,
        "expires_at": None if job.ended is None else job.ended + settings.jobs_age * 3600,
        "file_name": job.file_name,
        "bytes": job.n_bytes,
        "progress": progress,
        "error": None
        if job.error is None
        else {name: job.error[name] for name in ("message", "type", "param", "code")},
        "webhook": told,
    }


def segments_of(segments: list[Segment], result: TranscriptionResult | None = None) -> dict[str, Any]:
    """Segments with their words, spaces and all; language and duration where they are known."""
    about = {} if result is None else {"language": result.language, "duration": result.duration}
    return {"object": "list", "data": [segment.to_dict() for segment in segments], **about}


def _result(answer: Answer) -> dict[str, Any]:
    text = answer.body.decode()
    return {"result": json.loads(text) if answer.media_type.startswith("application/json") else text}
