"""What fuzzing begins with: the bytes of the tables, and what earlier runs have found to keep.

The latter is in ``corpus/``, a file for a target, with an input in hex a line.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import deflate_tables
import handshake_tables
import protocol_tables
import wire

CORPUS = Path(__file__).parent / "corpus"
_MAX_SIZE = 2048  # bytes of a seed


def from_tables(target: str) -> Iterator[bytes]:
    """Make seeds of the tables of the tests."""
    if target == "frames":
        for table in (protocol_tables.CONVERSATIONS, protocol_tables.VIOLATIONS):
            yield from (b"\x06\0\0\0\0" + data for data, _ in table.values())
        for table in (deflate_tables.CONVERSATIONS, deflate_tables.VIOLATIONS):
            yield from (b"\x06\0\1\0\0" + entry[0] for entry in table.values())
    elif target == "messages":
        for data, _ in deflate_tables.NOT_DEFLATE.values():
            yield b"\xff\0\0\0" + bytes([len(data)]) + data + b"\1"
        for payload in (deflate_tables.HELLO, deflate_tables.FINAL, deflate_tables.TWO_BLOCKS):
            yield (b"\xff\0\0" + b"\0" + bytes([len(payload)]) + payload + b"\1") * 2
    elif target == "handshake":
        for answer in handshake_tables.ACCEPTING.values():
            yield b"\xff\1\1" + answer + wire.text("Hello")
        for entry in (*handshake_tables.NOT_101.values(), *handshake_tables.REJECTIONS.values()):
            yield b"\xff\1\1" + entry[0]
        yield from (b"\xff\1\1" + answer for answer in handshake_tables.JUNK.values())
        for parameters in ("", "; server_max_window_bits=9; client_no_context_takeover"):
            value = f"Sec-WebSocket-Extensions: permessage-deflate{parameters}"
            yield b"\xff\1\1" + handshake_tables.switching(value, "Sec-WebSocket-Protocol: chat")
    elif target == "socks":
        yield b"\0\5\0\5\0\0\1\x7f\0\0\1\0\x50data"
        yield b"\1\5\2\1\0\5\0\0\3\4host\0\x50"
        yield b"\0\5\xff"
    else:
        yield b"\xffHTTP/1.1 200 Connection established\r\n\r\ndata"
        yield b"\xffHTTP/1.1 407 Who\r\nContent-Length: 2\r\n\r\nno"
        for entry in handshake_tables.REJECTIONS.values():
            yield b"\xff" + entry[0]


def from_corpus(target: str) -> list[bytes]:
    """Read what earlier runs have found."""
    file = CORPUS / f"{target}.txt"
    return [bytes.fromhex(line) for line in file.read_text().splitlines()] if file.exists() else []


def write(target: str, folder: Path) -> None:
    """Write all seeds of a target, each to a file of its own."""
    seeds = {*from_tables(target), *from_corpus(target)}
    for number, seed in enumerate(sorted(seeds)):
        if len(seed) <= _MAX_SIZE:
            (folder / f"seed-{number}").write_bytes(seed)


def keep(target: str, folder: Path, most: int) -> None:
    """Keep the shortest inputs that a fuzzer has added to a folder as the corpus of a target."""
    found = {file.read_bytes() for file in folder.iterdir()} - {*from_tables(target)}
    shortest = sorted(found, key=lambda data: (len(data), data))[:most]
    CORPUS.mkdir(exist_ok=True)
    (CORPUS / f"{target}.txt").write_text("".join(f"{data.hex()}\n" for data in shortest))
