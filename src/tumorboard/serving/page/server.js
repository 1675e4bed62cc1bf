// Asking the server, with patience where it is busy.

const PATIENCE = 60; // seconds of "all places are taken" before an image is given up
export const run = { about: null }; // what /api/run says

export class Refusal extends Error {}

export async function ask(path, options = {}) {
  for (let waited = 0; ; ) {
    const response = await fetch(path, options).catch(() => {
      throw new Refusal("The server does not answer. Is it still running?");
    });
    if (response.ok) return response.json();
    const seconds = Number(response.headers.get("Retry-After")) || 1;
    if (response.status !== 503 || waited >= PATIENCE) {
      const content = await response.json().catch(() => ({}));
      throw new Refusal(content.detail || `The server answered ${response.status}.`);
    }
    waited += seconds;
    await new Promise((done) => setTimeout(done, 1000 * seconds));
  }
}

export const send = (path, query, file) =>
  ask(`${path}?${new URLSearchParams(query)}`, {
    method: "POST",
    headers: { "Content-Type": "application/octet-stream" },
    body: file,
  });
