"""E-mail over SMTP, to the address that was checked right before; its certificate is held against the host's name."""

from __future__ import annotations

import smtplib
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from enum import StrEnum
from hashlib import sha256
from typing import Any, Final

from server.delivery.records import Message, NotDelivered, one_line
from server.urls import address_of

_ANSWER_S: Final = 10.0
_KEPT: Final = 300
_MOST_SUBJECT: Final = 200


class Tls(StrEnum):
    """How the connection is made private."""

    STARTTLS = "starttls"
    TLS = "tls"
    NONE = "none"


@dataclass(frozen=True, kw_only=True)
class Server:
    """Where mail is handed in."""

    host: str
    port: int
    tls: Tls
    user: str | None = None
    password: str | None = field(default=None, repr=False)


def mail(message: Message, *, sender: str, to: Sequence[str]) -> EmailMessage:
    """The mail. Its Message-ID is the delivery's id, by which mail systems know one that comes twice; all mails of an
    incident are one thread. Raises ValueError for what can be no header."""
    domain = sender.rpartition("@")[2].rstrip(">") or "assay"
    made = EmailMessage()
    made["From"], made["To"] = sender, ", ".join(to)
    made["Subject"] = one_line(message.headline, _MOST_SUBJECT)
    made["Date"] = format_datetime(datetime.fromisoformat(message.at) if message.at else datetime.now(UTC))
    made["Message-ID"] = f"<{message.id}@{domain}>"
    thread = f"<{sha256(message.key.encode()).hexdigest()[:32]}@{domain}>"
    made["In-Reply-To"], made["References"] = thread, thread
    made["Auto-Submitted"] = "auto-generated"
    made["X-Assay-Delivery"] = message.id
    said = "\n\n".join(f"{name}\n{text}" for name, text in message.lines())
    made.set_content(f"{message.headline}\n\n{said}\n\n{message.tenant} · {message.at} · {message.id}\n")
    return made


def send(made: EmailMessage, server: Server, *, private: bool, deadline_s: float) -> None:
    """Hands it in. Raises NotDelivered; where some of several are refused for good, the others have it, and that is a
    delivery."""
    try:
        address = str(address_of(server.host, server.port, private=private))
    except ValueError as error:
        raise NotDelivered(str(error)[:_KEPT]) from None
    try:
        with _connection(server, address, deadline_s) as smtp:
            if server.tls is Tls.STARTTLS:
                smtp.starttls(context=ssl.create_default_context())
            if server.user is not None:
                smtp.login(server.user, server.password or "")
            refused = smtp.send_message(made)
    except smtplib.SMTPRecipientsRefused as error:
        raise _refused(error.recipients) from None
    except (smtplib.SMTPSenderRefused, smtplib.SMTPDataError) as error:
        raise NotDelivered(f"the mail server answered {error.smtp_code}", for_good=error.smtp_code >= 500) from None
    except (smtplib.SMTPException, OSError, ValueError) as error:
        raise NotDelivered(_said(error)) from None
    if any(code < 500 for code, _ in refused.values()):
        raise _refused(refused)


@contextmanager
def _connection(server: Server, address: str, deadline_s: float) -> Iterator[smtplib.SMTP]:
    """A connection that ends at the deadline, however slowly the server talks."""
    kind = _TlsAt if server.tls is Tls.TLS else _At
    smtp = kind(address)
    ending = threading.Timer(deadline_s, smtp.cut_off)
    ending.daemon = True
    ending.start()
    try:
        smtp.connect(server.host, server.port)
        yield smtp
        with suppress(smtplib.SMTPException, OSError):  # the mail is taken: how the farewell goes is no matter
            smtp.quit()
    finally:
        ending.cancel()
        smtp.close()


class _At(smtplib.SMTP):
    """A client that connects to `address` whatever its host's name means by now."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._opened: list[socket.socket] = []
        super().__init__(timeout=_ANSWER_S)

    def cut_off(self) -> None:
        """Ends the connection from another thread."""
        for one in (*self._opened, self.sock):
            if one is not None:
                with suppress(OSError):  # it has ended, or became another by TLS
                    one.shutdown(socket.SHUT_RDWR)

    def connect(self, host: str = "localhost", port: int = 0, source_address: Any = None) -> tuple[int, bytes]:
        """As the class above, and the name is kept, which the certificate is held against."""
        self._host = host
        return super().connect(host, port, source_address)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        found = socket.create_connection((self._address, port), timeout)
        self._opened.append(found)
        return found


class _TlsAt(_At):
    """The same, private from the first byte on."""

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        bare = super()._get_socket(host, port, timeout)
        context = ssl.create_default_context()
        found = context.wrap_socket(bare, server_hostname=host, do_handshake_on_connect=False)
        self._opened.append(found)  # from here on it can be cut off
        found.do_handshake()
        return found


def _refused(recipients: dict[str, tuple[int, bytes]]) -> NotDelivered:
    codes = sorted({code for code, _ in recipients.values()})
    said = f"{len(recipients)} recipients are refused, with {', '.join(map(str, codes))}"
    return NotDelivered(said, for_good=all(code >= 500 for code in codes))


def _said(error: Exception) -> str:
    code = getattr(error, "smtp_code", None)
    return f"{type(error).__name__}{'' if code is None else f' {code}'}"[:_KEPT]
