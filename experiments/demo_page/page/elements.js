// Elements of the page, made from plain values: texts are never read as HTML.

/** An element with attributes (true: there, false or null: not) and children, texts or elements. */
export function element(name, attributes = {}, ...children) {
  const found = document.createElement(name);
  for (const [key, value] of Object.entries(attributes))
    if (value !== false && value !== null && value !== undefined) found.setAttribute(key, value === true ? "" : value);
  found.append(...children);
  return found;
}

/** A field with its label. */
export function labeled(text, field, hint = "") {
  return element("label", { class: "field" }, element("span", {}, text), field, ...(hint ? [element("small", {}, hint)] : []));
}
