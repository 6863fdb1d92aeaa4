"use strict";
const controls = ["query", "group", "verdict"].map((id) => document.getElementById(id));
const cards = [...document.querySelectorAll(".card")];
function filter() {
  const [query, group, verdict] = controls.map((control) => control.value);
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const card of cards) {
    const { text, ...own } = card.dataset;
    const fits = words.every((word) => text.includes(word)) && (!group || own.group === group) && (!verdict || own.verdict === verdict);
    card.hidden = !fits;
    shown += fits;
  }
  document.getElementById("shown").textContent = shown === cards.length ? `${shown} products` : `${shown} of ${cards.length} products`;
  document.getElementById("none").hidden = shown > 0 || cards.length === 0;
}
for (const control of controls) control.addEventListener("input", filter);
document.querySelector(".filter").addEventListener("submit", (event) => event.preventDefault());
document.getElementById("reset").addEventListener("click", () => {
  for (const control of controls) control.value = "";
  filter();
  controls[0].focus();
});
filter();
const evidence = document.getElementById("evidence");
evidence.addEventListener("change", () => document.body.classList.toggle("plain", !evidence.checked));
// Pointing at a tag lights its region alone.
for (const row of document.querySelectorAll(".tags [data-mark]")) {
  const card = row.closest(".card");
  const marks = [...card.querySelectorAll(`.mark[data-mark="${row.dataset.mark}"]`)];
  const light = (on) => () => {
    card.classList.toggle("lit", on);
    for (const mark of marks) mark.classList.toggle("on", on);
  };
  row.addEventListener("mouseenter", light(true));
  row.addEventListener("mouseleave", light(false));
}
