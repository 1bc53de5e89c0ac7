"use strict";
const keyOf = (cell) => {
  const value = parseFloat(cell.dataset.v ?? cell.textContent.replace("−", "-"));
  return Number.isNaN(value) ? null : value;
};
// what has no number stays at the end, whichever way the rest is sorted
const compare = (column, sign) => (a, b) => {
  const [x, y] = [a.cells[column], b.cells[column]];
  const [m, n] = [keyOf(x), keyOf(y)];
  if (m !== null && n !== null) return sign * (m - n);
  if (m !== null || n !== null) return m === null ? 1 : -1;
  return sign * x.textContent.localeCompare(y.textContent);
};
for (const table of document.querySelectorAll("table")) {
  const heads = table.querySelectorAll("thead th");
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const first = head.classList.contains("n") ? "descending" : "ascending";
      const other = first === "ascending" ? "descending" : "ascending";
      const order = head.getAttribute("aria-sort") === first ? other : first;
      heads.forEach((each) => each.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      table.tBodies[0].append(...[...table.tBodies[0].rows].sort(compare(column, sign)));
    });
  });
}
const filter = document.getElementById("filter");
if (filter) {
  const details = filter.closest("details");
  const rows = [...details.querySelectorAll("tbody tr")];
  const show = () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const row of rows) {
      const cells = [...row.cells].map((cell) => cell.textContent.toLowerCase());
      row.hidden = !words.every((word) => cells.some((text) => text === word || text.startsWith(word)));
      count += !row.hidden;
    }
    document.getElementById("matches").textContent = `${count} of ${rows.length}`;
  };
  filter.addEventListener("input", show);
  for (const button of document.querySelectorAll("button.rows")) {
    button.addEventListener("click", () => {
      details.open = true;
      filter.value = button.dataset.filter;
      show();
      filter.focus();
      details.scrollIntoView();
    });
  }
}
