// The files that were dropped, also those in folders, in the order of their paths.

// A folder is handed out in batches, and only as long as the event of the drop is being handled.
export async function filesOf(transfer) {
  const items = [...transfer.items].filter((item) => item.kind === "file");
  const dropped = items.map((item) => [item.webkitGetAsEntry(), item.getAsFile()]);
  const found = [];
  for (const [entry, file] of dropped) {
    if (entry?.isDirectory) await walk(entry, found);
    else if (file) found.push(file);
  }
  return found;
}

async function walk(folder, found) {
  const reader = folder.createReader();
  const inside = [];
  for (;;) {
    const batch = await new Promise((done, failed) => reader.readEntries(done, failed));
    if (!batch.length) break;
    inside.push(...batch);
  }
  for (const entry of sorted(inside.filter(isWanted), (entry) => entry.name)) {
    if (entry.isDirectory) await walk(entry, found);
    else found.push(await new Promise((done, failed) => entry.file(done, failed)));
  }
}

// Slice 10 comes after slice 9.
const ORDER = new Intl.Collator("en", { numeric: true });
export const sorted = (files, key) => [...files].sort((a, b) => ORDER.compare(key(a), key(b)));

// Not what systems put into folders by themselves.
export const isWanted = (file) => !/^\.|^(thumbs\.db|desktop\.ini)$/i.test(file.name);
