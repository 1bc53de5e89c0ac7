"use strict";
const list = document.getElementById("modules");
const form = document.getElementById("filters");
const modules = [...list.querySelectorAll("article")];
const named = (id) => document.getElementById(id);
const chosen = ["task", "method", "kind", "backbone", "language", "license", "signature"].filter(named);
const fields = ["q", ...chosen, "measure", "least", "order"].filter(named);
const starts = Object.fromEntries(fields.map((id) => [id, named(id).value]));
for (const module of modules) module.scores = JSON.parse(module.dataset.scores);

// an attribute holds one value, or several as a JSON list
const holds = (module, id, value) => {
  const stored = module.dataset[id];
  return stored.startsWith("[") ? JSON.parse(stored).includes(value) : stored === value;
};
const scoreOf = (module) => module.scores[named("measure").value] ?? -Infinity;
const orders = {
  name: (a, b) => modules.indexOf(a) - modules.indexOf(b),
  newest: (a, b) => b.dataset.created.localeCompare(a.dataset.created) || orders.name(a, b),
  score: (a, b) => scoreOf(b) - scoreOf(a) || orders.name(a, b),
};
const fits = (module) => {
  const words = named("q").value.toLowerCase().split(/\s+/).filter(Boolean);
  if (!words.every((word) => module.dataset.words.includes(word))) return false;
  if (!chosen.every((id) => !named(id).value || holds(module, id, named(id).value))) return false;
  const least = named("least")?.value;
  return !least || scoreOf(module) >= Number(least);
};
const show = () => {
  let count = 0;
  for (const module of modules) {
    module.hidden = !fits(module);
    count += !module.hidden;
  }
  list.append(...[...modules].sort(orders[named("order").value]));
  named("count").textContent = `${count} of ${modules.length}`;
  named("nothing").hidden = count > 0 || modules.length === 0;
};
const changed = () => {
  const set = fields.filter((id) => named(id).value !== starts[id]);
  const address = new URLSearchParams(set.map((id) => [id, named(id).value]));
  history.replaceState(null, "", `#${address}`);
  show();
};
const reset = () => {
  for (const id of fields) named(id).value = starts[id];
  changed();
};
// the part of the address after # is a module, or what the filters are set to
const follow = () => {
  const address = location.hash.slice(1);
  const module = document.getElementById(address);
  if (module?.matches("article")) {
    if (module.hidden) {
      for (const id of fields) named(id).value = starts[id];
      show();
    }
    module.querySelector("details").open = true;
    module.scrollIntoView();
    module.querySelector("summary").focus({ preventScroll: true });
    return;
  }
  const wanted = new URLSearchParams(address);
  for (const id of fields) named(id).value = wanted.get(id) ?? starts[id];
  show();
};
form.addEventListener("input", changed);
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("reset", (event) => { event.preventDefault(); reset(); });
named("clear").addEventListener("click", () => { reset(); named("q").focus(); });
addEventListener("hashchange", follow);
addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.target.matches("input, select")) return;
  event.preventDefault();
  named("q").focus();
});
list.addEventListener("click", async (event) => {
  const button = event.target.closest("button.copy");
  if (!button) return;
  const code = button.closest(".snippet").querySelector("code");
  try {
    await navigator.clipboard.writeText(code.textContent);
    button.textContent = "Copied";
  } catch { // no clipboard for this page: leave the text selected
    getSelection().selectAllChildren(code);
    button.textContent = "Selected";
  }
  setTimeout(() => { button.textContent = "Copy"; }, 2000);
});
follow();
