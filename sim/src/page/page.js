// ---- page: mouse, keys, and the first look.

const byId = (id) => document.getElementById(id);
let asked = false, rested = 0, dragged = null, frames = 0;

function redraw() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(paint);
}

function paint() {
  asked = false;
  clampView();
  draw();
  frames += 1;
  byId("window").textContent = seconds(Math.max(view.from, 0), 2) + " – " + seconds(Math.min(view.until, end), 2) + " of " + seconds(end, 2);
}

// While something moves only a part of many messages is drawn; all of them once it rests.
function inMotion() {
  moving = true;
  clearTimeout(rested);
  rested = setTimeout(() => { moving = false; redraw(); }, 140);
  redraw();
}

function zoom(by, x) {
  const t = tOf(x === undefined ? (GUTTER + width) / 2 : x), share = (t - view.from) / (view.until - view.from);
  const span = Math.max(Math.min((view.until - view.from) * by, end * 1.06), 200);
  view.from = t - share * span;
  view.until = view.from + span;
  inMotion();
}

function pan(share) {
  const by = (view.until - view.from) * share;
  view.from += by;
  view.until += by;
  inMotion();
}

function whole() {
  view.from = -end * 0.01;
  view.until = end * 1.02;
  redraw();
}

// Brings a stretch of time, and a node, into the window.
function goTo(from, until, node) {
  if (from !== null) {
    const span = Math.min(view.until - view.from, Math.max((until - from) * 2.5, 4e6)), least = (until - from) * 1.3;
    const use = Math.max(span, least), middle = (from + until) / 2;
    view.from = middle - use / 2;
    view.until = middle + use / 2;
    flash = from;
  }
  const wanted = (Array.isArray(node) ? node : [node]).filter((one) => laneData[one] !== undefined);
  if (wanted.length > 0) {
    const top = Math.min(...wanted.map((one) => laneTops[one]));
    const bottom = Math.max(...wanted.map((one) => laneTops[one] + laneData[one].height));
    const room = height - headHeight();
    if (top < view.top || bottom - top > room) view.top = top;
    else if (bottom > view.top + room) view.top = bottom - room;
  }
  redraw();
}

function select(one) {
  selected = one === null ? null : { thing: one, at: -1 };
  if (one === null) showOverview(); else showThing(one);
  layOut();
  redraw();
}

// The next or the last entry in the history of what is selected.
function step(by) {
  if (selected === null) return;
  const history = historyOf(selected.thing);
  if (history.length === 0) return;
  selected.at = (selected.at + by + history.length + (selected.at < 0 && by < 0 ? 1 : 0)) % history.length;
  const entry = history[selected.at];
  goTo(entry.t, entry.t, entry.node);
  const buttons = panel.querySelectorAll(".rows:last-of-type button");
  buttons.forEach((button, place) => button.classList.toggle("now", place === selected.at));
  if (buttons[selected.at]) buttons[selected.at].scrollIntoView({ block: "nearest" });
}

function toViolation() {
  if (run.violation === null) return;
  const { at, what } = run.violation;
  const spoken = spokenOf(what).filter((one) => one.bars.length > 0);
  let from = at - 6e6, node;
  if (spoken.length > 0) {
    const one = spoken.find((other) => other.overlaps.some((overlap) => overlap.at.until >= at - 1)) || spoken[0];
    select(one);
    const last = one.overlaps.filter((overlap) => overlap.at.from <= at).pop();
    if (last) from = Math.min(from, last.at.from - 1.5e6);
    node = last ? last.bars.map((bar) => bar.node) : one.bars[one.bars.length - 1].node;
  } else {
    node = [...accused];
  }
  view.from = Math.max(from, -end * 0.01);
  view.until = at + (at - view.from) * 0.12;
  goTo(null, null, node);
}

function toHeal() {
  if (run.heal_us !== null) goTo(run.heal_us - 2e6, run.heal_us + 4e6);
}

function setLayer(name, on) {
  layers[name] = on;
  byId("layer-" + name).checked = on;
  layOut();
  redraw();
}

function setPanel(open) {
  panel.hidden = !open;
  byId("side").setAttribute("aria-expanded", String(open));
  resize();
  redraw();
}

function place(event) {
  const box = canvas.getBoundingClientRect();
  pointer.x = event.clientX - box.left;
  pointer.y = event.clientY - box.top;
  pointer.inside = true;
}

canvas.addEventListener("wheel", (event) => {
  event.preventDefault();
  place(event);
  const lines = event.deltaMode === 1 ? 16 : 1;
  if (event.shiftKey || pointer.x < GUTTER) { view.top += (event.deltaY || event.deltaX) * lines; inMotion(); return; }
  if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) { pan(event.deltaX * lines / (width - GUTTER)); return; }
  zoom(Math.exp(Math.max(-120, Math.min(120, event.deltaY * lines)) * 0.0022), Math.max(pointer.x, GUTTER));
}, { passive: false });

canvas.addEventListener("pointerdown", (event) => {
  place(event);
  canvas.setPointerCapture(event.pointerId);
  const hit = under(pointer.x, pointer.y);
  dragged = { x: pointer.x, y: pointer.y, from: view.from, until: view.until, top: view.top, moved: false, overview: hit !== null && hit.kind === "overview" };
  if (dragged.overview) moveOverview();
});

function moveOverview() {
  const span = view.until - view.from, middle = (pointer.x - GUTTER) / (width - GUTTER) * end;
  view.from = middle - span / 2;
  view.until = middle + span / 2;
  inMotion();
}

canvas.addEventListener("pointermove", (event) => {
  place(event);
  if (dragged === null) {
    const hit = under(pointer.x, pointer.y);
    canvas.classList.toggle("over", hit !== null && hit.kind !== "group");
    showTip(hit);
    redraw();
    return;
  }
  if (Math.hypot(pointer.x - dragged.x, pointer.y - dragged.y) > 3) dragged.moved = true;
  if (!dragged.moved) return;
  canvas.classList.add("dragging");
  tip.hidden = true;
  if (dragged.overview) { moveOverview(); return; }
  const by = (pointer.x - dragged.x) / (width - GUTTER) * (dragged.until - dragged.from);
  view.from = dragged.from - by;
  view.until = dragged.until - by;
  view.top = dragged.top - (pointer.y - dragged.y);
  inMotion();
});

canvas.addEventListener("pointerup", () => {
  const click = dragged !== null && !dragged.moved && !dragged.overview;
  dragged = null;
  canvas.classList.remove("dragging");
  if (!click) return;
  flash = null;
  const hit = under(pointer.x, pointer.y);
  if (hit !== null && (hit.kind === "child" || hit.kind === "name")) select(hit.bar.thing);
  else if (hit !== null && hit.kind === "operation" && hit.operation.thing) select(hit.operation.thing);
  else if (hit !== null && hit.kind === "fault") goTo(hit.fault.at.from, hit.fault.at.until, hit.fault.nodes[0]);
  else if (hit === null || hit.kind === "group") select(null);
});

canvas.addEventListener("pointerleave", () => { pointer.inside = false; tip.hidden = true; redraw(); });
canvas.addEventListener("dblclick", () => zoom(0.35, pointer.x));

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target === byId("search")) {
    if (event.key === "Escape") { byId("search").value = ""; byId("search").blur(); select(null); }
    return;
  }
  const toggles = ["operations", "names", "views", "messages", "datagrams", "only"];
  const does = {
    "+": () => zoom(0.7), "=": () => zoom(0.7), "-": () => zoom(1.4), "0": whole, f: whole,
    ArrowLeft: () => pan(-0.15), ArrowRight: () => pan(0.15),
    ArrowUp: () => { view.top -= 60; redraw(); }, ArrowDown: () => { view.top += 60; redraw(); },
    v: toViolation, h: toHeal, n: () => step(1), N: () => step(-1), p: () => setPanel(panel.hidden),
    "/": () => byId("search").focus(), Escape: () => { flash = null; select(null); },
  };
  const toggle = toggles[Number(event.key) - 1];
  if (toggle) setLayer(toggle, !layers[toggle]);
  else if (does[event.key] && !(event.target.tagName === "BUTTON" && event.key.startsWith("Arrow"))) does[event.key]();
  else return;
  event.preventDefault();
});

byId("search").addEventListener("input", () => {
  const wanted = byId("search").value.trim();
  if (wanted === "") { select(null); return; }
  const found = showMatches(wanted);
  const exact = found.find((one) => one.id === wanted);
  selected = exact || found.length === 1 ? { thing: exact || found[0], at: -1 } : null;
  redraw();
});
byId("search").addEventListener("change", () => { if (selected !== null) showThing(selected.thing); });

for (const name of Object.keys(layers)) byId("layer-" + name).addEventListener("change", (event) => setLayer(name, event.target.checked));
byId("in").addEventListener("click", () => zoom(0.6));
byId("out").addEventListener("click", () => zoom(1.6));
byId("fit").addEventListener("click", whole);
byId("heal").addEventListener("click", toHeal);
byId("go").addEventListener("click", toViolation);
byId("side").addEventListener("click", () => setPanel(panel.hidden));
byId("copy").addEventListener("click", () => {
  const range = document.createRange();
  range.selectNodeContents(byId("command"));
  getSelection().removeAllRanges();
  getSelection().addRange(range);
  if (navigator.clipboard) navigator.clipboard.writeText(run.header.command).then(() => { byId("copy").textContent = "copied"; }, () => {});
});
window.addEventListener("resize", () => { resize(); redraw(); });
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readColors(); legend(); select(selected && selected.thing); });

function legend() {
  const list = byId("legend");
  list.replaceChildren();
  const key = (words, style) => {
    const item = element("li"), mark = element("i");
    Object.assign(mark.style, style);
    item.append(mark, document.createTextNode(words));
    list.append(item);
  };
  const hatched = (thick, size) => ({ background: "repeating-linear-gradient(135deg," + colors.bad + " 0 " + thick + "px, transparent " + thick + "px " + size + "px)", outline: "1px solid " + colors.bad, outlineOffset: "-1px" });
  key("starting or stopping", { background: "hsl(215 " + colors["bar-sat"] + " " + colors["bar-light"] + " / .45)" });
  key("runs", { background: "hsl(215 " + colors["bar-sat"] + " " + colors["bar-light"] + ")" });
  key("two copies, together", hatched(2.4, 5));
  key("two copies, apart", hatched(1, 5));
  key("told that it lost", { background: colors.bad, clipPath: "polygon(15% 0, 85% 0, 50% 100%)" });
  key("cut off: a tint for each group", { background: "linear-gradient(90deg," + colors.group0 + " 50%," + colors.group1 + " 50%)" });
  key("down", { background: "repeating-linear-gradient(135deg," + colors.void + " 0 2px, transparent 2px 5px)" });
  key("sees a peer as suspect or down", { background: "linear-gradient(90deg," + colors.warn + " 50%," + colors.bad + " 50%)", opacity: ".45" });
  key("user: yes", { background: colors.good, width: "11px", borderRadius: "3px" });
  key("no", { background: colors.warn, width: "11px", borderRadius: "3px" });
  for (const kind of LANE_KINDS) key(kind, { background: colors["lane-" + kind], height: "3px" });
  key("no answer", { outline: "1px solid " + colors.quiet, width: "11px", borderRadius: "3px", outlineOffset: "-1px" });
}

function tellHeader() {
  const { header } = run;
  document.title = "seed " + header.seed + (header.holds ? "" : " violates " + (run.violation ? run.violation.invariant : "")) + " · ordu-sim";
  byId("seed").textContent = "seed " + header.seed;
  byId("verdict").textContent = header.holds ? "all hold" : "violated: " + (run.violation ? run.violation.invariant : "?");
  byId("verdict").classList.add(header.holds ? "good" : "bad");
  byId("command").textContent = header.command;
  byId("command").title = header.command;
  const counts = [["users' operations", run.operations.length], ["processes of children", run.children.length], ["other processes", run.processes.length],
    ["held twice", overlaps.length], ["messages", run.messages.length + (run.messages_forgotten ? " (the " + run.messages_forgotten + " before are not kept)" : "")]];
  for (const [name, value] of header.facts.concat(counts)) {
    const pair = element("div");
    pair.append(element("dt", name), element("dd", String(value)));
    byId("facts").append(pair);
  }
  if (run.violation !== null) {
    byId("violation").hidden = false;
    byId("invariant").textContent = run.violation.invariant + " violated at " + seconds(run.violation.at);
    byId("what").textContent = run.violation.what;
  }
  for (const lane of run.lanes) byId("lanes").append(element("li", lane.name + ": " + lane.lives.map((life) => "boot " + life.boot + " from " + seconds(life.at.from) + " to " + seconds(life.at.until) + (life.ended ? ", " + life.ended : "")).join("; ")));
  canvas.setAttribute("aria-label", "Timeline of " + run.lanes.length + " nodes over " + seconds(end) + "; the panel tells it in words");
  byId("heal").disabled = run.heal_us === null;
}

// What stands behind a # in the address: t=FROM-UNTIL in seconds, select=ID, layers=NAME,NAME.
function fromAddress() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  const one = sorted.find((other) => other.id === wanted.get("select"));
  if (wanted.has("layers")) for (const name of Object.keys(layers)) setLayer(name, wanted.get("layers").split(",").includes(name));
  if (one) { select(one); goTo(null, null, one.bars.map((bar) => bar.node)); }
  const [from, until] = (wanted.get("t") || "").split("-").map((part) => Number(part) * 1e6);
  if (until > from) { view.from = from; view.until = until; }
}

readColors();
tellHeader();
legend();
layOut();
if (window.innerWidth < 1000) panel.hidden = true;
resize();
whole();
select(null);
toViolation();
fromAddress();
clampView();
const begun = performance.now();
draw();
byId("status").title = "drawn in " + (performance.now() - begun).toFixed(1) + " ms";
const status = byId("status");
if (errors === 0) {
  status.dataset.lanes = String(run.lanes.length);
  // For tests that read the page; people see by themselves that it is there.
  status.textContent = "rendered " + run.lanes.length + " lanes, 0 errors";
  status.hidden = true;
}
