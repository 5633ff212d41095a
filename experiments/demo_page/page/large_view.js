// One shape large, in a dialog: turned by pointer and keys, with all that is known of it.

import { get } from "./api.js";
import { element } from "./elements.js";
import { shapesOf, showShape, turnable } from "./shapes.js";

/** A dialog that is put into a panel; open(answer, actions) shows the shape answer.row, and buttons by their texts. */
export function largeView(panel) {
  const dialog = element("dialog", { class: "large", "aria-labelledby": `large-title-${panel.id}` });
  panel.append(dialog);
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  return {
    dialog,
    async open(answer, actions = {}) {
      const canvas = element("canvas"), title = element("h2", { id: `large-title-${panel.id}` }, answer.caption || answer.id);
      const close = element("button", { type: "button", class: "close" }, "Close");
      close.addEventListener("click", () => dialog.close());
      const buttons = Object.entries(actions).map(([text, act]) => {
        const button = element("button", { type: "button", class: "main" }, text);
        button.addEventListener("click", () => {
          dialog.close();
          act();
        });
        return button;
      });
      const facts = element("dl");
      dialog.replaceChildren(title, canvas, element("div", { class: "tools" }, ...buttons, close), facts);
      dialog.showModal();
      const cloud = turnable(canvas, `Points of the shape: ${answer.caption || answer.id}`);
      canvas.focus();
      try {
        const [[shape], told] = await Promise.all([shapesOf([answer.row], 4096), get(`api/search/shape/${answer.row}`)]);
        if (!canvas.isConnected) return;
        showShape(cloud, shape);
        const rows = [["Category", told.category], ["Captions", told.captions.join("\n")], ["File", told.file], ["Id", told.id]];
        for (const [name, value] of rows) if (value) facts.append(element("dt", {}, name), element("dd", {}, value));
      } catch (error) {
        facts.append(element("dt", {}, "Not loaded"), element("dd", { class: "bad" }, error.message));
      }
    },
  };
}
