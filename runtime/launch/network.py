"""Addresses and ports of this machine."""

import socket

from fsft.recipes.problems import Problem


def free_port() -> int:
    """A port that nothing listens on at this moment."""
    with socket.socket() as listener:
        listener.bind(("", 0))
        port: int = listener.getsockname()[1]
        return port


def port_problem(port: int) -> Problem | None:
    """Why this machine cannot listen on `port`; None when it can."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("", port))
        except OSError as error:
            return Problem(
                file=f"port {port}",
                reason=f"cannot be listened on: {error.strerror}.",
                example=f"stop what holds it, or take another, as in {port + 1}",
            )
    return None


def is_this_machine(host: str) -> bool:
    """Whether a host name is one of this machine's; False where it is not known."""
    try:
        found = {info[4][0] for info in socket.getaddrinfo(host, None)}
    except OSError:
        return False
    return bool(found & set(_interfaces()))


def interface_towards(host: str) -> str | None:
    """The network interface by which `host` is reached; None where there is no way.

    gloo would take the one that this machine's own name stands for, which is often 127.0.1.1.
    """
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            # Nothing is sent: the kernel only chooses a route.
            probe.connect((host, 9))
            address = probe.getsockname()[0]
    except OSError:
        return None
    return _interfaces().get(address)


def _interfaces() -> dict[str, str]:
    """Interface names by address."""
    import psutil

    return {
        entry.address.partition("%")[0]: name
        for name, entries in psutil.net_if_addrs().items()
        for entry in entries
    }
