"""A minimal DNS server on 127.0.0.1 that can fail, time out and change its answers.

It answers A queries for configured names (RFC 1035, section 4) and NXDOMAIN for all others. The
host's resolver asks port 53 of the servers in resolv.conf, which needs root to change; a probe that
is to use this server has its resolver patched with `query`.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from enum import Enum
from typing import Any, Final

_HEADER: Final = struct.Struct("!6H")
_QUESTION_END: Final = struct.Struct("!2H")
_ANSWER: Final = struct.Struct("!3HIH4s")
_TYPE_A: Final = 1
_CLASS_IN: Final = 1
_NAME_AT_12: Final = 0xC00C  # a pointer to the name of the question
_RESPONSE: Final = 0x8180
_RECURSION_DESIRED: Final = 0x0100
_CODE: Final = 0x000F
SERVFAIL: Final = 2
NXDOMAIN: Final = 3
QUERY_TIMEOUT_SEC: Final = 2.0


class Silence(Enum):
    """No answer at all."""

    SILENT = "silent"


class DnsServer(asyncio.DatagramProtocol):
    """Answers that can be changed at any time.

    Attributes:
        answers: for each name an IPv4 address, a DNS error code, or no answer.
        queries: number of queries received.
    """

    def __init__(self) -> None:
        self.answers: dict[str, str | int | Silence] = {}
        self.queries = 0
        self.port = 0

    async def start(self) -> None:
        """Listen on a free UDP port of 127.0.0.1."""
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(
            lambda: self, local_addr=("127.0.0.1", 0)
        )
        self._transport = transport
        self.port = int(transport.get_extra_info("sockname")[1])

    def stop(self) -> None:
        """Release the port."""
        self._transport.close()

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        """Answer a query."""
        self.queries += 1
        name, end = read_name(data)
        question = data[_HEADER.size : end + _QUESTION_END.size]
        number = struct.unpack_from("!H", data)[0]
        answer = self.answers.get(name, NXDOMAIN)
        if answer is Silence.SILENT:
            return
        if isinstance(answer, int):
            reply = _HEADER.pack(number, _RESPONSE | answer, 1, 0, 0, 0) + question
        else:
            record = _ANSWER.pack(
                _NAME_AT_12, _TYPE_A, _CLASS_IN, 0, 4, socket.inet_aton(str(answer))
            )
            reply = _HEADER.pack(number, _RESPONSE, 1, 1, 0, 0) + question + record
        self._transport.sendto(reply, addr)


def query(name: str, port: int, timeout_sec: float = QUERY_TIMEOUT_SEC) -> str:
    """Ask the server on a port of 127.0.0.1 for a name's address. Blocks.

    Raises:
        socket.gaierror: unknown name, failure or timeout, as `getaddrinfo` raises it.
    """
    number = random.getrandbits(16)
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    message = _HEADER.pack(number, _RECURSION_DESIRED, 1, 0, 0, 0) + labels + b"\0"
    message += _QUESTION_END.pack(_TYPE_A, _CLASS_IN)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(timeout_sec)
        sock.connect(("127.0.0.1", port))
        sock.send(message)
        try:
            reply = sock.recv(512)
        except OSError as error:
            raise socket.gaierror(
                socket.EAI_AGAIN, "Temporary failure in name resolution"
            ) from error
    code = struct.unpack_from("!H", reply, 2)[0] & _CODE
    if code == NXDOMAIN:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    if code:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
    return socket.inet_ntoa(reply[-4:])


def read_name(message: bytes) -> tuple[str, int]:
    """The name of a message's question, and where it ends."""
    labels, position = [], _HEADER.size
    while length := message[position]:
        labels.append(message[position + 1 : position + 1 + length].decode("ascii"))
        position += 1 + length
    return ".".join(labels).lower(), position + 1
