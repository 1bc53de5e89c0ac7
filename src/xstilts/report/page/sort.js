// Every heading is a button that sorts its table; what has no number stays at the end.
{
  const keyOf = (cell, part) => {
    const told = part === "delta" ? cell.dataset.d ?? "" : cell.dataset.v ?? cell.textContent;
    const value = parseFloat(told.replace("−", "-"));
    return Number.isNaN(value) ? null : value;
  };
  const compare = (column, part, sign) => (a, b) => {
    const [x, y] = [a.cells[column], b.cells[column]];
    const [m, n] = [keyOf(x, part), keyOf(y, part)];
    if (m !== null && n !== null) return sign * (m - n);
    if (m !== null || n !== null) return m === null ? 1 : -1;
    return sign * x.textContent.localeCompare(y.textContent);
  };
  for (const table of document.querySelectorAll("table:not(.long)")) {
    const buttons = [...table.querySelectorAll("thead button")];
    for (const button of buttons) {
      button.addEventListener("click", () => {
        const head = button.closest("th");
        const first = head.classList.contains("n") ? "descending" : "ascending";
        const other = first === "ascending" ? "descending" : "ascending";
        const order = button.dataset.order === first ? other : first;
        for (const each of buttons) {
          delete each.dataset.order;
          each.closest("th").removeAttribute("aria-sort");
        }
        button.dataset.order = order;
        head.setAttribute("aria-sort", order);
        const sign = order === "ascending" ? 1 : -1;
        const sorted = [...table.tBodies[0].rows];
        sorted.sort(compare(head.cellIndex, button.dataset.part, sign));
        table.tBodies[0].append(...sorted);
      });
    }
  }
}
