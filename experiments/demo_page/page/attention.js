// Tab of attention: a word is a button that paints where it looks; a slider goes from HAF alone to the calibration;
// true parts stand beside it, and the known pairs that spoke below.

import { post } from "./api.js";
import { painted } from "./attention_colors.js";
import { element, labeled } from "./elements.js";
import { decoded, fromBase64, gallery, shapesOf, showShape, turnable } from "./shapes.js";
import { Cloud, partColor } from "./cloud.js";

const VIEWS = [["fused", "all levels"], ["patches", "patches alone"], ["regions", "regions alone"]];
const SHOWN = 8; // answers to choose from

export function mount(panel, shell) {
  const query = element("input", { type: "search", id: "attention-query", autocomplete: "off", maxlength: 2000 });
  const form = element("form", { role: "search" }, element("div", { class: "ask" }, labeled("Words", query), element("button", { type: "submit", class: "main" }, "Explain")));
  const others = element("ol", { "aria-label": "Answers to choose from", class: "strip" });
  const body = element("div", { id: "explained" });
  panel.append(form, others, body);
  let waiting = null, last = "", searched = "", clouds = [];

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!query.value.trim()) {
      query.focus();
      return shell.alert("Type the words to explain.");
    }
    shell.go("attention", { q: query.value.trim() });
  });

  async function explain(asked, row, where) {
    waiting?.abort();
    waiting = new AbortController();
    const { signal } = waiting;
    panel.setAttribute("aria-busy", "true");
    try {
      const told = await post("api/attention/explain", { query: asked, row, where }, signal);
      draw(told);
      shell.say(`Answer ${told.rank}: ${told.caption || told.id}`);
      await choices(asked, where, told.row, signal);
    } catch (error) {
      if (error.name !== "AbortError") {
        body.replaceChildren();
        others.replaceChildren();
        searched = "";
      }
      shell.alert(error);
    } finally {
      if (!signal.aborted) panel.removeAttribute("aria-busy");
    }
  }

  /** The first answers as small shapes, of which another one can be chosen. */
  async function choices(asked, where, row, signal) {
    const key = `${asked}\n${where}`;
    if (key !== searched) {
      const { answers } = await post("api/search/find", { query: asked, k: SHOWN, where }, signal);
      await gallery(others, answers, (answer) => [`${answer.rank}. ${answer.caption || answer.id}`],
        (answer) => shell.go("attention", { q: asked, row: answer.row, ...(where ? { where } : {}) }), signal);
      [...others.querySelectorAll("button")].forEach((button, place) => (button.dataset.row = answers[place].row));
      searched = key;
    }
    for (const button of others.querySelectorAll("button")) button.setAttribute("aria-pressed", button.dataset.row === String(row));
  }

  function draw(told) {
    const shape = fromBase64(told.cloud), patch = decoded(told.patch);
    const lights = Object.fromEntries(VIEWS.map(([name]) => [name, decoded(told.lights[name])]));
    const count = told.words.length, full = told.strengths.length - 1;
    const heaviest = told.weights[full].indexOf(Math.max(...told.weights[full]));
    const state = { word: heaviest, view: "fused", step: full };

    const canvas = element("canvas", { class: "shape" });
    const words = told.words.map((word, place) => {
      const button = element("button", { type: "button", "data-word": place }, word, " ", element("small"));
      button.addEventListener("click", () => set({ word: state.word === place ? -1 : place }));
      return button;
    });
    const plain = element("button", { type: "button", "data-word": -1 }, "own colors");
    plain.addEventListener("click", () => set({ word: -1 }));
    const views = VIEWS.map(([name, title]) => {
      const radio = element("input", { type: "radio", name: "view", value: name, checked: name === "fused" });
      radio.addEventListener("change", () => set({ view: name }));
      return element("label", {}, radio, ` ${title}`);
    });
    const slider = element("input", { type: "range", id: "strength", min: 0, max: full, step: 1, value: full, disabled: !full });
    slider.addEventListener("input", () => set({ step: Number(slider.value) }));
    const strength = element("output", { for: "strength" }), said = element("p", { class: "soft", id: "looks" });
    const pictures = element("div", { class: "pictures" },
      element("figure", {}, canvas, element("figcaption", {}, `“${told.caption || told.id}”`)));
    const controls = element("div", { class: "controls" },
      element("h2", {}, "Where does each word look?"),
      element("div", { class: "words", role: "group", "aria-label": "Words" }, ...words, plain),
      ramp(),
      element("fieldset", {}, element("legend", {}, "Attention of"), ...views),
      element("div", { class: "slider" }, element("label", { for: "strength" }, "Calibration"), slider, strength),
      element("p", { class: "soft" }, full ? `Calibrated ${told.calibration}.` : "This query is not calibrated: HAF as it is."),
      said);
    body.replaceChildren(element("div", { class: "explained" }, pictures, controls), memory(told));
    const cloud = turnable(canvas, `Points of the shape, painted by attention: ${told.caption || told.id}`);
    showShape(cloud, shape);
    clouds = [cloud];
    if (told.part) parts(told, shape, pictures, cloud);

    function set(change) {
      Object.assign(state, change);
      const { word, view, step } = state;
      for (const button of [...words, plain]) button.setAttribute("aria-pressed", Number(button.dataset.word) === word);
      words.forEach((button, place) => (button.querySelector("small").textContent = percent(told.weights[step][place])));
      strength.textContent = `${full ? Math.round(100 * told.strengths[step]) : 0} %, score ${told.scores[step].toFixed(2)}`;
      const start = (step * count + word) * told.patches;
      cloud.set({ own: word < 0 ? shape.colors : painted(Uint8Array.from(patch, (one) => lights[view][start + one])) });
      said.textContent = word < 0 ? "" : `“${told.words[word]}” weighs ${percent(told.weights[step][word])} in the score; it looks at ${told.levels
        .map((level, place) => `${level === "object" ? "the whole" : level} by ${percent(told.gates[step][word][place])}`).join(", ")}.`;
    }
    set({});
    repaint = () => set({});
  }

  let repaint = () => {};
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => repaint());

  return {
    async shown(said) {
      const address = said.toString();
      if (!said.get("q")) {
        if (!last) query.focus();
        return;
      }
      if (address === last) return;
      last = address;
      query.value = said.get("q");
      await explain(said.get("q"), said.has("row") ? Number(said.get("row")) : null, said.get("where") ?? "");
    },
  };
}

/** The true parts beside the attention, turned along with it. */
function parts(told, shape, pictures, leader) {
  const raw = decoded(told.part), part = new Int16Array(raw.buffer.slice(raw.byteOffset, raw.byteOffset + raw.byteLength));
  const canvas = element("canvas", { class: "shape", "aria-hidden": "true" }), names = element("ul", { class: "parts", "aria-label": "Parts" });
  pictures.append(element("figure", {}, canvas, element("figcaption", {}, "Its true parts", names)));
  const cloud = new Cloud(canvas);
  showShape(cloud, shape);
  for (let i = 0; i < shape.count; i++) cloud.inParts.set(partColor(part[i]), 3 * i);
  cloud.set({ byPart: true, turning: false });
  told.part_names.forEach((name, number) => {
    const swatch = element("canvas", { width: 12, height: 12, class: "swatch", "aria-hidden": "true" });
    const pen = swatch.getContext("2d");
    pen.fillStyle = `rgb(${partColor(number).join(",")})`;
    pen.fillRect(0, 0, 12, 12);
    names.append(element("li", {}, swatch, ` ${name}`));
  });
  const follow = () => {
    if (!canvas.isConnected) return;
    if (cloud.view.yaw !== leader.view.yaw || cloud.view.pitch !== leader.view.pitch || cloud.view.zoom !== leader.view.zoom) {
      Object.assign(cloud.view, leader.view);
      cloud.set({});
    }
    requestAnimationFrame(follow);
  };
  follow();
}

/** What the memory recalls: known captions by how loud they speak, with the shapes that they meant. */
function memory(told) {
  const found = element("section", { "aria-label": "Known pairs" }, element("h2", {}, "Which known pairs spoke?"));
  if (told.recall === null) {
    found.append(element("p", { class: "soft" }, "This run has no memory of known pairs."));
    return found;
  }
  const counts = told.strength || told.against
    ? `The score counts the recall ${times(told.strength)}, and against the shape its hubness (${told.hubness.toFixed(2)}) ${times(told.against)}.`
    : "The score of this query does not count it.";
  found.append(element("p", { class: "soft" }, `Known captions like the query recall what they meant: ${told.recall.toFixed(2)} logits for this shape, of which the half that comes from the words is below. ${counts}`));
  const list = element("ol", { class: "pairs" }), drawn = [];
  for (const pair of told.pairs.filter(({ weight }, place) => weight >= 0.005 || place === 0)) {
    const canvases = pair.shapes.filter((shape) => shape.row >= 0).slice(0, 3).map((shape) => {
      const canvas = element("canvas", { "aria-hidden": "true" });
      drawn.push([shape.row, canvas]);
      return canvas;
    });
    const more = pair.shapes.length - canvases.length;
    list.append(element("li", {}, element("div", { class: "small" }, ...canvases),
      element("p", {}, element("span", { class: "strong" }, `${percent(pair.weight)} `), `“${pair.text}” `,
        element("span", { class: "soft" }, `${pair.logits >= 0 ? "+" : "−"}${Math.abs(pair.logits).toFixed(2)} for this shape${more > 0 ? `; ${more} more of its shapes` : ""}`))));
  }
  found.append(list);
  const rows = [...new Set(drawn.map(([row]) => row))];
  if (rows.length)
    shapesOf(rows, 512).then((shapes) => {
      for (const [row, canvas] of drawn) if (canvas.isConnected) showShape(new Cloud(canvas), shapes[rows.indexOf(row)]);
    }).catch((error) => list.before(element("p", { class: "bad" }, error.message)));
  return found;
}

/** The colors of attention, from the least to the most of it. */
function ramp() {
  const steps = painted(Uint8Array.from({ length: 64 }, (_, i) => 4 * i)), canvas = element("canvas", { width: 64, height: 1, "aria-hidden": "true" });
  const pen = canvas.getContext("2d"), image = pen.createImageData(64, 1);
  for (let i = 0; i < 64; i++) image.data.set([...steps.slice(3 * i, 3 * i + 3), 255], 4 * i);
  pen.putImageData(image, 0, 0);
  return element("div", { class: "ramp" }, element("span", {}, "least"), canvas, element("span", {}, "most"));
}

const percent = (share) => `${(100 * share).toFixed(0)} %`;
const times = (strength) => `× ${strength.toFixed(2)}`;
