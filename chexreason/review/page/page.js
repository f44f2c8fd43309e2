"use strict";
// Traces are set as text (textContent, value), never as markup. What is entered is in `review`, and nowhere else.
const pack = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const VERDICTS = { accept: "Accept", edit: "Edit", reject: "Reject" };
const MARKS = { seen: "yes", not_seen: "no", unsure: "unsure" };
const DRAFT = "chexreason-review-" + pack.pack;
let review = { schema: pack.schema, pack: pack.pack, reader: "", verdicts: {} };
let unsaved = false;
let last = null; // the case that had the focus last: where a reader goes back to from the bar above
const cards = new Map();

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function given(id) {
  return (review.verdicts[id] ??= { verdict: "", text: "", comment: "", marks: {}, missed: [] });
}

function changed() {
  try {
    localStorage.setItem(DRAFT, JSON.stringify(review));
    unsaved = false;
    say("draft kept in this browser");
  } catch {
    unsaved = true;
    say("this browser keeps no drafts: save often", true);
  }
  progress();
}

function say(text, bad = false) {
  byId("status").textContent = text;
  byId("status").className = bad ? "bad" : "";
}

// An edit without text is no verdict: there is nothing to learn from it.
function lacksText(id) {
  const said = review.verdicts[id];
  return said?.verdict === "edit" && !said.text.trim();
}

function judged(id) {
  return Boolean(review.verdicts[id]?.verdict) && !lacksText(id);
}

function progress() {
  const done = pack.cases.filter((one) => judged(one.id)).length;
  byId("progress").value = done;
  byId("count").textContent = done + " of " + pack.cases.length + " judged";
}

function radios(name, options, chosen, pick, classes = false) {
  return Object.entries(options).map(([value, text]) => {
    const input = element("input", { type: "radio", name, value, checked: chosen === value });
    input.addEventListener("change", () => pick(value));
    return element("label", { className: classes ? value : "" }, input, text);
  });
}

function markRow(one, label) {
  const pick = (value) => { given(one.id).marks[label] = value; changed(); };
  const row = element("div", { className: "mark", role: "radiogroup" }, element("b", { textContent: label }));
  row.setAttribute("aria-label", label);
  row.append(...radios("mark-" + one.id + "-" + label, MARKS, review.verdicts[one.id]?.marks[label], pick));
  return row;
}

function missedBox(one) {
  const ticked = review.verdicts[one.id]?.missed || [];
  const boxes = pack.findings.filter((finding) => !one.labels.includes(finding)).map((finding) => {
    const input = element("input", { type: "checkbox", checked: ticked.includes(finding), value: finding });
    input.addEventListener("change", () => {
      const now = new Set(given(one.id).missed);
      if (input.checked) now.add(finding); else now.delete(finding);
      given(one.id).missed = pack.findings.filter((name) => now.has(name));
      changed();
    });
    return element("label", {}, input, finding);
  });
  return element("details", { open: ticked.length > 0 }, element("summary", { textContent: "On the film, but not among the findings" }),
    element("div", { className: "missed" }, ...boxes));
}

function area(label, rows, value, write) {
  const box = element("textarea", { rows, value });
  box.setAttribute("aria-label", label);
  box.addEventListener("input", () => { write(box.value); changed(); });
  return box;
}

function card(one, number) {
  const known = review.verdicts[one.id] || { verdict: "", text: "", comment: "", marks: {}, missed: [] };
  const state = element("span", { className: "state" });
  const image = element("img", { src: one.image, alt: "Chest radiograph of case " + number, loading: "lazy" });
  const zoom = element("button", { type: "button", title: "Enlarge (z)" }, image);
  zoom.addEventListener("click", () => enlarge(image));
  const written = known.verdict === "edit" ? known.text : known.text || one.thoughts;
  const text = area("Edited reasoning of case " + number, 9, written, (value) => { given(one.id).text = value; show(given(one.id).verdict); });
  const lack = element("p", { className: "lack", id: "lack-" + one.id, textContent: "An edit needs text: write your version, or choose another verdict." });
  lack.setAttribute("role", "alert");
  text.setAttribute("aria-describedby", lack.id);
  const edited = element("div", { className: "edited" }, element("h3", { textContent: "Your version" }), text, lack);
  const comment = area("Comment on case " + number, 2, known.comment, (value) => { given(one.id).comment = value; });
  comment.classList.add("comment");
  const made = element("article", { className: "case", tabIndex: -1 });
  made.setAttribute("aria-label", "Case " + number);
  const show = (verdict) => {
    const bare = lacksText(one.id);
    made.className = "case " + (bare ? "" : verdict);
    state.textContent = bare ? "an edit without text" : verdict ? VERDICTS[verdict].toLowerCase() + "ed" : "open";
    edited.hidden = verdict !== "edit";
    lack.hidden = !bare;
    text.setAttribute("aria-invalid", bare);
  };
  const pick = (verdict) => {
    given(one.id).verdict = verdict;
    if (verdict === "edit" && !given(one.id).text.trim()) given(one.id).text = text.value = one.thoughts;
    show(verdict);
    changed();
    if (verdict === "edit") text.focus();
  };
  const offered = pack.editable ? VERDICTS : { accept: VERDICTS.accept, reject: VERDICTS.reject };
  made.append(
    element("div", { className: "film" }, zoom),
    element("div", {},
      element("h2", {}, "Case " + number, state),
      element("fieldset", {}, element("legend", { textContent: "Findings: is each right for this film?" }), ...one.labels.map((label) => markRow(one, label))),
      missedBox(one),
      ...(pack.editable ? [element("h3", { textContent: "Reasoning" }), element("p", { className: "thoughts", textContent: one.thoughts, tabIndex: 0 })] : []),
      element("fieldset", { className: "verdict" }, element("legend", { textContent: "Verdict" }),
        element("div", { className: "choices" }, ...radios("verdict-" + one.id, offered, known.verdict, pick, true))),
      edited, element("h3", { textContent: "Comment" }), comment));
  show(known.verdict);
  return made;
}

function build() {
  cards.clear();
  pack.cases.forEach((one, index) => cards.set(one.id, card(one, index + 1)));
  byId("cases").replaceChildren(...cards.values());
  byId("reader").value = review.reader;
  filter();
  progress();
}

function filter() {
  for (const [id, made] of cards) made.hidden = byId("only-open").checked && judged(id);
}

function enlarge(image) {
  byId("enlarged").firstElementChild.src = image.src;
  byId("enlarged").showModal();
}

// A file from outside is believed only as far as its form goes.
function take(values, from) {
  if (values?.schema !== pack.schema || values.pack !== pack.pack || typeof values.verdicts !== "object" || !values.verdicts) {
    say(from + " is no review of this pack", true);
    return false;
  }
  const text = (value) => (typeof value === "string" ? value : "");
  const taken = { schema: pack.schema, pack: pack.pack, reader: text(values.reader), verdicts: {} };
  for (const one of pack.cases) {
    const said = values.verdicts[one.id];
    if (!said || typeof said !== "object") continue;
    const marks = one.labels.map((label) => [label, said.marks?.[label]]).filter(([, mark]) => Object.hasOwn(MARKS, mark));
    taken.verdicts[one.id] = {
      verdict: Object.hasOwn(VERDICTS, said.verdict) ? said.verdict : "", text: text(said.text), comment: text(said.comment),
      marks: Object.fromEntries(marks), missed: pack.findings.filter((name) => Array.isArray(said.missed) && said.missed.includes(name)),
    };
  }
  review = taken;
  build();
  return true;
}

function save() {
  const bare = pack.cases.find((one) => lacksText(one.id));
  if (bare) {
    say("not saved: case " + (pack.cases.indexOf(bare) + 1) + " is an edit without text", true);
    cards.get(bare.id).hidden = false;
    cards.get(bare.id).querySelector(".edited textarea").focus();
    return;
  }
  review.reader = byId("reader").value.trim();
  byId("reader").value = review.reader; // blanks are no name
  if (!byId("bar").reportValidity()) return;
  const file = new Blob([JSON.stringify({ ...review, saved: new Date().toISOString() }, null, 1)], { type: "application/json" });
  const name = "review-" + pack.prompt + "-" + (review.reader.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "") || "reader") + ".json";
  const link = element("a", { href: URL.createObjectURL(file), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  unsaved = false;
  say("saved as " + name);
  leave();
}

// Out of a field, so that the next key is a key again and no letter in it; back to the case that one was at, if it still shows.
function leave() {
  const here = document.activeElement.closest(".case") || (last?.isConnected && !last.hidden ? last : null);
  document.activeElement.blur();
  here?.focus();
}

function step(by, open) {
  const visible = [...cards].filter(([id, made]) => !made.hidden && (!open || !judged(id) || made.contains(document.activeElement)));
  const here = visible.findIndex(([, made]) => made.contains(document.activeElement));
  const place = here < 0 ? (by > 0 ? 0 : visible.length - 1) : here + by;
  const next = visible[Math.min(visible.length - 1, Math.max(0, place))];
  if (!next) return;
  next[1].focus({ preventScroll: true });
  next[1].scrollIntoView({ block: "start" });
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || byId("enlarged").open) return;
  if (event.key === "Escape") return leave();
  if (event.target.matches("textarea, input:not([type=radio]):not([type=checkbox])")) return;
  const here = document.activeElement.closest?.(".case");
  const verdict = { a: "accept", e: "edit", r: "reject" }[event.key];
  if (event.key === "j" || event.key === "k") step(event.key === "j" ? 1 : -1, false);
  else if (event.key === "n") step(1, true);
  else if (event.key === "s") save();
  else if (here && verdict) here.querySelector(".choices input[value=" + verdict + "]")?.click();
  else if (here && event.key === "c") here.querySelector(".comment").focus();
  else if (here && event.key === "z") enlarge(here.querySelector("img"));
  else return;
  event.preventDefault();
});
document.addEventListener("focusin", (event) => { last = event.target.closest(".case") || last; });
byId("enlarged").addEventListener("click", () => byId("enlarged").close());
byId("bar").addEventListener("submit", (event) => { event.preventDefault(); save(); });
byId("reader").addEventListener("input", () => { review.reader = byId("reader").value; changed(); });
byId("only-open").addEventListener("change", filter);
byId("open").addEventListener("change", async () => {
  const file = byId("open").files[0];
  if (!file) return;
  try {
    if (take(JSON.parse(await file.text()), file.name)) { changed(); say(file.name + " opened"); }
  } catch {
    say(file.name + " is no review of this pack", true);
  }
  byId("open").value = "";
});
window.addEventListener("beforeunload", (event) => { if (unsaved) event.preventDefault(); });

let draft = null;
try { draft = JSON.parse(localStorage.getItem(DRAFT)); } catch { draft = null; }
if (draft === null || !take(draft, "the draft")) build();
else say("your draft was found");
