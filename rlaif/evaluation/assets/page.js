"use strict";
(async () => {
  const ROW = 60, SPARE = 8;
  const list = document.getElementById("list"), rows = document.getElementById("rows");
  const reader = document.getElementById("reader"), count = document.getElementById("count");
  const search = document.getElementById("search"), labeler = document.getElementById("labeler");
  const filters = document.getElementById("filters");

  // Everything that is shown goes through here, as text.
  const make = (tag, className, text, children = []) => {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    element.append(...children);
    return element;
  };

  const unpack = async () => {
    const bytes = Uint8Array.from(atob(document.getElementById("packed").textContent), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return JSON.parse(await new Response(stream).text());
  };

  let pairs;
  try {
    pairs = await unpack();
  } catch (error) {
    count.textContent = "This browser cannot unpack the pairs; a newer one can.";
    return;
  }

  const judged = pairs.some((pair) => (pair.labels || []).length);
  const known = (value) => value !== undefined && value !== null;
  const plain = (value) => (!known(value) ? "" : typeof value === "object" ? JSON.stringify(value) : String(value));
  const queryText = (pair) =>
    Array.isArray(pair.query) ? pair.query.map((turn) => plain(turn.content)).join("\n") : plain(pair.query);
  const side = (p, single) =>
    !known(p) ? "–" : single ? (p >= 0.5 ? "yes" : "no") : p === 0.5 ? "tie" : p > 0.5 ? "1" : "2";
  const isFlip = (label) =>
    known(label.preference_12) && known(label.preference_21) &&
    (label.preference_12 - 0.5) * (label.preference_21 - 0.5) < 0;
  const TESTS = {
    all: () => true,
    disagreement: (label) => label.agrees === false,
    flip: isFlip,
    low: (label) => known(label.preference) && Math.abs(label.preference - 0.5) < 0.1,
    failure: (label) => known(label.failure),
  };
  const haystacks = new Map();
  const haystack = (place) => {
    if (!haystacks.has(place)) {
      const pair = pairs[place];
      const texts = [pair.id, queryText(pair), ...(pair.responses || []).map((text) => text || "")];
      haystacks.set(place, texts.join("\n").toLowerCase());
    }
    return haystacks.get(place);
  };

  let shown = [], selected = -1;

  const isSingle = (pair) => (pair.responses || []).length === 1;

  const rowOf = (at) => {
    const pair = pairs[shown[at]], single = isSingle(pair);
    const labels = (pair.labels || []).filter((label) => !labeler.value || label.labeler === labeler.value);
    const sides = labels.map((label) => (label.failure ? "×" : side(label.preference, single)));
    const said = sides.slice(0, 4).join(" ") + (sides.length > 4 ? ` +${sides.length - 4}` : "");
    const off = labels.some((label) => label.agrees === false || label.failure);
    const people = known(pair.human) ? `people ${side(pair.human, single)} · ` : "";
    const row = make("div", "row", undefined, [
      make("div", "top", undefined, [
        make("span", "id", pair.id),
        make("span", off ? "said off" : "said", judged ? `${people}labeled ${said || "–"}` : ""),
      ]),
      make("div", "text", queryText(pair).slice(0, 200) || (pair.responses || [""])[0] || "(no text)"),
    ]);
    row.setAttribute("role", "option");
    row.id = `row-${at}`;
    row.style.top = `${at * ROW}px`;
    row.setAttribute("aria-selected", String(at === selected));
    row.setAttribute("aria-setsize", shown.length);
    row.setAttribute("aria-posinset", at + 1);
    row.addEventListener("click", () => select(at));
    return row;
  };

  const draw = () => {
    const first = Math.max(0, Math.floor(list.scrollTop / ROW) - SPARE);
    const last = Math.min(shown.length, Math.ceil((list.scrollTop + list.clientHeight) / ROW) + SPARE);
    rows.style.height = `${shown.length * ROW}px`;
    const fresh = [];
    for (let at = first; at < last; at += 1) fresh.push(rowOf(at));
    rows.replaceChildren(...fresh);
    if (selected >= first && selected < last) list.setAttribute("aria-activedescendant", `row-${selected}`);
    else list.removeAttribute("aria-activedescendant");
  };

  const bar = (name, p) => {
    const fill = make("i");
    fill.style.width = `${(100 * p).toFixed(1)}%`;
    return make("div", "bar", undefined, [make("span", "", name), make("div", "track", undefined, [fill]), make("span", "", p.toFixed(3))]);
  };

  // A file of labels may hold a single rationale as a text.
  const rationales = (texts, name) => (texts ? [texts].flat() : []).map((text) => make("div", "rationale", undefined, [make("b", "", name), plain(text)]));

  const verdict = (label, single) => {
    const parts = [make("h3", "", label.labeler)];
    if (label.failure) parts.push(make("p", "wrong", `No label: ${label.failure}${label.detail ? `. ${label.detail}` : ""}`));
    const name = single ? "P(yes)" : "P(response 1 preferred)";
    if (known(label.preference)) parts.push(bar(name, label.preference));
    if (known(label.preference_12)) parts.push(bar("response 1 first", label.preference_12));
    if (known(label.preference_21)) parts.push(bar("response 2 first", label.preference_21));
    if (isFlip(label)) parts.push(make("p", "wrong", `Prefers what is shown ${label.preference_12 > 0.5 ? "first" : "second"} in both orders.`));
    if (label.agrees === false) parts.push(make("p", "wrong", "People say otherwise."));
    parts.push(...rationales(label.rationales_12, single ? "Rationale" : "With response 1 first"));
    parts.push(...rationales(label.rationales_21, "With response 2 first"));
    return make("div", "verdict", undefined, parts);
  };

  const people = (pair, single) => {
    if (!known(pair.human) && !(pair.annotations || []).length) return [];
    const votes = (pair.annotations || []).map((one) => side(one, single)).join(", ");
    const said = single ? side(pair.human, true) : known(pair.human) ? { 1: "response 1", 2: "response 2", tie: "a tie" }[side(pair.human)] : "–";
    return [make("p", "", `People: ${said}${votes ? ` (each: ${votes})` : ""}`)];
  };

  const read = (pair) => {
    const single = isSingle(pair);
    const turns = Array.isArray(pair.query) ? pair.query : pair.query ? [{ role: "query", content: plain(pair.query) }] : [];
    const cards = (pair.responses || []).map((text, at) => {
      const model = (pair.models || [])[at];
      const name = `${single ? "Response" : `Response ${at + 1}`}${model ? ` · ${model}` : ""}`;
      const chosen = !single && known(pair.human) && side(pair.human) === String(at + 1);
      const note = (pair.notes || [])[at];
      return make("div", chosen ? "card chosen" : "card", undefined, [
        make("b", "", chosen ? `${name} · preferred by people` : name), ...(note ? [make("p", "columns", plain(note))] : []),
        text === null ? "(no text)" : text,
      ]);
    });
    const columns = Object.entries(pair.columns || {}).map(([name, value]) => `${name}: ${plain(value)}`).join(" · ");
    reader.replaceChildren(
      make("div", "id", pair.id),
      ...turns.map((turn) => make("div", "turn", undefined, [make("b", "", plain(turn.role)), plain(turn.content)])),
      make("div", "sides", undefined, cards),
      ...people(pair, single),
      ...(pair.labels || []).map((label) => verdict(label, single)),
      ...(columns ? [make("p", "columns", columns)] : []),
    );
    reader.scrollTop = 0;
  };

  const select = (at, remember = true) => {
    if (!shown.length) {
      selected = -1;
      reader.replaceChildren(make("p", "columns", "Nothing here is so."));
      draw();
      return;
    }
    selected = Math.max(0, Math.min(shown.length - 1, at));
    const top = selected * ROW;
    if (top < list.scrollTop) list.scrollTop = top;
    if (top + ROW > list.scrollTop + list.clientHeight) list.scrollTop = top + ROW - list.clientHeight;
    const pair = pairs[shown[selected]];
    read(pair);
    draw();
    if (remember) history.replaceState(null, "", `#pair=${encodeURIComponent(pair.id)}`);
  };

  const apply = (remember = true) => {
    const test = TESTS[new FormData(filters).get("show") || "all"], words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const name = labeler.value, before = pairs[shown[selected]];
    shown = [];
    pairs.forEach((pair, place) => {
      const labels = (pair.labels || []).filter((label) => !name || label.labeler === name);
      if (test !== TESTS.all && !labels.some(test)) return;
      if (words.length && !words.every((word) => haystack(place).includes(word))) return;
      shown.push(place);
    });
    count.textContent = `${shown.length.toLocaleString("en")} of ${pairs.length.toLocaleString("en")}`;
    list.scrollTop = 0;
    select(Math.max(0, shown.findIndex((place) => pairs[place] === before)), remember);
  };

  let waiting = 0;
  search.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(apply, 120);
  });
  filters.addEventListener("change", (event) => { if (event.target !== search) apply(); });
  filters.addEventListener("submit", (event) => { event.preventDefault(); apply(); });
  list.addEventListener("scroll", () => requestAnimationFrame(draw));
  window.addEventListener("resize", draw);
  window.addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("details")) details.open = true;
  });
  list.addEventListener("keydown", (event) => {
    const page = Math.max(1, Math.floor(list.clientHeight / ROW) - 1);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (!(event.key in steps)) return;
    event.preventDefault();
    select(selected + steps[event.key]);
  });
  document.addEventListener("keydown", (event) => {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) && event.target.type !== "radio";
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape" && event.target === search) { event.preventDefault(); list.focus(); return; }
    if (typing) return;
    if (event.key === "j") select(selected + 1);
    else if (event.key === "k") select(selected - 1);
    else if (event.key === "/") { event.preventDefault(); search.focus(); search.select(); }
  });

  const follow = () => {
    const wanted = /^#pair=(.*)$/.exec(location.hash);
    if (!wanted) return;
    let id = wanted[1];
    try {
      id = decodeURIComponent(id);
    } catch (error) {
      // A link that was cut off is looked for as it stands.
    }
    const place = pairs.findIndex((pair) => plain(pair.id) === id);
    if (place >= 0 && !shown.includes(place)) {
      filters.reset();
      apply(false);
    }
    document.getElementById("pairs").scrollIntoView();
    if (place >= 0) select(shown.indexOf(place));
    else reader.replaceChildren(make("p", "wrong", `This page has no pair ${id}.`));
  };

  apply(false);
  follow();
  window.addEventListener("hashchange", follow);
  document.documentElement.dataset.ready = "true";
})();
