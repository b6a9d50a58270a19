"""The addresses in deploy/ are asked as Argo Rollouts and Flagger ask them, and what they do with the answers."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import yaml

from core.records import Role
from tests.server.shell import AIRLINE, Shell, running_shell, served
from tests.server.test_rollout_hooks import MINUTES, sessions

DEPLOY = Path(__file__).parents[2] / "deploy"


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    with running_shell(tmp_path_factory.mktemp("asked")) as running:
        sessions(running, "shop", {"v1": 0.05, "v2": 0.6}, began_min={"v1": MINUTES + 60, "v2": MINUTES})
        yield running


def measured(shell: Shell, url: str, template: dict[str, Any], **given: str) -> str:
    """The phase that Argo gives a measurement: conditions are expressions over what `jsonPath` finds."""
    spec = template["spec"]
    values = {one["name"]: one.get("value", "") for one in spec["args"]}
    values |= {"assay-url": url, "app": "shop", "api-key": shell.keys[AIRLINE, Role.VIEWER], **given}

    def filled(text: str) -> str:
        return re.sub(r"{{args\.([a-z-]+)}}", lambda found: values[found[1]], text)

    (metric,) = spec["metrics"]
    web = metric["provider"]["web"]
    headers = {one["key"]: filled(one["value"]) for one in web["headers"]}
    found = httpx.get(filled(web["url"]), headers=headers, timeout=web["timeoutSeconds"])
    assert found.status_code == 200, found.text
    assert web["jsonPath"] == "{$.value}"
    known = {"result": found.json()["value"]}
    if eval(metric["failureCondition"], {}, known):
        return "Failed"
    return "Successful" if eval(metric["successCondition"], {}, known) else "Inconclusive"


@pytest.mark.parametrize(
    ("name", "release", "phase"),
    [
        ("assay-no-harm", "v2", "Failed"),
        ("assay-no-harm", "v9", "Successful"),
        ("assay-step", "v2", "Failed"),
        ("assay-step", "v9", "Inconclusive"),  # the rollout pauses
    ],
)
def test_argo_measures(shell: Shell, name: str, release: str, phase: str) -> None:
    text = (DEPLOY / "argo" / "analysis-templates.yaml").read_text(encoding="utf-8")
    template = next(one for one in yaml.safe_load_all(text) if one["metadata"]["name"] == name)
    with served(shell.services) as url:
        assert measured(shell, url, template, release=release) == phase


def test_flagger_asks(shell: Shell) -> None:
    text = (DEPLOY / "flagger" / "canary.yaml").read_text(encoding="utf-8")
    hooks = yaml.safe_load(text)["spec"]["analysis"]["webhooks"]
    status = {}
    with served(shell.services) as url:
        for hook in hooks:
            parts = urlsplit(hook["url"])
            name, key = parts.username, str(parts.password).replace("VIEWER_KEY", shell.keys[AIRLINE, Role.VIEWER])
            basic = b64encode(f"{name}:{key}".encode()).decode()
            address = f"{url}{parts.path}?{parts.query}".replace("candidate=newest", "candidate=v2")
            body = {"name": "shop-agent", "namespace": "default", "phase": "Progressing", "metadata": {}}
            found = httpx.post(address, json=body, headers={"Authorization": f"Basic {basic}"}, timeout=20)
            status[hook["type"]] = found.status_code
    assert status == {"rollback": 200, "confirm-traffic-increase": 409, "confirm-promotion": 409}
