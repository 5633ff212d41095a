// Tab of searches: words and a filter in, shapes that turn out; a click opens one large.

import { get, post } from "./api.js";
import { element, labeled } from "./elements.js";
import { largeView } from "./large_view.js";
import { gallery } from "./shapes.js";

const EXAMPLE = "through-hole pin header, 2 rows, right angle";

export async function mount(panel, shell) {
  const query = element("input", { type: "search", id: "query", name: "q", autocomplete: "off", maxlength: 2000, placeholder: "What does it look like?" });
  const category = element("input", { type: "text", id: "category", list: "categories", autocomplete: "off", placeholder: "any; * stands for anything" });
  const known = element("datalist", { id: "categories" });
  const caption = element("input", { type: "text", id: "caption", autocomplete: "off", placeholder: "any" });
  const count = element("select", { id: "count" }, ...[10, 20, 40].map((n) => element("option", { value: n, selected: n === 20 }, String(n))));
  const ask = element("button", { type: "submit", class: "main" }, "Search");
  const form = element("form", { role: "search" },
    element("div", { class: "ask" }, labeled("Words", query), ask),
    element("div", { class: "filters" }, labeled("Category", category), labeled("Caption contains", caption), labeled("Answers", count)),
    known);
  const facts = element("p", { class: "soft", id: "facts" }), found = element("ol", { id: "answers", "aria-label": "Answers" });
  panel.append(form, facts, found);
  const large = largeView(panel);
  let last = "", waiting = null;

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!query.value.trim()) {
      query.focus();
      return shell.alert("Type what to search for.");
    }
    shell.go("search", params());
  });

  /** What the form says, as the address has it. */
  function params() {
    const said = { q: query.value.trim(), k: count.value };
    if (category.value.trim()) said.category = category.value.trim();
    if (caption.value.trim()) said.caption = caption.value.trim();
    return said;
  }

  /** The filter of the form; a comma would end a pattern, so that any letter may stand there. */
  function where() {
    const plain = (text) => text.trim().replaceAll(",", "?");
    return [
      ...(category.value.trim() ? [`category=${plain(category.value)}`] : []),
      ...(caption.value.trim() ? [`caption=*${plain(caption.value)}*`] : []),
    ].join(",");
  }

  async function search() {
    waiting?.abort();
    waiting = new AbortController();
    const { signal } = waiting;
    panel.setAttribute("aria-busy", "true");
    try {
      const asked = query.value.trim(), filter = where();
      const answers = await post("api/search/find", { query: asked, k: Number(count.value), where: filter }, signal);
      const spent = Object.values(answers.seconds).reduce((sum, one) => sum + one, 0);
      shell.say(`${answers.answers.length} of ${answers.library.toLocaleString("en")} shapes for “${asked}”`);
      facts.textContent = `${(1000 * spent).toFixed(0)} ms; scores: ${answers.score}, ${answers.calibrated}`;
      await gallery(found, answers.answers, lines, (answer) => {
        large.open(answer, { [`Where do the words look?`]: () => shell.go("attention", { q: asked, row: answer.row, ...(filter ? { where: filter } : {}) }) });
      }, signal);
    } catch (error) {
      if (error.name !== "AbortError") {
        found.replaceChildren();
        facts.textContent = "";
      }
      shell.alert(error);
    } finally {
      if (!signal.aborted) panel.removeAttribute("aria-busy");
    }
  }

  const lines = (answer) => [
    `${answer.rank}. ${answer.caption || answer.id}`,
    `${answer.score.toFixed(2)}${answer.category ? ` · ${answer.category}` : ""}`,
  ];

  get("api/search/filters").then(({ categories }) => {
    known.replaceChildren(...categories.map(([name, many]) => element("option", { value: name }, `${many} shapes`)));
  }).catch((error) => shell.alert(error));

  return {
    async shown(said) {
      const address = said.toString();
      if (!said.has("q")) {
        if (!last && !query.value) query.value = shell.page.data === "kicad" ? EXAMPLE : "";
        query.focus();
        return;
      }
      if (address === last) return;
      last = address;
      query.value = said.get("q");
      category.value = said.get("category") ?? "";
      caption.value = said.get("caption") ?? "";
      count.value = said.get("k") ?? "20";
      if (!count.value) count.value = "20";
      await search();
    },
  };
}
