"""Anthropic's wire."""

from __future__ import annotations

from gateway.upstreams.openai import OpenAIWire


class AnthropicWire(OpenAIWire):
    """Not there yet."""

    provider = "anthropic"
