from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from opambin.interrupts import Terminated, held_back, raise_on_termination

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_termination_raises_and_what_is_ignored_stays_so() -> None:
    raise_on_termination()
    os.kill(os.getpid(), signal.SIGHUP)
    with pytest.raises(Terminated) as caught:
        os.kill(os.getpid(), signal.SIGTERM)
    assert caught.value.number == signal.SIGTERM


@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)]
)
def test_a_signal_counts_when_the_work_is_done(number: int, error: type[BaseException]) -> None:
    raise_on_termination()
    done = []
    with pytest.raises(error), held_back():
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)
        done.append("all")
    assert done == ["all"]
    with held_back():
        pass
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
