"""The rules that a message, a model answer, a reply and an action pass; each check is a span of its own."""
