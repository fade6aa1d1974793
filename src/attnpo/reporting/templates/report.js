(() => {
  "use strict";
  const root = document.documentElement;
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];
  root.classList.add("js");

  // What lies under the pointer, or has the keyboard's focus, in words.
  const tip = document.getElementById("tip");
  const place = (x, y) => {
    const { offsetWidth: w, offsetHeight: h } = tip;
    tip.style.left = `${Math.max(8, Math.min(x + 14, innerWidth - w - 8))}px`;
    tip.style.top = `${y + 18 + h > innerHeight ? Math.max(8, y - h - 12) : y + 18}px`;
  };
  const show = (target, x, y) => {
    tip.textContent = target.dataset.tip;
    tip.hidden = false;
    place(x, y);
  };
  const hide = () => { tip.hidden = true; };
  document.addEventListener("pointermove", (event) => {
    const target = event.target.closest?.("[data-tip]");
    if (target) show(target, event.clientX, event.clientY);
    else hide();
  });
  document.addEventListener("focusin", (event) => {
    const target = event.target.closest?.("[data-tip]");
    if (!target || !target.matches(":focus-visible")) return hide();
    const box = target.getBoundingClientRect();
    show(target, box.left, box.bottom - 12);
  });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
  document.addEventListener("scroll", hide, { passive: true });

  // The chips show and hide an arm, or several named with spaces between them, everywhere at once.
  for (const chip of all(".chip[data-method]")) {
    chip.addEventListener("click", () => {
      const shown = chip.getAttribute("aria-pressed") !== "true";
      chip.setAttribute("aria-pressed", String(shown));
      const arms = chip.dataset.method.split(" ");
      for (const item of all("[data-arm]")) {
        if (arms.includes(item.dataset.arm)) item.classList.toggle("off", !shown);
      }
    });
  }

  document.getElementById("theme")?.addEventListener("click", () => {
    const now = root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
    root.dataset.theme = now === "dark" ? "light" : "dark";
  });

  // One problem at a time; arrow keys, Home and End go through them.
  const tabs = all('[role="tab"]');
  const select = (tab, focus) => {
    for (const other of tabs) {
      const on = other === tab;
      other.setAttribute("aria-selected", String(on));
      other.tabIndex = on ? 0 : -1;
      document.getElementById(other.getAttribute("aria-controls")).hidden = !on;
    }
    if (focus) tab.focus();
  };
  tabs.forEach((tab, i) => {
    tab.addEventListener("click", () => select(tab, false));
    tab.addEventListener("keydown", (event) => {
      const last = tabs.length - 1;
      const to = { ArrowRight: i < last ? i + 1 : 0, ArrowLeft: i ? i - 1 : last, Home: 0, End: last }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      select(tabs[to], true);
    });
  });
  if (tabs.length) select(tabs[0], false);

  // Rows in the order of a column: the best first, again for the worst; cells without a value stay last.
  for (const table of all("table.sortable")) {
    const body = table.tBodies[0];
    all("thead th[data-best]", table).forEach((head) => {
      const button = head.querySelector("button");
      button.addEventListener("click", () => {
        const best = head.dataset.best, worst = best === "descending" ? "ascending" : "descending";
        const order = head.getAttribute("aria-sort") === best ? worst : best;
        for (const other of all("thead th[aria-sort]", table)) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", order);
        const value = (row) => parseFloat(row.cells[head.cellIndex].dataset.value);
        const sign = order === "ascending" ? 1 : -1;
        const rows = [...body.rows].sort((a, b) => {
          const x = value(a), y = value(b);
          return Number.isNaN(x) || Number.isNaN(y) ? Number.isNaN(x) - Number.isNaN(y) : sign * (x - y);
        });
        body.append(...rows);
      });
    });
  }

  // On paper everything is open.
  addEventListener("beforeprint", () => {
    for (const item of all("details")) item.open = true;
    for (const item of all(".case")) item.hidden = false;
  });
  addEventListener("afterprint", () => {
    const current = tabs.find((tab) => tab.getAttribute("aria-selected") === "true");
    if (current) select(current, false);
  });

  root.dataset.ready = "true";
})();
