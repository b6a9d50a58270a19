"""Processes that a server starts for heavy work: they give their memory back as they end."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from server.settings import Settings

PASSED_ON: Final = (
    *(
        "control_url",
        "clickhouse_url",
        "simulated_port",
        "judge_certificate_days",
        "clusters_interval_s",
        "clusters_embedder",
    ),
    *(
        "clusters_facets",
        "clusters_model",
        "clusters_model_url",
        "clusters_model_key",
        "embeddings_url",
        "embeddings_model",
        "embeddings_key",
    ),
)


def environment_of(settings: Settings) -> dict[str, str]:
    """The environment in which a child process has the settings that matter to its work."""
    environment = {**os.environ, "ASSAY_DATA": str(settings.data), "ASSAY_LAKE": settings.lake_root}
    environment["ASSAY_EVALUATORS_DIR"] = str(settings.own_evaluators)
    environment["PYTHONPATH"] = str(Path(__file__).resolve().parents[1])
    for name in PASSED_ON:
        value = getattr(settings, name)
        if value is not None:
            told = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
            environment[f"ASSAY_{name.upper()}"] = told
    return environment
