// Today: what should be zero, then how many are in force, who is about to leave, and who is on hold.

import { get, planName } from '../api.js';
import { fill, h, newId } from '../dom.js';
import { ago, count, dayFromNow, month, plainDay, signed } from '../format.js';
import { LINES, chart, monthEnds } from '../chart.js';
import { fetched, table, time, waiting } from '../parts.js';
import { to } from '../router.js';
import { T } from '../texts.js';

const D = T.today;

/** Where what is wrong is put right. */
const PLACES = {
  failed: () => to('look', 'failed'),
  flagged: () => to('look', 'flagged'),
  deferred_too_long: () => to('look', 'deferred'),
  parked: () => to('look', 'parked'),
  actions_unknown: () => to('look', 'actions'),
  paid_not_here: () => to('look', 'paid_not_here'),
  here_not_paid: () => to('look', 'here_not_paid'),
};

async function show(place) {
  const body = h('div', {}, waiting());
  place.begin(D.title, body);
  await fetched(place, body, () => get('/today', place), (today) => {
    fill(body, wrong(today), freshness(today), h('div', { class: 'columns' }, inForce(place, today), h('aside', {}, ending(today), onHold(today))));
  });
}

function wrong({ wrong: numbers }) {
  const id = newId('wrong');
  const bad = Object.values(numbers).filter((number) => number > 0).length;
  const items = Object.keys(D.items).filter((name) => name in numbers).map((name) => {
    const number = numbers[name];
    const [title, meaning] = D.items[name];
    const isBad = number > 0;
    return h(
      'li',
      { class: 'zero', data: { tone: isBad ? 'bad' : number === 0 ? 'good' : 'quiet', item: name } },
      h('p', { class: 'number' }, number == null ? D.notCompared : count(number)),
      h('div', {}, h('h3', {}, isBad && PLACES[name] ? h('a', { href: PLACES[name]() }, title) : title), isBad && h('p', {}, meaning)),
    );
  });
  return h(
    'section',
    { 'aria-labelledby': id },
    h('h2', { id }, D.wrong),
    h('p', { class: bad ? 'verdict bad' : 'verdict good' }, bad ? D.nonZero(bad) : D.allZero),
    bad > 0 && h('ul', { class: 'zeros' }, items.filter(({ dataset }) => dataset.tone === 'bad')),
    h('ul', { class: 'zeros fine' }, items.filter(({ dataset }) => dataset.tone !== 'bad')),
  );
}

function freshness({ counted_at: counted, compared_at: compared, last_webhook_at: webhook }) {
  const when = (at, none) => (at ? time(at, ago) : none);
  return h(
    'p',
    { class: 'meta freshness' },
    h('span', {}, `${D.lastWebhook}: `, when(webhook, D.neverWebhook)),
    h('span', {}, `${D.counted}: `, when(counted, D.never)),
    h('span', {}, `${D.compared}: `, when(compared, D.never)),
    !compared && h('span', {}, D.neverTodo),
  );
}

function inForce(place, { in_force: held, history }) {
  const id = newId('force');
  const section = h('section', { class: 'main', 'aria-labelledby': id }, h('h2', { id }, D.inForce));
  if (!held.length) {
    section.append(h('p', { class: 'hint' }, D.noneInForce));
    return section;
  }
  const ranked = [...held].sort((one, other) => other.count - one.count);
  const drawn = ranked.map(({ plan }) => history.plans.find((one) => one.plan === plan)).filter(Boolean).slice(0, LINES);
  const caption = h('p', { class: 'hint', 'aria-hidden': 'true' }, D.chart);
  const cells = new Map();
  const rows = ranked.map(({ plan, kind, count: number }) => {
    const at = drawn.findIndex((one) => one.plan === plan);
    const past = history.plans.find((one) => one.plan === plan)?.counts[0];
    const now = h('span', {}, count(number));
    cells.set(plan, [now, number]);
    const name = [at >= 0 && h('span', { class: `key series-${at + 1}`, 'aria-hidden': 'true' }), h('a', { href: to('subscriptions', { plan }) }, planName(plan)), h('span', { class: 'hint' }, ` ${T.kinds[kind] ?? kind}`)];
    return [name, now, past == null ? '' : count(past), past == null ? '' : signed(number - past)];
  });
  const list = table(D.inForce, [D.plan, D.now, D.yearAgo, D.change], rows);
  list.classList.add('numbers', 'stays');
  if (drawn.length && history.days.length > 1) {
    const words = drawn.map(({ plan, counts }) => D.chartPlan(planName(plan), count(counts[0]), count(counts.at(-1)))).join(' ');
    const label = D.chartText(plainDay(history.days[0]), plainDay(history.days.at(-1)), words);
    // Under the pointer the table tells the numbers of that day.
    const onDay = (at) => {
      caption.textContent = at == null ? D.chart : D.onDay(plainDay(history.days[at]));
      for (const { plan, counts } of drawn) {
        const [cell, number] = cells.get(plan);
        cell.textContent = count(at == null ? number : counts[at]);
      }
      list.classList.toggle('past', at != null);
    };
    section.append(caption, chart({ days: history.days, plans: drawn }, { label, onDay, signal: place.signal }));
  }
  section.append(list);
  if (drawn.length && history.days.length > 1) section.append(byMonth(history, drawn));
  return section;
}

/** What the lines show, for those who don't see them, and for copying. */
function byMonth({ days }, plans) {
  const columns = [D.month, ...plans.map(({ plan }) => planName(plan))];
  const rows = monthEnds(days).reverse().map((at) => [month(`${days[at]}T00:00:00Z`), ...plans.map(({ counts }) => count(counts[at]))]);
  const list = table(D.chart, columns, rows);
  list.classList.add('numbers', 'stays');
  return h('details', {}, h('summary', {}, D.table), h('div', { class: 'scrolls', role: 'region', tabindex: '0', 'aria-label': D.table }, list));
}

function ending({ ending: { days, count: number } }) {
  const link = number > 0 && h('a', { href: to('subscriptions', { ends_before: dayFromNow(days) }) }, D.list);
  return h('section', { class: 'panel' }, h('h2', {}, D.ending(days)), h('p', { class: 'big' }, count(number), ' ', link), h('p', { class: 'hint' }, D.endingHint));
}

function onHold({ on_hold: reasons }) {
  const rows = reasons.map(({ reason, count: number }) => h(
    'li',
    {},
    h('a', { href: to('subscriptions', { status: 'ON_HOLD', reason }) }, T.statusReasons[reason] ?? reason),
    h('span', { class: 'amount' }, count(number)),
  ));
  return h('section', { class: 'panel' }, h('h2', {}, D.onHold), rows.length ? h('ul', { class: 'tally' }, rows) : h('p', { class: 'hint' }, D.nobodyOnHold));
}

export default { name: 'today', show };
