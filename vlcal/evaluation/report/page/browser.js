// The list of responses: only the rows in sight exist, so that ten thousand cost no more than ten.
"use strict";
{
  const HEIGHT = 64;
  const MARGIN = 6;
  const find = (name) => document.getElementById(name);
  const [list, rows, detail, status] = ["list", "rows", "detail", "status"].map(find);
  const controls = Object.fromEntries(["run", "kind", "order", "confident", "unsure", "search"].map((name) => [name, find(name)]));
  let data, shown = [], active = 0;

  const CHOICES = {
    all: ["All", () => true],
    sure: ["Confidently wrong", (now) => now.stated >= now.confident && now.right === false],
    unsure: ["Unsure but right", (now) => now.stated !== null && now.stated <= now.unsure && now.right === true],
    unparsed: ["Unparsed", (now) => now.stated === null || now.run.well_formed?.[now.row] === false],
    misread: ["Misread", (now) => isWrong(now.run.perception_correct?.[now.row])],
    misreasoned: ["Read correctly, reasoned wrong", (now) => isWrong(now.run.reasoning_correct?.[now.row]) && !isWrong(now.run.perception_correct?.[now.row])],
  };
  const isWrong = (value) => value !== null && value !== undefined && value < 0.5;

  async function unpack() {
    const packed = atob(find("samples").textContent.trim());
    const bytes = Uint8Array.from(packed, (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const found = JSON.parse(await new Response(stream).text());
    return { ...found, thumbnails: find("thumbnails").textContent.split("\n") };
  }

  const chosenRun = () => data.runs[Number(controls.run.value)];
  const choice = () => document.querySelector("#choices input:checked").value;

  function state(run, row) {
    const kind = controls.kind.value;
    const truth = run[run.truths[kind]]?.[row];
    return {
      run, row,
      stated: run[kind]?.[row] ?? null,
      right: truth === null || truth === undefined ? null : truth >= 0.5,
      confident: Number(controls.confident.value),
      unsure: Number(controls.unsure.value),
    };
  }

  const unsureIfAbsent = (now) => now.stated ?? 0.5;
  const ORDERS = {
    file: (one, other) => one.row - other.row,
    surest: (one, other) => unsureIfAbsent(other) - unsureIfAbsent(one) || one.row - other.row,
    unsure: (one, other) => unsureIfAbsent(one) - unsureIfAbsent(other) || one.row - other.row,
    gap: (one, other) => gap(other) - gap(one) || one.row - other.row,
  };
  const gap = (now) => (now.right === null ? -1 : Math.abs(unsureIfAbsent(now) - Number(now.right)));

  function contains(run, row, wanted) {
    const question = data.questions[run.question[row]];
    return [question.question, question.target, question.id, question.dataset, run.answer?.[row], run.response?.[row]]
      .some((text) => text && text.toLowerCase().includes(wanted));
  }

  function refresh() {
    const run = chosenRun();
    const wanted = controls.search.value.trim().toLowerCase();
    const all = run.question.map((_, row) => state(run, row));
    for (const [name, [, passes]] of Object.entries(CHOICES)) {
      const counter = document.querySelector(`#choices input[value=${name}] + span b`);
      if (counter) counter.textContent = all.filter(passes).length.toLocaleString("en");
    }
    const passes = CHOICES[choice()][1];
    shown = all.filter((now) => passes(now) && (!wanted || contains(run, now.row, wanted))).sort(ORDERS[controls.order.value]);
    rows.style.height = `${shown.length * HEIGHT}px`;
    list.style.setProperty("--accent", `var(--run-${controls.run.value})`);
    const plural = run.question.length === 1 ? "response" : "responses";
    status.textContent = `${shown.length.toLocaleString("en")} of ${run.question.length.toLocaleString("en")} ${plural} of ${run.name}`;
    rows.replaceChildren();
    list.scrollTop = 0;
    choose(0);
  }

  function rowNode(place) {
    const { run, row, stated, right } = shown[place];
    const question = data.questions[run.question[row]];
    const image = question.images.length
      ? node("img", { src: data.thumbnails[question.images[0]], alt: "" })
      : node("span", { className: "blank" });
    const made = node("div", {
      className: "row", id: `row-${place}`, role: "option", "aria-setsize": shown.length,
      "aria-posinset": place + 1, "aria-selected": String(place === active),
    }, image,
    node("div", {}, node("p", {}, question.question || question.id),
      node("p", {}, `${run.answer?.[row] ?? "no answer"}, target ${question.target || "–"}`)),
    node("div", { className: "stated" }, figure(stated), verdictOf(right === null ? null : Number(right))));
    made.style.top = `${place * HEIGHT}px`;
    made.addEventListener("click", () => choose(place));
    return made;
  }

  function draw() {
    const first = Math.max(0, Math.floor(list.scrollTop / HEIGHT) - MARGIN);
    const last = Math.min(shown.length, Math.ceil((list.scrollTop + list.clientHeight) / HEIGHT) + MARGIN);
    const wanted = new Set(Array.from({ length: Math.max(0, last - first) }, (_, step) => first + step));
    if (shown.length) wanted.add(active); // what is announced must exist
    for (const child of [...rows.children]) {
      const place = Number(child.id.slice(4));
      if (!wanted.delete(place)) child.remove();
      else child.setAttribute("aria-selected", String(place === active));
    }
    rows.append(...[...wanted].map(rowNode));
  }

  function choose(place) {
    active = Math.min(Math.max(0, place), Math.max(0, shown.length - 1));
    if (!shown.length) {
      list.removeAttribute("aria-activedescendant");
      detail.replaceChildren(node("p", { className: "origin" }, "No response fits."));
      draw();
      return;
    }
    const top = active * HEIGHT;
    if (top < list.scrollTop) list.scrollTop = top;
    else if (top + HEIGHT > list.scrollTop + list.clientHeight) list.scrollTop = top + HEIGHT - list.clientHeight;
    draw();
    list.setAttribute("aria-activedescendant", `row-${active}`);
    showResponse(detail, data, Number(controls.run.value), shown[active].row);
  }

  function onKey(event) {
    const page = Math.max(1, Math.floor(list.clientHeight / HEIGHT) - 1);
    const goals = {
      ArrowDown: active + 1, ArrowUp: active - 1, PageDown: active + page, PageUp: active - page, Home: 0, End: shown.length - 1,
    };
    if (event.key in goals) {
      event.preventDefault();
      choose(goals[event.key]);
    } else if (event.key === "Enter") {
      detail.focus();
    }
  }

  function offer() {
    const options = (names) => names.map((name, place) => node("option", { value: String(place) }, name));
    controls.run.append(...options(data.runs.map((run) => run.name)));
    controls.run.value = String(data.runs.length - 1);
    const known = (column) => data.runs.some((run) => run[column]);
    const needed = { misread: "perception_correct", misreasoned: "reasoning_correct" };
    const kept = Object.entries(CHOICES).filter(([name]) => !needed[name] || known(needed[name]));
    find("choices").append(...kept.map(([name, [label]]) =>
      node("label", {}, node("input", { type: "radio", name: "choice", value: name, checked: name === "all" }),
        node("span", {}, label, " ", node("b", {})))));
  }

  async function start() {
    data = await unpack();
    for (const run of data.runs) {
      run.first = new Map();
      run.question.forEach((question, row) => run.first.has(question) || run.first.set(question, row));
    }
    offer();
    find("filters").hidden = false;
    document.querySelector(".browser").hidden = false;
    find("filters").addEventListener("change", refresh);
    find("filters").addEventListener("submit", (event) => event.preventDefault());
    let waiting;
    controls.search.addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(refresh, 150);
    });
    list.addEventListener("scroll", draw, { passive: true });
    list.addEventListener("keydown", onKey);
    new ResizeObserver(draw).observe(list);
    refresh();
    document.documentElement.dataset.ready = "true";
  }
  start();
}
