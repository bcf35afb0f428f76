"use strict";
/* Reads the report's JSON for values under the pointer or the keyboard, hides and shows schedules, sorts tables. Text
 * of the report reaches the page through textContent only. The page is complete without this script. */
(() => {
  const report = JSON.parse(document.getElementById("report").textContent);
  const tip = document.getElementById("tip");
  const missing = "\u2013";
  document.documentElement.classList.add("js");

  const list = (value) => (Array.isArray(value) ? value : []);
  const known = (v) => typeof v === "number" && Number.isFinite(v);
  const show = (v, digits) => (known(v) ? v.toFixed(digits) : missing);
  const element = (tag, text, parent) => {
    const e = document.createElement(tag);
    if (text !== undefined) e.textContent = text;
    if (parent) parent.append(e);
    return e;
  };

  /* Iterations and values of a curve, as the C side reads them. */
  const curve = (group, index, key) => {
    const of = (schedule, name) => (schedule && schedule.curves && schedule.curves[name]) || {};
    const schedule = list(group.schedules)[index];
    const source = of(schedule, key === "val_diff" ? "val_loss" : key);
    const points = new Map();
    const base = new Map();
    if (key === "val_diff") {
      const b = of(list(group.schedules).find((s) => s.name === group.baseline), "val_loss");
      list(b.iter).forEach((x, k) => base.set(x, list(b.mean)[k]));
    }
    list(source.iter).forEach((x, k) => {
      let mean = list(source.mean)[k];
      if (key === "val_diff") mean = known(mean) && known(base.get(x)) ? mean - base.get(x) : null;
      const spread = key === "val_diff" ? [] : [list(source.lo)[k], list(source.hi)[k]];
      if (known(x) && known(mean)) points.set(x, { mean, lo: spread[0], hi: spread[1] });
    });
    return points;
  };

  /* Beside the point; where there is no room for that, above or below the plot. */
  const place = (x, y, plot) => {
    tip.hidden = false;
    const w = tip.offsetWidth, h = tip.offsetHeight;
    if (w > innerWidth * 0.55) {
      tip.style.left = Math.max(4, (innerWidth - w) / 2) + "px";
      const above = plot.top - h - 6, below = Math.min(plot.bottom + 6, innerHeight - h - 4);
      tip.style.top = Math.max(4, above >= 0 ? above : below) + "px";
      return;
    }
    const left = x + 18 + w > innerWidth ? x - 18 - w : x + 18;
    tip.style.left = Math.max(4, Math.min(left, innerWidth - w - 4)) + "px";
    tip.style.top = Math.max(4, Math.min(y - h / 2, innerHeight - h - 4)) + "px";
  };

  /* Fill the box: a heading and rows [letter's class, letter, name, value]; returns the same as one line of text. */
  const fill = (heading, rows) => {
    tip.replaceChildren();
    element("strong", heading, tip);
    const table = element("table", undefined, tip);
    for (const [chip, letter, name, value] of rows) {
      const tr = element("tr", undefined, table);
      const th = element("th", undefined, tr);
      if (letter) element("b", letter + " ", th).className = chip;
      element("span", name, th);
      element("td", value, tr);
    }
    return heading + ": " + rows.map((r) => r[2] + " " + r[3]).join(", ");
  };

  /* A plot that can be read: `stops` positions in user units along one axis; at(k) fills the box. */
  const readable = (svg, vertical, stops, at, keyboard) => {
    if (!stops.length) return;
    const box = svg.viewBox.baseVal;
    let now = -1;
    const cross = document.createElementNS("http://www.w3.org/2000/svg", "path");
    cross.setAttribute("class", "cross");
    const go = (k, point) => {
      now = Math.max(0, Math.min(stops.length - 1, k));
      const text = at(now);
      const r = svg.getBoundingClientRect();
      if (!vertical) {
        cross.setAttribute("d", `M${stops[now]} 20V${box.height - 38}`);
        svg.append(cross);
      }
      const own = vertical ? [r.right - r.width * 0.3, r.top + (stops[now] / box.height) * r.height]
        : [r.left + (stops[now] / box.width) * r.width, r.top + r.height / 2];
      place(...(point || own), r);
      if (keyboard) {
        svg.setAttribute("aria-valuenow", now + 1);
        svg.setAttribute("aria-valuetext", text);
      }
    };
    const leave = () => {
      cross.remove();
      at(-1);
      tip.hidden = true;
    };
    const follow = (e) => {
      const r = svg.getBoundingClientRect();
      const u = vertical ? ((e.clientY - r.top) / r.height) * box.height : ((e.clientX - r.left) / r.width) * box.width;
      let best = 0;
      stops.forEach((s, k) => (Math.abs(s - u) < Math.abs(stops[best] - u) ? (best = k) : 0));
      go(best, [e.clientX, e.clientY]);
    };
    svg.addEventListener("pointermove", follow);
    svg.addEventListener("pointerdown", follow);
    svg.addEventListener("pointerleave", leave);
    if (!keyboard) return;
    svg.setAttribute("tabindex", "0");
    svg.setAttribute("role", "slider"); /* what screen readers hand the arrow keys to */
    svg.setAttribute("aria-orientation", vertical ? "vertical" : "horizontal");
    svg.setAttribute("aria-valuemin", 1);
    svg.setAttribute("aria-valuemax", stops.length);
    svg.setAttribute("aria-valuenow", vertical ? 1 : stops.length);
    svg.setAttribute("aria-valuetext", "use the arrow keys to read values");
    const first = vertical ? 0 : stops.length - 1;
    svg.addEventListener("focus", () => svg.matches(":focus-visible") && go(now < 0 ? first : now));
    svg.addEventListener("blur", leave);
    svg.addEventListener("keydown", (e) => {
      const from = now < 0 ? (vertical ? -1 : stops.length) : now;
      const steps = { ArrowLeft: from - 1, ArrowRight: from + 1, ArrowUp: from + (vertical ? -1 : 1),
        ArrowDown: from + (vertical ? 1 : -1), PageUp: from - 10, PageDown: from + 10, Home: 0,
          End: stops.length - 1 };
      if (e.key === "Escape") leave();
      if (!(e.key in steps)) return;
      e.preventDefault();
      go(steps[e.key]);
    });
  };

  for (const section of document.querySelectorAll("section.group")) {
    const group = list(report.groups)[section.dataset.g] || {};
    const buttons = [...section.querySelectorAll("[data-toggle]")];
    const entries = buttons.map((b) => ({
      button: b, index: Number(b.dataset.i), number: b.dataset.toggle,
      chip: b.querySelector(".chip").className, letter: b.querySelector(".chip").textContent,
      name: b.querySelector(".name").textContent,
    }));
    const visible = (e) => e.button.getAttribute("aria-pressed") === "true";

    /* ---- show and hide ---- */
    const set = (e, on) => {
      e.button.setAttribute("aria-pressed", on);
      for (const part of section.querySelectorAll(`[data-s="${e.number}"]`)) part.classList.toggle("off", !on);
    };
    for (const e of entries) {
      e.button.addEventListener("click", (event) => {
        if (!event.shiftKey) return set(e, !visible(e));
        const alone = entries.every((o) => visible(o) === (o === e));
        for (const o of entries) set(o, alone || o === e);
      });
      const light = (on) => {
        for (const svg of section.querySelectorAll("svg[data-curve]")) svg.classList.toggle("lit", on && visible(e));
        for (const part of section.querySelectorAll(`svg[data-curve] [data-s="${e.number}"]`))
          part.classList.toggle("hot", on);
      };
      for (const type of ["pointerenter", "focus"]) e.button.addEventListener(type, () => light(true));
      for (const type of ["pointerleave", "blur"]) e.button.addEventListener(type, () => light(false));
      e.button.title = "click: hide or show; with Shift: this one alone";
    }
    for (const b of section.querySelectorAll("[data-all]"))
      b.addEventListener("click", () => entries.forEach((e) => set(e, b.dataset.all === "true")));

    /* ---- values of curves ---- */
    for (const svg of section.querySelectorAll("svg[data-curve]")) {
      const key = svg.dataset.curve, digits = Number(svg.dataset.digits);
      const [lo, hi, left, right] = svg.dataset.x.split(" ").map(Number);
      const lines = entries.map((e) => ({ e, points: curve(group, e.index, key) }));
      const iters = [...new Set(lines.flatMap((l) => [...l.points.keys()]))].sort((a, b) => a - b);
      readable(svg, false, iters.map((x) => left + ((x - lo) / (hi - lo)) * (right - left)), (k) => {
        if (k < 0) return "";
        const rows = lines.filter((l) => visible(l.e) && l.points.has(iters[k]))
          .map((l) => ({ ...l.e, ...l.points.get(iters[k]) })).sort((a, b) => b.mean - a.mean);
        return fill("iteration " + iters[k], rows.map((r) => [r.chip, r.letter, r.name, show(r.mean, digits) +
          (known(r.lo) && known(r.hi) && r.lo !== r.hi ? ` [${show(r.lo, digits)}, ${show(r.hi, digits)}]` : "")]));
      }, true);
    }
    for (const svg of section.querySelectorAll("svg[data-panel]")) {
      const index = Number(svg.dataset.panel), digits = Number(svg.dataset.digits);
      const [lo, hi, left, right] = svg.dataset.x.split(" ").map(Number);
      const parts = ["val_loss", "train_loss"].map((key) => curve(group, index, key));
      const base = curve(group, list(group.schedules).findIndex((s) => s.name === group.baseline), "val_loss");
      const iters = [...parts[0].keys()].sort((a, b) => a - b);
      readable(svg, false, iters.map((x) => left + ((x - lo) / (hi - lo)) * (right - left)), (k) => {
        if (k < 0) return "";
        const rows = [["validation", parts[0]], ["training", parts[1]], ["baseline, validation", base]];
        return fill("iteration " + iters[k], rows.filter((r) => r[1].has(iters[k]))
          .map((r) => ["", "", r[0], show(r[1].get(iters[k]).mean, digits)]));
      }, false);
    }

    /* ---- values of paired differences ---- */
    for (const svg of section.querySelectorAll("svg[data-forest]")) {
      const comparison = list(group.comparisons)[svg.dataset.forest] || {};
      const rows = list(comparison.rows), digits = Number(svg.dataset.digits);
      const [top, height] = svg.dataset.rows.split(" ").map(Number);
      for (const t of svg.querySelectorAll("circle title")) t.remove(); /* the box shows more */
      readable(svg, true, rows.map((_, k) => top + (k + 0.5) * height), (k) => {
        for (const g of svg.querySelectorAll("[data-row]")) g.classList.toggle("now", Number(g.dataset.row) === k);
        if (k < 0) return "";
        const row = rows[k];
        const seeds = list(row.differences).map((d) => ["", "", "seed " + d[0], show(d[1], digits)]);
        const ends = known(row.t_lo) && known(row.t_hi)
          ? ` [${show(row.t_lo, digits)}, ${show(row.t_hi, digits)}]` : "";
        return fill(String(row.schedule) + (row.verdict ? ", " + row.verdict : ""),
          [["", "", "mean", show(row.mean, digits) + ends], ...seeds]);
      }, true);
    }
  }

  /* ---- sorting ---- */
  for (const table of document.querySelectorAll("table.sortable")) {
    const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
    const order = (th, value) => {
      const down = th.getAttribute("aria-sort") === "ascending";
      for (const h of heads) h.removeAttribute("aria-sort");
      th.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...body.rows].map((tr) => ({ tr, v: value(tr) }));
      rows.sort((a, b) => (known(a.v) && known(b.v) ? (down ? b.v - a.v : a.v - b.v) : known(b.v) - known(a.v)));
      body.append(...rows.map((r) => r.tr));
    };
    heads.forEach((th, k) => {
      if (k === 1) return;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...th.childNodes);
      th.append(button);
      button.addEventListener("click", () => order(th, k === 0 ? (tr) => Number(tr.dataset.i) : (tr) => {
        const cell = tr.querySelector(`[data-k="${th.dataset.sort}"]`);
        return cell && cell.dataset.v !== undefined ? Number(cell.dataset.v) : undefined;
      }));
    });
  }

  /* ---- print: what is folded is printed too, but not the long tables of runs and curves ---- */
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details.more:not([open]):not(.long)")];
    for (const d of opened) d.open = true;
  });
  addEventListener("afterprint", () => {
    for (const d of opened) d.open = false;
  });
})();
