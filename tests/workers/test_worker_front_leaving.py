"""Clients that leave, and a front that does."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from rerank_workers.exchange import Answer
from tests.workers.stage import DEADLINE_S, GET, POST, Stage, play


def test_a_client_that_leaves_before_its_answer_is_told_of(short_dir: Path) -> None:
    async def scene(stage: Stage) -> None:
        wire = await stage.connect()
        await wire.send(POST)
        await stage.echo.until(lambda: bool(stage.echo.waiting))
        wire.channel.close()
        await stage.echo.until(lambda: bool(stage.echo.gone))
        assert stage.echo.gone == [stage.echo.waiting[0][0]]
        stage.echo.answer_all()

    play(short_dir, scene)


def test_a_client_that_leaves_after_its_answer_is_no_news(short_dir: Path) -> None:
    async def scene(stage: Stage) -> None:
        wire = await stage.connect()
        await wire.send(GET)
        await wire.receive()
        wire.channel.close()
        other = await stage.connect()
        await other.send(GET)
        await other.receive()
        assert stage.echo.gone == []

    play(short_dir, scene)


def test_an_idle_connection_is_let_go(short_dir: Path) -> None:
    async def scene(stage: Stage) -> None:
        wire = await stage.connect()
        await wire.send(GET)
        await wire.receive()
        stage.front.release()
        assert await wire.receive() == b""

    play(short_dir, scene)


def test_a_request_on_its_way_while_its_connection_is_let_go_is_answered(short_dir: Path) -> None:
    async def scene(stage: Stage) -> None:
        wire = await stage.connect()
        await wire.send(GET)
        await wire.receive()
        wire.channel.send(GET)
        stage.front.release()
        with pytest.raises(BrokenPipeError):
            wire.channel.send(GET)
        answer = await wire.receive_all()
        assert answer.count(b"HTTP/1.1 200") == 1
        assert b"connection: close" in answer

    play(short_dir, scene)


def test_a_busy_connection_is_let_go_after_its_answer(short_dir: Path) -> None:
    async def scene(stage: Stage) -> None:
        wire = await stage.connect()
        await wire.send(POST)
        await stage.echo.until(lambda: bool(stage.echo.waiting))
        stage.front.release()
        stage.echo.answer_all()
        assert b"connection: close" in await wire.receive_all()

    play(short_dir, scene)


def test_a_new_connection_while_leaving_gets_one_answer(short_dir: Path) -> None:
    async def scene(stage: Stage) -> None:
        stage.front.release()
        wire = await stage.connect()
        await wire.send(GET)
        assert b"connection: close" in await wire.receive_all()

    play(short_dir, scene)


def test_a_long_answer_leaves_whole_before_the_front_is_closed(short_dir: Path) -> None:
    async def scene(stage: Stage) -> None:
        wire = await stage.connect()
        await wire.send(POST)
        await stage.echo.until(lambda: bool(stage.echo.waiting))
        stage.front.release()
        stage.echo.waiting[0][0].answer(Answer(200, b"x" * (4 << 20)))
        closing = asyncio.create_task(stage.front.close(DEADLINE_S))
        answer = await wire.receive_all()
        await closing
        assert answer.endswith(b"\r\n\r\n" + b"x" * (4 << 20))

    play(short_dir, scene)


def test_a_client_that_does_not_read_cannot_hold_the_front(short_dir: Path) -> None:
    async def scene(stage: Stage) -> None:
        wire = await stage.connect()
        await wire.send(POST)
        await stage.echo.until(lambda: bool(stage.echo.waiting))
        stage.front.release()
        stage.echo.waiting[0][0].answer(Answer(200, b"x" * (4 << 20)))
        await stage.front.close(0.01)

    play(short_dir, scene)
