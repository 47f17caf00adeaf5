"""A mail server that takes all that comes (RFC 5321) and counts it: the peer of `benchmarks.mail`."""

import asyncio
import sys
from typing import Final

_REPLIES: Final = {
    b"EHLO": b"250-sink\r\n250-PIPELINING\r\n250 8BITMIME\r\n",
    b"DATA": b"354 go on\r\n",
    b"QUIT": b"221 bye\r\n",
}


class Sink:
    """Counts letters; what is printed at the end is how many."""

    taken = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take one letter after another until the client leaves."""
        writer.write(b"220 sink\r\n")
        while line := await reader.readline():
            verb = line[:4].upper()
            writer.write(_REPLIES.get(verb, b"250 ok\r\n"))
            if verb == b"DATA":
                await writer.drain()
                await reader.readuntil(b"\r\n.\r\n")
                self.taken += 1
                writer.write(b"250 taken\r\n")
            if verb == b"QUIT":
                break
        writer.close()


async def main() -> None:
    """Serve on a free port, which is printed, until standard input ends."""
    sink = Sink()
    server = await asyncio.start_server(sink.serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    print(sink.taken, flush=True)


if __name__ == "__main__":
    asyncio.run(main())
