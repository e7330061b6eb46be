// One hit, one card. Everything from the library goes through textContent: it is never markup.

const COMMON = new Set(
  "about and are but can did does for from had has have her his how into its not one our out she that the their them then there these they this was were what when where which who why will with you your".split(" "),
);
const SPOKEN = new Set(["speech", "sound"]);

export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (name === "class") made.className = value;
    else if (name in made && typeof value !== "string") made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

function icon(path) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
  line.setAttribute("d", path);
  svg.append(line);
  return svg;
}

const ICONS = {
  like: "M9 9h10.5v10.5H9zM4.5 15V4.5H15",
  play: "M8 5.5v13l10.5-6.5z",
  image: "M4 6h16v12H4zM4 15l4.5-4.5 4 4 3-3L20 16",
  speech: "M4 10v4M8 7v10M12 4v16M16 8v8M20 10.5v3",
  text: "M5 6h14M5 10h14M5 14h14M5 18h8",
};

const KIND_NAMES = { image: "Picture", video: "Shot", speech: "Said", sound: "Sound", text: "Text", page: "Page" };

export function fileName(source) {
  return source.path.split(/[/\\]/).pop() || source.path;
}

function folder(source) {
  const parts = source.path.split(/[/\\]/);
  return parts.slice(Math.max(0, parts.length - 3), -1).join("/");
}

export function clock(seconds) {
  const whole = Math.floor(seconds);
  const rest = `${String(Math.floor(whole / 60) % 60).padStart(whole < 3600 ? 1 : 2, "0")}:${String(whole % 60).padStart(2, "0")}`;
  return whole < 3600 ? rest : `${Math.floor(whole / 3600)}:${rest}`;
}

/** The text with the query's words marked. */
function marked(text, words) {
  const parts = document.createDocumentFragment();
  const wanted = [...new Set(words.toLowerCase().match(/[\p{L}\p{N}]{3,}/gu) ?? [])].filter((w) => !COMMON.has(w));
  if (!wanted.length) {
    parts.append(text);
    return parts;
  }
  // Letters and digits only, so there is nothing to escape. Long words match their other endings.
  const forms = wanted.map((word) =>
    word.length > 4 ? `${word.replace(/(es|s|ing|ed)$/, "")}[\\p{L}\\p{N}]*` : `${word}s?(?![\\p{L}\\p{N}])`,
  );
  const pattern = new RegExp(`(?<![\\p{L}\\p{N}])(?:${forms.join("|")})`, "giu");
  let end = 0;
  for (const match of text.matchAll(pattern)) {
    parts.append(text.slice(end, match.index), element("mark", {}, match[0]));
    end = match.index + match[0].length;
  }
  parts.append(text.slice(end));
  return parts;
}

function scoreOf(hit) {
  const parts = Object.entries(hit.scores).map(([name, value]) => `${name} ${Number(value.toFixed(4))}`);
  return element(
    "span",
    { class: "score", title: parts.join("\n") || "score" },
    element("span", { class: "unseen" }, "Score "),
    hit.score.toFixed(2),
  );
}

function mediaLink(hit) {
  const page = hit.segment.page;
  return hit.links.media + (page && !hit.links.media.includes("#") ? `#page=${page}` : "");
}

function footer(hit, actions) {
  const name = fileName(hit.source);
  const like = element(
    "button",
    { type: "button", class: "like", title: "More like this", "aria-label": `More like ${name}` },
    icon(ICONS.like),
    element("span", {}, "More like this"),
  );
  like.addEventListener("click", () => actions.like(hit));
  return element(
    "div",
    { class: "foot" },
    element(
      "a",
      { class: "file", href: mediaLink(hit), target: "_blank", rel: "noopener", title: hit.source.path },
      name,
    ),
    element("span", { class: "folder", title: hit.source.path }, folder(hit.source)),
    element("div", { class: "foot-row" }, scoreOf(hit), like),
  );
}

const PLACES = { page: "Page", slide: "Slide", sheet: "Sheet", chapter: "Chapter", message: "Message" };

/** "Page 3", "Slide 3": what the document itself counts. */
function pageName(hit) {
  const { page } = hit.segment;
  return page ? `${PLACES[hit.source.metadata?.page_kind] ?? "Page"} ${page}` : null;
}

function isPdf(hit) {
  return hit.segment.page && hit.source.mime === "application/pdf";
}

/** The page that a passage stands on, and where on it. */
function pagePreview(hit, actions) {
  const image = element("img", { src: hit.links.thumbnail, alt: "", loading: "lazy", decoding: "async" });
  const sheet = element("span", { class: "sheet" }, image);
  const open = element("button", { type: "button", class: "page", "aria-label": `Show page ${hit.segment.page}` }, sheet);
  image.addEventListener("error", () => open.remove(), { once: true });
  if (hit.segment.box) {
    const [left, top, right, bottom] = hit.segment.box.map((edge) => edge * 100);
    const mark = element("span", { class: "there" });
    Object.assign(mark.style, { left: `${left}%`, top: `${top}%`, width: `${right - left}%`, height: `${bottom - top}%` });
    sheet.append(mark);
  }
  open.addEventListener("click", () => actions.show(hit));
  return open;
}

const CAPTIONED = "Described by a machine: nobody has checked it.";

/** The words that stand in a picture, without the caption that a machine put in front of them. */
function written(segment) {
  const caption = segment.caption?.text;
  const text = segment.text ?? "";
  return caption && text.startsWith(caption) ? text.slice(caption.length).trim() : text;
}

function pictureCard(hit, words, actions) {
  const name = fileName(hit.source);
  const caption = hit.segment.caption?.text;
  const image = element("img", { src: hit.links.thumbnail, alt: caption ?? "", loading: "lazy", decoding: "async" });
  // Without a thumbnail the file itself may still be a picture that the browser knows.
  image.addEventListener(
    "error",
    () => {
      image.addEventListener("error", () => image.replaceWith(icon(ICONS.image)), { once: true });
      image.src = hit.links.media;
    },
    { once: true },
  );
  const open = element("button", { type: "button", class: "picture", "aria-label": `Show ${name}` }, image);
  open.addEventListener("click", () => actions.show(hit));
  const label = pageName(hit) ? element("p", { class: "label" }, icon(ICONS.text), pageName(hit)) : null;
  // Words that stand in the picture, if the query asks for some of them.
  const text = written(hit.segment);
  const said = text ? element("blockquote", { class: "said" }, marked(text, words)) : null;
  const told = caption
    ? element("p", { class: "around caption", title: CAPTIONED }, marked(caption, words), element("span", { class: "speaker" }, "by machine"))
    : null;
  const shown = said?.querySelector("mark") ? said : null;
  return element("article", { class: "card" }, open, label, told, shown, footer(hit, actions));
}

function textCard(hit, words, actions) {
  const { segment } = hit;
  const where = pageName(hit) ?? "Text";
  const passage = element("blockquote", { class: "passage" }, marked(segment.text ?? "", words));
  const card = element(
    "article",
    { class: "card" },
    isPdf(hit) ? pagePreview(hit, actions) : null,
    element("p", { class: "label" }, icon(ICONS.text), where),
    passage,
  );
  card.append(readAll(hit, actions), footer(hit, actions));
  return card;
}

function readAll(hit, actions) {
  const all = element("button", { type: "button", class: "quiet all", hidden: true }, "Read all of it");
  all.addEventListener("click", () => actions.show(hit));
  return all;
}

/** Offers "Read all of it" where the card is too small; asked again when the layout changes. */
export function revealCut(list) {
  for (const text of list.querySelectorAll("blockquote")) {
    const all = text.parentElement.querySelector(".all");
    if (all) all.hidden = text.scrollHeight <= text.clientHeight + 4;
  }
}

/** Starts at `start`, also where the browser has overlooked the address's #t=. */
function startAt(player, start) {
  player.addEventListener("loadedmetadata", () => {
    if (Math.abs(player.currentTime - start) > 0.25 && player.played.length === 0) player.currentTime = start;
  });
  player.addEventListener("play", () => {
    for (const other of document.querySelectorAll("audio, video")) if (other !== player) other.pause();
  });
}

const AROUND = 90;

function tail(text) {
  return text.length > AROUND ? `… ${text.slice(-AROUND).replace(/^\S*\s/, "")}` : text;
}

function head(text) {
  return text.length > AROUND ? `${text.slice(0, AROUND).replace(/\s\S*$/, "")} …` : text;
}

function mediaCard(hit, words, actions) {
  const { segment, source } = hit;
  const start = segment.start ?? 0;
  const isVideo = segment.modality === "video" || source.mime.startsWith("video/");
  const player = element(isVideo ? "video" : "audio", {
    class: "player",
    controls: true,
    preload: "metadata",
    src: hit.links.media,
    "aria-label": `${fileName(source)} from ${clock(start)}`,
  });
  if (isVideo) player.setAttribute("poster", hit.links.thumbnail);
  startAt(player, start);
  const time = segment.end === null ? clock(start) : `${clock(start)} – ${clock(segment.end)}`;
  const play = element(
    "button",
    { type: "button", class: "play", "aria-label": `Play ${fileName(source)} from ${clock(start)}` },
    icon(ICONS.play),
    time,
  );
  play.addEventListener("click", () => {
    player.currentTime = start;
    player.play().catch(() => problem.removeAttribute("hidden"));
  });
  const problem = element("p", { class: "problem", hidden: true }, "This browser cannot play the file. Open it instead.");
  player.addEventListener("error", () => problem.removeAttribute("hidden"));
  const said = segment.text ? element("blockquote", { class: "said" }, marked(segment.text, words)) : null;
  const around = segment.context ?? {};
  const before = around.before ? element("p", { class: "around" }, tail(around.before)) : null;
  const after = around.after ? element("p", { class: "around" }, head(around.after)) : null;
  const kind = isVideo ? "Video" : segment.modality === "sound" ? "Sound" : "Recording";
  const speaker = segment.speaker ? element("span", { class: "speaker" }, `Speaker ${segment.speaker}`) : null;
  return element(
    "article",
    { class: "card" },
    element("p", { class: "label" }, icon(ICONS.speech), kind, speaker ?? "", play),
    before,
    said,
    after,
    readAll(hit, actions),
    player,
    problem,
    footer(hit, actions),
  );
}

/** Where a place in a source is, as one would say it. */
function whereabouts(segment) {
  if (segment.start !== null) return clock(segment.start);
  if (segment.page) return `Page ${segment.page}`;
  return KIND_NAMES[segment.modality] ?? "Here";
}

/** What else speaks for the hit, and the other good places in its file. */
function otherPlaces(hit, words) {
  const parts = [...(hit.evidence ?? []), ...(hit.segments ?? []).slice(1)];
  if (!parts.length) return null;
  const list = element("ul", { class: "places", "aria-label": `Also in ${fileName(hit.source)}` });
  for (const { segment, links } of parts) {
    const place = element("a", { class: "place", href: links.media, target: "_blank", rel: "noopener" }, whereabouts(segment));
    place.addEventListener("click", (event) => {
      const player = place.closest(".card")?.querySelector("audio, video");
      if (!player || segment.start === null) return;
      event.preventDefault();
      player.currentTime = segment.start;
      player.play().catch(() => {});
    });
    const said = segment.text ? element("span", {}, marked(segment.text, words)) : segment.start === null ? null : element("span", {}, "what is seen there");
    list.append(element("li", {}, place, said));
  }
  return list;
}

function copies(hit) {
  const same = hit.duplicates ?? [];
  if (!same.length) return null;
  const title = same.map((part) => part.source.path).join("\n");
  return element("span", { class: "copies", title }, `+${same.length} ${same.length === 1 ? "copy" : "copies"}`);
}

/** `actions`: {like(hit), show(hit)}. */
export function card(hit, words, actions) {
  const made = cardOf(hit, words, actions);
  const places = otherPlaces(hit, words);
  if (places) made.querySelector(".foot").before(places);
  const same = copies(hit);
  if (same) made.querySelector(".foot-row .score").after(same);
  return made;
}

function cardOf(hit, words, actions) {
  const { modality } = hit.segment;
  if (modality === "image" || modality === "page") return pictureCard(hit, words, actions);
  if (SPOKEN.has(modality) || modality === "video") return mediaCard(hit, words, actions);
  return textCard(hit, words, actions);
}

function facts(source) {
  const rows = [["Where", source.path], ["Kind", source.mime]];
  for (const [name, value] of Object.entries(source.metadata ?? {})) {
    const shown = typeof value === "object" ? JSON.stringify(value) : String(value);
    rows.push([name.replaceAll("_", " "), shown]);
  }
  const list = element("dl", { class: "facts" });
  for (const [name, value] of rows) list.append(element("dt", {}, name), element("dd", {}, value));
  return list;
}

/** A picture, and over it, on request, where in it the words match. */
function shownWithHeat(image, hit, words, actions) {
  const frame = element("div", { class: "framed" }, image);
  if (!words || !actions?.heat) return frame;
  const label = element("span", {}, "Where it matches");
  const toggle = element("button", { type: "button", class: "quiet heat", "aria-pressed": "false" }, label);
  let overlay = null;
  toggle.addEventListener("click", async () => {
    const on = toggle.getAttribute("aria-pressed") !== "true";
    toggle.setAttribute("aria-pressed", String(on));
    if (!overlay && on) {
      toggle.setAttribute("aria-busy", "true");
      try {
        const url = URL.createObjectURL(await actions.heat(hit, words));
        overlay = element("img", { class: "overlay", alt: `Where the picture matches: ${words}` });
        overlay.addEventListener("load", () => URL.revokeObjectURL(url), { once: true });
        overlay.src = url;
        frame.append(overlay);
      } catch (error) {
        label.textContent = error.message;
        toggle.disabled = true;
      } finally {
        toggle.removeAttribute("aria-busy");
      }
    }
    if (overlay) overlay.hidden = toggle.getAttribute("aria-pressed") !== "true";
  });
  const parts = document.createDocumentFragment();
  parts.append(frame, toggle);
  return parts;
}

/** A hit at full size, for the viewer. `actions`: {heat(hit, words)}. */
export function full(hit, words, actions) {
  const parts = document.createDocumentFragment();
  if (hit.segment.modality === "image") {
    const image = element("img", { class: "full", src: hit.links.media, alt: fileName(hit.source) });
    // TIFF and HEIC are not for browsers; the thumbnail is JPEG.
    image.addEventListener("error", () => (image.src = hit.links.thumbnail), { once: true });
    parts.append(shownWithHeat(image, hit, words, actions));
    const { caption } = hit.segment;
    if (caption) parts.append(element("p", { class: "around" }, `${caption.text} (${CAPTIONED})`));
  } else if (hit.segment.modality === "page") {
    parts.append(element("img", { class: "full", src: hit.links.thumbnail, alt: pageName(hit) ?? "" }));
  } else {
    if (isPdf(hit)) parts.append(pagePreview(hit, { show: () => open(mediaLink(hit), "_blank", "noopener") }));
    const { before, after } = hit.segment.context ?? {};
    if (before) parts.append(element("p", { class: "around" }, before));
    parts.append(element("blockquote", { class: "passage whole" }, marked(hit.segment.text ?? "", words)));
    if (after) parts.append(element("p", { class: "around" }, after));
  }
  parts.append(facts(hit.source));
  parts.append(
    element("a", { class: "open", href: mediaLink(hit), target: "_blank", rel: "noopener" }, "Open the file"),
  );
  return parts;
}
