"""What masking finds of labelled personal information, what of it a model would be sent, and what it costs a call.

    python -m benchmarks.gateway.masking                  # the tables, and benchmarks/results/gateway_masking.json
    python -m benchmarks.gateway.masking --show           # also every leak and every false find

Labels: the 894 sentences of presidio-research (MIT) in ../shared/data/pii_presidio. A labelled span counts as caught
when what was found covers it whole; a find that touches no label of a structured type is false. `sent` counts labelled
values that stand in the body a model gets. Names, places and other types without a structure are listed as not looked
for. Times are of one thread by its own CPU clock, in microseconds a call, for the growing calls of real conversations.
"""

from __future__ import annotations

import argparse
import gzip
import json
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from benchmarks.redaction.pii import machine
from core.ids import TenantId
from core.pii.find import find
from gateway.config import MaskingConfig
from gateway.policies.masking import Masking
from gateway.records import Answer, Call, Caller, CallKind, Target, VirtualModel

HERE: Final = Path(__file__).parent
DATA: Final = HERE.parent.parent.parent / "shared" / "data"
TYPES: Final = {
    "EMAIL_ADDRESS": "email",
    "PHONE_NUMBER": "phone",
    "CREDIT_CARD": "card",
    "US_SSN": "ssn",
    "IBAN_CODE": "iban",
    "IP_ADDRESS": "ip",
}
PROMPT: Final = (
    "You are a support agent of an online shop. Answer the customer's questions briefly and never invent facts: if you"
    " do not know something, say so and offer to hand over to a person. Returns are free within 30 days of delivery. "
)
_MODEL: Final = VirtualModel(name="m", kind=CallKind.CHAT, targets=(Target(upstream="u", model="m"),))


def call_of(messages: list[dict[str, Any]]) -> Call:
    """A call with these messages."""
    caller = Caller(tenant=TenantId("default"))
    body = {"model": "m", "messages": messages}
    return Call(
        id="c", kind=CallKind.CHAT, caller=caller, asked="m", model=_MODEL, body=body, streamed=False, started_ns=0
    )


def accuracy(rows: list[dict[str, Any]], *, show: bool) -> dict[str, dict[str, float]]:
    """Per type: labelled, caught, false, recall, precision, and how many labelled values a model would be sent."""
    labelled, caught, false, sent = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    masking = Masking(MaskingConfig())
    for row in rows:
        text = row["full_text"]
        found = [(one.start, one.end, one.entity.value) for one in find(text)]
        call = call_of([{"role": "user", "content": text}])
        masking.before(call)
        body = call.body["messages"][0]["content"]
        spans = [
            (s["start_position"], s["end_position"], TYPES[s["entity_type"]])
            for s in row["spans"]
            if s["entity_type"] in TYPES
        ]
        for start, end, kind in spans:
            labelled[kind] += 1
            caught[kind] += any(a <= start and end <= b for a, b, _ in found)
            if text[start:end] in body:
                sent[kind] += 1
                if show:
                    print(f"sent  {kind:6} {body!r}")
        for a, b, kind in found:
            if not any(a < end and start < b for start, end, _ in spans):
                false[kind] += 1
                if show:
                    print(f"false {kind:6} {text[max(0, a - 30) : b + 20]!r}")
    return {
        kind: {
            "labelled": labelled[kind],
            "caught": caught[kind],
            "false": false[kind],
            "sent": sent[kind],
            "recall": round(caught[kind] / labelled[kind], 4) if labelled[kind] else 1.0,
            "precision": round(caught[kind] / (caught[kind] + false[kind]), 4) if caught[kind] + false[kind] else 1.0,
        }
        for kind in sorted({*TYPES.values(), *false})
    }


def not_looked_for(rows: list[dict[str, Any]]) -> dict[str, int]:
    """Labelled spans of the types that have no structure."""
    kinds = Counter(s["entity_type"] for row in rows for s in row["spans"] if s["entity_type"] not in TYPES)
    return dict(kinds.most_common())


def conversations() -> Iterator[list[dict[str, Any]]]:
    """The messages of real agent conversations."""
    for path in sorted((DATA / "tau2_trajectories").glob("*.jsonl.gz"))[:4]:
        with gzip.open(path, "rt") as lines:
            for _, line in zip(range(15), lines, strict=False):
                messages = json.loads(line).get("messages") or []
                yield [{"role": m["role"], "content": m.get("content") or ""} for m in messages]


def growing() -> dict[str, float]:
    """Microseconds of the policy for the calls of conversations, each with everything that was said before it."""
    masking, times, sizes = Masking(MaskingConfig()), [], []
    for messages in conversations():
        for end in range(1, len(messages) + 1, 2):
            call = call_of([dict(message) for message in messages[:end]])
            sizes.append(sum(len(m["content"]) for m in call.body["messages"]))
            times.append(_us(lambda call=call: masking.before(call)))  # type: ignore[misc]
    times.sort()
    return {
        "calls": len(times),
        "characters_mean": round(statistics.fmean(sizes)),
        "us_mean": round(statistics.fmean(times), 1),
        "us_p50": round(times[len(times) // 2], 1),
        "us_p99": round(times[len(times) * 99 // 100], 1),
    }


def prompts() -> dict[str, float]:
    """Microseconds for one prompt of 1,500 characters that was never seen, for one seen before, and for answers."""
    clean = (PROMPT * 7)[:1500]
    told = f"{clean[:1440]} {{}} ann.lee{{}}@example.org or +1 415 555 2671"
    masking, n = Masking(MaskingConfig()), iter(range(10**9))
    masks = Masking(MaskingConfig(output="mask"))
    call, masked = call_of([{"role": "user", "content": told}]), call_of([{"role": "user", "content": told}])
    masking.before(call)
    masks.before(masked)
    said = f"Dear <EMAIL_1>, {clean}"

    def asked(text: str) -> float:
        return _best(lambda: masking.before(call_of([{"role": "user", "content": text.replace("{}", str(next(n)))}])))

    return {
        "clean_unseen": asked(clean[:1490] + " {}"),
        "clean_seen": asked(clean),
        "with_two_values_unseen": asked(told),
        "answer_restored": _best(lambda: masking.after(call, Answer(body=_answer(said)))),
        "answer_masked_too": _best(lambda: masks.after(masked, Answer(body=_answer(said)))),
        "stream_per_chunk": _stream(masking, call, said),
        "stream_per_chunk_masked_too": _stream(masks, masked, said),
    }


def _answer(text: str) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]}


def _stream(masking: Masking, call: Call, text: str) -> float:
    chunks = [{"choices": [{"index": 0, "delta": {"content": f"{word} "}}]} for word in text.split()]

    def passed() -> None:
        through = masking.stream(call)
        assert through is not None
        for chunk in chunks:
            through.feed(chunk)
        through.end()

    return round(_best(passed) / len(chunks), 2)


def _best(work: Callable[[], Any]) -> float:
    """The least of 30 rounds of 100, per call."""
    return round(min(_us(lambda: [work() for _ in range(100)]) for _ in range(30)) / 100, 1)


def _us(work: Callable[[], Any]) -> float:
    began = time.thread_time_ns()
    work()
    return (time.thread_time_ns() - began) / 1e3


def main() -> None:
    """Print the tables and write the JSON result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sentences", type=Path, default=DATA / "pii_presidio" / "sentences.jsonl.gz")
    parser.add_argument("--out", type=Path, default=HERE.parent / "results" / "gateway_masking.json")
    parser.add_argument("--show", action="store_true")
    args = parser.parse_args()
    with gzip.open(args.sentences, "rt") as lines:
        rows = [json.loads(line) for line in lines]
    table, left = accuracy(rows, show=args.show), not_looked_for(rows)
    for kind, r in table.items():
        counts = f"labelled {r['labelled']:4}  false {r['false']:3}  sent {r['sent']:3}"
        print(f"{kind:8} {counts}  recall {r['recall']:.4f}  precision {r['precision']:.4f}")
    print("not looked for:", left)
    calls, times = growing(), prompts()
    print("calls of conversations:", calls)
    print("microseconds:", times)
    result = {**machine(), "n_sentences": len(rows), "accuracy": table, "not_looked_for": left}
    result |= {"conversation_calls": calls, "us": times}
    args.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
