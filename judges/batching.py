"""Many targets through a provider's batch API: half the price, an answer within a day, nothing to wait for meanwhile.

OpenAI's batches (responses API) and Anthropic's message batches, as pydantic-ai speaks them. A batch is submitted,
looked at from any process, and read once it has ended; what to keep in between is plain JSON. A reply that holds no
verdict is not asked again: it is missing, or asked live by who reads it.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError
from pydantic_ai.exceptions import AgentRunError, ModelAPIError
from pydantic_ai.messages import ModelResponse
from pydantic_ai.models import Model
from pydantic_ai.models.batch import Batch, BatchRequest, BatchResult, EncodedBatchRequest

from core.errors import InvalidInput
from judges.asking import Failed, plainly, read_reply, without_key
from judges.content import Content
from judges.models import first_mode, make_model, opening, parameters_of, settings_of
from judges.prompt import build
from judges.reach import Access
from judges.records import JudgeSpec, Missing, ModelRef, Reply, Rubric, Verdict
from judges.transport import capped_client
from judges.voting import combined, orders_of

MOST_REQUESTS: Final = 5_000  # of one batch, so that its results are read in bounded memory
MOST_BYTES: Final = 90_000_000  # of one batch; providers take twice that
MOST_RESULTS: Final = 200_000_000
MOST_BATCHED: Final = 5_000  # targets of a batched job: their contents are held at once
BATCH_SHARE: Final = 0.5  # of the price of a live call
_BATCH: Final = TypeAdapter(Batch)
_FAMILIAR: Final = ("openai", "anthropic")


@dataclass(frozen=True, kw_only=True)
class Submitted:
    """Batches that were submitted for a judge: what is needed to read them, as JSON values. `salt` makes the fences;
    `batches` are, by the place of their model in the judge's list, the providers' handles."""

    salt: str
    batches: tuple[tuple[int, dict[str, Any]], ...]

    @property
    def ended(self) -> bool:
        """Whether every batch has ended, as of the last look."""
        return all(batch["status"] == "ended" for _, batch in self.batches)


@dataclass(frozen=True, kw_only=True)
class _Question:
    """One request. `custom_id` is what the provider gives back: the same at every reading."""

    custom_id: str
    target: str
    place: int
    repeat: int
    shown: str | None


def has_batches(ref: ModelRef) -> bool:
    """Whether a model's provider has a batch API that is spoken here. Servers of a URL are not asked for theirs."""
    return ref.provider in _FAMILIAR and ref.url is None


class Batches:
    """Submits, looks at and reads batches. An async context manager is not needed: `close` it."""

    def __init__(self, access: Access, timeout_s: float = 300.0) -> None:
        self._access = access
        self._timeout_s = timeout_s
        self._http = capped_client(timeout_s, 4, MOST_RESULTS)
        self._models: dict[ModelRef, Model] = {}

    async def close(self) -> None:
        """Closes its connections."""
        await self._http.aclose()

    async def submit(
        self, spec: JudgeSpec, rubric: Rubric, contents: Mapping[str, Content], seed: int = 0
    ) -> Submitted:
        """Sends every question about the contents (by target id). Raises InvalidInput: a model without batches, no
        content, or a provider that takes none; whatever was submitted before is then cancelled."""
        salt = secrets.token_hex(16)
        questions = list(_questions(spec, rubric, contents, seed))
        if not questions:
            raise InvalidInput("there is nothing to judge", field="targets")
        sent: list[tuple[int, dict[str, Any]]] = []
        try:
            for place, ref in enumerate(spec.models):
                model = self._model(ref)
                own = [one for one in questions if one.place == place]
                encoded = [await model.batch_encode(self._request(spec, rubric, contents, one, salt)) for one in own]
                for chunk in _chunks(encoded):
                    sent.append((place, _BATCH.dump_python(await model.batch_create(chunk), mode="json")))
        except Exception as error:
            await self.cancel(spec, Submitted(salt=salt, batches=tuple(sent)))
            if isinstance(error, InvalidInput):
                raise
            raise InvalidInput(f"the batch was not taken: {self._plainly(spec, error)}", field="models") from None
        return Submitted(salt=salt, batches=tuple(sent))

    async def look(self, spec: JudgeSpec, submitted: Submitted) -> Submitted:
        """How far the batches are. A provider that does not answer leaves its own as they were."""
        seen = []
        for place, held in submitted.batches:
            try:
                batch = await self._model(spec.models[place]).batch_status(_batch(held))
                seen.append((place, _BATCH.dump_python(batch, mode="json")))
            except _of_sdks():
                seen.append((place, held))
        return Submitted(salt=submitted.salt, batches=tuple(seen))

    async def cancel(self, spec: JudgeSpec, submitted: Submitted) -> None:
        """Asks the providers to stop what has not begun. What they do not hear they finish."""
        for place, held in submitted.batches:
            try:
                await self._model(spec.models[place]).batch_cancel(_batch(held))
            except _of_sdks():
                continue

    async def verdicts(
        self, spec: JudgeSpec, rubric: Rubric, contents: Mapping[str, Content], submitted: Submitted, seed: int = 0
    ) -> dict[str, Verdict]:
        """The verdict of every target, once all has ended; the same arguments as at `submit`. Raises InvalidInput
        before that."""
        if not submitted.ended:
            raise InvalidInput("a batch has not ended yet; look again later", field="batches")
        results: dict[tuple[int, str], BatchResult] = {}
        for place, held in submitted.batches:
            try:
                found = await self._model(spec.models[place]).batch_results(_batch(held))
            except _of_sdks() as error:
                raise InvalidInput(
                    f"a batch's results cannot be read: {self._plainly(spec, error)}", field="batches"
                ) from None
            results |= {(place, one.custom_id): one for one in found}
        replies: dict[str, list[Reply]] = {target: [] for target in contents}
        for one in _questions(spec, rubric, contents, seed):
            ref = spec.models[one.place]
            reply = Reply(model=ref.text, repeat=one.repeat, shown=one.shown)
            request = self._request(spec, rubric, contents, one, submitted.salt)
            key, result = self._access.key(ref), results.get((one.place, one.custom_id))
            answered = self._answered(self._model(ref), result, request, key)
            replies[one.target].append(read_reply(reply, ref, rubric, answered, key))
        nothing = Verdict(missing=Missing.NO_CONTENT, explanation="there is nothing to judge")
        return {target: combined(rubric, each) if each else nothing for target, each in replies.items()}

    def _answered(
        self, model: Model, result: BatchResult | None, request: BatchRequest, key: str
    ) -> ModelResponse | Failed:
        if result is None:
            return Failed(missing=Missing.MODEL_FAILED, said="the batch ended without a result for it")
        try:
            return model.batch_decode(result, request)
        except (ModelAPIError, AgentRunError, ValidationError, ValueError, TypeError, LookupError) as error:
            return Failed(missing=Missing.MODEL_FAILED, said=plainly(error, key))

    def _plainly(self, spec: JudgeSpec, error: Exception) -> str:
        said = plainly(error)
        for ref in filter(has_batches, spec.models):
            said = without_key(said, self._access.key(ref))
        return said

    def _model(self, ref: ModelRef) -> Model:
        if not has_batches(ref):
            raise InvalidInput(f"{ref.text} has no batch API that is known here; ask it live", field="models")
        if ref not in self._models:
            self._models[ref] = make_model(ref, self._access, self._http, self._timeout_s, batches=True)
        return self._models[ref]

    def _request(
        self, spec: JudgeSpec, rubric: Rubric, contents: Mapping[str, Content], one: _Question, salt: str
    ) -> BatchRequest:
        nonce = hashlib.sha256(f"{salt}\0{one.place}\0{one.custom_id}".encode()).hexdigest()[:16]
        prompt = build(rubric, contents[one.target], nonce, one.shown or "ab")
        model = self._model(spec.models[one.place])
        mode = first_mode(model)
        return BatchRequest(
            custom_id=one.custom_id,
            messages=opening(prompt),
            model_settings=settings_of(spec, model),
            model_request_parameters=parameters_of(mode, prompt),
        )


def _questions(spec: JudgeSpec, rubric: Rubric, contents: Mapping[str, Content], seed: int) -> Iterator[_Question]:
    """Every question, in an order and under names that the arguments decide."""
    if rubric.digest != spec.rubric_digest:
        raise InvalidInput(f"judge {spec.name} is of another text of rubric {spec.rubric}", field="rubric")
    for target, content in contents.items():
        named = hashlib.sha256(f"{target}\0{content.hash}".encode()).hexdigest()[:32]
        for place in range(len(spec.models)):
            for repeat in range(0 if content.empty else spec.repeats):
                for shown in orders_of(spec, rubric, content.hash, repeat, seed):
                    custom_id = f"{named}-{repeat}-{shown or 'one'}"
                    yield _Question(custom_id=custom_id, target=target, place=place, repeat=repeat, shown=shown)


def _chunks(encoded: Sequence[EncodedBatchRequest]) -> Iterator[list[EncodedBatchRequest]]:
    chunk: list[EncodedBatchRequest] = []
    size = 0
    for one in encoded:
        n_bytes = len(one.body.encode()) + 200
        if chunk and (len(chunk) == MOST_REQUESTS or size + n_bytes > MOST_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(one)
        size += n_bytes
    if chunk:
        yield chunk


def _batch(held: Mapping[str, Any]) -> Batch:
    try:
        return _BATCH.validate_python(dict(held))
    except ValidationError:
        raise InvalidInput("what is kept of the batch cannot be read", field="batches") from None


def _of_sdks() -> tuple[type[Exception], ...]:
    """What a call of a batch API may raise; the providers' packages are loaded when they are needed."""
    from anthropic import APIError as AnthropicError
    from openai import APIError as OpenAIError

    return (AgentRunError, ValidationError, OSError, AnthropicError, OpenAIError)
