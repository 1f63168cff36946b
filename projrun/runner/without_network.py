"""A program that runs a command without a network: python -I without_network.py COMMAND…

The command gets a network namespace that has only a loopback device. If the run has a tracking endpoint
(PROJRUN_ENDPOINT), a relay listens on its address there, so that the command can log as usual: a process
outside of the namespace passes the relay's connections on to the endpoint, and to nothing else.

A socket belongs to the namespace in which it was made, whoever holds it. So the relay's socket is made inside
and handed to the process outside. Exit code 125: this machine does not allow a network namespace.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import socket
import struct
import sys
import threading
from urllib.parse import urlsplit

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
ENDPOINT = "PROJRUN_ENDPOINT"


def main(command: list[str]) -> None:
    address = urlsplit(os.environ.get(ENDPOINT, ""))
    ours, relays = socket.socketpair()
    if address.port:
        between = os.fork()
        if not between:
            ours.close()
            _become_relay(relays, address.hostname or "", address.port)
        os.waitpid(between, 0)
    relays.close()
    try:
        _leave_the_network()
        if address.port:
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listening:
                listening.bind((address.hostname or "", address.port))
                listening.listen(128)
                socket.send_fds(ours, [b"x"], [listening.fileno()])
    except OSError as error:
        print(f"the network cannot be taken away: {error.strerror}", file=sys.stderr)
        sys.exit(125)
    ours.close()
    os.execvp(command[0], command)  # noqa: S606


def _leave_the_network() -> None:
    """Enter an empty network namespace. Without root this needs a user namespace with the same ids."""
    user, group = os.getuid(), os.getgid()
    flags = CLONE_NEWNET if user == 0 else CLONE_NEWNET | CLONE_NEWUSER
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    if flags & CLONE_NEWUSER:
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{user} {user} 1"),
            ("gid_map", f"{group} {group} 1"),
        ):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sH14x", b"lo", 0)
        state = struct.unpack("16sH14x", fcntl.ioctl(any_socket, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", state | IFF_UP))


def _become_relay(relays: socket.socket, host: str, port: int) -> None:
    """Serve as the relay until the run ends."""
    try:
        # A grandchild belongs to init: the command must not have a child that it did not start
        if os.fork():
            os._exit(0)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for number in range(3):
            os.dup2(nowhere, number)
        descriptors = socket.recv_fds(relays, 1, 1)[1]
        relays.close()
        if descriptors:
            _relay(socket.socket(fileno=descriptors[0]), host, port)
    finally:
        os._exit(0)


def _relay(listening: socket.socket, host: str, port: int) -> None:
    while True:
        inside = listening.accept()[0]
        try:
            outside = socket.create_connection((host, port))
        except OSError:
            inside.close()
            continue
        for source, target in ((inside, outside), (outside, inside)):
            threading.Thread(target=_copy, args=(source, target), daemon=True).start()


def _copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while part := source.recv(1 << 16):
            target.sendall(part)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


if __name__ == "__main__":
    main(sys.argv[1:])
