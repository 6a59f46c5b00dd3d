// How many are in force, over a year: a line a plan, with the library's own help for the pointer.

import uPlot from './vendor/uplot/uPlot.esm.js';
import { h } from './dom.js';
import { count } from './format.js';
import { planName } from './api.js';

const HEIGHT = 260;
/** As many lines as can be told apart; the rest stand in the table alone. */
export const LINES = 6;

/** Colours come from the style sheet, so that they follow light and dark. */
function colour(probe, name) {
  probe.className = name;
  return getComputedStyle(probe).color;
}

/**
 * A chart of `{ days, plans: [{ plan, counts }] }`; `onDay` is told the place in `days` that the pointer is at, or null.
 * It goes with the page: `signal` ends what it listens to.
 */
export function chart({ days, plans }, { label, onDay, signal }) {
  const holder = h('div', { class: 'chart', role: 'img', 'aria-label': label });
  const probe = h('span', { hidden: true });
  const times = days.map((day) => Date.parse(`${day}T12:00:00`) / 1000);
  const data = [times, ...plans.map(({ counts }) => counts)];
  let plot;

  function draw() {
    plot?.destroy();
    holder.replaceChildren(probe);
    const [ink, line] = [colour(probe, 'axis'), colour(probe, 'grid')];
    const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { show: false }, font: '12px system-ui, sans-serif' };
    plot = new uPlot({
      width: holder.clientWidth || 600,
      height: HEIGHT,
      legend: { show: false },
      cursor: { y: false, points: { size: 7 }, drag: { x: false, y: false } },
      scales: { y: { range: (_, low, high) => [0, Math.max(5, high * 1.08)] } },
      axes: [axis, { ...axis, size: 46, values: (_, ticks) => ticks.map((tick) => (Number.isInteger(tick) ? count(tick) : '')) }],
      series: [
        {},
        ...plans.map(({ plan }, at) => ({ label: planName(plan), stroke: colour(probe, `series-${at + 1}`), width: 2, dash: at > 2 ? [6, 3] : undefined, points: { show: false } })),
      ],
      hooks: { setCursor: [(chart) => onDay(chart.cursor.idx ?? null)] },
    }, data, holder);
  }

  new ResizeObserver(([{ contentRect }], observer) => {
    if (signal.aborted) {
      observer.disconnect();
      plot?.destroy();
    } else if (plot && Math.abs(plot.width - contentRect.width) > 1) plot.setSize({ width: contentRect.width, height: HEIGHT });
  }).observe(holder);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', draw, { signal });
  // It needs its place on the page first, to know how wide it is.
  requestAnimationFrame(() => !signal.aborted && draw());
  return holder;
}

/** The last day of each month that is known, as places in `days`. */
export function monthEnds(days) {
  return days.map((_, at) => at).filter((at) => days[at + 1]?.slice(0, 7) !== days[at].slice(0, 7));
}

