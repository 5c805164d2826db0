// ---- panel: the run in words. Every text goes in as text, never as markup.

const panel = document.getElementById("panel"), tip = document.getElementById("tip");

function element(tag, words, className) {
  const made = document.createElement(tag);
  if (words !== undefined && words !== null) made.textContent = words;
  if (className) made.className = className;
  return made;
}

function heading(words, small) {
  const made = element("h2", words);
  if (small) made.append(element("small", small));
  return made;
}

// A row that leads to a moment.
function row(t, who, words, bad, follow) {
  const item = element("li"), button = element("button");
  button.type = "button";
  button.append(element("time", t === null ? "" : (t / 1e6).toFixed(3)), element("span", who, "who"), element("span", words, bad ? "text bad" : "text"));
  button.addEventListener("click", follow);
  item.append(button);
  return item;
}

function rows(list) {
  const made = element("ul", null, "rows");
  list.forEach((one) => made.append(one));
  return made;
}

const aboutDouble = (overlap) => overlap.bars.map((bar) => nameOf(bar.node)).join(" ") + ", " + seconds(lasts(overlap.at), 2) +
  (overlap.joined_us === 0 ? ", apart" : overlap.joined_us < lasts(overlap.at) ? ", together for " + seconds(overlap.joined_us, 2) : ", together");

// Most rows of one list.
const ROWS_SHOWN = 200;

function showOverview() {
  panel.replaceChildren();
  const harmful = overlaps.slice().sort((a, b) => b.joined_us - a.joined_us || lasts(b.at) - lasts(a.at)).slice(0, 40);
  panel.append(heading("Held twice", overlaps.length ? overlaps.length + (overlaps.length === 1 ? " time" : " times") : ""));
  if (overlaps.length) panel.append(element("p", "Copies on nodes that cannot reach each other, or of which one stands still, are apart; a duplicate can be noticed only while they are together."));
  if (harmful.length === 0) panel.append(element("p", "No child and no name ever had two processes."));
  panel.append(rows(harmful.map((overlap) => row(overlap.at.from, "",
    overlap.id + ": " + aboutDouble(overlap), overlap.joined_us > 0,
    () => { select(things.get(overlap.kind + " " + overlap.id)); goTo(overlap.at.from, overlap.at.until, overlap.bars.map((bar) => bar.node)); }))));
  panel.append(heading("Faults", String(run.faults.length)));
  panel.append(rows(run.faults.slice(0, ROWS_SHOWN).map((fault) => row(fault.at.from, "", fault.kind + ": " + fault.text + (lasts(fault.at) > 0 ? ", " + seconds(lasts(fault.at), 2) : ""),
    false, () => goTo(fault.at.from, fault.at.until, fault.nodes[0])))));
  for (const kind of ["child", "name"]) {
    const those = sorted.filter((one) => one.kind === kind);
    if (those.length === 0) continue;
    panel.append(heading(kind === "child" ? "Children" : "Names", String(those.length)));
    panel.append(rows(those.slice(0, ROWS_SHOWN).map(thingRow)));
    if (those.length > ROWS_SHOWN) panel.append(element("p", "… and " + (those.length - ROWS_SHOWN) + " more; find them by name"));
  }
}

function thingRow(one) {
  const doubles = one.overlaps.length ? ", held twice " + one.overlaps.length + "×" : "";
  const item = row(null, "", one.id + ": " + one.bars.length + (one.bars.length === 1 ? " process" : " processes") + doubles, false, () => select(one));
  const swatch = element("span", null, "swatch");
  swatch.style.background = fill(one);
  item.querySelector("time").append(swatch);
  return item;
}

function showThing(one) {
  panel.replaceChildren();
  const title = heading("", one.kind);
  const swatch = element("span", null, "swatch"), words = element("span");
  swatch.style.background = fill(one);
  words.append(swatch, document.createTextNode(one.id));
  title.prepend(words);
  panel.append(title);
  const specs = [...new Set(one.bars.filter((bar) => bar.of.spec).map((bar) => bar.of.spec.split("; fence")[0]))];
  specs.slice(0, 4).forEach((spec) => panel.append(element("p", spec)));
  const back = element("button", "everything");
  back.type = "button";
  back.addEventListener("click", () => select(null));
  panel.append(back);
  if (one.overlaps.length) {
    panel.append(heading("Held twice", one.overlaps.length + (one.overlaps.length === 1 ? " time" : " times")));
    panel.append(rows(one.overlaps.map((overlap) => row(overlap.at.from, "", aboutDouble(overlap), overlap.joined_us > 0,
      () => goTo(overlap.at.from, overlap.at.until, overlap.bars.map((bar) => bar.node))))));
  }
  const history = historyOf(one);
  panel.append(heading("History", history.length + " entries"));
  panel.append(rows(history.slice(0, 1000).map((entry) => row(entry.t, nameOf(entry.node), entry.text, entry.bad, () => goTo(entry.t, entry.t, entry.node)))));
  panel.scrollTop = 0;
}

function showMatches(wanted) {
  const needle = wanted.toLowerCase();
  const found = sorted.filter((one) => one.id.toLowerCase().includes(needle));
  const nodes = run.lanes.map((lane, node) => ({ lane, node })).filter(({ lane }) => lane.name.toLowerCase().includes(needle));
  panel.replaceChildren(heading("Found", String(found.length + nodes.length)));
  panel.append(rows(nodes.map(({ lane, node }) => row(null, lane.name, "node, " + lane.lives.length + " boots", false, () => goTo(null, null, node)))));
  panel.append(rows(found.slice(0, ROWS_SHOWN).map(thingRow)));
  return found;
}

// What the pointer is over, as a title and lines.
function tellOf(hit) {
  if (hit.kind === "child") {
    const { bar } = hit, child = bar.of;
    const out = [bar.id + " on " + nameOf(bar.node), child.pid + ", " + seconds(bar.from) + " to " + (child.exit === null ? "the end" : seconds(bar.until)) + ", " + seconds(bar.until - bar.from)];
    out.push(child.runs === null ? "never ran" : "ran from " + seconds(child.runs));
    if (child.stop !== null) out.push("asked to stop at " + seconds(child.stop));
    if (child.told !== null) out.push("!told at " + seconds(child.told.at) + " that it lost to " + child.told.by);
    if (child.exit !== null) out.push("ended: " + child.exit);
    return doublesOf(bar, out).concat(child.spec);
  }
  if (hit.kind === "name") {
    const { bar } = hit, process = bar.of;
    const out = [labelOf(bar), "held by " + process.pid + " on " + nameOf(bar.node), seconds(bar.from) + " to " + seconds(bar.until) + ", " + seconds(bar.until - bar.from)];
    if (process.told !== null) out.push("!told at " + seconds(process.told.at) + " that " + process.told.name + " is " + process.told.by + "'s");
    if (process.exit !== null) out.push("the process " + process.exit + " at " + seconds(process.at.until));
    const others = process.names.filter((held) => held.name !== bar.id).map((held) => held.name);
    if (others.length) out.push("also " + others.slice(0, 12).join(", ") + (others.length > 12 ? " and " + (others.length - 12) + " more" : ""));
    membersOf(bar).slice(0, 4).forEach((one) => doublesOf(one, out));
    return out;
  }
  if (hit.kind === "operation") {
    const { operation } = hit;
    const out = [operation.what + " " + operation.about, "asked of " + nameOf(operation.node) + " at " + seconds(operation.at)];
    if (operation.detail) out.push(operation.detail);
    out.push(operation.reply === null ? "never answered" : "after " + seconds(operation.reply_at - operation.at) + ": " + operation.reply);
    return out;
  }
  if (hit.kind === "view") {
    const { of } = hit.one;
    return [nameOf(of.node) + " sees " + nameOf(of.peer_node) + " as " + of.status, of.peer, seconds(of.at.from) + " to " + seconds(of.at.until) + ", " + seconds(lasts(of.at))];
  }
  if (hit.kind === "deaf") {
    const { of } = hit.one;
    return [nameOf(of.node) + " does not hear " + nameOf(of.peer), "the direction is cut, " + seconds(of.at.from) + " to " + seconds(of.at.until) + ", " + seconds(lasts(of.at))];
  }
  if (hit.kind === "life") {
    const { life } = hit;
    return [life.id, seconds(life.at.from) + " to " + seconds(life.at.until) + ", " + (life.ended || "up at the end")];
  }
  if (hit.kind === "label") {
    const { life, state } = stateAt(hit.node, Math.min(Math.max(hit.t, 0), end - 1));
    return [nameOf(hit.node) + ", " + state + " at " + seconds(hit.t)].concat(life ? [life.id] : [])
      .concat(run.lanes[hit.node].lives.map((one) => "boot " + one.boot + ": " + seconds(one.at.from, 2) + " to " + seconds(one.at.until, 2) + (one.ended ? ", " + one.ended : "")));
  }
  if (hit.kind === "fault") {
    const { fault } = hit;
    return [fault.kind + ": " + fault.text, seconds(fault.at.from) + " to " + seconds(fault.at.until) + ", " + seconds(lasts(fault.at))];
  }
  if (hit.kind === "group") {
    const { grouping } = hit, groups = new Map();
    grouping.of.forEach((group, node) => groups.set(group, (groups.get(group) || []).concat(nameOf(node))));
    return [[...groups.values()].map((group) => group.join(" ")).join("  |  "), "could not reach each other from " + seconds(grouping.at.from) + " to " + seconds(grouping.at.until)];
  }
  if (hit.kind === "message") {
    const [from, to, lane, said, bytes, sent, received] = hit.message;
    return [nameOf(from) + " → " + nameOf(to) + "  " + run.texts[said], LANE_KINDS[lane] + ", " + bytes + " bytes, sent at " + seconds(sent, 6),
      received === null ? "!never came" : "came after " + seconds(received - sent, 6)];
  }
  return [];
}

function doublesOf(bar, out) {
  bar.doubles.slice(0, 3).forEach((overlap) => out.push((overlap.joined_us > 0 ? "!" : "") + "×" + overlap.bars.length + " from " + seconds(overlap.at.from) + ": " + aboutDouble(overlap)));
  return out;
}

function showTip(hit) {
  const told = hit === null ? [] : tellOf(hit);
  tip.hidden = told.length === 0;
  if (tip.hidden) return;
  const [first, ...others] = told;
  tip.replaceChildren(element("b", first), ...others.map((line) => (line[0] === "!" ? element("div", line.slice(1), "bad") : element("div", line))));
  const right = pointer.x + 16 + tip.offsetWidth > width, below = pointer.y + 18 + tip.offsetHeight > height;
  tip.style.left = Math.max(right ? pointer.x - tip.offsetWidth - 12 : pointer.x + 16, 0) + "px";
  tip.style.top = Math.max(below ? pointer.y - tip.offsetHeight - 10 : pointer.y + 18, 0) + "px";
}

