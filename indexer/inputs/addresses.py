"""Which addresses may be fetched from: the guard against requests into the local network.

A URL in a table, or from another user, may name a machine that only this one can reach: itself,
its neighbours, the metadata service of its cloud. `vetted` parses a URL,
resolves the name once, and refuses it unless every address it resolves to is a public one. The
caller connects to one of these addresses, not to the name, so that a name which answers
differently the second time (DNS rebinding) gains nothing.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import unicodedata
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from mmsearch.errors import MediaError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Sequence[str]]
"""Name and port to addresses in text; raises OSError if there are none."""

PORTS = {"http": 80, "https": 443}
MAX_URL = 8000
DNS_SECONDS = 10.0

_V4 = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carriers' NAT; Alibaba's metadata service
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # Azure's host, from any of its machines
        "169.254.0.0/16",  # link-local; most metadata services
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments; Oracle's metadata service
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
# Of IPv6 only global unicast is let through at all, and of that not these.
_V6_GLOBAL = ipaddress.IPv6Network("2000::/3")
_V6 = tuple(
    ipaddress.IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments, Teredo among them
        "2001:db8::/32",  # documentation
        "3fff::/20",  # documentation
    )
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_ISATAP = (0x00005EFE, 0x02005EFE)

_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
# As browsers do: a name whose last label is a number is meant as an IPv4 address.
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_QUAD = re.compile(r"(0|[1-9][0-9]{0,2})(\.(0|[1-9][0-9]{0,2})){3}")
_LOCAL_NAMES = ("localhost", "local", "internal", "intranet", "lan", "home.arpa")


@dataclass(frozen=True, slots=True)
class Target:
    """A URL that may be fetched, and where to connect to for it."""

    url: str
    scheme: str
    host: str
    """As it goes into the Host header and into TLS: lower case, ASCII."""
    port: int
    addresses: tuple[str, ...]
    """Vetted; at least one."""
    path: str
    """With the query; what goes into the request line."""


def is_public(address: Address) -> bool:
    """Whether a machine anywhere on the internet would mean the same by this address."""
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _V4)
    if address.ipv4_mapped is not None:
        return False  # never what a DNS server answers; always a trick
    if address in _NAT64:
        return is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    if address not in _V6_GLOBAL or any(address in network for network in _V6):
        return False
    if address.sixtofour is not None and not is_public(address.sixtofour):
        return False
    # ISATAP hides an IPv4 address in the last half of any prefix.
    return int(address) >> 32 & 0xFFFFFFFF not in _ISATAP


def vetted(url: str, *, allow_private: bool = False, resolve: Resolve | None = None) -> Target:
    """What to connect to for `url`. Raises MediaError with code refused, or network.

    With `allow_private` every address is let through; what is no well-formed http: or https:
    URL is still refused.
    """
    parts, host, port = _parsed(url)
    literal = _literal(host)
    if literal is not None:
        resolved: Sequence[str] = [str(literal)]
    else:
        name = _name(host)
        if not allow_private and (name in _LOCAL_NAMES or name.endswith(_LOCAL_SUFFIXES)):
            raise refused(url, f"{name} is a name of the local network")
        host = name
        resolved = _resolved(name, port, resolve or resolve_name)
    addresses = tuple(dict.fromkeys(resolved))
    for text in addresses:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:  # "fe80::1%eth0": a zone makes it local
            raise refused(url, f"{text} is not a public address") from None
        if not allow_private and not is_public(address):
            raise refused(url, f"{address} is not a public address")
    shown = f"[{host}]" if ":" in host else host
    path = parts.path or "/"
    if parts.query:
        path += f"?{parts.query}"
    return Target(url, parts.scheme.lower(), shown, port, addresses, path)


def refused(url: str, why: str) -> MediaError:
    """The one shape of every refusal."""
    return MediaError("refused", f"{_shortened(url)} is not fetched: {why}.")


_LOCAL_SUFFIXES = tuple(f".{name}" for name in _LOCAL_NAMES)


def _shortened(url: str) -> str:
    plain = "".join(c if c.isprintable() else "?" for c in url[:100])
    return plain + ("…" if len(url) > 100 else "")


def _parsed(url: str) -> tuple[SplitResult, str, int]:
    """The parts, the host and the port, of nothing but a plain http(s) URL."""
    if len(url) > MAX_URL:
        raise refused(url, "the address is too long")
    # Parsers differ about exactly these: what one takes for the host, another does not.
    if any(c.isspace() or not c.isprintable() or c in '\\"<>^`{|}' for c in url):
        raise refused(url, "it holds characters that no address has")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise refused(url, f"it is not an address ({error})") from None
    if parts.scheme.lower() not in PORTS:
        raise refused(url, "only http: and https: addresses are")
    if "@" in parts.netloc:
        raise refused(url, "it holds a user name or password")
    if not parts.hostname:
        raise refused(url, "it names no host")
    if not (parts.path + parts.query).isascii():
        raise refused(url, "its path is not percent-encoded")
    if port is None:
        port = PORTS[parts.scheme.lower()]
    if port not in PORTS.values() and port < 1024:
        raise refused(url, f"port {port} is not one of web servers")
    return parts, parts.hostname, port


def _literal(host: str) -> Address | None:
    """The address that the host is written as, None if it is a name."""
    if ":" in host:
        try:
            return ipaddress.IPv6Address(host)
        except ValueError:
            raise refused(host, "it is not an IPv6 address") from None
    plain = unicodedata.normalize("NFKC", host).lower()
    if plain != host.lower() and _QUAD.fullmatch(plain.rstrip(".")):
        raise refused(host, "its digits are not ASCII digits")
    return ipaddress.IPv4Address(host) if _is_quad(host) else None


def _is_quad(host: str) -> bool:
    return bool(_QUAD.fullmatch(host)) and all(int(part) < 256 for part in host.split("."))


def _name(host: str) -> str:
    """The name in ASCII, without a dot at the end."""
    try:
        ascii_name = host if host.isascii() else host.encode("idna").decode()
    except UnicodeError:
        raise refused(host, "it is not a host name") from None
    name = ascii_name.lower().removesuffix(".")
    labels = name.split(".")
    if not all(_LABEL.fullmatch(label) for label in labels) or len(name) > 253:
        raise refused(host, "it is not a host name")
    if _NUMBER.fullmatch(labels[-1]):
        # 2130706433, 0x7f.1, 0177.0.0.1 and the like: no public host is written so.
        raise refused(host, "it is a number, but not an address in the usual form")
    return name


def resolve_name(name: str, port: int) -> list[str]:
    """The addresses of a name, by the system's resolver."""
    entries = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in entries]


def _resolved(name: str, port: int, resolve: Resolve) -> Sequence[str]:
    pool = ThreadPoolExecutor(1, thread_name_prefix="resolve")
    try:
        # The system's resolver has no time limit of its own.
        addresses = pool.submit(resolve, name, port).result(DNS_SECONDS)
    except FutureTimeoutError:
        raise MediaError("network", f"The name {name} was not resolved in time.") from None
    except (OSError, UnicodeError):
        raise MediaError("network", f"There is no host named {name}.") from None
    finally:
        pool.shutdown(wait=False)
    if not addresses:
        raise MediaError("network", f"There is no host named {name}.")
    return addresses
