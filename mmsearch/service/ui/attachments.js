// The pictures and recordings that a search is made with: chosen, pasted or dropped.

import { element } from "/ui/results.js";

const MAX_FILES = 4;

function kindOf(file) {
  const kind = file.type.split("/")[0];
  if (kind === "image" || kind === "audio") return kind;
  if (/\.(heic|heif|avif|tiff?)$/i.test(file.name)) return "image";
  if (/\.(flac|opus|m4a|amr|wma|aiff?|mka)$/i.test(file.name)) return "audio";
  return null;
}

export class Attachments {
  #files = [];
  #like = null;

  /** `changed()` after every change by the user; `refused(message)` for files of other kinds. */
  constructor({ list, choose, input, overlay, changed, refused }) {
    this.list = list;
    this.changed = changed;
    this.refused = refused;
    choose.addEventListener("click", () => input.click());
    input.addEventListener("change", () => {
      this.add([...input.files]);
      input.value = "";
    });
    document.addEventListener("paste", (event) => {
      const files = [...(event.clipboardData?.files ?? [])];
      if (!files.length) return;
      event.preventDefault();
      this.add(files);
    });
    this.#listenForDrops(overlay);
  }

  get files() {
    return this.#files.map(({ kind, file }) => ({ kind, file }));
  }

  /** A segment's id, or null. */
  get like() {
    return this.#like?.id ?? null;
  }

  get empty() {
    return !this.#files.length && this.#like === null;
  }

  #listenForDrops(overlay) {
    const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
    let depth = 0;
    document.addEventListener("dragenter", (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      depth += 1;
      overlay.hidden = false;
    });
    document.addEventListener("dragover", (event) => {
      if (hasFiles(event)) event.preventDefault();
    });
    document.addEventListener("dragleave", (event) => {
      if (!hasFiles(event)) return;
      depth = Math.max(0, depth - 1);
      overlay.hidden = depth === 0;
    });
    document.addEventListener("drop", (event) => {
      depth = 0;
      overlay.hidden = true;
      if (!hasFiles(event)) return;
      event.preventDefault();
      this.add([...event.dataTransfer.files]);
    });
  }

  add(files) {
    let added = false;
    for (const file of files) {
      const kind = kindOf(file);
      if (kind === null) {
        this.refused(`“${file.name}” is neither a picture nor a recording.`);
      } else if (this.#files.length < MAX_FILES) {
        this.#files.push({ kind, file, address: kind === "image" ? URL.createObjectURL(file) : null });
        added = true;
      }
    }
    if (!added) return;
    this.#draw();
    this.changed();
  }

  /** Replaces everything, without telling: the address has changed, or a new search begins. */
  set({ files = [], like = null }) {
    for (const { address } of this.#files) if (address) URL.revokeObjectURL(address);
    this.#files = files.map(({ kind, file }) => ({
      kind,
      file,
      address: kind === "image" ? URL.createObjectURL(file) : null,
    }));
    this.#like = like;
    this.#draw();
  }

  #remove(entry) {
    if (entry === this.#like) this.#like = null;
    else this.#files = this.#files.filter((one) => one !== entry);
    if (entry.address) URL.revokeObjectURL(entry.address);
    this.#draw();
    this.changed();
  }

  #draw() {
    const chips = this.#files.map((entry) => this.#chip(entry, entry.file.name || "pasted picture", entry.address));
    if (this.#like) chips.push(this.#chip(this.#like, `Like ${this.#like.name}`, this.#like.thumbnail ?? null));
    this.list.replaceChildren(...chips);
    this.list.hidden = !chips.length;
  }

  #chip(entry, name, address) {
    const remove = element("button", { type: "button", "aria-label": `Remove ${name}` }, "×");
    remove.addEventListener("click", () => this.#remove(entry));
    const image = address ? element("img", { src: address, alt: "" }) : null;
    image?.addEventListener("error", () => image.remove(), { once: true });
    return element("li", {}, image, element("span", { title: name }, name), remove);
  }
}
