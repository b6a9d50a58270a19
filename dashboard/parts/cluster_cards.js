// Cards of clusters: title, terms, size, failure rate beside the rest of the app's, and a bar a day. All texts enter as
// textContent; a card is a link, so that it opens in a tab of its own as well.
const grids = new WeakMap();
const SVG = "http://www.w3.org/2000/svg";

export default function ({ data: [data], parentElement, setTriggerValue }) {
  let grid = grids.get(parentElement);
  if (!grid) {
    const root = make("div", "root");
    parentElement.append(root);
    grid = { root };
    grids.set(parentElement, grid);
  }
  grid.open = (id) => setTriggerValue("opened", JSON.stringify({ id, at: Date.now() }));
  const signature = JSON.stringify(data);
  if (grid.signature === signature) return;
  grid.signature = signature;
  grid.root.className = data.tall ? "root tall" : "root";
  grid.root.replaceChildren(...data.cards.map((one) => card(grid, data, one)));
}

function make(tag, name, text) {
  const element = document.createElement(tag);
  if (name) element.className = name;
  if (text !== undefined) element.textContent = text;
  return element;
}

function drawn(tag, given) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(given)) element.setAttribute(name, value);
  return element;
}

function card(grid, data, one) {
  const link = make("a", "card");
  link.href = `cluster?id=${encodeURIComponent(one.id)}`;
  link.dataset.cluster = one.id;
  link.onclick = (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    grid.open(one.id);
  };
  const head = make("div", "head");
  for (const badge of one.badges) {
    const made = make("span", "badge", badge.text);
    made.style.setProperty("--own", badge.colour);
    if (badge.about) made.title = badge.about;
    head.append(made);
  }
  head.append(make("span", "id", one.id));
  const title = make("div", "title", one.title);
  title.dir = "auto";
  const terms = make("div", "terms");
  for (const term of one.terms) {
    const made = make("span", "term", term);
    made.dir = "auto";
    terms.append(made);
  }
  const size = make("div", "size");
  size.append(make("strong", "", one.size), make("span", "soft", one.share));
  const row = make("div", "row");
  row.append(size, trend(data, one));
  link.append(head, title);
  if (one.terms.length) link.append(terms);
  link.append(row, rate(data, one));
  if (one.note) link.append(make("div", "note", one.note));
  return link;
}

function trend(data, one) {
  const wide = 132, high = 34;
  const n = one.trend.length;
  const box = drawn("svg", { viewBox: `0 0 ${wide} ${high}`, width: wide, height: high, class: "trend", role: "img" });
  box.setAttribute("aria-label", one.trend_said);
  const about = drawn("title", {});
  about.textContent = one.trend_said;
  box.append(about);
  const most = Math.max(1, ...one.trend.map(([all]) => all));
  const step = wide / Math.max(n, 7);
  one.trend.forEach(([all, failed], at) => {
    const x = wide - (n - at) * step + step * 0.12;
    const bars = [[all, data.grey], [failed, data.red]];
    for (const [count, colour] of bars) {
      if (!count) continue;
      const tall = Math.max(1.5, (count / most) * (high - 2));
      box.append(drawn("rect", { x, y: high - tall, width: step * 0.76, height: tall, rx: Math.min(1.5, step / 4), fill: colour }));
    }
  });
  box.append(drawn("line", { x1: 0, x2: wide, y1: high - 0.3, y2: high - 0.3, stroke: data.grey, "stroke-width": 0.6 }));
  return box;
}

function rate(data, one) {
  const box = make("div", "rate");
  const words = make("div", "words");
  words.append(make("strong", "", one.rate_said), make("span", "soft", one.rest_said));
  box.append(words);
  if (one.low === null) {
    box.append(make("div", "soft", one.known_said));
    return box;
  }
  const track = make("div", "track");
  const part = (value) => `${Math.min(100, (100 * value) / data.scale)}%`;
  const fill = make("div", "fill");
  fill.style.width = part(one.rate);
  fill.style.background = one.worse ? data.red : data.grey;
  const band = make("div", "band");
  band.style.left = part(one.low);
  band.style.width = `calc(${part(one.high)} - ${part(one.low)})`;
  track.append(fill, band);
  if (one.rest !== null) {
    const mark = make("div", "mark");
    mark.style.left = part(one.rest);
    mark.title = "the rest of the app";
    track.append(mark);
  }
  box.append(track, make("div", "soft", one.known_said));
  return box;
}
