"use strict";
// What moves on the page as a whole: light and dark, tabs, and what a chart's mark says.
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const by = (id) => document.getElementById(id);

by("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
});

function showTab(button) {
  for (const other of all(`[data-tab="${button.dataset.tab}"]`)) {
    other.setAttribute("aria-pressed", String(other === button));
    by(other.dataset.shows).hidden = other !== button;
  }
}
for (const button of all("[data-tab]")) {
  button.addEventListener("click", () => showTab(button));
  if (button.getAttribute("aria-pressed") === "true") showTab(button);
}

const tip = document.createElement("div");
tip.className = "tip";
tip.setAttribute("aria-hidden", "true");
tip.hidden = true;
document.body.append(tip);
for (const chart of all(".chart")) {
  chart.addEventListener("pointermove", (event) => {
    const told = event.target.closest('[aria-roledescription="point"], [aria-roledescription="bar"], [aria-roledescription="rule mark"]');
    const text = told?.getAttribute("aria-label");
    tip.hidden = !text;
    if (!text) return;
    tip.textContent = text;
    tip.style.left = `${Math.min(event.clientX + 12, innerWidth - tip.offsetWidth - 8)}px`;
    tip.style.top = `${event.clientY + 16}px`;
  });
  chart.addEventListener("pointerleave", () => { tip.hidden = true; });
}

// What lies below the gallery moves while rows become as high as they are: go there until it stays.
for (const link of all(".top nav a")) {
  link.addEventListener("click", (event) => {
    event.preventDefault();
    history.replaceState(null, "", link.hash);
    const goal = by(link.hash.slice(1));
    let tries = 12;
    (function go() {
      goal.scrollIntoView({ behavior: "instant" });
      if (tries-- > 0) requestAnimationFrame(go);
    })();
    goal.tabIndex = -1;
    goal.focus({ preventScroll: true });
  });
}
