// The table with a row for each score: rows are made from data, a page of them at a time.
{
  const STEP = 200;
  const { columns, rows } = JSON.parse(document.getElementById("rows").textContent);
  const table = document.querySelector("table.long");
  const heads = [...table.tHead.rows[0].cells];
  const section = table.closest("section");
  const details = section.querySelector("details");
  const filter = document.getElementById("filter");
  const more = section.querySelector(".more");
  const text = (row, n) => columns[n][rows[n][row]];
  const every = [...rows[0].keys()];
  let [order, passesFacet, limit] = [every, () => true, STEP];

  const matching = () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    // a word fits a column's values once, not each row anew
    const fits = words.map((word) => columns.map((values) => values.map((value) => value.toLowerCase().startsWith(word))));
    const facets = heads.map((head, n) => [n, head.dataset.facet]).filter(([, facet]) => facet);
    const kept = facets.map(([n, facet]) => [n, columns[n].map((value) => passesFacet(facet, value))]);
    return order.filter((row) =>
      kept.every(([n, passes]) => passes[rows[n][row]]) &&
      fits.every((columnFits) => columnFits.some((values, n) => values[rows[n][row]])));
  };
  const show = () => {
    if (!details.open) return;
    const found = matching();
    const body = document.createElement("tbody");
    for (const row of found.slice(0, limit)) {
      const line = body.insertRow();
      heads.forEach((head, n) => {
        const cell = line.insertCell();
        cell.textContent = text(row, n);
        if (head.classList.contains("n")) cell.className = "n";
      });
    }
    table.tBodies[0].replaceWith(body);
    document.getElementById("matches").textContent = `${found.length} of ${every.length}`;
    more.hidden = found.length <= limit;
    more.textContent = `Show ${Math.min(STEP, found.length - limit)} more`;
  };
  const reset = () => { limit = STEP; show(); };
  details.addEventListener("toggle", show);
  filter.addEventListener("input", reset);
  more.addEventListener("click", () => { limit += STEP; show(); });
  document.addEventListener("chosen", (event) => { passesFacet = event.detail; reset(); });
  heads.forEach((head, n) => head.querySelector("button").addEventListener("click", (event) => {
    const sign = event.currentTarget.dataset.order === "ascending" ? -1 : 1;
    const number = (row) => parseFloat(text(row, n));
    const numeric = head.classList.contains("n");
    order = [...every].sort((a, b) => sign * (numeric ? (number(a) || 0) - (number(b) || 0) : text(a, n).localeCompare(text(b, n))));
    for (const each of heads) { each.removeAttribute("aria-sort"); delete each.querySelector("button").dataset.order; }
    event.currentTarget.dataset.order = sign > 0 ? "ascending" : "descending";
    head.setAttribute("aria-sort", event.currentTarget.dataset.order);
    reset();
  }));
  for (const button of document.querySelectorAll("button.rows")) {
    button.addEventListener("click", () => {
      details.open = true;
      filter.value = button.dataset.filter;
      reset();
      filter.focus();
      details.scrollIntoView();
    });
  }
}
