"use strict";
// One page with three views by what follows the #: all studies, one study, one log. Texts are only ever set as text.
const $ = (id) => document.getElementById(id);
let source = null, timer = null, view = 0, ages = [];

const make = (tag, text, attributes = {}) => {
  const element = document.createElement(tag);
  if (text !== undefined && text !== null) element.textContent = text;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
};
const link = (text, hash) => make("a", text, { href: hash });
const at = (...parts) => "#/" + parts.map(encodeURIComponent).join("/");
const query = (values) => new URLSearchParams(values).toString();
const state = (text) => make("span", text, { class: "state " + text });

function since(seconds) {
  const gone = Math.max(0, Date.now() / 1000 - seconds);
  const [size, unit] = gone < 90 ? [1, "s"] : gone < 5400 ? [60, "min"] : gone < 172800 ? [3600, "h"] : [86400, "d"];
  return `${Math.round(gone / size)} ${unit} ago`;
}
function age(seconds) {
  const element = make("span", seconds ? since(seconds) : "");
  if (seconds) ages.push([element, seconds]);
  return element;
}
setInterval(() => { ages = ages.filter(([element]) => element.isConnected); for (const [element, seconds] of ages) element.textContent = since(seconds); }, 1000);

async function get(path) {
  const response = await fetch(path).catch(() => { throw new Error("The server cannot be reached: is harness ui still running?"); });
  const content = await response.json();
  if (!response.ok) throw new Error(content.error);
  return content;
}

function table(heads, rows) {
  const found = make("table", null, { class: "list" }), head = make("tr"), body = make("tbody");
  head.append(...heads.map(([name, kind]) => make("th", name, { scope: "col", class: kind || "" })));
  for (const cells of rows) {
    const row = make("tr");
    cells.forEach((cell, place) => {
      const element = make(place === 0 ? "th" : "td", null, place === 0 ? { scope: "row" } : { "data-name": heads[place][0], class: heads[place][1] || "" });
      if (cell !== "" && cell !== 0 && cell !== null) element.append(cell);
      row.append(element);
    });
    body.append(row);
  }
  const top = make("thead");
  top.append(head);
  found.append(top, body);
  const scroll = make("div", null, { class: "scroll" });
  scroll.append(found);
  return scroll;
}

function progress(share) {
  const found = make("progress", null, { max: 1, value: share, "aria-label": "progress" }), both = make("span");
  both.append(found, ` ${Math.floor(100 * share)} %`);
  both.className = "name";
  return both;
}

// What is replaced keeps the focus, the chosen boxes and the opened parts.
function put(...parts) {
  const focused = document.activeElement && document.activeElement.dataset ? document.activeElement.dataset.key : null;
  $("content").replaceChildren(...parts);
  if (focused) { const again = document.querySelector(`[data-key="${CSS.escape(focused)}"]`); if (again) again.focus(); }
}

const chosen = new Set();
function showStudies(content) {
  $("way").textContent = content.runs_dir;
  if (!content.studies.length) { put(make("p", `There are no studies in ${content.runs_dir} yet. This page shows them as soon as one starts.`)); return; }
  const names = new Set(content.studies.map((study) => study.name));
  for (const name of chosen) if (!names.has(name)) chosen.delete(name);
  const compare = make("button", "Compare", { type: "button", "data-key": "compare" });
  const said = make("span", "", { class: "meta" });
  const tell = () => { compare.disabled = chosen.size < 2; said.textContent = chosen.size < 2 ? "Choose two studies or more." : [...chosen].join(", "); };
  compare.addEventListener("click", () => { location.href = "/report?" + [...chosen].map((name) => query({ study: name })).join("&"); });
  const rows = content.studies.map((study) => {
    const name = link(study.name, at("study", study.name));
    name.dataset.key = "study " + study.name;
    const box = make("input", null, { type: "checkbox", "aria-label": `compare ${study.name}`, "data-key": "box " + study.name });
    box.checked = chosen.has(study.name);
    box.addEventListener("change", () => { if (box.checked) chosen.add(study.name); else chosen.delete(study.name); tell(); });
    const best = study.best.map((each) => `${each.score} ${each.cell}`).join("; ");
    return [name, state(study.state), progress(study.share), best, study.running, study.failed, age(study.activity), box];
  });
  const heads = [["study"], ["state"], ["progress"], ["best on validation", "wide"], ["running", "num"], ["failed", "num"], ["changed", "name"], ["compare"]];
  const bar = make("div", null, { class: "bar" });
  bar.append(compare, said);
  tell();
  put(table(heads, rows), ...(content.studies.length > 1 ? [bar] : []));
}

const opened = new Map();
function showStudy(study) {
  const report = make("a", "Report", { class: "button", href: "/report?" + query({ study: study.name }), "data-key": "report" });
  const bar = make("div", null, { class: "bar" });
  bar.append(state(study.state), progress(study.share), report, make("span", "written anew when there are new results", { class: "meta" }));
  const counts = ["paused", "interrupted", "failed"].filter((name) => study.progress.some((cell) => cell[name]));
  const heads = [["cell"], ["state"], ["tuned", "num"], ["confirmed", "num"], ["running", "num"], ["queued", "num"], ...counts.map((name) => [name, "num"]), ["best on validation", "num"]];
  const rows = study.progress.map((cell) => [cell.id, state(cell.state), cell.tuned, cell.confirmed, cell.running, cell.queued, ...counts.map((name) => cell[name]), cell.best]);
  const parts = [bar, table(heads, rows)];
  if (study.jobs) parts.push(make("p", `${study.jobs} jobs on the cluster are not over.`));
  if (study.note) parts.push(make("p", study.note));
  if (study.failures.length) {
    parts.push(make("h2", "Failures"));
    const list = make("ul", null, { class: "notes" });
    for (const failure of study.failures) {
      const [cell, run] = failure.run.split("/"), item = make("li");
      item.append(link(failure.run, at("log", study.name, cell, run)), make("span", ": " + failure.error));
      list.append(item);
    }
    parts.push(list);
    if (study.more_failures) parts.push(make("p", `And ${study.more_failures} more.`, { class: "meta" }));
  }
  parts.push(make("h2", "Runs and their logs"));
  for (const cell of study.progress) parts.push(runsOf(study, cell));
  const last = make("p", "Last change ", { class: "meta" });
  last.append(age(study.activity));
  put(...parts, last);
}

function runsOf(study, cell) {
  const key = study.name + "\0" + cell.id, part = make("details"), list = make("ul", null, { class: "runs" });
  const head = make("summary", cell.id, { "data-key": "runs " + cell.id });
  part.append(head, list);
  const known = opened.get(key);
  const fill = (content) => {
    list.replaceChildren(...content.runs.map((run) => {
      const item = make("li");
      item.append(link(run.run, at("log", study.name, cell.id, run.run)), " ", state(run.status));
      return item;
    }), ...(content.more ? [make("li", `and ${content.more} more`)] : []));
  };
  if (known) { part.open = true; fill(known); load(); }
  async function load() {
    try { const content = await get("/api/runs?" + query({ study: study.name, cell: cell.id })); if (part.open) { opened.set(key, content); fill(content); } }
    catch (error) { list.replaceChildren(make("li", error.message)); }
  }
  part.addEventListener("toggle", () => { if (!part.open) opened.delete(key); else if (!opened.has(key)) load(); });
  return part;
}

async function showLog(number, study, cell, run) {
  const log = make("pre", "", { class: "log", tabindex: "0" }), said = make("p", "", { class: "meta" });
  put(said, log);
  let next = 0;
  async function look() {
    try {
      const content = await get("/api/log?" + query({ study, cell, run, from: next }));
      if (number !== view) return;
      if (content.next < next) log.textContent = "";
      if (content.skipped) log.textContent = `(${content.skipped.toLocaleString("en")} bytes before are in the file)\n`;
      const end = window.innerHeight + window.scrollY >= document.body.scrollHeight - 40;
      if (content.text) log.append(content.text);
      if (content.text && next && end) window.scrollTo(0, document.body.scrollHeight);
      next = content.next;
      said.replaceChildren(state(content.status), content.text || log.textContent ? "" : " It has printed nothing yet.");
      $("error").textContent = "";
      if (content.status === "running" || content.status === "not started") timer = setTimeout(look, 2000);
    } catch (error) {
      if (number !== view) return;
      $("error").textContent = error.message;
      timer = setTimeout(look, 5000);
    }
  }
  await look();
}

function follow(number, path, show) {
  source = new EventSource(path);
  source.onmessage = (event) => {
    if (number !== view) return;
    $("error").textContent = "";
    $("live").textContent = "Live";
    show(JSON.parse(event.data));
  };
  source.onerror = async () => {
    if (number !== view) return;
    $("live").textContent = "";
    try { await get(path.replace("/api/follow?", "/api/study?").replace(/\/api\/follow$/, "/api/studies")); }
    catch (error) { if (number === view) $("error").textContent = error.message; }
    if (source.readyState === EventSource.CLOSED && number === view) timer = setTimeout(open, 5000);
  };
}

function open() {
  const number = ++view;
  if (source) source.close();
  clearTimeout(timer);
  $("error").textContent = $("live").textContent = "";
  let parts;
  try { parts = location.hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent); } catch { parts = [""]; }
  const [kind, study, cell, run] = parts;
  const way = [link("Studies", "#/")];
  if (kind === "study" && study) {
    $("title").textContent = document.title = study;
    follow(number, "/api/follow?" + query({ study }), showStudy);
  } else if (kind === "log" && run) {
    way.push(" / ", link(study, at("study", study)), ` / ${cell}`);
    $("title").textContent = document.title = run;
    showLog(number, study, cell, run);
  } else {
    $("title").textContent = document.title = "Studies";
    follow(number, "/api/follow", showStudies);
  }
  $("way").replaceChildren(...(kind ? way : []));
}
window.addEventListener("hashchange", () => { $("content").replaceChildren(); open(); $("content").focus(); });
open();
