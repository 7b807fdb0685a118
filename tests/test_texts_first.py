"""No evidence is sent while somebody waits for his text; and none waits for ever. The crowd: `python -m bench load`."""

import asyncio
import threading
import time

import pytest

from qa_service import texts_first
from qa_service.texts_first import TextsFirst


def in_a_loop(coroutine) -> None:
    """In a thread of its own: a test before this one may have left a loop running in ours."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(coroutine)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(30)
    assert not failed, failed


def test_evidence_stands_back_until_the_last_text_is_there():
    async def crowd() -> None:
        order = TextsFirst()
        with order.coming():
            with order.coming():
                evidence = asyncio.ensure_future(order.stand_back())
                await asyncio.sleep(0.2)
                assert not evidence.done()
            await asyncio.sleep(0.1)
            assert not evidence.done()
        await asyncio.wait_for(evidence, 0.5)

    in_a_loop(crowd())


def test_questions_that_never_cease_hold_nothing_up(monkeypatch):
    monkeypatch.setattr(texts_first, "_PATIENCE", 0.3)

    async def crowd() -> None:
        order = TextsFirst()
        began = time.monotonic()
        with order.coming():
            await order.stand_back()
        assert 0.2 < time.monotonic() - began < 5

    in_a_loop(crowd())


def test_a_text_that_failed_is_waited_for_no_longer():
    """And where nobody asks nobody waits."""

    async def alone() -> None:
        order = TextsFirst()
        with pytest.raises(ValueError, match="no text"), order.coming():
            raise ValueError("no text")
        began = time.monotonic()
        await order.stand_back()
        assert time.monotonic() - began < 0.3

    in_a_loop(alone())
