"""The stop button: each press is told once, and at no bad moment."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from ipycachechat.notebook.stopping import StopButton


@pytest.fixture(autouse=True)
def _as_in_a_cell() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def press() -> None:
    signal.raise_signal(signal.SIGINT)


def test_only_the_first_press_raises() -> None:
    with StopButton() as button:
        with pytest.raises(KeyboardInterrupt):
            press()
        press()
        assert button.pressed


def test_a_press_at_a_bad_moment_is_told_after_it() -> None:
    with StopButton() as button:
        button.heed()
        with button.held():
            press()
        with pytest.raises(KeyboardInterrupt):
            button.heed()


def test_in_a_tool_each_press_raises_and_may_be_caught() -> None:
    with StopButton() as button:
        with button.released():
            for _ in range(2):
                with pytest.raises(KeyboardInterrupt):
                    press()
        assert not button.pressed
        with pytest.raises(KeyboardInterrupt):
            press()


def test_a_press_right_after_the_end_of_what_was_stopped_means_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with StopButton():
        with pytest.raises(KeyboardInterrupt):
            press()
    press()
    monkeypatch.setattr("ipycachechat.notebook.stopping.QUIET", 0.0)
    with pytest.raises(KeyboardInterrupt):
        press()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_press_right_after_the_last_of_a_cell_is_none() -> None:
    with StopButton(last=True):
        pass
    press()
    with StopButton() as button:
        with pytest.raises(KeyboardInterrupt):
            press()
        assert button.pressed


def test_what_was_not_stopped_leaves_the_button_as_it_was() -> None:
    with StopButton():
        pass
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_of_somebody_elses_stays() -> None:
    def other(*_: object) -> None:
        pass

    signal.signal(signal.SIGINT, other)
    with StopButton():
        assert signal.getsignal(signal.SIGINT) is other
