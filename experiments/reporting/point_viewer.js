// Shapes that turn, painted by the attention of the words of their captions. Reads the data and the elements that
// experiments/reporting/run_page.py writes; Cloud is that of align3d/reviewing/page/cloud.js, and painted that of
// attention_colors.js.

function bytes(text) {
  const raw = atob(text), found = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) found[i] = raw.charCodeAt(i);
  return found;
}

function viewer(root, shape) {
  const canvas = root.querySelector("canvas"), buttons = [...root.querySelectorAll("button[data-word]")];
  const cloud = new Cloud(canvas), places = new Int16Array(bytes(shape.points).buffer);
  const buffer = new ArrayBuffer(17 * shape.count);
  new Float32Array(buffer, 0, 3 * shape.count).set(Float32Array.from(places, (value) => value / 32767));
  const own = bytes(shape.colors);
  new Uint8Array(buffer, 14 * shape.count).set(own);
  cloud.show(buffer, shape.count);
  let chosen = -1;
  function choose(word) {
    chosen = word;
    buttons.forEach((button) => button.setAttribute("aria-pressed", Number(button.dataset.word) === word));
    cloud.set({ own: word < 0 ? own : painted(bytes(shape.words[word].attention)) });
  }
  buttons.forEach((button) => button.addEventListener("click", () => choose(Number(button.dataset.word))));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => choose(chosen));
  const turn = root.querySelector("button[data-turn]");
  const told = () => turn.setAttribute("aria-pressed", cloud.turning);
  turn.addEventListener("click", () => {
    cloud.set({ turning: !cloud.turning });
    told();
  });
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] }[event.key];
    if (step) cloud.turn(...step);
    else if (event.key === "+" || event.key === "-") cloud.zoom(event.key === "+" ? 1.15 : 1 / 1.15);
    else return;
    event.preventDefault();
  });
  told();
  const heaviest = shape.words.reduce((best, word, i) => (word.weight > shape.words[best].weight ? i : best), 0);
  choose(shape.words.length ? heaviest : -1);
}

const shapes = JSON.parse(document.getElementById("clouds").textContent);
document.querySelectorAll("[data-shape]").forEach((root) => viewer(root, shapes[Number(root.dataset.shape)]));
