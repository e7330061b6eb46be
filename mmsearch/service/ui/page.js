// The search page: form, address and results kept in step.

import { ApiError, KINDS, heatMap, onKeyNeeded, openSession, search, segment, status } from "/ui/api.js";
import { Attachments } from "/ui/attachments.js";
import { card, element, fileName, full, revealCut } from "/ui/results.js";

const FIRST = 24;

const byId = (id) => document.getElementById(id);
const [main, form, query, hits, more, notices, live] = ["main", "form", "query", "hits", "more", "notices", "status"].map(byId);

const attachments = new Attachments({
  list: byId("attachments"),
  choose: byId("choose"),
  input: byId("file"),
  overlay: byId("drop"),
  changed: () => submit(),
  refused: (message) => notice("error", message),
});

// Files cannot be in the address: those of past searches are kept here, for back and forward.
const filesOf = new Map();
let running = null;
let next = null;
let shownWords = "";

function kind() {
  return form.elements.kind.value;
}

function notice(level, message, detail) {
  notices.append(element("p", { class: `notice ${level}`, role: level === "error" ? "alert" : undefined }, message, detail ? element("small", {}, detail) : null));
}

// ---------------------------------------------------------------- address

function address() {
  const parts = new URLSearchParams();
  const words = query.value.trim();
  if (words) parts.set("q", words);
  if (kind() !== "all") parts.set("type", kind());
  if (attachments.like !== null) parts.set("like", String(attachments.like));
  const text = parts.toString();
  return text ? `/?${text}` : "/";
}

function remember() {
  const files = attachments.files;
  const state = { id: crypto.randomUUID?.() ?? String(Math.random()), withFiles: files.length > 0 };
  if (files.length) filesOf.set(state.id, files);
  const same = address() === location.pathname + location.search && !files.length && !history.state?.withFiles;
  history[same ? "replaceState" : "pushState"](state, "", address());
}

function restore() {
  const parts = new URLSearchParams(location.search);
  query.value = parts.get("q") ?? "";
  const wanted = parts.get("type") ?? "all";
  const known = [...form.elements.kind].some((one) => one.value === wanted);
  form.elements.kind.value = known ? wanted : "all";
  const like = Number.parseInt(parts.get("like") ?? "", 10);
  const files = filesOf.get(history.state?.id) ?? [];
  attachments.set({ files, like: like > 0 ? { id: like, name: `segment ${like}` } : null });
  if (like > 0) nameLike(like);
  if (query.value.trim() || !attachments.empty) run();
  else begin();
  if (history.state?.withFiles && !files.length) {
    notice("warning", "The picture or recording of this search is gone with the page; drop it here again.");
  }
}

function likeOf(found, source, thumbnail) {
  return { id: found.id, name: fileName(source), thumbnail: found.modality === "image" ? thumbnail : null };
}

/** The address has only the number of "more like this": find out what that is. */
async function nameLike(id) {
  try {
    const { segment: found, source } = await segment(id);
    if (attachments.like === id) attachments.set({ files: attachments.files, like: likeOf(found, source, source.links.thumbnail) });
  } catch {
    // The search itself says what is wrong with it.
  }
}

// ---------------------------------------------------------------- searching

/** Back to the empty page. */
function begin() {
  running?.abort();
  running = null;
  main.className = "start";
  main.removeAttribute("aria-busy");
  hits.replaceChildren();
  notices.replaceChildren();
  live.textContent = "";
  more.hidden = true;
  document.title = "mmsearch";
}

function submit() {
  if (!query.value.trim() && attachments.empty) {
    if (address() !== location.pathname + location.search) history.pushState(null, "", address());
    begin();
    query.focus();
    return;
  }
  remember();
  run();
}

async function run({ keep = false } = {}) {
  running?.abort();
  const mine = (running = new AbortController());
  const words = query.value.trim();
  main.className = "found";
  main.setAttribute("aria-busy", "true");
  notices.replaceChildren();
  live.textContent = "Searching…";
  more.hidden = true;
  if (!keep) hits.replaceChildren(...Array.from({ length: 8 }, () => element("li", { class: "waiting", "aria-hidden": "true" })));
  hits.dataset.kind = kind();
  document.title = words ? `${words} – mmsearch` : "mmsearch";
  try {
    const asked = { words, files: attachments.files, like: attachments.like, kind: kind(), limit: FIRST, cursor: keep ? next : null };
    const answer = await search(asked, mine.signal);
    if (mine !== running) return;
    shownWords = positiveWords(answer.query.terms);
    draw(answer, keep);
  } catch (error) {
    if (error.name === "AbortError" || mine !== running) return;
    fail(error);
  } finally {
    if (mine === running) main.removeAttribute("aria-busy");
  }
}

/** The words that hits are marked with: without filters, which the service has read, and exclusions. */
function positiveWords(terms) {
  const texts = terms.filter((term) => term.text && term.weight > 0).map((term) => term.text);
  return texts.join(" ").replace(/(^|\s)-("[^"]*"|\([^)]*\)|\p{L}\S*)|\bOR\b|"/gu, " ").trim();
}

function draw(answer, keep) {
  for (const warning of answer.warnings) notice("warning", warning);
  const cards = answer.hits.map((hit) => element("li", {}, card(hit, shownWords, actions)));
  if (keep) hits.append(...cards);
  else hits.replaceChildren(...cards);
  next = answer.cursor;
  if (answer.facets?.modality) showCounts(answer.facets.modality);
  const count = hits.children.length;
  revealCut(hits);
  const time = answer.took_ms < 1000 ? `${Math.max(1, Math.round(answer.took_ms))} ms` : `${(answer.took_ms / 1000).toFixed(1)} s`;
  live.textContent = `${count} result${count === 1 ? "" : "s"} in ${time}`;
  if (!count) {
    hits.replaceChildren(
      element("li", { class: "nothing" },
        element("h2", {}, "Nothing found"),
        element("p", {}, kind() === "all" ? "Try other words, or fewer." : "Try other words, or look among all kinds."),
      ),
    );
  }
  more.hidden = !next;
}

/** How many files of each kind there are, beside the kind's name. */
function showCounts(values) {
  for (const radio of form.elements.kind) {
    const own = values.filter((one) => KINDS[radio.value]?.includes(one.value));
    const label = radio.parentElement.querySelector("span");
    label.querySelector("small")?.remove();
    // A film is a video and what is said in it: the largest number is that of the files.
    const count = Math.max(0, ...own.map((one) => one.sources));
    if (KINDS[radio.value]) label.append(element("small", {}, ` ${count.toLocaleString()}`));
    radio.parentElement.classList.toggle("none", Boolean(KINDS[radio.value]) && count === 0);
  }
}

function fail(error) {
  hits.replaceChildren();
  live.textContent = "";
  if (!(error instanceof ApiError)) console.error(error);
  const known = error instanceof ApiError;
  const again = known && error.retryAfter ? ` Try again in ${error.retryAfter} seconds.` : "";
  notice(
    "error",
    known ? error.message + again : "The page could not show the answer.",
    known && error.requestId && error.status >= 500 ? `Request ${error.requestId}` : null,
  );
}

// ---------------------------------------------------------------- what hits can do

const viewer = byId("viewer");

const actions = {
  like(hit) {
    viewer.close();
    query.value = "";
    form.elements.kind.value = "all";
    attachments.set({ like: likeOf(hit.segment, hit.source, hit.links.thumbnail) });
    submit();
    scrollTo({ top: 0 });
  },
  heat(hit, words) {
    return heatMap(hit.segment.id, words);
  },
  show(hit) {
    byId("viewer-title").textContent = fileName(hit.source);
    byId("viewer-body").replaceChildren(full(hit, shownWords, actions));
    viewer.showModal();
    viewer.scrollTop = 0;
  },
};

viewer.addEventListener("click", (event) => {
  if (event.target === viewer || event.target.closest("[data-close]")) viewer.close();
});

// ---------------------------------------------------------------- help

const help = byId("help");

byId("show-help").addEventListener("click", () => help.showModal());
help.addEventListener("click", (event) => {
  if (event.target === help || event.target.closest("[data-close]")) help.close();
});

// ---------------------------------------------------------------- keys

function askForKey(problem) {
  const dialog = byId("key");
  const value = byId("key-value");
  byId("key-problem").textContent = problem;
  value.value = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(value.value.trim() || null), { once: true });
  });
}

// ---------------------------------------------------------------- beginning

async function greet() {
  try {
    const { sources, warnings = [] } = await status();
    for (const warning of warnings) notice("warning", warning);
    byId("library").textContent = sources ? `${sources.toLocaleString()} ${sources === 1 ? "file" : "files"}` : "";
    if (!sources && main.className === "start") {
      byId("hint").textContent = "This library is empty. Fill it with: mmsearch index FOLDER";
    }
  } catch (error) {
    if (main.className === "start") fail(error);
  }
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  submit();
});
for (const radio of form.elements.kind) {
  radio.addEventListener("change", () => {
    if (query.value.trim() || !attachments.empty) submit();
  });
}
more.addEventListener("click", () => run({ keep: true }));
byId("home").addEventListener("click", (event) => {
  if (event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  history.pushState(null, "", "/");
  restore();
  query.focus();
});
document.addEventListener("keydown", (event) => {
  const typing = event.target.closest?.("input, textarea, select, dialog");
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    query.focus();
    query.select();
  }
});
new ResizeObserver(() => revealCut(hits)).observe(hits);
addEventListener("popstate", restore);
onKeyNeeded(askForKey);

await openSession();
restore();
if (matchMedia("(pointer: fine)").matches) query.focus();
greet();
