"""Personal information in answers: masked alike in whole texts and in pieces of any size."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from core.records import PiiEntity
from gateway.masking.output import OutputMask, OutputStream
from tests.collector import test_redact, test_redact_secrets
from tests.thorough import often

ALL = frozenset(PiiEntity)
WRITTEN = [*(text for text, _ in test_redact.REPLACED), *test_redact.KEPT, *test_redact_secrets.VENDORS.values()]
_PARTS = st.one_of(
    st.sampled_from(WRITTEN), st.sampled_from(["hello there", "\n", ", ", "and", "2024", "phone", "(office)", "é"])
)


@given(st.lists(_PARTS, max_size=6).map(" ".join), st.lists(st.integers(1, 30), min_size=1, max_size=8))
@settings(max_examples=often(300, 150), deadline=None)
def test_a_text_in_pieces_is_masked_as_the_whole(text: str, sizes: list[int]) -> None:
    stream, at = OutputStream(OutputMask(ALL, None)), 0
    passed: list[str] = []
    while at < len(text):
        size = sizes[len(passed) % len(sizes)]
        passed.append(stream.feed(text[at : at + size]))
        at += size
    passed.append(stream.end())
    assert "".join(passed) == OutputMask(ALL, None).masked(text)


def test_a_long_stream_is_masked_at_its_end_and_little_of_it_is_kept() -> None:
    mask = OutputMask(ALL, None)
    stream = OutputStream(mask)
    passed = "".join(stream.feed("some plain words ") for _ in range(5_000))
    passed += stream.feed("to bob@corp.example.") + stream.end()
    assert passed.endswith("words to [EMAIL].")
    assert len(passed) == 5_000 * len("some plain words ") + len("to [EMAIL].")
    assert mask.counts == {"email": 1}
