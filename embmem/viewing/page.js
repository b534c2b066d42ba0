// The page around the plan: what is shown, the list of things, and the moment.
(function () {
  const scene = JSON.parse(document.getElementById("scene").textContent);
  const $ = (id) => document.getElementById(id);
  const list = $("list"), filter = $("filter"), slider = $("when");
  let chosen = -1, playing = 0;

  // Times
  const pad = (n) => String(n).padStart(2, "0");
  const length = scene.span ? scene.span[1] - scene.span[0] : 0;
  function clock(stamp) {
    if (scene.isUnix) {
      const d = new Date(stamp * 1000), time = `${pad(d.getUTCHours())}:${pad(d.getUTCMinutes())}:${pad(d.getUTCSeconds())}`;
      return `${d.getUTCFullYear()}-${pad(d.getUTCMonth() + 1)}-${pad(d.getUTCDate())} ${time} UTC`;
    }
    return `${Math.abs(stamp) < 1000 ? stamp.toFixed(1) : Math.round(stamp).toLocaleString("en")} s`;
  }
  function span(seconds) {
    const steps = [[86400, "d"], [3600, "h"], [60, "min"]];
    for (const [size, unit] of steps) if (seconds >= 2 * size) return `${Math.round(seconds / size)} ${unit}`;
    return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  }
  const moment = () => scene.span ? (+slider.value === +slider.max ? scene.span[1] : scene.span[0] + length * slider.value / slider.max) : Infinity;
  function lastSeen(thing, now) {
    if (thing.last === null) return "";
    if (thing.last > now) return "seen again later";
    return now - thing.last < 0.05 ? "seen right now" : `last seen ${span(now - thing.last)} before`;
  }

  // The list
  const create = (name, text, className) => {
    const element = document.createElement(name);
    if (text !== undefined) element.textContent = text;
    if (className) element.className = className;
    return element;
  };
  const texts = scene.things.map((thing) => [thing.name, thing.room, thing.why, thing.layer, ...thing.facts, ...thing.held.map(([text]) => text)].join("\n").toLowerCase());
  const items = scene.things.map((thing, i) => {
    const item = create("li"), button = create("button");
    button.type = "button";
    button.dataset.thing = i;
    button.setAttribute("aria-expanded", "false");
    const name = create("span", thing.name, "name");
    name.dir = "auto";
    button.append(name, create("span", `${Math.round(thing.sure * 100)} %`, "sure"), create("span", "", "when"));
    button.addEventListener("click", () => choose(chosen === i ? -1 : i));
    item.classList.toggle("is-doubted", thing.sure < 0.5);
    item.append(button);
    list.append(item);
    return item;
  });
  function details(thing, now) {
    const table = create("dl");
    const row = (name, value) => { if (value) { const cell = create("dd", value); cell.dir = "auto"; table.append(create("dt", name), cell); } };
    row("confidence", `${(thing.sure * 100).toFixed(1)} %${thing.sure < 0.5 ? ", doubted" : ""}`);
    row("room", thing.room);
    row("at", thing.at.map((v) => v.toFixed(2)).join(", ") + " m");
    if (thing.first !== null) row("first seen", clock(thing.first));
    if (thing.last !== null) row("last seen", clock(thing.last));
    if (thing.moves && thing.moves.length > 1) row("places", `${thing.moves.length}`);
    const facts = thing.facts.concat(thing.held.filter(([, start, end]) => (start === null || start <= now) && (end === null || now < end)).map(([text]) => text));
    facts.forEach((fact, i) => row(i ? " " : "facts", fact));
    row("why", thing.why);
    row("from", thing.layer);
    return table;
  }

  function update() {
    const now = moment(), words = filter.value.toLowerCase().split(/\s+/).filter(Boolean), withDoubt = $("doubted").checked;
    const known = new Set(), found = new Set();
    scene.things.forEach((thing, i) => {
      if ((thing.first === null || thing.first <= now) && (withDoubt || thing.sure >= 0.5)) known.add(i);
      if (known.has(i) && words.every((word) => texts[i].includes(word))) found.add(i);
      items[i].hidden = !found.has(i);
      const where = thing.room ? `${thing.room} · ` : "";
      items[i].querySelector(".when").textContent = where + lastSeen(thing, now);
    });
    if (chosen >= 0 && !found.has(chosen)) choose(-1);
    $("count").textContent = scene.things.length ? `${found.size.toLocaleString("en")} of ${scene.things.length.toLocaleString("en")} things` : "This memory names no things.";
    $("clock").textContent = scene.span ? clock(now) : "";
    slider.setAttribute("aria-valuetext", scene.span ? clock(now) : "");
    if (chosen >= 0) items[chosen].querySelector("dl").replaceWith(details(scene.things[chosen], now));
    caption(now);
    plan.at(now, known, found);
  }
  function caption(now) {
    const thing = scene.things[chosen];
    $("caption").textContent = thing ? [thing.name, `${Math.round(thing.sure * 100)} %`, thing.room, lastSeen(thing, now)].filter(Boolean).join(" · ") : "";
  }
  function choose(i, isFromPlan = false) {
    if (chosen >= 0) {
      items[chosen].querySelector("dl").remove();
      items[chosen].firstChild.setAttribute("aria-expanded", "false");
    }
    chosen = i;
    caption(moment());
    plan.choose(i);
    if (i < 0) return;
    items[i].append(details(scene.things[i], moment()));
    items[i].firstChild.setAttribute("aria-expanded", "true");
    if (!isFromPlan) return plan.reveal(i);
    const item = items[i]; // only the list scrolls, so that the plan stays where it was clicked
    if (item.offsetTop < list.scrollTop || item.offsetTop + item.offsetHeight > list.scrollTop + list.clientHeight) list.scrollTop = item.offsetTop - 8;
  }
  const plan = makePlan(scene, $("plan"), (i) => {
    if (items[i].hidden) { filter.value = ""; update(); }
    choose(i, true);
  });

  document.querySelector(".search").hidden = !scene.things.length;

  // What the plan shows
  const parts = [["things", "Things", "var(--thing)", scene.things.length, true], ["names", "Names", "", scene.things.length, true],
    ["rooms", "Rooms", "var(--room)", scene.rooms.length, true], ["path", "Path", "var(--path)", scene.path, true]];
  scene.graphs.forEach((graph, i) => parts.push([`graph ${graph.name}`, graph.title, `var(--graph-${i % 4})`, true, graph.isShown]));
  for (const [name, title, tint, isThere, isOn] of parts) {
    if (!isThere) continue;
    const label = create("label"), box = create("input"), dot = create("i");
    box.type = "checkbox";
    box.checked = isOn;
    box.dataset.part = name;
    dot.style.color = tint;
    box.addEventListener("change", () => plan.toggle(name, box.checked));
    label.append(box, ...(tint ? [dot] : []), title);
    $("layers").append(label);
    plan.toggle(name, isOn);
  }
  $("zoom-in").addEventListener("click", () => plan.zoom(1.5));
  $("zoom-out").addEventListener("click", () => plan.zoom(1 / 1.5));
  $("zoom-all").addEventListener("click", () => plan.all());

  // The moment
  $("time").hidden = !(length > 0);
  function play(isOn) {
    clearInterval(playing);
    playing = isOn ? setInterval(() => { slider.value = +slider.value + 4; update(); if (+slider.value >= +slider.max) play(false); }, 50) : 0;
    $("play").textContent = isOn ? "❚❚" : "▶";
    $("play").setAttribute("aria-label", isOn ? "Pause" : "Play");
  }
  $("play").addEventListener("click", () => { if (!playing && +slider.value >= +slider.max) slider.value = 0; play(!playing); update(); });
  slider.addEventListener("input", () => { play(false); update(); });
  filter.addEventListener("input", update);
  $("doubted").addEventListener("change", update);

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const isTyping = event.target === filter, buttons = items.filter((item) => !item.hidden).map((item) => item.firstChild);
    if (event.key === "/" && !isTyping) { event.preventDefault(); filter.focus(); filter.select(); }
    else if (event.key === "Escape") { if (chosen >= 0) choose(-1); else if (isTyping) { filter.value = ""; update(); } }
    else if ((event.key === "ArrowDown" || event.key === "ArrowUp") && (isTyping || list.contains(event.target)) && buttons.length) {
      event.preventDefault();
      const at = buttons.indexOf(event.target.closest("button")), to = at + (event.key === "ArrowDown" ? 1 : -1);
      if (to < 0 && at >= 0) filter.focus(); else buttons[Math.max(0, Math.min(to, buttons.length - 1))].focus();
    }
  });
  update();
})();
