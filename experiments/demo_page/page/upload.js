// Tab of uploads: a mesh or a cloud in, captions that fit it and shapes like it out.

import { send } from "./api.js";
import { element, labeled } from "./elements.js";
import { largeView } from "./large_view.js";
import { fromBase64, gallery, showShape, turnable } from "./shapes.js";

const UNITS = [["as the format has it", ""], ["meters", 1], ["millimeters", 0.001], ["inches", 0.0254]];
const AXES = [["as the format has it", ""], ["x", "x"], ["y", "y"], ["z", "z"]];

export function mount(panel, shell) {
  const file = element("input", { type: "file", id: "upload" });
  const unit = element("select", {}, ...UNITS.map(([text, value]) => element("option", { value }, text)));
  const up = element("select", {}, ...AXES.map(([text, value]) => element("option", { value }, text)));
  const ask = element("button", { type: "submit", class: "main" }, "Find");
  const form = element("form", { class: "drop" },
    labeled("A mesh or a point cloud of up to 32 MB: GLB, glTF, OBJ, PLY, STL, OFF, VRML, STEP, XYZ", file),
    element("div", { class: "filters" }, labeled("Unit", unit), labeled("Axis that points up", up)),
    element("div", { class: "tools" }, ask, element("span", { class: "soft" }, "The file is read by itself and not kept.")));
  const body = element("div", { id: "uploaded" });
  panel.append(form, body);
  const large = largeView(panel);
  let waiting = null;

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!file.files.length) {
      file.focus();
      return shell.alert("Choose a file first.");
    }
    upload(file.files[0]);
  });
  form.addEventListener("dragover", (event) => {
    event.preventDefault();
    form.classList.add("over");
  });
  form.addEventListener("dragleave", () => form.classList.remove("over"));
  form.addEventListener("drop", (event) => {
    event.preventDefault();
    form.classList.remove("over");
    if (event.dataTransfer.files.length) {
      file.files = event.dataTransfer.files;
      upload(file.files[0]);
    }
  });

  async function upload(chosen) {
    waiting?.abort();
    waiting = new AbortController();
    const { signal } = waiting;
    panel.setAttribute("aria-busy", "true");
    shell.say(`Reading ${chosen.name} …`);
    try {
      const said = new URLSearchParams({ name: chosen.name, ...(unit.value && { unit_m: unit.value }), ...(up.value && { up: up.value }) });
      const told = await send(`api/upload/shape?${said}`, chosen, signal);
      shell.say(`${chosen.name}: read; ${told.captions.length} captions that fit, ${told.answers.length} shapes like it`);
      await draw(chosen.name, told, signal);
    } catch (error) {
      if (error.name !== "AbortError") body.replaceChildren();
      shell.alert(error);
    } finally {
      if (!signal.aborted) panel.removeAttribute("aria-busy");
    }
  }

  async function draw(name, told, signal) {
    const canvas = element("canvas", { class: "shape" }), near = element("ol", { "aria-label": "Shapes like it" });
    const size = told.size_m.map((one) => `${Number((1000 * one).toPrecision(3)).toLocaleString("en")}`).join(" × ");
    const captions = told.captions.map((one) => element("li", {}, one.caption, " ", element("span", { class: "soft" }, one.score.toFixed(2))));
    body.replaceChildren(
      element("div", { class: "explained" },
        element("figure", {}, canvas, element("figcaption", {}, `${name}, ${size} mm`)),
        element("div", {}, element("h2", {}, "Captions that fit"), element("ol", { class: "fits" }, ...captions),
          ...told.notes.map((note) => element("p", { class: "soft" }, note)))),
      element("h2", {}, "Shapes like it"), near);
    showShape(turnable(canvas, `Points of ${name}`), fromBase64(told.cloud));
    await gallery(near, told.answers, (answer) => [`${answer.rank}. ${answer.caption || answer.id}`, `cosine ${answer.score.toFixed(2)}${answer.category ? ` · ${answer.category}` : ""}`],
      (answer) => large.open(answer), signal);
  }

  return {};
}
