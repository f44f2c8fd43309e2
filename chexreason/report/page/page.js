"use strict";
// Everything that a model wrote is set as text (textContent), never as markup.
const cases = JSON.parse(document.getElementById("data").textContent);
const PRINTED = 12; // of the cases that the filters leave: paper is for a selection
const filters = ["dataset", "label", "agreement", "failure", "text"];
const control = Object.fromEntries(filters.map((name) => [name, document.getElementById("by-" + name)]));

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function labelList(entries) {
  const list = element("ul", "labels");
  for (const [text, kind] of entries) list.append(element("li", kind, text));
  if (!entries.length) list.append(element("li", "", "none"));
  return list;
}

function film(one) {
  const side = element("div", "film");
  if (one.image) {
    const image = element("img");
    image.src = one.image;
    image.loading = "lazy";
    image.alt = "Chest radiograph " + one.id;
    image.addEventListener("error", () => image.replaceWith(element("div", "missing", "image not shown")));
    side.append(image);
  } else {
    side.append(element("div", "missing", "no image"));
  }
  side.append(element("p", "id", one.dataset + ": " + one.id));
  if (one.link) {
    const link = element("a", "id", "open the file");
    link.href = one.link;
    side.append(link);
  }
  side.append(element("h4", "", "Truth"), labelList(one.truth.map((label) => [label, ""])));
  return side;
}

function answer(given, truth) {
  const box = element("div", "answer");
  const heading = element("h4", "", given.model + " ");
  box.append(heading);
  if (given.predicted === null) {
    box.append(element("p", "failure", "no answer: " + (given.failure || "unreadable")));
  } else {
    const hits = given.predicted.filter((label) => truth.includes(label));
    const extra = given.predicted.filter((label) => !truth.includes(label));
    const missed = truth.filter((label) => !given.predicted.includes(label));
    heading.append(element("span", "verdict", extra.length || missed.length || given.unscored.length ? "" : "exact"));
    box.append(labelList([
      ...hits.map((label) => ["\u2713 " + label, "hit"]),
      ...extra.map((label) => ["+ " + label, "false"]),
      ...missed.map((label) => ["\u2212 " + label, "missed"]),
      ...given.unscored.map((label) => [label + " (not scored here)", "unscored"]),
    ]));
  }
  const reasoning = element("p", "reasoning", given.completion);
  reasoning.tabIndex = 0;
  reasoning.setAttribute("aria-label", "What " + given.model + " wrote");
  box.append(reasoning);
  return box;
}

const cards = cases.map((one) => {
  const card = element("article", "case");
  card.tabIndex = -1;
  card.setAttribute("aria-label", "Case " + one.id);
  const answers = element("div", "answers");
  for (const given of one.answers) answers.append(answer(given, one.truth));
  card.append(film(one), answers);
  return card;
});

const facts = cases.map((one) => ({
  dataset: one.dataset,
  agreement: one.agreement,
  differ: new Set(one.answers.map((given) => JSON.stringify([given.predicted, given.unscored]))).size > 1,
  labels: new Set([...one.truth, ...one.answers.flatMap((given) => [...(given.predicted || []), ...given.unscored])]),
  failures: new Set(one.answers.filter((given) => given.predicted === null).map((given) => given.failure || "unreadable")),
  text: [one.id, ...one.truth, ...one.answers.flatMap((given) => [given.completion, ...(given.predicted || []), ...given.unscored])]
    .join("\n").toLowerCase(),
}));

function options(select, values) {
  for (const value of [...new Set(values)].sort()) select.append(new Option(value, value));
}
options(control.dataset, facts.map((fact) => fact.dataset));
options(control.label, facts.flatMap((fact) => [...fact.labels]));
options(control.failure, facts.flatMap((fact) => [...fact.failures]));

function matches(fact) {
  const wanted = Object.fromEntries(filters.map((name) => [name, control[name].value]));
  return (!wanted.dataset || fact.dataset === wanted.dataset)
    && (!wanted.label || fact.labels.has(wanted.label))
    && (!wanted.agreement || (wanted.agreement === "differ" ? fact.differ : fact.agreement === wanted.agreement))
    && (!wanted.failure || (wanted.failure === "*" ? fact.failures.size > 0 : fact.failures.has(wanted.failure)))
    && fact.text.includes(wanted.text.trim().toLowerCase());
}

function update() {
  let shown = 0;
  cards.forEach((card, index) => {
    card.hidden = !matches(facts[index]);
    card.style.display = card.hidden ? "none" : "";
    shown += !card.hidden;
    card.classList.toggle("unprinted", shown > PRINTED);
  });
  document.getElementById("count").textContent = shown + " of " + cards.length + " cases";
  document.getElementById("printed").textContent =
    "Printed: the first " + Math.min(PRINTED, shown) + " of " + shown + " cases that the filters leave.";
}

function step(by) {
  const visible = cards.filter((card) => !card.hidden);
  const here = visible.findIndex((card) => card.contains(document.activeElement));
  const next = visible[Math.min(visible.length - 1, Math.max(0, here < 0 ? (by > 0 ? 0 : visible.length - 1) : here + by))];
  if (next) {
    next.focus({ preventScroll: true });
    next.scrollIntoView({ block: "start" });
  }
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.matches("input, select, textarea");
  if (event.key === "Escape") {
    document.getElementById("filters").reset();
    document.activeElement.blur();
    update();
  } else if (!typing && event.key === "/") {
    event.preventDefault();
    control.text.focus();
  } else if (!typing && (event.key === "j" || event.key === "k")) {
    step(event.key === "j" ? 1 : -1);
  }
});
document.getElementById("filters").addEventListener("submit", (event) => event.preventDefault());
document.getElementById("filters").addEventListener("input", update);
document.getElementById("cases").append(...cards);
update();
