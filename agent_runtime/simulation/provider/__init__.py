"""The simulated model provider: OpenAI and Anthropic over HTTP, answered by rules, always labelled as simulated."""
