// ---- draw: the run on a canvas. Only what is inside the window is drawn; what is drawn can be hit.

const canvas = document.getElementById("canvas");
const pen = canvas.getContext("2d");
const GUTTER = 118, OVERVIEW = 20, AXIS = 22, FAULT = 16, LIFE = 5, CHILD = 17, NAME = 13, THIN = 11, PAD = 7;
const MESSAGES_AT_ONCE = 60000, MESSAGES_IN_MOTION = 4000, MESSAGES_OVER = 1500;
const layers = { operations: true, names: true, views: true, messages: false, datagrams: false, only: false };
const view = { from: 0, until: end, top: 0 };
const pointer = { x: -1, y: -1, inside: false };
let selected = null, moving = false, flash = null;
let width = 0, height = 0, colors = {}, hatch = {}, hits = [], lines = [], laneTops = [], lanesHeight = 0;

function readColors() {
  const style = getComputedStyle(document.documentElement);
  colors = {};
  for (const name of ["paper", "raised", "ink", "quiet", "line", "grid", "lane", "void", "accent", "good", "bad", "warn", "paused",
    "group0", "group1", "group2", "group3", "group4", "group5", "lane-control", "lane-delta", "lane-bulk", "lane-datagram",
    "bar-light", "bar-sat", "bar-ink"]) colors[name] = style.getPropertyValue("--" + name).trim();
  hatch = { joined: stripes(colors.bad, 6, 2.4), apart: stripes(colors.bad, 8, 1.1), down: stripes(colors.void, 7, 1.2), paused: stripes(colors.paused, 7, 1) };
}

function stripes(color, size, thick) {
  const tile = document.createElement("canvas");
  tile.width = tile.height = size * 2;
  const ink = tile.getContext("2d");
  ink.scale(2, 2);
  ink.strokeStyle = color;
  ink.lineWidth = thick;
  ink.beginPath();
  for (const shift of [-size, 0, size]) { ink.moveTo(shift - 1, size + 1); ink.lineTo(shift + size + 1, -1); }
  ink.stroke();
  const pattern = pen.createPattern(tile, "repeat");
  pattern.setTransform(new DOMMatrix().scale(0.5));
  return pattern;
}

const xOf = (t) => GUTTER + (t - view.from) / (view.until - view.from) * (width - GUTTER);
const tOf = (x) => view.from + (x - GUTTER) / (width - GUTTER) * (view.until - view.from);
const headHeight = () => OVERVIEW + AXIS + Math.max(faultRows, 0) * FAULT + 4;
const laneY = (node) => headHeight() + laneTops[node] - view.top;
const fill = (one, shade) => "hsl(" + one.hue + " " + colors["bar-sat"] + " " + (shade || colors["bar-light"]) + ")";
const isOut = (bar) => bar.until < view.from || bar.from > view.until;
const thinOf = (rows) => (rows > 6 ? 4 : THIN);

function layOut() {
  let y = 0;
  laneTops = [];
  const own = layers.only && selected !== null ? new Set(selected.thing.bars.map((bar) => bar.node)) : null;
  for (const data of laneData) {
    laneTops[data.node] = y;
    data.hidden = own !== null && !own.has(data.node);
    data.height = 0;
    if (data.hidden) continue;
    data.opsY = LIFE + 3;
    data.childrenY = data.opsY + (layers.operations ? 15 : 0);
    data.namesY = data.childrenY + data.childrenRows * CHILD + (data.childrenRows ? 2 : 0);
    data.thinY = data.namesY + (layers.names ? data.namesRows * NAME + (data.namesRows ? 2 : 0) : 0);
    const rows = data.deafsRows + (layers.views ? data.troublesRows : 0);
    data.thin = thinOf(rows);
    data.height = Math.max(data.thinY + rows * data.thin, 30) + PAD;
    y += data.height;
  }
  lanesHeight = y;
}

function resize() {
  const box = canvas.parentElement.getBoundingClientRect();
  const scale = window.devicePixelRatio || 1;
  width = Math.max(box.width, GUTTER + 100);
  height = Math.max(box.height, 120);
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  pen.setTransform(scale, 0, 0, scale, 0, 0);
}

function clampView() {
  const least = 200, span = Math.min(Math.max(view.until - view.from, least), end * 1.06);
  const slack = end * 0.03;
  if (view.until - view.from !== span) view.until = view.from + span;
  const shift = Math.max(-slack - view.from, 0) + Math.min(end + slack - view.until, 0);
  view.from += shift;
  view.until += shift;
  if (view.from < -slack) view.from = -slack;
  view.top = Math.max(0, Math.min(view.top, lanesHeight - (height - headHeight())));
}

function text(words, x, y, color, font, align) {
  pen.font = font || "11px system-ui, sans-serif";
  pen.fillStyle = color;
  pen.textAlign = align || "left";
  pen.textBaseline = "middle";
  pen.fillText(words, x, y);
}

// Text that is cut off where its room ends.
function textIn(words, x, y, room, color, font, halo) {
  if (room < 12) return;
  pen.font = font;
  let shown = words;
  if (pen.measureText(shown).width > room) {
    const wide = pen.measureText("n").width;
    shown = words.slice(0, Math.max(0, Math.floor(room / wide) - 1));
    if (shown.length < 2) return;
    shown += "…";
  }
  if (halo) {
    pen.textAlign = "left";
    pen.textBaseline = "middle";
    pen.lineJoin = "round";
    pen.lineWidth = 4;
    pen.strokeStyle = halo;
    pen.strokeText(shown, x, y);
  }
  text(shown, x, y, color, font);
}

function draw() {
  hits = [];
  pen.clearRect(0, 0, width, height);
  pen.fillStyle = colors.paper;
  pen.fillRect(0, 0, width, height);
  const head = headHeight();
  pen.save();
  pen.beginPath();
  pen.rect(GUTTER, head, width - GUTTER, height - head);
  pen.clip();
  const shown = laneData.filter((data) => !data.hidden && laneY(data.node) < height && laneY(data.node) + data.height > head);
  shown.forEach(drawGround);
  drawGrid(head);
  gatherMessages();
  // Many lines lie under the bars, a few over them.
  if (lines.length > MESSAGES_OVER) drawMessages();
  shown.forEach(drawLane);
  if (lines.length <= MESSAGES_OVER) drawMessages();
  pen.restore();
  drawMoments(head);
  drawHead(head);
  drawGutter(head, shown);
  drawPointer(head);
}

function drawGround(data) {
  const y = laneY(data.node);
  pen.fillStyle = data.node % 2 ? colors.paper : colors.lane;
  pen.fillRect(GUTTER, y, width - GUTTER, data.height);
  for (const grouping of run.groupings) {
    if (grouping.at.until < view.from || grouping.at.from > view.until) continue;
    const x = xOf(grouping.at.from), wide = Math.max(xOf(grouping.at.until) - x, 1);
    pen.fillStyle = colors["group" + grouping.of[data.node] % 6];
    pen.globalAlpha = 0.75;
    pen.fillRect(x, y, wide, data.height);
    pen.globalAlpha = 1;
    hits.push({ x, y, w: wide, h: data.height, kind: "group", grouping, node: data.node });
  }
  let up = 0;
  const gaps = [];
  for (const life of data.lane.lives) { gaps.push([up, life.at.from]); up = life.at.until; }
  gaps.push([up, end]);
  for (const [from, until] of gaps) {
    if (until <= from || until < view.from || from > view.until) continue;
    const x = xOf(from), wide = Math.max(xOf(until) - x, 1);
    pen.fillStyle = colors.paper;
    pen.fillRect(x, y, wide, data.height);
    pen.fillStyle = hatch.down;
    pen.fillRect(x, y, wide, data.height);
  }
  pen.fillStyle = colors.line;
  pen.fillRect(GUTTER, y + data.height - 1, width - GUTTER, 1);
}

function stepOf() {
  const room = 90 * (view.until - view.from) / (width - GUTTER);
  for (let unit = 10; ; unit *= 10) for (const times of [1, 2, 5]) if (unit * times >= room) return unit * times;
}

function drawGrid(head) {
  const step = stepOf();
  pen.fillStyle = colors.ink;
  pen.globalAlpha = 0.07;
  for (let t = Math.ceil(view.from / step) * step; t <= view.until; t += step) pen.fillRect(Math.round(xOf(t)), head, 1, height - head);
  pen.globalAlpha = 1;
}

function drawLane(data) {
  const y = laneY(data.node), lane = data.lane;
  for (const life of lane.lives) {
    if (life.at.until < view.from || life.at.from > view.until) continue;
    const x = xOf(life.at.from), wide = Math.max(xOf(life.at.until) - x, 1);
    pen.fillStyle = colors.good;
    pen.globalAlpha = 0.75;
    pen.fillRect(x, y, wide, LIFE - 1);
    pen.globalAlpha = 1;
    hits.push({ x, y: y - 1, w: wide, h: LIFE + 2, kind: "life", life, node: data.node });
    if (life.ended) {
      pen.fillStyle = colors.ink;
      pen.fillRect(x + wide - 1, y, 2, data.height - 1);
      const next = lane.lives.find((other) => other.at.from >= life.at.until);
      const room = Math.min(next ? xOf(next.at.from) : xOf(end), width) - x - wide - 8;
      textIn(life.ended, x + wide + 5, y + data.height / 2, room, colors.quiet, "italic 11px system-ui, sans-serif");
    }
  }
  for (const [spans, pattern, label, color] of [[lane.paused, hatch.paused, "stands still", colors.paused], [lane.leaving, null, "leaving", colors.warn]]) {
    for (const at of spans) {
      if (at.until < view.from || at.from > view.until) continue;
      const x = xOf(at.from), wide = Math.max(xOf(at.until) - x, 1);
      if (pattern) { pen.fillStyle = pattern; pen.fillRect(x, y, wide, data.height - 1); }
      pen.fillStyle = color;
      pen.fillRect(x, y, wide, LIFE - 1);
      const left = Math.max(x, GUTTER);
      textIn(label, left + 4, y + data.height - 7, x + wide - left - 6, color, "italic 10px system-ui, sans-serif");
    }
  }
  for (const bar of data.children) drawChild(bar, y + data.childrenY + bar.row * CHILD, CHILD - 2);
  if (layers.names) for (const bar of data.names) drawName(bar, y + data.namesY + bar.row * NAME, NAME - 2);
  for (const one of data.deafs) drawThin(one, y + data.thinY + one.row * data.thin, data.thin - 1);
  if (layers.views) {
    const below = data.thinY + data.deafsRows * data.thin;
    for (const one of data.troubles) drawThin(one, y + below + one.row * data.thin, data.thin - 1);
  }
  if (layers.operations) {
    let last = -9;
    for (const operation of data.operations) {
      const x = xOf(operation.at);
      // Many at one moment look like one.
      if (x - last < 0.5 && selected === null) continue;
      last = x;
      drawOperation(operation, y + data.opsY);
    }
  }
}

function dimmed(one) { return selected !== null && selected.thing !== one; }

function drawChild(bar, y, tall) {
  if (isOut(bar)) return;
  const x = xOf(bar.from), right = Math.max(xOf(bar.until), x + 1.5), child = bar.of;
  const faint = dimmed(bar.thing);
  pen.globalAlpha = faint ? 0.22 : 1;
  const runs = child.runs === null ? right : Math.min(xOf(child.runs), right);
  pen.fillStyle = fill(bar.thing);
  pen.globalAlpha *= 0.45;
  pen.fillRect(x, y, right - x, tall);
  pen.globalAlpha = faint ? 0.22 : 1;
  if (child.runs !== null) {
    const stop = child.stop === null ? right : Math.max(Math.min(xOf(child.stop), right), runs);
    pen.fillRect(runs, y, Math.max(stop - runs, 1), tall);
  }
  pen.fillStyle = fill(bar.thing, "48%");
  pen.fillRect(x, y, 1.5, tall);
  if (child.stop !== null) pen.fillRect(xOf(child.stop), y, 1.5, tall);
  for (const overlap of bar.doubles) drawDouble(overlap, y, tall);
  if (child.exit !== null && child.exit !== "exited normally" && right - x > 4) {
    pen.fillStyle = colors.ink;
    pen.fillRect(right - 2, y, 2, tall);
  }
  const left = Math.max(x, GUTTER);
  textIn(bar.id, left + 5, y + tall / 2 + 0.5, Math.min(right, width) - left - 8, colors["bar-ink"], "500 11px system-ui, sans-serif", bar.doubles.length ? fill(bar.thing) : null);
  if (child.told !== null) drawTold(xOf(child.told.at), y, tall);
  frame(bar, x, y, right - x, tall);
}

function drawName(bar, y, tall) {
  if (isOut(bar)) return;
  const x = xOf(bar.from), right = Math.max(xOf(bar.until), x + 1.5);
  const chosen = selected !== null && membersOf(bar).some((one) => one.thing === selected.thing);
  pen.globalAlpha = selected !== null && !chosen ? 0.18 : 0.8;
  pen.fillStyle = fill(bar.thing);
  pen.beginPath();
  pen.roundRect(x, y, right - x, tall, Math.min(tall / 2, (right - x) / 2));
  pen.fill();
  for (const one of membersOf(bar)) for (const overlap of one.doubles) drawDouble(overlap, y, tall);
  const left = Math.max(x, GUTTER);
  textIn(labelOf(bar), left + 6, y + tall / 2 + 0.5, Math.min(right, width) - left - 10, colors["bar-ink"], "10px system-ui, sans-serif", bar.doubles.length ? fill(bar.thing) : null);
  if (bar.of.told !== null && bar.of.told.name === bar.id) drawTold(xOf(bar.of.told.at), y, tall);
  frame(bar, x, y, right - x, tall);
}

// Another copy stands somewhere else: hatched in red, thick while the two could have known of each other.
function drawDouble(overlap, y, tall) {
  if (overlap.at.until < view.from || overlap.at.from > view.until) return;
  const x = xOf(overlap.at.from), right = Math.max(xOf(overlap.at.until), x + 2);
  if (pen.globalAlpha > 0.5) pen.globalAlpha = 1;
  pen.fillStyle = hatch.apart;
  pen.fillRect(x, y, right - x, tall);
  pen.strokeStyle = colors.bad;
  pen.lineWidth = 0.75;
  pen.strokeRect(x + 0.5, y + 0.5, Math.max(right - x - 1, 1), tall - 1);
  pen.lineWidth = 1.5;
  for (const at of overlap.joined) {
    const from = xOf(at.from), wide = Math.max(xOf(at.until) - from, 2);
    pen.fillStyle = hatch.joined;
    pen.fillRect(from, y, wide, tall);
    pen.strokeRect(from + 0.75, y + 0.75, Math.max(wide - 1.5, 1), tall - 1.5);
  }
  const label = "×" + overlap.bars.length + "  " + seconds(lasts(overlap.at), 2);
  pen.font = "600 10px system-ui, sans-serif";
  const room = pen.measureText(label).width + 8;
  const tagRight = Math.min(right, width) - 3, left = Math.max(x, GUTTER);
  if (tagRight - left > room + 70 || (tagRight - left > room + 2 && tall < CHILD - 2)) {
    pen.fillStyle = colors.bad;
    pen.beginPath();
    pen.roundRect(tagRight - room, y + 1.5, room, tall - 3, 3);
    pen.fill();
    text(label, tagRight - room + 4, y + tall / 2 + 0.5, colors.raised, "600 10px system-ui, sans-serif");
  }
}

function drawTold(x, y, tall) {
  pen.fillStyle = colors.bad;
  pen.strokeStyle = colors.raised;
  pen.lineWidth = 1;
  pen.beginPath();
  pen.moveTo(x - 5, y - 3);
  pen.lineTo(x + 5, y - 3);
  pen.lineTo(x, y + Math.min(tall, 8) - 2);
  pen.closePath();
  pen.fill();
  pen.stroke();
}

function frame(bar, x, y, w, h) {
  pen.globalAlpha = 1;
  if (selected !== null && membersOf(bar).some((one) => one.thing === selected.thing)) {
    pen.strokeStyle = colors.ink;
    pen.lineWidth = 1.5;
    pen.strokeRect(x - 0.5, y - 0.5, w + 1, h + 1);
  }
  hits.push({ x: x - 1, y, w: Math.max(w + 2, 5), h, kind: bar.kind, bar, node: bar.node });
}

const THIN_COLOR = { suspect: "warn", down: "bad", left: "quiet", deaf: "warn" };
const THIN_TEXT = { suspect: " suspect", down: " down", left: " left", deaf: " not heard" };
function drawThin(one, y, tall) {
  if (isOut(one)) return;
  const x = xOf(one.from), wide = Math.max(xOf(one.until) - x, 1.5);
  const color = colors[THIN_COLOR[one.kind]];
  pen.fillStyle = color;
  pen.globalAlpha = one.kind === "deaf" ? 0.45 : 0.22;
  pen.fillRect(x, y, wide, tall);
  pen.globalAlpha = 1;
  pen.fillRect(x, y, 1.5, tall);
  if (tall >= 9) {
    const left = Math.max(x, GUTTER);
    textIn(nameOf(one.peer) + THIN_TEXT[one.kind], left + 4, y + tall / 2 + 0.5, x + wide - left - 5, colors.ink, "9px system-ui, sans-serif");
  }
  hits.push({ x, y, w: Math.max(wide, 4), h: tall, kind: one.kind === "deaf" ? "deaf" : "view", one, node: one.node });
}

const SIGN = { start: "S", ensure: "E", terminate: "T", restart: "R", drain: "D", undrain: "U", cordon: "C", uncordon: "C", register: "+", unregister: "−", update: "~" };
function drawOperation(operation, y) {
  const x = xOf(operation.at);
  if (x < GUTTER - 400 && operation.at < view.from && (operation.reply_at || 0) < view.from) return;
  if (operation.at > view.until) return;
  const faint = selected !== null && selected.thing !== operation.thing;
  pen.globalAlpha = faint ? 0.2 : 1;
  const color = operation.reply_at === null ? colors.quiet : operation.ok ? colors.good : colors.warn;
  if (operation.reply_at !== null && operation.reply_at > operation.at) {
    pen.fillStyle = color;
    pen.fillRect(x, y + 11.5, Math.max(xOf(operation.reply_at) - x, 1), 1.5);
  }
  pen.beginPath();
  pen.roundRect(x - 5.5, y, 11, 11, 3);
  pen.fillStyle = operation.reply_at === null ? colors.raised : color;
  pen.fill();
  pen.strokeStyle = operation.reply_at === null ? color : colors.raised;
  pen.lineWidth = 1;
  pen.stroke();
  text(SIGN[operation.what] || "·", x, y + 6, operation.reply_at === null ? color : colors.raised, "700 9px system-ui, sans-serif", "center");
  pen.globalAlpha = 1;
  hits.push({ x: x - 6, y: y - 1, w: 12, h: 13, kind: "operation", operation, node: operation.node });
}

// Which messages are shown at all.
function isShown(message) {
  if (message[2] === 3 ? !layers.datagrams : !layers.messages) return false;
  if (laneData[message[0]].hidden || laneData[message[1]].hidden) return false;
  return selected === null || message[2] === 3 || mentions[message[3]].has(selected.thing.id);
}

function gatherMessages() {
  lines = [];
  if (!layers.messages && !layers.datagrams) return;
  for (let block = 0; block < blocks.length; block += 1) {
    if (blocks[block].until < view.from) continue;
    if (blocks[block].from > view.until) break;
    for (let place = block * BLOCK; place < Math.min((block + 1) * BLOCK, run.messages.length); place += 1) {
      const message = run.messages[place];
      const last = message[6] === null ? message[5] : message[6];
      if (last < view.from || message[5] > view.until || !isShown(message)) continue;
      lines.push(message);
    }
  }
}

function drawMessages() {
  const most = moving ? MESSAGES_IN_MOTION : MESSAGES_AT_ONCE, each = Math.ceil(lines.length / most) || 1;
  const many = lines.length / each;
  const at = (node) => { const data = laneData[node]; return laneY(node) + Math.min(data.height / 2, data.childrenY); };
  pen.lineWidth = many > 2000 ? 0.6 : 1;
  pen.globalAlpha = many > 8000 ? 0.25 : many > 1500 ? 0.45 : 0.85;
  for (let lane = 0; lane < LANE_KINDS.length; lane += 1) {
    pen.strokeStyle = pen.fillStyle = colors["lane-" + LANE_KINDS[lane]];
    const path = new Path2D(), heads = new Path2D();
    for (let place = 0; place < lines.length; place += each) {
      const message = lines[place];
      if (message[2] !== lane || message[6] === null) continue;
      const [from, to, , , , sent, received] = message;
      const x0 = xOf(sent), y0 = at(from), x1 = xOf(received), y1 = at(to);
      path.moveTo(x0, y0);
      path.lineTo(x1, y1);
      if (many < 1200) {
        const turn = Math.atan2(y1 - y0, x1 - x0);
        heads.moveTo(x1, y1);
        heads.lineTo(x1 - 6 * Math.cos(turn - 0.4), y1 - 6 * Math.sin(turn - 0.4));
        heads.lineTo(x1 - 6 * Math.cos(turn + 0.4), y1 - 6 * Math.sin(turn + 0.4));
      }
    }
    pen.stroke(path);
    pen.fill(heads);
  }
  // What never came: a short dash towards its receiver, with a cross.
  const lost = new Path2D();
  for (let place = 0; place < lines.length; place += each) {
    const [from, to, , , , sent, received] = lines[place];
    if (received !== null) continue;
    const x = xOf(sent), y0 = at(from), y1 = y0 + Math.sign(at(to) - y0) * 16;
    lost.moveTo(x, y0); lost.lineTo(x, y1);
    lost.moveTo(x - 3, y1 - 3); lost.lineTo(x + 3, y1 + 3);
    lost.moveTo(x + 3, y1 - 3); lost.lineTo(x - 3, y1 + 3);
  }
  pen.strokeStyle = colors.bad;
  pen.stroke(lost);
  pen.globalAlpha = 1;
  if (each > 1 && !moving) text("every " + each + "th of " + lines.length + " messages; zoom in to see all", GUTTER + 8, height - 10, colors.quiet);
}

function drawMoments(head) {
  const moments = [];
  if (run.heal_us !== null) moments.push({ t: run.heal_us, color: colors.good, label: "heal  " + seconds(run.heal_us) });
  if (run.violation !== null) moments.push({ t: run.violation.at, color: colors.bad, label: run.violation.invariant + " violated  " + seconds(run.violation.at) });
  for (const { t, color, label } of moments) {
    const x = xOf(t);
    if (x < GUTTER || x > width + 2) continue;
    pen.fillStyle = color;
    pen.fillRect(x - 1, OVERVIEW + AXIS - 4, 2.5, height);
    if (color === colors.bad) for (const node of accused) drawAccused(node, x, head);
    pen.fillStyle = color;
    pen.font = "600 11px system-ui, sans-serif";
    const wide = pen.measureText(label).width + 12, left = Math.max(Math.min(x - 1, width - wide), GUTTER);
    pen.beginPath();
    pen.roundRect(left, height - 20, wide, 18, 4);
    pen.fill();
    text(label, left + 6, height - 10.5, colors.raised, "600 11px system-ui, sans-serif");
  }
}

// The lanes that the violation speaks of.
function drawAccused(node, x, head) {
  const data = laneData[node], y = laneY(node) + data.height / 2;
  if (data.hidden || y < head || y > height) return;
  pen.beginPath();
  pen.moveTo(x, y - 9);
  pen.lineTo(x + 9, y);
  pen.lineTo(x, y + 9);
  pen.lineTo(x - 9, y);
  pen.closePath();
  pen.fillStyle = colors.bad;
  pen.strokeStyle = colors.raised;
  pen.lineWidth = 2;
  pen.fill();
  pen.stroke();
  text("!", x, y + 0.5, colors.raised, "800 11px system-ui, sans-serif", "center");
}

function drawHead(head) {
  pen.fillStyle = colors.paper;
  pen.fillRect(0, 0, width, head);
  // The overview: the whole run, and which part of it is in the window.
  const o = (t) => GUTTER + t / end * (width - GUTTER);
  pen.fillStyle = colors.lane;
  pen.fillRect(GUTTER, 0, width - GUTTER, OVERVIEW);
  for (const fault of shownFaults) {
    pen.fillStyle = faultColor(fault.of.kind);
    pen.globalAlpha = 0.4;
    pen.fillRect(o(fault.from), 3 + fault.row * 4, Math.max(o(fault.until) - o(fault.from), 1.5), 3);
  }
  pen.globalAlpha = 1;
  for (const overlap of overlaps) {
    pen.fillStyle = colors.bad;
    pen.globalAlpha = 0.35;
    pen.fillRect(o(overlap.at.from), OVERVIEW - 2, Math.max(o(overlap.at.until) - o(overlap.at.from), 1.5), 2);
    pen.globalAlpha = 0.9;
    for (const at of overlap.joined) pen.fillRect(o(at.from), OVERVIEW - 5, Math.max(o(at.until) - o(at.from), 1.5), 5);
  }
  pen.globalAlpha = 1;
  if (run.heal_us !== null) { pen.fillStyle = colors.good; pen.fillRect(o(run.heal_us), 0, 2, OVERVIEW); }
  if (run.violation !== null) { pen.fillStyle = colors.bad; pen.fillRect(o(run.violation.at) - 2, 0, 2.5, OVERVIEW); }
  const left = Math.max(o(view.from), GUTTER), right = Math.min(o(view.until), width);
  pen.fillStyle = colors.ink;
  pen.globalAlpha = 0.12;
  pen.fillRect(GUTTER, 0, left - GUTTER, OVERVIEW);
  pen.fillRect(right, 0, width - right, OVERVIEW);
  pen.globalAlpha = 1;
  pen.strokeStyle = colors.accent;
  pen.lineWidth = 1.5;
  pen.strokeRect(left + 0.75, 0.75, Math.max(right - left - 1.5, 3), OVERVIEW - 1.5);
  hits.push({ x: GUTTER, y: 0, w: width - GUTTER, h: OVERVIEW, kind: "overview" });
  // The axis.
  const step = stepOf(), digits = Math.max(0, 6 - Math.floor(Math.log10(step)));
  for (let t = Math.ceil(view.from / step) * step; t <= view.until; t += step) {
    const x = xOf(t);
    if (x < GUTTER + 2) continue;
    pen.fillStyle = colors.quiet;
    pen.fillRect(Math.round(x), OVERVIEW + AXIS - 5, 1, 5);
    text(seconds(t, digits), x, OVERVIEW + AXIS / 2 - 1, colors.quiet, "11px system-ui, sans-serif", "center");
  }
  // Faults.
  pen.save();
  pen.beginPath();
  pen.rect(GUTTER, OVERVIEW + AXIS, width - GUTTER, head - OVERVIEW - AXIS);
  pen.clip();
  for (const fault of shownFaults) {
    if (isOut(fault)) continue;
    const x = xOf(fault.from), wide = Math.max(xOf(fault.until) - x, 3), y = OVERVIEW + AXIS + fault.row * FAULT;
    const color = faultColor(fault.of.kind), edge = Math.max(x, GUTTER);
    pen.fillStyle = color;
    pen.globalAlpha = 0.2;
    pen.fillRect(x, y, wide, FAULT - 2);
    pen.globalAlpha = 1;
    pen.fillRect(x, y, 2, FAULT - 2);
    textIn(fault.of.kind + ": " + fault.of.text, edge + 6, y + FAULT / 2 - 0.5, x + wide - edge - 8, colors.ink, "10.5px system-ui, sans-serif");
    hits.push({ x, y, w: Math.max(wide, 5), h: FAULT - 2, kind: "fault", fault: fault.of });
  }
  pen.restore();
  pen.fillStyle = colors.line;
  pen.fillRect(0, head - 1, width, 1);
}

function faultColor(kind) {
  if (/cut|partition|isolation/.test(kind)) return colors.accent;
  if (/crash|leave/.test(kind)) return colors.ink;
  if (/pause/.test(kind)) return colors.paused;
  return colors.warn;
}

function drawGutter(head, shown) {
  pen.fillStyle = colors.raised;
  pen.fillRect(0, head, GUTTER, height - head);
  pen.save();
  pen.beginPath();
  pen.rect(0, head, GUTTER, height - head);
  pen.clip();
  const t = pointer.inside && pointer.x >= GUTTER ? tOf(pointer.x) : view.until > end ? end - 1 : (view.from + view.until) / 2;
  for (const data of shown) {
    const y = laneY(data.node), { life, state } = stateAt(data.node, Math.min(Math.max(t, 0), end - 1));
    text(nameOf(data.node), 12, y + 14, accused.has(data.node) ? colors.bad : life ? colors.ink : colors.quiet, "650 13px system-ui, sans-serif");
    text(life ? "boot " + life.boot : "—", GUTTER - 10, y + 14, colors.quiet, "11px system-ui, sans-serif", "right");
    if (state !== "up" && data.height >= 30) text(state, 12, y + 28, state === "down" ? colors.bad : colors.warn, "italic 10.5px system-ui, sans-serif");
    pen.fillStyle = colors.line;
    pen.fillRect(0, y + data.height - 1, GUTTER, 1);
    hits.push({ x: 0, y, w: GUTTER, h: data.height, kind: "label", node: data.node, t });
  }
  pen.restore();
  pen.fillStyle = colors.raised;
  pen.fillRect(0, 0, GUTTER, head);
  text("whole run", 12, OVERVIEW / 2, colors.quiet, "10.5px system-ui, sans-serif");
  text("simulated time", 12, OVERVIEW + AXIS / 2, colors.quiet, "10.5px system-ui, sans-serif");
  if (faultRows > 0) text("faults", 12, OVERVIEW + AXIS + FAULT / 2, colors.quiet, "10.5px system-ui, sans-serif");
  pen.fillStyle = colors.line;
  pen.fillRect(GUTTER - 1, 0, 1, height);
  pen.fillRect(0, head - 1, GUTTER, 1);
  const room = height - head;
  if (lanesHeight > room) {
    pen.fillStyle = colors.quiet;
    pen.globalAlpha = 0.5;
    pen.fillRect(width - 5, head + view.top / lanesHeight * room, 4, room * room / lanesHeight);
    pen.globalAlpha = 1;
  }
}

function drawPointer(head) {
  if (flash !== null) {
    const x = xOf(flash);
    pen.fillStyle = colors.accent;
    if (x >= GUTTER) pen.fillRect(x - 0.75, OVERVIEW + AXIS - 4, 1.5, height);
  }
  if (!pointer.inside || pointer.x < GUTTER) return;
  pen.fillStyle = colors.quiet;
  pen.globalAlpha = 0.55;
  pen.fillRect(Math.round(pointer.x), OVERVIEW + AXIS - 4, 1, height);
  pen.globalAlpha = 1;
  const label = seconds(tOf(pointer.x), 6);
  pen.font = "600 11px system-ui, sans-serif";
  const wide = pen.measureText(label).width + 10, left = Math.min(Math.max(pointer.x - wide / 2, GUTTER), width - wide);
  pen.fillStyle = colors.ink;
  pen.beginPath();
  pen.roundRect(left, OVERVIEW + 2, wide, AXIS - 5, 4);
  pen.fill();
  text(label, left + 5, OVERVIEW + AXIS / 2 - 0.5, colors.paper, "600 11px system-ui, sans-serif");
}

// What is under the pointer, the topmost first; messages last, by their distance.
function under(x, y) {
  for (let place = hits.length - 1; place >= 0; place -= 1) {
    const hit = hits[place];
    if (x < hit.x || x > hit.x + hit.w || y < hit.y || y > hit.y + hit.h) continue;
    if (hit.kind === "group" || (x < GUTTER) !== (hit.kind === "label")) continue;
    if (y < headHeight() && hit.kind !== "fault" && hit.kind !== "overview") continue;
    return hit;
  }
  if (x < GUTTER || y < headHeight()) return null;
  let best = null, least = 5;
  const at = (node) => { const data = laneData[node]; return laneY(node) + Math.min(data.height / 2, data.childrenY); };
  if (!moving) for (const message of lines) {
    const [from, to, , , , sent, received] = message;
    const x0 = xOf(sent), y0 = at(from);
    const x1 = received === null ? x0 : xOf(received), y1 = received === null ? y0 + Math.sign(at(to) - y0) * 16 : at(to);
    if (x < Math.min(x0, x1) - 5 || x > Math.max(x0, x1) + 5 || y < Math.min(y0, y1) - 5 || y > Math.max(y0, y1) + 5) continue;
    const length = Math.hypot(x1 - x0, y1 - y0) || 1;
    const off = Math.abs((x1 - x0) * (y0 - y) - (x0 - x) * (y1 - y0)) / length;
    if (off < least) { least = off; best = { kind: "message", message }; }
  }
  if (best) return best;
  return hits.find((hit) => hit.kind === "group" && x >= hit.x && x <= hit.x + hit.w && y >= hit.y && y <= hit.y + hit.h) || null;
}

