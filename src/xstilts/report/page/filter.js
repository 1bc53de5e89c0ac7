// What is chosen beside the page hides rows, columns, tables and pictures of anything else.
// Only what can be chosen is ever hidden: baselines and means stay.
{
  const form = document.getElementById("choose");
  const { columns, languages } = JSON.parse(document.getElementById("choices").textContent);
  const boxes = [...form.querySelectorAll("input")];
  const offered = (facet) => new Set(boxes.filter((box) => box.dataset.facet === facet).map((box) => box.value));
  const facets = Object.fromEntries(["task", "expression", "block", "script", "family", "tier"].map((facet) => [facet, offered(facet)]));
  let chosen = {};

  const passes = (facet, value) => !chosen[facet]?.size || !facets[facet]?.has(value) || chosen[facet].has(value);
  const passesTask = (title) => {
    const [task, block] = columns[title] ?? [title, -1];
    return passes("task", task) && passes("block", String(block));
  };
  const passesLanguage = (code) => Object.entries(languages[code] ?? {}).every(([facet, value]) => passes(facet, value));
  const tests = { task: passesTask, code: passesLanguage };
  const passesFacet = (facet, value) => (tests[facet] ?? ((text) => passes(facet, text)))(value);

  const table = (element) => {
    const heads = [...element.tHead.rows[0].cells];
    heads.forEach((head, n) => {
      if (!head.dataset.of) return;
      const shown = passesFacet(head.dataset.facet, head.dataset.of);
      head.hidden = !shown;
      for (const row of element.tBodies[0].rows) row.cells[n].hidden = !shown;
    });
    const naming = heads.map((head, n) => [head.dataset.facet, n]).filter(([facet, n]) => facet && !heads[n].dataset.of);
    for (const row of element.tBodies[0].rows) {
      row.hidden = !naming.every(([facet, n]) => passesFacet(facet, row.cells[n].textContent));
    }
  };
  const show = () => {
    chosen = {};
    for (const box of boxes) if (box.checked) (chosen[box.dataset.facet] ??= new Set()).add(box.value);
    document.querySelectorAll("table:not(.long)").forEach(table);
    for (const element of document.querySelectorAll("figure[data-task]")) element.hidden = !passesTask(element.dataset.task);
    for (const element of document.querySelectorAll("li[data-of], g[data-of]")) {
      const hidden = !passes("expression", element.dataset.of);
      element.toggleAttribute("hidden", hidden);
      element.classList.toggle("off", hidden);
    }
    const told = Object.entries(chosen).map(([facet, values]) => `${facet}: ${[...values].join(", ")}`);
    document.getElementById("chosen").textContent = told.join("; ");
    form.querySelector("button[type=reset]").hidden = !told.length;
    document.dispatchEvent(new CustomEvent("chosen", { detail: passesFacet }));
  };
  form.addEventListener("change", show);
  form.addEventListener("reset", () => setTimeout(show));
  show();
}
