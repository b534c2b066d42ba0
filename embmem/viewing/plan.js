"use strict";
// The floor plan: what is drawn, where, and how large. Knows the scene and a moment, nothing of the list.

function makePlan(scene, svg, onPick) {
  const NS = "http://www.w3.org/2000/svg";
  const MARGIN = 14, NEAREST = 4000; // pixels around everything, largest zoom in pixels a metre
  const make = (name, attributes, parent) => {
    const element = document.createElementNS(NS, name);
    for (const key in attributes) element.setAttribute(key, attributes[key]);
    if (parent) parent.append(element);
    return element;
  };
  const [left, bottom, right, top] = scene.extent;
  const reach = [...scene.extent]; // everything there is, a thing far off the map too
  for (const {at: [x, y]} of scene.things) {
    reach[0] = Math.min(reach[0], x); reach[1] = Math.min(reach[1], y); reach[2] = Math.max(reach[2], x); reach[3] = Math.max(reach[3], y);
  }
  svg.style.aspectRatio = Math.min(Math.max((right - left) / Math.max(top - bottom, 0.1), 0.9), 2.6);
  const view = {x: (left + right) / 2, y: (bottom + top) / 2, scale: 1, isFitted: true};
  const world = make("g", {}, svg);   // metres, y up
  const marks = make("g", {}, svg);   // pixels, so that dots and names keep their size
  const picture = make("image", {preserveAspectRatio: "none"}, world);
  const parts = {};                   // toggle -> elements
  const short = (text, most) => text.length > most ? text.slice(0, most - 1) + "…" : text;
  const part = (name, ...elements) => (parts[name] = parts[name] || []).push(...elements);

  const names = make("g", {}, marks);
  const ring = (xy) => "M" + Array.from({length: xy.length / 2}, (_, i) => `${xy[2 * i]},${xy[2 * i + 1]}`).join("L") + "Z";
  const rooms = scene.rooms.map((room) => {
    const area = make("path", {class: "room", d: room.rings.map(ring).join(""), "fill-rule": "evenodd"}, world);
    const name = make("text", {class: "room-name"}, names);
    name.textContent = short(room.name, 28);
    part("rooms", area, name);
    return {room, area, name};
  });
  const graphs = scene.graphs.map((graph, number) => {
    const tint = `graph-${number % 4}`;
    const edges = graph.kinds.map((_, kind) => make("path", {class: `edge ${tint} kind-${kind % 4}`}, world));
    const nodes = graph.labels.map((label) => {
      const node = make("circle", {class: `node ${tint}`, r: 3}, marks);
      make("title", {}, node).textContent = label;
      return node;
    });
    part(`graph ${graph.name}`, ...edges, ...nodes);
    return {graph, edges, nodes};
  });
  const walked = make("path", {class: "walked"}, world);
  const camera = make("path", {class: "camera", d: "M11,0L-6,6.5L-3,0L-6,-6.5Z"}, marks);
  part("path", walked, camera);
  const box = make("path", {class: "chosen-box"}, world);
  const moves = make("path", {class: "chosen-moves"}, world);
  const dots = scene.things.map((thing, i) => {
    const dot = make("circle", {class: "thing", r: 4.5, "data-thing": i}, marks);
    make("title", {}, dot).textContent = thing.name;
    dot.addEventListener("click", (event) => { event.stopPropagation(); onPick(i); });
    return dot;
  });
  part("things", ...dots);
  const labels = make("g", {}, names); // of things
  marks.append(names);                 // over the dots
  part("names", labels);

  // What is known of the plan at a moment, painted in the colours of the page.
  const canvas = document.createElement("canvas");
  let pixels = null, painted = "";
  if (scene.plan) {
    const [x0, y0, x1, y1] = scene.plan.extent;
    for (const [key, value] of Object.entries({x: x0, y: -y1, width: x1 - x0, height: y1 - y0})) picture.setAttribute(key, value);
    picture.setAttribute("transform", "scale(1,-1)");
    const loaded = new Image();
    loaded.onload = () => {
      [canvas.height, canvas.width] = scene.plan.shape;
      const context = canvas.getContext("2d", {willReadFrequently: true});
      context.drawImage(loaded, 0, 0);
      pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
      draw();
    };
    loaded.src = scene.plan.src;
  }
  const colour = (name) => {
    const hex = getComputedStyle(document.documentElement).getPropertyValue(name).trim().slice(1);
    const full = hex.length === 3 ? [...hex].map((c) => c + c).join("") : hex;
    return [0, 2, 4].map((i) => parseInt(full.slice(i, i + 2), 16));
  };
  function paint() {
    if (!pixels) return;
    const times = scene.plan.times;
    const now = times ? Math.floor((moment - times[0]) / Math.max(times[1] - times[0], 1e-9) * 254 + 1e-6) : 255;
    const [free, low, tall, unseen] = ["--free", "--low", "--tall", "--unseen"].map(colour);
    const key = `${Math.min(Math.max(now, -1), 254)} ${free} ${low}`;
    if (key === painted) return;
    painted = key;
    const context = canvas.getContext("2d"), out = context.createImageData(canvas.width, canvas.height);
    for (let i = 0; i < pixels.length; i += 4) {
      const state = pixels[i];
      if (!state) continue;
      const height = pixels[i + 2] / 255, strength = pixels[i + 1] <= now ? 1 : 0.16; // what will be seen shows faintly
      for (let c = 0; c < 3; c++) {
        const whole = state === 1 ? free[c] : low[c] + (tall[c] - low[c]) * height;
        out.data[i + c] = unseen[c] + (whole - unseen[c]) * strength;
      }
      out.data[i + 3] = 255;
    }
    context.putImageData(out, 0, 0);
    picture.setAttribute("href", canvas.toDataURL());
  }

  const toPixels = (x, y) => [size.width / 2 + (x - view.x) * view.scale, size.height / 2 - (y - view.y) * view.scale];
  let size = {width: 1, height: 1}, moment = Infinity, shown = null, chosen = -1, areRoomsShown = true;

  const isKnown = (since) => since === null || since <= moment;
  function place(i) { // where a thing was believed to be at the moment
    const thing = scene.things[i];
    let at = thing.at;
    if (thing.moves && thing.moves.length) {
      at = thing.moves[0].slice(1);
      for (const move of thing.moves) if (move[0] <= moment) at = move.slice(1);
    }
    return at;
  }

  function drawGraphs() {
    for (const {graph, edges, nodes} of graphs) {
      const lines = edges.map(() => "");
      for (const [a, b, kind] of graph.edges) {
        if (isKnown(graph.since[a]) && isKnown(graph.since[b])) lines[kind] += `M${graph.x[a]},${graph.y[a]}L${graph.x[b]},${graph.y[b]}`;
      }
      edges.forEach((edge, kind) => edge.setAttribute("d", lines[kind]));
      nodes.forEach((node, i) => {
        const [x, y] = toPixels(graph.x[i], graph.y[i]);
        node.setAttribute("cx", x); node.setAttribute("cy", y);
        node.setAttribute("display", isKnown(graph.since[i]) ? "inline" : "none");
      });
    }
  }
  function drawPath() {
    const path = scene.path;
    let n = 0;
    if (path) while (n < path.t.length && path.t[n] <= moment) n++;
    walked.setAttribute("d", n ? "M" + path.x.slice(0, n).map((x, i) => `${x},${path.y[i]}`).join("L") : "");
    camera.setAttribute("display", n ? "inline" : "none");
    if (!n) return;
    const [x, y] = toPixels(path.x[n - 1], path.y[n - 1]);
    camera.setAttribute("transform", `translate(${x},${y}) rotate(${-path.yaw[n - 1] * 180 / Math.PI})`);
  }
  function drawThings() {
    labels.replaceChildren();
    const taken = areRoomsShown ? rooms.filter(({room}) => isKnown(room.since)).map(({room, name}) => {
      const [x, y] = toPixels(...room.at), half = 3.9 * name.textContent.length;
      return {x0: x - half, x1: x + half, y0: y - 12, y1: y + 5};
    }) : [];
    const order = [...dots.keys()].sort((a, b) => (b === chosen) - (a === chosen)); // the chosen one gets its name first
    for (const i of order) {
      const thing = scene.things[i], dot = dots[i], isThere = shown === null || shown.known.has(i);
      dot.setAttribute("display", isThere ? "inline" : "none");
      if (!isThere) continue;
      const [x, y] = toPixels(...place(i)), isFound = shown === null || shown.found.has(i) || i === chosen;
      dot.setAttribute("cx", x); dot.setAttribute("cy", y);
      dot.setAttribute("r", i === chosen ? 7 : 4.5);
      dot.setAttribute("class", `thing${thing.sure < 0.5 ? " is-doubted" : ""}${i === chosen ? " is-chosen" : ""}${isFound ? "" : " is-faded"}`);
      if (!isFound || x < 0 || y < 0 || x > size.width || y > size.height) continue;
      const name = short(thing.name, 40);
      const length = 6.3 * name.length, isLeft = x + 10 + length > size.width && x > 10 + length;
      const space = {x0: isLeft ? x - 10 - length : x - 5, x1: isLeft ? x + 5 : x + 10 + length, y0: y - 9, y1: y + 7};
      if (taken.some((t) => t.x0 < space.x1 && space.x0 < t.x1 && t.y0 < space.y1 && space.y0 < t.y1)) continue;
      taken.push(space);
      make("text", {x: isLeft ? x - 8 : x + 8, y: y + 3.5, "text-anchor": isLeft ? "end" : "start"}, labels).textContent = name;
    }
    if (chosen >= 0) marks.insertBefore(dots[chosen], names);
    const thing = scene.things[chosen], edges = thing && thing.box && !thing.moves ? thing.box : null;
    box.setAttribute("d", edges ? `M${edges[0]},${edges[1]}H${edges[2]}V${edges[3]}H${edges[0]}Z` : "");
    const steps = thing && thing.moves ? thing.moves.filter((move) => move[0] <= moment) : [];
    moves.setAttribute("d", steps.length > 1 ? "M" + steps.map((move) => `${move[1]},${move[2]}`).join("L") : "");
  }
  function drawScale() {
    const longest = Math.min(120, size.width / 4);
    let length = 10 ** Math.floor(Math.log10(longest / view.scale));
    for (const factor of [5, 2]) if (length * factor * view.scale <= longest) { length *= factor; break; }
    document.getElementById("scale-bar").style.width = `${length * view.scale}px`;
    document.getElementById("scale-text").textContent = length >= 1 ? `${length} m` : `${Math.round(length * 100)} cm`;
  }
  function draw() {
    size = {width: svg.clientWidth || 1, height: svg.clientHeight || 1};
    const whole = Math.min((size.width - 2 * MARGIN) / Math.max(right - left, 0.5), (size.height - 2 * MARGIN) / Math.max(top - bottom, 0.5));
    if (view.isFitted) Object.assign(view, {x: (left + right) / 2, y: (bottom + top) / 2, scale: whole});
    view.scale = Math.min(Math.max(view.scale, whole / 2), Math.max(NEAREST, whole));
    view.x = Math.min(Math.max(view.x, reach[0]), reach[2]); view.y = Math.min(Math.max(view.y, reach[1]), reach[3]);
    const [x, y] = toPixels(0, 0);
    world.setAttribute("transform", `matrix(${view.scale},0,0,${-view.scale},${x},${y})`);
    paint();
    for (const {room, area, name} of rooms) {
      const [x, y] = toPixels(...room.at);
      name.setAttribute("x", x); name.setAttribute("y", y);
      for (const element of [area, name]) element.setAttribute("visibility", isKnown(room.since) ? "visible" : "hidden");
    }
    drawGraphs(); drawPath(); drawThings(); drawScale();
  }
  let asked = 0;
  const redraw = () => { if (!asked) asked = requestAnimationFrame(() => { asked = 0; draw(); }); };

  function zoom(factor, px = size.width / 2, py = size.height / 2) {
    const x = view.x + (px - size.width / 2) / view.scale, y = view.y - (py - size.height / 2) / view.scale;
    view.isFitted = false;
    view.scale *= factor;
    view.x = x - (px - size.width / 2) / view.scale; view.y = y + (py - size.height / 2) / view.scale;
    redraw();
  }
  function move(dx, dy) { view.isFitted = false; view.x -= dx / view.scale; view.y += dy / view.scale; redraw(); }
  function all() { view.isFitted = true; redraw(); }

  svg.addEventListener("wheel", (event) => {
    event.preventDefault();
    const at = svg.getBoundingClientRect();
    zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.03 : 0.0015)), event.clientX - at.left, event.clientY - at.top);
  }, {passive: false});
  const fingers = new Map();
  svg.addEventListener("pointerdown", (event) => { fingers.set(event.pointerId, [event.clientX, event.clientY]); svg.classList.add("is-moving"); });
  window.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (!before) return;
    const now = [event.clientX, event.clientY];
    if (fingers.size === 1) move(now[0] - before[0], now[1] - before[1]);
    if (fingers.size === 2) {
      const [id] = [...fingers.keys()].filter((key) => key !== event.pointerId), other = fingers.get(id), at = svg.getBoundingClientRect();
      const apart = (p) => Math.hypot(p[0] - other[0], p[1] - other[1]);
      zoom(apart(now) / Math.max(apart(before), 1), (now[0] + other[0]) / 2 - at.left, (now[1] + other[1]) / 2 - at.top);
    }
    fingers.set(event.pointerId, now);
  });
  for (const over of ["pointerup", "pointercancel"]) window.addEventListener(over, (event) => { fingers.delete(event.pointerId); svg.classList.toggle("is-moving", fingers.size > 0); });
  svg.addEventListener("keydown", (event) => {
    const steps = {ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60]};
    if (steps[event.key]) move(...steps[event.key]);
    else if (event.key === "+" || event.key === "=") zoom(1.4);
    else if (event.key === "-") zoom(1 / 1.4);
    else if (event.key === "0") all();
    else return;
    event.preventDefault();
  });
  new ResizeObserver(redraw).observe(svg);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

  return {
    zoom, all,
    at(stamp, known, found) { moment = stamp; shown = {known, found}; redraw(); },
    choose(i) { chosen = i; redraw(); },
    reveal(i) { // bring a thing into view
      const [x, y] = toPixels(...place(i));
      if (x < 30 || y < 30 || x > size.width - 30 || y > size.height - 30) { [view.x, view.y] = place(i); view.isFitted = false; redraw(); }
    },
    toggle(name, isOn) {
      for (const element of parts[name] || []) element.style.display = isOn ? "" : "none";
      if (name === "rooms") { areRoomsShown = isOn; redraw(); }
    },
  };
}
