"""The header of a frame: its bits, its opcodes, and the rules on them (RFC 6455 §5.2 and §5.5).

The rules are checked in the order in which wsproto checks them.
"""

from __future__ import annotations

from typing import Final

from trio_wsclient._protocol.closing import ProtocolViolation

FIN: Final = 0x80  # in the first byte
RSV: Final = 0x70
RSV1: Final = 0x40
RSV_NAMES: Final = {RSV1: "RSV1", 0x20: "RSV2", 0x10: "RSV3"}
OPCODE: Final = 0x0F
MASKED: Final = 0x80  # in the second byte

# Opcodes of control frames; `events.Opcode` has those of data frames, which are smaller.
CLOSE: Final = 8
PING: Final = 9
PONG: Final = 10
NAMES: Final = {
    0: "CONTINUATION",
    1: "TEXT",
    2: "BINARY",
    CLOSE: "CLOSE",
    PING: "PING",
    PONG: "PONG",
}

MAX_CONTROL_SIZE: Final = 125  # bytes (RFC 6455 §5.5)
MAX_SIZE: Final = 2**63 - 1  # bytes: a longer length has its highest bit set


def check(first_byte: int, size: int, header_size: int) -> None:
    """Check what a header says, but for its reserved bits and its mask.

    Args:
        first_byte: FIN, the reserved bits and the opcode.
        size: Bytes of the payload, as declared.
        header_size: Bytes of the header without a key: 2, 4 or 10.

    Raises:
        ProtocolViolation: The header breaks a rule.
    """
    opcode = first_byte & OPCODE
    if opcode not in NAMES:
        raise ProtocolViolation(f"a frame with the reserved opcode {opcode}")
    if opcode >= CLOSE:
        if not first_byte & FIN:
            raise ProtocolViolation(f"a {NAMES[opcode]} frame without FIN, in fragments")
        if size > MAX_CONTROL_SIZE:
            raise ProtocolViolation(
                f"a {NAMES[opcode]} frame of {size} bytes: {MAX_CONTROL_SIZE} is the most"
            )
    if header_size == 4 and size < 126:
        raise ProtocolViolation(f"a length of {size} in 2 bytes, which fits in 7 bits")
    if header_size == 10 and size < 65_536:
        raise ProtocolViolation(f"a length of {size} in 8 bytes, which fits in 2 bytes")
    if size > MAX_SIZE:
        raise ProtocolViolation(f"a length of {size}, which has its highest bit set")


def check_rsv(opcode: int, unused: int) -> None:
    """Check that no reserved bit is set that is not in use; ``unused`` has those bits of RSV."""
    if unused:
        bits = " and ".join(name for bit, name in RSV_NAMES.items() if unused & bit)
        raise ProtocolViolation(f"a {NAMES[opcode]} frame with {bits}, which is not in use")


def check_mask(opcode: int, second_byte: int) -> None:
    """Check that the frame is not masked: only a client masks (RFC 6455 §5.1)."""
    if second_byte & MASKED:
        raise ProtocolViolation(f"a masked {NAMES[opcode]} frame from a server")
