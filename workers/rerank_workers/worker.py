"""One worker's life on its event loop: configured, starting, running, draining, gone.

Sole writer of that life. Messages from the supervisor, signals, and events of the threads all
arrive here; what follows from them is sent up or done from here.
"""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import assert_never

from rerank_workers import wire
from rerank_workers.control import Control, Message, connect
from rerank_workers.environment import prepare, usable_cores
from rerank_workers.failures import Failure, named, one_line
from rerank_workers.front import Front, open_front
from rerank_workers.jobs import BatchDone, Broken, Event, JobFailed, Loaded, Progressed, Scored
from rerank_workers.process import gpu_bytes, resident_bytes
from rerank_workers.runner import Runner, RunnerLimits
from rerank_workers.service import Service
from rerank_workers.settings import Settings, SettingsError, parse_settings
from rerank_workers.startup import load_version
from rerank_workers.tally import Tally

log = logging.getLogger(__name__)

BEAT_S = 1.0
FLUSH_S = 2.0
"""How long the last answers and messages may take to leave."""


async def run(control_descriptor: int) -> int:
    """Live until told to stop, or until the version cannot go on; return the exit code."""
    worker = Worker(asyncio.get_running_loop())
    return await worker.live(control_descriptor)


class Worker:
    """The state of one worker; every method runs on the event loop save `_post`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._exit: asyncio.Future[int] = loop.create_future()
        self._control: Control | None = None
        self._settings: Settings | None = None
        self._runner: Runner | None = None
        self._service: Service | None = None
        self._front: Front | None = None
        self._opening: asyncio.Task[None] | None = None
        self._beats = 0
        self._is_draining = False
        self._is_drained = False
        self._is_stopping = False

    async def live(self, control_descriptor: int) -> int:
        """Speak to the supervisor until the end; return the exit code."""
        control = await connect(control_descriptor, self._obey, self._lose_supervisor)
        self._control = control
        self._loop.add_signal_handler(signal.SIGTERM, self._stop)
        self._send(wire.HELLO, pid=os.getpid(), protocol=wire.PROTOCOL, python=_PYTHON)
        self._beat_again()
        code = await self._exit
        if self._runner is not None:
            self._runner.close()
        if self._front is not None:
            await self._front.close(FLUSH_S)
        await control.flush(FLUSH_S)
        log.info("worker leaves", extra={"code": code})
        return code

    # --- from the supervisor --------------------------------------------------------------------

    def _obey(self, message: Message) -> None:
        match message.get("type"):
            case wire.CONFIGURE:
                self._configure(message)
            case wire.DRAIN:
                self._drain()
            case wire.STOP:
                self._stop()
            case other:
                log.warning("unknown message from the supervisor", extra={"type": other})

    def _configure(self, message: Message) -> None:
        if self._settings is not None:
            log.warning("configured twice; the first stands")
            return
        try:
            self._settings = settings = parse_settings(message)
        except SettingsError as error:
            self._fail(Failure(str(error), wire.EXIT_WOULD_FAIL_AGAIN))
            return
        threads = prepare(os.environ, settings.threads, usable_cores())
        self._runner = Runner(
            partial(load_version, settings, threads),
            RunnerLimits(
                settings.batch_size,
                settings.max_batch_tokens,
                settings.clean,
                chunk=settings.long_docs == "chunk",
            ),
            self._post,
            self._loop.time,
        )
        fields = {"version": settings.version, "device": settings.device, "threads": threads}
        log.info("worker starts", extra=fields)
        self._runner.start()

    def _drain(self) -> None:
        if self._is_draining:
            return
        self._is_draining = True
        log.info("worker drains")
        if self._front is not None:
            self._front.release()
        if self._service is not None:
            self._service.drain()
        else:
            self._report_drained()

    def _stop(self) -> None:
        self._is_stopping = True
        self._drain()
        if self._is_drained:
            self._leave(wire.EXIT_DONE)

    def _lose_supervisor(self) -> None:
        self._leave(wire.EXIT_ORPHANED)

    # --- from the threads -----------------------------------------------------------------------

    def _post(self, events: Sequence[Event]) -> None:
        # The loop may have ended under a thread that still scores: nobody wants its result.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._hear, events)

    def _hear(self, events: Sequence[Event]) -> None:
        for event in events:
            match event:
                case Progressed(stage):
                    self._send(wire.PROGRESS, stage=stage)
                case Loaded(facts):
                    self._begin_to_serve(facts)
                case Broken(failure):
                    self._fail(failure)
                case BatchDone() | Scored() | JobFailed():
                    assert self._service is not None, "jobs come through the service"
                    self._service.hear(event)
                case _:
                    assert_never(event)

    def _begin_to_serve(self, facts: Mapping[str, str]) -> None:
        if not self._is_draining:  # told to drain while it loaded: nobody waits for it
            self._opening = self._loop.create_task(self._open(facts), name="open front")
            self._opening.add_done_callback(self._judge_opening)

    async def _open(self, facts: Mapping[str, str]) -> None:
        """Serve: the model gave finite scores."""
        assert self._settings is not None, "loading follows configure"
        assert self._runner is not None, "loading follows configure"
        service = Service(
            self._runner, self._loop, self._settings.max_queued_pairs, facts, self._report_drained
        )
        self._service = service
        self._front = await open_front(Path(self._settings.socket), service)
        self._beat()  # first, so that whoever hears it is ready knows what memory it holds
        self._send(wire.READY, info=facts)
        log.info("worker ready", extra=dict(facts))

    def _judge_opening(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if self._is_draining and self._front is not None:  # told to drain while it opened
            self._front.release()
        if error is not None:
            log.error("socket could not be opened", exc_info=error)
            self._fail(Failure(one_line(f"socket: {named(error)}"), wire.EXIT_CRASHED))

    # --- what follows ---------------------------------------------------------------------------

    def _report_drained(self) -> None:
        self._is_drained = True
        self._send(wire.DRAINED)
        if self._is_stopping:
            self._leave(wire.EXIT_DONE)

    def _fail(self, failure: Failure) -> None:
        fields = {"reason": failure.reason, "code": failure.exit_code}
        log.error("worker failed", extra=fields)
        if self._front is not None:
            self._front.release()
        if self._service is not None:
            self._service.give_up()
        self._send(
            wire.FAILED,
            reason=failure.reason,
            would_fail_again=failure.would_fail_again,
            cause=failure.cause,
        )
        self._leave(failure.exit_code)

    def _leave(self, code: int) -> None:
        if not self._exit.done():
            self._exit.set_result(code)

    def _beat_again(self) -> None:
        self._loop.call_later(BEAT_S, self._beat_again)
        self._beat()

    def _beat(self) -> None:
        service, runner, settings = self._service, self._runner, self._settings
        tally = Tally() if service is None else service.tally
        self._beats += 1
        self._send(
            wire.BEAT,
            may_drop=True,
            seq=self._beats,
            in_flight=0 if service is None else service.in_flight,
            queued_pairs=0 if service is None else service.queued_pairs,
            batch_started_at=None if runner is None else runner.batch_started_at,
            memory_bytes=resident_bytes(),
            gpu_memory_bytes=0 if settings is None else self._gpu_bytes(settings.device),
            **tally.fields(),
        )

    def _gpu_bytes(self, device: str) -> int:
        return gpu_bytes(device, None if self._runner is None else self._runner.scorer)

    def _send(self, kind: str, *, may_drop: bool = False, **fields: object) -> None:
        assert self._control is not None, "the channel is the first thing opened"
        self._control.send({"type": kind, **fields}, may_drop=may_drop)


_PYTHON = platform.python_version()
