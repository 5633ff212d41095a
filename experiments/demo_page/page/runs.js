// Tab of runs: what each of several ended with, side by side, the settings that differ, and their curves.

import { get } from "./api.js";
import { element, labeled } from "./elements.js";

export async function mount(panel, shell) {
  const choice = element("fieldset", { class: "runs-choice" }), found = element("div", { class: "compared" });
  const measure = element("select", { id: "runs-measure" });
  panel.append(choice, found);
  const { runs, error } = await get("api/runs/list").then((runs) => ({ runs }), (error) => ({ runs: [], error }));
  if (error) shell.alert(error);
  let last = "", shown = null, waiting = null;

  const boxes = runs.map((run) => {
    const box = element("input", { type: "checkbox", value: run.number, disabled: !run.title });
    box.addEventListener("change", () => shell.go("runs", { n: chosen().join(",") }));
    return [box, element("label", { class: "check" }, box, " ", element("strong", {}, run.name), " ", element("span", { class: "soft" }, run.title ?? run.reason))];
  });
  choice.append(element("legend", {}, "Runs"), ...boxes.map(([, label]) => label));
  const chosen = () => boxes.filter(([box]) => box.checked).map(([box]) => box.value);
  measure.addEventListener("change", () => drawResults());
  const results = element("div", { class: "scrolled", id: "runs-results", tabindex: 0, role: "group", "aria-label": "Table of results" });

  async function compare(numbers) {
    waiting?.abort();
    waiting = new AbortController();
    const { signal } = waiting;
    boxes.forEach(([box]) => (box.checked = numbers.includes(box.value)));
    if (!numbers.length) return found.replaceChildren(element("p", { class: "soft" }, "Choose runs to see them side by side."));
    panel.setAttribute("aria-busy", "true");
    shell.say("Reading the runs …");
    try {
      shown = await get(`api/runs/compared?runs=${numbers.join(",")}`, signal);
      draw();
      shell.clear();
    } catch (error) {
      shell.alert(error);
    } finally {
      if (!signal.aborted) panel.removeAttribute("aria-busy");
    }
  }

  function draw() {
    const names = shown.runs.map((run) => run.name);
    const measures = [...new Set(shown.results.map((row) => row.measure))], before = measure.value;
    measure.replaceChildren(...measures.map((name) => element("option", { value: name, selected: name === before }, name)));
    const plots = element("div", { class: "plots" }, ...shown.plots.map(plotted));
    found.replaceChildren(
      ...shown.notes.map((note) => element("p", { class: "bad" }, note)),
      element("ul", { class: "verdicts" }, ...shown.runs.map((run) => element("li", {}, element("h3", {}, run.name), element("p", { class: "soft" }, run.title), element("p", {}, run.verdict)))),
      element("section", { "aria-label": "Results" }, element("h3", {}, "Results on the test split, per cent"), element("div", { class: "narrow" }, labeled("Measure", measure)), results),
      element("section", { "aria-label": "Settings that differ" }, element("h3", {}, "Settings that differ"),
        shown.settings.length ? scrolled(table(["setting", ...names], shown.settings)) : element("p", { class: "soft" }, shown.runs.length > 1 ? "None." : "Choose a second run to compare with.")),
      element("section", { "aria-label": "Curves" }, element("h3", {}, "Curves"),
        element("p", { class: "soft" }, "A band is the 95 % interval of a mean over queries, where the run states its standard error."),
        shown.plots.length ? plots : element("p", { class: "soft" }, "These runs have no curves.")),
      element("section", { "aria-label": "What they took" }, element("h3", {}, "What they took"), scrolled(table(["", ...names], shown.facts))));
    drawResults();
  }

  function drawResults() {
    const rows = shown.results.filter((row) => row.measure === measure.value);
    const cells = rows.map((row) => element("tr", {}, element("th", { scope: "row" }, row.ranking), element("td", {}, row.direction),
      ...row.values.map((value, place) => {
        const best = row.best.includes(place);
        return element("td", { class: best ? "number best" : "number" }, value, ...(best ? [element("span", { class: "unseen" }, " (best)")] : []));
      })));
    const heads = ["ranking", "direction", ...shown.runs.map((run) => run.name)];
    results.replaceChildren(element("table", {}, head(heads, 2), element("tbody", {}, ...cells)));
  }

  return {
    async shown(said) {
      const usable = runs.filter((run) => run.title).map((run) => String(run.number));
      const numbers = said.has("n") ? said.get("n").split(",").filter(Boolean) : usable.slice(0, 2);
      if (numbers.join() === last && shown) return;
      last = numbers.join();
      await compare(numbers);
    },
  };
}

const head = (names, words) => element("thead", {}, element("tr", {}, ...names.map((name, place) => element("th", { scope: "col", class: place < words ? "" : "number" }, name))));

const scrolled = (inner) => element("div", { class: "scrolled", tabindex: 0, role: "group", "aria-label": "Table" }, inner);

function table(names, rows) {
  const lines = rows.map(([name, ...values]) => element("tr", {}, element("th", { scope: "row" }, name), ...values.map((value) => element("td", { class: "number" }, value))));
  return element("table", {}, head(names, 1), element("tbody", {}, ...lines));
}

/** A plot of the server's. Its styles are set here, as the page's policy lets no markup do so. */
function plotted(text) {
  const picture = document.importNode(new DOMParser().parseFromString(text, "text/html").querySelector("svg"), true);
  for (const part of picture.querySelectorAll("[data-style]")) part.style.cssText = part.dataset.style;
  return element("figure", {}, picture);
}
