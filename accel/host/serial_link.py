"""The host's end of the link: requests that are sent again until they are answered."""

import random
from collections.abc import Iterator

from accel.errors import DeviceError
from accel.host.serial_packets import Answer, PacketReader, Request
from accel.host.serial_transport import Transport
from accel.protocol import MAX_WORDS, PROTOCOL_VERSION, Command, Greeting, LinkStatus

__all__ = ["PATIENCE", "SerialLink", "payload_words"]

PATIENCE = (1, 1, 2, 4, 8, 8)
"""How long each attempt waits for an answer, relative to the first one."""

LATENCY_SECONDS = 0.06
"""What adapters, drivers and the other end's scheduling take, besides the time on the line."""

PACKET_SECONDS = 0.025
"""A packet shall be no longer on the line, at rates that allow it."""

SHORTEST_PAYLOAD_WORDS = 64

OVERHEAD_BYTES = 2 * (14 + 6)
"""Of request and answer, without payload; a few of them escaped."""

_ADVICE = {
    LinkStatus.SUBORDINATE_ERROR: "the bus answers with an error (SLVERR)",
    LinkStatus.DECODE_ERROR: "there is nothing at that address (DECERR)",
    LinkStatus.MALFORMED: "the board does not know this request: build it with this version",
    LinkStatus.NO_ANSWER: "the board's bus does not answer: load the bitstream again",
    LinkStatus.NO_SESSION: "the board was reset meanwhile: run it again",
}


def payload_words(baud: int) -> int:
    """Return the words of the longest payload that is a good idea at this rate."""
    words = int(PACKET_SECONDS * baud / 10 / 4)
    return min(max(words, SHORTEST_PAYLOAD_WORDS), MAX_WORDS)


class SerialLink:
    """A session with a board: one request at a time.

    A request without an answer is sent again, after `LATENCY_SECONDS`, twice the time that both
    packets are on the line, and what the board may take; later ones wait longer (`PATIENCE`). The
    board does a write once however often it arrives.

    Parameters
    ----------
    transport : Transport
        An open line; `close` closes it.
    name : str
        What error messages call the board.
    baud : int
        Bits per second that the line carries. A simulated board is slower than it believes: for it
        this is the real rate, and every wait is that much longer.
    seed : int, optional
        Of where sequence numbers begin: random by default.

    Members
    -------
    greeting : Greeting
        What the board said.
    repeats : int
        Requests that were sent again.

    Raises
    ------
    DeviceError
        When no board answers, or it speaks another version of the protocol.
    """

    def __init__(
        self, transport: Transport, *, name: str, baud: int, seed: int | None = None
    ) -> None:
        if baud < 1:
            raise DeviceError(f"{name}: the baud rate must be at least 1, not {baud}")
        self.name = name
        self.repeats = 0
        self._transport = transport
        self._baud = baud
        self._reader = PacketReader()
        self._random = random.Random(seed)
        self._sequence = self._random.randrange(256)
        self.greeting = self._greet()

    @property
    def payload_words(self) -> int:
        """Words of the longest payload that is a good idea here."""
        return payload_words(self._baud)

    def exchange(
        self,
        command: Command,
        address: int = 0,
        *,
        words: int = 1,
        payload: bytes = b"",
        strobes: int = 0xFF,
    ) -> Answer:
        """Return the answer to a request.

        Raises
        ------
        DeviceError
            When there is none, or it is an error.
        """
        self._sequence = (self._sequence + 1) % 256
        request = Request(
            sequence=self._sequence,
            command=command,
            address=address,
            words=words,
            payload=payload,
            strobes=strobes,
        )
        answer = self._insist(request)
        if answer is None:
            raise DeviceError(
                f"{self.name}: the board stopped answering ({command.name}, {len(PATIENCE)} attempts): "
                "look at cable and power, and run it again"
            )
        if answer.status not in (LinkStatus.OK, LinkStatus.PENDING):
            raise self._refusal(request, answer)
        return answer

    def close(self) -> None:
        """Close the line."""
        self._transport.close()

    def _greet(self) -> Greeting:
        """Begin a session.

        Every greeting bears another number, so that the answer to one of an earlier session, or to
        an earlier attempt, is not taken for this one's.
        """
        fields = len(Greeting.__dataclass_fields__)
        self._reader.clear()
        for patience in self._patience(OVERHEAD_BYTES + 4 * fields, 0.0):
            self._sequence = (self._sequence + 1) % 256
            request = Request(
                sequence=self._sequence,
                command=Command.HELLO,
                address=self._random.randrange(1 << 32),
            )
            answer = self._attempt(request, patience)
            if answer is None:
                continue
            values = [
                int.from_bytes(answer.payload[n : n + 4], "little")
                for n in range(0, len(answer.payload), 4)
            ]
            if values[:1] != [PROTOCOL_VERSION] or len(values) != fields:
                version = values[0] if values else "?"
                raise DeviceError(
                    f"{self.name}: the board speaks version {version} of the link's protocol, "
                    f"this software {PROTOCOL_VERSION}: build and flash it with this version"
                )
            return Greeting(**dict(zip(Greeting.__dataclass_fields__, values, strict=True)))
        raise DeviceError(
            f"{self.name}: no answer at {self._baud} baud: is this the board's port, is it flashed "
            "(accel flash), and was it built for this rate?"
        )

    def _insist(self, request: Request) -> Answer | None:
        """Send a request until it is answered, as often as `PATIENCE` says."""
        length = OVERHEAD_BYTES + len(request.payload) + 4 * request.words
        # The board takes as long where its bus does not answer. Its clock is what the line says: a
        # simulated one's is far from what it believes.
        bits = self.greeting.patience / self.greeting.bit_cycles
        for number, patience in enumerate(self._patience(length, bits)):
            self.repeats += number > 0
            answer = self._attempt(request, patience)
            if answer is not None:
                return answer
        return None

    def _patience(self, length: int, bits: float) -> Iterator[float]:
        """Return how long to wait for an answer each time.

        Parameters
        ----------
        length : int
            Bytes of request and answer.
        bits : float
            On the line, in the time that the board may take.
        """
        on_line = 10 * length / self._baud
        seconds = LATENCY_SECONDS + 2 * on_line + bits / self._baud
        return (seconds * factor for factor in PATIENCE)

    def _attempt(self, request: Request, patience: float) -> Answer | None:
        """Send a request once; return its answer, or None when none came in time."""
        self._transport.write(request.to_bytes())
        end = self._transport.now() + patience
        while (left := end - self._transport.now()) > 0:
            for packet in self._reader.feed(self._transport.read(left)):
                answer = Answer.from_packet(packet)
                if answer is not None and self._fits(request, answer):
                    return answer
        return None

    @staticmethod
    def _fits(request: Request, answer: Answer) -> bool:
        """Return whether an answer is this request's, and as long as it should be."""
        if (answer.sequence, answer.command) != (request.sequence, request.command):
            return False
        if request.command == Command.HELLO:
            return answer.address == request.address
        reads = request.command & Command.READ_MEMORY and answer.status == LinkStatus.OK
        return len(answer.payload) == (4 * request.words if reads else 0)

    def _refusal(self, request: Request, answer: Answer) -> DeviceError:
        known = answer.status in _ADVICE
        reason = _ADVICE[LinkStatus(answer.status)] if known else f"error {answer.status}"
        return DeviceError(f"{self.name}: {request.command.name} at {answer.address:#x}: {reason}")
