// The story of a member or a subscription: ours at once, complete when Stripe has answered.

import { get, isGone, withQuery } from './api.js';
import { button, fill, h, newId } from './dom.js';
import { actorWords, time, told } from './parts.js';
import { to } from './router.js';
import { T } from './texts.js';

const S = T.story;

/** So many matters stand on top of a page. */
const MOST = 3;
/** What could be done about money so long ago is no news. */
const LONG_AGO_MS = 120 * 86_400_000;
/** How ids at Stripe begin that are of money. */
export const MONEY = /^(in|pi|ch|py|re|du|dp)_/;

/**
 * A story's place on a page, which fills itself; `onLines` is told the lines each time there are more. `sync` is a button
 * that takes over what differs, if that can be done; `differences` is what stands out in it, for the top of the page. A
 * member's story names each subscription, from `titles`.
 */
export function story(place, path, { onLines = () => {}, titles = null, sync } = {}) {
  const titleId = newId('story');
  const state = h('p', { class: 'hint', role: 'status' });
  const differences = h('section', { class: 'differences', 'aria-label': S.standsOut, hidden: true });
  const problem = h('div', { class: 'notice', role: 'alert', hidden: true });
  const filter = h('div', { class: 'filters', role: 'group', 'aria-label': S.filter });
  const list = h('ol', { class: 'story' });
  const element = h('section', { 'aria-labelledby': titleId }, h('h2', { id: titleId }, S.title), state, problem, filter, list);
  let shown = 'all';
  let lines = [];

  function draw() {
    const kinds = [...new Set(lines.map(({ kind }) => kind))];
    if (shown !== 'all' && !kinds.includes(shown)) shown = 'all';
    const options = kinds.length > 1 ? ['all', ...kinds] : [];
    const chips = options.map((kind) => {
      const pressed = String(kind === shown);
      return button(kind === 'all' ? S.all : (S.kinds[kind] ?? kind), () => choose(kind), { class: 'chip', 'aria-pressed': pressed, data: { kind } });
    });
    fill(filter, chips);
    const seen = lines.filter(({ kind }) => shown === 'all' || kind === shown);
    fill(list, seen.map((line) => storyLine(line, titles)));
    const standing = standsOut(lines);
    differences.hidden = !standing.length;
    if (!standing.length) return;
    const items = standing.map((line) => h(
      'li',
      {},
      h('p', {}, h('strong', {}, line.text), ' ', h('span', { class: 'hint' }, time(line.at)), ' ', whereTo(line, titles)),
      line.differs && h('p', {}, h('strong', {}, S.differs), ' ', line.differs),
      line.advice && h('p', {}, h('strong', {}, S.advice), ' ', line.advice),
    ));
    const differs = standing.some((line) => line.differs);
    fill(differences, h('h2', {}, S.standsOut), h('ul', {}, items), differs && h('div', { class: 'acts inline' }, sync?.() ?? []));
  }

  function choose(kind) {
    shown = kind;
    draw();
    filter.querySelector(`[data-kind="${kind}"]`)?.focus();
  }

  function take(answer) {
    lines = answer.data;
    draw();
    onLines(lines);
  }

  async function load() {
    problem.hidden = true;
    list.setAttribute('aria-busy', 'true');
    state.textContent = T.loading;
    // Both are asked at once: whichever comes last and is complete stays.
    let isComplete = false;
    const ours = get(withQuery(path, { from: 'rows' }), place).then((answer) => {
      if (isComplete) return;
      take(answer);
      state.textContent = lines.length ? S.asking : '';
    });
    try {
      const [whole] = await Promise.all([get(path, place).then((answer) => {
        isComplete = true;
        return answer;
      }), ours.catch(() => null)]);
      take(whole);
      const said = whole.complete ? S.complete : [S.incomplete, whole.missing].filter(Boolean).join(' ');
      state.textContent = lines.length || !whole.complete ? said : S.empty;
      state.classList.toggle('missing', !whole.complete);
    } catch (error) {
      if (isGone(error) || place.signal.aborted) return;
      await ours.catch(() => null);
      state.textContent = lines.length ? S.failed : '';
      fill(problem, told(error), h('p', { class: 'actions' }, button(T.tryAgain, load, { class: 'plain' }))).hidden = false;
    } finally {
      list.removeAttribute('aria-busy');
    }
  }

  return { element, differences, load };
}

/**
 * The few lines for whose sake somebody has written: what waits for a person, what Stripe says otherwise, what is to be done
 * about money. Those of the same advice are one matter.
 */
function standsOut(lines) {
  const rank = ({ kind, differs, reference }) => (kind === 'event' ? 4 : 0) + (differs ? 2 : 0) + (MONEY.test(reference ?? '') ? 1 : 0);
  const isLate = ({ at }) => Date.now() - new Date(at).getTime() > LONG_AGO_MS;
  const open = lines.filter((line) => line.differs || (line.advice && !['change', 'note'].includes(line.kind) && (line.kind === 'event' || !isLate(line))));
  const one = new Map();
  // Sorting is stable: what is newer stays before what is older.
  for (const line of open.sort((first, other) => rank(other) - rank(first))) {
    if (!one.has(line.advice)) one.set(line.advice, line);
  }
  return [...one.values()].slice(0, MOST);
}

/** Where one puts it right: at the message, or at the subscription. */
function whereTo({ kind, reference, subscription_id: subscription }, titles) {
  if (kind === 'event') return h('a', { href: to('events', reference) }, S.toEvent);
  return titles && subscription && h('a', { href: to('subscriptions', subscription) }, titles.get(subscription) ?? T.ids.subscription);
}

/** Whether it tells more than the kind of the line does. */
const isTold = ({ kind, actor, cause }) => cause && !(actor === 'stripe' && ['transaction', 'stripe', 'event'].includes(kind));

/** One line: when, what, why, by whom, and what can be done about it. */
function storyLine(line, titles) {
  const { at, kind, text, cause, actor, role, reference, differs, advice, subscription_id: subscription } = line;
  const meta = [
    isTold(line) && [S.cause, cause],
    // The cause names who it was, mostly.
    actor && !cause && [S.by, actorWords(actor, role)],
    reference && [S.ref, h('code', {}, reference)],
    titles && subscription && [S.about, h('a', { href: to('subscriptions', subscription) }, titles.get(subscription) ?? T.ids.subscription)],
  ].filter(Boolean);
  return h(
    'li',
    { data: { kind } },
    h('div', { class: 'when' }, time(at), h('span', { class: 'kind' }, S.kinds[kind] ?? kind)),
    h(
      'div',
      { class: 'what' },
      h('p', { class: 'said' }, text),
      meta.length > 0 && h('p', { class: 'meta' }, meta.map(([name, value]) => h('span', {}, `${name}: `, value))),
      differs && h('p', { class: 'differs' }, h('strong', {}, S.differs), ' ', differs),
      advice && h('p', { class: 'advice' }, h('strong', {}, S.advice), ' ', advice),
    ),
  );
}
