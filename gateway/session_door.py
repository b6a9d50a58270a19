"""The session door: a session goes to the release that the plan gives it, and stays there.

    ANY /apps/APP/v1/sessions/SESSION/...   ->   ENDPOINT OF THE RELEASE/v1/sessions/SESSION/...

A running experiment decides for the sessions that begin in it (gateway/enrolment.py). For all others
the plan's weights decide by the hash of the session (experiments/assignment.py). A session that was seen keeps its
release when weights change, as long as that release has a weight above 0; a release that is given 0 is left by all of
them, which is what a rollback wants. Without a plan, the configuration's baseline answers who was not seen before.
A request that chooses its release (x-assay-choose-release, of a power user) gets that one, and nothing is remembered.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote, unquote_to_bytes

import aiohttp
from yarl import URL

from core.clock import Clock
from core.errors import InvalidInput
from core.records import Principal, Role
from experiments.assignment import Layout, layout, place_of
from gateway import callers
from gateway.config import GatewayConfig, SessionsConfig
from gateway.enrolment import Enrolled, RunningOf, enrolled
from gateway.errors import BadCall, CallFailed
from gateway.forwarding import Exchange, Goal
from gateway.http import Receive, Request, Send
from gateway.reaching import Resolver, endpoint_url
from gateway.spans import Passage, parent_of, passage_span
from gateway.sticky import Sticky, session_key

_LOG: Final = logging.getLogger("assay.gateway")
_METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
_MOST_SEGMENTS: Final = 20
CHOOSE: Final = b"x-assay-choose-release"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What holds for an app of a tenant: weights of releases, the same `salt` in all versions, addresses of releases
    where they are known, and the variants that they were registered with."""

    baseline: str
    weights: Mapping[str, float]
    salt: str
    endpoints: Mapping[str, str | None] = field(default_factory=dict)
    variants: Mapping[str, str] = field(default_factory=dict)


PlanOf = Callable[[str, str], Plan | None]  # of a tenant and an app; the same object as long as nothing changes


class Sessions:
    """What outlives a change of the configuration: who was given which release, and connections to the releases."""

    def __init__(self, sticky: Sticky) -> None:
        self.sticky = sticky
        self._client: aiohttp.ClientSession | None = None

    def start(self) -> None:
        """Call in the event loop."""
        # uvicorn closes an idle connection after 5 s; one that is used less than that after its last use is alive.
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=2, resolver=Resolver())
        self._client = aiohttp.ClientSession(
            connector=connector, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
        )

    @property
    def client(self) -> aiohttp.ClientSession:
        """Of all releases."""
        assert self._client is not None, "start() first"
        return self._client

    async def close(self) -> None:
        """Lets go of connections and of the file of sessions."""
        if self._client is not None:
            await self._client.close()
        self.sticky.close()


@dataclass(frozen=True, kw_only=True)
class _Place:
    """What a path names: the app, the session, and what the release is asked for."""

    app: str
    session: str
    path: str


class SessionDoor:
    """One configuration at work. `send` takes a tenant and the bytes of a span."""

    def __init__(
        self,
        config: GatewayConfig,
        sessions: Sessions,
        plan_of: PlanOf,
        send: Callable[[str, bytes], None],
        clock: Clock,
        running_of: RunningOf = lambda tenant, app: (),
    ) -> None:
        self._config = config
        self._sessions = sessions
        self._plan_of = plan_of
        self._running_of = running_of
        self._send_span = send
        self._clock = clock
        self._layouts: dict[tuple[str, str], tuple[Plan, Layout | None]] = {}

    async def serve(self, request: Request, receive: Receive, send: Send, principal: Principal) -> None:
        """Answers one request under /apps/. Raises CallFailed before it has begun an answer."""
        place = _place_of(request)
        told = self._config.sessions.get(place.app)
        if told is None or (told.tenants and principal.tenant not in told.tenants):
            said = (
                f"there is no app {place.app[:80]!r} behind this gateway; the section sessions of its file names them"
            )
            raise CallFailed(said, status=404, kind="invalid_request_error", code="app_not_found")
        plan = self._plan_of(principal.tenant, place.app)
        chosen = _chosen(request, principal, plan, told)
        user = callers.told(request)["user"]
        arm = None if chosen else self._arm(principal.tenant, place, user)
        assigned = chosen or (arm.release if arm else self._assigned(principal.tenant, place, plan, told))
        passage = self._passage(request, principal, place, assigned, user)
        passage.chosen = bool(chosen)
        passage.experiment = arm.experiment if arm else ""
        goals = [self._goal(assigned, plan, told, arm)]
        if told.fallback_to_baseline and not chosen and assigned != _baseline(plan, told):
            goals.append(self._goal(_baseline(plan, told), plan, told))
        exchange = Exchange(
            request, receive, send, passage, self._sessions.client, told, self._config.max_body_bytes, place.path,
            content=self._config.spans.content != "none",
        )  # fmt: skip
        try:
            await exchange.run([goal for goal in goals if goal.address is not None] or goals)
        finally:
            passage.ended_ns = self._clock()
            self._send_span(principal.tenant, passage_span(passage))

    # -- which release ---------------------------------------------------------------------------------------------

    def _arm(self, tenant: str, place: _Place, user: str) -> Enrolled | None:
        """The arm of an experiment that the session is in."""
        running = self._running_of(tenant, place.app)
        if not running:
            return None
        key = session_key(tenant, place.app, place.session)
        kept = self._sessions.sticky.of(key)
        found = enrolled(running, user, place.session, kept)
        if found is not None and (kept is None or (kept.release, kept.arm) != (found.release, found.arm)):
            self._sessions.sticky.keep(key, found.release, found.arm)
        return found

    def _assigned(self, tenant: str, place: _Place, plan: Plan | None, told: SessionsConfig) -> str:
        """The release of a session that is in no experiment. One that an experiment sent somewhere, and that is in it
        no more, is decided anew."""
        key = session_key(tenant, place.app, place.session)
        kept = self._sessions.sticky.of(key)
        release = "" if kept is None or kept.arm else kept.release
        if release and (plan.weights.get(release, 0) > 0 if plan is not None else release in told.releases):
            return release
        laid = None if plan is None else self._layout(tenant, place.app, plan)
        if plan is None or laid is None:
            if kept is None or kept.arm:
                self._sessions.sticky.keep(key, "")  # that it was seen: nobody decided where it goes
            return _baseline(plan, told)
        release = laid.at(place_of(place.session, plan.salt))
        self._sessions.sticky.keep(key, release)
        return release

    def _layout(self, tenant: str, app: str, plan: Plan) -> Layout | None:
        known = self._layouts.get((tenant, app))
        if known is not None and known[0] is plan:
            return known[1]
        laid: Layout | None = None
        try:
            laid = layout(plan.weights, plan.baseline)
        except InvalidInput as error:
            _LOG.error("the plan of %s cannot be used, its baseline answers: %s", app, error)
        self._layouts[tenant, app] = (plan, laid)
        return laid

    def _goal(self, release: str, plan: Plan | None, told: SessionsConfig, arm: Enrolled | None = None) -> Goal:
        address = told.releases.get(release)
        known = {} if plan is None else plan.endpoints
        named = (known.get(release) or (arm.endpoint if arm else None)) if told.plan_endpoints else None
        if named:
            try:
                address = endpoint_url(named)
            except ValueError as error:
                _LOG.warning("the endpoint of release %s cannot be used: %s", release, error)
        key = ""
        if told.key is not None and address is not None:
            ours = {URL(each).origin() for each in told.releases.values()}
            key = told.key.get_secret_value() if URL(address).origin() in ours else ""
        registered = plan.variants.get(release, "") if plan is not None else ""
        usual = registered or ("control" if release == _baseline(plan, told) else "treatment")
        variant = arm.variant if arm else usual
        return Goal(release=release, variant=variant, address=address, key=key)

    def _passage(self, request: Request, principal: Principal, place: _Place, assigned: str, user: str) -> Passage:
        drawn = os.urandom(24)
        return Passage(
            app=place.app,
            session=place.session,
            user=user,
            assigned=assigned,
            release="",
            variant="",
            method=request.method,
            key_id=principal.key_id or "",
            started_ns=self._clock(),
            caller=parent_of(request.headers.get(b"traceparent", b"").decode("latin-1")),
            trace_id=drawn[:16],
            span_id=drawn[16:],
        )


def _chosen(request: Request, principal: Principal, plan: Plan | None, told: SessionsConfig) -> str:
    """The release that the request chooses, empty where it chooses none. Raises CallFailed: 403 for a key that may not
    choose, 404 for a release that neither plan nor file know, BadCall."""
    name = callers.checked(request.text(CHOOSE), "the chosen release")
    if not name:
        return ""
    if not principal.role.allows(Role.POWER_USER):
        said = f"{CHOOSE.decode()} is for keys with the role power_user or admin; leave it away, and the plan chooses"
        raise CallFailed(said, status=403, kind="permission_error", code="forbidden")
    known = {*told.releases, *(plan.weights if plan is not None else ())}
    if plan is not None and told.plan_endpoints:
        known |= {each for each, endpoint in plan.endpoints.items() if endpoint}
    if name not in known:
        said = f"nobody said where release {name[:80]!r} is: register it with an endpoint, for an app with a plan"
        raise CallFailed(said, status=404, kind="release_error", code="release_not_found")
    return name


def _baseline(plan: Plan | None, told: SessionsConfig) -> str:
    return told.baseline if plan is None else plan.baseline


def _place_of(request: Request) -> _Place:
    """What the path names. Every segment is decoded, judged and encoded again: the release is asked for nothing that
    was not judged. Raises CallFailed: 404 for another path, BadCall for a segment that is none."""
    if request.method not in _METHODS:
        said = f"{request.method[:20]} is not taken here"
        raise CallFailed(said, status=405, kind="invalid_request_error", code="method_not_allowed")
    raw = request.raw_path.decode("latin-1").partition("?")[0].split("/")
    if raw[:2] != ["", "apps"] or len(raw) < 6 or raw[3:5] != ["v1", "sessions"] or len(raw) > _MOST_SEGMENTS:
        said = "under /apps only /apps/APP/v1/sessions/SESSION/... is served"
        raise CallFailed(said, status=404, kind="invalid_request_error", code="not_found")
    app, session, *rest = (_segment(each) for each in [raw[2], *raw[5:]])
    path = "/".join(quote(each, safe="") for each in (session, *rest))
    return _Place(app=app, session=session, path=f"/v1/sessions/{path}")


def _segment(raw: str) -> str:
    try:
        segment = unquote_to_bytes(raw).decode()
    except UnicodeDecodeError:
        raise BadCall("the path is not UTF-8; percent-encode it as UTF-8") from None
    if not segment or segment in (".", "..") or "/" in segment or "\\" in segment:
        raise BadCall(f"a part of the path is empty, dots, or has a slash in it: {raw[:80]!r}; choose plain ids")
    return callers.checked(segment, "a part of the path")
