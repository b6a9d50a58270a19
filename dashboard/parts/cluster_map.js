// The map of an app's sessions: points on a canvas that is moved and zoomed, a lasso that chooses. Streamlit's plotly
// draws many points only where a page may evaluate text as code, which ours may not. Texts are painted or textContent.
const maps = new WeakMap();
let lastColour = "cluster"; // the way of looking is kept from map to map
const NEAR = 12; // px from a point at which it answers
const MOST = 80; // times the whole map

export default function ({ data: [data], parentElement, setTriggerValue }) {
  let map = maps.get(parentElement);
  if (!map) {
    map = build(parentElement);
    maps.set(parentElement, map);
  }
  map.tell = (name, value) => setTriggerValue(name, JSON.stringify(value));
  const isNew = map.stamp !== data.stamp;
  map.data = data;
  if (isNew) load(map);
  if (data.lasso && data.lasso === map.serial) map.heard = true;
  if (!data.lasso && map.heard) choose(map, [], false); // the page let go of it
  legend(map);
  later(map);
}

function make(tag, name, text) {
  const element = document.createElement(tag);
  if (name) element.className = name;
  if (text !== undefined) element.textContent = text;
  return element;
}

// --- what is on the screen ------------------------------------------------------------------------------------------

function build(parent) {
  const map = { colour: lastColour, lassoing: false, chosen: null, noise: true, line: [], hover: -1, serial: 0 };
  const root = make("div", "root");
  const bar = make("div", "bar");
  map.colours = choices(bar, "Colour by", [["cluster", "Cluster"], ["state", "State"], ["rate", "Failure rate"]],
    (one) => { map.colour = lastColour = one; legend(map); later(map); });
  map.ways = choices(bar, "What dragging does", [["move", "Move"], ["lasso", "Lasso"]],
    (one) => { map.lassoing = one === "lasso"; legend(map); later(map); });
  const zooms = make("div", "group");
  for (const [text, about, act] of [
    ["+", "Zoom in", () => zoom(map, 1.6)], ["−", "Zoom out", () => zoom(map, 1 / 1.6)], ["Whole", "Show the whole map", () => fit(map)],
  ]) {
    const button = make("button", "", text);
    button.title = about;
    button.setAttribute("aria-label", about);
    button.onclick = act;
    zooms.append(button);
  }
  bar.append(zooms);
  const frame = make("div", "frame");
  const canvas = make("canvas");
  canvas.tabIndex = 0;
  const told = make("div", "told");
  told.hidden = true;
  const hint = make("div", "hint", "Click the map first, or hold Ctrl, to zoom with the wheel");
  frame.append(canvas, told, hint);
  const key = make("div", "key");
  root.append(bar, frame, key);
  parent.append(root);
  Object.assign(map, { root, canvas, told, hint, key, frame });
  listen(map);
  new ResizeObserver(() => { resize(map); later(map); }).observe(frame);
  return map;
}

function choices(bar, name, offered, act) {
  const group = make("div", "group");
  group.setAttribute("role", "group");
  group.setAttribute("aria-label", name);
  const buttons = offered.map(([word, text]) => {
    const button = make("button", "", text);
    button.dataset.word = word;
    button.onclick = () => act(word);
    group.append(button);
    return button;
  });
  bar.append(group);
  return buttons;
}

function load(map) {
  const { x, y, cluster } = map.data.points;
  map.stamp = map.data.stamp;
  map.groups = map.data.clusters.map(() => []);
  map.loose = [];
  for (let i = 0; i < x.length; i++) (cluster[i] < 0 ? map.loose : map.groups[cluster[i]]).push(i);
  map.chosen = null;
  map.serial = 0;
  map.heard = false;
  resize(map);
  fit(map);
}

function resize(map) {
  const width = map.frame.clientWidth;
  if (!width) return;
  const height = Math.round(Math.max(300, Math.min(600, width * 0.8)));
  const dense = window.devicePixelRatio || 1;
  const before = map.width;
  map.width = width;
  map.height = height;
  map.canvas.width = Math.round(width * dense);
  map.canvas.height = Math.round(height * dense);
  map.canvas.style.height = `${height}px`;
  map.dense = dense;
  if (map.data && before !== width) fit(map);
}

function fit(map) {
  if (!map.width || !map.data) return;
  const [x0, y0, x1, y1] = map.data.box;
  const room = 28;
  map.k = Math.min((map.width - 2 * room) / (x1 - x0 || 1), (map.height - 2 * room) / (y1 - y0 || 1));
  map.whole = map.k;
  map.tx = (map.width - (x0 + x1) * map.k) / 2;
  map.ty = (map.height - (y0 + y1) * map.k) / 2;
  later(map);
}

function zoom(map, by, at = [map.width / 2, map.height / 2]) {
  const k = Math.max(map.whole * 0.5, Math.min(map.whole * MOST, map.k * by));
  map.tx = at[0] - ((at[0] - map.tx) * k) / map.k;
  map.ty = at[1] - ((at[1] - map.ty) * k) / map.k;
  map.k = k;
  later(map);
}

function later(map) {
  if (map.waiting) return;
  map.waiting = true;
  requestAnimationFrame(() => { map.waiting = false; draw(map); });
}

function colourOf(map, cluster) {
  return cluster < 0 ? map.data.grey : map.data.colours[map.colour][cluster];
}

function draw(map) {
  const { canvas, data } = map;
  if (!data || !map.width) return;
  const pen = canvas.getContext("2d");
  const style = getComputedStyle(map.root);
  const ink = style.getPropertyValue("--st-text-color") || "#222";
  const ground = style.getPropertyValue("--st-background-color") || "#fff";
  pen.setTransform(map.dense, 0, 0, map.dense, 0, 0);
  pen.clearRect(0, 0, map.width, map.height);
  const n = data.points.x.length;
  const size = Math.max(1.6, Math.min(4.5, 90 / Math.sqrt(n + 200))) * Math.min(2.2, Math.sqrt(map.k / map.whole));
  const faint = map.chosen ? 0.14 : 1;
  if (map.noise) dots(map, pen, map.loose, data.grey, 0.42 * faint, size * 0.8);
  const order = map.groups.map((_, at) => at).sort((a, b) => map.groups[b].length - map.groups[a].length);
  for (const at of order) dots(map, pen, map.groups[at], colourOf(map, at), 0.82 * faint, size);
  if (map.chosen) {
    const parts = new Map();
    for (const i of map.chosen) {
      const at = data.points.cluster[i];
      if (!parts.has(at)) parts.set(at, []);
      parts.get(at).push(i);
    }
    for (const [at, list] of parts) dots(map, pen, list, colourOf(map, at), 1, size);
  }
  titles(map, pen, ink, ground);
  ring(map, pen, ink, size);
  lassoLine(map, pen, style.getPropertyValue("--st-primary-color") || "#06c");
  canvas.style.cursor = map.lassoing ? "crosshair" : map.over >= 0 || map.hover >= 0 ? "pointer" : map.drag ? "grabbing" : "grab";
  canvas.style.touchAction = map.lassoing || map.k > map.whole * 1.05 ? "none" : "pan-y";
  canvas.setAttribute("aria-label", `Map of ${n.toLocaleString("en")} sessions in ${data.clusters.length} clusters`);
  canvas.dataset.points = n;
  canvas.dataset.zoom = (map.k / map.whole).toFixed(2);
  canvas.dataset.chosen = map.chosen ? map.chosen.length : 0;
}

function dots(map, pen, list, colour, alpha, size) {
  const { x, y } = map.data.points;
  pen.globalAlpha = alpha;
  pen.fillStyle = colour;
  pen.beginPath();
  for (const i of list) {
    const px = x[i] * map.k + map.tx, py = y[i] * map.k + map.ty;
    if (px < -5 || py < -5 || px > map.width + 5 || py > map.height + 5) continue;
    pen.moveTo(px + size, py);
    pen.arc(px, py, size, 0, 6.283);
  }
  pen.fill();
  pen.globalAlpha = 1;
}

function titles(map, pen, ink, ground) {
  const narrow = map.width < 480;
  const placed = [];
  map.boxes = [];
  pen.font = `600 ${narrow ? 11 : 12.5}px ${getComputedStyle(map.root).fontFamily}`;
  pen.textAlign = "center";
  pen.textBaseline = "middle";
  pen.lineJoin = "round";
  map.data.clusters.forEach((one, at) => {
    if (!map.groups[at].length) return;
    const lines = one.short;
    if (!lines.length) return;
    const wide = Math.max(...lines.map((text) => pen.measureText(text).width)) / 2 + 4;
    const tall = 11 + (lines.length - 1) * 7.5; // half of what they take
    const px = one.x * map.k + map.tx, py = one.y * map.k + map.ty;
    if (px < 0 || py < 0 || px > map.width || py > map.height) return;
    const cx = Math.max(wide + 2, Math.min(map.width - wide - 2, px)), cy = Math.max(tall + 1, Math.min(map.height - tall - 1, py));
    const box = [cx - wide, cy - tall, cx + wide, cy + tall];
    if (placed.some((two) => box[0] < two[2] && box[2] > two[0] && box[1] < two[3] && box[3] > two[1])) return;
    placed.push(box);
    map.boxes.push({ at, box });
    pen.strokeStyle = ground;
    pen.lineWidth = 4;
    pen.globalAlpha = map.chosen ? 0.5 : 0.92;
    const row = (at) => cy + (at - (lines.length - 1) / 2) * 15;
    lines.forEach((text, at) => pen.strokeText(text, cx, row(at)));
    pen.globalAlpha = map.chosen ? 0.5 : 1;
    pen.fillStyle = ink;
    lines.forEach((text, at) => pen.fillText(text, cx, row(at)));
    if (map.over === at) pen.fillRect(cx - wide + 4, cy + tall - 3, 2 * wide - 8, 1.3);
    pen.globalAlpha = 1;
  });
  map.canvas.dataset.titles = map.boxes.length;
}

function ring(map, pen, ink, size) {
  if (map.hover < 0) return;
  const { x, y } = map.data.points;
  pen.strokeStyle = ink;
  pen.lineWidth = 2;
  pen.beginPath();
  pen.arc(x[map.hover] * map.k + map.tx, y[map.hover] * map.k + map.ty, size + 3, 0, 6.283);
  pen.stroke();
}

function lassoLine(map, pen, colour) {
  if (map.line.length < 2) return;
  pen.beginPath();
  for (const [px, py] of map.line) pen.lineTo(px, py);
  pen.closePath();
  pen.globalAlpha = 0.1;
  pen.fillStyle = colour;
  pen.fill();
  pen.globalAlpha = 1;
  pen.strokeStyle = colour;
  pen.lineWidth = 1.6;
  pen.setLineDash([5, 4]);
  pen.stroke();
  pen.setLineDash([]);
}

function legend(map) {
  for (const one of map.colours) one.setAttribute("aria-pressed", String(one.dataset.word === map.colour));
  for (const one of map.ways) one.setAttribute("aria-pressed", String((one.dataset.word === "lasso") === map.lassoing));
  const parts = [];
  for (const one of map.data.legends[map.colour]) {
    const item = make("span", "item");
    const dot = make("span", "dot");
    dot.style.background = one.colour;
    item.append(dot, make("span", "", one.name));
    parts.push(item);
  }
  const noise = make("button", "item noise");
  const dot = make("span", "dot");
  dot.style.background = map.data.grey;
  noise.append(dot, make("span", "", `in no cluster (${map.loose.length.toLocaleString("en")})`));
  noise.title = map.noise ? "Hide them" : "Show them";
  noise.setAttribute("aria-pressed", String(map.noise));
  noise.onclick = () => { map.noise = !map.noise; legend(map); later(map); };
  parts.push(noise);
  map.key.replaceChildren(...parts);
}

// --- what is done with it -------------------------------------------------------------------------------------------

function listen(map) {
  const { canvas } = map;
  canvas.onpointerdown = (event) => {
    if (event.button) return;
    canvas.setPointerCapture(event.pointerId);
    const at = place(map, event);
    map.drag = { from: at, last: at, lasso: map.lassoing || event.shiftKey, far: false };
    if (map.drag.lasso) { map.line = [at]; map.hover = map.over = -1; }
    tell(map, null);
  };
  canvas.onpointermove = (event) => {
    const at = place(map, event);
    if (!map.drag) return look(map, at);
    const { drag } = map;
    if (Math.hypot(at[0] - drag.from[0], at[1] - drag.from[1]) > 4) drag.far = true;
    if (drag.lasso) map.line.push(at);
    else { map.tx += at[0] - drag.last[0]; map.ty += at[1] - drag.last[1]; }
    drag.last = at;
    later(map);
  };
  canvas.onpointerup = (event) => {
    const { drag } = map;
    map.drag = null;
    if (!drag) return;
    if (!drag.far) pick(map, place(map, event));
    else if (drag.lasso) choose(map, inside(map), true);
    map.line = [];
    later(map);
  };
  canvas.onpointercancel = () => { map.drag = null; map.line = []; later(map); };
  canvas.onpointerleave = () => { if (!map.drag) { map.hover = map.over = -1; tell(map, null); later(map); } };
  canvas.ondblclick = (event) => { if (!map.lassoing) zoom(map, 2, place(map, event)); };
  canvas.addEventListener("wheel", (event) => onWheel(map, event), { passive: false });
  canvas.onkeydown = (event) => onKey(map, event);
}

function place(map, event) {
  const box = map.canvas.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
}

function onWheel(map, event) {
  const own = map.canvas.getRootNode().activeElement === map.canvas;
  if (!own && !event.ctrlKey && !event.metaKey) {
    map.hint.classList.add("shown");
    clearTimeout(map.hinting);
    map.hinting = setTimeout(() => map.hint.classList.remove("shown"), 1400);
    return;
  }
  event.preventDefault();
  zoom(map, Math.exp(-Math.max(-120, Math.min(120, event.deltaY)) / 400), place(map, event));
}

function onKey(map, event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const moves = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] };
  if (event.key in moves) { map.tx += moves[event.key][0]; map.ty += moves[event.key][1]; later(map); }
  else if (event.key === "+" || event.key === "=") zoom(map, 1.4);
  else if (event.key === "-") zoom(map, 1 / 1.4);
  else if (event.key === "0") fit(map);
  else if (event.key === "Escape") { if (map.chosen) choose(map, [], true); else map.canvas.blur(); }
  else return;
  event.preventDefault();
  event.stopPropagation();
}

function titleAt(map, at) {
  const found = (map.boxes || []).find(({ box }) => at[0] >= box[0] && at[0] <= box[2] && at[1] >= box[1] && at[1] <= box[3]);
  return found ? found.at : -1;
}

function nearest(map, at) {
  const { x, y, cluster } = map.data.points;
  let found = -1, least = NEAR * NEAR;
  for (let i = 0; i < x.length; i++) {
    if (cluster[i] < 0 && !map.noise) continue;
    const dx = x[i] * map.k + map.tx - at[0], dy = y[i] * map.k + map.ty - at[1];
    const far = dx * dx + dy * dy;
    if (far < least) { least = far; found = i; }
  }
  return found;
}

function look(map, at) {
  const over = titleAt(map, at);
  const hover = over >= 0 ? -1 : nearest(map, at);
  if (over !== map.over || hover !== map.hover) {
    map.over = over;
    map.hover = hover;
    later(map);
  }
  tell(map, at);
}

function tell(map, at) {
  const { data, told } = map;
  const i = map.hover;
  const cluster = map.over >= 0 ? map.over : i >= 0 ? data.points.cluster[i] : -2;
  told.hidden = !at || cluster === -2;
  if (told.hidden) return;
  const one = data.clusters[cluster];
  const lines = [make("strong", "", one ? one.title : "In no cluster")];
  if (one) lines.push(make("div", "soft", one.about));
  if (i >= 0) lines.push(make("div", "", ["went well", "failed"][data.points.failed[i]] || "not known how it ended"));
  lines.push(make("div", "soft", map.over >= 0 ? "click: open the cluster" : "click: this session below"));
  told.replaceChildren(...lines);
  const wide = told.offsetWidth;
  told.style.left = `${Math.max(4, Math.min(map.width - wide - 4, at[0] + 14))}px`;
  told.style.top = `${at[1] > map.height / 2 ? at[1] - told.offsetHeight - 12 : at[1] + 16}px`;
}

function pick(map, at) {
  const over = titleAt(map, at);
  if (over >= 0) {
    map.tell("opened", { id: map.data.clusters[over].id, at: Date.now() });
    return;
  }
  const i = nearest(map, at);
  if (i >= 0) choose(map, [i], true);
  else if (map.chosen) choose(map, [], true);
}

function inside(map) {
  const { x, y, cluster } = map.data.points;
  const line = map.line;
  const found = [];
  for (let i = 0; i < x.length; i++) {
    if (cluster[i] < 0 && !map.noise) continue;
    const px = x[i] * map.k + map.tx, py = y[i] * map.k + map.ty;
    let odd = false;
    for (let a = 0, b = line.length - 1; a < line.length; b = a++) {
      const [ax, ay] = line[a], [bx, by] = line[b];
      if (ay > py !== by > py && px < ((bx - ax) * (py - ay)) / (by - ay) + ax) odd = !odd;
    }
    if (odd) found.push(i);
  }
  return found;
}

function choose(map, list, say) {
  map.chosen = list.length ? list : null;
  map.heard = false;
  map.serial = list.length ? Date.now() : 0;
  if (say) map.tell("chosen", { serial: map.serial, stamp: map.stamp, points: list });
  later(map);
}
