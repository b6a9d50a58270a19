"""The channels an operator has set: a plain table of kinds. Adding one costs a file that makes requests, and a class
here."""

from __future__ import annotations

import time
from collections.abc import Callable
from email.utils import parseaddr
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from server.delivery import alertmanager, email, opsgenie, pagerduty, slack, teams, webhook
from server.delivery.email import Tls
from server.delivery.posting import DEADLINE_S, post
from server.delivery.records import Message, Request
from server.urls import checked_callee

LEAST_KEY: Final = 16
_PORTS: Final = {Tls.STARTTLS: 587, Tls.TLS: 465, Tls.NONE: 25}
Secret = Annotated[SecretStr, Field(min_length=1, max_length=2_000)]
Address = Annotated[str, Field(min_length=1, max_length=2_000)]


class _Channel(BaseModel):
    """What every channel has. `tenants`: whose monitors may use it; None: all. `deadline_s`: for one request."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: str = ""
    private: bool = False
    tenants: tuple[str, ...] | None = None
    deadline_s: Annotated[float, Field(gt=0, le=25)] = DEADLINE_S

    def requests(self, message: Message) -> tuple[Request, ...]:
        """What is sent for a message."""
        raise NotImplementedError

    def send(self, message: Message) -> None:
        """Tells it: one request after the other, all of them again where one fails. Raises NotDelivered."""
        for one in self.requests(message):
            named = {"x-assay-delivery": message.id, "idempotency-key": message.id, **one.headers}
            sent = Request(url=one.url, body=one.body, headers=named, method=one.method)
            post(sent, private=self.private, deadline_s=self.deadline_s)

    def addresses(self) -> tuple[str, ...]:
        """The addresses that it calls."""
        return ()

    @model_validator(mode="after")
    def _callable(self) -> Self:
        for address in self.addresses():
            called(address, private=self.private)
        return self


class SlackChannel(_Channel):
    """A Slack channel, by an incoming webhook."""

    kind: Literal["slack"]
    url: Secret

    def requests(self, message: Message) -> tuple[Request, ...]:
        """One message of blocks."""
        return slack.requests(message, url=self.url.get_secret_value())

    def addresses(self) -> tuple[str, ...]:
        """The webhook."""
        return (self.url.get_secret_value(),)


class TeamsChannel(_Channel):
    """A channel of Microsoft Teams, by a workflow's webhook."""

    kind: Literal["teams"]
    url: Secret

    def requests(self, message: Message) -> tuple[Request, ...]:
        """One card."""
        return teams.requests(message, url=self.url.get_secret_value())

    def addresses(self) -> tuple[str, ...]:
        """The webhook."""
        return (self.url.get_secret_value(),)


class PagerDutyChannel(_Channel):
    """A service of PagerDuty, by an integration of the Events API v2."""

    kind: Literal["pagerduty"]
    routing_key: Secret
    url: Address = pagerduty.URL

    def requests(self, message: Message) -> tuple[Request, ...]:
        """Events of the incident."""
        return pagerduty.requests(message, routing_key=self.routing_key.get_secret_value(), url=self.url)

    def addresses(self) -> tuple[str, ...]:
        """The API."""
        return (self.url,)


class OpsgenieChannel(_Channel):
    """A team of Opsgenie, by an API integration."""

    kind: Literal["opsgenie"]
    api_key: Secret
    url: Address = opsgenie.URL

    def requests(self, message: Message) -> tuple[Request, ...]:
        """Requests of the incident's alias."""
        return opsgenie.requests(message, api_key=self.api_key.get_secret_value(), url=self.url)

    def addresses(self) -> tuple[str, ...]:
        """The API."""
        return (self.url,)


class WebhookChannel(_Channel):
    """Any receiver, with a signature."""

    kind: Literal["webhook"]
    url: Secret
    key: Secret

    @field_validator("key")
    @classmethod
    def _long(cls, value: SecretStr) -> SecretStr:
        if len(value.get_secret_value()) < LEAST_KEY:
            raise ValueError(f"a key that signs has {LEAST_KEY} characters or more")
        return value

    def requests(self, message: Message) -> tuple[Request, ...]:
        """The message as JSON."""
        url, key = self.url.get_secret_value(), self.key.get_secret_value()
        return webhook.requests(message, url=url, key=key, now_s=time.time)

    def addresses(self) -> tuple[str, ...]:
        """The receiver."""
        return (self.url.get_secret_value(),)


class AlertmanagerChannel(_Channel):
    """A receiver that understands the webhook of Prometheus' Alertmanager."""

    kind: Literal["alertmanager"]
    url: Secret
    token: Secret | None = None

    def requests(self, message: Message) -> tuple[Request, ...]:
        """One notification."""
        token = None if self.token is None else self.token.get_secret_value()
        return alertmanager.requests(message, url=self.url.get_secret_value(), name=self.name, token=token)

    def addresses(self) -> tuple[str, ...]:
        """The receiver."""
        return (self.url.get_secret_value(),)


class EmailChannel(_Channel):
    """People's mailboxes, by a mail server."""

    kind: Literal["email"]
    host: Annotated[str, Field(min_length=1, max_length=253)]
    port: Annotated[int, Field(ge=1, le=65_535)] | None = None
    tls: Tls = Tls.STARTTLS
    user: Secret | None = None
    password: Secret | None = None
    sender: Address
    to: Annotated[tuple[Address, ...], Field(min_length=1, max_length=50)]

    @field_validator("sender", "to")
    @classmethod
    def _addresses(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        for one in (value,) if isinstance(value, str) else value:
            found = parseaddr(one)[1]
            if not one.isprintable() or found.count("@") != 1 or found.startswith("@") or found.endswith("@"):
                raise ValueError("not a mail address; write name@host")
        return value

    @model_validator(mode="after")
    def _kept_private(self) -> Self:
        if self.tls is Tls.NONE and not self.private:
            raise ValueError("mail without TLS is for servers within your network; say private: true as well")
        if (self.user is None) != (self.password is None) or (self.user is not None and self.tls is Tls.NONE):
            raise ValueError("user and password come together, and over TLS")
        return self

    def send(self, message: Message) -> None:
        """Hands the mail in. Raises NotDelivered."""
        user, password = (None if one is None else one.get_secret_value() for one in (self.user, self.password))
        server = email.Server(
            host=self.host, port=self.port or _PORTS[self.tls], tls=self.tls, user=user, password=password
        )
        made = email.mail(message, sender=self.sender, to=self.to)
        email.send(made, server, private=self.private, deadline_s=2 * self.deadline_s)


AnyChannel = Annotated[
    SlackChannel
    | TeamsChannel
    | PagerDutyChannel
    | OpsgenieChannel
    | WebhookChannel
    | AlertmanagerChannel
    | EmailChannel,
    Field(discriminator="kind"),
]


class HeartbeatSetting(BaseModel):
    """Who is told that monitors are evaluated, and misses it when they are not."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    url: Secret
    every_s: Annotated[int, Field(ge=10, le=3_600)] = 60
    late_s: Annotated[int, Field(ge=60, le=86_400)] = 600
    method: Literal["GET", "POST"] = "POST"
    authorization: Secret | None = None
    private: bool = False

    @model_validator(mode="after")
    def _callable(self) -> Self:
        called(self.url.get_secret_value(), private=self.private)
        return self


class Channels(BaseModel):
    """The file of channels."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    dashboard: Address | None = None
    channels: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")], AnyChannel] = {}
    heartbeat: HeartbeatSetting | None = None

    @model_validator(mode="before")
    @classmethod
    def _named(cls, given: Any) -> Any:
        if not isinstance(given, dict) or not isinstance(given.get("channels"), dict):
            return given
        told = {
            name: {**one, "name": str(name)} if isinstance(one, dict) else one
            for name, one in given["channels"].items()
        }
        return {**given, "channels": told}

    def find(self, name: str, tenant: str) -> AnyChannel | None:
        """The channel of this name that the tenant may use."""
        found = self.channels.get(name)
        return found if found is not None and (found.tenants is None or tenant in found.tenants) else None

    def names(self, tenant: str) -> tuple[str, ...]:
        """The channels that the tenant's monitors may name."""
        return tuple(sorted(name for name in self.channels if self.find(name, tenant) is not None))


Finding = Callable[[str, str], AnyChannel | None]


def called(address: str, *, private: bool) -> str:
    """`address` when its form may be called. Raises ValueError; the address may carry a secret, and is not repeated."""
    if address.lower().startswith("http:") and not private:
        raise ValueError("only https is called; say private: true for http within your network")
    return checked_callee(address, private=private)
