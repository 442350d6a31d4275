"""The hands of the loop for workers: spawns them, talks to them, reports what they say."""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rerank_server.core import wire
from rerank_server.core.publish import Usage
from rerank_server.core.routing import FallbackReason
from rerank_server.core.stats import Counters
from rerank_server.core.types import (
    Action,
    Beaten,
    BecameReady,
    Drain,
    Drained,
    Event,
    Exited,
    Farewell,
    Kill,
    SaidFarewell,
    Spawned,
    SpawnFailed,
    Start,
    Stop,
)
from rerank_server.core.wanted import WorkerSpec
from rerank_server.supervisor.channel import Channel, Message
from rerank_server.supervisor.process import (
    Child,
    Command,
    child_environment,
    describe,
    oom_kill_count,
)
from rerank_server.supervisor.site import Site

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Beat:
    """The figures of one beat that do not decide anything: statistics and memory."""

    instance: str
    version: str
    counters: Counters
    usage: Usage


@dataclass(slots=True)
class _Worker:
    spec: WorkerSpec
    child: Child
    channel: Channel
    oom_kills: int


class Workers:
    """All worker processes of this server. Every method is called from the loop's thread."""

    def __init__(
        self, site: Site, happened: Callable[[Event], None], beaten: Callable[[Beat], None]
    ) -> None:
        self._site = site
        self._happened = happened
        self._beaten = beaten
        self._workers: dict[str, _Worker] = {}

    def perform(self, action: Action, *, may_dump: bool = True) -> None:
        """Carry out what was decided; what comes of it comes back as events.

        With `may_dump`, what is killed for a fault writes its stacks to its log first.
        """
        match action:
            case Start(instance, spec):
                self.start(instance, spec)
            case Drain(instance):
                self.drain(instance)
            case Stop(instance):
                self.stop(instance)
            case Kill(instance, reason, is_failure):
                log.warning("killing worker", extra={"instance": instance, "why": reason})
                self.kill(instance, dump=is_failure and may_dump)

    def start(self, instance: str, spec: WorkerSpec) -> None:
        """Spawn a worker and tell it what to be; the outcome comes as an event."""
        ours, theirs = socket.socketpair()
        with theirs:
            argv = (
                *(spec.python, "-I", "-u", "-m", "rerank_workers"),
                *("--control-fd", str(theirs.fileno())),
                *("--lifeline-fd", str(self._site.lifeline_fd)),
                *("--parent-pid", str(os.getpid())),
            )
            command = Command(
                argv=argv,
                cwd=spec.directory,
                # Its own card and no other; by UUID, for CUDA counts in another order than NVML.
                env={**child_environment(os.environ, spec.env), "CUDA_VISIBLE_DEVICES": spec.gpu},
                pass_fds=(theirs.fileno(), self._site.lifeline_fd),
                log=self._site.state.log(spec.version),
            )
            try:
                child = Child(command, self._site.loop, lambda code: self._on_exit(instance, code))
            except OSError as error:
                ours.close()
                self._happened(SpawnFailed(instance, f"{spec.python}: {error.strerror}"))
                return
        channel = Channel(
            ours, self._site.loop, lambda message: self._on_message(instance, message)
        )
        self._workers[instance] = _Worker(spec, child, channel, oom_kill_count())
        self._site.janitor.watch(child.pid)
        channel.send(_configure(instance, spec, self._site))
        self._happened(Spawned(instance, child.pid))

    def owns(self, pid: int) -> bool:
        """Tell whether this is the pid of a worker whose exit will be handled here."""
        return any(worker.child.pid == pid for worker in self._workers.values())

    def drain(self, instance: str) -> None:
        """Ask it to take nothing new and to say when nothing is in flight."""
        if (worker := self._workers.get(instance)) is not None:
            worker.channel.send({"type": wire.DRAIN})

    def stop(self, instance: str) -> None:
        """Ask it to exit."""
        if (worker := self._workers.get(instance)) is not None:
            worker.channel.send({"type": wire.STOP})
            worker.child.terminate()

    def kill(self, instance: str, *, dump: bool) -> None:
        """End it and its whole process group, with a stack dump first when asked for."""
        if (worker := self._workers.get(instance)) is not None:
            worker.child.kill(dump=dump)
        else:  # issued, but a failed turn of the loop kept it from being spawned
            self._happened(Exited(instance, -signal.SIGKILL, "was never spawned"))

    def _on_exit(self, instance: str, code: int) -> None:
        worker = self._workers[instance]
        worker.channel.drain()
        worker.channel.close()
        del self._workers[instance]  # only now: of one that is gone no message is taken
        self._site.janitor.release(worker.child.pid)
        self._site.run.socket(instance).unlink(missing_ok=True)
        detail = describe(
            code,
            is_ours=worker.child.was_killed,
            oom_kills=max(0, oom_kill_count() - worker.oom_kills),
            tail=worker.child.tail(code),
        )
        self._happened(Exited(instance, code, detail))

    def _on_message(self, instance: str, message: Message) -> None:
        worker = self._workers.get(instance)
        if worker is None:
            return
        try:
            self._translate(instance, worker.spec.version, message)
        except (KeyError, TypeError, ValueError) as error:
            log.warning(
                "worker sent a message that does not fit",
                extra={"instance": instance, "problem": repr(error)},
            )

    def _translate(self, instance: str, version: str, message: Message) -> None:
        match message["type"]:
            case wire.READY:
                self._happened(BecameReady(instance, _texts(message["info"])))
            case wire.BEAT:
                started, unhealthy = message["batch_started_at"], message["unhealthy"]
                self._beaten(Beat(instance, version, _counters(message), _usage(message)))
                self._happened(
                    Beaten(
                        instance,
                        in_flight=_int(message["in_flight"]),
                        batch_started_at=None if started is None else _float(started),
                        memory_bytes=_int(message["memory_bytes"]),
                        gpu_memory_bytes=_int(message["gpu_memory_bytes"]),
                        unhealthy=None if unhealthy is None else str(unhealthy),
                    )
                )
            case wire.DRAINED:
                self._happened(Drained(instance))
            case wire.FAILED:
                cause = message.get("cause")
                farewell = Farewell(
                    reason=str(message["reason"]),
                    would_fail_again=message["would_fail_again"] is True,
                    cause=None if cause is None else FallbackReason(str(cause)),
                )
                self._happened(SaidFarewell(instance, farewell))
            case wire.HELLO | wire.PROGRESS:
                log.debug("worker progress", extra={"instance": instance, "said": dict(message)})
            case unknown:
                raise ValueError(f"unknown type {unknown!r}")


def _configure(instance: str, spec: WorkerSpec, site: Site) -> Message:
    return {
        "type": wire.CONFIGURE,
        "protocol": wire.PROTOCOL,
        "version": spec.version,
        "instance": instance,
        "directory": spec.directory,
        "model": spec.model,
        "device": "cuda:0" if spec.gpu else "cpu",
        "socket": str(site.run.socket(instance)),
        "batch_size": spec.batch_size,
        "max_length": spec.max_length,
        "max_batch_tokens": spec.max_batch_tokens,
        "use_fp16": spec.use_fp16,
        "threads": spec.threads,
        "max_queued_pairs": wire.MAX_QUEUED_PAIRS,
        "clean": spec.clean,
        "long_docs": spec.long_docs,
        "engine_store": str(site.state.engine(spec.version)),
    }


def _counters(message: Message) -> Counters:
    buckets = message["duration_buckets"]
    if not isinstance(buckets, dict):
        raise TypeError("duration_buckets must be an object")
    return Counters(
        requests=_int(message["requests"]),
        pairs=_int(message["pairs"]),
        tokens=_int(message["tokens"]),
        errors=_int(message["errors"]),
        duration_count=_int(message["duration_count"]),
        duration_sum_s=_float(message["duration_sum_s"]),
        buckets={int(index): _int(count) for index, count in buckets.items()},
    )


def _usage(message: Message) -> Usage:
    return Usage(
        queued_pairs=_int(message["queued_pairs"]),
        memory_bytes=_int(message["memory_bytes"]),
        gpu_memory_bytes=_int(message["gpu_memory_bytes"]),
    )


def _int(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise TypeError(f"{value!r} is not an integer")


def _float(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    raise TypeError(f"{value!r} is not a number")


def _texts(value: object) -> Mapping[str, str]:
    if not isinstance(value, dict):
        raise TypeError(f"{value!r} is not an object")
    return {str(key): str(text) for key, text in value.items()}
