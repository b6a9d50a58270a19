// The form of one task of a label queue. Choices and notes stay here until they are sent. Texts enter as textContent.
const forms = new WeakMap();
const drafts = new Map(); // stamp (who, how, which task) -> what was chosen and written and not sent yet
const REASONS = ["Not enough to decide", "A language that I do not read", "Broken or empty", "The rubric does not fit"];
const PATIENCE_MS = 20000; // after that what was pressed may be pressed again

export default function ({ data: [data], parentElement, setTriggerValue }) {
  let form = forms.get(parentElement);
  if (!form) {
    form = build(parentElement);
    forms.set(parentElement, form);
  }
  form.tell = (value) => setTriggerValue("said", value);
  load(form, data);
  form.stop?.();
  const stop = listen(form);
  form.stop = stop;
  return stop; // its own: the end of an earlier drawing may come after a later one has begun
}

function listen(form) {
  const onKey = (event) => key(form, event);
  document.addEventListener("keydown", onKey);
  const ticking = setInterval(() => tick(form), 1000);
  return () => {
    document.removeEventListener("keydown", onKey);
    clearInterval(ticking);
  };
}

function make(tag, name, text) {
  const element = document.createElement(tag);
  if (name) element.className = name;
  if (text !== undefined) element.textContent = text;
  return element;
}

function build(parent) {
  const root = make("div", "root");
  parent.append(root);
  return { root, data: null, draft: null, skipping: false, helping: false, sentAt: 0, number: Date.now(), folded: false };
}

function load(form, data) {
  const isNew = !form.data || form.data.stamp !== data.stamp;
  if (!form.data || isNew || form.data.seen !== data.seen) form.sentAt = 0;
  form.data = data;
  form.deadline = data.left_s === null ? null : performance.now() + data.left_s * 1000;
  if (isNew) {
    form.skipping = false;
    form.complaint = "";
    form.draft = drafts.get(data.stamp) || { labels: [...data.chosen], note: data.note };
    drafts.set(data.stamp, form.draft);
    const page = form.root.getRootNode().host?.closest('[data-testid="stMain"]');
    if (page) page.scrollTo({ top: 0 });
  }
  draw(form);
}

// --- what is on the screen ------------------------------------------------------------------------------------------

function draw(form) {
  const { data, root } = form;
  const typing = root.getRootNode().activeElement === form.note;
  const at = typing ? form.note.selectionStart : 0;
  const parts = [progress(form), clock(form)];
  if (data.told) parts.push(make("div", `told ${data.told.kind}`, data.told.text));
  parts.push(rubric(form));
  if (data.answers) parts.push(answers(data.answers));
  parts.push(form.skipping ? reasons(form) : labels(form));
  if (!form.skipping) parts.push(note(form));
  parts.push(buttons(form), legend(form));
  root.replaceChildren(...parts);
  if (typing && !form.skipping) {
    form.note.focus();
    form.note.setSelectionRange(at, at);
  }
  tick(form);
}

function progress({ data }) {
  const box = make("div", "progress");
  const words = make("div", "words");
  words.append(make("strong", "", `${data.done} / ${data.total}`), make("span", "soft", data.counted));
  const bar = make("div", "bar");
  bar.setAttribute("role", "progressbar");
  bar.setAttribute("aria-label", "Progress");
  bar.setAttribute("aria-valuemin", "0");
  bar.setAttribute("aria-valuemax", String(data.total));
  bar.setAttribute("aria-valuenow", String(data.done));
  const fill = make("div", "fill");
  fill.style.width = `${data.total ? (100 * data.done) / data.total : 0}%`;
  bar.append(fill);
  box.append(words, bar);
  return box;
}

function clock(form) {
  const box = make("div", "clock");
  form.clock = make("span", "");
  form.again = make("button", "link", "Reserve it again");
  form.again.append(cap("G"));
  form.again.onclick = () => send(form, "again");
  box.append(form.clock, form.again);
  box.hidden = form.deadline === null;
  form.clockBox = box;
  return box;
}

function tick(form) {
  if (form.deadline === null || !form.clock) return;
  const left = Math.round((form.deadline - performance.now()) / 1000);
  const over = left <= 0;
  form.clockBox.className = over ? "clock over" : left <= 60 ? "clock soon" : "clock";
  form.again.hidden = !over;
  const text = over
    ? `Your reservation ended at ${form.data.until}. Somebody else may be given this one now; your answer counts as long as nobody else completed it.`
    : `Reserved for you until ${form.data.until}, ${span(left)} left`;
  if (form.clock.textContent !== text) form.clock.textContent = text;
}

function span(seconds) {
  if (seconds >= 5400) return `${Math.round(seconds / 3600)} h`;
  const minutes = Math.floor(seconds / 60);
  return minutes ? `${minutes}:${String(seconds % 60).padStart(2, "0")} min` : `${seconds} s`;
}

function rubric(form) {
  const box = make("details", "rubric");
  box.open = !form.folded;
  box.ontoggle = () => { form.folded = !box.open; };
  const head = make("summary");
  head.append(make("strong", "", form.data.rubric.title), cap("I"));
  box.append(head, make("div", "text", form.data.rubric.text));
  return box;
}

function answers(said) {
  const box = make("div", "answers");
  for (const one of said) {
    const card = make("div", one.skipped ? "answer skipped" : "answer");
    card.append(make("div", "soft", one.who), make("div", "label", one.label), make("div", "why", one.note));
    box.append(card);
  }
  return box;
}

function labels(form) {
  const { data, draft } = form;
  const box = make("div", "labels");
  box.setAttribute("role", data.rubric.many ? "group" : "radiogroup");
  box.setAttribute("aria-label", `Labels: ${data.rubric.how}`);
  box.append(make("div", "soft how", data.rubric.how));
  data.rubric.labels.forEach((one, index) => {
    const chosen = draft.labels.includes(one.name);
    const button = make("button", chosen ? "choice chosen" : "choice");
    button.setAttribute("role", data.rubric.many ? "checkbox" : "radio");
    button.setAttribute("aria-checked", String(chosen));
    button.disabled = Boolean(data.locked);
    button.onclick = () => choose(form, index);
    const words = make("span", "words");
    words.append(make("span", "label", one.shown));
    if (one.about) words.append(make("span", "about", one.about));
    button.append(cap(index < 9 ? String(index + 1) : index === 9 ? "0" : ""), words);
    box.append(button);
  });
  return box;
}

function note(form) {
  const box = make("label", "note");
  const words = make("span", "soft", "Note");
  words.append(cap("N"));
  const area = make("textarea");
  area.value = form.draft.note;
  area.rows = 2;
  area.maxLength = 4000;
  area.disabled = Boolean(form.data.locked);
  area.placeholder = "Why, for whoever reads the label";
  area.setAttribute("aria-label", "Note");
  area.oninput = () => { form.draft.note = area.value; };
  form.note = area;
  box.append(words, area);
  return box;
}

function reasons(form) {
  const box = make("div", "labels");
  box.setAttribute("role", "group");
  box.setAttribute("aria-label", "Why it is skipped");
  box.append(make("div", "how", "Why is it skipped? It then has no label of yours, and is nobody's fail."));
  offered(form).forEach((words, index) => {
    const button = make("button", "choice");
    button.onclick = () => skip(form, index);
    button.append(cap(String(index + 1)), make("span", "words", words));
    box.append(button);
  });
  return box;
}

function offered(form) {
  const own = form.draft.note.trim();
  return own ? [...REASONS, `My note: ${own.slice(0, 120)}`] : REASONS;
}

function buttons(form) {
  const box = make("div", "buttons");
  const { data } = form;
  if (form.skipping) {
    box.append(button(form, "Do not skip", "Esc", () => { form.skipping = false; draw(form); }));
    return box;
  }
  const main = button(form, data.verb, "Ctrl ↵", () => complete(form));
  main.classList.add("main");
  main.disabled = Boolean(data.locked) || busy(form);
  box.append(main);
  if (data.mode === "annotate") {
    const other = button(form, "Skip", "S", () => { form.skipping = true; draw(form); });
    other.disabled = Boolean(data.locked) || busy(form);
    box.append(other);
  }
  const back = button(form, "Back", "K", () => send(form, "previous"));
  back.disabled = data.first || busy(form);
  const next = button(form, data.next, "J", () => send(form, "next"));
  next.disabled = data.last || busy(form);
  box.append(back, next);
  if (busy(form)) box.append(make("span", "soft", "Sending…"));
  if (form.complaint) box.append(make("span", "complaint", form.complaint));
  return box;
}

function button(form, text, keys, act) {
  const made = make("button", "act", text);
  made.append(cap(keys));
  made.onclick = act;
  return made;
}

function cap(text) {
  const made = make("kbd", text ? "" : "none", text);
  made.setAttribute("aria-hidden", "true");
  return made;
}

function legend(form) {
  const box = make("div", "legend");
  const known = form.data.mode === "annotate"
    ? [["1–9", "choose"], ["Ctrl ↵", "complete, next"], ["S", "skip"], ["N", "note"], ["J →", "next, later"], ["K ←", "back"], ["H", "all keys"]]
    : [["1–9", "choose"], ["Ctrl ↵", "decide, next"], ["N", "note"], ["J →", "next"], ["K ←", "back"], ["H", "all keys"]];
  for (const [keys, words] of known) {
    const one = make("span", "one");
    one.append(cap(keys), make("span", "", words));
    box.append(one);
  }
  if (!form.helping) return box;
  const both = make("div");
  both.append(box, help(form));
  return both;
}

function help(form) {
  const box = make("dl", "help");
  box.setAttribute("aria-label", "All keys");
  const skipping = [["S", "skip: then a digit says why, Esc goes back"]];
  const again = [["G", "reserve it again when the reservation is over"]];
  const rows = [
    ["1 to 9, 0", form.data.rubric.many ? "choose a label, or take it back (0 is the tenth)" : "choose a label (0 is the tenth)"],
    ["Ctrl+Enter", `${form.data.verb.toLowerCase()}, also while you write the note (on a Mac ⌘+Enter)`],
    ...(form.data.mode === "annotate" ? skipping : []),
    ["N", "write the note; Esc leaves it"],
    ["J or →", form.data.mode === "annotate" ? "the next one; what is not answered goes to the end of the queue" : "the next one"],
    ["K or ←", "back to the one before, to answer it anew where that is still possible"],
    ["I", "show or hide what the rubric says"],
    ...(form.data.mode === "annotate" ? again : []),
    ["↑ ↓, Space", "scroll the conversation"],
    ["H or ?", "these keys"],
  ];
  for (const [keys, words] of rows) box.append(make("dt", "", keys), make("dd", "", words));
  return box;
}

// --- what is pressed ------------------------------------------------------------------------------------------------

function busy(form) {
  return form.sentAt > 0 && performance.now() - form.sentAt < PATIENCE_MS;
}

function choose(form, index) {
  const { data, draft } = form;
  const one = data.rubric.labels[index];
  if (!one || data.locked || busy(form)) return;
  const has = draft.labels.includes(one.name);
  if (data.rubric.many) draft.labels = has ? draft.labels.filter((name) => name !== one.name) : [...draft.labels, one.name];
  else draft.labels = [one.name];
  form.complaint = "";
  draw(form);
}

function complete(form) {
  if (form.data.locked) return;
  if (!form.draft.labels.length) {
    form.complaint = "Choose a label first";
    draw(form);
    return;
  }
  send(form, "complete");
}

function skip(form, index) {
  const words = offered(form)[index];
  if (words === undefined) return;
  send(form, "skip", index < REASONS.length ? words : form.draft.note.trim());
}

function send(form, what, reason = "") {
  const { data, draft } = form;
  if (busy(form) || (what === "previous" && data.first) || (what === "next" && data.last)) return;
  form.sentAt = performance.now();
  form.number = Math.max(form.number + 1, Date.now());
  form.complaint = "";
  if (what === "complete" || what === "skip") drafts.delete(data.stamp);
  form.note?.blur();
  draw(form);
  form.tell(JSON.stringify({ number: form.number, id: data.id, what, labels: draft.labels, note: draft.note, reason }));
}

function key(form, event) {
  if (!form.root.isConnected || event.defaultPrevented || event.repeat) return;
  const target = event.composedPath()[0];
  const own = target === form.note;
  const elsewhere = !own && (target.isContentEditable || ["INPUT", "TEXTAREA", "SELECT"].includes(target.tagName));
  if (elsewhere || document.querySelector('[role="dialog"]')?.contains(target)) return;
  if ((event.ctrlKey || event.metaKey) && event.key === "Enter") {
    if (!form.skipping) complete(form);
  } else if (event.ctrlKey || event.metaKey || event.altKey) return;
  else if (own) {
    if (event.key !== "Escape") return;
    form.note.blur();
  } else if (!plain(form, event.key)) return;
  event.preventDefault();
  event.stopPropagation();
}

function plain(form, pressed) {
  if (/^[0-9]$/.test(pressed)) {
    const index = pressed === "0" ? 9 : Number(pressed) - 1;
    if (form.skipping) skip(form, index);
    else choose(form, index);
    return true;
  }
  const annotating = form.data.mode === "annotate";
  const acts = {
    n: () => { form.skipping = false; draw(form); form.note.focus(); form.note.scrollIntoView({ block: "nearest" }); },
    i: () => { form.folded = !form.folded; draw(form); },
    h: () => { form.helping = !form.helping; draw(form); },
    "?": () => { form.helping = !form.helping; draw(form); },
    j: () => send(form, "next"),
    k: () => send(form, "previous"),
    arrowright: () => send(form, "next"),
    arrowleft: () => send(form, "previous"),
    escape: () => { form.skipping = false; form.helping = false; draw(form); },
    ...(annotating ? { g: () => send(form, "again"), s: () => { if (!form.data.locked && !busy(form)) { form.skipping = true; draw(form); } } } : {}),
  };
  const act = acts[pressed.toLowerCase()];
  if (!act) return false;
  act();
  return true;
}
