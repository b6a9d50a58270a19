"""The page Annotate in a browser, by keyboard alone, over a real server: two people label, a third decides."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from playwright.sync_api import TimeoutError as NotInTime

from core.records import EvaluatorKind, Principal, Role, TargetKind
from judges.records import JudgeSpec, ModelRef, Rubric, ScaleKind
from judges.stored import rubric_record, spec_json
from store.scores import NewScore, append_scores
from tests.dashboard.alone import running_dashboard
from tests.dashboard.test_hostile_pages import harmless, settled
from tests.dashboard.test_pages import metric
from tests.dashboard.visiting import Visits
from tests.server.shell import AIRLINE, Shell, running_shell, served
from tests.store.build import agent_trace, fill

pytestmark = pytest.mark.timeout(900)
ATTACK = '<img src=x onerror="document.title=1">**loud** [x](javascript:alert(1)) \u202egnp'
SECRET = "only-the-judge-says-so"
NOTE = "the parcel never came 123"
ANCHORS = {
    "fail": "the customer leaves without what they came for",
    "pass": "all that was asked for is done, or rightly refused with the reason",
}
RUBRIC = Rubric(
    name="resolution", version=2, kind=ScaleKind.PASS_FAIL, labels=("fail", "pass"), passing=frozenset({"pass"}),
    text="Was the customer's request resolved?\n\nA claim counts only where a tool's result shows it.", anchors=ANCHORS,
)  # fmt: skip
HOSTILE = Rubric(
    name="hostile", version=1, kind=ScaleKind.MULTI_LABEL, labels=("rude", "wrong", "late"),
    passing=frozenset({"rude"}), text=ATTACK, anchors={"rude": ATTACK},
)  # fmt: skip
SPEC = JudgeSpec(
    name="strict", rubric="resolution", rubric_version=2, rubric_digest=RUBRIC.digest,
    models=(ModelRef(provider="simulated", model="sim-judge"),),
)  # fmt: skip
ASKED = {
    "parcel": ["Where is my parcel? Order A-1041.", "Let me look. It was delivered to a neighbour, number 12."],
    "refund": ["I want my money back for the kettle.", "I am sorry, I cannot do that.", "Why not?", "Policy."],
    "address": ["Please change my address to Elm Street 5.", "Done: it is Elm Street 5 from today on."],
}


@dataclass(frozen=True, kw_only=True)
class Desk:
    """The dashboard's address, with ann's key, and the server behind it."""

    url: str
    shell: Shell

    def call(self, method: str, path: str, who: Any = Role.POWER_USER, body: Any = None) -> Any:
        """An answer of the API, which has to be one."""
        headers = {"Authorization": f"Bearer {self.shell.keys[AIRLINE, who]}"}
        answer = self.shell.client.request(method, f"/api/v1/label-queues{path}", json=body, headers=headers)
        assert answer.is_success, answer.text
        return answer.json()

    def queue(self, name: str, **given: Any) -> str:
        """A queue with the three conversations."""
        self.call("POST", "", body={"name": name, "app": "airline", "judge": "strict", "n_annotators": 2, **given})
        self.call("POST", f"/{name}/tasks", body={"items": [_item(each) for each in ASKED]})
        return name

    def statuses(self, name: str) -> dict[str, tuple[str, str | None]]:
        """Status and label of every task by its item."""
        found = self.call("GET", f"/{name}/tasks")["items"]
        return {one["item"]: (one["status"], one["label"]) for one in found}


def _item(name: str, text: list[str] | None = None) -> dict[str, Any]:
    roles = ("user", "assistant")
    said = text or ASKED[name]
    messages = [{"role": roles[at % 2], "text": each} for at, each in enumerate(said)]
    return {"item": name, "content": {"messages": messages}}


@pytest.fixture(scope="module")
def desk(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("annotate-page")
    with running_shell(folder, trusted_hosts=("*",)) as shell, served(shell.services) as api:
        services, admin = shell.services, Principal(tenant=AIRLINE, role=Role.ADMIN, name="admin")
        for rubric in (RUBRIC, HOSTILE):
            services.control.add_rubric(rubric_record(AIRLINE, rubric), by=admin)
        services.control.put_judge(AIRLINE, "strict", SPEC.version, spec_json(SPEC), by=admin)
        fill(services.lake, [row for n in (1, 2) for row in agent_trace(n, tenant=AIRLINE, session_id=f"s{n}", at_s=n)])
        verdict = NewScore(
            evaluator="strict", evaluator_version=SPEC.version, evaluator_kind=EvaluatorKind.JUDGE,
            target=TargetKind.SESSION, session_id="s1", value=0.0, label="fail", explanation=SECRET,
            metadata={"app": "airline", "confidence": 0.9, "probability": 1.0},
        )  # fmt: skip
        append_scores(
            services.store.tenant(AIRLINE), [verdict], ids=["judge_1"], author="judge", now_ns=services.clock()
        )
        for name, role in (("ann", Role.USER), ("bob", Role.USER), ("pat", Role.POWER_USER)):
            shell.keys[AIRLINE, name] = services.control.create_key(AIRLINE, role, name)[1]  # type: ignore[index]
        key = shell.keys[AIRLINE, "ann"]  # type: ignore[index]
        with running_dashboard(api, key, folder / "dashboard.log") as url:
            yield Desk(url=url, shell=shell)


Visit = Callable[..., Page]


@pytest.fixture
def visit(visits: Visits, desk: Desk) -> Iterator[Visit]:
    """Opens the page as somebody. Afterwards: no error on the console, no request to any other host."""
    with ExitStack() as opened:

        def open_page(path: str, who: str = "ann", **how: Any) -> Page:
            page = opened.enter_context(visits.page(desk.url, **how))
            if who == "ann":
                page.goto(f"{desk.url}/{path}")
                return page
            page.goto(f"{desk.url}/annotate")
            _act_as(page, desk, who)
            _go(page, path)
            return page

        yield open_page


def _act_as(page: Page, desk: Desk, who: str) -> None:
    """Gives the key of somebody, by keyboard."""
    page.get_by_role("button", name="ann").focus()
    page.keyboard.press("Enter")
    page.get_by_label("Your key").focus()
    page.keyboard.type(desk.shell.keys[AIRLINE, who])  # type: ignore[index]
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name=who)).to_be_visible()
    settled(page)


def _go(page: Page, path: str) -> None:
    """To a queue and its view, without losing the visit: by the list and the keys of the views."""
    name, view = re.findall(r"queue=([\w.-]+)(?:&view=(\w+))?", path)[0] if "queue=" in path else ("", "")
    if name:
        page.locator('[class*="st-key-assay-queue-"]').filter(has_text=name).get_by_role(
            "button", name="Annotate"
        ).focus()
        page.keyboard.press("Enter")
        expect(page).to_have_url(re.compile(f"queue={name}"))
    if view:
        page.get_by_role("button", name=view.capitalize()).focus()
        page.keyboard.press("Enter")
        expect(page).to_have_url(re.compile(f"view={view}"))
    settled(page)


def picture(page: Page, name: str) -> None:
    """A picture of the page where ASSAY_SCREENSHOTS names a folder, for who wants to look."""
    if folder := os.environ.get("ASSAY_SCREENSHOTS"):
        settled(page)
        page.screenshot(path=str(Path(folder) / f"annotate-{name}.png"))


def form(page: Page) -> Locator:
    return page.locator(".st-key-assay-label-form-box")


def choice(page: Page, label: str) -> Locator:
    return form(page).get_by_role("radio", name=label)


def pick(page: Page, box: str, option: str) -> None:
    """Chooses an option. A field that was just left draws the page anew, which closes a list: it is opened again."""
    listed = page.get_by_role("option", name=option)
    for _ in range(5):
        settled(page)
        if not listed.is_visible():
            page.get_by_role("combobox", name=box).click()
        try:
            listed.click(timeout=5_000)
        except NotInTime:
            continue
        return
    raise AssertionError(f"{option} could not be chosen")


def on_screen(page: Page) -> str:
    """Which of the three conversations is shown."""
    shown = page.locator(".st-key-assay-labelled")
    expect(shown.get_by_test_id("stChatMessage").first).to_be_visible()
    settled(page)
    expect(form(page).get_by_role("progressbar")).to_be_visible()  # the keys are the form's, which comes last
    return next(name for name, said in ASKED.items() if shown.get_by_text(said[0]).count())


@contextmanager
def another(page: Page) -> Iterator[None]:
    """Waits until another conversation is shown than before, and the form is for that one.

    The form is told last, when the script is over already: until then it sends, and takes no label.
    """
    before = ASKED[on_screen(page)][0]
    yield
    expect(page.locator(".st-key-assay-labelled").get_by_text(before)).to_have_count(0)
    expect(form(page).get_by_text("Sending…")).to_have_count(0)
    settled(page)


def choose(page: Page, digit: str) -> None:
    """Presses the digit of a label, and sees it chosen."""
    page.keyboard.press(digit)
    expect(choice(page, RUBRIC.labels[int(digit) - 1])).to_have_attribute("aria-checked", "true")


def press_until(page: Page, key: str, there: Locator) -> None:
    """Presses a button's key, which Streamlit listens for some time after it has drawn the button."""
    for _ in range(5):
        page.keyboard.press(key)
        with suppress(NotInTime):
            there.wait_for(timeout=10_000)
            return
    raise AssertionError(f"{key} leads nowhere")


def progress(page: Page) -> Locator:
    return form(page).get_by_role("progressbar", name="Progress")


def answered(page: Page, n: int) -> None:
    """Waits until so many of the three are answered."""
    if n < len(ASKED):
        expect(progress(page)).to_have_attribute("aria-valuenow", str(n))
        settled(page)
    else:
        expect(page.locator(".st-key-assay-queue-done")).to_contain_text(f"You answered {n}")


def test_two_people_label_by_keyboard_and_a_third_decides(visit: Visit, desk: Desk) -> None:
    queue = desk.queue("desk")
    ann = visit(f"annotate?queue={queue}")
    digits = {"parcel": "2", "refund": "1", "address": "s"}
    for n in range(3):
        name = on_screen(ann)
        expect(progress(ann)).to_have_attribute("aria-valuenow", str(n))
        expect(progress(ann)).to_have_attribute("aria-valuemax", "3")
        expect(form(ann)).to_contain_text(f"{n} / 3")
        if digits[name] == "s":
            ann.keyboard.press("s")
            expect(form(ann).get_by_role("group", name="Why it is skipped")).to_be_visible()
            picture(ann, "skip")
            ann.keyboard.press("1")
        else:
            choose(ann, digits[name])
        if name == "refund":
            ann.keyboard.press("n")
            ann.keyboard.type(NOTE)
            picture(ann, "form")
        if digits[name] != "s":
            ann.keyboard.press("Control+Enter")
        answered(ann, n + 1)
    picture(ann, "done")

    bob = visit(f"annotate?queue={queue}", "bob")
    digits = {"parcel": "2", "refund": "2", "address": "2"}
    for n in range(3):
        name = on_screen(bob)
        for label in RUBRIC.labels:
            expect(choice(bob, label)).to_have_attribute("aria-checked", "false")
        text = bob.locator("body").inner_text() + form(bob).locator("textarea").input_value()
        for hidden in (NOTE, SECRET, r"\bann\b", "strict", "others"):
            assert not re.search(hidden, text), hidden
        choose(bob, digits[name])
        bob.keyboard.press("Control+Enter")
        answered(bob, n + 1)
    assert desk.statuses(queue) == {
        "parcel": ("completed", "pass"),
        "refund": ("needs_adjudication", None),
        "address": ("needs_others_review", None),
    }

    pat = visit(f"annotate?queue={queue}&view=adjudicate", "pat")
    expect(pat.locator(".st-key-assay-labelled")).to_contain_text("I want my money back")
    expect(form(pat)).to_contain_text(NOTE)
    for who in ("ann", "bob"):
        expect(form(pat)).to_contain_text(who)
    picture(pat, "adjudicate")
    choose(pat, "1")
    pat.keyboard.press("n")
    pat.keyboard.type("no refund was made")
    pat.keyboard.press("Control+Enter")
    expect(pat.locator(".st-key-assay-empty-adjudicate")).to_contain_text("You decided 1 task")
    assert desk.statuses(queue)["refund"] == ("completed", "fail")
    press_until(pat, "o", metric(pat, "Completed"))
    expect(metric(pat, "Completed")).to_have_text("2")
    expect(metric(pat, "Wait for others")).to_have_text("1")
    expect(metric(pat, "Answers")).to_have_text("5 / 6")
    expect(pat.get_by_text("Mean kappa of pairs")).to_be_visible()
    picture(pat, "overview")


def test_going_back_and_forth_and_answering_anew(visit: Visit, desk: Desk) -> None:
    queue = desk.queue("back", n_annotators=1)
    page = visit(f"annotate?queue={queue}")
    first = on_screen(page)
    with another(page):
        choose(page, "2")
        page.keyboard.press("Control+Enter")
    with another(page):  # not answered: it goes to the end
        left = on_screen(page)
        page.keyboard.press("j")
    with another(page):
        page.keyboard.press("k")
    assert on_screen(page) == left
    with another(page):
        page.keyboard.press("ArrowLeft")
    assert on_screen(page) == first
    expect(form(page)).to_contain_text("Completed: pass (unanimous). You may still answer anew.")
    expect(choice(page, "pass")).to_have_attribute("aria-checked", "true")
    with another(page):
        choose(page, "1")
        page.keyboard.press("Control+Enter")
    assert desk.statuses(queue)[first] == ("completed", "fail")
    with another(page):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("h")
    expect(form(page).get_by_text("these keys")).to_be_visible()
    picture(page, "help")
    page.keyboard.press("h")
    expect(form(page).get_by_text("these keys")).to_have_count(0)
    page.keyboard.press("i")
    expect(form(page).get_by_text("Was the customer's request resolved?")).not_to_be_visible()
    page.keyboard.press("Control+Enter")
    expect(form(page)).to_contain_text("Choose a label first")
    page.keyboard.press("s")
    page.keyboard.press("Escape")
    expect(choice(page, "pass")).to_be_visible()


def test_what_is_written_and_not_sent_stays_when_one_looks_back(visit: Visit, desk: Desk) -> None:
    queue = desk.queue("draft", n_annotators=1)
    page = visit(f"annotate?queue={queue}")
    with another(page):
        choose(page, "2")
        page.keyboard.press("Control+Enter")
    choose(page, "1")
    page.keyboard.press("n")
    page.keyboard.type("half a thought")
    expect(form(page).locator("textarea")).to_have_value("half a thought")
    page.keyboard.press("Escape")
    with another(page):
        page.keyboard.press("k")
    with another(page):
        page.keyboard.press("j")
    expect(choice(page, "fail")).to_have_attribute("aria-checked", "true")
    expect(form(page).locator("textarea")).to_have_value("half a thought")


def test_a_reservation_that_ends_is_said_and_can_be_had_again(visit: Visit, desk: Desk) -> None:
    queue = desk.queue("short", reservation_s=10, n_annotators=1)
    page = visit(f"annotate?queue={queue}")
    before = on_screen(page)
    expect(form(page)).to_contain_text("Reserved for you until")
    expect(form(page)).to_contain_text("Your reservation ended at")
    picture(page, "ended")
    page.keyboard.press("g")
    expect(form(page)).to_contain_text("Reserved for you until")
    assert on_screen(page) == before
    expect(form(page)).to_contain_text("Your reservation ended at")
    taken = desk.call("POST", f"/{queue}/next", "bob")["task"][
        "task_id"
    ]  # free again: bob is given it, and completes it
    desk.call("POST", f"/{queue}/tasks/{taken}/annotations", "bob", {"labels": ["fail"]})
    with another(page):
        choose(page, "2")
        page.keyboard.press("Control+Enter")
    expect(form(page)).to_contain_text("Others completed this task meanwhile; your answer was not counted")
    picture(page, "not-counted")
    assert desk.statuses(queue)[before] == ("completed", "fail")


def test_the_list_leads_into_a_queue_by_its_digit(visit: Visit, desk: Desk) -> None:
    desk.queue("a-first")
    page = visit("annotate")
    expect(page.locator(".st-key-assay-queue-1")).to_contain_text("a-first")
    settled(page)
    picture(page, "list")
    press_until(page, "1", page.locator(".st-key-assay-labelled"))
    expect(page).to_have_url(re.compile("queue=a-first"))
    on_screen(page)
    press_until(page, "o", metric(page, "Not answered"))
    expect(metric(page, "Not answered")).to_have_text("3")
    refused = page.get_by_text("Deciding what annotators disagree on takes a key of role power_user")
    press_until(page, "d", refused)
    press_until(page, "a", page.locator(".st-key-assay-labelled"))
    on_screen(page)


def test_a_queue_is_made_and_drawn_for(visit: Visit, desk: Desk) -> None:
    page = visit("annotate", "pat")
    page.get_by_text("New queue").click()
    page.get_by_label("Name").fill("made-here")
    pick(page, "To hold a judge to account", "strict")
    page.get_by_role("button", name="Make the queue").click()
    expect(page).to_have_url(re.compile("queue=made-here&view=overview"))
    settled(page)
    pick(page, "From", "last 90 days")
    page.get_by_role("button", name="Show the plan").click()
    expect(page.get_by_text("Would draw about 1 of 1:")).to_be_visible()  # what the judge said, not the sessions
    expect(page.locator('[data-testid="stDataFrame"] canvas td').filter(has_text="fail / high")).to_be_attached()
    picture(page, "plan")
    page.get_by_role("button", name="Draw", exact=True).click()
    expect(page.get_by_text("1 task drawn from 1; 0 were there already.")).to_be_visible()
    press_until(page, "a", page.locator(".st-key-assay-labelled").get_by_text("question 1"))
    expect(form(page)).to_contain_text("0 / 1")


def test_a_session_is_put_into_a_queue(visit: Visit, desk: Desk) -> None:
    queue = desk.queue("from-session")
    page = visit("session?session_id=s1")
    page.get_by_role("button", name="Add to queue").click()
    expect(page.get_by_text("takes a key of role power_user")).to_be_visible()
    page.get_by_label("Your key").fill(desk.shell.keys[AIRLINE, "pat"])  # type: ignore[index]
    page.keyboard.press("Enter")
    page.get_by_role("combobox", name="Queue").click()
    page.get_by_role("option", name=queue).click()
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_text("Added, at the end of the queue.")).to_be_visible()
    picture(page, "session")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_text("It is in this queue already.")).to_be_visible()
    assert desk.statuses(queue)["s1"] == ("needs_review", None)


def test_what_others_write_stays_text(visit: Visit, desk: Desk) -> None:
    desk.call("POST", "", body={"name": "hostile", "app": ATTACK, "rubric": "hostile"})
    items = [_item(ATTACK, [ATTACK, ATTACK]), {"item": "pair", "content": {"answer_a": ATTACK, "answer_b": "x"}}]
    desk.call("POST", "/hostile/tasks", body={"items": items})
    page = visit("annotate?queue=hostile")
    for n in range(len(items)):
        expect(progress(page)).to_have_attribute("aria-valuenow", str(n))
        expect(form(page)).to_contain_text("<img src=x")
        expect(page.locator(".st-key-assay-labelled")).to_contain_text("<img src=x")
        settled(page)
        harmless(page)
        box = form(page).get_by_role("checkbox")
        page.keyboard.press("1")
        page.keyboard.press("3")
        expect(box.nth(0)).to_have_attribute("aria-checked", "true")
        expect(box.nth(2)).to_have_attribute("aria-checked", "true")
        page.keyboard.press("1")
        expect(box.nth(0)).to_have_attribute("aria-checked", "false")
        page.keyboard.press("Control+Enter")
    expect(page.locator(".st-key-assay-queue-done")).to_be_visible()
    assert {label for _, label in desk.statuses("hostile").values()} == {"late"}
    harmless(page)


@pytest.mark.parametrize("view", ["annotate", "overview"])
def test_narrow_screens_do_not_overflow(visit: Visit, desk: Desk, view: str) -> None:
    queue = desk.queue(f"narrow-{view}")
    page = visit(f"annotate?queue={queue}&view={view}", width=420)
    expect(page.locator(".st-key-assay-labelled" if view == "annotate" else ".st-key-queue-draw")).to_be_visible()
    settled(page)
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    picture(page, f"narrow-{view}")


def test_in_the_dark(visit: Visit, desk: Desk) -> None:
    page = visit(f"annotate?queue={desk.queue('dark')}", dark=True)
    on_screen(page)
    choose(page, "2")
    picture(page, "dark")


def test_an_unknown_queue_is_said(visit: Visit) -> None:
    page = visit("annotate?queue=nothing")
    expect(page.get_by_text("Nothing is stored under this id")).to_be_visible()
