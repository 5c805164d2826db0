"use strict";

// Rows shown of one node's children; the rest is only counted.
const ROWS_MAX = 200;
const INTERVAL_MS = 1000;
const TONES = {
  up: "good", running: "good",
  suspect: "busy", draining: "busy", pending: "busy", starting: "busy", stopping: "busy", moving: "busy", backoff: "busy",
  down: "bad", quarantined: "bad", suspended: "bad",
};

const at = (id) => document.getElementById(id);
let token = sessionStorage.getItem("token") || "";

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function row(cells) {
  const made = element("tr");
  for (const [text, className] of cells) made.append(element("td", text ?? "–", className));
  return made;
}

function age(time) {
  const seconds = Math.max(0, Math.floor((Date.now() - Date.parse(time)) / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}

async function get(path) {
  const headers = token ? { authorization: `Bearer ${token}` } : {};
  const response = await fetch(path, { headers, cache: "no-store" });
  if (response.status === 401) throw new Error("token");
  if (!response.ok) throw new Error(`${path} answers ${response.status}`);
  return response.json();
}

function showMembers(members) {
  at("members").replaceChildren(...members.map((member) => row([
    [member.name, "id"],
    member.cordoned || member.full
      ? [[member.status, member.cordoned && "cordoned", member.full && "full"].filter(Boolean).join(", "), "busy"]
      : [member.status, TONES[member.status]],
    [member.boot],
    [member.addr, "id"],
    [member.max_children === null ? member.children : `${member.children} of ${member.max_children}`, "number"],
    [member.kinds.join(", ")],
    [member.version],
    [member.rtt_ms === null ? "–" : `${member.rtt_ms.toFixed(1)} ms`, "number"],
  ])));
}

function card(title, status, children) {
  const made = element("div", undefined, "card");
  const heading = element("h3", `${title} `);
  heading.append(element("span", `${children.length}`));
  if (status) heading.append(" ", element("span", status, TONES[status]));
  made.append(heading);
  if (children.length === 0) {
    made.append(element("p", "none", "none"));
    return made;
  }
  const table = element("table");
  const head = element("tr");
  for (const [text, className] of [["Id"], ["Status"], ["Pid"], ["OS pid"], ["Restarts", "number"], ["Since", "number"], ["Reason"]]) {
    const cell = element("th", text, className);
    cell.scope = "col";
    head.append(cell);
  }
  table.append(element("thead"), element("tbody"));
  table.tHead.append(head);
  table.tBodies[0].append(...children.slice(0, ROWS_MAX).map((child) => row([
    [child.id, "id"],
    [child.status, TONES[child.status]],
    [child.pid, "pid"],
    [child.os_pid, "pid"],
    [child.restarts, "number"],
    [age(child.since), "number"],
    [child.reason ?? "", "reason"],
  ])));
  made.append(table);
  if (children.length > ROWS_MAX) made.append(element("p", `and ${children.length - ROWS_MAX} more`, "none"));
  return made;
}

function showChildren(members, children) {
  const byNode = new Map(members.map((member) => [member.name, []]));
  const nowhere = [];
  for (const child of children) {
    if (child.node === null) nowhere.push(child);
    else if (byNode.has(child.node)) byNode.get(child.node).push(child);
    else byNode.set(child.node, [child]);
  }
  const status = new Map(members.map((member) => [member.name, member.status]));
  const cards = [...byNode]
    .filter(([name, own]) => own.length > 0 || !["left", "down"].includes(status.get(name)))
    .map(([name, own]) => card(name, status.get(name), own));
  if (nowhere.length > 0) cards.unshift(card("On no node", undefined, nowhere));
  at("children").replaceChildren(...cards);
}

async function refresh() {
  try {
    const [status, members, children] = await Promise.all([get("/v1/status"), get("/v1/members"), get("/v1/children")]);
    at("cluster").textContent = status.cluster;
    document.title = `${status.cluster}: ${status.running} of ${status.children} running`;
    at("summary").textContent =
      `Seen from ${status.name}: ${status.members_up} of ${status.members} members up, ` +
      `${status.running} of ${status.children} children running, ${status.names} names, ` +
      `${status.converged ? "converged" : "not converged yet"}` +
      `${status.progress ? `, ${status.progress.taken} of ${status.progress.expected} entries taken` : ""}` +
      `${status.healthy ? "" : ", not healthy"}.`;
    showMembers(members);
    showChildren(members, children);
    at("trouble").hidden = true;
    at("ask").hidden = true;
  } catch (error) {
    const isToken = error.message === "token";
    at("ask").hidden = !isToken;
    at("trouble").hidden = isToken;
    at("trouble").textContent = isToken ? "" : `This node does not answer; the page shows what was last known (${error.message}).`;
  }
  setTimeout(refresh, document.hidden ? 5 * INTERVAL_MS : INTERVAL_MS);
}

at("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  token = at("token").value.trim();
  sessionStorage.setItem("token", token);
});
refresh();
