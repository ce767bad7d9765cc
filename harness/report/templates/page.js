"use strict";
(() => {
  const table = document.querySelector("table.main");
  if (table) {
    const body = table.tBodies[0];
    const heads = [...table.tHead.rows[0].cells];
    const key = (row, index) => row.cells[index].dataset.sort ?? row.cells[index].textContent.trim();
    const sort = (head, index) => {
      const first = head.dataset.first || "ascending";
      const other = first === "ascending" ? "descending" : "ascending";
      const direction = head.getAttribute("aria-sort") === first ? other : first;
      heads.forEach((cell) => cell.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", direction);
      const sign = direction === "ascending" ? 1 : -1;
      const numeric = head.classList.contains("num");
      const rows = [...body.rows].sort((a, b) => {
        const [x, y] = [key(a, index), key(b, index)];
        // What is not known stays at the end, whichever way one sorts.
        if (x === "" || y === "") return (x === "") - (y === "");
        return sign * (numeric ? x - y : x.localeCompare(y, undefined, { numeric: true }));
      });
      body.append(...rows);
    };
    heads.forEach((head, index) => head.querySelector("button").addEventListener("click", () => sort(head, index)));

    const box = document.getElementById("filter");
    const shown = document.getElementById("shown");
    box.addEventListener("input", () => {
      const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
      let count = 0;
      for (const row of body.rows) {
        const text = `${row.textContent} ${row.dataset.text}`.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
        count += !row.hidden;
      }
      shown.textContent = `${count} of ${body.rows.length} rows`;
    });
    document.querySelector(".tools").hidden = false;
  }

  const open = () => {
    const target = location.hash && document.getElementById(location.hash.slice(1));
    if (target && target.tagName === "DETAILS") {
      target.open = true;
      target.scrollIntoView();
    }
  };
  addEventListener("hashchange", open);
  open();

  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details:not([open])")];
    closed.forEach((details) => (details.open = true));
  });
  addEventListener("afterprint", () => closed.forEach((details) => (details.open = false)));
})();
