"use strict";
// Runs in the pages that page.py makes: reads the JSON in #explorer-data and fills #explorer. No library, no network.
(() => {
  const data = JSON.parse(document.getElementById("explorer-data").textContent);
  const root = document.getElementById("explorer");

  const bytes = (base64) => {
    const text = atob(base64);
    const array = new Uint8Array(text.length);
    for (let i = 0; i < array.length; i++) array[i] = text.charCodeAt(i);
    return array;
  };
  const element = (name, properties, ...children) => {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  };
  const clamp = (x, low, high) => Math.min(Math.max(x, low), high);
  // as Python rounds, so that the page and the command line call a cell by the same pixel
  const roundHalfToEven = (x) => (x % 1 === 0.5 ? 2 * Math.round(x / 2) : Math.round(x));
  // the same place of an axis in another resolution; centres stay centres
  const rescale = (place, old, now) => ((place + 0.5) * now) / old - 0.5;

  // ------------------------------------------------------------------------------------------------ matching

  /** The length of every cell's feature. */
  function lengths(codes, scales, offsets) {
    const count = scales.length;
    return Float32Array.from({ length: codes.length / count }, (_, cell) => {
      let square = 0;
      for (let k = 0; k < count; k++) square += (offsets[k] + codes[cell * count + k] * scales[k]) ** 2;
      return Math.max(Math.sqrt(square), 1e-12);
    });
  }

  /** Cosines of all cells of the other view's map with a pixel, and the pixel of the best, of one set of weights. */
  function match(weights, side, u, v) {
    const { scales, offsets, maps } = weights;
    const [from, to] = [maps[side], maps[1 - side]];
    const count = scales.length;
    const x = clamp(rescale(u, data.views[side].width, from.columns), 0, from.columns - 1);
    const y = clamp(rescale(v, data.views[side].height, from.rows), 0, from.rows - 1);
    const [left, top] = [Math.floor(x), Math.floor(y)];
    const query = new Float64Array(count);
    for (const [column, row, share] of [
      [left, top, (left + 1 - x) * (top + 1 - y)],
      [left + 1, top, (x - left) * (top + 1 - y)],
      [left, top + 1, (left + 1 - x) * (y - top)],
      [left + 1, top + 1, (x - left) * (y - top)],
    ]) {
      if (share === 0) continue;
      const cell = row * from.columns + column;
      for (let k = 0; k < count; k++)
        query[k] += (share * (offsets[k] + from.codes[cell * count + k] * scales[k])) / from.lengths[cell];
    }
    const length = Math.max(Math.hypot(...query), 1e-12);
    let base = 0; // of every product with the query
    for (let k = 0; k < count; k++) {
      query[k] /= length;
      base += query[k] * offsets[k];
      query[k] *= scales[k];
    }
    const cosines = new Float32Array(to.rows * to.columns);
    let best = 0;
    for (let cell = 0, i = 0; cell < cosines.length; cell++) {
      let sum = base;
      for (let k = 0; k < count; k++, i++) sum += query[k] * to.codes[i];
      cosines[cell] = sum / to.lengths[cell];
      if (cosines[cell] > cosines[best]) best = cell;
    }
    const other = data.views[1 - side];
    return {
      cosines,
      cosine: cosines[best],
      u: roundHalfToEven(rescale(best % to.columns, to.columns, other.width)),
      v: roundHalfToEven(rescale(Math.floor(best / to.columns), to.rows, other.height)),
    };
  }

  // ------------------------------------------------------------------------------------------------- drawing

  // from nothing over red and yellow to white; little-endian RGBA
  const HEAT = Uint32Array.from({ length: 256 }, (_, i) => {
    const glow = (k) => Math.round(255 * clamp((3 * i) / 255 - k, 0, 1));
    const opacity = Math.round(200 * clamp((2 * i) / 255, 0, 1));
    return ((opacity << 24) | (glow(2) << 16) | (glow(1) << 8) | glow(0)) >>> 0;
  });

  /** A canvas' context, its resolution brought to that of the screen, in units of the page's pixels. */
  function open(canvas) {
    const ratio = Math.min(window.devicePixelRatio, 2);
    const [width, height] = [canvas.clientWidth, canvas.clientHeight].map((x) => Math.max(1, Math.round(x * ratio)));
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    return context;
  }

  function drawRing(context, x, y) {
    for (const [color, width] of [["black", 5], ["cyan", 2.5]]) {
      context.beginPath();
      context.arc(x, y, 8, 0, 2 * Math.PI);
      context.strokeStyle = color;
      context.lineWidth = width;
      context.stroke();
    }
  }

  function drawView(canvas, side, weights, found) {
    const context = open(canvas);
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    const view = data.views[side];
    context.drawImage(view.picture, 0, 0, width, height);
    let place = state;
    if (side !== state.side) {
      place = found;
      context.globalCompositeOperation = "saturation";
      context.fillStyle = "grey";
      context.fillRect(0, 0, width, height);
      context.globalCompositeOperation = "source-over";
      context.fillStyle = "rgb(0 0 0 / 45%)";
      context.fillRect(0, 0, width, height);
      const { rows, columns } = weights.maps[side];
      const layer = element("canvas", { width: columns, height: rows });
      const image = new ImageData(columns, rows);
      const pixels = new Uint32Array(image.data.buffer);
      for (let i = 0; i < pixels.length; i++)
        pixels[i] = HEAT[Math.round(255 * Math.exp((found.cosines[i] - found.cosine) / state.temperature))];
      layer.getContext("2d").putImageData(image, 0, 0);
      context.drawImage(layer, 0, 0, width, height);
    }
    drawRing(context, ((place.u + 0.5) / view.width) * width, ((place.v + 0.5) / view.height) * height);
  }

  /** Voxels as squares of their size in perspective, the nearest in front. */
  function drawVoxels(canvas, colors) {
    const context = open(canvas);
    const { width, height } = canvas;
    const image = new ImageData(width, height);
    const pixels = new Uint32Array(image.data.buffer);
    const nearest = new Float32Array(width * height).fill(Infinity);
    const { positions, edge } = data.voxels;
    const [cosYaw, sinYaw] = [Math.cos(state.yaw), Math.sin(state.yaw)];
    const [cosPitch, sinPitch] = [Math.cos(state.pitch), Math.sin(state.pitch)];
    const distance = 2.6 / state.zoom;
    const focal = 1.1 * Math.min(width, height);
    for (let i = 0; i < positions.length; i += 3) {
      const x = cosYaw * positions[i] + sinYaw * positions[i + 2];
      const ahead = cosYaw * positions[i + 2] - sinYaw * positions[i];
      const y = cosPitch * positions[i + 1] + sinPitch * ahead;
      const z = cosPitch * ahead - sinPitch * positions[i + 1] + distance;
      if (z < 0.1) continue;
      const size = Math.max(1, Math.ceil((focal * edge) / z));
      const [left, top] = [(focal * x) / z + width / 2, (focal * y) / z + height / 2].map((p) => Math.round(p - size / 2));
      const [right, bottom] = [Math.min(left + size, width), Math.min(top + size, height)];
      const shade = clamp(1 - 0.25 * (z - distance), 0.6, 1); // what is far is darker
      const color =
        ((255 << 24) | ((colors[i + 2] * shade) << 16) | ((colors[i + 1] * shade) << 8) | (colors[i] * shade)) >>> 0;
      for (let row = Math.max(top, 0); row < bottom; row++)
        for (let column = Math.max(left, 0); column < right; column++) {
          const pixel = row * width + column;
          if (z < nearest[pixel]) {
            nearest[pixel] = z;
            pixels[pixel] = color;
          }
        }
    }
    context.putImageData(image, 0, 0);
  }

  // --------------------------------------------------------------------------------------------------- state

  const state = { ...data.start, held: false, temperature: 0.1, yaw: -0.5, pitch: -0.45, zoom: 10 ** 0.1, own: false };
  const letter = (side) => "AB"[side];
  const cards = [];
  const status = element("p", { className: "unseen" });
  status.setAttribute("role", "status"); // an aria-live region
  const hint = element("span", { className: "hint" });
  const due = { matches: true, voxels: true, asked: false };
  let announcement = 0;

  function draw() {
    due.asked = false;
    if (due.matches) {
      for (const { weights, canvases, text } of cards) {
        const found = match(weights, state.side, state.u, state.v);
        canvases.forEach((canvas, side) => drawView(canvas, side, weights, found));
        text.textContent =
          `${letter(state.side)} (${state.u}, ${state.v}) → ` +
          `${letter(1 - state.side)} (${found.u}, ${found.v}), cosine ${found.cosine.toFixed(3)}`;
        weights.found = found;
      }
      hint.textContent = state.held ? "The pixel is held; a click lets it go." : "A click holds the pixel.";
      // readers aloud hear where the pixel came to rest, not every place on its way
      clearTimeout(announcement);
      announcement = setTimeout(() => {
        const places = cards.map(
          ({ weights: { name, found } }) =>
            `${name}: pixel (${found.u}, ${found.v}) of view ${letter(1 - state.side)}, cosine ${found.cosine.toFixed(2)}.`,
        );
        status.textContent = [
          `Best match of pixel (${state.u}, ${state.v}) of view ${letter(state.side)}.`,
          ...places,
        ].join(" ");
      }, 300);
    }
    if (due.voxels && data.voxels)
      for (const { weights, voxels } of cards) drawVoxels(voxels, state.own ? data.voxels.colors : weights.colors);
    due.matches = due.voxels = false;
  }

  function ask(...parts) {
    for (const part of parts) due[part] = true;
    if (!due.asked) requestAnimationFrame(draw);
    due.asked = true;
  }

  function choose(side, u, v) {
    const { width, height } = data.views[side];
    Object.assign(state, { side, u: clamp(u, 0, width - 1), v: clamp(v, 0, height - 1) });
    ask("matches");
  }

  /** By angles with which the front goes to the right and down. */
  function turn(right, down) {
    state.yaw -= right;
    state.pitch = clamp(state.pitch - down, -1.5, 1.5);
    ask("voxels");
  }

  const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

  // ---------------------------------------------------------------------------------------------------- page

  const interactive = (label, aspect, onArrow) => {
    const canvas = element("canvas", { tabIndex: 0 });
    canvas.setAttribute("role", "application");
    canvas.setAttribute("aria-label", label);
    canvas.style.setProperty("--aspect", aspect);
    canvas.addEventListener("keydown", (event) => {
      const arrow = ARROWS[event.key];
      if (!arrow || event.ctrlKey || event.altKey || event.metaKey) return;
      event.preventDefault();
      onArrow(...arrow.map((x) => x * (event.shiftKey ? 10 : 1)));
    });
    return canvas;
  };

  function viewCanvas(weights, side) {
    const { width, height } = data.views[side];
    const step = Math.max(1, Math.round(width / 160));
    const label = `View ${letter(side)}, ${weights.name}; arrow keys choose a pixel, with Shift in larger steps`;
    const canvas = interactive(label, width / height, (right, down) => {
      const place = side === state.side ? state : weights.found; // from the match on, in the other view
      choose(side, place.u + step * right, place.v + step * down);
    });
    const pick = (event) => {
      const box = canvas.getBoundingClientRect();
      const u = Math.floor(((event.clientX - box.left) / box.width) * width);
      choose(side, u, Math.floor(((event.clientY - box.top) / box.height) * height));
    };
    canvas.addEventListener("pointermove", (event) => {
      if (event.pointerType !== "mouse" || !state.held) pick(event);
    });
    canvas.addEventListener("pointerdown", (event) => {
      if (event.pointerType === "mouse") state.held = !state.held;
      pick(event);
    });
    return canvas;
  }

  function voxelCanvas(weights) {
    const label = `Voxels in 3D, ${weights.name}; arrow keys turn them, plus and minus bring them nearer and away`;
    const canvas = interactive(label, 4 / 3, (right, down) => turn(0.1 * right, 0.1 * down));
    let last = null;
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      last = event;
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!event.buttons || !last) return;
      const [right, down] = [event.clientX - last.clientX, event.clientY - last.clientY];
      turn((3 * right) / canvas.clientWidth, (3 * down) / canvas.clientWidth);
      last = event;
    });
    canvas.addEventListener("keydown", (event) => {
      if (event.key === "+" || event.key === "-") zoomSlider.move(event.key === "+" ? 1 : -1);
    });
    return canvas;
  }

  /** A labelled slider of a factor between two powers of ten, even in its logarithm. */
  function slider(label, min, max, digits, value, onChange) {
    const input = element("input", { type: "range", min, max, step: 0.05, value: Math.log10(value) });
    const shown = element("output", {});
    const show = (factor) => {
      shown.textContent = factor.toFixed(digits);
      input.setAttribute("aria-valuetext", shown.textContent);
    };
    const change = () => {
      show(10 ** input.valueAsNumber);
      onChange(10 ** input.valueAsNumber);
    };
    show(value);
    input.addEventListener("input", change);
    const move = (steps) => {
      input.stepUp(steps);
      change();
    };
    return { node: element("label", {}, label, input, shown), move };
  }

  const temperature = slider("Temperature", -2.3, 0, 3, state.temperature, (factor) => {
    state.temperature = factor;
    ask("matches");
  });
  const zoomSlider = slider("Nearness", -0.3, 0.7, 1, state.zoom, (factor) => {
    state.zoom = factor;
    ask("voxels");
  });

  async function start() {
    for (const weights of data.weights) {
      for (const map of weights.maps) {
        map.codes = new Int8Array(bytes(map.codes).buffer);
        map.lengths = lengths(map.codes, weights.scales, weights.offsets);
      }
      if (data.voxels) weights.colors = bytes(weights.colors);
    }
    if (data.voxels) {
      data.voxels.positions = Float32Array.from(new Int16Array(bytes(data.voxels.positions).buffer), (x) => x / 32767);
      data.voxels.colors = bytes(data.voxels.colors);
    }
    await Promise.all(
      data.views.map((view) => (view.picture = element("img", { src: view.image })).decode()),
    );
    const grid = element("div", { className: "columns" });
    const chunks = element("div", { className: "columns" });
    for (const weights of data.weights) {
      const card = { weights, text: element("p", { className: "match" }) };
      card.canvases = data.views.map((_, side) => viewCanvas(weights, side));
      const views = card.canvases.map((canvas, side) =>
        element("figure", {}, canvas, element("figcaption", {}, `${letter(side)}: ${data.views[side].name}`)),
      );
      const note = element("p", { className: "note", textContent: weights.note });
      grid.append(element("section", {}, element("h3", { textContent: weights.name }), card.text, ...views, note));
      if (data.voxels) {
        card.voxels = voxelCanvas(weights);
        chunks.append(element("figure", {}, card.voxels, element("figcaption", { textContent: weights.name })));
      }
      cards.push(card);
    }
    root.replaceChildren(element("div", { className: "controls" }, temperature.node, hint), grid, status);
    if (data.voxels) {
      const own = element("input", { type: "checkbox" });
      own.addEventListener("change", () => {
        state.own = own.checked;
        ask("voxels");
      });
      const label = element("label", {}, own, "the voxels' own colours");
      root.append(element("div", { className: "controls" }, zoomSlider.node, label), chunks);
    }
    new ResizeObserver(() => ask("matches", "voxels")).observe(grid);
    window.addEventListener("resize", () => ask("matches", "voxels"));
  }

  start();
})();
