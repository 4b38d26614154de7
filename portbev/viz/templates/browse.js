"use strict";
(() => {
  const samples = [...document.querySelectorAll(".sample")];
  const looksOf = (sample) => [...sample.querySelectorAll(".look")];
  let sample = 0;
  let look = 0;
  const clamp = (value, count) => Math.max(0, Math.min(count - 1, value));
  const show = (to, at) => {
    sample = clamp(to, samples.length);
    const looks = looksOf(samples[sample]);
    look = clamp(at, looks.length);
    samples.forEach((one, place) => one.classList.toggle("shown", place === sample));
    looks.forEach((one, place) => one.classList.toggle("shown", place === look));
    document.getElementById("place").textContent =
      `sample ${sample + 1} of ${samples.length}, ${looks[look].dataset.name} (${look + 1} of ${looks.length})`;
    history.replaceState(null, "", `#${sample}.${look}`);
  };
  const moves = {
    next: () => show(sample + 1, look),
    previous: () => show(sample - 1, look),
    down: () => show(sample, look + 1),
    up: () => show(sample, look - 1),
  };
  const keys = {
    ArrowRight: moves.next, n: moves.next, ArrowLeft: moves.previous, p: moves.previous,
    ArrowDown: moves.down, j: moves.down, ArrowUp: moves.up, k: moves.up,
    0: () => show(sample, 0), z: () => document.body.classList.toggle("full"),
  };
  document.body.classList.add("scripted");
  for (const [name, move] of Object.entries(moves)) document.getElementById(name).addEventListener("click", move);
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !(event.key in keys)) return;
    event.preventDefault();
    keys[event.key]();
  });
  const [to, at] = location.hash.slice(1).split(".").map(Number);
  if (samples.length) show(to || 0, at || 0);
})();
