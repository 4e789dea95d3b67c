"""The accelerator in C: it agrees with its specification, and withstands any argument."""

from __future__ import annotations

import gc
import importlib.util
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from modulefinder import ModuleFinder
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import wire
from accelerator import accelerator
from hypothesis import given, settings
from hypothesis import strategies as st

import trio_wsclient
import trio_wsclient._protocol as protocol_package
from trio_wsclient._protocol import frames_py

NO_LIMIT = 2**63 - 1
KEY = b"abcd"

needs_accelerator = pytest.mark.skipif(accelerator is None, reason="it is not built here")

# Which one is in use


def test_package_names_the_implementation_in_use():
    is_pure = accelerator is None or "TRIO_WSCLIENT_PURE" in os.environ
    assert ("python" if is_pure else "c") == trio_wsclient.IMPLEMENTATION


def imported(**variables: str) -> str:
    """Return what a fresh interpreter uses if it imports the package that is tested here.

    `pytest` tests the installed package, `python -m pytest` the one in the working folder.
    """
    command = "import sys; sys.path.insert(0, sys.argv[1]); import trio_wsclient as tested; "
    command += "print(tested.IMPLEMENTATION, tested.__file__)"
    folder = str(Path(trio_wsclient.__file__).parents[1])
    environ = {name: value for name, value in os.environ.items() if name != "TRIO_WSCLIENT_PURE"}
    done = subprocess.run(
        [sys.executable, "-P", "-c", command, folder],
        env={**environ, **variables},
        check=True,
        capture_output=True,
        text=True,
    )
    implementation, file = done.stdout.strip().split(" ", 1)
    assert file == trio_wsclient.__file__
    return implementation


@pytest.mark.slow
def test_accelerator_is_used_where_it_is_built():
    assert imported() == ("python" if accelerator is None else "c")
    assert imported(TRIO_WSCLIENT_PURE="") == imported()


@pytest.mark.slow
def test_variable_turns_the_accelerator_off():
    assert imported(TRIO_WSCLIENT_PURE="1") == "python"


@pytest.fixture
def fresh_frames(monkeypatch: pytest.MonkeyPatch) -> Callable[[object], ModuleType]:
    """Return a function that imports `frames` again, with something in place of the accelerator."""
    monkeypatch.delenv("TRIO_WSCLIENT_PURE", raising=False)

    def import_again(in_place: object) -> ModuleType:
        monkeypatch.setitem(sys.modules, "trio_wsclient._protocol.frames_c", in_place)
        monkeypatch.setattr(protocol_package, "frames_c", in_place, raising=False)
        if in_place is None:
            monkeypatch.delattr(protocol_package, "frames_c")
        spec = importlib.util.find_spec("trio_wsclient._protocol.frames")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return import_again


def test_pure_python_is_used_without_an_accelerator(fresh_frames):
    assert fresh_frames(None).IMPLEMENTATION == "python"


@pytest.mark.parametrize("interface", [{}, {"INTERFACE": 1}, {"INTERFACE": "2"}])
def test_accelerator_of_another_version_is_left_out(fresh_frames, interface: dict[str, object]):
    stale = SimpleNamespace(decode=len, decode_single=len, build=len, mask=len, **interface)
    assert fresh_frames(stale).IMPLEMENTATION == "python"


def test_accelerator_of_this_version_is_used(fresh_frames):
    fitting = SimpleNamespace(
        decode=len, decode_single=len, build=len, mask=len, INTERFACE=frames_py.INTERFACE
    )
    frames = fresh_frames(fitting)
    assert (frames.IMPLEMENTATION, frames.decode) == ("c", len)


@pytest.mark.slow
@needs_accelerator
def test_accelerator_is_named_by_an_import_statement():  # E42
    """Programs that freeze others find modules by their import statements."""
    finder = ModuleFinder(excludes=["trio", "h11", "wsproto", "idna", "truststore", "ssl"])
    finder.run_script(str(Path(protocol_package.__file__).parent / "frames.py"))
    assert "trio_wsclient._protocol.frames_c" in finder.modules


# Agreement

frames = st.one_of(
    st.builds(wire.text, st.text(max_size=40)),
    st.builds(wire.binary, st.binary(max_size=200)),
    st.builds(wire.binary, st.integers(0, 70_000).map(bytes)),
    st.builds(
        wire.frame,
        st.integers(0, 15),
        st.binary(max_size=130),
        fin=st.booleans(),
        rsv=st.integers(0, 7),
        masked=st.booleans(),
    ),
    st.builds(wire.frame, st.just(wire.TEXT), st.binary(max_size=10)),
    st.binary(max_size=12),
)


def some_message(first_byte: int, payload: bytes) -> tuple[int, bytes] | None:
    return None if len(payload) % 5 == 4 else (first_byte, payload)


@pytest.mark.slow
@needs_accelerator
@settings(deadline=None, max_examples=500)
@given(
    st.lists(frames, max_size=6).map(b"".join),
    st.integers(0, 20),
    st.integers(0, 20),
    st.sampled_from([0, 1, 100, 125, 126, 65_536, NO_LIMIT]),
    st.tuples(st.sampled_from([None, bytes.hex]), st.sampled_from([None, some_message])),
)
def test_accelerator_decodes_as_python_does(
    data: bytes, start: int, missing: int, max_size: int, makers
):
    data = data[: len(data) - missing] if missing else data
    expected = frames_py.decode(data, start, max_size, *makers)
    assert accelerator.decode(data, start, max_size, *makers) == expected


@pytest.mark.slow
@needs_accelerator
@settings(deadline=None, max_examples=500)
@given(
    frames,
    st.sampled_from([0, 0, 0, 1, 5]),
    st.sampled_from([0, 1, 100, 125, 126, 65_536, NO_LIMIT]),
    st.booleans(),
)
def test_accelerator_decodes_single_frames_as_python_does(
    data: bytes, missing: int, max_size: int, decode_text: bool
):
    data = data[: len(data) - missing]
    expected = frames_py.decode_single(data, max_size, decode_text)
    for each in (data, memoryview(data)):
        assert frames_py.decode_single(each, max_size, decode_text) == expected
        assert accelerator.decode_single(each, max_size, decode_text) == expected


@needs_accelerator
@settings(deadline=None, max_examples=300)
@given(
    st.integers(0, 255),
    st.binary(max_size=2000) | st.integers(0, 70_000).map(bytes),
    st.binary(min_size=4, max_size=4),
    st.integers(0, 500).map(lambda number: 4 * number),
    st.integers(0, 80_000),
)
def test_accelerator_builds_and_masks_as_python_does(
    first_byte: int, payload: bytes, key: bytes, start, stop
):
    expected = frames_py.build(first_byte, payload, key)
    assert accelerator.build(first_byte, payload, key) == expected
    if start <= min(stop, len(payload)):
        expected = frames_py.mask(payload, key, start, stop)
        assert accelerator.mask(payload, key, start, stop) == expected


# Arguments


class Undecided:
    """An object that is neither true nor false."""

    def __bool__(self) -> bool:
        raise ZeroDivisionError


@needs_accelerator
@pytest.mark.parametrize(
    ("function", "arguments", "error"),
    [
        ("decode", (), TypeError),
        ("decode", (b"", 0, 0), TypeError),
        ("decode", (b"", 0, 0, None, None, None), TypeError),
        ("decode", ("text", 0, 0, None, None), TypeError),
        ("decode", (None, 0, 0, None, None), TypeError),
        ("decode", (memoryview(b"abcd")[::2], 0, 0, None, None), BufferError),
        ("decode", (b"", "0", 0, None, None), TypeError),
        ("decode", (b"", 0, 0.5, None, None), TypeError),
        ("decode", (b"", -1, 0, None, None), ValueError),
        ("decode", (b"", 0, -1, None, None), ValueError),
        ("decode", (b"", 2**63, 0, None, None), OverflowError),
        ("decode", (b"", -(2**63) - 1, 0, None, None), OverflowError),
        ("decode", (b"", 0, 2**63, None, None), OverflowError),
        ("decode", (b"\x81\x01a", 0, 9, 5, None), TypeError),
        ("decode", (b"\xc1\x01a", 0, 9, None, 5), TypeError),
        ("decode", (b"\xc1\x01a", 0, 9, None, bytes.hex), TypeError),
        ("decode_single", (), TypeError),
        ("decode_single", (b"", 0), TypeError),
        ("decode_single", (b"", 0, True, None), TypeError),
        ("decode_single", ("text", 0, True), TypeError),
        ("decode_single", (b"", "0", True), TypeError),
        ("decode_single", (b"", -1, True), ValueError),
        ("decode_single", (b"", 2**63, True), OverflowError),
        ("decode_single", (b"", 0, Undecided()), ZeroDivisionError),
        ("build", (), TypeError),
        ("build", (1, b""), TypeError),
        ("build", (1, b"", KEY, 0), TypeError),
        ("build", ("1", b"", KEY), TypeError),
        ("build", (-1, b"", KEY), ValueError),
        ("build", (256, b"", KEY), ValueError),
        ("build", (2**100, b"", KEY), OverflowError),
        ("build", (1, "", KEY), TypeError),
        ("build", (1, b"", "abcd"), TypeError),
        ("build", (1, b"", b"abc"), ValueError),
        ("build", (1, b"", b"abcde"), ValueError),
        ("mask", (), TypeError),
        ("mask", (b"", KEY, 0), TypeError),
        ("mask", ("", KEY, 0, 0), TypeError),
        ("mask", (b"", None, 0, 0), TypeError),
        ("mask", (b"", b"", 0, 0), ValueError),
        ("mask", (b"abc", KEY, None, 0), TypeError),
        ("mask", (b"abc", KEY, 0, None), TypeError),
        ("mask", (b"abc", KEY, -4, 0), ValueError),
        ("mask", (b"abc", KEY, 0, -1), ValueError),
        ("mask", (b"abc", KEY, 2, 1), ValueError),
        ("mask", (b"abc", KEY, 4, 8), ValueError),
        ("mask", (b"abc", KEY, 2**63, 2**63), OverflowError),
    ],
)
def test_accelerator_checks_its_arguments(function: str, arguments: tuple, error: type[Exception]):
    with pytest.raises(error):
        getattr(accelerator, function)(*arguments)


@needs_accelerator
@pytest.mark.parametrize("start", [1, 2, 2**63 - 1])
def test_decode_finds_nothing_after_the_input(start: int):
    assert accelerator.decode(b"\x82", start, NO_LIMIT, None, None) == ([], start, 0)


@needs_accelerator
def test_callback_may_raise_and_touch_the_input():
    data = bytearray(wire.text("a") + wire.text("b"))

    def make_text(payload: bytes) -> bytes:
        with pytest.raises(BufferError):
            data.clear()  # It is in use.
        if payload == b"b":
            raise ZeroDivisionError
        return payload

    with pytest.raises(ZeroDivisionError):
        accelerator.decode(data, 0, NO_LIMIT, make_text, None)
    data.clear()


@needs_accelerator
def test_accelerator_leaks_nothing():
    payload, key, failing = b"\xff" * 1000, bytes(bytearray(KEY)), "no buffer"
    data = wire.text("text") + wire.binary(payload) + wire.frame(wire.TEXT, payload, rsv=4)
    data += wire.frame(wire.BINARY, payload, rsv=4)
    undecodable = wire.text("text") + wire.frame(wire.TEXT, payload)

    def make_text(payload: bytes) -> bytes:
        if len(payload) > 10:
            raise ZeroDivisionError
        return payload

    def inflate(first_byte: int, payload: bytes) -> bytes | None:
        return None if first_byte == 0x82 else payload * 2

    def call_all():
        accelerator.decode(data, 0, NO_LIMIT, None, inflate)
        accelerator.decode(undecodable, 0, NO_LIMIT, None, inflate)
        accelerator.mask(payload, key, 0, 1000)
        for single in (wire.text("text"), wire.binary(payload), wire.frame(wire.TEXT, payload)):
            accelerator.decode_single(single, NO_LIMIT, True)
        accelerator.build(1, payload, key)
        for function, arguments in (
            ("decode", (undecodable, 0, NO_LIMIT, make_text, inflate)),
            ("decode_single", (data, NO_LIMIT, failing)),
            ("decode_single", (data, -1, True)),
            ("build", (1, payload, failing)),
            ("build", (1, payload, b"abc")),
            ("mask", (payload, failing, 0, 0)),
            ("mask", (payload, key, 2, 1)),
        ):
            with suppress(TypeError, ValueError, ZeroDivisionError):
                getattr(accelerator, function)(*arguments)

    watched = (payload, key, failing, data, undecodable, make_text, inflate)
    call_all()
    counts = [sys.getrefcount(each) for each in watched]
    tracemalloc.start()
    try:
        call_all()
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(300):
            call_all()
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 20_000, "of 300 calls, each of which makes objects of 1,000 bytes"
    assert [sys.getrefcount(each) for each in watched] == counts
