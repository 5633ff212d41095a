// Contrast of what is visible, as WCAG 2.2 computes it: texts on their ground, edges of controls on theirs.
() => {
  const parse = (color) => {
    const [r, g, b, a = 1] = color.match(/[\d.]+/g).map(Number);
    return [r, g, b, a];
  };
  const over = ([r, g, b, a], below) => [r, g, b].map((one, at) => one * a + below[at] * (1 - a));
  const ground = (element) => {
    if (!element) return parse(getComputedStyle(document.body).backgroundColor).slice(0, 3);
    const own = parse(getComputedStyle(element).backgroundColor);
    if (own[3] === 1) return own.slice(0, 3);
    if (element.tagName === "DIALOG") throw new Error("a dialog without a ground");
    return over(own, ground(element.parentElement));
  };
  const light = (rgb) => {
    const [r, g, b] = rgb.map((one) => (one /= 255) <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (one, other) => {
    const [low, high] = [light(one), light(other)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const texts = [], edges = [];
  for (const element of document.querySelectorAll("body *")) {
    if (!element.checkVisibility() || element.closest(".unseen") || element.disabled) continue;
    if (document.querySelector("dialog[open]") && !element.closest("dialog")) continue;
    const style = getComputedStyle(element);
    const said = element.value ?? [...element.childNodes].filter((one) => one.nodeType === 3).map((one) => one.data).join("");
    if (String(said).trim() && !["PROGRESS", "LI"].includes(element.tagName) && element.type !== "checkbox" && element.type !== "radio")
      texts.push({ text: String(said).trim().slice(0, 40), ratio: ratio(over(parse(style.color), ground(element)), ground(element)) });
    if (element.matches("button, textarea, select, input:is([type=text], [type=search])") && !element.matches("[role=tab], .card")) {
      const edge = parse(style.borderTopColor);
      const outside = ground(element.parentElement);
      edges.push({ text: element.id, ratio: ratio(over(edge, outside), outside) });
    }
  }
  return { texts, edges };
}
