// Spans of one trace as tree, waterfall or log. Draws only the rows in view; every text enters as textContent.
const ROW = 32;
const states = new WeakMap();
let lastView = "tree"; // the way of looking is kept from trace to trace

export default function ({ data: [data], parentElement, setTriggerValue }) {
  let state = states.get(parentElement);
  if (!state) {
    state = build(parentElement);
    states.set(parentElement, state);
  }
  state.choose = (index) => setTriggerValue("selected", state.columns.id[index]);
  if (state.signature !== JSON.stringify([data.columns.id.length, data.columns.id[0]])) load(state, data);
  state.data = data;
  if (data.selected !== null && data.selected !== state.told) {
    state.told = data.selected;
    const index = data.columns.id.indexOf(data.selected);
    if (index >= 0 && index !== state.selected) { state.selected = index; reveal(state, index); }
  }
  draw(state);
  if (state.pending !== undefined) requestAnimationFrame(() => scrollTo(state, state.pending));
}

function make(tag, name, text) {
  const element = document.createElement(tag);
  if (name) element.className = name;
  if (text !== undefined) element.textContent = text;
  return element;
}

function build(parent) {
  const state = { view: lastView, selected: -1, told: undefined, closed: new Set(), find: "", errorsOnly: false };
  const root = make("div", "root");
  const bar = make("div", "bar");
  const views = make("div", "views");
  views.setAttribute("role", "group");
  views.setAttribute("aria-label", "How spans are shown");
  state.viewButtons = ["tree", "waterfall", "log"].map((view) => {
    const button = make("button", "", view[0].toUpperCase() + view.slice(1));
    button.onclick = () => { state.view = lastView = view; compute(state); draw(state); scrollTo(state, state.selected); };
    views.append(button);
    return button;
  });
  const fold = make("button", "tool", "Expand");
  fold.onclick = () => {
    const all = parents(state.columns);
    state.closed = state.closed.size ? new Set() : new Set(all.filter((i) => state.columns.depth[i] > 0));
    compute(state); draw(state);
  };
  const errors = make("button", "tool", "Next error");
  errors.onclick = () => nextError(state);
  const find = make("input");
  find.placeholder = "Find by name…";
  find.setAttribute("aria-label", "Find spans by name");
  find.oninput = () => { state.find = find.value.trim().toLowerCase(); compute(state); draw(state); };
  bar.append(views, fold, errors, find);
  const frame = make("div", "frame");
  const axis = make("div", "axis");
  const scroll = make("div", "scroll");
  scroll.tabIndex = 0;
  scroll.setAttribute("role", "tree");
  scroll.setAttribute("aria-label", "Spans");
  const space = make("div", "space");
  scroll.append(space);
  frame.append(axis, scroll);
  const foot = make("div", "foot");
  root.append(bar, frame, foot);
  parent.append(root);
  scroll.onscroll = () => requestAnimationFrame(() => draw(state));
  scroll.onkeydown = (event) => onKey(state, event);
  new ResizeObserver(() => draw(state)).observe(root);
  return Object.assign(state, { root, axis, scroll, space, fold, errors, foot });
}

function load(state, data) {
  const grown = state.columns && state.columns.id[0] === data.columns.id[0];
  const chosen = state.selected >= 0 ? state.columns.id[state.selected] : null;
  state.columns = data.columns;
  state.data = data;
  state.signature = JSON.stringify([data.columns.id.length, data.columns.id[0]]);
  state.isError = new Set(data.columns.error);
  state.isOrphan = new Set(data.columns.orphan);
  state.isGateway = new Set(data.columns.gateway);
  state.isUncounted = new Set(data.columns.uncounted);
  const { start, ms } = data.columns;
  state.from = 0; state.until = 0;
  for (let i = 0; i < start.length; i++) {
    state.from = Math.min(state.from, start[i]);
    state.until = Math.max(state.until, start[i] + ms[i]);
  }
  // Short traces open whole; of a long one only the top, so that the page says something at a glance.
  state.closed = new Set(start.length <= 150 ? [] : parents(data.columns).filter((i) => data.columns.depth[i] > 0));
  state.selected = grown && chosen ? data.columns.id.indexOf(chosen) : -1;
  state.byStart = Array.from(start.keys()).sort((a, b) => start[a] - start[b] || a - b);
  compute(state);
}

function parents({ below }) {
  const found = [];
  for (let i = 0; i < below.length; i++) if (below[i] > 0) found.push(i);
  return found;
}

function compute(state) {
  const { below, name } = state.columns;
  const rows = [];
  if (state.find) {
    const order = state.view === "log" ? state.byStart : name.keys();
    for (const i of order) if (name[i].toLowerCase().includes(state.find)) rows.push(i);
  } else if (state.view === "log") {
    for (const i of state.byStart) rows.push(i);
  } else {
    for (let i = 0; i < below.length; i++) { rows.push(i); if (state.closed.has(i)) i += below[i]; }
  }
  state.rows = rows;
}

function reveal(state, index) {
  const { below } = state.columns;
  for (const i of [...state.closed]) if (i < index && index <= i + below[i]) state.closed.delete(i);
  state.find && (state.find = "", state.root.querySelector("input").value = "");
  compute(state);
  state.pending = index;
}

function scrollTo(state, index) {
  state.pending = undefined;
  const place = state.rows.indexOf(index);
  if (place < 0) return;
  const { scroll } = state;
  const top = place * ROW;
  if (top < scroll.scrollTop || top + ROW > scroll.scrollTop + scroll.clientHeight)
    scroll.scrollTop = Math.max(0, top - scroll.clientHeight / 2);
  draw(state);
}

function select(state, index, later) {
  state.selected = index;
  state.told = state.columns.id[index];
  draw(state);
  clearTimeout(state.timer);
  state.timer = setTimeout(() => state.choose(index), later ? 160 : 0);
}

function nextError(state) {
  const errors = state.columns.error;
  if (!errors.length) return;
  const next = errors.find((i) => i > state.selected);
  const index = next === undefined ? errors[0] : next;
  reveal(state, index);
  select(state, index);
  scrollTo(state, index);
}

function toggle(state, index) {
  if (!state.closed.delete(index)) state.closed.add(index);
  compute(state); draw(state);
}

function onKey(state, event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const place = state.rows.indexOf(state.selected);
  const steps = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1 };
  if (event.key in steps) {
    const index = state.rows[Math.min(state.rows.length - 1, Math.max(0, place + steps[event.key]))];
    select(state, index, true); scrollTo(state, index);
  } else if (event.key === "ArrowRight" && state.closed.has(state.selected)) toggle(state, state.selected);
  else if (event.key === "ArrowLeft" && state.columns.below[state.selected] && !state.closed.has(state.selected))
    toggle(state, state.selected);
  else if (event.key === "e") nextError(state);
  else return;
  event.preventDefault();
  event.stopPropagation();
}

function draw(state) {
  const { scroll, space, rows, columns, view } = state;
  if (!columns) return;
  const width = state.root.clientWidth;
  state.root.classList.toggle("narrow", width < 440);
  state.root.classList.toggle("tight", width < 380);
  ["tree", "waterfall", "log"].forEach((one, i) => state.viewButtons[i].setAttribute("aria-pressed", String(one === view)));
  state.fold.textContent = state.closed.size ? "Expand" : "Collapse";
  state.fold.disabled = view === "log" || !!state.find;
  state.errors.disabled = !columns.error.length;
  state.errors.textContent = columns.error.length ? `Next error (${columns.error.length.toLocaleString("en")})` : "No errors";
  scroll.style.height = `${Math.max(72, Math.min(620, Math.max(320, window.innerHeight - 400), rows.length * ROW + 8))}px`;
  space.style.height = `${rows.length * ROW}px`;
  drawAxis(state, width);
  const first = Math.max(0, Math.floor(scroll.scrollTop / ROW) - 4);
  const last = Math.min(rows.length, Math.ceil((scroll.scrollTop + scroll.clientHeight) / ROW) + 4);
  const drawn = [];
  for (let place = first; place < last; place++) drawn.push(drawRow(state, rows[place], place, width));
  space.replaceChildren(...drawn);
  const shown = state.find ? `${rows.length.toLocaleString("en")} of ` : "";
  state.foot.textContent = `${shown}${columns.id.length.toLocaleString("en")} ${columns.id.length === 1 ? "span" : "spans"} · ${state.isUncounted.size ? "(in brackets): counted in another span · " : ""}j k move · ← → fold · e next error`;
}

function nameWidth(width) { return Math.max(150, Math.min(380, width * 0.42)); }

function drawAxis(state, width) {
  const { axis } = state;
  axis.style.display = state.view === "waterfall" ? "block" : "none";
  if (state.view !== "waterfall") return;
  const left = nameWidth(width);
  const room = width - left - 30;
  const n = room > 420 ? 4 : 2;
  const ticks = [];
  for (let i = 0; i <= n; i++) {
    const tick = make("span", "", `${short(((state.until - state.from) * i) / n)}`);
    tick.style.left = `${left + (room * i) / n}px`;
    ticks.push(tick);
  }
  axis.replaceChildren(...ticks);
}

function short(ms) {
  if (ms === 0) return "0";
  if (ms < 1000) return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
  if (ms < 120000) return `${(ms / 1000).toFixed(ms < 10000 ? 2 : 1)} s`;
  return `${(ms / 60000).toFixed(1)} m`;
}

function drawRow(state, index, place, width) {
  const { columns, data, view } = state;
  const kind = columns.kind[index];
  const colour = kind < 0 ? data.other_colour : data.colours[kind];
  const row = make("div", index === state.selected ? "row chosen" : "row");
  row.style.top = `${place * ROW}px`;
  row.setAttribute("role", "treeitem");
  row.setAttribute("aria-level", String(columns.depth[index] + 1));
  row.setAttribute("aria-selected", String(index === state.selected));
  row.dataset.span = columns.id[index];
  row.title = columns.name[index];
  row.onclick = () => select(state, index);
  const icon = make("span", "icon", kind < 0 ? data.other_icon : data.icons[kind]);
  icon.style.color = colour;
  icon.setAttribute("aria-hidden", "true");
  const name = make("span", "name", columns.name[index]);
  name.dir = "auto";
  const bad = state.isError.has(index);
  const badge = make("span", "badge", "error");
  badge.style.color = data.error_colour;
  const via = make("span", "badge", "via gateway");
  via.style.color = data.other_colour;
  if (view === "log") {
    row.append(make("span", "number at", `+${short(columns.start[index] - state.from)}`), icon, name);
    if (state.isGateway.has(index)) row.append(via);
    if (bad) row.append(badge);
    const about = make("span", "about", columns.about[index]);
    about.dir = "auto";
    row.append(about, make("span", "number time", columns.time[index]));
    return row;
  }
  const nested = columns.below[index] > 0 && !state.find;
  const caret = make("span", nested ? "caret open" : "caret", nested ? (state.closed.has(index) ? "▶" : "▼") : "");
  if (nested) {
    row.setAttribute("aria-expanded", String(!state.closed.has(index)));
    caret.onclick = (event) => { event.stopPropagation(); toggle(state, index); };
  }
  const indent = state.find ? 0 : Math.min(columns.depth[index], 14) * (view === "tree" ? 16 : 10);
  const below = nested && state.closed.has(index) ? make("span", "below", `+${columns.below[index].toLocaleString("en")}`) : null;
  const head = view === "tree" ? row : make("div");
  if (view !== "tree") {
    head.style.cssText = "display:flex;align-items:center;gap:6px;flex:none;overflow:hidden";
    head.style.width = `${nameWidth(width) - 20}px`;
  }
  caret.style.marginLeft = `${indent}px`;
  head.append(caret, icon, name);
  if (state.isGateway.has(index)) head.append(via);
  if (below) head.append(below);
  if (state.isOrphan.has(index)) {
    const lost = make("span", "badge", "no parent");
    lost.style.color = data.other_colour;
    lost.title = "This span names a parent that has not arrived (or is not loaded yet)";
    head.append(lost);
  }
  if (bad) head.append(badge);
  if (view === "tree") {
    if (state.isUncounted.has(index)) row.classList.add("uncounted");
    row.append(make("span", "gap"), make("span", "number tokens", columns.tokens[index]), make("span", "number cost", columns.cost[index]),
      make("span", "number time", columns.time[index]));
  } else row.append(head, bar(state, index, width, bad ? data.error_colour : colour));
  return row;
}

function bar(state, index, width, colour) {
  const { columns } = state;
  const room = width - nameWidth(width) - 30;
  const scale = room / (state.until - state.from || 1);
  const track = make("div", "track");
  track.style.width = `${room}px`;
  const fill = make("div", "fill");
  const left = (columns.start[index] - state.from) * scale;
  const long = Math.max(2, columns.ms[index] * scale);
  fill.style.left = `${Math.min(left, room - 2)}px`;
  fill.style.width = `${Math.min(long, room - Math.min(left, room - 2))}px`;
  fill.style.background = colour;
  track.append(fill);
  const after = make("span", "after", columns.time[index]);
  if (left + long + 66 < room) after.style.left = `${left + long + 6}px`;
  else if (left > 70) after.style.right = `${room - left + 6}px`;
  else { after.style.left = `${left + 8}px`; after.style.color = "#fff"; }
  track.append(after);
  return track;
}
