"""What can go wrong between a client and the hub, to order.

A fault applies to the next `times` requests (None: until lifted) whose "path?query" (path decoded) matches its pattern
and, if given, whose listener ("hub" or "cdn") and method match. A CDN path holds no file name; its query does.

In place of the answer:
  status         code, retry_after (seconds, or an HTTP date as text), ratelimit (seconds: RateLimit says none are
                 left until then), error_code, error_message
  stall          silence; with after=N: in the body, when N bytes of it are sent. Lifting the fault lets it go on
  late           the answer, and all that is done for it, comes after some seconds
  lost_answer    what was asked is done, and RST comes in place of the answer
  reset          RST
  redirect_loop  302 to the same address
  garbage        200 with a body that is no JSON (body, content_type)
  huge           200 with JSON that does not end
In the body of a file that the hub or the CDN sends (GET only, and not used up by redirects and errors):
  cut            the connection ends after N bytes (after) of the announced length; reset=True: by RST
  slow           rate bytes per second
  wrong_bytes    the byte at offset (of the file) is flipped
  ignore_range   200 with everything although a range was asked for
  no_content_length   chunked
In the body of a request:
  slow_in        rate bytes per second are taken
  cut_in         RST when N bytes (after) of it have come
"""

from __future__ import annotations

import dataclasses
import re
import threading

IN_PLACE = ("status", "stall", "late", "lost_answer", "reset", "redirect_loop", "garbage", "huge")
IN_BODY = ("cut", "slow", "wrong_bytes", "ignore_range", "no_content_length")
IN_REQUEST = ("slow_in", "cut_in")
PIECE = 64 * 1024


@dataclasses.dataclass
class Fault:
    pattern: str
    kind: str
    times: int | None
    listener: str | None
    method: str | None
    args: dict
    lifted: threading.Event = dataclasses.field(default_factory=threading.Event)

    @property
    def where(self) -> tuple[str, ...]:
        if self.kind in IN_REQUEST:
            return IN_REQUEST
        return IN_BODY if self.kind in IN_BODY or (self.kind == "stall" and "after" in self.args) else IN_PLACE

    def matches(self, listener: str, method: str, target: str) -> bool:
        return (self.listener in (None, listener) and self.method in (None, method)
                and re.search(self.pattern, target) is not None)


class Faults:
    def __init__(self):
        self._lock = threading.Lock()
        self._armed: list[Fault] = []
        self._taken: list[Fault] = []

    def order(self, pattern: str, kind: str, times: int | None = 1, listener: str | None = None,
              method: str | None = None, **args) -> None:
        if kind not in IN_PLACE + IN_BODY + IN_REQUEST:
            raise ValueError(f"no such fault: {kind}")
        re.compile(pattern)
        with self._lock:
            self._armed.append(Fault(pattern, kind, times, listener, method, args))

    def lift(self) -> None:
        """Forgets all faults and lets what stalls go on."""
        with self._lock:
            for fault in self._armed + self._taken:
                fault.lifted.set()
            self._armed, self._taken = [], []

    def in_place(self, listener: str, method: str, target: str) -> Fault | None:
        taken = self._take(listener, method, target, IN_PLACE, most=1)
        return taken[0] if taken else None

    def in_body(self, listener: str, method: str, target: str) -> dict[str, Fault]:
        return {fault.kind: fault for fault in self._take(listener, method, target, IN_BODY)}

    def in_request(self, listener: str, method: str, target: str) -> dict[str, Fault]:
        return {fault.kind: fault for fault in self._take(listener, method, target, IN_REQUEST)}

    def _take(self, listener: str, method: str, target: str, where: tuple[str, ...], most: int | None = None) -> list[Fault]:
        with self._lock:
            taken = [f for f in self._armed if f.where == where and f.matches(listener, method, target)][:most]
            for fault in taken:
                if fault.times is not None:
                    fault.times -= 1
            self._armed = [f for f in self._armed if f.times != 0]
            self._taken += taken
        return taken


def pieces(source: str, start: int, end: int, faults: dict[str, Fault]):
    """Bytes [start, end) of a file as the faults leave them: later, changed, or fewer."""
    stop, stall, flip = end, None, None
    if "cut" in faults:
        stop = min(end, start + faults["cut"].args["after"])
    if "stall" in faults:
        stall = start + faults["stall"].args["after"]
    if "wrong_bytes" in faults:
        flip = faults["wrong_bytes"].args["offset"]
    rate = faults["slow"].args["rate"] if "slow" in faults else None
    at = start
    with open(source, "rb") as f:
        f.seek(start)
        while at < stop:
            if at == stall:
                faults["stall"].lifted.wait()
            # A stall falls between two pieces; a slow body comes in tenths of a second.
            most = min(PIECE, stop - at, stall - at if stall is not None and at < stall else PIECE,
                       max(1, rate // 10) if rate else PIECE)
            piece = bytearray(f.read(most))
            if flip is not None and at <= flip < at + len(piece):
                piece[flip - at] ^= 0xFF
            if rate:
                faults["slow"].lifted.wait(len(piece) / rate)
            yield bytes(piece)
            at += len(piece)
        if at == stall and at == stop:
            faults["stall"].lifted.wait()
