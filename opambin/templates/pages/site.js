// Search as you type and buttons that copy. The pages can be read without either.
"use strict";
(() => {
  const MOST = 50; // results shown at once
  const QUIET = 250; // milliseconds without a keystroke before the count is announced
  const status = document.getElementById("status");

  for (const each of document.querySelectorAll("[data-scripted]")) each.hidden = false;

  // ---- Copying ----
  const put = async (text, element) => {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch { // no permission, or not a secure context
      const range = document.createRange();
      range.selectNodeContents(element);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      return document.execCommand("copy");
    }
  };
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button.copy");
    if (!button) return;
    const from = document.getElementById(button.dataset.from);
    const done = await put(from.textContent, from);
    button.textContent = done ? "Copied" : "Press Ctrl+C";
    const told = document.getElementById("told");
    if (told) told.textContent = done ? "Copied to the clipboard." : "Selected; press Control and C.";
    setTimeout(() => { button.textContent = "Copy"; if (told) told.textContent = ""; }, 2000);
  });

  // ---- The way to the search box ----
  const box = document.querySelector(".find input");
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, textarea, select, [contenteditable]");
    if (event.key === "/" && box && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      box.focus();
      box.select();
    }
  });
  const list = document.getElementById("results");
  if (!list || !box) return;

  // ---- The index: names at first, what packages are soon after ----
  const entries = []; // {name, page, version, users, words}
  let names = null;
  let words = null;
  const read = async (address) => {
    const answer = await fetch(address);
    if (!answer.ok) throw new Error(String(answer.status));
    const text = await answer.text();
    return text.split("\n").slice(0, -1);
  };
  const loadNames = () => names ??= read(list.dataset.names).then((lines) => {
    let before = "";
    for (const line of lines) {
      const [tail, version, users, page] = line.split("\t");
      const name = before.slice(0, parseInt(tail[0], 36)) + tail.slice(1);
      before = name;
      entries.push({ name, page: page || name, version, users: parseInt(users || "0", 36), lower: name.toLowerCase(), words: "" });
    }
  }).catch((error) => { names = null; throw error; });
  const loadWords = () => words ??= loadNames().then(() => read(list.dataset.words)).then((lines) => {
    lines.forEach((line, at) => { if (entries[at]) entries[at].words = line; });
  }).catch((error) => { words = null; throw error; });

  // ---- Searching ----
  const edge = (text, at) => at === 0 || !/[a-z0-9]/.test(text[at - 1]);
  const rank = (entry, term) => { // smaller is better; -1 is no match
    if (entry.lower === term) return 0;
    const at = entry.lower.indexOf(term);
    if (at === 0) return 1;
    if (at > 0) return edge(entry.lower, at) ? 2 : 4;
    const lower = entry.words.toLowerCase();
    let place = lower.indexOf(term);
    if (place < 0) return -1;
    while (place >= 0 && !edge(lower, place)) place = lower.indexOf(term, place + 1);
    return place >= 0 ? 5 : 8;
  };
  const search = (terms) => {
    const found = [];
    for (const entry of entries) {
      let sum = 0;
      for (const term of terms) {
        const one = rank(entry, term);
        if (one < 0) { sum = -1; break; }
        sum += one;
      }
      if (sum >= 0) found.push([sum, entry]);
    }
    found.sort(([a, one], [b, other]) => a - b || other.users - one.users
      || one.name.length - other.name.length || (one.name < other.name ? -1 : 1));
    return found.map(([, entry]) => entry);
  };

  // ---- Showing; only text nodes are made, never HTML ----
  const marked = (parent, text, terms) => {
    const lower = text.toLowerCase();
    let at = 0;
    while (at < text.length) {
      let next = -1;
      let size = 0;
      for (const term of terms) {
        const place = lower.indexOf(term, at);
        if (place >= 0 && (next < 0 || place < next || (place === next && term.length > size))) {
          next = place;
          size = term.length;
        }
      }
      if (next < 0 || lower.length !== text.length) break;
      parent.append(text.slice(at, next));
      const mark = document.createElement("mark");
      mark.textContent = text.slice(next, next + size);
      parent.append(mark);
      at = next + size;
    }
    parent.append(text.slice(at));
  };
  const item = (entry, terms) => {
    const row = document.createElement("li");
    const first = document.createElement("span");
    const link = document.createElement("a");
    link.className = "name";
    link.href = `pages/p/${encodeURIComponent(entry.page)}.html`;
    marked(link, entry.name, terms);
    const version = document.createElement("span");
    version.className = "version";
    version.textContent = entry.version;
    first.append(link, " ", version);
    const what = document.createElement("span");
    what.className = "soft";
    marked(what, entry.words, terms);
    row.append(first, what);
    return row;
  };
  let telling = 0;
  const tell = (text, now) => {
    clearTimeout(telling);
    telling = setTimeout(() => { status.textContent = text; }, now ? 0 : QUIET);
  };
  let asked = "";
  const show = () => {
    const terms = box.value.toLowerCase().split(/\s+/).filter(Boolean);
    list.hidden = terms.length === 0;
    for (const each of document.querySelectorAll("[data-front]")) each.hidden = terms.length > 0;
    if (!terms.length) {
      list.replaceChildren();
      tell("", true);
      return;
    }
    const found = search(terms);
    list.replaceChildren(...found.slice(0, MOST).map((entry) => item(entry, terms)));
    const count = found.length.toLocaleString("en");
    const rest = found.length > MOST ? `; the first ${MOST} are shown` : "";
    tell(found.length === 0 ? "No package matches." : found.length === 1 ? "1 package" : `${count} packages${rest}`);
  };
  const ask = async () => {
    const now = box.value;
    asked = now;
    const query = now.trim() ? `?q=${encodeURIComponent(now.trim())}` : location.pathname;
    history.replaceState(null, "", query);
    try {
      await loadNames();
      if (asked === now) show();
      await loadWords();
      if (asked === now) show();
    } catch {
      tell("The search index can't be loaded; all packages are listed by letter.", true);
      for (const each of document.querySelectorAll("[data-front]")) each.hidden = false;
    }
  };
  box.addEventListener("focus", () => { loadNames().catch(() => {}); }, { once: true });
  box.addEventListener("input", ask);
  box.form.addEventListener("submit", (event) => {
    event.preventDefault();
    list.querySelector("a")?.click();
  });

  // ---- Arrow keys between the box and the results ----
  document.addEventListener("keydown", (event) => {
    const links = [...list.querySelectorAll("a")];
    const at = links.indexOf(document.activeElement);
    if (at < 0 && document.activeElement !== box) return;
    if (event.key === "ArrowDown" && links[at + 1]) {
      event.preventDefault();
      links[at + 1].focus();
    } else if (event.key === "ArrowUp" && at >= 0) {
      event.preventDefault();
      (links[at - 1] ?? box).focus();
    } else if (event.key === "Escape" && at >= 0) {
      box.focus();
    } else if (event.key === "Escape" && box.value) {
      event.preventDefault();
      box.value = "";
      ask();
    }
  });
  const query = new URLSearchParams(location.search).get("q");
  if (query) {
    box.value = query;
    ask();
  }
})();
