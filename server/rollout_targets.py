"""Where events of rollouts are sent: webhooks, signed, and deployments of GitHub. Each `tell` sends one event or raises
what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, Protocol
from urllib.parse import quote

import httpx

from experiments.rollouts.records import Verb
from experiments.rollouts.told import moment
from server.settings import REPOSITORY, Settings
from server.webhooks import TIMEOUT_S, NeverTold, NotTold, hook_name, post_signed
from store.control.rollout_records import EventRecord, RolloutRecord

_TEXT: Final = 140  # characters of a deployment's description that GitHub takes
_KEPT: Final = 500  # characters of an answer that an error repeats
_STATES: Final = {
    Verb.DEPLOY: "queued",
    Verb.PROMOTE: "success",
    Verb.ROLL_BACK: "failure",
    Verb.ABORT: "inactive",
}  # every other is in_progress


class Target(Protocol):
    """One place that events go to."""

    @property
    def name(self) -> str:
        """What it is known by: at most 64 characters, which repeat no address and no secret."""

    def wants(self, of: RolloutRecord) -> bool:
        """Whether events of this rollout go there."""

    def tell(self, of: RolloutRecord, event: EventRecord) -> None:
        """Sends one event. Raises NotTold, NeverTold."""


def targets_of(settings: Settings) -> list[Target]:
    """Everything that the settings name, each once."""
    found: dict[str, Target] = {}
    key, token = settings.rollout_webhook_key, settings.github_token
    for address in settings.rollout_webhooks if key is not None else ():
        assert key is not None
        hook = Webhook.of(address, key.get_secret_value(), private=settings.rollout_webhooks_private)
        found[hook.name] = hook
    for said in settings.github_deployments if token is not None else ():
        assert token is not None
        repository = GitHub.of(said, settings.github_api_url, token.get_secret_value())
        found[repository.name] = repository
    return list(found.values())


def message(of: RolloutRecord, event: EventRecord) -> dict[str, Any]:
    """An event as it is told. `status` is that of the rollout now."""
    return {
        "id": f"{of.rollout_id}:{event.number}",
        "kind": event.kind,
        "at": moment(event.at_ns),
        "tenant": str(of.tenant),
        "app": of.app,
        "rollout": of.rollout_id,
        "candidate": of.candidate,
        "baseline": of.baseline,
        "status": of.status.value,
        "by": event.made_by,
        "certificate": event.certificate,
        "text": event.text,
    }


@dataclass(frozen=True, kw_only=True)
class Webhook:
    """An address that gets every event of every rollout, signed."""

    name: str
    address: str
    key: str
    private: bool

    @classmethod
    def of(cls, address: str, key: str, *, private: bool) -> Webhook:
        """The hook of an address; another address is another hook."""
        return cls(name=hook_name(address), address=address, key=key, private=private)

    def wants(self, of: RolloutRecord) -> bool:
        """Every rollout's."""
        return True

    def tell(self, of: RolloutRecord, event: EventRecord) -> None:
        """Posts it, to the address that was checked and to no other. Raises NotTold."""
        delivery = f"{of.rollout_id}:{event.number}"
        post_signed(self.address, self.key, delivery, message(of, event), private=self.private)


@dataclass(frozen=True, kw_only=True)
class GitHub:
    """Deployments of one repository, for one app. https://docs.github.com/rest/deployments"""

    name: str
    app: str
    repository: str
    environment: str
    api: str
    token: str

    @classmethod
    def of(cls, said: str, api: str, token: str) -> GitHub:
        """What APP=OWNER/REPOSITORY@ENVIRONMENT names; checked among the settings."""
        found = REPOSITORY.fullmatch(said)
        assert found is not None
        app, repository, environment = found[1], found[2], found[3] or "production"
        short = _short(f"{app}\n{repository}\n{environment}\n{api}")
        return cls(
            name=f"github:{short}", app=app, repository=repository, environment=environment, api=api, token=token
        )

    def wants(self, of: RolloutRecord) -> bool:
        """Those of its app."""
        return of.app == self.app

    def tell(self, of: RolloutRecord, event: EventRecord) -> None:
        """Writes the event as a deployment's status. Raises NotTold; NeverTold for a ref or a repository that GitHub
        does not know, and for a token that may not."""
        state = _STATES.get(Verb(event.kind), "in_progress")
        text = event.text if len(event.text) <= _TEXT else event.text[: _TEXT - 1] + "…"
        headers = {
            "accept": "application/vnd.github+json",
            "authorization": f"Bearer {self.token}",
            "user-agent": "assay",
            "x-github-api-version": "2022-11-28",
        }
        address = f"{self.api}/repos/{quote(self.repository)}/deployments"
        try:
            with httpx.Client(headers=headers, timeout=TIMEOUT_S, trust_env=False) as client:
                statuses = f"{address}/{self._deployment(client, address, of)}/statuses"
                newest = _json(client.get(statuses, params={"per_page": 1}))
                if newest and (newest[0].get("state"), newest[0].get("description")) == (state, text):
                    return  # it arrived, and its answer did not
                wanted = {"state": state, "description": text, "environment": self.environment}
                _json(client.post(statuses, json={**wanted, "auto_inactive": state == "success"}))
        except (httpx.HTTPError, ValueError, LookupError, AttributeError, TypeError) as error:
            raise NotTold(f"{type(error).__name__}: {error}"[:_KEPT]) from error

    def _deployment(self, client: httpx.Client, address: str, of: RolloutRecord) -> int:
        """The id of the candidate's deployment: the newest of its ref and environment, or a new one."""
        which = {"ref": of.candidate, "environment": self.environment}
        known = _json(client.get(address, params={**which, "per_page": 1}))
        if known:
            return int(known[0]["id"])
        wanted: Mapping[str, Any] = {
            **which,
            "auto_merge": False,
            "required_contexts": [],
            "description": f"Assay rollout {of.rollout_id}: {of.candidate} over {of.baseline}"[:_TEXT],
            "payload": {"assay_rollout": of.rollout_id},
        }
        return int(_json(client.post(address, json=wanted))["id"])


def _json(answered: httpx.Response) -> Any:
    if answered.is_success:
        return answered.json()
    text = f"{answered.request.method} {answered.request.url.path}: {answered.status_code} {answered.text[:200]}"
    limited = answered.status_code == 403 and answered.headers.get("x-ratelimit-remaining") == "0"
    if answered.status_code in (401, 403, 404, 422) and not limited:
        raise NeverTold(text)
    raise NotTold(text)


def _short(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:32]
