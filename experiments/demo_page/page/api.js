// Requests to the server. Every open page draws a name of its own, by which the server keeps its state from others'.

const draw = crypto.getRandomValues(new Uint8Array(16));
const VISITOR = [...draw].map((one) => one.toString(16).padStart(2, "0")).join("");

/** What the server answers to a path below the page; it throws an Error whose message can be shown. */
async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { ...options, headers: { "X-Visitor": VISITOR, ...options.headers } });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server does not answer. Is the command still running?");
  }
  if (answer.ok) return answer;
  const said = await answer.json().then((plain) => plain.error, () => "");
  throw new Error(said || `The server answers ${answer.status}. Load the page anew.`);
}

/** JSON of a path. */
export const get = async (path, signal) => (await ask(path, { signal })).json();

/** JSON that is answered to an object. */
export const post = async (path, body, signal) =>
  (await ask(path, { method: "POST", signal, body: JSON.stringify(body), headers: { "Content-Type": "application/json" } })).json();

/** Answer to a file or other bytes, as JSON. */
export const send = async (path, body, signal) =>
  (await ask(path, { method: "POST", signal, body, headers: { "Content-Type": "application/octet-stream" } })).json();

/** Bytes of a path. */
export const bytes = async (path, signal) => (await ask(path, { signal })).arrayBuffer();
