import signal
import threading

import pytest

from tumorboard import progress
from tumorboard.errors import Interrupted

NUMBERS = [signal.SIGINT, signal.SIGTERM]


def send(number: int) -> None:
    """Call the handler, as Python does; the zygote sends real signals.

    One sent here ended the worker: pytest's faulthandler gives signals a stack of their own, and the kernel
    kills a process whose state, with the tiles of AMX after TensorFlow used them, does not fit on it.
    """
    signal.getsignal(number)(number, None)


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: number.name)
def test_first_signal_is_only_noted_and_acted_upon_at_the_safe_point(number: signal.Signals) -> None:
    with progress.graceful():
        progress.stop_if_asked()
        send(number)
        with pytest.raises(Interrupted, match=f"stopped by {number.name}; repeat the same command") as caught:
            progress.stop_if_asked()
    assert caught.value.exit_code == 128 + number


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: number.name)
def test_second_signal_stops_at_once(number: signal.Signals) -> None:
    with progress.graceful():
        send(signal.SIGINT)
        with pytest.raises(Interrupted) as caught:
            send(number)
    assert caught.value.exit_code == 128 + number


def test_handlers_are_put_back_and_the_next_run_is_not_asked_to_stop() -> None:
    before = [signal.getsignal(number) for number in NUMBERS]

    def asked_to_stop() -> None:
        send(signal.SIGTERM)
        progress.stop_if_asked()

    with pytest.raises(Interrupted), progress.graceful():
        asked_to_stop()
    assert [signal.getsignal(number) for number in NUMBERS] == before
    with progress.graceful():
        progress.stop_if_asked()


def test_off_the_main_thread_it_does_nothing() -> None:
    reached = []

    def work() -> None:
        with progress.graceful():
            reached.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert reached == [True]
