/* Run in a page of the report by tests/report_browser.py: an expression that gives a list of what is wrong. */
(() => {
  const wrong = [];
  const say = (what, e) => wrong.length < 20 && wrong.push(what + (e ? ": " + (e.id || e.className.baseVal
    || e.className || e.tagName) +
    " '" + e.textContent.trim().slice(0, 50) + "'" : ""));
  const report = JSON.parse(document.getElementById("report").textContent);
  for (const d of document.querySelectorAll("details")) d.open = true;
  const shown = (e) => e.getClientRects().length > 0;
  const rect = (e) => e.getBoundingClientRect();
  const overlap = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1
    && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1;

  /* ---- nothing is wider than the page ---- */
  if (document.scrollingElement.scrollWidth > innerWidth)
    say("the page scrolls sideways: " + document.scrollingElement.scrollWidth);
  for (const e of document.body.querySelectorAll("*")) {
    if (!shown(e) || e.closest("svg,.vh,.skip,script,style,#tip")) continue;
    const scrolls = e.closest(".scroll");
    const r = rect(e);
    if ((!scrolls || scrolls === e) && (r.right > innerWidth + 0.5 || r.left < -0.5)) say("outside of the page", e);
    if (e.matches(".scroll,.legend .name") || getComputedStyle(e).display === "inline") continue;
    if (e.scrollWidth > e.clientWidth + 1 && e.clientWidth && (!scrolls || e.matches("td,th,.name")))
      say("wider than its box", e);
  }

  /* ---- nothing lies on something else ---- */
  const apart = (elements, what) => {
    const boxes = elements.filter(shown).map((e) => [rect(e), e]);
    boxes.forEach(([a, e], i) => boxes.slice(0, i).forEach(([b]) => overlap(a, b) && say(what + " overlap", e)));
    return boxes.length;
  };
  let labels = 0;
  for (const svg of document.querySelectorAll("svg.plot:not(.key)")) {
    const texts = [...svg.querySelectorAll("text")];
    labels += apart(texts, "labels of " + svg.getAttribute("aria-labelledby"));
    const box = rect(svg);
    for (const t of texts.filter(shown)) {
      const r = rect(t);
      if (r.left < box.left - 1 || r.right > box.right + 1 || r.top < box.top - 1 || r.bottom > box.bottom + 1)
        say("label outside of its plot", t);
    }
    const title = svg.querySelector("title"), desc = svg.querySelector("desc");
    if (!title || !title.textContent || !desc || !desc.textContent) say("plot without title or description", svg);
  }
  if (!labels) say("no labels were looked at");
  for (const parent of document.querySelectorAll(
    "main, section, .legend, .curves, .panels, .two, .verdicts, .pairs, nav ul"))
    apart([...parent.children].filter((c) => getComputedStyle(c).position !== "sticky"), "parts");
  for (const row of document.querySelectorAll("tr")) apart([...row.cells].flatMap((c) =>
    [...c.querySelectorAll(".m, .sd, .who")]), "cells");
  const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
  if (new Set(ids).size !== ids.length) say("an id is used twice");
  for (const a of document.querySelectorAll("a[href^='#']")) if (!document.getElementById(a.hash.slice(1)))
    say("link to nowhere", a);

  /* ---- contrast ---- */
  const rgb = (text) => (text.match(/[\d.]+/g) || []).map(Number);
  const light = (c) => c.slice(0, 3).map((v) => v / 255).map((v) => (v <= 0.04045
    ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const c = rgb(getComputedStyle(e).backgroundColor);
      if (c.length === 3 || c[3] > 0) return c;
    }
    return [255, 255, 255];
  };
  const contrast = (a, b) => (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05);
  let inspected = 0;
  for (const e of document.body.querySelectorAll("*")) {
    if (!shown(e) || e.closest("script,style,[aria-pressed=false],.off")
      || ![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim())) continue;
    const svg = e.closest("svg");
    if (svg && !e.closest("text")) continue;
    const row = e.closest("[data-row]");
    const behind = row ? rgb(getComputedStyle(row.querySelector(".stripe")).fill) : ground(svg || e);
    const ratio = contrast(rgb(svg ? getComputedStyle(e).fill : getComputedStyle(e).color), behind);
    inspected++;
    if (ratio < 4.5) say("contrast " + ratio.toFixed(2), e);
  }
  if (inspected < 50) say("hardly any text was looked at");
  for (const line of document.querySelectorAll(".plot .line, .plot .bar, .plot .thin"))
    if (contrast(rgb(getComputedStyle(line).stroke), ground(line.closest("svg"))) < 3)
      say("contrast of a line", line.parentElement);

  /* ---- the tables say what the JSON says ---- */
  const known = (v) => typeof v === "number";
  let compared = 0;
  const same = (cell, value, digits, what) => {
    const text = ((cell ? cell.textContent : "").match(/-?[\d.]+(e[+-]?\d+)?|–/) || [""])[0];
    compared++;
    if (!known(value)) return text === "–" || say(what + " should be –, is " + text);
    const decimals = (text.split(".")[1] || "").length;
    if (decimals !== digits || Math.abs(Number(text) - value) > 0.5000001 * 10 ** -digits || text === "")
      say(`${what}: ${value} is shown as ${text}`);
  };
  report.groups.forEach((group, g) => {
    const section = document.getElementById("g" + (g + 1));
    const schedules = group.schedules || [];
    schedules.forEach((schedule, i) => (report.columns || []).forEach((column, k) => {
      const value = (schedule.columns || {})[column.key] || {};
      const row = section.querySelector(`table.${column.kind === "cost" ? "cost" : "results"} tr[data-i="${i}"]`);
      const cell = row.querySelector(`[data-k="${k}"]`);
      if (row.querySelector(".name").textContent.replace(/\ufffd/g,
        "") !== schedule.name.replace(/[\u0000-\u0008\u202e]/g, "")) say("name of row", row);
      same(cell.querySelector(".m") || cell, value.mean, column.digits, schedule.name + " " + column.key);
      if (known(value.mean) && known(value.sd))
        same(cell.querySelector(".sd"), value.sd, column.digits, "sd of " + schedule.name);
    }));
    const runs = schedules.flatMap((s) => s.runs || []);
    const rows = [...section.querySelectorAll("table.runs tbody tr")];
    if (rows.length !== runs.length) say("rows of runs: " + rows.length);
    runs.forEach((run, i) => {
      (report.columns || []).forEach((column, k) => same(rows[i].querySelector(`[data-k="${k}"]`),
        run.columns[column.key], column.digits, run.dir));
      if (!rows[i].textContent.includes(run.fingerprint) || rows[i].cells[1].textContent !== run.seed)
        say("seed or fingerprint", rows[i]);
    });
    const tables = [...section.querySelectorAll("table.paired")];
    (group.comparisons || []).forEach((c, n) => c.rows.forEach((row, i) => {
      const cell = (k) => tables[n].querySelector(`tr[data-i="${i}"] [data-k="${k}"]`);
      same(cell("mean"), row.mean, c.digits, "difference of " + row.schedule);
      for (const p of ["t_p", "perm_p", "sign_p", "holm_p"]) if (!(row[p] < 0.0001)) same(cell(p), row[p], 4, p);
      for (const [k, lo, hi] of [["t", "t_lo", "t_hi"], ["boot", "boot_lo", "boot_hi"]]) {
        const ends = cell(k).textContent.match(/-?[\d.]+/g) || [];
        for (const [e, v] of [[ends[0], row[lo]], [ends[1], row[hi]]])
          same({ textContent: e || "–" }, v, c.digits, k + " of " + row.schedule);
      }
      if (cell("verdict").textContent !== row.verdict) say("verdict of " + row.schedule);
    }));
    section.querySelectorAll("svg[data-forest]").forEach((svg) => {
      const dots = report.groups[g].comparisons[svg.dataset.forest].rows.reduce((sum, r) =>
        sum + r.differences.length, 0);
      if (svg.querySelectorAll(".seed").length !== dots) say("a dot for each seed", svg);
    });
    (group.conclusions || []).forEach((c) => document.getElementById("conclusions").textContent.includes(c)
      || say("missing: " + c));
  });
  if (compared < 20) say("hardly any value was compared");
  return wrong;
})()
