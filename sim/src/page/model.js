// ---- model: the notes of the run, and what can be looked up in them. Times are simulated microseconds.

const run = JSON.parse(document.getElementById("run").textContent);
const end = Math.max(run.end_us, 1);
const LANE_KINDS = ["control", "delta", "bulk", "datagram"];

const seconds = (us, digits) => (us / 1e6).toFixed(digits === undefined ? 3 : digits) + " s";
const nameOf = (node) => (run.lanes[node] ? run.lanes[node].name : "n" + node);
const lasts = (at) => at.until - at.from;

// Bars: what stands on a lane for a while. Children and held names are both bars, so that both can be followed.
const bars = [];
for (const child of run.children) {
  bars.push({ kind: "child", id: child.id, node: child.node, from: child.at.from, until: child.at.until, of: child, doubles: [] });
}
const names = [];
for (const process of run.processes) {
  for (const held of process.names) {
    names.push({ kind: "name", id: held.name, node: process.node, from: held.at.from, until: held.at.until, of: process, doubles: [] });
  }
}
for (const [overlaps, list] of [[run.child_overlaps, bars], [run.name_overlaps, names]]) {
  for (const overlap of overlaps) {
    overlap.bars = overlap.copies.map((copy) => list[copy]);
    overlap.kind = list === bars ? "child" : "name";
    overlap.joined_us = overlap.joined.reduce((sum, at) => sum + lasts(at), 0);
    for (const bar of overlap.bars) bar.doubles.push(overlap);
  }
}

// Many names that one process took and gave up together are drawn as one bar, led by the first of them.
const TOGETHER = 4;
const together = new Map();
for (const bar of names) {
  const key = bar.of.pid + " " + bar.from + " " + bar.until;
  if (!together.has(key)) together.set(key, []);
  together.get(key).push(bar);
}
const shownNames = [];
for (const group of together.values()) {
  if (group.length < TOGETHER) { shownNames.push(...group); continue; }
  group[0].members = group;
  shownNames.push(group[0]);
}
const membersOf = (bar) => bar.members || [bar];
const labelOf = (bar) => (bar.members ? bar.id + " and " + (bar.members.length - 1) + " more" : bar.id);
const overlaps = run.child_overlaps.concat(run.name_overlaps);

// Whatever can be selected: children and names, with everything that was noted of them.
const things = new Map();
function thing(kind, id) {
  const key = kind + " " + id;
  if (!things.has(key)) things.set(key, { key, kind, id, bars: [], operations: [], overlaps: [], hue: 0 });
  return things.get(key);
}
bars.forEach((bar) => thing("child", bar.id).bars.push(bar));
names.forEach((bar) => thing("name", bar.id).bars.push(bar));
overlaps.forEach((overlap) => thing(overlap.kind, overlap.id).overlaps.push(overlap));
const ABOUT_CHILDREN = new Set(["start", "ensure", "terminate", "restart"]);
const ABOUT_NODES = new Set(["drain", "undrain", "cordon", "uncordon"]);
for (const operation of run.operations) {
  if (ABOUT_NODES.has(operation.what) || operation.about === "") continue;
  operation.thing = thing(ABOUT_CHILDREN.has(operation.what) ? "child" : "name", operation.about);
  operation.thing.operations.push(operation);
}
const natural = new Intl.Collator("en", { numeric: true }).compare;
const sorted = [...things.values()].sort((a, b) => natural(a.kind, b.kind) || natural(a.id, b.id));
// Hues keep away from red, which means harm here.
sorted.forEach((one, place) => { one.hue = 32 + (place * 137.508) % 296; });
for (const bar of bars.concat(names)) bar.thing = things.get(bar.kind + " " + bar.id);

// Which texts of messages speak of an id.
const mentions = run.texts.map((text) => new Set(text.split(/[\s,:]+/).map((word) => word.replace(/^[+−]/, ""))));

// Messages in blocks, so that those outside the window are passed over a block at a time.
const BLOCK = 256;
const blocks = [];
run.messages.forEach((message, place) => {
  const block = Math.floor(place / BLOCK);
  const [, , , , , sent, received] = message;
  if (!blocks[block]) blocks[block] = { from: sent, until: sent };
  blocks[block].until = Math.max(blocks[block].until, received === null ? sent : received);
});

// What a node was at a time.
function stateAt(node, t) {
  const lane = run.lanes[node];
  const inside = (at) => at.from <= t && t < at.until;
  const life = lane.lives.find((one) => inside(one.at));
  if (!life) return { life: null, state: lane.lives.some((one) => one.at.from <= t) ? "down" : "not yet" };
  if (lane.paused.some(inside)) return { life, state: "paused" };
  if (lane.leaving.some(inside)) return { life, state: "leaving" };
  return { life, state: "up" };
}

// What is not as it should be in a node's views, and whom it does not hear though they are in one group.
const troubles = [];
for (const view of run.views) {
  if (view.status !== "up" && view.peer_node !== view.node) {
    troubles.push({ kind: view.status, node: view.node, from: view.at.from, until: view.at.until, peer: view.peer_node, of: view });
  }
}
const deafs = run.deaf.map((one) => ({ kind: "deaf", node: one.node, from: one.at.from, until: one.at.until, peer: one.peer, of: one }));

// Gives each bar of a lane the first row that is free, or the last one where a lane has too many; returns how many rows
// there are.
const ROWS_MAX = 40;
function pack(list) {
  const free = [];
  list.sort((a, b) => a.from - b.from || a.until - b.until);
  for (const bar of list) {
    let row = free.findIndex((until) => until <= bar.from);
    if (row < 0) row = Math.min(free.length, ROWS_MAX - 1);
    free[row] = Math.max(bar.until, bar.from + 1, free[row] || 0);
    bar.row = row;
  }
  return free.length;
}
const byNode = (list) => run.lanes.map((_, node) => list.filter((one) => one.node === node));
const laneData = run.lanes.map((lane, node) => ({ node, lane }));
[["children", bars], ["names", shownNames], ["troubles", troubles], ["deafs", deafs]].forEach(([what, list]) => {
  byNode(list).forEach((mine, node) => { laneData[node][what] = mine; laneData[node][what + "Rows"] = pack(mine); });
});
byNode(run.operations).forEach((mine, node) => { laneData[node].operations = mine; });
const shownFaults = run.faults.map((fault) => ({ kind: "fault", from: fault.at.from, until: fault.at.until, of: fault }));
const faultRows = pack(shownFaults);

// The history of a child or a name: everything that was noted of it, in order.
function historyOf(one) {
  const rows = [];
  const add = (t, node, text, bad) => rows.push({ t, node, text, bad: Boolean(bad) });
  for (const bar of one.bars) {
    const it = bar.of;
    if (bar.kind === "child") {
      add(bar.from, bar.node, "started as " + it.pid);
      if (it.runs !== null) add(it.runs, bar.node, "runs");
      if (it.stop !== null) add(it.stop, bar.node, "asked to stop");
      if (it.exit !== null) add(bar.until, bar.node, "ended: " + it.exit);
    } else {
      add(bar.from, bar.node, "held by " + it.pid);
      if (bar.until < end || it.exit !== null) {
        add(bar.until, bar.node, it.exit !== null && bar.until === it.at.until ? "given up: the process " + it.exit : "given up");
      }
    }
    if (it.told !== null && (bar.kind === "child" || it.told.name === bar.id)) {
      add(it.told.at, bar.node, "told that it lost to " + it.told.by, true);
    }
  }
  for (const operation of one.operations) {
    add(operation.at, operation.node, "user: " + operation.what + (operation.detail ? " (" + operation.detail + ")" : ""));
    if (operation.reply_at !== null) add(operation.reply_at, operation.node, "user is told: " + operation.reply + " (" + operation.what + ")");
  }
  for (const overlap of one.overlaps) {
    add(overlap.at.from, overlap.bars[0].node, overlap.bars.length + " copies for " + seconds(lasts(overlap.at)) + " on " +
      overlap.bars.map((bar) => nameOf(bar.node)).join(", ") + (overlap.joined_us === 0 ? ", apart all the time" : ""), true);
  }
  return rows.map((row, place) => ({ ...row, place })).sort((a, b) => a.t - b.t || a.place - b.place);
}

// Nodes that the violation speaks of.
const accused = new Set();
if (run.violation !== null) {
  const words = new Set(run.violation.what.split(/[^A-Za-z0-9._-]+/));
  run.lanes.forEach((lane, node) => { if (words.has(lane.name)) accused.add(node); });
}

// Children and names that a text speaks of.
function spokenOf(text) {
  const words = new Set(text.split(/[^A-Za-z0-9._:\/-]+/));
  return sorted.filter((one) => words.has(one.id));
}

