// Requests to the server, repeated while it is busy.

const RETRY_SECONDS = 60; // of status 503 before an image is given up
export const run = { description: null }; // the reply of /api/run

export class Refusal extends Error {}

// Run work that makes requests; what the server refuses is shown, any other error is a fault of this page.
export async function attempt(work, showRefusal) {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    showRefusal(error.message, error.details ?? []);
  }
}

export async function request(path, options = {}) {
  for (let waited = 0; ; ) {
    const response = await fetch(path, options).catch(() => {
      throw new Refusal("The server does not respond. Is it still running?");
    });
    if (response.ok) return response.json();
    const seconds = Number(response.headers.get("Retry-After")) || 1;
    if (response.status !== 503 || waited >= RETRY_SECONDS) {
      const content = await response.json().catch(() => ({}));
      const error = new Refusal(content.detail || `The server responded with status ${response.status}.`);
      throw Object.assign(error, { details: content.details || [] });
    }
    waited += seconds;
    await new Promise((done) => setTimeout(done, 1000 * seconds));
  }
}

const post = (path, kind, body) => request(path, { method: "POST", headers: { "Content-Type": kind }, body });

export async function upload(path, query, file) {
  const body = await file.arrayBuffer().catch(() => {
    throw new Refusal("The file cannot be read: it is a folder, or it has been moved or changed.");
  });
  return post(`${path}?${new URLSearchParams(query)}`, "application/octet-stream", body);
}

export const requestJson = (path, content) => post(path, "application/json", JSON.stringify(content));
