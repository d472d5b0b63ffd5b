"""A loopback of one's own, so that its counters hold nobody else's bytes and nothing can leave. Linux, and root."""

import ctypes
import fcntl
import socket
import struct

_CLONE_NEWNET = 0x40000000
_SIOCSIFFLAGS = 0x8914
_IFF_UP, _IFF_RUNNING = 0x1, 0x40


def isolate() -> bool:
    """Moves this process, and all that it starts from now on, into a network that has nothing but loopback.

    Returns:
        Whether that was allowed; else bytes are counted on the machine's loopback, whoever sends them.
    """
    unshare = getattr(ctypes.CDLL(None, use_errno=True), "unshare", None)
    if unshare is None or unshare(_CLONE_NEWNET) != 0:
        return False
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP | _IFF_RUNNING))
    return True
