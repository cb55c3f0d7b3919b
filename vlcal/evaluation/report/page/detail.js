// One response in full: its question and images, and what each run answered. Texts are only ever set as text.
"use strict";

function node(tag, properties, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (name.startsWith("--")) made.style.setProperty(name, value);
    else if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

const figure = (value) => (value === null || value === undefined ? "–" : value.toFixed(2));

function verdictOf(value) {
  if (value === null || value === undefined) return node("span", { className: "verdict" }, "not known");
  const right = value >= 0.5;
  return node("span", { className: `verdict ${right ? "right" : "wrong"}` }, right ? "✓ right" : "✗ wrong");
}

// Tags fainter than what stands between them; a new line where one part ends and the next begins.
function taggedText(text) {
  const pieces = text.split(/(<\/?\w+>|\\boxed\{[^}]*\})/);
  return pieces.flatMap((piece, place) => {
    if (place % 2 === 0) return piece ? [piece] : [];
    const fresh = /^(<\w+>|\\boxed)/.test(piece) && pieces[place - 1] === "" && /^<\//.test(pieces[place - 2] ?? "");
    const shown = piece.startsWith("\\boxed") ? piece : node("span", { className: "tag" }, piece);
    return fresh ? ["\n", shown] : [shown];
  });
}

function tokenNode(text, value) {
  if (value === null) return node("span", {}, text);
  const strength = Math.min(1, Math.abs(value - 0.5) * 2);
  const side = value < 0.5 ? "low" : "high";
  return node("span", { className: `token ${side}`, title: `certainty ${figure(value)}`, "--strength": strength }, text);
}

function responseNodes(text, tokens) {
  if (!tokens) return taggedText(text);
  const joined = tokens[0].join("");
  const start = text.indexOf(joined, Math.max(0, text.indexOf("<vision>")));
  const coloured = tokens[0].map((piece, place) => tokenNode(piece, tokens[1][place]));
  if (start < 0) return [...taggedText(text), "\n", ...coloured];
  return [...taggedText(text.slice(0, start)), ...coloured, ...taggedText(text.slice(start + joined.length))];
}

function tokenTable(tokens) {
  const rows = tokens[0].map((piece, place) =>
    node("tr", {}, node("th", { scope: "row" }, JSON.stringify(piece)), node("td", {}, figure(tokens[1][place])))
  );
  const head = node("tr", {}, node("th", { scope: "col" }, "token"), node("th", { scope: "col" }, "certainty"));
  return node("details", {}, node("summary", {}, "Certainty of each vision token"),
    node("table", {}, node("thead", {}, head), node("tbody", {}, ...rows)));
}

function valueRows(label, value, truth, measured) {
  const width = `${100 * Math.min(1, Math.max(0, value ?? 0))}%`;
  const filled = node("i", {});
  filled.style.width = width;
  const bar = node("dd", { className: "bar", "aria-hidden": "true" }, filled);
  const held = node("dd", {}, truth === undefined ? "" : verdictOf(truth));
  return [node("dt", {}, label), node("dd", { className: measured ? "measured" : "" }, bar), node("dd", {}, figure(value)), held];
}

function valueList(run, row) {
  const at = (name) => run[name]?.[row];
  const list = node("dl", { className: "values" });
  for (const [name, truth] of Object.entries(run.truths)) {
    if (run[name]) list.append(...valueRows(`states ${name}`, at(name), run[truth] ? at(truth) : undefined, false));
  }
  if (run.certainty) list.append(...valueRows("measured visual certainty", at("certainty"), undefined, true));
  if (run.clearness) list.append(...valueRows("clearness of the image", at("clearness"), undefined, true));
  return list;
}

function extrasOf(run, row) {
  const said = [];
  if (run.certainty_score) said.push(`certainty score ${figure(run.certainty_score[row])}`);
  if (run.reward) said.push(`reward ${figure(run.reward[row])}`);
  for (const [name, value] of Object.entries(run.rewards?.[row] ?? {})) said.push(`${name} ${figure(value)}`);
  if (run.well_formed?.[row] === false) said.push("malformed");
  if (run.truncated?.[row]) said.push("cut at the length limit");
  return node("p", { className: "extras" }, said.join(" · "));
}

function responseCard(run, number, row) {
  const answer = run.answer?.[row] ?? "no answer";
  const head = node("header", {}, node("h4", {}, run.name),
    node("span", {}, `answers ${answer} `, verdictOf(run.correct?.[row])));
  const tokens = run.tokens?.[row] ?? null;
  const card = node("section", { className: "card", "--accent": `var(--run-${number})`, "aria-label": `Response of ${run.name}` }, head);
  if (run.response) card.append(node("p", { className: "response" }, ...responseNodes(run.response[row] ?? "", tokens)));
  if (tokens) {
    card.append(node("p", { className: "scale", "aria-hidden": "true" }, "vision tokens: unsure", node("i", {}), "sure"));
    card.append(tokenTable(tokens));
  }
  card.append(valueList(run, row), extrasOf(run, row));
  return card;
}

function pictureNodes(question, thumbnails) {
  return question.images.map((place, number) => {
    const picture = node("img", { src: thumbnails[place], alt: `Image ${number + 1} of the question` });
    picture.addEventListener("load", () => picture.classList.toggle("tiny", picture.naturalWidth <= 128));
    return picture;
  });
}

function showResponse(place, data, number, row) {
  const question = data.questions[data.runs[number].question[row]];
  const cards = [responseCard(data.runs[number], number, row)];
  data.runs.forEach((run, other) => {
    const same = other === number ? undefined : run.first.get(data.runs[number].question[row]);
    if (same !== undefined) cards.push(responseCard(run, other, same));
  });
  const origin = [question.dataset === "all" ? null : question.dataset, question.id].filter(Boolean).join(" · ");
  const pictures = pictureNodes(question, data.thumbnails);
  place.replaceChildren(
    node("h3", {}, question.question || "(no question in the file)"),
    node("p", { className: "origin" }, `${origin} · target ${question.target || "–"}`),
    pictures.length ? node("div", { className: "pictures" }, ...pictures) : node("p", { className: "origin" }, "No image on this page."),
    node("div", { className: "cards" }, ...cards),
  );
  place.scrollTop = 0;
}
