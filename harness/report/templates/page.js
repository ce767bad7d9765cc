"use strict";
(() => {
  // Text of a study reaches the page through textContent and setAttribute only, so it can never become markup.
  const make = (tag, { text, ...attributes } = {}, ...children) => {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  };
  // A name in a script of its own direction must not turn the words around it.
  const isolated = (tag, text, attributes = {}) => make(tag, attributes, make("bdi", { text }));

  const AT_ONCE = 200; // rows of a table that stand in the page; more of them are slow to lay out

  const tables = (table) => {
    const body = table.tBodies[0];
    const heads = [...table.tHead.rows[0].cells];
    const rows = [...body.rows];
    const shown = document.getElementById("shown");
    let order = rows;
    let most = AT_ONCE;
    let words = [];

    const texts = new Map();
    const fits = (row) => {
      if (!texts.has(row)) texts.set(row, `${row.textContent} ${row.dataset.text}`.toLowerCase());
      const text = texts.get(row);
      // A word with a minus before it must not occur.
      return words.every((word) =>
        word.length > 1 && word.startsWith("-") ? !text.includes(word.slice(1)) : text.includes(word));
    };
    const more = make("button", { type: "button", class: "more" });
    more.addEventListener("click", () => {
      most = Infinity;
      show();
    });
    table.parentElement.after(more);
    const show = () => {
      const matching = words.length ? order.filter(fits) : order;
      body.replaceChildren(...matching.slice(0, most));
      more.hidden = matching.length <= most;
      more.textContent = `Show all ${matching.length} rows`;
      return matching.length;
    };

    const key = (row, index) => row.cells[index].dataset.sort ?? row.cells[index].textContent.trim();
    const collator = new Intl.Collator(undefined, { numeric: true });
    const sort = (head, index) => {
      const first = head.dataset.first || "ascending";
      const other = first === "ascending" ? "descending" : "ascending";
      const direction = head.getAttribute("aria-sort") === first ? other : first;
      heads.forEach((cell) => cell.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", direction);
      const sign = direction === "ascending" ? 1 : -1;
      const numeric = head.dataset.numeric !== undefined;
      const keyed = rows.map((row) => [key(row, index), row]);
      keyed.sort(([x], [y]) => {
        // What is not known stays at the end, whichever way one sorts.
        if (x === "" || y === "") return (x === "") - (y === "");
        return sign * (numeric ? x - y : collator.compare(x, y));
      });
      order = keyed.map(([, row]) => row);
      show();
      shown.textContent = `Sorted by ${head.textContent.trim()}, ${direction}.`;
    };
    heads.forEach((head, index) => head.querySelector("button").addEventListener("click", () => sort(head, index)));
    show();
    if (!table.classList.contains("main")) return;

    const box = document.getElementById("filter");
    box.addEventListener("input", () => {
      words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
      const count = show();
      shown.textContent = words.length ? `${count} of ${rows.length} rows` : "";
    });
    document.querySelector(".tools").hidden = false;
  };

  let known;
  const told = () => (known ??= JSON.parse(document.getElementById("details").textContent));

  // Gives the lines of a configuration: [text, whether a change made it].
  const changed = (lines, edits) => {
    const result = [];
    let place = 0;
    for (const [from, to, added] of edits) {
      result.push(...lines.slice(place, from).map((text) => [text, false]), ...added.map((text) => [text, true]));
      place = to;
    }
    return [...result, ...lines.slice(place).map((text) => [text, false])];
  };

  const list = (pairs) => make("dl", {}, ...pairs.flatMap(([name, value, more]) => {
    const text = isolated("dd", value);
    if (more) text.append(" ", isolated("span", `of ${more}`, { class: "meta" }));
    return [isolated("dt", name), text];
  }));
  const section = (title, ...content) => make("section", {}, make("h3", { text: title }), ...content);

  const trace = (curve, [width, height]) => {
    const draw = (tag, attributes, text) => {
      const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
      for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
      if (text !== undefined) element.textContent = text;
      return element;
    };
    const picture = draw("svg", {
      class: "trace", viewBox: `-6 -16 ${width + 12} ${height + 34}`, role: "img",
      "aria-label": `Validation score by trial, from ${curve.low} to ${curve.high}`,
    });
    picture.append(draw("polyline", { points: curve.line }));
    for (const [x, y, trial, score, status] of curve.dots) {
      const dot = draw("circle", { cx: x, cy: y, r: 3 });
      dot.append(draw("title", {}, `trial ${trial}: ${score}, ${status}`));
      picture.append(dot);
    }
    picture.append(draw("text", { x: 0, y: -7 }, curve.high), draw("text", { x: 0, y: height + 15 }, curve.low));
    return picture;
  };

  const HEADS = ["run", "status", "val", "test", "time"];
  const NUMERIC = [2, 3, 4];

  const runs = (cell, place) => {
    const all = told();
    const errors = cell.runs.some((run) => run.error !== undefined);
    const heads = [...HEADS, ...cell.keys.map((name) => name.split(".").pop()), ...(errors ? ["error"] : [])];
    const body = make("tbody");
    const base = cell.config && changed(all.config, cell.config).map(([text]) => text);
    const inside = (run) => {
      const parts = [];
      if (run.error !== undefined) {
        parts.push(isolated("p", all.errors[run.error], { class: "alarm message" }));
      }
      parts.push(make("p", { class: "note" }, "In ", isolated("code", `${place}/${run.directory}/`),
        ": record.json, log.txt, metrics.jsonl."));
      if (run.config && base) {
        const pre = make("pre", { tabindex: "0", "aria-label": "config.yaml" });
        for (const [text, differs] of changed(base, run.config)) {
          pre.append(differs ? make("b", { text: `${text}\n` }) : `${text}\n`);
        }
        const note = run.config.length ? " (bold: where it differs from the confirmed, else the best run of its cell)" : "";
        parts.push(make("p", { class: "note" }, `config.yaml${note}:`), pre);
      } else {
        parts.push(make("p", { class: "note", text: "Its config.yaml is not in this page." }));
      }
      return parts;
    };
    const row = (run) => {
      const name = `${run.phase} ${run.trial === undefined ? `seed ${run.seed}` : `trial ${run.trial}`}`;
      const button = make("button", { type: "button", class: "more", "aria-expanded": "false", text: name });
      const error = run.error === undefined ? "" : all.errors[run.error];
      const status = run.superseded ? `${run.status}, not counted` : run.status;
      const line = make("tr", {}, make("td", {}, button),
        make("td", { text: status, ...(["failed", "lost"].includes(run.status) ? { class: "alarm" } : {}) }),
        ...["val", "test", "time"].map((key) => make("td", { class: "num", text: run[key] ?? "" })),
        ...cell.keys.map((_, index) => isolated("td", (run.values ?? [])[index] ?? "", { class: "num" })),
        ...(errors ? [isolated("td", error.length > 160 ? `${error.slice(0, 159)}…` : error, { class: "wide" })] : []));
      let opened;
      button.addEventListener("click", () => {
        opened ??= make("tr", { class: "opened", hidden: "" }, make("td", { colspan: heads.length }, ...inside(run)));
        if (!opened.isConnected) line.after(opened);
        opened.hidden = !opened.hidden;
        button.setAttribute("aria-expanded", String(!opened.hidden));
      });
      return line;
    };
    body.append(...cell.runs.slice(0, AT_ONCE).map(row));
    const table = make("table", {}, make("thead", {}, make("tr", {}, ...heads.map((text, index) => {
      const numeric = NUMERIC.includes(index) || (index >= HEADS.length && index < HEADS.length + cell.keys.length);
      return isolated("th", text, { scope: "col", class: numeric ? "num" : "" });
    }))), body);
    const parts = [make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Runs" }, table)];
    if (cell.runs.length > AT_ONCE) {
      const button = make("button", { type: "button", class: "more", text: `Show all ${cell.runs.length} runs` });
      button.addEventListener("click", () => {
        body.append(...cell.runs.slice(AT_ONCE).map(row));
        button.remove();
      });
      parts.push(button);
    }
    if (cell.omitted) parts.push(make("p", { class: "note", text: `${cell.omitted} more runs are left out of this page.` }));
    return parts;
  };

  const fill = (details) => {
    const inside = details.querySelector(".inside");
    if (inside.childElementCount) return;
    const cell = told().cells[Number(details.dataset.cell)];
    if (cell.error) inside.append(isolated("p", `Most frequent error: ${cell.error}`, { class: "alarm message" }));
    const pair = make("div", { class: "pair" });
    const none = cell.runs.length ? "None: nothing was tuned." : "None yet.";
    pair.append(section("Chosen hyperparameters",
      cell.tuned.length ? list(cell.tuned) : make("p", { class: "note", text: none })));
    if (cell.trace) pair.append(section("Validation by trial", trace(cell.trace, told().box)));
    if (cell.metrics.length) {
      const head = make("tr", {}, make("th", { scope: "col", text: "metric" }),
        ...["val", "test"].map((text) => make("th", { scope: "col", class: "num", text })));
      const lines = cell.metrics.map(([name, ...values]) => make("tr", {}, isolated("th", name, { scope: "row" }),
        ...values.map((text) => make("td", { class: "num", text }))));
      pair.append(section("Metrics", make("table", {}, make("thead", {}, head), make("tbody", {}, ...lines))));
    }
    if (cell.costs.length) pair.append(section("Cost of one run", list(cell.costs)));
    inside.append(pair, make("h3", { text: "Runs" }));
    if (cell.runs.length) inside.append(...runs(cell, details.dataset.place));
    else {
      const why = cell.unreadable ? " that can be read" : "";
      inside.append(make("p", { class: "note", text: `No run has left a record${why}.` }));
    }
    const made = told().provenance[cell.provenance];
    if (made.length) inside.append(section("Provenance", list(made)));
  };

  document.querySelectorAll("table.sortable").forEach(tables);
  document.querySelectorAll("details[data-cell]").forEach((details) =>
    details.addEventListener("toggle", () => details.open && fill(details)));
  const open = () => {
    const target = location.hash && document.getElementById(location.hash.slice(1));
    if (target && target.tagName === "DETAILS") {
      target.open = true;
      if (target.dataset.cell) fill(target);
      target.scrollIntoView();
      target.querySelector("summary").focus({ preventScroll: true });
    }
  };
  addEventListener("hashchange", open);
  open();
})();
