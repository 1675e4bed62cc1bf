import inspect
import re

import pytest

from tumorboard import errors
from tumorboard.errors import (
    DataError,
    Interrupted,
    TumorboardError,
    display,
    file_line,
    for_terminal,
)

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, TumorboardError)]


def test_every_kind_has_an_exit_code_of_its_own_as_documented() -> None:
    codes = {kind.__name__: kind.exit_code for kind in KINDS}
    assert len(set(codes.values())) == len(KINDS)
    documented = {name: int(code) for name, code in re.findall(r"(\w+) {2,}(\d+)", errors.__doc__ or "")}
    assert codes == documented


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_message_is_one_line_of_at_most_300_characters(kind: type[TumorboardError]) -> None:
    assert str(kind("a\nb\r\nc\u2028d")) == "a b c d"
    assert len(str(kind("x" * 5000))) == 300
    assert str(kind("x" * 300)) == "x" * 300


def test_what_steers_a_terminal_is_shown_as_its_code() -> None:
    assert for_terminal("a\x1b[31mb\rc\u202ed\x85") == r"a\x1b[31mb\rc\u202ed\x85"
    for harmless in ("line\n\ttab", "é 漢 \u3000 \U0001f469\u200d\U0001f52c", '{"a": "\\u001b"}'):
        assert for_terminal(harmless) == harmless


def test_a_long_path_keeps_its_beginning_and_its_end_and_is_whole_in_a_list() -> None:
    path = f"/archive/{'x' * 300}/slice.png"
    assert len(display(path)) == 100
    assert display(path).startswith("/archive/xxx")
    assert display(path).endswith("xxx/slice.png")
    error = DataError(f"{display(path)}: expected an image, found none; remove it")
    assert file_line(path, error) == f"{path}: expected an image, found none; remove it"
    assert file_line("other.png", error) == str(error)


def test_details_are_kept_apart() -> None:
    assert TumorboardError("one", ["two", "three"]).details == ("two", "three")


@pytest.mark.parametrize(("number", "code"), [(2, 130), (15, 143)])
def test_interruption_ends_with_128_and_the_signal(number: int, code: int) -> None:
    assert Interrupted("stopped", number).exit_code == code
