"""Close frames as data: what may be sent, and how one is shown (RFC 6455 §5.5.1 and §7.4)."""

from __future__ import annotations

import enum
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_wsclient import CloseFrame
from trio_wsclient._protocol.closing import check_close, close_for


@pytest.mark.parametrize(
    ("frame", "shown"),
    [
        (CloseFrame(1000), "1000 (normal closure)"),
        (CloseFrame(1005), "1005 (no status code)"),
        (CloseFrame(1006), "1006 (abnormal closure)"),
        (CloseFrame(1011, "shard gone"), '1011 (internal error) "shard gone"'),
        (CloseFrame(1014), "1014 (bad gateway)"),
        (CloseFrame(4000), "4000"),
        (CloseFrame(3999, "bye"), '3999 "bye"'),
        (CloseFrame(1000, "a\r\nb\x1b[2Jc\u2028"), r'1000 (normal closure) "a\r\nb\x1b[2Jc\u2028"'),
    ],
)
def test_close_frame_is_shown_in_one_line(frame: CloseFrame, shown: str):
    assert str(frame) == shown


def test_close_frame_is_frozen_comparable_and_picklable():
    frame = CloseFrame(1000, "bye")
    with pytest.raises(AttributeError):
        frame.code = 1001
    assert frame == CloseFrame(1000, "bye") != CloseFrame(1000)
    assert pickle.loads(pickle.dumps(frame)) == frame


@pytest.mark.parametrize("code", [*range(1000, 1004), *range(1007, 1015), 3000, 3999, 4000, 4999])
def test_registered_or_application_code_may_be_sent(code: int):
    assert check_close(code, "") is None


@pytest.mark.parametrize("code", [1004, 1005, 1006, 1015])
def test_code_never_on_the_wire_is_refused(code: int):
    with pytest.raises(ValueError, match=f"close code {code} can't be sent"):
        check_close(code, "")


@pytest.mark.parametrize("code", [-1, 0, 1, 999, 1016, 1999, 2000, 2999, 5000, 65535, 65536])
def test_unregistered_code_is_refused(code: int):
    with pytest.raises(ValueError, match=f"close code {code} can't be sent"):
        check_close(code, "")


@pytest.mark.parametrize("code", [None, "1000", 1000.0, True, b"\x03\xe8"])
def test_code_has_to_be_an_int(code: object):
    with pytest.raises(TypeError, match=f"a close code is an int, not {type(code).__name__}$"):
        check_close(code, "")


def test_code_may_be_a_member_of_an_enum():
    class Code(enum.IntEnum):
        SHARD_GONE = 4001

    assert check_close(Code.SHARD_GONE, "") is None


@pytest.mark.parametrize("reason", [None, b"bye", 1])
def test_reason_has_to_be_a_str(reason: object):
    with pytest.raises(TypeError, match=f"a close reason is a str, not {type(reason).__name__}$"):
        check_close(1000, reason)


@pytest.mark.parametrize("reason", ["a" * 123, "ä" * 61 + "a"])
def test_reason_of_123_bytes_may_be_sent(reason: str):
    assert check_close(1000, reason) is None


@pytest.mark.parametrize("reason", ["a" * 124, "ä" * 62])
def test_reason_of_124_bytes_is_refused(reason: str):
    with pytest.raises(ValueError, match="at most 123 bytes, not 124"):
        check_close(1000, reason)


def test_reason_with_a_lone_surrogate_is_refused():
    with pytest.raises(ValueError, match="surrogates not allowed"):
        check_close(1000, "\ud800")


def test_reason_of_an_error_is_its_text():
    assert close_for(OSError("ä" * 61), 1011) == CloseFrame(1011, "ä" * 61)


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200))
def test_error_reason_is_cut_between_code_points(text: str):
    reason = close_for(OSError(text), 1011).reason
    assert text.startswith(reason)
    assert check_close(1000, reason) is None
    if reason != text:
        following = text[len(reason)]
        assert len((reason + following).encode()) > 123


class Unshowable(Exception):
    """An exception that has no text: `str` of it raises."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError(), "ValueError"),
        (Unshowable(), "Unshowable"),
        (ValueError("\ud800"), "\\ud800"),
    ],
)
def test_error_without_text_has_its_class_as_reason(error: Exception, reason: str):
    assert close_for(error, 1011) == CloseFrame(1011, reason)
