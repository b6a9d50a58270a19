// Two aligned trajectories: a row for each pair of steps, equal runs folded. Every text enters as textContent.
const states = new WeakMap();

export default function ({ data: [data], parentElement, setTriggerValue }) {
  let state = states.get(parentElement);
  if (!state || state.signature !== data.signature) {
    parentElement.querySelectorAll(".root").forEach((old) => old.remove());
    state = { signature: data.signature, open: new Set(), data, whole: false };
    states.set(parentElement, state);
    state.root = make("div", "root");
    parentElement.append(state.root);
    state.runs = runs(data.rows, data.first);
    state.tell = (side, step) => setTriggerValue("opened", [side, step.trace || "", step.span || ""]);
    draw(state);
    if (data.first !== null) requestAnimationFrame(() => toDivergence(state));
  }
  state.tell = (side, step) => setTriggerValue("opened", [side, step.trace || "", step.span || ""]);
}

function make(tag, name, text) {
  const element = document.createElement(tag);
  if (name) element.className = name;
  if (text !== undefined) element.textContent = text;
  return element;
}

// Parts of the rows: [from, until, folded]. Equal rows beside others stay; two or more further ones are folded.
function runs(rows, first) {
  const near = new Set(first === null ? [] : [first]);
  rows.forEach((row, n) => { if (row.match !== "equal") [n - 1, n, n + 1].forEach((m) => near.add(m)); });
  const found = [];
  for (let at = 0; at < rows.length;) {
    let until = at;
    while (until < rows.length && near.has(until) === near.has(at)) until++;
    found.push([at, until, !near.has(at) && until - at > 1]);
    at = until;
  }
  return found;
}

function draw(state) {
  const { data, root } = state;
  root.textContent = "";
  const bar = make("div", "bar");
  const fold = make("button", "tool", state.whole ? "Fold equal steps" : "Show every step");
  fold.onclick = () => { state.whole = !state.whole; state.open.clear(); draw(state); };
  bar.append(fold);
  if (data.first !== null) {
    const jump = make("button", "tool", "First divergence");
    jump.onclick = () => toDivergence(state);
    bar.append(jump);
  }
  for (const [kind, words] of data.legend) bar.append(make("span", `key ${kind}`, words));
  root.append(bar);
  const head = make("div", "row heads");
  head.append(make("div", "mark"), make("div", "cell", data.heads[0]), make("div", "cell", data.heads[1]));
  root.append(head);
  for (const [from, until, folded] of state.runs) {
    if (folded && !state.whole && !state.open.has(from)) {
      const button = make("button", "fold", `${until - from} equal steps`);
      button.onclick = () => { state.open.add(from); draw(state); };
      root.append(button);
      continue;
    }
    for (let n = from; n < until; n++) {
      if (n === data.first) root.append(make("div", "divergence", "First divergence"));
      root.append(drawn(state, data.rows[n]));
    }
  }
}

function drawn(state, row) {
  const element = make("div", `row ${row.match}`);
  element.append(make("div", "mark", { equal: "", changed: "≠", only_a: "A", only_b: "B" }[row.match]));
  element.append(cell(state, "a", row.a), cell(state, "b", row.b));
  if (row.differences.length) {
    const table = make("div", "differences");
    for (const [path, a, b] of row.differences) {
      table.append(make("div", "path", path), value(a), value(b));
    }
    element.append(table);
  }
  return element;
}

function value(text) {
  return text === null ? make("div", "value absent", "absent") : make("div", "value", text);
}

function cell(state, side, step) {
  const element = make("div", "cell");
  if (!step) { element.classList.add("none"); return element; }
  const head = make("div", "step");
  head.append(make("span", "icon", step.icon), make("span", "title", step.title));
  if (step.measures) head.append(make("span", "measures", step.measures));
  if (step.trace) {
    const open = make("button", "open", "open_in_new");
    open.setAttribute("aria-label", "Open this step in its trace");
    open.title = "Open this step in its trace";
    open.onclick = () => state.tell(side, step);
    head.append(open);
  }
  element.append(head);
  if (step.text) element.append(make("div", "text", step.text));
  if (step.error) element.append(make("div", "error", step.error));
  return element;
}

function toDivergence(state) {
  state.root.querySelector(".divergence")?.scrollIntoView({ block: "center" });
}
