"use strict";
// The page keeps what is asked and shows what comes back; the server keeps nothing.

const at = (name) => document.getElementById(name);
const LARGEST = 12_000_000; // bytes of an image, as the server takes it
const KINDS = { visual: "Saw right", reasoning: "Concluded right", overall: "Both joined" };
let image = null; // data URL of the image as it was given
let altered = null; // the reading that stands in for the model's own
let own = null; // what was expected of the model's own reading of the same image
let asked = 0; // requests so far; an answer to an earlier one is dropped

async function post(path, content) {
  const reply = await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(content) });
  const found = await reply.json();
  if (!reply.ok) throw new Error(found.error);
  return found;
}

async function trying(work) {
  const mine = ++asked;
  document.querySelector("main").setAttribute("aria-busy", "true");
  at("response").classList.add("busy");
  try {
    await work(() => mine === asked);
    if (mine === asked) at("error").hidden = true;
  } catch (error) {
    if (mine !== asked) return;
    at("error").textContent = error instanceof TypeError ? "The server does not answer. Is `vlcal ui` still running?" : error.message;
    at("error").hidden = false;
  } finally {
    if (mine === asked) {
      document.querySelector("main").removeAttribute("aria-busy");
      at("response").classList.remove("busy");
    }
  }
}

function ask() {
  return trying(async (current) => {
    const wanted = { image, question: at("question").value, strength: Number(at("strength").value) };
    wanted.spoil = document.querySelector("[name=spoil]:checked").value;
    if (altered !== null) wanted.reading = altered;
    const found = await post("examine", wanted);
    if (current()) show(found);
  });
}

function show(found) {
  picture(found.shown);
  at("answer").textContent = found.answer ?? "none";
  at("form-note").textContent = found.parsed ? "" : "The response is not in the form that was asked for.";
  at("bars").replaceChildren(...Object.entries(KINDS).flatMap(([kind, label]) => bar(label, found.stated[kind], found.expected[kind])));
  at("response").replaceChildren(...found.pieces.map(piece));
  at("reading").value = altered ?? found.reading ?? "";
  at("own").hidden = altered === null;
  if (altered === null) own = found.expected.visual;
  const [before, now] = [own, found.expected.visual];
  at("change").textContent = altered !== null && before !== null && now !== null
    ? `Expected visual confidence: ${before.toFixed(2)} for its own reading, ${now.toFixed(2)} for this one.` : "";
}

function element(name, text, kind) {
  const made = document.createElement(name);
  made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

function bar(label, stated, expected) {
  const [track, frame] = [element("div", "", "track"), document.createElement("dd")];
  const said = stated === null ? "not stated" : stated.toFixed(2);
  track.setAttribute("role", "img");
  track.setAttribute("aria-label", `${label}: ${said}${expected === null ? "" : `, expected ${expected.toFixed(2)}`}`);
  if (stated !== null) track.append(element("b", ""));
  if (expected !== null) track.append(element("i", ""));
  for (const part of track.children) part.tagName === "B" ? (part.style.width = `${100 * stated}%`) : (part.style.left = `${100 * expected}%`);
  frame.append(track);
  return [element("dt", label), frame, element("dd", stated === null ? "–" : said, "figure")];
}

function piece(found) {
  if (found.part !== "vision" || found.certainty === null) return element("span", found.text, found.part ? "" : "tag");
  const token = element("span", found.text, "token");
  token.style.background = `color-mix(in oklab, var(--high) ${100 * found.certainty}%, var(--low))`;
  token.title = `certainty ${found.certainty.toFixed(2)}`;
  return token;
}

function picture(url) {
  at("image").onload = () => at("image").classList.toggle("small", at("image").naturalWidth < 300);
  at("image").src = url;
}

async function take(file) {
  if (!file) return;
  await trying(async () => {
    if (file.size > LARGEST) throw new Error(`The image has ${(file.size / 1e6).toFixed(0)} MB; at most ${LARGEST / 1e6} MB are taken.`);
    image = await new Promise((done, failed) => {
      const reader = new FileReader();
      reader.onload = () => done(reader.result);
      reader.onerror = () => failed(new Error("The file cannot be read."));
      reader.readAsDataURL(file);
    });
    altered = null;
    at("strength").value = 0;
    slid();
    picture(image);
  });
  if (at("error").hidden && at("question").value.trim()) ask();
}

function scene(seed) {
  return trying(async (current) => {
    const found = await post("scene", { seed });
    if (!current()) return;
    [image, altered] = [found.image, null];
    at("model").textContent = `Model: ${found.model}`;
    at("question").value = found.question;
    at("strength").value = 0;
    slid();
    picture(image);
  });
}

function slid() {
  at("amount").textContent = Number(at("strength").value).toFixed(2);
}

at("file").addEventListener("change", (event) => take(event.target.files[0]));
for (const kind of ["dragover", "dragleave", "drop"]) {
  at("drop").addEventListener(kind, (event) => {
    event.preventDefault();
    at("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop") take(event.dataTransfer.files[0]);
  });
}
at("scene").addEventListener("click", () => scene(Math.floor(Math.random() * 2 ** 31)).then(ask));
at("strength").addEventListener("input", slid);
at("strength").addEventListener("change", ask);
for (const choice of document.querySelectorAll("[name=spoil]")) choice.addEventListener("change", ask);
at("form").addEventListener("submit", (event) => { event.preventDefault(); altered = null; ask(); });
at("alter").addEventListener("submit", (event) => { event.preventDefault(); altered = at("reading").value; ask(); });
at("own").addEventListener("click", () => { altered = null; ask(); });
scene(1).then(ask);
